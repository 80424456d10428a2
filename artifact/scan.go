package artifact

import (
	"archive/tar"
	"bytes"
	"context"
	_ "crypto/sha512" // sha384 and sha512 digests
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/gitopskit/gitopskit/internal/clip"
)

// sink takes the entries of an archive while it is read, in its order. Nothing
// is known to be right before scan has returned.
type sink interface {
	dir(name string) error
	file(e entry, r io.Reader) error
	link(e entry) error
}

// scan reads a whole archive, checks all there is to check, and hands its entries
// to a sink. It refuses what could mean different things to different readers:
// duplicates, entries below a link, bytes behind the end.
func scan(ctx context.Context, r io.Reader, want digest.Digest, lim Limits, to sink) (*source, error) {
	algorithm := digest.SHA256
	if want != "" {
		if err := want.Validate(); err != nil {
			return nil, fmt.Errorf("digest %q: %w", want, err)
		}
		algorithm = want.Algorithm()
	}
	src := &source{r: withContext(ctx, r), digester: algorithm.Digester(), lim: lim}
	in := &input{ahead: readAhead(src), lim: lim}
	err := in.entries(ctx, to)
	// Wrong bytes fail in a hundred ways; the digest is the one that tells.
	_, rest := io.Copy(io.Discard, in)
	in.ahead.close()
	if rest == nil {
		rest = src.check(want)
	}
	if err == nil || errors.As(rest, new(*DigestError)) {
		err = rest
	}
	return src, err
}

// source is the archive as it comes in. It is read ahead of all else.
type source struct {
	r        io.Reader
	digester digest.Digester
	n        int64
	lim      Limits
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	s.n += int64(n)
	s.digester.Hash().Write(b[:n])
	if over := s.lim.checkArchive(s.n); over != nil {
		n, err = 0, over
	}
	return n, err
}

// check compares the digest of all that was read.
func (s *source) check(want digest.Digest) error {
	if got := s.digester.Digest(); want != "" && got != want {
		return &DigestError{Want: want, Got: got}
	}
	return nil
}

// input is the archive as it is taken apart.
type input struct {
	ahead *ahead
	n     int64
	lim   Limits
	err   error // why reading stopped, if not for its end
}

func (in *input) Read(b []byte) (int, error) {
	n, err := in.ahead.Read(b)
	in.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		in.err = err
	}
	return n, err
}

// entries reads the archive to its end, or to the first error.
func (in *input) entries(ctx context.Context, to sink) error {
	stream := &position{from: expand(in)}
	found, err := stream.entries(in.lim, to)
	stream.from.close()
	if err != nil {
		return in.format(stream.or(err))
	}
	return checkLinks(ctx, found, in.lim)
}

// entries hands all entries on and returns the targets of the links.
func (s *position) entries(lim Limits, to sink) (map[string]string, error) {
	tr := tar.NewReader(s)
	seen := newNames(lim)
	found := map[string]string{}
	var last int64 // where the last entry ends in the stream
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return found, s.end(last)
		}
		if err != nil {
			return nil, err
		}
		last = s.n + padded(h.Size) - 512
		if err := one(h, tr, seen, found, to); err != nil {
			return nil, err
		}
	}
}

// format marks errors that are neither the reader's nor ours as the archive's.
func (in *input) format(err error) error {
	if in.err != nil {
		return in.err
	}
	for _, ours := range []any{new(*LimitError), new(*EntryError), new(*LinkError), new(*sinkError)} {
		if errors.As(err, ours) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrFormat, err)
}

// sinkError marks errors of the place that the entries go to.
type sinkError struct{ error }

func (e *sinkError) Unwrap() error { return e.error }

// one hands a single entry on.
func one(h *tar.Header, r io.Reader, seen *names, links map[string]string, to sink) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return global(h)
	}
	e, err := parse(h)
	if err != nil || e.path == "." && e.mode == modeDir {
		return err
	}
	if err := seen.add(e.path, e.mode == modeDir); err != nil {
		return err
	}
	switch e.mode {
	case modeDir:
		err = to.dir(e.path)
	case modeLink:
		links[e.path] = e.target
		err = to.link(e)
	default:
		body := &bodyReader{r: r}
		if err = to.file(e, body); body.err != nil {
			return body.err
		}
	}
	if err != nil {
		return &sinkError{err}
	}
	return nil
}

// global lets records for all entries pass that change none of them: git archive
// has one, with a comment. Others mean something to some readers only.
func global(h *tar.Header) error {
	for record := range h.PAXRecords {
		if record != "comment" {
			return &EntryError{h.Name, fmt.Sprintf("the record %s for all entries is not taken: give it to each entry", clip.Quote(strconv.Quote(record), 64))}
		}
	}
	return nil
}

// bodyReader remembers whether it was the archive that failed.
type bodyReader struct {
	r   io.Reader
	err error
}

func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// parse reduces a header to what we take. The root directory, which some tools
// put first, comes back as ".".
func parse(h *tar.Header) (entry, error) {
	name := strings.TrimPrefix(h.Name, "./")
	if h.Typeflag == tar.TypeDir {
		name = strings.TrimSuffix(name, "/")
		if name == "" {
			name = "."
		}
		return entry{path: name, mode: modeDir}, nil
	}
	for record := range h.PAXRecords {
		if strings.HasPrefix(record, "GNU.sparse.") {
			return entry{}, &EntryError{name, "sparse files are not taken: pack it without holes"}
		}
	}
	switch h.Typeflag {
	case tar.TypeReg:
		return entry{path: name, mode: fileMode(fs.FileMode(h.Mode & 0o777)), size: h.Size}, nil
	case tar.TypeSymlink:
		return entry{path: name, mode: modeLink, target: h.Linkname}, nil
	case tar.TypeLink:
		return entry{}, &EntryError{name, "hard links are not taken: pack a copy, or a symbolic link"}
	default:
		return entry{}, &EntryError{name, fmt.Sprintf("it is neither a file nor a directory nor a link (tar type %q)", h.Typeflag)}
	}
}

// position is the tar stream. It knows whether the stream ends as it must.
type position struct {
	from  *expansion
	n     int64
	zeros int64 // at the end of what was read
	err   error
}

func (s *position) Read(b []byte) (int, error) {
	n, err := s.from.Read(b)
	s.n += int64(n)
	if tail := len(bytes.TrimRight(b[:n], "\x00")); tail > 0 {
		s.zeros = int64(n - tail)
	} else {
		s.zeros += int64(n)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// or prefers the error that came first to what the tar reader made of it.
func (s *position) or(err error) error {
	if s.err != nil {
		return s.err
	}
	return err
}

// end reads what follows the last entry: zeros, and at least the two blocks of
// them that end an archive. Without this, an archive that was cut between two
// gzip members would pass for a smaller one.
func (s *position) end(last int64) error {
	if _, err := io.Copy(io.Discard, s); err != nil {
		return err
	}
	switch after := s.n - last; {
	case after > s.zeros:
		return errors.New("there is more behind the end of the archive")
	case after < 2*512:
		return io.ErrUnexpectedEOF
	}
	return nil
}
