// Package host serves the repositories of the benchmarks of git, by git's own
// http-backend, and archives of them, and counts what goes through. The benchmarks run it in a process
// of its own, git/server, so that the sides pay for themselves only.
package host

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gitopskit/gitopskit/bench/git/repos"
	"github.com/gitopskit/gitopskit/bench/internal/hosted"
	"github.com/gitopskit/gitopskit/internal/gitserver"
	"github.com/gitopskit/gitopskit/internal/meter"
)

// Server is a running server. The repository in the folder name.git has the
// address URL + "/name.git".
type Server struct {
	URL     string `json:"url"`
	Control string `json:"control"` // see the package hosted; not counted

	root     string
	servers  []*http.Server
	running  sync.WaitGroup
	requests atomic.Int64
	sent     atomic.Int64 // by clients
	received atomic.Int64 // by clients
	changing sync.Mutex
	changes  int
}

// Serve serves the repositories in root on free ports of the loopback interface.
func Serve(ctx context.Context, root string) (*Server, error) {
	backend, err := gitserver.HTTP(ctx, root, gitserver.HTTPOptions{})
	if err != nil {
		return nil, err
	}
	s := &Server{root: root}
	control := http.NewServeMux()
	control.HandleFunc("GET /count", s.count)
	control.HandleFunc("POST /change", s.change)
	control.HandleFunc("POST /archive", s.archive)
	counted := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		s.requests.Add(1)
		if name := path.Base(req.URL.Path); strings.HasSuffix(name, archiveExt) {
			http.ServeFile(w, req, filepath.Join(root, name))
			return
		}
		backend.ServeHTTP(w, req)
	})
	if s.URL, err = s.start(counted, func(l net.Listener) net.Listener { return &listener{l, s} }); err != nil {
		return nil, err
	}
	if s.Control, err = s.start(control, func(l net.Listener) net.Listener { return l }); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) start(handler http.Handler, wrap func(net.Listener) net.Listener) (url string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 30 * time.Second}
	s.servers = append(s.servers, server)
	s.running.Go(func() { _ = server.Serve(wrap(l)) }) // ends with Close
	return "http://" + l.Addr().String(), nil
}

// Close ends the server.
func (s *Server) Close() error {
	var errs []error
	for _, server := range s.servers {
		errs = append(errs, server.Close())
	}
	s.running.Wait()
	return errors.Join(errs...)
}

func (s *Server) count(w http.ResponseWriter, _ *http.Request) {
	reply(w, meter.Count{Requests: s.requests.Load(), Sent: s.sent.Load(), Received: s.received.Load()}, nil)
}

func (s *Server) change(w http.ResponseWriter, req *http.Request) {
	s.changing.Lock()
	defer s.changing.Unlock()
	s.changes++
	query := req.URL.Query()
	dir := filepath.Join(s.root, filepath.Base(query.Get("repo")))
	made, err := repos.Change(req.Context(), dir, query.Get("branch"), query.Get("file"), s.changes)
	reply(w, made, err)
}

// archiveExt ends the names of the archives that are served beside repositories.
const archiveExt = ".tar.gz"

// archive makes an archive of a repository's main branch, if there is none yet.
func (s *Server) archive(w http.ResponseWriter, req *http.Request) {
	s.changing.Lock()
	defer s.changing.Unlock()
	name := filepath.Base(req.URL.Query().Get("repo"))
	file := filepath.Join(s.root, name+archiveExt)
	if _, err := os.Stat(file); err != nil {
		if err := repos.Archive(req.Context(), filepath.Join(s.root, name), file); err != nil {
			reply(w, nil, err)
			return
		}
	}
	data, err := os.ReadFile(file)
	reply(w, hosted.Archive{
		URL: s.URL + "/" + name + archiveExt, Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(data)), Size: int64(len(data)),
	}, err)
}

func reply(w http.ResponseWriter, value any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_ = json.NewEncoder(w).Encode(value) // a client that is gone needs no answer
}

// listener counts the bytes of its connections.
type listener struct {
	net.Listener
	server *Server
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{c, l.server}, nil
}

type conn struct {
	net.Conn
	server *Server
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.server.sent.Add(int64(n))
	return n, err
}

// Write counts first: who has received an answer finds it counted.
func (c *conn) Write(p []byte) (int, error) {
	c.server.received.Add(int64(len(p)))
	return c.Conn.Write(p)
}
