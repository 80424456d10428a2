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
	ErrLoop     = errors.New("it leads in a circle or to too long a path")
)

// maxPath is how long a path may become on the way, as in Linux. How many links
// it leads through is not bounded: each is followed once.
const maxPath = 4096

// Lookup tells what a name is: the target if it is a link, and ok false if it is
// anything else. Its error ends the resolution and is returned as it is. It is
// asked about parents first, and never about a name below a link.
type Lookup func(name string) (target string, ok bool, err error)

// Resolver follows links in one tree that does not change. It remembers where
// each link led, so that thousands of links through each other cost no more than
// each of them alone. It is not safe for concurrent use.
type Resolver struct {
	lookup Lookup
	known  map[string]result // by link
}

// result is where a link leads, or why nowhere.
type result struct {
	path string
	err  error
}

// NewResolver returns a resolver for the tree that lookup describes.
func NewResolver(lookup Lookup) *Resolver {
	return &Resolver{lookup: lookup, known: map[string]result{}}
}

// Resolve follows every link in name, a slash-separated path from the root of
// the tree, and returns the path without links; "." is the root.
//
// A ".." is taken after the links before it were followed, as a kernel does it:
// cleaning the text first would let a link to a shallower directory climb out.
func (r *Resolver) Resolve(name string) (string, error) {
	way := []leg{{at: ".", rest: name}}
	for {
		last := &way[len(way)-1]
		if last.rest != "" {
			next, err := r.step(last)
			if err != nil {
				r.fail(way, err)
				return "", err
			}
			if next.link != "" {
				way = append(way, next)
			}
			continue
		}
		if last.link == "" {
			return last.at, nil
		}
		r.known[last.link] = result{path: last.at}
		way[len(way)-2].at = last.at
		way = way[:len(way)-1]
	}
}

// leg is a part of the way: a directory without links in its own path, and what
// is still to be gone from there.
type leg struct {
	at, rest string
	link     string // that the leg is the target of
}

// step goes one part on. If that is a link, its leg comes first.
func (r *Resolver) step(l *leg) (leg, error) {
	part, rest, _ := strings.Cut(l.rest, "/")
	l.rest = rest
	switch {
	case part == "" || part == ".":
		return leg{}, nil
	case part == ".." && l.at == ".":
		return leg{}, ErrEscapes
	case part == "..":
		l.at = path.Dir(l.at)
		return leg{}, nil
	}
	entry := path.Join(l.at, part)
	if known, ok := r.known[entry]; ok {
		l.at = known.path
		return leg{}, known.err
	}
	if len(entry) > maxPath {
		return leg{}, ErrLoop
	}
	target, isLink, err := r.lookup(entry)
	switch {
	case err != nil:
		return leg{}, err
	case !isLink:
		l.at = entry
		return leg{}, nil
	case path.IsAbs(target):
		r.known[entry] = result{err: ErrAbsolute}
		return leg{}, ErrAbsolute
	}
	// Until it is known where the link leads, coming back to it is a circle.
	r.known[entry] = result{err: ErrLoop}
	return leg{at: l.at, rest: target, link: entry}, nil
}

// fail remembers that the links on a way lead nowhere.
func (r *Resolver) fail(way []leg, err error) {
	for _, l := range way {
		if l.link != "" {
			r.known[l.link] = result{err: err}
		}
	}
}
