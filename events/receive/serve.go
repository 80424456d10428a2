package receive

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// digest stands for a secret or a path in comparisons: its size is fixed, and
// nobody else can compute it.
type digest [sha256.Size]byte

func (h *Handler) digest(of []byte) (d digest) {
	mac := hmac.New(sha256.New, h.salt[:])
	mac.Write(of) // a hash's Write does not fail
	mac.Sum(d[:0])
	return d
}

// ServeHTTP answers without a body.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := h.now()
	var out Outcome
	out.Result, out.Err = h.serve(w, r, &out)
	out.Status = out.Result.status()
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(out.Status)
	if h.opts.Observe != nil {
		out.Duration = h.now().Sub(start)
		h.opts.Observe(out)
	}
}

// serve takes a request up to the callback. Until it is authentic, nothing that is
// done depends on whether there is a receiver.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, out *Outcome) (Result, error) {
	h.limitReading(w) // also of what the server reads where we do not
	if result := h.refuse(r); result != "" {
		return result, nil
	}
	c := h.find(r.URL.Path)
	if c == nil {
		return h.stranger(w, r)
	}
	out.Receiver, out.Type = c.name, c.Type
	if !c.enter(r.Context(), h.limits.ReadTimeout) {
		return Busy, nil
	}
	defer func() { <-c.slots }()
	body, result, err := h.read(w, r)
	if err != nil {
		return result, err
	}
	claims, err := h.authenticate(r.Context(), c, r.Header, body)
	switch {
	case errors.Is(err, ErrIssuer):
		return NoKeys, err
	case err != nil:
		return Unauthenticated, err
	case c.Suspended:
		return Suspended, nil
	}
	return h.accept(r, c, claims, body, out)
}

// refuse judges a request by its header, before a receiver is looked for.
func (h *Handler) refuse(r *http.Request) Result {
	size := len(r.Method) + len(r.RequestURI) + len(r.Host)
	for name, values := range r.Header {
		for _, v := range values {
			size += len(name) + len(v) + len(": \r\n")
		}
	}
	switch encoding := r.Header.Values("Content-Encoding"); {
	case size > h.limits.Header:
		return HeaderTooLarge
	case r.Method != http.MethodPost:
		return BadMethod
	case len(encoding) > 1 || len(encoding) == 1 && !strings.EqualFold(encoding[0], "identity"):
		return BadEncoding // small on the wire says nothing about what it unpacks to
	case r.ContentLength > h.limits.Body:
		return BodyTooLarge
	}
	return ""
}

// stranger answers a request for a path that is not there. It reads and hashes the
// body as if there were a receiver, and keeps nothing of it.
func (h *Handler) stranger(w http.ResponseWriter, r *http.Request) (Result, error) {
	if result, err := h.copyBody(w, r, hmac.New(sha256.New, h.salt[:])); err != nil {
		return result, err
	}
	return UnknownPath, nil
}

func (h *Handler) read(w http.ResponseWriter, r *http.Request) ([]byte, Result, error) {
	var buf bytes.Buffer
	if r.ContentLength > 0 {
		// Room for what is announced would be room for nothing where it does not come.
		buf.Grow(int(min(r.ContentLength, 64<<10)))
	}
	result, err := h.copyBody(w, r, &buf)
	return buf.Bytes(), result, err
}

// copyBody reads a body within its bounds of size and time.
func (h *Handler) copyBody(w http.ResponseWriter, r *http.Request, to io.Writer) (Result, error) {
	h.limitReading(w)
	_, err := io.Copy(to, http.MaxBytesReader(w, r.Body, h.limits.Body))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return BodyTooLarge, err
	case err != nil:
		return Unreadable, err // the limit of time stays: the server reads on before it answers
	}
	// Where there is no body, a limit that passes later would end the context of the
	// callback.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return "", nil
}

// limitReading bounds the time in which a body comes. A writer that knows no deadlines
// leaves that to the server's own limits.
func (h *Handler) limitReading(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(h.limits.ReadTimeout))
}

// authenticate checks who sent a request, always at the cost of a hash of the body.
func (h *Handler) authenticate(ctx context.Context, c *compiled, header http.Header, body []byte) (map[string]any, error) {
	if !c.platform.signed {
		h.digest(body)
	}
	return c.platform.auth(ctx, h, c, header, body)
}

// accept takes a request that is authentic.
func (h *Handler) accept(r *http.Request, c *compiled, claims map[string]any, body []byte, out *Outcome) (Result, error) {
	f, err := h.parse(c, r.Header, body)
	if err != nil {
		return Malformed, err
	}
	out.Event = f.event
	req := Request{
		Receiver: c.name, Type: c.Type, Event: f.event, DeliveryID: f.id,
		Repository: f.repository, Ref: f.ref, Revision: f.revision,
		Claims: claims, Body: f.body, Header: withoutSecrets(r.Header),
	}
	same := func(event string) bool { return strings.EqualFold(event, f.event) }
	switch {
	case f.ping:
		return Pinged, nil
	case len(c.Events) > 0 && !slices.ContainsFunc(c.Events, same):
		return OtherEvent, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.limits.CallTimeout)
	defer cancel()
	if c.filter != nil {
		wanted, err := c.filter.Matches(ctx, req, nil)
		if err != nil {
			return FilterFailed, err
		}
		if !wanted {
			return Unwanted, nil
		}
	}
	return h.once(ctx, c, f.replay, req)
}

// once calls back, but not for what was received before.
func (h *Handler) once(ctx context.Context, c *compiled, key string, req Request) (Result, error) {
	if key == "" {
		return h.callBack(ctx, req)
	}
	finish, err := c.replays.begin(ctx, key, h.now)
	switch {
	case err != nil:
		return Busy, err
	case finish == nil:
		return Duplicate, nil
	}
	result := Failed
	defer func() { finish(result == Received) }() // also where the callback panics
	result, err = h.callBack(ctx, req)
	return result, err
}

func (h *Handler) callBack(ctx context.Context, req Request) (Result, error) {
	if err := h.opts.Receive(ctx, req); err != nil {
		return Failed, err
	}
	return Received, nil
}

// enter waits for a turn, so that a burst is slow and not lost.
func (c *compiled) enter(ctx context.Context, most time.Duration) bool {
	select {
	case c.slots <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case c.slots <- struct{}{}:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// withoutSecrets copies a header without what proves who sent it.
func withoutSecrets(h http.Header) http.Header {
	clean := h.Clone()
	for name := range clean {
		lower := strings.ToLower(name)
		for _, part := range []string{"authorization", "token", "signature", "cookie", "secret", "api-key", "apikey", "password"} {
			if strings.Contains(lower, part) {
				delete(clean, name)
			}
		}
	}
	return clean
}
