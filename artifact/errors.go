package artifact

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/opencontainers/go-digest"

	"github.com/gitopskit/gitopskit/internal/clip"
)

// ErrFormat is what every error wraps that means "these bytes are no whole
// tar.gz archive": damaged, cut short, something else, or with more behind its
// end.
var ErrFormat = errors.New("not a whole tar.gz archive")

// LimitError says that a tree or an archive is larger than allowed.
type LimitError struct {
	Limit string // the field of [Limits]
	Max   int64  // its value
	Path  string // the entry at fault, where one is
}

func (e *LimitError) Error() string {
	if e.Path != "" {
		return fmt.Sprintf("%q exceeds Limits.%s (%d): make it smaller, leave it out, or raise the limit", e.Path, e.Limit, e.Max)
	}
	return fmt.Sprintf("the tree exceeds Limits.%s (%d): leave files out, or raise the limit", e.Limit, e.Max)
}

// Terminal reports that trying again cannot help.
func (e *LimitError) Terminal() bool { return true }

// EntryError says that an entry of a tree or of an archive cannot be taken:
// a device, a hard link, a name that leads out of the tree, a duplicate.
type EntryError struct {
	Path   string
	Reason string
}

func (e *EntryError) Error() string { return fmt.Sprintf("entry %q: %s", e.Path, e.Reason) }

// Terminal reports that trying again cannot help.
func (e *EntryError) Terminal() bool { return true }

// LinkError says that a symbolic link does not stay inside the tree.
type LinkError struct {
	Path   string
	Target string
	Err    error // why
}

func (e *LinkError) Error() string {
	return fmt.Sprintf("link %q -> %q: %v: point it at something in the tree, or leave it out", e.Path, e.Target, e.Err)
}

func (e *LinkError) Unwrap() error { return e.Err }

// Terminal reports that trying again cannot help.
func (e *LinkError) Terminal() bool { return true }

// DigestError says that bytes are not those that were asked for.
type DigestError struct {
	Want, Got digest.Digest
}

func (e *DigestError) Error() string {
	return fmt.Sprintf("the archive has digest %s, not %s: it was damaged or replaced; fetch or pack it again", e.Got, e.Want)
}

// NotFoundError says that a [Store] has no archive of this digest.
// It matches [fs.ErrNotExist].
type NotFoundError struct {
	Digest digest.Digest
}

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("the store has no archive %s: pack it again", e.Digest)
}

func (e *NotFoundError) Unwrap() error { return fs.ErrNotExist }

// DamagedError says that what a [Store] holds under a digest is not what was
// put there. Packing the same tree again replaces it.
type DamagedError struct {
	Digest digest.Digest
	Err    error // how it is damaged
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the stored archive %s is damaged, pack it again: %v", e.Digest, e.Err)
}

func (e *DamagedError) Unwrap() error { return e.Err }

// KeyError says that a [Backend] takes no such key; see [CheckKey].
type KeyError struct {
	Key string
}

func (e *KeyError) Error() string {
	return fmt.Sprintf("key %q: not parts of small letters, digits, \"-\" and \".\" with slashes between them", clip.Quote(e.Key, 200))
}

// Terminal reports that trying again cannot help.
func (e *KeyError) Terminal() bool { return true }

// NameError says that a name cannot be that of a source; see [Store.Record].
type NameError struct {
	Name string
}

func (e *NameError) Error() string {
	return fmt.Sprintf("name %q: not a clean path such as gitrepository/default/app of at most 1024 bytes", clip.Quote(e.Name, 200))
}

// Terminal reports that trying again cannot help.
func (e *NameError) Terminal() bool { return true }
