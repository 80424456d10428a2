package git

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Identity is who made a commit or a tag, as they said themselves: without a
// signature nothing proves it.
type Identity struct {
	Name, Email string
	// Time with the offset from UTC that was written down; zero if it cannot
	// be read.
	Time time.Time
}

// Commit is a commit without its tree.
type Commit struct {
	Hash    string   // 40 hexadecimal digits
	Tree    string   // hash of its tree
	Parents []string // hashes of its parents

	Author, Committer Identity
	// Message is everything after the header, byte for byte.
	Message string
}

// Tag is an annotated tag.
type Tag struct {
	Hash string // of the tag itself
	// Target is the hash of what the tag points to: a commit, or another tag.
	Target string
	// Name is what the tag calls itself. Nothing but a signature's check (see
	// [Snapshot.Verify]) binds it to the reference that it was found under.
	Name   string
	Tagger Identity
	// Message is everything after the header, byte for byte, without a
	// signature at its end.
	Message string
}

// header is a line of the header of a commit or tag, its continuation lines
// included.
type header struct {
	name, value string
	// begin and end are its place in the raw object, with the final newline.
	begin, end int
}

// splitHeader takes the header of a commit or tag apart. It is strict: what
// two readers could read differently is an error.
func splitHeader(raw []byte) (headers []header, body int, err error) {
	malformed := func(why string) ([]header, int, error) {
		return nil, 0, fmt.Errorf("%w: header: %s", ErrMalformed, why)
	}
	for at := 0; ; {
		end := bytes.IndexByte(raw[at:], '\n')
		if end < 0 {
			return malformed("it has no end")
		}
		line := raw[at : at+end]
		next := at + end + 1
		switch {
		case len(line) == 0:
			return headers, next, nil
		case bytes.IndexByte(line, 0) >= 0:
			return malformed("a NUL byte")
		case line[0] == ' ':
			if len(headers) == 0 {
				return malformed("it begins with a continuation line")
			}
			last := &headers[len(headers)-1]
			last.value += "\n" + string(line[1:])
			last.end = next
		default:
			name, value, ok := strings.Cut(string(line), " ")
			if !ok || name == "" {
				return malformed("a line without a value")
			}
			headers = append(headers, header{name, value, at, next})
		}
		at = next
	}
}

// fields are what a kind of object must have, in this order.
var (
	commitFields = []string{"tree", "parent", "author", "committer"}
	tagFields    = []string{"object", "type", "tag", "tagger"}
)

// checkOrder holds headers to the order that git writes: the fields first, each
// once, but for parents, which may be none or many.
func checkOrder(headers []header, fields []string) error {
	rest := headers
	for _, field := range fields {
		n := 0
		for len(rest) > 0 && rest[0].name == field {
			rest = rest[1:]
			n++
		}
		if n != 1 && field != "parent" && !(n == 0 && field == "tagger") { // old tags have no tagger
			return fmt.Errorf("%w: header: %d %s lines where 1 belongs", ErrMalformed, n, field)
		}
	}
	signatures := 0
	for _, h := range rest {
		for _, field := range fields {
			if h.name == field {
				return fmt.Errorf("%w: header: a second %s line", ErrMalformed, field)
			}
		}
		if h.name == "gpgsig" {
			signatures++
		}
	}
	if signatures > 1 {
		return fmt.Errorf("%w: header: %d signatures", ErrMalformed, signatures)
	}
	return nil
}

// parseCommit reads a commit.
func parseCommit(hash id, raw []byte) (*Commit, error) {
	headers, body, err := splitHeader(raw)
	if err == nil {
		err = checkOrder(headers, commitFields)
	}
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", hash, err)
	}
	c := &Commit{Hash: hash.String(), Message: string(raw[body:])}
	for _, h := range headers {
		switch h.name {
		case "tree", "parent":
			target, err := parseID(h.value)
			if err != nil {
				return nil, fmt.Errorf("commit %s: %w: header: %s: %w", hash, ErrMalformed, h.name, err)
			}
			if h.name == "tree" {
				c.Tree = target.String()
			} else {
				c.Parents = append(c.Parents, target.String())
			}
		case "author":
			c.Author = parseIdentity(h.value)
		case "committer":
			c.Committer = parseIdentity(h.value)
		}
	}
	return c, nil
}

// parseTag reads an annotated tag, and returns the type of its target beside
// it.
func parseTag(hash id, raw []byte) (tag *Tag, kind string, err error) {
	headers, body, err := splitHeader(raw)
	if err == nil {
		err = checkOrder(headers, tagFields)
	}
	if err != nil {
		return nil, "", fmt.Errorf("tag %s: %w", hash, err)
	}
	tag = &Tag{Hash: hash.String(), Message: string(raw[body:])}
	if at, n := findSignature(raw[body:]); n > 0 {
		tag.Message = tag.Message[:at]
	}
	for _, h := range headers {
		switch h.name {
		case "object":
			target, err := parseID(h.value)
			if err != nil {
				return nil, "", fmt.Errorf("tag %s: %w: header: object: %w", hash, ErrMalformed, err)
			}
			tag.Target = target.String()
		case "type":
			kind = h.value
		case "tag":
			tag.Name = h.value
		case "tagger":
			tag.Tagger = parseIdentity(h.value)
		}
	}
	return tag, kind, nil
}

// parseIdentity reads "Name <email> seconds offset". Old repositories hold all
// sorts of it; what cannot be read is left empty.
func parseIdentity(s string) Identity {
	open, end := strings.Index(s, "<"), strings.LastIndex(s, ">")
	if open < 0 || end < open {
		return Identity{Name: strings.TrimSpace(s)}
	}
	who := Identity{Name: strings.TrimSpace(s[:open]), Email: s[open+1 : end]}
	seconds, offset, _ := strings.Cut(strings.TrimSpace(s[end+1:]), " ")
	unix, err := strconv.ParseInt(seconds, 10, 64)
	const year9999 = 253402300799
	if err != nil || unix < 0 || unix > year9999 {
		return who
	}
	who.Time = time.Unix(unix, 0).In(parseOffset(offset))
	return who
}

// parseOffset reads +hhmm.
func parseOffset(s string) *time.Location {
	n, err := strconv.Atoi(s)
	if err != nil || len(s) != 5 || n == 0 {
		return time.UTC
	}
	return time.FixedZone("", (n/100*60+n%100)*60)
}
