// Package git goes from the address of a repository and a reference to a
// verified tree that can be read as an [io/fs.FS]. There is no worktree, no
// clone on disk and no git command.
//
// A [Remote] is one repository. [Remote.Resolve] asks which commit a branch,
// tag, SemVer range or other reference means, [Remote.Fetch] brings the files
// of that commit without its history, [Snapshot.Verify] says who signed it:
//
//	remote, err := git.Open("https://example.com/org/fleet.git", git.Options{})
//	if err != nil {
//		return err
//	}
//	defer remote.Close()
//	revision, err := remote.Resolve(ctx, git.Ref{SemVer: "1.x"})
//	if err != nil {
//		return err
//	}
//	if revision.String() == lastApplied {
//		return nil // nothing moved but the list of references
//	}
//	snapshot, err := remote.Fetch(ctx, revision, git.FetchOptions{})
//	if err != nil {
//		return err
//	}
//	keys, err := git.ParseKeys(maintainers)
//	if err != nil {
//		return err
//	}
//	verification, err := snapshot.Verify(keys, git.ModeTag)
//	if err != nil {
//		return err
//	}
//	log.Info("fetched", "revision", revision, "signed", verification)
//	return apply(snapshot)
//
// # Guarantees
//
//   - What [Remote.Fetch] returns is what the hash of the commit stands for:
//     every object is hashed, all of the tree is there, and nothing is returned
//     before the end of the transfer was checked.
//   - Signatures are checked over the raw bytes of commits and tags, never over
//     fields that were parsed and written again. They are held to what Git holds
//     them to, and to some more: [Snapshot.Verify] says what.
//   - Nothing outside of the arguments is read: no Git or SSH configuration, no
//     agent, no environment, no proxy settings, no file. (The certificates that
//     the system trusts are used for HTTPS.)
//   - A done context ends an operation at once, in every phase of it.
//   - A Remote, a Snapshot and Keys are safe for concurrent use.
//
// # Limits
//
//   - Repositories with SHA-1 objects only; others are [ErrObjectFormat].
//   - http, https and ssh; no local paths, no git:// and no commands. SSH takes
//     a key, with a certificate if there is one; there are no passwords and no
//     agents. Proxies are set in [Options.Proxy] only.
//   - A commit that no reference leads to can be fetched only from servers that
//     allow it. Short hashes are not resolved.
//   - Names in a tree must be UTF-8, which is what an io/fs.FS requires.
//   - Submodules are empty directories; LFS pointers and Git attributes are not
//     resolved.
//   - Signatures are OpenPGP's or SSH's, the latter also by certificates of an
//     authority; those by x509 (S/MIME, gitsign) are refused. OpenSSH's binary
//     lists of revoked keys are not read.
//   - A snapshot is held in memory, and every fetch brings all of it.
//
// The bounds on bytes, objects, references, files and time are in [Limits]. Beside
// them, opening a connection takes at most 30 seconds for each step, an SSH server
// may send 1 MiB before it lets anyone in, and an answer of GitHub's API has at
// most 1 MiB.
//
// # Threat model
//
// The server, everyone on the way to it, and everyone who can write to the
// repository may be hostile. They can withhold changes and, without
// verification, choose the content. They cannot
//
//   - exceed the [Limits] in memory or time;
//   - obtain credentials: these, client certificates and the tokens of a
//     [GitHubApp] go to the scheme, host and port of the URL only, not over plain
//     HTTP unless that was asked for, and into no error;
//   - make Fetch return a tree with names that are dangerous to write to a disk
//     (.., .git and what file systems take for it, control characters, two
//     entries of one name), or a link that is followed out of the tree;
//   - pass one signed tag off as another: [Snapshot.Verify] compares the name.
//
// They can serve an old commit or tag that was signed at its time (a key that
// has since been revoked or taken from the trusted ones does not count): who must
// know that a branch only moves forward compares revisions themselves. A commit
// pinned by its hash need not be on any branch of the repository: forges serve
// the objects of forks under the address of the original.
package git
