// Package meter counts what goes over an HTTP transport: the figures that the
// demo prints beside each step, and that tests and benchmarks hold on to.
package meter

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// Count is what went over the wire, as an HTTP client sees it: header bytes,
// TLS and transparent compression are not in it.
type Count struct {
	Requests int64 // requests sent, redirects and retries included
	Sent     int64 // bytes of request bodies
	Received int64 // bytes of response bodies
}

// Sub returns what was counted since an earlier reading.
func (c Count) Sub(earlier Count) Count {
	return Count{c.Requests - earlier.Requests, c.Sent - earlier.Sent, c.Received - earlier.Received}
}

// Add returns the sum of two counts.
func (c Count) Add(o Count) Count {
	return Count{c.Requests + o.Requests, c.Sent + o.Sent, c.Received + o.Received}
}

// Meter counts the traffic of every transport that it wraps. The zero value is
// ready to use, from any number of goroutines.
type Meter struct {
	requests, sent, received atomic.Int64

	mu   sync.Mutex
	seen func(method, path string)
}

// Observe calls f with every request's method and path (without query) before
// it is sent, one at a time. A nil f stops it.
func (m *Meter) Observe(f func(method, path string)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen = f
}

func (m *Meter) observed(req *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen != nil {
		m.seen(req.Method, req.URL.Path)
	}
}

// Count reads the meter.
func (m *Meter) Count() Count {
	return Count{m.requests.Load(), m.sent.Load(), m.received.Load()}
}

// Wrap returns a transport that counts and passes on to next
// ([http.DefaultTransport] if nil).
func (m *Meter) Wrap(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return &transport{meter: m, next: next}
}

type transport struct {
	meter *Meter
	next  http.RoundTripper
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	t.meter.requests.Add(1)
	t.meter.observed(req)
	if req.Body != nil && req.Body != http.NoBody {
		req = req.Clone(req.Context())
		req.Body = &body{req.Body, &t.meter.sent}
	}
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	// A connection that changed its protocol is a ReadWriteCloser, and hiding
	// that would break its user.
	if _, upgraded := resp.Body.(io.Writer); !upgraded {
		resp.Body = &body{resp.Body, &t.meter.received}
	}
	return resp, nil
}

type body struct {
	io.ReadCloser
	n *atomic.Int64
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}
