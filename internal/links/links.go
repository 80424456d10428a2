// Package links follows symbolic links inside a tree of files and never out of
// it. It knows nothing of disks: whoever calls says what each name is.
package links

import (
	"errors"
	"path"
	"strings"
)

// Why a link cannot be followed.
var (
	ErrAbsolute = errors.New("its target is an absolute path")
	ErrEscapes  = errors.New("its target lies outside of the tree")
	ErrLoop     = errors.New("it leads through too many links or to too long a path")
)

// As Linux has it: how many links one name may lead through, and how long a path
// may become.
const (
	maxHops = 40
	maxPath = 4096
)

// Lookup tells what a name is: the target if it is a link, and ok false if it is
// anything else. Its error ends the resolution and is returned as it is. It is
// asked about parents first, and never about a name below a link.
type Lookup func(name string) (target string, ok bool, err error)

// Resolver follows links in one tree that does not change. It remembers where
// each link led, so that thousands of links through each other cost no more than
// each of them alone. It is not safe for concurrent use.
type Resolver struct {
	lookup Lookup
	known  map[string]string // link -> where it leads
}

// NewResolver returns a resolver for the tree that lookup describes.
func NewResolver(lookup Lookup) *Resolver {
	return &Resolver{lookup: lookup, known: map[string]string{}}
}

// Resolve follows every link in name, a slash-separated path from the root of
// the tree, and returns the path without links; "." is the root.
//
// A ".." is taken after the links before it were followed, as a kernel does it:
// cleaning the text first would let a link to a shallower directory climb out.
func (r *Resolver) Resolve(name string) (string, error) { return r.from(".", name, 0) }

// from resolves name from a directory that has no links in its own path.
func (r *Resolver) from(at, name string, hops int) (string, error) {
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
			continue
		case "..":
			if at == "." {
				return "", ErrEscapes
			}
			at = path.Dir(at)
			continue
		}
		next, err := r.step(at, path.Join(at, part), hops)
		if err != nil {
			return "", err
		}
		at = next
	}
	return at, nil
}

// step goes from a directory to an entry of it, and on if that is a link.
func (r *Resolver) step(at, entry string, hops int) (string, error) {
	if real, ok := r.known[entry]; ok {
		return real, nil
	}
	if len(entry) > maxPath {
		return "", ErrLoop
	}
	target, isLink, err := r.lookup(entry)
	switch {
	case err != nil:
		return "", err
	case !isLink:
		return entry, nil
	case path.IsAbs(target):
		return "", ErrAbsolute
	case hops == maxHops:
		return "", ErrLoop
	}
	real, err := r.from(at, target, hops+1)
	if err != nil {
		return "", err
	}
	r.known[entry] = real
	return real, nil
}
