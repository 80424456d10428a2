package artifact

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/gitopskit/gitopskit/internal/clip"
)

// Backend keeps files under keys: what a [Store] and a [Handler] need of a disk, a
// bucket or a registry. It is safe for concurrent use, also by several processes.
// Package artifacttest has the tests that an implementation has to pass.
//
// A key is what [CheckKey] accepts. Methods return an error for other keys. A key
// that is not there is an error that matches [fs.ErrNotExist].
type Backend interface {
	// Put reads body from where it stands to its end, size bytes, and keeps them
	// under the key, in place of what was there. Whoever reads the key sees all of
	// one content or all of the other. When Put returns, the file survives a crash.
	// It may seek back to try again.
	Put(ctx context.Context, key string, size int64, body io.ReadSeeker) error
	// Open reads length bytes from offset on, or to the end if length is negative.
	// The offset is zero or less than the size of the file. What is being read can
	// be read to its end, even if the key is replaced or deleted meanwhile.
	Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)
	// Stat tells about a file.
	Stat(ctx context.Context, key string) (Info, error)
	// Delete removes a file. It is no error if there is none.
	Delete(ctx context.Context, key string) error
	// List yields the keys that begin with a prefix, which ends with a slash, in
	// any order. What is put or deleted meanwhile may or may not be among them. An
	// error is the last thing that it yields.
	List(ctx context.Context, prefix string) iter.Seq2[string, error]
}

// Info tells about a file in a [Backend].
type Info struct {
	Size int64 // in bytes
	// Modified is when the file was put.
	Modified time.Time
	// Version differs when the file was put again or its bytes were changed. It
	// answers "is this what I looked at before?".
	Version string
}

// maxKey is what the tag of a registry can hold.
const maxKey = 128

// CheckKey accepts what every [Backend] can keep: at least two parts with slashes
// between them, each of small letters, digits, "-" and ".", not beginning with
// "-" or ".", at most 128 bytes together.
func CheckKey(key string) error {
	if len(key) > maxKey || !strings.Contains(key, "/") {
		return &KeyError{key}
	}
	for part := range strings.SplitSeq(key, "/") {
		if part == "" || part[0] == '.' || part[0] == '-' || strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" {
			return &KeyError{key}
		}
	}
	return nil
}

// Key names the archive of a digest in a [Backend]. Only SHA-256 names archives:
// for another digest it returns a [*NotFoundError].
func Key(d digest.Digest) (string, error) {
	if err := d.Validate(); err != nil {
		return "", fmt.Errorf("digest %q: %w", clip.Quote(d.String(), 200), err)
	}
	if d.Algorithm() != digest.SHA256 {
		return "", &NotFoundError{d}
	}
	return archiveDir + "/" + d.Encoded() + archiveExt, nil
}

// notExist makes an error for a key that is not there.
func notExist(op, key string) error {
	return &fs.PathError{Op: op, Path: key, Err: fs.ErrNotExist}
}
