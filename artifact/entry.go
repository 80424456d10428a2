package artifact

import (
	"archive/tar"
	"crypto/sha256"
	"fmt"
	"hash"
	"io/fs"

	"github.com/opencontainers/go-digest"
)

// entry is a file or a link of a tree, reduced to what an archive keeps.
type entry struct {
	path   string
	mode   fs.FileMode // one of the three below
	size   int64       // of a file, in bytes
	target string      // of a link
}

// The modes that trees and archives are reduced to, as Git does it.
const (
	modeFile fs.FileMode = 0o644
	modeExec fs.FileMode = 0o755
	modeLink             = fs.ModeSymlink | 0o777
	modeDir              = fs.ModeDir | 0o755
)

// fileMode keeps nothing of a file's permissions but whether its owner may
// execute it.
func fileMode(m fs.FileMode) fs.FileMode {
	if m&0o100 != 0 {
		return modeExec
	}
	return modeFile
}

func (e entry) isLink() bool { return e.mode == modeLink }

// header leaves times, owners and devices at zero. archive/tar writes the oldest
// format that can hold the name, so the choice depends on the tree alone.
func (e entry) header() *tar.Header {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: e.path, Size: e.size, Mode: int64(e.mode.Perm())}
	if e.isLink() {
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.target
	}
	return h
}

// contentDigest sums up entries, added in the order of their paths. It is made of
// one line per entry: mode as in Git, SHA-256 of the bytes (of a link: of its
// target), length of the path, path. Because it is made of digests, a caller who
// knows a file's digest need not read the file.
type contentDigest struct{ hash hash.Hash }

func newContentDigest() contentDigest {
	h := sha256.New()
	fmt.Fprintln(h, "gitopskit tree 1")
	return contentDigest{h}
}

func (c contentDigest) add(e entry, sum []byte) {
	mode := "100644"
	switch e.mode {
	case modeExec:
		mode = "100755"
	case modeLink:
		mode = "120000"
	default: // a plain file
	}
	fmt.Fprintf(c.hash, "%s %x %d %s\n", mode, sum, len(e.path), e.path)
}

func (c contentDigest) sum() digest.Digest { return digest.NewDigest(digest.SHA256, c.hash) }
