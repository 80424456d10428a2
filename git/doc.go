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
//     or kept before the checksum at the end of the transfer was checked. Only
//     [FetchOptions.Stream] sees files earlier, each of which was hashed. Content
//     that was made to collide in SHA-1 is refused.
//   - A later Fetch brings only what is new: it builds upon the commits that the
//     Remote keeps, or else upon [FetchOptions.Base]. What it returns is the same
//     as without them. If anything is odd about that, such as an object that the
//     server left out and that is not held, all is fetched anew.
//   - Every engine, version of the protocol and transport gives the same files.
//   - Signatures are checked over the raw bytes of commits and tags, never over
//     fields that were parsed and written again. They are held to what Git holds
//     them to, and to some more: [Snapshot.Verify] says what.
//   - Nothing outside of the arguments is read: no Git or SSH configuration, no
//     agent, no environment, no proxy settings, no file. Three things are taken
//     from the system: the certificates that it trusts, its resolver of names,
//     and, without [Options.Dir], its directory for temporary files.
//   - A done context ends an operation at once, in every phase of it.
//   - A Remote, a Snapshot and Keys are safe for concurrent use. Of several
//     callers that want one commit, one fetches it.
//
// # Limits
//
//   - Repositories with SHA-1 objects only; others are [ErrObjectFormat].
//   - http, https and ssh; no git://, no local paths, no commands, and no HTTP
//     servers that only hand out files (dumb HTTP). SSH takes a key, with a
//     certificate if there is one; there are no passwords and no agents. Proxies
//     are set in [Options.Proxy] only.
//   - It reads: there is no push, and no history in a Snapshot.
//   - A commit that no reference points to is given by servers that speak version
//     2 of the protocol; elsewhere it is searched in the history of the
//     references ([Limits.History]). Short hashes are looked for among the commits
//     that references point to, and nowhere else.
//   - Names in a tree must be UTF-8, which is what an io/fs.FS requires.
//   - Large files come over HTTP, by the basic transfer of Git LFS. Those that LFS
//     extensions have changed are refused, and what .lfsconfig says is not
//     regarded.
//   - Git attributes are not resolved: no line ends, filters, export-ignore or
//     export-subst.
//   - Signatures are OpenPGP's or SSH's, the latter also by certificates of an
//     authority; those by x509 (S/MIME, gitsign) are refused. OpenSSH's binary
//     lists of revoked keys (KRL) are not read.
//
// The bounds on bytes, objects, references, files and time are in [Limits]. Beside
// them, opening a connection takes at most 30 seconds for each step, an SSH server
// may send 1 MiB before it lets anyone in, an answer of GitHub's API has at most
// 1 MiB, one about at most 100 large files 8 MiB, and .gitmodules 1 MiB.
//
// # Costs
//
// Over HTTP, on a connection that is kept, in requests:
//
//   - Resolve: 2 for the first, which asks what the server can do, then 1; none
//     for the whole hash of a commit. The server lists only what may be meant.
//     One that speaks version 0 only lists everything, always in 1 request. To
//     say what there is instead of something that is missing takes 1 or 2 more,
//     and 1 more to tell apart tags that are equal but for their build metadata.
//   - Fetch: 1; none if everything is held. With [FetchOptions.Dirs] it is 2 on
//     servers that can filter. A named revision that this Remote has not resolved
//     takes 1 more, and so does the first operation of a Remote.
//   - Large files: 1 for each 100, and 1 for each file that is not held. Each
//     submodule: as a Fetch of its own.
//   - Behind a redirect each operation takes 1 more, to find the way.
//
// Over SSH each operation is a connection of its own.
//
// The commit after one that is kept costs what changed: for a file of a few lines
// in a tree of any size it is about a kilobyte, and the directories on its path.
//
// Memory: a transfer reads about 4 MiB ahead of what it stores. What it stores is
// in memory up to 4 MiB, else in a file. For each object and each entry of a
// directory about 100 bytes stay in memory as long as the Snapshot, or the Remote
// that keeps it. The content of a file is in memory as a whole only when
// [Snapshot.ReadFile] returns it. What is on disk is as large as the objects,
// inflated, and is given back when they are not used any more.
//
// # Engines
//
// [EngineFast] is the engine of this package: versions 2 and 0 of the protocol,
// thin packs, one pass over a pack while it arrives. [EngineCompatible] is go-git,
// for servers that the fast one does not understand: version 0, and every fetch
// that is not held brings everything, with the whole pack in memory.
// [EngineAuto], the default, is the fast one, and runs an operation once more with
// the other one if what the server answered was [ErrProtocol]; where that helps, the
// Remote stays with it. Transports, credentials, limits, the checks of trees, and
// signatures are the same.
//
// # Threat model
//
// The server, everyone on the way to it, and everyone who can write to the
// repository may be hostile. They can withhold changes and, without
// verification, choose the content. They cannot
//
//   - exceed the [Limits] in memory, disk or time;
//   - obtain credentials: these, client certificates and the tokens of a
//     [GitHubApp] go to the scheme, host and port of the URL only, not over plain
//     HTTP unless that was asked for, and into no error;
//   - make Fetch return a tree with names that are dangerous to write to a disk
//     (.., .git and what file systems take for it, control characters, two
//     entries of one name), or a link that is followed out of the tree;
//   - make [Snapshot.Checkout] write outside of its directory;
//   - change with a later answer what an earlier Snapshot holds, or what a
//     revision means;
//   - pass one signed tag off as another: [Snapshot.Verify] compares the name.
//
// They can serve an old commit or tag that was signed at its time (a key that
// has since been revoked or taken from the trusted ones does not count): who must
// know that a branch only moves forward compares revisions themselves. A commit
// pinned by its hash need not be on any branch of the repository: forges serve
// the objects of forks under the address of the original. A short hash pins
// nothing, for another commit with the same first digits is easily made.
//
// They can make this process talk to hosts of their choice, without credentials:
// a server by a redirect or by where it says that large files are, and who can
// write to the repository by .gitmodules, if [FetchOptions.Submodules] are asked
// for. What comes back is used only if it has the hash that was asked for; an
// error may quote a line of it. Where that matters, have [Options.Proxy] decide,
// and [Submodules.Options].
//
// Submodules at the scheme, host and port of the repository are read with its
// credentials: who can write to the repository can have this process read, into
// the Snapshot, everything that these credentials can read there.
// [Submodules.Options] chooses otherwise.
//
// A server for large files may name any https address for each of them, and http
// if the repository is at one. The credentials go to the origin of the repository
// only; elsewhere go the headers that the server itself gave for it. The content
// must have the SHA-256 that the pointer names.
//
// [Options.Dir] is trusted: what is in it is checked against accidents when it is
// restored, not against somebody who can write there. The same holds for the
// directory for temporary files. Neither is encrypted.
package git
