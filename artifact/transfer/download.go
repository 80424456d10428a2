package transfer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/gitopskit/gitopskit/artifact"
)

const (
	// maxWait is the longest that a fetch waits before it tries again. A server that
	// asks for more gets it from whoever fetches.
	maxWait = time.Minute
	// progress is how far a download must come to be allowed as many failures again.
	progress = 1 << 20
)

// errRestarts ends a download from a server without ranges.
var errRestarts = errors.New("the server breaks off again and again, and cannot go on from there")

// Download is an archive on its way. It is read once, to [io.EOF], before which
// nothing of it can be trusted: the last read fails with a [*artifact.DigestError] if the
// artifact's digest is another. It is not safe for concurrent use.
type Download struct {
	ctx      context.Context //nolint:containedctx // of the one call that downloads
	f        *Fetcher
	from     artifact.Artifact
	digester digest.Digester // nil if somebody else checks
	at       *url.URL
	none     string // the If-None-Match of the first request
	etag     string
	max      int64
	total    int64 // -1 if not known

	body     *body // of the answer that is being read, nil if there is none
	offset   int64
	err      error // how it ended
	failures int   // since the download came further
	further  int64 // where it did
	restarts int   // from the first byte
	noRange  bool  // the server's ranges are wrong
}

// ETag is what the server calls this archive, or empty.
func (d *Download) ETag() string { return d.etag }

// Size is the number of bytes of the archive, or -1 if the server did not say.
func (d *Download) Size() int64 { return d.total }

// Close ends the download.
func (d *Download) Close() error {
	d.drop()
	if d.err == nil {
		d.err = errors.New("read from a download that was closed")
	}
	return nil
}

func (d *Download) Read(b []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.read(b)
	if d.digester != nil {
		d.digester.Hash().Write(b[:n])
	}
	if err != nil {
		d.drop()
		d.err = d.end(err)
	}
	return n, d.err
}

// end judges all that was read.
func (d *Download) end(err error) error {
	if errors.Is(err, io.EOF) {
		if d.digester == nil || d.digester.Digest() == d.from.Digest {
			return io.EOF
		}
		err = &artifact.DigestError{Want: d.from.Digest, Got: d.digester.Digest()}
	}
	if d.digester == nil {
		return err // whoever checks also names
	}
	return d.named(err)
}

func (d *Download) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("fetch %s: %w", safeURL(d.from.URL), err)
}

func (d *Download) begin(opts FetchOptions) error {
	want := d.from.Digest
	if want == "" && !d.f.opts.NoDigest {
		return &RefusedError{URL: safeURL(d.from.URL), Reason: "the artifact has no digest; set NoDigest to trust the server"}
	}
	if want != "" {
		if err := want.Validate(); err != nil {
			return fmt.Errorf("digest %q: %w", want, err)
		}
		if want == opts.Have {
			return ErrUnchanged
		}
	} else {
		d.none = opts.ETag
	}
	if d.from.Size != nil {
		d.total = *d.from.Size
		if err := d.checkSize(d.total); err != nil {
			return err
		}
	}
	var err error
	if d.at, err = d.f.client.check(d.from.URL); err != nil {
		return err
	}
	return d.connect()
}

// read reads on, through as many connections as it takes.
func (d *Download) read(b []byte) (int, error) {
	for {
		if d.body == nil {
			if err := d.connect(); err != nil {
				return 0, err
			}
		}
		n, err := d.body.Read(b)
		d.offset += int64(n)
		if d.offset >= d.further+progress {
			d.further, d.failures = d.offset, 0
		}
		if over := d.checkSize(d.offset); over != nil {
			return 0, over
		}
		if n > 0 || err == nil {
			return n, nil
		}
		if errors.Is(err, io.EOF) {
			if d.offset >= d.total {
				return 0, io.EOF
			}
			err = io.ErrUnexpectedEOF
		}
		d.drop()
		if !d.resumable() || !d.again(err) {
			return 0, err
		}
		if err := d.pause(err); err != nil {
			return 0, err
		}
	}
}

// checkSize judges a number of bytes that came or are to come.
func (d *Download) checkSize(n int64) error {
	if n > d.max {
		return &artifact.LimitError{Limit: "ArchiveBytes", Max: d.max}
	}
	if d.total >= 0 && n > d.total {
		return d.changed("it has more than %d bytes", d.total)
	}
	return nil
}

func (d *Download) changed(format string, args ...any) error {
	return &ChangedError{URL: safe(d.at), Reason: fmt.Sprintf(format, args...)}
}

func (d *Download) drop() {
	if d.body != nil {
		d.body.close()
		d.body = nil
	}
}

// resumable reports whether the end of an archive can be told to belong to its
// beginning.
func (d *Download) resumable() bool {
	return d.offset == 0 || d.from.Digest != "" || strong(d.etag)
}

func strong(etag string) bool { return strings.HasPrefix(etag, `"`) }

// again reports whether it helps to try again, and counts.
func (d *Download) again(err error) bool {
	if d.ctx.Err() != nil || lasting(err) {
		return false
	}
	d.failures++
	return d.failures <= d.f.opts.Retries
}

// lasting reports whether an error is there to stay for a while.
func lasting(err error) bool {
	if status, ok := errors.AsType[*StatusError](err); ok {
		switch status.Status {
		case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests,
			http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return status.RetryAfter > maxWait
		}
		return true
	}
	if errors.Is(err, ErrUnchanged) || errors.Is(err, errRestarts) {
		return true
	}
	for _, stays := range []any{
		new(*RefusedError), new(*ChangedError), new(*artifact.LimitError), new(*tokenError), new(*tls.CertificateVerificationError),
	} {
		if errors.As(err, stays) {
			return true
		}
	}
	return false
}

// pause waits before the next request, for longer each time and for a different
// time than others do.
func (d *Download) pause(after error) error {
	longest := min(maxWait, d.f.opts.RetryWait<<min(d.failures-1, 16))
	wait := longest/2 + rand.N(longest/2+1) //nolint:gosec // nothing secret
	if status, ok := errors.AsType[*StatusError](after); ok {
		wait = max(wait, status.RetryAfter)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-d.ctx.Done():
		return context.Cause(d.ctx)
	}
}

// connect makes requests until one brings the next byte.
func (d *Download) connect() error {
	for {
		err := d.request()
		if err == nil {
			return nil
		}
		d.drop()
		if !d.again(err) {
			return err
		}
		if err := d.pause(err); err != nil {
			return err
		}
	}
}

// request asks for the archive from the offset on.
func (d *Download) request() error {
	header := http.Header{}
	ranged := d.offset > 0 && !d.noRange
	switch {
	case ranged:
		header.Set("Range", fmt.Sprintf("bytes=%d-", d.offset))
		if strong(d.etag) {
			header.Set("If-Range", d.etag)
		}
	case d.offset == 0 && d.none != "":
		header.Set("If-None-Match", d.none)
	}
	ctx, cancel := context.WithCancelCause(d.ctx)
	w := newWatch(ctx, cancel, d.f.opts.StallTime)
	w.start()
	resp, err := d.f.client.get(ctx, d.at, header) //nolint:bodyclose // drop closes it
	w.stop()
	if err != nil {
		err = w.explain(err)
		cancel(nil)
		return err
	}
	w.done()
	d.body = &body{resp.Body, w}
	return d.accept(resp, ranged)
}

// accept takes an answer if it goes on where the last one ended.
func (d *Download) accept(resp *http.Response, ranged bool) error {
	switch {
	case resp.StatusCode == http.StatusOK && d.offset == 0:
		return d.first(resp)
	case resp.StatusCode == http.StatusOK:
		return d.restart(resp)
	case resp.StatusCode == http.StatusPartialContent && ranged:
		return d.resume(resp)
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && ranged:
		return d.behindTheEnd(resp)
	case resp.StatusCode == http.StatusNotModified && d.offset == 0 && d.none != "":
		return ErrUnchanged
	}
	return &StatusError{URL: safe(d.at), Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header.Get("Retry-After"))}
}

// first takes the answer that an archive begins with.
func (d *Download) first(resp *http.Response) error {
	d.etag = resp.Header.Get("ETag")
	if len(d.etag) > 1024 {
		d.etag = "" // nobody should have to keep that
	}
	return d.sameSize(resp.ContentLength)
}

func (d *Download) sameSize(n int64) error {
	if n < 0 {
		return nil
	}
	if d.total >= 0 && n != d.total {
		return d.changed("it has %d bytes, not %d", n, d.total)
	}
	d.total = n
	return d.checkSize(n)
}

func (d *Download) sameETag(resp *http.Response) error {
	if now := resp.Header.Get("ETag"); now != d.etag && (strong(now) || strong(d.etag)) {
		return d.changed("it has another ETag")
	}
	return nil
}

// restart goes over what was read already. A server that does not know ranges
// must not make it send the same without end.
func (d *Download) restart(resp *http.Response) error {
	if d.restarts++; d.restarts > max(1, d.f.opts.Retries) {
		return errRestarts
	}
	if err := d.sameETag(resp); err != nil {
		return err
	}
	if err := d.sameSize(resp.ContentLength); err != nil {
		return err
	}
	n, err := io.CopyN(io.Discard, d.body, d.offset)
	if errors.Is(err, io.EOF) && n < d.offset {
		return io.ErrUnexpectedEOF
	}
	return err
}

// resume checks that a part is the one that was asked for. If it is not, then the
// server does not know ranges, whatever it says.
func (d *Download) resume(resp *http.Response) error {
	first, total, ok := contentRange(resp.Header.Get("Content-Range"))
	if !ok || first != d.offset {
		d.noRange = true
		return errors.New("the server sends another part than the one asked for")
	}
	if err := d.sameETag(resp); err != nil {
		return err
	}
	return d.sameSize(total)
}

// behindTheEnd is where a body of unknown length ends that lost but its end.
func (d *Download) behindTheEnd(resp *http.Response) error {
	rest, ok := strings.CutPrefix(resp.Header.Get("Content-Range"), "bytes */")
	if total, err := strconv.ParseInt(rest, 10, 64); !ok || err != nil || total != d.offset {
		return d.changed("it ends before byte %d", d.offset)
	}
	d.drop()
	d.body = &body{http.NoBody, newWatch(d.ctx, func(error) {}, d.f.opts.StallTime)}
	return d.sameSize(d.offset)
}

// contentRange reads "bytes first-last/total", where the total may be "*", which
// is -1 here.
func contentRange(s string) (first, total int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes ")
	span, size, slash := strings.Cut(s, "/")
	from, to, dash := strings.Cut(span, "-")
	first, err := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(to, 10, 64)
	total = -1
	var err3 error
	if size != "*" {
		total, err3 = strconv.ParseInt(size, 10, 64)
	}
	ok = ok && slash && dash && err == nil && err2 == nil && err3 == nil &&
		first >= 0 && first <= last && (size == "*" || last < total)
	return first, total, ok
}

// retryAfter reads a header in either of its forms.
func retryAfter(s string) time.Duration {
	if n, err := strconv.ParseInt(s, 10, 32); err == nil {
		return max(0, time.Duration(n)*time.Second)
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}
