package git

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// LFSFile is a file of which the repository holds a pointer only: its content
// is in Git's large file storage.
type LFSFile struct {
	Path string // in the tree
	OID  string // the SHA-256 of the content, in lower-case hexadecimal
	Size int64  // of the content, in bytes
	// Extended: programs that only the committer's machine knows have changed
	// the content before it was stored (the pointer has lines that begin with
	// ext-). It is never fetched, for it is not what the file was.
	Extended bool
}

// lfsPointer is what a pointer says.
type lfsPointer struct {
	oid      string
	size     int64
	extended bool
}

// at is the pointer as a file of the tree.
func (p lfsPointer) at(path string) LFSFile {
	return LFSFile{Path: path, OID: p.oid, Size: p.size, Extended: p.extended}
}

const (
	lfsPointerSize = 1024 // a pointer is smaller
	lfsVersion     = "version https://git-lfs.github.com/spec/v1"
)

// parseLFSPointer reads a pointer of version 1; ok is false for any other blob.
// Like git-lfs it bears white space around it and the line ends of Windows,
// because what git-lfs takes for a pointer is no content. Other than git-lfs it
// bears nothing else: no other keys, no other order.
func parseLFSPointer(blob []byte) (p lfsPointer, ok bool) {
	if len(blob) >= lfsPointerSize || !bytes.Contains(blob, []byte(lfsVersion)) || !utf8.Valid(blob) {
		return p, false
	}
	lines := strings.Split(strings.TrimSpace(string(blob)), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSuffix(line, "\r")
	}
	if len(lines) < 3 || lines[0] != lfsVersion {
		return p, false
	}
	extensions, last := lines[1:len(lines)-2], lines[len(lines)-2:]
	for i, line := range extensions {
		if !validLFSExtension(line) || line <= lines[i] && i > 0 {
			return p, false
		}
	}
	oid, isOID := strings.CutPrefix(last[0], "oid sha256:")
	size, isSize := parseLFSSize(last[1])
	if !isOID || !isSize || !isSHA256(oid) {
		return p, false
	}
	return lfsPointer{oid, size, len(extensions) > 0}, true
}

// validLFSExtension checks a line such as "ext-0-name sha256:…".
func validLFSExtension(line string) bool {
	key, value, ok := strings.Cut(line, " ")
	number, name, named := strings.Cut(strings.TrimPrefix(key, "ext-"), "-")
	oid, isOID := strings.CutPrefix(value, "sha256:")
	return ok && named && name != "" && strings.HasPrefix(key, "ext-") && isOID && isSHA256(oid) &&
		len(number) == 1 && number[0] >= '0' && number[0] <= '9'
}

func parseLFSSize(line string) (int64, bool) {
	digits, ok := strings.CutPrefix(line, "size ")
	size, err := strconv.ParseInt(digits, 10, 64)
	// In one way only: no sign, no zeros in front.
	return size, ok && err == nil && size >= 0 && strconv.FormatInt(size, 10) == digits
}

func isSHA256(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}
