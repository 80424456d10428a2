// Package gitserver makes real Git repositories and serves them on loopback,
// for tests and for the demo. It needs the git command and nothing else: no
// gpg, no ssh-keygen, no sshd.
//
// [Create] makes a bare repository; [Repo.Commit] and [Repo.Tag] write objects
// into it, signed by an [OpenPGPSigner] or an [SSHSigner] if one is given.
// [HTTP] is git's own http-backend as an [net/http.Handler], [ServeHTTP] and
// [ServeSSH] put a directory of repositories on a free port, and
// what they start ends with Close. An [LFS] stores large files beside them.
//
// Git runs with neither the user's nor the system's configuration, so that the
// result is the same on every machine.
package gitserver
