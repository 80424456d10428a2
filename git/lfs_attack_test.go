package git_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

func TestAttackLFSContent(t *testing.T) {
	s := newStorage(t, git.Auth{})
	const content = "the content"
	f := s.put("a", content)
	send := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }
	}
	for name, handler := range map[string]http.HandlerFunc{
		"other content": send("the c0ntent"),
		"less":          send("the conten"),
		"more":          send(content + "!"),
		"nothing":       send(""),
		"an error page": send("<html>" + strings.Repeat("x", 1000)),
		"without an end": func(w http.ResponseWriter, req *http.Request) {
			for req.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat("the content", 1000)); err != nil {
					return
				}
			}
		},
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "11")
			io.WriteString(w, "the")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s.Download = handler
			var seen int64
			err := git.LFSDownload(t.Context(), s.url, s.opts, []git.LFSFile{f}, nil, func(_ git.LFSFile, r io.Reader) error {
				n, err := io.Copy(io.Discard, r)
				require.Error(t, err, "no end that looks good")
				_, again := r.Read(make([]byte, 1))
				require.Equal(t, err, again, "and none after it")
				seen = n
				return err
			})
			if name == "cut off" {
				require.ErrorIs(t, err, git.ErrUnreachable)
			} else {
				require.ErrorIs(t, err, git.ErrProtocol)
			}
			require.ErrorContains(t, err, `"a"`)
			require.LessOrEqual(t, seen, f.Size)
			if name == "less" {
				require.ErrorContains(t, err, "10 of the 11 bytes")
			}
		})
	}
}

func TestAttackLFSAnswers(t *testing.T) {
	s := newStorage(t, git.Auth{})
	f := s.put("a", "content")
	other := fmt.Sprintf("%x", sha256.Sum256([]byte("other")))
	say := func(format string, args ...any) {
		s.Answer = func(w http.ResponseWriter, _ *http.Request, _ *gitserver.LFSAnswer) bool {
			fmt.Fprintf(w, format, args...)
			return false
		}
	}
	object := fmt.Sprintf(`{"oid": %q, "size": 7, "actions": {"download": {"href": "http://127.0.0.1:1/"}}}`, f.OID)
	for name, set := range map[string]func(){
		"no JSON":          func() { say("<html>log in</html>") },
		"nothing":          func() { say("") },
		"a wrong type":     func() { say(`{"objects": {"oid": 1}}`) },
		"very deep":        func() { say(`{"objects": %s`, strings.Repeat("[", 1<<20)) },
		"another transfer": func() { say(`{"transfer": "custom", "objects": [%s]}`, object) },
		"another hash":     func() { say(`{"hash_algo": "md5", "objects": [%s]}`, object) },
		"twice":            func() { say(`{"objects": [%s, %s]}`, object, object) },
		"unasked":          func() { say(`{"objects": [%s, %s]}`, object, strings.Replace(object, f.OID, other, 1)) },
		"without an end": func() {
			s.Answer = func(w http.ResponseWriter, req *http.Request, _ *gitserver.LFSAnswer) bool {
				io.WriteString(w, `{"message": "`)
				for req.Context().Err() == nil {
					if _, err := io.WriteString(w, strings.Repeat("x", 1<<16)); err != nil {
						return false
					}
				}
				return false
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			set()
			var received int
			err := git.LFSDownload(t.Context(), s.url, s.opts, []git.LFSFile{f}, func(n int) error {
				received += n
				return nil
			}, func(git.LFSFile, io.Reader) error { return nil })
			require.ErrorIs(t, err, git.ErrProtocol)
			require.LessOrEqual(t, received, 9<<20)
			if name == "without an end" {
				require.ErrorContains(t, err, "says more than")
			}
		})
	}
	say(`{"objects": []}`)
	_, err := s.download(f)
	require.ErrorIs(t, err, git.ErrLFS)
	require.Zero(t, s.saw(f.OID), "nothing was fetched")
}

func TestAttackLFSAddresses(t *testing.T) {
	for _, secure := range []bool{false, true} {
		s := newStorage(t, git.Auth{})
		bad := []string{
			"file:///etc/passwd", "/etc/passwd", "ftp://example.com/x", "//example.com/x", "http:opaque", "https://", "",
			"ssh://git@example.com/x", "http://user:pw@127.0.0.1/x", "https://user@127.0.0.1/x", "http://127.0.0.1/%zz", "-x", "\x00",
		}
		if secure {
			s = newTLSStorage(t)
			bad = append(bad, "http://127.0.0.1:1/x")
		}
		f := s.put("a", "content")
		for _, href := range bad {
			s.answer(func(o *gitserver.LFSObject) { o.Actions["download"].Href = href })
			before := len(s.requests)
			_, err := s.download(f)
			require.ErrorIs(t, err, git.ErrProtocol, href)
			require.Len(t, s.requests, before+1, "only the batch was sent: %s", href)

			s.answer(func(*gitserver.LFSObject) {})
			s.Download = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", href)
				w.WriteHeader(http.StatusFound)
			}
			if strings.HasPrefix(href, "/") || href == "-x" || href == "\x00" {
				continue // a redirect may be relative, and is a header
			}
			before = len(s.requests)
			_, err = s.download(f)
			require.ErrorIs(t, err, git.ErrProtocol, href)
			require.Len(t, s.requests, before+2, "the redirect was not followed: %s", href)
			s.Download = nil
		}
	}
}

// What lets in at one place is sent to no other.
func TestAttackLFSCredentials(t *testing.T) {
	const password, token = "canary-password", "canary-token"
	var leaked []string
	stranger := &gitserver.LFS{}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		leaked = append(leaked, fmt.Sprint(req.Header))
		stranger.ServeHTTP(w, req)
	}))
	t.Cleanup(elsewhere.Close)
	stranger.Put([]byte("content"))

	s := newStorage(t, git.Auth{Username: "u", Password: password})
	f := s.put("a", "content")
	away := elsewhere.URL + "/repo.git/info/lfs/objects/"
	clean := func(wantRequests int) {
		t.Helper()
		require.Len(t, leaked, wantRequests)
		for _, header := range leaked {
			require.NotContains(t, header, "Authorization")
			require.NotContains(t, header, "canary")
		}
		leaked = nil
	}

	// An address elsewhere.
	s.answer(func(o *gitserver.LFSObject) { o.Actions["download"].Href = away + o.OID })
	_, err := s.download(f)
	require.NoError(t, err)
	clean(1)

	// A redirect elsewhere, with headers for the first place.
	s.answer(func(o *gitserver.LFSObject) { o.Actions["download"].Header = map[string]string{"X-Token": token} })
	s.Download = func(w http.ResponseWriter, req *http.Request) {
		require.Equal(t, token, req.Header.Get("X-Token"))
		_, sent, _ := req.BasicAuth()
		require.Equal(t, password, sent, "the repository's own server is asked with them")
		http.Redirect(w, req, away+f.OID, http.StatusTemporaryRedirect)
	}
	_, err = s.download(f)
	require.NoError(t, err)
	clean(1)

	// Elsewhere and back: who sent us away and back has chosen the address.
	back := strings.TrimSuffix(s.url, "/org/repo")
	elsewhere.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		leaked = append(leaked, fmt.Sprint(req.Header))
		http.Redirect(w, req, back+"/x.git/info/lfs/objects/"+f.OID, http.StatusFound)
	})
	_, err = s.download(f)
	require.ErrorIs(t, err, git.ErrAuthRequired)
	clean(1)

	// The batch itself is redirected elsewhere.
	elsewhere.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		leaked = append(leaked, fmt.Sprint(req.Header))
		stranger.ServeHTTP(w, req)
	})
	s.Download = nil
	for code, wantErr := range map[int]error{307: nil, 308: nil, 301: git.ErrProtocol, 302: git.ErrProtocol, 303: git.ErrProtocol} {
		s.Answer = func(w http.ResponseWriter, req *http.Request, _ *gitserver.LFSAnswer) bool {
			http.Redirect(w, req, away+"batch", code)
			return false
		}
		_, err = s.download(f)
		require.ErrorIs(t, err, wantErr)
		if wantErr == nil {
			clean(2)
		}
		clean(0)
	}

	// The action brings its own, or says that none are wanted.
	for _, set := range []func(o *gitserver.LFSObject){
		func(o *gitserver.LFSObject) {
			o.Actions["download"].Header = map[string]string{"authorization": "Bearer x"}
		},
		func(o *gitserver.LFSObject) { o.Authenticated = true },
	} {
		s.answer(set)
		before := len(s.requests)
		_, err = s.download(f)
		require.Error(t, err)
		require.NotContains(t, s.requests[before+1].Header.Get("Authorization"), "Basic")
	}

	// The server repeats what it was sent.
	s.answer(func(o *gitserver.LFSObject) {
		o.Error = &gitserver.LFSError{Code: 500, Message: s.requests[0].Header.Get("Authorization")}
	})
	_, err = s.download(f)
	require.ErrorIs(t, err, git.ErrLFS)
	require.NotContains(t, err.Error(), strings.Fields(s.requests[0].Header.Get("Authorization"))[1])
}

func TestAttackLFSRedirects(t *testing.T) {
	s := newTLSStorage(t)
	f := s.put("a", "content")
	plain := httptest.NewServer(s.LFS)
	t.Cleanup(plain.Close)
	hops := 0
	s.Download = func(w http.ResponseWriter, req *http.Request) {
		hops++
		http.Redirect(w, req, req.URL.Path, http.StatusFound)
	}
	_, err := s.download(f)
	require.ErrorIs(t, err, git.ErrProtocol)
	require.ErrorContains(t, err, "more than 5 redirects")
	require.Equal(t, 6, hops)

	s.Download = func(w http.ResponseWriter, req *http.Request) {
		require.NotNil(t, req.TLS, "never without TLS")
		http.Redirect(w, req, plain.URL+req.URL.Path, http.StatusFound)
	}
	_, err = s.download(f)
	require.ErrorIs(t, err, git.ErrProtocol)
	require.ErrorContains(t, err, "from https")

	// From a repository over plain HTTP to https, and back.
	s.use(plain.URL+"/org/repo.git", s.opts)
	secure := newTLSStorage(t)
	s.answer(func(o *gitserver.LFSObject) {
		o.Actions["download"].Href = strings.TrimSuffix(secure.url, "/org/repo.git") + "/r/info/lfs/objects/" + o.OID
	})
	secure.Download = func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, plain.URL+req.URL.Path, http.StatusFound)
	}
	s.opts.CABundle = secure.opts.CABundle
	_, err = s.download(f)
	require.ErrorIs(t, err, git.ErrProtocol)
	require.ErrorContains(t, err, "from https")
}

func TestAttackLFSStuckServer(t *testing.T) {
	s := newStorage(t, git.Auth{})
	f := s.put("a", "content")
	reached := make(chan struct{})
	stuck := func(w http.ResponseWriter, req *http.Request) {
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush()
		reached <- struct{}{}
		<-req.Context().Done()
	}
	for _, set := range []func(){
		func() { s.Download = stuck },
		func() {
			s.Answer = func(w http.ResponseWriter, req *http.Request, _ *gitserver.LFSAnswer) bool {
				stuck(w, req)
				return false
			}
		},
	} {
		set()
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-reached
			cancel()
		}()
		err := git.LFSDownload(ctx, s.url, s.opts, []git.LFSFile{f}, nil, func(_ git.LFSFile, r io.Reader) error {
			_, err := io.Copy(io.Discard, r)
			return err
		})
		require.ErrorIs(t, err, context.Canceled)
	}
}
