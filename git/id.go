package git

import (
	"encoding/hex"
	"fmt"
)

// id is the name of a Git object: the SHA-1 of its type, size and content.
type id [20]byte

func (i id) String() string { return hex.EncodeToString(i[:]) }

func (i id) isZero() bool { return i == id{} }

// parseID reads the 40 hexadecimal digits of an id, in lower case.
func parseID(s string) (id, error) {
	var i id
	if len(s) != 2*len(i) {
		return id{}, fmt.Errorf("%q is not a commit hash: it takes %d hexadecimal digits", clip(s), 2*len(i))
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return id{}, fmt.Errorf("%q is not a commit hash: it takes hexadecimal digits in lower case", clip(s))
		}
	}
	_, err := hex.Decode(i[:], []byte(s))
	return i, err
}

// object is an object as it was stored: its type and raw content, which nobody
// changes.
type object struct {
	kind string // commit, tree, blob or tag
	raw  []byte
}
