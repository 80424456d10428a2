package repository_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/helm/repository"
)

func authority(s *site) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// secure are options for servers of httptest with a user.
func secure(sites ...*site) repository.Options {
	opts := repository.Options{Username: "user", Password: "password"}
	for _, s := range sites {
		opts.CABundle = append(opts.CABundle, authority(s)...)
	}
	return opts
}

func authorized(requests []*http.Request) int {
	n := 0
	for _, r := range requests {
		if r.Header.Get("Authorization") != "" {
			n++
		}
	}
	return n
}

func TestAttackCredentialsToAnotherHost(t *testing.T) {
	own, other := newSite(t, httptest.NewTLSServer), newSite(t, httptest.NewTLSServer)
	own.user = "user"
	archive := string(pack(t, "a", "1.0.0"))
	other.put("/a.tgz", archive)
	other.handle("/again.tgz", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, own.URL+"/own.tgz", http.StatusFound)
	})
	own.put("/own.tgz", archive)
	own.handle("/moved.tgz", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+"/a.tgz", http.StatusFound)
	})
	pull := func(url string, opts repository.Options) error {
		own.put("/index.yaml", indexOf(entryOf("a", "1.0.0", url, nil)))
		_, err := open(t, own.URL, opts).Pull(t.Context(), "a", "")
		return err
	}

	require.NoError(t, pull("own.tgz", secure(own, other)))
	require.NoError(t, pull(other.URL+"/a.tgz", secure(own, other)))
	require.NoError(t, pull("moved.tgz", secure(own, other)))
	require.Zero(t, authorized(other.requests()), "neither because the index says so, nor with a redirect")

	passing := secure(own, other)
	passing.PassCredentials = true
	require.NoError(t, pull(other.URL+"/a.tgz", passing))
	require.Equal(t, 1, authorized(other.requests()))
	require.NoError(t, pull("moved.tgz", passing))
	require.Zero(t, authorized(other.requests()), "a redirect says nothing about who may see them")

	// The same host with another port is another origin.
	plain := newSite(t, httptest.NewServer)
	plain.put("/a.tgz", archive)
	require.Error(t, pull(plain.URL+"/a.tgz", passing))
	require.Empty(t, plain.requests(), "from https to http leads nothing")
}

func TestAttackDowngrade(t *testing.T) {
	own, plain := newSite(t, httptest.NewTLSServer), newSite(t, httptest.NewServer)
	plain.put("/a.tgz", string(pack(t, "a", "1.0.0")))
	plain.put("/index.yaml", indexOf())
	own.handle("/moved.tgz", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL+"/a.tgz", http.StatusMovedPermanently)
	})
	for _, url := range []string{plain.URL + "/a.tgz", "moved.tgz"} {
		own.put("/index.yaml", indexOf(entryOf("a", "1.0.0", url, nil)))
		_, err := open(t, own.URL, secure(own)).Pull(t.Context(), "a", "")
		require.ErrorIs(t, err, repository.ErrInvalidURL)
		require.ErrorContains(t, err, "from https to http")
	}
	own.handle("/index.yaml", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL+"/index.yaml", http.StatusFound)
	})
	_, err := open(t, own.URL, secure(own)).Index(t.Context())
	require.ErrorContains(t, err, "from https to http")
	require.Empty(t, plain.requests())
}

func TestAttackRedirects(t *testing.T) {
	s := newSite(t, httptest.NewServer)
	for name, to := range map[string]string{
		"loop": "/index.yaml", "file": "file:///etc/passwd", "user": "http://user:hunter2@127.0.0.1/", "no host": "http:///x", "gopher": "gopher://x/",
	} {
		s.handle("/index.yaml", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
		})
		_, err := open(t, s.URL, repository.Options{}).Index(t.Context())
		require.ErrorContains(t, err, "redirect refused", name)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestAttackAddresses(t *testing.T) {
	s := newSite(t, httptest.NewServer)
	r := open(t, s.URL, repository.Options{})
	for _, host := range []string{"169.254.169.254", "[fe80::1%25lo]", "[::ffff:169.254.169.254]", "[fd00:ec2::254]", "0.0.0.0", "224.0.0.1"} {
		s.put("/index.yaml", indexOf(entryOf("a", "1.0.0", "\"http://"+host+"/latest/meta-data\"", nil)))
		_, err := r.Pull(t.Context(), "a", "")
		require.ErrorIs(t, err, repository.ErrAddress, host)
		require.True(t, terminal(err))
	}
	s.handle("/index.yaml", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
	})
	_, err := r.Index(t.Context())
	require.ErrorIs(t, err, repository.ErrAddress)

	// The hook sees what a name resolves to.
	s.handle("/index.yaml", nil)
	s.put("/index.yaml", indexOf())
	denied := errors.New("not from here")
	var seen []netip.Addr
	hooked := open(t, s.URL, repository.Options{AllowAddress: func(a netip.Addr) error { seen = append(seen, a); return denied }})
	_, err = hooked.Index(t.Context())
	require.ErrorIs(t, err, denied)
	require.ErrorIs(t, err, repository.ErrAddress)
	require.Equal(t, []netip.Addr{netip.MustParseAddr("127.0.0.1")}, seen)
}

func TestAttackSecretsInErrors(t *testing.T) {
	const canary = "canary-T0ken+/="
	s := newSite(t, httptest.NewServer)
	echo := func(w http.ResponseWriter, r *http.Request) {
		hijacked, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			fmt.Fprintf(hijacked, "HTTP/1.1 %s\x1b[2J\r\n\r\n", r.Header.Get("Authorization"))
			_ = hijacked.Close()
		}
	}
	s.handle("/index.yaml", echo)
	for _, opts := range []repository.Options{
		{Username: "u", Password: canary, InsecureCredentials: true},
		{BearerToken: canary, InsecureCredentials: true},
	} {
		_, err := open(t, s.URL+"?key="+canary, opts).Index(t.Context())
		require.ErrorIs(t, err, repository.ErrUnreachable)
		text := fmt.Sprintf("%v %+v %#v", err, err, err.Error())
		for _, form := range []string{canary, "canary", base64.StdEncoding.EncodeToString([]byte("u:" + canary)), "\x1b"} {
			require.NotContains(t, text, form)
		}
	}
	for code, want := range map[int]error{401: repository.ErrAuthRefused, 403: repository.ErrAuthRefused, 404: repository.ErrNotFound, 500: repository.ErrUnreachable, 429: repository.ErrUnreachable} {
		s.handle("/index.yaml", func(w http.ResponseWriter, r *http.Request) { http.Error(w, r.Header.Get("Authorization"), code) })
		_, err := open(t, s.URL, repository.Options{BearerToken: canary, InsecureCredentials: true}).Index(t.Context())
		require.ErrorIs(t, err, want)
		require.NotContains(t, err.Error(), "canary")
	}
}

// heapCapped fails if more than a number of bytes is allocated, all in all.
func heapCapped(t *testing.T, most uint64, do func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, most)
}

func TestAttackEndlessAnswers(t *testing.T) {
	s := newSite(t, httptest.NewServer)
	endless := func(begin, piece string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if _, err := w.Write([]byte(begin)); err != nil {
				return
			}
			for block := []byte(strings.Repeat(piece, 1+64<<10/len(piece))); ; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}
	}
	limits := repository.Limits{IndexBytes: 20 << 20, ChartBytes: 1 << 20}
	head := "apiVersion: v1\nentries:\n"
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		limit   string
	}{
		"charts of nothing": {endless(head, "  a: []\n"), "ErrIndex"},
		"versions":          {endless(head+"  a:\n", "  - name: a\n"), "Versions"},
		"one version":       {endless(head+"  a:\n  - name: a\n", "    x: y\n"), "VersionBytes"},
		"one line":          {endless(head+"  a:\n  - name: ", "a"), "OddIndexBytes"},
		"flow":              {endless("apiVersion: v1\nentries: {", "a: [],"), "OddIndexBytes"},
		"header":            {endless("apiVersion: v1\nannotations:\n", "  a: b\n"), "IndexBytes"},
		"comments":          {endless("", "# x\n"), "IndexBytes"},
		"spaces":            {endless("", " \n"), "OddIndexBytes"},
		"JSON versions":     {endless(`{"entries":{"a":[`, `{},`), "Versions"},
		"JSON version":      {endless(`{"entries":{"a":[{`, `"a":"b",`), "VersionBytes"},
		"JSON brackets":     {endless(`{"entries":{"a":[`, `[`), "Nesting"},
		"JSON text":         {endless(`{"x":"`, `a`), "IndexBytes"},
		"JSON key":          {endless(`{"`, `a`), "OddIndexBytes"},
		"compressed": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			for block := bytes.Repeat([]byte("# x\n"), 64<<10); ; {
				if _, err := z.Write(block); err != nil {
					return
				}
			}
		}, "IndexBytes"},
	} {
		t.Run(name, func(t *testing.T) {
			s.handle("/index.yaml", c.handler)
			heapCapped(t, 128<<20, func() {
				_, err := open(t, s.URL, repository.Options{Limits: limits}).Index(t.Context())
				require.True(t, terminal(err), "%v", err)
				if c.limit == "ErrIndex" {
					require.ErrorIs(t, err, repository.ErrIndex)
					return
				}
				var limit *repository.LimitError
				require.ErrorAs(t, err, &limit)
				require.Equal(t, c.limit, limit.Limit)
			})
		})
	}
	s.handle("/index.yaml", nil)
	s.put("/index.yaml", indexOf(entryOf("a", "1.0.0", "a.tgz", nil)))
	s.handle("/a.tgz", endless("", "x"))
	heapCapped(t, 32<<20, func() {
		_, err := open(t, s.URL, repository.Options{Limits: limits}).Pull(t.Context(), "a", "")
		require.ErrorIs(t, err, repository.ErrLimit)
	})
}

func TestAttackManyCharts(t *testing.T) {
	var b strings.Builder
	for i := range 60_000 {
		fmt.Fprintf(&b, "  chart%d: []\n", i)
	}
	_, err := read(t, indexOf(b.String()))
	var limit *repository.LimitError
	require.ErrorAs(t, err, &limit)
	require.Equal(t, "Charts", limit.Limit)
}

func TestAttackSlowAnswers(t *testing.T) {
	s := newSite(t, httptest.NewServer)
	drip := func(w http.ResponseWriter, r *http.Request) {
		for {
			select {
			case <-r.Context().Done():
				return
			case <-time.After(5 * time.Millisecond):
				if _, err := w.Write([]byte("#")); err != nil {
					return
				}
				w.(http.Flusher).Flush()
			}
		}
	}
	s.handle("/index.yaml", drip)
	_, err := open(t, s.URL, repository.Options{Limits: repository.Limits{Time: 50 * time.Millisecond}}).Index(t.Context())
	require.ErrorIs(t, err, repository.ErrUnreachable)
	require.ErrorContains(t, err, "time limit")
	require.False(t, terminal(err))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = open(t, s.URL, repository.Options{}).Index(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// Names, versions and texts from an index cannot steer a terminal.
func TestAttackEscapesFromTheIndex(t *testing.T) {
	const escape = `\e[31m\a\u202e`
	text := indexOf(fmt.Sprintf("  \"a%[1]s\":\n  - name: a\n    version: 1.0.0\n    description: \"d%[1]s\"\n    appVersion: \"v%[1]s\"\n    digest: \"x%[1]s\"\n    urls: [\"http://x/%[1]s\"]\n  - name: a\n    version: \"2.0.0%[1]s\"\n", escape))
	x := mustRead(t, text)
	for _, name := range x.Charts() {
		versions, err := x.Versions(name)
		require.NoError(t, err)
		require.Len(t, versions, 1)
		require.NotContains(t, fmt.Sprintf("%+v", versions), "\x1b")
		require.NotContains(t, fmt.Sprintf("%+v", versions), "\u202e")
		_, err = x.Find(name, "3.x\x1b[0m")
		require.NotContains(t, err.Error(), "\x1b")
		_, err = x.Find(name+"b", "")
		require.NotContains(t, err.Error(), "\x1b")
	}
	_, err := read(t, "apiVersion: v1\nentries:\n  \"a\\e[0m\": []\n  \"a\\e[0m\": []\n")
	require.ErrorIs(t, err, repository.ErrIndex)
	require.NotContains(t, err.Error(), "\x1b")
}

// A text that looks like an index inside of an index stays a text.
func TestAttackTextThatLooksLikeCharts(t *testing.T) {
	fake := "\n  evil:\n  - name: evil\n    version: 9.9.9\n    urls:\n    - http://evil/\n"
	for name, value := range map[string]string{
		"double quotes":        "\"text" + fake + "  \"",
		"single quotes":        "'it''s" + fake + "  '",
		"escaped quote":        "\"text \\\"" + fake + "  \\\" \"",
		"quotes after a break": "\n      \"text" + fake + "  \"",
		"literal":              "|\n      " + strings.ReplaceAll(fake, "\n", "\n      ") + "\n",
		"plain":                "text" + strings.ReplaceAll(fake, "\n", "\n       ") + "\n",
		"flow":                 "[\"text" + fake + "  \"]",
	} {
		text := "apiVersion: v1\nentries:\n  good:\n  - name: good\n    version: 1.0.0\n    description: " + value + "\n  other:\n  - name: other\n    version: 1.0.0\n"
		agrees(t, text)
		if x, err := read(t, text); err == nil {
			require.NotContains(t, x.Charts(), "evil", name)
		}
	}
}

func TestAttackAliasBomb(t *testing.T) {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nannotations:\n  a: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := range 9 {
		fmt.Fprintf(&b, "  a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i+1, i+1, i, i, i, i, i, i, i, i)
	}
	heapCapped(t, 256<<20, func() {
		_, err := read(t, b.String())
		require.ErrorIs(t, err, repository.ErrIndex)
	})
}

func TestTLS(t *testing.T) {
	s := newSite(t, httptest.NewTLSServer)
	s.put("/index.yaml", indexOf())
	_, err := open(t, s.URL, repository.Options{}).Index(t.Context())
	require.ErrorIs(t, err, repository.ErrUnreachable, "nobody vouches for the server")
	_, err = open(t, s.URL, repository.Options{CABundle: authority(s)}).Index(t.Context())
	require.NoError(t, err)
}

// The client's certificate is shown to the repository only.
func TestAttackClientCertificateToAnotherHost(t *testing.T) {
	start := func(h http.Handler) *httptest.Server {
		s := httptest.NewUnstartedServer(h)
		s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
		s.StartTLS()
		return s
	}
	own, other := newSite(t, start), newSite(t, start)
	other.put("/a.tgz", string(pack(t, "a", "1.0.0")))
	own.put("/index.yaml", indexOf(entryOf("a", "1.0.0", other.URL+"/a.tgz", nil)))
	cert, key := certificate(t)
	opts := repository.Options{CABundle: append(authority(own), authority(other)...), ClientCert: cert, ClientKey: key, PassCredentials: true}
	_, err := open(t, own.URL, opts).Pull(t.Context(), "a", "")
	require.NoError(t, err)
	require.Len(t, own.requests()[0].TLS.PeerCertificates, 1)
	require.Empty(t, other.requests()[0].TLS.PeerCertificates)
}
