// Package artifact turns a tree of files into something that others can fetch and
// trust: one archive with a digest, the same bytes for the same tree on every
// machine. It reads such archives back, into memory or below a directory, keeps
// them under their digest, on disk or in any other [Backend], and serves them.
// machine. It reads such archives back, into memory or below a directory, and
// keeps them on disk under their digest. It fetches them, its own and those of
// Flux's source-controller, from whoever serves them.
//
//	store, err := artifact.NewStore("/var/lib/artifacts", artifact.StoreOptions{})
//	sum, err := store.Pack(ctx, tree, artifact.PackOptions{})
//	err = store.Record(ctx, "gitrepository/default/app", sum.Digest)
//	tree, err = store.Open(ctx, sum.Digest)
//	server := artifact.NewServer(":9090", artifact.NewHandler(store.Backend(), artifact.HandlerOptions{}))
//
// Sub-packages have backends in a registry (oci) and in a bucket (s3), and the
// tests for more of them (artifacttest).
//
//	fetcher, err := artifact.NewFetcher(artifact.FetcherOptions{})
//	tree, err = fetcher.Open(ctx, published, artifact.OpenOptions{})
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
//   - A [Fetcher] goes on where a connection was lost, and checks, expands and writes
//     while bytes come in. What belongs to another archive is never mixed in.
//   - What was packed under some [Limits] opens under the same.
//   - A [Store] survives the end of the process at any moment, with all that was
//     stored before, and never holds half an archive under a digest. Several
//     processes may share it. [Store.Open] checks the digest each time;
//     [Store.Check] reads an archive again only if something about it changed, or
//     once a day. One that is damaged is removed, so that nobody is served with it.
//   - [Store.Collect] removes no archive that a source has, had lately, or has
//     among its last ones, nor one that is pinned; who reads one reads it to its end.
//     Where the directory is shared, that holds whatever others do meanwhile. In
//     another backend it holds as long as MinAge is longer than it takes from
//     [Store.Pack] to [Store.Record].
//   - A [Handler] gives one answer for all that it does not serve, and another one
//     for all that a stranger asks for.
//   - Errors that trying again cannot cure have a method Terminal that says so.
//
// # Limits
//
// Size, expansion, number of entries, depth and length of names are bounded by
// default; see [Limits]. Packing needs memory for 12 MiB of the tree and for 2 MiB
// of each worker, and about 200 bytes for each entry if there is an index; Open
// holds the whole content.
//
// Inside a directory that is left out nothing is brought back, as in Git. The
// GitOps Toolkit does that, so some of its patterns need a line more.
// default; see [Limits]. Packing needs memory for one piece of 4 MiB, its
// compressor and the list of paths; Open holds the whole content, unless it may
// spill to disk; Unpack holds at most 16 files of up to 1 MiB.
//
// The format is tar in gzip members, which tar and gzip read as one file: a
// member ends where the paths and sizes say, every 256 KiB to 4 MiB. Names must
// be UTF-8. Names that differ in case only are kept; unpacking them on a disk that
// ignores case is an error. Unpack replaces nothing: what it makes must not be
// there yet.
//
// A download may not make fewer than 128 KiB in 30 s, is tried again five times
// for each MiB, and follows five redirects. The context bounds it as a whole.
//
// A [Store] syncs and locks directories, so it needs a Unix, and a file system whose
// locks hold between all that share it.
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
// hold while bytes come in, not afterwards. With a digest, an archive is what it
// was or an error. Without one, everything above still holds, but anyone who can
// replace the file can replace the tree: a digest has to come from somewhere that
// they cannot reach.
//
// Ignore files come from them too: they cannot make matching slow, and their size
// is bounded.
//
// A store trusts whoever can write to its directory or backend not to remove files;
// it finds changed ones. Whoever can reach a handler and knows a digest can read
// the archive, unless HandlerOptions.Allow says otherwise; names in a path are for
// people and protect nothing.
//
// An index is used only with its digest, which the caller keeps. The ids of a
// [ContentIDFS] are believed.
// Servers may lie about sizes, ranges and tags, send slowly or without end, and
// redirect: not from https to http, and not to link-local addresses, where clouds
// keep credentials. Tokens and client certificates are for the origin of the
// artifact's URL alone. Errors hold no query, user or token.
//
// A store trusts whoever can write to its directory not to remove files; it finds
// changed ones.
package artifact
