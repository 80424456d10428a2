package git

import (
	"context"
	"io/fs"
)

// FetchOptions say what of a revision is wanted, and what the caller has
// already. The zero value is all files of the repository itself: submodules are
// empty directories, and files in large file storage are their pointers.
type FetchOptions struct {
	// Dirs, if there are any, are the directories that are wanted, by their
	// paths in the repository; the rest of the tree is left out of the
	// [Snapshot], and is not transferred from servers that can filter. One that
	// does not exist is [ErrDirectoryNotFound], also if it is inside of a
	// submodule: those are fetched whole, if they are in one of Dirs. At most
	// 1,000.
	Dirs []string
	// Submodules, if not nil, are fetched too, and are directories of the
	// Snapshot like any other.
	Submodules *Submodules
	// LFS puts files in the place of pointers to Git's large file storage, also
	// in submodules. The server of the repository is asked for them, whatever
	// .lfsconfig says: over HTTP at info/lfs below its URL, over SSH where its
	// command git-lfs-authenticate says. A file that it does not give is an
	// [LFSError]. [Snapshot.LFSFiles] lists the pointers with and without it.
	// [Limits] bound the files of one fetch as they bound its objects, but apart
	// from them. A Remote keeps the files for later fetches, but not for the time
	// after a restart.
	LFS bool
	// Base is a tree that the caller still has. What of it is in the revision
	// too is not transferred again. It is read only if the Remote keeps nothing
	// itself, in memory or in [Options.Dir].
	Base Base
	// Stream, if not nil, is called with the Snapshot while its files still
	// arrive: reading one waits for it. What Stream makes of them must not be
	// published before Fetch has returned without an error, for until then
	// the transfer is not proven whole. After an error Fetch may fetch anew and
	// call Stream once more. Its error ends the fetch. With LFS or Submodules,
	// with Dirs on a server that can filter, and for what is held, it is called
	// when everything is there.
	Stream func(ctx context.Context, s *Snapshot) error

	nesting nesting // of a submodule
}

// Base is a tree that was made from a commit of the same repository, such as
// the artifact of the last revision.
type Base struct {
	// Commit is the hash of the commit.
	Commit string
	// FS are its files. Some may be missing, and some may be different: all are
	// read, and known by the hash of their content. If that leaves something
	// out that the server counts on, all is fetched anew.
	FS fs.FS
}

// Submodules say how the submodules of a repository, and their own, are fetched:
// from where .gitmodules says, over https or ssh, or over http if the repository
// is. [Limits] bound how many there may be in all; what else they bound counts
// for each of them. With [FetchOptions.Dirs] it is those inside the directories.
type Submodules struct {
	// Options, if not nil, returns how to open the submodule at a URL, which is
	// absolute. An error ends the fetch. If Options is nil, submodules at the
	// scheme, host and port of the repository are opened like it, which lets
	// whoever can write to the repository read what its credentials can read
	// there. All others are opened with nothing but its limits: without
	// credentials, certificates, a proxy or WrapTransport.
	Options func(ctx context.Context, url string) (Options, error)
}
