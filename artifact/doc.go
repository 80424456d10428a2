// Package artifact turns a tree of files into something that others can fetch and
// trust: one archive with a digest, the same bytes for the same tree on every
// machine. It reads such archives back, into memory or below a directory, and keeps
// them under their digest, on disk or in any other [Backend].
//
//	store, err := artifact.NewStore("/var/lib/artifacts", artifact.StoreOptions{})
//	sum, err := store.Pack(ctx, tree, artifact.PackOptions{})
//	err = store.Record(ctx, "gitrepository/default/app", sum.Digest)
//	tree, err = store.Open(ctx, sum.Digest)
//
// Sub-packages serve and fetch archives over HTTP (transfer), push and pull them as
// OCI artifacts and keep them in a registry (oci) or in a bucket (s3), and have the
// tests for more backends (artifacttest).
//
// # Guarantees
//
//   - The same tree gives the same archive, to the last bit: clock, owners, umask,
//     machine, number of cores and order of listing have no part in it. A tree is
//     its paths, its bytes, its links, and which files may be executed.
//   - An archive that was made with the help of the one before it ([Previous],
//     [PackOptions].Since) is the one that would have been made without.
//   - [Ignore] files and patterns mean what they mean for Git.
//   - [Summary].Digest is of the file and checks a download; ContentDigest is of
//     the tree and answers whether anything changed, whatever release packed it.
//   - Nothing is lost in silence: what an archive cannot hold is an error, but for
//     empty directories. Links are kept as links.
//   - [Open] and [Unpack] show nothing before the digest and every entry were
//     checked. They read their input once, and to its end. A process that is killed
//     while it unpacks leaves a directory named .unpack-… and nothing else.
//   - What was packed under some [Limits] opens under the same.
//   - A [Store] survives the end of the process at any moment, with all that was
//     stored before, and never holds half an archive under a digest. Several
//     processes may share it. [Store.Open] checks the digest each time, [Store.Check]
//     when there is a reason to; both remove an archive that is damaged.
//   - What a source has, by [Store.Record], is not collected, and neither is what it
//     had a short while ago. Readers read to the end what is collected meanwhile.
//   - Errors that trying again cannot cure have a method Terminal that says so.
//
// # Limits
//
// Size, expansion, number of entries, depth and length of names are bounded by
// default; see [Limits]. Packing needs memory for 12 MiB of the tree and for 2 MiB
// of each worker, and about 200 bytes for each entry if there is an index. Reading
// expands at most 12 MiB ahead; beyond that Open holds the whole content, unless it
// may spill to disk, and Unpack at most 16 files of up to 1 MiB.
//
// Inside a directory that is left out nothing is brought back, as in Git. The
// GitOps Toolkit does that, so some of its patterns need a line more.
//
// The format is tar in gzip members, which tar and gzip read as one file: a member
// ends where the paths and sizes say, every 256 KiB to 4 MiB. It has its length in
// an extra field of its header, so that many are expanded at once; archives of other
// programs are read one byte after the other. Names must be UTF-8. Names that differ
// in case only are kept; unpacking them on a disk that ignores case is an error.
// Unpack replaces nothing: what it makes must not be there yet.
//
// A [Store] syncs and locks directories, so it needs a Unix, and a file system whose
// locks hold between all that share it. With a backend elsewhere it packs every tree
// anew, and only one process may collect.
//
// A file system whose files can be changed by others while they are packed should
// be that of an [os.Root], which follows no link out of it; an [os.DirFS] does, if
// a file is replaced by a link at the right moment.
//
// # Threat model
//
// Archives and trees come from people who may want to write elsewhere, to read
// what is not theirs, or to use up memory and disk. Hard links, devices, absolute
// names, names with "..", entries twice, entries below a link, sparse files, and
// links out of the tree through however many other links, are refused. Bounds
// hold while bytes come in, not afterwards. A length that a gzip member has not is
// an error, or is not used. With a digest, an archive is what it was or an error.
// Without one, everything above still holds, but anyone who can replace the file can
// replace the tree: a digest has to come from somewhere that they cannot reach.
//
// Ignore files come from them too: they cannot make matching slow, and their size
// is bounded.
//
// A store trusts whoever can write to its directory or backend not to remove files;
// it finds changed ones. An index is used only with its digest, which the caller
// keeps. The ids of a [ContentIDFS] are believed.
package artifact
