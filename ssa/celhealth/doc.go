// Package celhealth makes health checks for ssa's Wait from CEL expressions. It
// is a package of its own because a CEL interpreter doubles the weight of ssa.
//
//	checks, err := celhealth.New([]celhealth.Rule{{
//		APIVersion: "example.com/v1", Kind: "Database",
//		Current: `status.conditions.exists(c, c.type == "Online" && c.status == "True")`,
//		Failed:  `status.phase == "Lost"`,
//	}}, celhealth.Options{})
//	_, err = applier.Wait(ctx, entries, ssa.WaitOptions{Checks: checks})
//
// The rules have the form of the healthCheckExprs of Flux: an object is InProgress
// where that expression holds, else Failed where that one does, else Current where
// that one does, else InProgress. An object whose status.observedGeneration is not
// its metadata.generation is InProgress before any expression is asked.
//
// # Expressions
//
// They are compiled once, by New, which reports every mistake that shows without
// an object. They see apiVersion, kind, metadata, spec, status and data of the
// object, and all of it as self; there are the standard functions and macros of
// CEL, and no extensions. A field that is not there makes an expression false: the
// controller has not written it yet. has(status.phase) asks for it.
//
// # Guarantees
//
// An evaluation ends at a cost of 1,000,000 steps of CEL and after 100
// milliseconds, whichever is first, and then the object is Unknown, with the
// reason. An expression has at most 8 KiB. Evaluations read nothing but the object.
//
// # Threat model
//
// Rules may come from whoever writes the objects, and so may objects with an
// expression of their own in an annotation, where Options.Annotations allows it.
// Both can call an object healthy that is not, or keep a Wait until its timeout.
// They cannot cost more than the bounds above for each version of an object, nor
// reach anything outside of it.
package celhealth
