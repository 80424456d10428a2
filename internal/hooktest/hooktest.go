// Package hooktest is the other side of a webhook, for tests: a local server that keeps
// what it is sent and answers what it is told to, one that misbehaves, and a list of
// things that each provider of notifications has to get right.
package hooktest

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Request is what a server was sent.
type Request struct {
	Method string
	Path   string // as it was on the wire, with its escapes
	Query  url.Values
	Header http.Header
	Body   string
}

// Answer is what a server says to a request. The zero value is an empty 200.
type Answer struct {
	Status int // 0 means 200
	Header map[string]string
	Body   string
	Wait   time.Duration // what a sender should understand as the time to wait
}

// Server keeps what it is sent. It ends with its test.
type Server struct {
	URL string

	mu       sync.Mutex
	requests []Request
	answer   Answer
}

// Start starts a server that gives the same answer to every request.
func Start(t testing.TB, answer Answer) *Server {
	t.Helper()
	s := &Server{answer: answer}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.requests = append(s.requests, Request{
		Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.Query(), Header: r.Header, Body: string(body),
	})
	answer := s.answer
	s.mu.Unlock()
	for name, value := range answer.Header {
		w.Header().Set(name, value)
	}
	if answer.Status != 0 {
		w.WriteHeader(answer.Status)
	}
	_, _ = io.WriteString(w, answer.Body)
}

// Requests are all requests so far.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// One is the only request so far.
func (s *Server) One(t testing.TB) Request {
	t.Helper()
	all := s.Requests()
	require.Len(t, all, 1)
	return all[0]
}

// Hostile starts a server that reads each request and then does as talk says with the
// bare connection. It returns the URL.
func Hostile(t testing.TB, talk func(conn net.Conn)) string {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if req, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = io.Copy(io.Discard, req.Body)
					talk(conn)
				}
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}

// Endless answers with a body that never ends, and tells how much of it was taken.
func Endless(status string, took chan<- int64) func(net.Conn) {
	chunk := strings.Repeat(`[{"a":"`, 8<<10)
	return func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 "+status+"\r\nContent-Type: application/json\r\n\r\n")
		for n := int64(0); ; {
			m, err := io.WriteString(conn, chunk)
			if n += int64(m); err != nil {
				took <- n
				return
			}
		}
	}
}

// Strict decodes JSON into v, which has to know every field.
func Strict(t testing.TB, text string, v any) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(v))
}
