// Package kustomize builds Kubernetes objects from a directory of a tree, as
// `kustomize build` does, inside of a process that has other things to do: many
// builds at once, from trees that nobody vouches for.
//
//	res, err := kustomize.Build(ctx, tree, "deploy/production", kustomize.Options{})
//	for _, object := range res.Objects {
//		…
//	}
//
// # Guarantees
//
//   - The objects are those of kustomize itself, which does the work; a directory
//     without a kustomization file is built from all its YAML files.
//   - A build is a function of the tree, the directory and the options. It reads
//     no other file, uses no network and runs no program. What would need one of
//     these is a [*RefusedError] that names the file, the field and the value, and
//     it is refused before kustomize has heard of it.
//   - Links are followed inside of the tree, and never out of it.
//   - Builds run side by side. One that brings its own OpenAPI schema runs alone,
//     and leaves nothing of it behind. Its schema adds to the built-in one.
//   - Content that makes kustomize panic, recurse for ever or end the process is an
//     error, as far as it is known; see below for what is left.
//   - Result.Inputs names every file that was read.
//   - Every error but that of the context has a method Terminal: the same tree
//     gives the same error.
//
// # Limits
//
// Files, reads, nesting, aliases and objects are bounded by default; see [Limits].
// Kustomize takes time in the square of the number of objects, about ten seconds
// for a thousand with all transformers. It has no context: the end of one is
// noticed when the next file is read, not in the middle of a transformation.
//
// Kustomize writes warnings about deprecated fields to the standard error stream,
// which nobody can turn off.
//
// Kyaml has one schema for the whole process. Code in the same process that uses
// krusty or kyaml's openapi package by itself is outside of the gate that keeps
// builds apart: build through this package only.
//
// A program with cgo links Go plugins, which cost it 10 MB: build with
// CGO_ENABLED=0, or with the tag kustomize_disable_go_plugin_support.
//
// With [Options].TargetNamespace, origin annotations name files relative to the
// overlay that sets it.
//
// # Threat model
//
// Whoever writes to the tree may want to read files or addresses that the process
// can reach, to run code in it, to use up its memory and time, to end it, or to
// change what other builds give. Remote resources in every spelling, absolute
// paths, paths and links out of the tree, Helm charts, exec and container
// functions, and plugins that are not built in, are refused in every field that
// names a file. Documents are measured, with their aliases replaced, before
// kustomize parses them; references in schemas are checked for circles.
//
// Two ways to end the process are left, because kustomize calls log.Fatal: an
// object with an empty key in its data that a JSON patch or a transformer makes
// (one in a file is refused) and that a generated ConfigMap is then merged into;
// and a key that is not a string, made likewise, in an object with an ambiguous
// reference.
package kustomize
