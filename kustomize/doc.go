// Package kustomize builds Kubernetes objects from a directory of a tree, as
// `kustomize build` does, inside of a process that has other things to do: many
// builds at once, from trees that nobody vouches for.
//
//	res, err := kustomize.Build(ctx, tree, "deploy/production", kustomize.Options{})
//	for _, object := range res.Objects {
//		…
//	}
//
// The next time, there may be nothing to do. In a Git snapshot that takes
// microseconds to know, and reads no file:
//
//	same, err := res.Inputs.Unchanged(ctx, tree, "deploy/production", kustomize.Options{})
//
// # Guarantees
//
//   - The objects are those of kustomize itself; a directory without a kustomization
//     file is built from all its YAML files. [Options] do what the fields of that name
//     do in the directory's own kustomization.
//   - A build is a function of the tree, the directory and the options. It reads
//     no other file, uses no network and runs no program. What would need one of
//     these is a [*RefusedError] that names the file, the field and the value, and
//     it is refused before kustomize has heard of it.
//   - Links are followed inside of the tree, and never out of it.
//   - Builds run side by side. One that brings its own OpenAPI schema runs alone,
//     and leaves nothing of it behind. Its schema adds to the built-in one.
//   - Content that makes kustomize panic, recurse for ever or end the process is an
//     error, as far as such content is known.
//   - Result.Inputs has all that the result depends on: files, links, directories
//     that were listed, and names that were looked for in vain. [Inputs.Unchanged]
//     is true only if a build would give the same; when in doubt it is false.
//   - A hit in a [Cache] is what a build would give, and the caller's own copy. It was
//     built with the same keys.
//   - With a [Decrypter], what SOPS encrypted is plain text before kustomize reads it,
//     with its checksum checked: patches and generators work on it as on any other
//     file. Plain text goes into objects and Secrets, never into ConfigMaps, files or
//     errors. An object that is still encrypted in the end fails the build.
//   - [Substitute] replaces variables in objects that were built, strictly unless told
//     otherwise. No error of it holds a value.
//   - Errors hold no object, and so no Secret.
//   - Errors that the same tree would give again have a method Terminal; those of
//     the context, and of reading the tree, have not.
//
// # Limits
//
// Files, reads, nesting, aliases and objects are bounded by default; see [Limits].
// So is what variables make of an object; see [SubstituteLimits].
// A build has no context: the end of one is noticed when the next file is read, not
// in the middle of a transformation.
//
// # Two engines
//
// Most trees are built by an engine of this package, in time that grows with the
// number of objects. It applies kustomize's own filters to each object, and does by
// itself what kustomize does by comparing each object with all others. It knows
// these fields: resources, bases, components, namespace, namePrefix, nameSuffix,
// labels, commonLabels, commonAnnotations, images, replicas, patches in their three
// forms, configMapGenerator, secretGenerator and generatorOptions.
//
// Kustomize builds all else, from the start: trees with any other field, such as
// replacements, vars, configurations, crds, openapi, sortOptions, buildMetadata or
// plugins; lists of objects; objects with unusual metadata or with annotations of
// kustomize's own; ids that are there twice and names that could mean two objects;
// and whatever ends in an error. Then it takes time in the square of the number of
// objects, about ten seconds for a thousand with all transformers, and writes
// warnings about deprecated fields to the standard error stream, which nobody can
// turn off.
//
// Kyaml has one schema for the whole process. Code in the same process that uses
// krusty or kyaml's openapi package by itself is outside of the gate that keeps
// builds apart: build through this package only.
//
// A program with cgo links Go plugins, which cost it 10 MB: build with
// CGO_ENABLED=0, or with the tag kustomize_disable_go_plugin_support.
//
// Inputs depend on the options and on the version of kustomize, but not on what is
// done with the objects later, such as substitution: what that uses must be compared
// too. [CommonMetadata] is part of the build, and so before that.
//
// A kustomization may name a directory as the configuration of plugins only if that
// lists files and does nothing to them.
//
// # Threat model
//
// Whoever writes to the tree may want to read files or addresses that the process
// can reach, to run code in it, to use up its memory and time, to end it, or to
// change what other builds give. Remote resources in every spelling, absolute
// paths, paths and links out of the tree, Helm charts, exec and container
// functions, and plugins that are not built in, are refused in every field that
// names a file. Documents are measured, with their aliases replaced, before
// kustomize parses them; references in schemas are checked for circles, and
// copies of copies, in JSON patches and replacements, are counted. What a long
// prefix, a variable or a replacement adds to many objects is not: at worst that is
// the size of the tree for each of them.
//
// What was kept of inputs in a status may come back changed by others: it is bounded
// and checked when it is read, and at worst makes a build look needed, or not. Ids
// of content are believed; whoever makes the tree answers for them.
//
// An encrypted file may be changed, or made of parts of others, by somebody without the
// key: its checksum and the places of its values are checked, and a file that was
// changed is an error. Comments are not covered by them.
//
// Kustomize calls log.Fatal, which ends the process, when it merges into data with
// an empty key, and when it has to print an object that has no form in JSON. So
// documents with empty keys, with keys that are not strings or are there twice,
// or with infinite numbers, are refused, as are JSON patches that make an empty
// key. That is stricter than kustomize; no Kubernetes object needs any of them.
package kustomize
