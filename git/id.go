package git

import (
	"encoding/hex"
	"fmt"
	"strings"
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

// checkHash checks a hash, or the beginning of one.
func checkHash(s string) error {
	const shortest = 7 // what git shows
	if len(s) < shortest || len(s) > 2*len(id{}) {
		return fmt.Errorf("%q is not a commit hash: it takes %d hexadecimal digits, or the first %d or more of them", clip(s), 2*len(id{}), shortest)
	}
	_, err := parseID(s + strings.Repeat("0", 2*len(id{})-len(s)))
	if err != nil {
		return fmt.Errorf("%q is not a commit hash: it takes hexadecimal digits in lower case", clip(s))
	}
	return nil
}
