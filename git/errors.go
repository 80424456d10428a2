package git

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What can go wrong, for [errors.Is]. Those marked terminal, and the typed
// errors that say so, have a method Terminal that returns true: trying again
// cannot help, something must be changed first.
var (
	// ErrInvalidURL: the address is malformed or of a kind that this package
	// refuses (terminal).
	ErrInvalidURL error = &kind{"invalid repository URL", true}
	// ErrInvalidRef: a reference, range or revision that no repository can
	// have (terminal).
	ErrInvalidRef error = &kind{"invalid reference", true}
	// ErrInvalidAuth: credentials that cannot be used: an unreadable key, a
	// wrong passphrase, a combination that makes no sense (terminal).
	ErrInvalidAuth error = &kind{"invalid credentials", true}
	// ErrInvalidOptions: an option with a value that it cannot have (terminal).
	ErrInvalidOptions error = &kind{"invalid options", true}
	// ErrInvalidKeys: public keys to verify with that cannot be read, or none, or
	// an unknown [Mode] (terminal).
	ErrInvalidKeys error = &kind{"cannot verify", true}
	// ErrInsecureCredentials: credentials would have gone over plain HTTP
	// (terminal).
	ErrInsecureCredentials error = &kind{"credentials refused over plain HTTP", true}
	// ErrClosed: the Remote was closed (terminal).
	ErrClosed error = &kind{"the remote is closed", true}

	// ErrUnreachable: the server cannot be reached, or says that it cannot
	// serve now.
	ErrUnreachable error = &kind{"server unreachable", false}
	// ErrAuthRequired: the server wants credentials and there are none.
	ErrAuthRequired error = &kind{"authentication required", false}
	// ErrAuthRefused: the server does not accept the credentials.
	ErrAuthRefused error = &kind{"authentication refused", false}
	// ErrProxy: Options.Proxy cannot be reached, refuses, or does not reach the
	// server.
	ErrProxy error = &kind{"no connection through the proxy", false}
	// ErrHostKey: the SSH server's key is not the one that is known
	// (see [HostKeyError]; terminal).
	ErrHostKey error = &kind{"host key not trusted", true}
	// ErrRepositoryNotFound: there is no such repository, or it is hidden from
	// these credentials.
	ErrRepositoryNotFound error = &kind{"repository not found", false}
	// ErrProtocol: the server does not speak Git's protocol, or breaks it.
	ErrProtocol error = &kind{"unexpected answer from the server", false}

	// ErrEmptyRepository: the repository has no commits yet.
	ErrEmptyRepository error = &kind{"the repository is empty", false}
	// ErrObjectFormat: the repository does not use SHA-1 (terminal).
	ErrObjectFormat error = &kind{"unsupported object format", true}
	// ErrReferenceNotFound: no such branch, tag or reference
	// (see [ReferenceError]).
	ErrReferenceNotFound error = &kind{"reference not found", false}
	// ErrNoMatch: no tag is in the SemVer range (see [ReferenceError]).
	ErrNoMatch error = &kind{"no tag matches", false}
	// ErrDirectoryNotFound: one of [FetchOptions.Dirs] is not in the tree.
	ErrDirectoryNotFound error = &kind{"directory not found", false}
	// ErrCommitUnavailable: the server does not give this commit.
	ErrCommitUnavailable error = &kind{"commit not available", false}
	// ErrLFS: the server does not give a file that is in large file storage
	// (see [LFSError]), or has no such storage.
	ErrLFS error = &kind{"large file not available", false}

	// ErrStorage: objects cannot be kept on disk, or what was kept cannot be read.
	ErrStorage error = &kind{"cannot keep objects on disk", false}
	// ErrLimit: one of [Limits] was exceeded (see [LimitError]; terminal, but
	// for Time).
	ErrLimit error = &kind{"limit exceeded", true}
	// ErrMalformed: an object or pack that Git would not have written
	// (terminal).
	ErrMalformed error = &kind{"malformed object", true}
	// ErrLink: a link that leads out of the tree, or in circles (terminal).
	ErrLink error = &kind{"link not followed", true}
)

// kind is a sentinel error that knows whether trying again can help.
type kind struct {
	text     string
	terminal bool
}

func (k *kind) Error() string  { return k.text }
func (k *kind) Terminal() bool { return k.terminal }

// RemoteError says which operation on which repository failed. Its text holds
// no credentials.
type RemoteError struct {
	Op  string // "resolve" or "fetch"
	URL string // the address, without credentials
	Err error
}

func (e *RemoteError) Error() string { return fmt.Sprintf("%s %s: %v", e.Op, e.URL, e.Err) }
func (e *RemoteError) Unwrap() error { return e.Err }

// ReferenceError says that what was asked for is not in the repository, and
// what is. It is [ErrReferenceNotFound] or [ErrNoMatch].
type ReferenceError struct {
	Want string // as it was asked for: `branch "mian"`
	// Have are at most five that are there: those with a similar name first.
	Have []string
	// Similar says that Have are similar to what was asked for.
	Similar bool

	kind error
}

func (e *ReferenceError) Error() string {
	switch {
	case len(e.Have) == 0:
		return fmt.Sprintf("%v: %s; the repository has none of that kind", e.kind, e.Want)
	case e.Similar:
		return fmt.Sprintf("%v: %s; did you mean %s?", e.kind, e.Want, strings.Join(e.Have, " or "))
	}
	return fmt.Sprintf("%v: %s; there are for example %s", e.kind, e.Want, strings.Join(e.Have, ", "))
}

func (e *ReferenceError) Unwrap() error { return e.kind }

// HostKeyError says that the key of an SSH server is not to be trusted. It is
// [ErrHostKey].
type HostKeyError struct {
	Host        string // as in known_hosts: host, or [host]:port
	Fingerprint string // of the key that the server showed, if it showed one
	// Mismatch: the known hosts hold another key for this host. Otherwise they
	// hold none.
	Mismatch bool
	// Revoked: the known hosts say that the key must not be used.
	Revoked bool
}

func (e *HostKeyError) Error() string {
	switch {
	case e.Revoked:
		return fmt.Sprintf("%v: %s showed %s, which the known hosts revoke", ErrHostKey, e.Host, e.Fingerprint)
	case e.Mismatch && e.Fingerprint == "":
		return fmt.Sprintf("%v: %s has no key of a type that the known hosts hold for it; compare its keys with its operator's list", ErrHostKey, e.Host)
	case e.Mismatch:
		return fmt.Sprintf("%v: %s showed %s, the known hosts hold another key for it; either the server has changed its key or someone is in between", ErrHostKey, e.Host, e.Fingerprint)
	}
	return fmt.Sprintf("%v: %s showed %s, the known hosts hold no key for it; compare with the operator's list and add it to Auth.KnownHosts", ErrHostKey, e.Host, e.Fingerprint)
}

func (e *HostKeyError) Unwrap() error { return ErrHostKey }

// LimitError says which of the [Limits] was exceeded. It is [ErrLimit].
type LimitError struct {
	Name  string // the field of Limits
	Limit int64  // in the unit of the field; nanoseconds for Time
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%v: more than Limits.%s allows (%s)", ErrLimit, e.Name, e.value())
}

func (e *LimitError) Unwrap() error { return ErrLimit }

// Terminal returns true for all limits but Time, where another try may be
// faster.
func (e *LimitError) Terminal() bool { return e.Name != "Time" }

// LFSError says which large file cannot be had. It is [ErrLFS].
type LFSError struct {
	LFSFile
	// Code is what the server says, as in HTTP: 404 it has no such file, 410 it
	// was removed. 0: nothing.
	Code int
	// Message is why, in the words of the server if it has any.
	Message string
}

func (e *LFSError) Error() string {
	text := fmt.Sprintf("%v: %q (SHA-256 %s)", ErrLFS, clip(e.Path), e.OID)
	if e.Code != 0 {
		text += fmt.Sprintf(": status %d", e.Code)
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.Code == 404 {
		text += "; push it with git lfs push"
	}
	return text
}

func (e *LFSError) Unwrap() error { return ErrLFS }

// Terminal returns true for files that will not be there later either.
func (e *LFSError) Terminal() bool { return e.Extended || e.Code == 410 || e.Code == 422 }

// clipped is where clip has cut something off.
const clipped = "…"

// clip makes text from elsewhere fit for an error message: one line, printable,
// not long.
func clip(s string) string {
	const most = 200
	for i := range s {
		if i >= most {
			return strings.TrimSpace(printable(s[:i]) + clipped)
		}
	}
	return strings.TrimSpace(printable(s))
}

// printable has spaces in the place of what cannot be printed.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// wrap makes an error of an operation on this remote.
func (r *Remote) wrap(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	var below *RemoteError // of a submodule, which says why already
	var limit *LimitError
	// Whatever a connection said when it was cut: this is why it was cut.
	switch cause := context.Cause(ctx); {
	case errors.As(err, &below):
	case errors.As(err, &limit):
		err = limit
	case cause != nil:
		err = cause
	}
	return &RemoteError{Op: op, URL: r.shown, Err: r.secrets.clean(err)}
}

// similar picks at most five of names for a message: those close to want, or
// else the first ones.
func similar(want string, names []string) (have []string, close bool) {
	const most, scanned = 5, 10_000
	type scored struct {
		name     string
		distance int
	}
	var near []scored
	for _, name := range names[:min(len(names), scanned)] {
		if d := distance(want, name); d <= max(2, len(want)/4) {
			near = append(near, scored{name, d})
		}
	}
	slices.SortStableFunc(near, func(a, b scored) int { return a.distance - b.distance })
	for _, s := range near[:min(len(near), most)] {
		have = append(have, fmt.Sprintf("%q", s.name))
	}
	if have != nil {
		return have, true
	}
	for _, name := range names[:min(len(names), most)] {
		have = append(have, fmt.Sprintf("%q", clip(name)))
	}
	return have, false
}

// distance is the edit distance of two short names; of long ones it is the
// length, which is far enough.
func distance(a, b string) int {
	const short = 64
	if len(a) > short || len(b) > short {
		return short
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
