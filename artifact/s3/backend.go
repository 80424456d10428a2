package s3

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gitopskit/gitopskit/artifact"
)

// request is what is asked of the server.
type request struct {
	op     string
	method string
	key    string // with the prefix; empty for the bucket itself
	query  url.Values
	span   string // the header Range
	body   io.ReadSeeker
	size   int64
	hash   string
	want   int // status, beside 206 for a range
}

// attempts is how often a request is sent, firstWait how long until the second
// time; then twice that each time.
const (
	attempts  = 4
	firstWait = 150 * time.Millisecond
)

// do sends a request, again if that may help, until the answer is the wanted one.
func (b *Bucket) do(ctx context.Context, r request) (*http.Response, error) {
	start := int64(0)
	if r.body != nil {
		var err error
		if start, err = r.body.Seek(0, io.SeekCurrent); err != nil {
			return nil, err
		}
	}
	for wait, n := firstWait, 1; ; wait, n = 2*wait, n+1 {
		resp, err := b.try(ctx, r)
		if err == nil || n == attempts || !again(err) {
			return resp, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, errors.Join(context.Cause(ctx), err)
		case <-timer.C:
		}
		if r.body != nil {
			if _, err := r.body.Seek(start, io.SeekStart); err != nil {
				return nil, err
			}
		}
	}
}

// again tells whether to send a request again. All requests may be: they have the
// same effect twice.
func again(err error) bool {
	var e *Error
	if !errors.As(err, &e) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	return e.Status == 0 || e.Status == http.StatusTooManyRequests || e.Status >= 500 && e.Status != http.StatusNotImplemented
}

// try sends a request once.
func (b *Bucket) try(ctx context.Context, r request) (*http.Response, error) {
	var body io.Reader
	hash := emptyHash
	if r.body != nil {
		hash = r.hash
		if r.size > 0 {
			body = io.NopCloser(io.LimitReader(r.body, r.size))
		}
	}
	req, err := http.NewRequestWithContext(ctx, r.method, b.base+r.key, body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = r.size
	req.URL.RawQuery = canonicalQuery(r.query)
	if r.span != "" {
		req.Header.Set("Range", r.span)
	}
	var cred Credentials
	if b.opts.Credentials != nil {
		if cred, err = b.opts.Credentials(ctx); err != nil {
			return nil, fmt.Errorf("s3: credentials: %w", err)
		}
		sign(req, hash, b.opts.Region, cred, b.now())
	}
	// Not signed: a proxy may change it. Files are stored as they are.
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := b.client.Do(req)
	if err != nil {
		return nil, unanswered(r.op, err, cred)
	}
	if resp.StatusCode != r.want && (r.span == "" || resp.StatusCode != http.StatusPartialContent) {
		return nil, refused(r.op, resp, cred)
	}
	return resp, nil
}

// Put implements artifact.Backend.
func (b *Bucket) Put(ctx context.Context, key string, size int64, body io.ReadSeeker) error {
	if err := artifact.CheckKey(key); err != nil {
		return err
	}
	start, err := body.Seek(0, io.SeekCurrent)
	if err != nil {
		return fmt.Errorf("s3: put %s: %w", key, err)
	}
	sum := sha256.New()
	n, err := io.Copy(sum, body)
	if err == nil && n != size {
		err = errSize
	}
	if err == nil {
		_, err = body.Seek(start, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("s3: put %s: %w", key, err)
	}
	resp, err := b.do(ctx, request{
		op: "put " + key, method: http.MethodPut, key: b.opts.Prefix + key, want: http.StatusOK,
		body: body, size: size, hash: hex.EncodeToString(sum.Sum(nil)),
	})
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Open implements artifact.Backend.
func (b *Bucket) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := artifact.CheckKey(key); err != nil {
		return nil, err
	}
	r := request{op: "read " + key, method: http.MethodGet, key: b.opts.Prefix + key, want: http.StatusOK}
	switch {
	case length == 0:
		return http.NoBody, nil
	case length > 0:
		r.span = fmt.Sprintf("bytes=%d-%d", offset, offset+length-1)
	case offset > 0:
		r.span = fmt.Sprintf("bytes=%d-", offset)
	}
	resp, err := b.do(ctx, r)
	if err != nil || r.span == "" {
		return bodyOf(resp), err
	}
	if resp.StatusCode == http.StatusOK {
		_, err = io.CopyN(io.Discard, resp.Body, offset) // the server knows no ranges
	} else if !strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset)) {
		err = errors.New("the server sent another part than was asked for")
	}
	if err != nil {
		_ = resp.Body.Close()
		return nil, &Error{Op: r.op, Message: err.Error(), Err: err}
	}
	if length < 0 {
		return resp.Body, nil
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, length), resp.Body}, nil
}

func bodyOf(resp *http.Response) io.ReadCloser {
	if resp == nil {
		return nil
	}
	return resp.Body
}

// Stat implements artifact.Backend.
func (b *Bucket) Stat(ctx context.Context, key string) (artifact.Info, error) {
	if err := artifact.CheckKey(key); err != nil {
		return artifact.Info{}, err
	}
	resp, err := b.do(ctx, request{op: "stat " + key, method: http.MethodHead, key: b.opts.Prefix + key, want: http.StatusOK})
	if err != nil {
		return artifact.Info{}, err
	}
	defer resp.Body.Close()
	modified, err := http.ParseTime(resp.Header.Get("Last-Modified"))
	if err != nil || resp.ContentLength < 0 {
		return artifact.Info{}, &Error{Op: "stat " + key, Status: resp.StatusCode, Message: "without a time of change, or without a size"}
	}
	return artifact.Info{Size: resp.ContentLength, Modified: modified, Version: resp.Header.Get("ETag") + " " + modified.String()}, nil
}

// Delete implements artifact.Backend.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := artifact.CheckKey(key); err != nil {
		return err
	}
	resp, err := b.do(ctx, request{op: "delete " + key, method: http.MethodDelete, key: b.opts.Prefix + key, want: http.StatusNoContent})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// page is an answer to a listing.
type page struct {
	IsTruncated           bool
	NextContinuationToken string
	Contents              []struct{ Key string }
}

const maxPages = 10_000

// List implements artifact.Backend.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := artifact.CheckKey(prefix + "x"); err != nil {
			yield("", err)
			return
		}
		token := ""
		for range maxPages {
			p, err := b.page(ctx, prefix, token)
			if err != nil {
				yield("", err)
				return
			}
			for _, c := range p.Contents {
				key, ours := strings.CutPrefix(c.Key, b.opts.Prefix)
				if ours && strings.HasPrefix(key, prefix) && artifact.CheckKey(key) == nil && !yield(key, nil) {
					return
				}
			}
			if token = p.NextContinuationToken; !p.IsTruncated {
				return
			}
		}
		yield("", &Error{Op: "list " + prefix, Message: fmt.Sprintf("more than %d pages", maxPages)})
	}
}

func (b *Bucket) page(ctx context.Context, prefix, token string) (page, error) {
	query := url.Values{"list-type": {"2"}, "prefix": {b.opts.Prefix + prefix}}
	if token != "" {
		query.Set("continuation-token", token)
	}
	op := "list " + prefix
	resp, err := b.do(ctx, request{op: op, method: http.MethodGet, query: query, want: http.StatusOK})
	if err != nil {
		return page{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return page{}, unanswered(op, err, Credentials{})
	}
	var p page
	if len(data) > maxAnswer || xml.Unmarshal(data, &p) != nil {
		return page{}, &Error{Op: op, Status: resp.StatusCode, Message: "not a listing, or one of more than 8 MiB"}
	}
	if p.IsTruncated && (p.NextContinuationToken == "" || p.NextContinuationToken == token) {
		return page{}, &Error{Op: op, Status: resp.StatusCode, Message: "a listing that does not go on"}
	}
	return p, nil
}
