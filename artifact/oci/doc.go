// Package oci keeps trees in an OCI registry: it pushes archives of package
// artifact, finds the one that a tag or a version range means, and opens it. It is
// also a backend for an artifact.Store.
//
//	repo, err := oci.New("oci://ghcr.io/org/app", oci.Options{Credential: cred})
//	rev, err := repo.Resolve(ctx, oci.Ref{SemVer: "1.x"})
//	manifest, err := repo.Manifest(ctx, rev)
//	layer, err := manifest.Layer("")
//	tree, err := repo.Open(ctx, layer)
//
// # Guarantees
//
//   - Media types and annotations are those that flux push artifact writes, so
//     either side can read what the other one wrote.
//   - What is read has the size and the digest that were asked for, or is an error.
//     A tag is resolved once, to a [Revision]; all else goes by digest.
//   - Credentials go to the registry, to the hosts in Options.AuthHosts, and to
//     nobody else: not where a redirect, a token realm or an upload location leads.
//   - Nothing is read from the environment, from the home directory or from
//     credential helpers.
//   - No error holds a credential, or the query of a URL.
//
// # Limits
//
// A manifest may have 4 MiB, a repository 100,000 tags, a layer what
// artifact.Limits allow. Time is bounded by the context; a server that does not
// begin to answer within a minute is an error. Indexes, of images for several
// platforms, are refused: name one of their manifests by its digest.
//
// # Threat model
//
// A registry, or who sits in front of it, may answer with anything. It can
// withhold a tag, or let it mean something else: a digest in [Ref] fixes what is
// pulled. It may send a reader on to any host over TLS, which then learns that
// something was read, and no more.
package oci
