package gitserver

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cgi"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// HTTPOptions say who may read. The zero value lets everyone in.
type HTTPOptions struct {
	Username, Password string // basic authentication, if a password is set
	BearerToken        string // a bearer token, if set
	// Version0 makes a server that knows no other version of the protocol.
	Version0 bool
	LFS      *LFS // large files; nil: there are none
	// Allow decides about requests instead, if set.
	Allow func(*http.Request) bool
	// TLS, if set, is for a server that speaks it (ServeHTTP only).
	TLS *tls.Config
}

// HTTP serves the repositories below dir over Git's smart protocol, by git's
// own http-backend.
func HTTP(ctx context.Context, dir string, opts HTTPOptions) (http.Handler, error) {
	libexec, err := exec.CommandContext(ctx, "git", "--exec-path").Output()
	if err != nil {
		return nil, err
	}
	root, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(libexec)), "git-http-backend"),
		Dir:  root,
		// What it has to say reaches the client too.
		Stderr: io.Discard,
		Env:    append(Environ(), "GIT_PROJECT_ROOT="+root, "GIT_HTTP_EXPORT_ALL=1"),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !opts.allows(req) {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		if opts.Version0 {
			req = req.Clone(req.Context())
			req.Header.Del("Git-Protocol")
		}
		if opts.LFS.serves(req) {
			opts.LFS.ServeHTTP(w, req)
			return
		}
		backend.ServeHTTP(w, req)
	}), nil
}

func (o HTTPOptions) allows(req *http.Request) bool {
	switch {
	case o.Allow != nil:
		return o.Allow(req)
	case o.BearerToken != "":
		return equal(req.Header.Get("Authorization"), "Bearer "+o.BearerToken)
	case o.Password != "":
		user, password, _ := req.BasicAuth()
		return equal(user, o.Username) && equal(password, o.Password)
	}
	return true
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// Server is a server on loopback. A repository at name.git below its directory
// has the address URL + "/name.git".
type Server struct {
	URL string
	// KnownHosts is the line for a known_hosts file (SSH only).
	KnownHosts []byte

	close func() error
}

// Close ends the server and every connection to it, and waits until they are
// gone.
func (s *Server) Close() error { return s.close() }

// ServeHTTP serves the repositories below dir on a free port of the loopback
// interface.
func ServeHTTP(ctx context.Context, dir string, opts HTTPOptions) (*Server, error) {
	handler, err := HTTP(ctx, dir, opts)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	scheme := "http"
	addr := l.Addr().String()
	if opts.TLS != nil {
		scheme, l = "https", tls.NewListener(l, opts.TLS)
	}
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 30 * time.Second,
		ErrorLog: log.New(io.Discard, "", 0), // of clients that do not get in
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	return &Server{
		URL: scheme + "://" + addr,
		close: func() error {
			err := server.Close()
			if e := <-done; !errors.Is(e, http.ErrServerClosed) {
				err = errors.Join(err, e)
			}
			return err
		},
	}, nil
}
