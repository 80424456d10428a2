package oci_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/artifact"
	"github.com/gitopskit/gitopskit/artifact/artifacttest"
	"github.com/gitopskit/gitopskit/artifact/oci"
	"github.com/gitopskit/gitopskit/artifact/transfer"
)

const manifestType = "application/vnd.oci.image.manifest.v1+json"

// ociServer is a registry, with what a test puts in front of it.
type ociServer struct {
	*httptest.Server
	mu     sync.Mutex
	before func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
	seen   []string                                          // method and path
	auth   []string                                          // Authorization headers
}

func newServer(t testing.TB) *ociServer {
	t.Helper()
	s := &ociServer{}
	reg := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, r.Method+" "+r.URL.Path)
		if a := r.Header.Get("Authorization"); a != "" {
			s.auth = append(s.auth, a)
		}
		before := s.before
		s.mu.Unlock()
		if before == nil || !before(w, r) {
			reg.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *ociServer) host() string { return strings.TrimPrefix(s.URL, "http://") }

func (s *ociServer) intercept(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.seen, s.auth = f, nil, nil
}

func (s *ociServer) requests() (seen, auth []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen, s.auth
}

func (s *ociServer) repo(t testing.TB, opts oci.Options) *oci.Repository {
	t.Helper()
	opts.PlainHTTP = true
	r, err := oci.New("oci://"+s.host()+"/org/app", opts)
	require.NoError(t, err)
	return r
}

func ociTree(v string) fstest.MapFS {
	return fstest.MapFS{"app.yaml": {Data: []byte("kind: ConfigMap\n")}, "version": {Data: []byte(v)}}
}

func ociArchive(t testing.TB, v string) ([]byte, artifact.Summary) {
	t.Helper()
	var buf bytes.Buffer
	sum, err := artifact.Pack(t.Context(), &buf, ociTree(v), artifact.PackOptions{})
	require.NoError(t, err)
	return buf.Bytes(), sum
}

func ociPush(t testing.TB, r *oci.Repository, tag string, opts oci.PushOptions) oci.Revision {
	t.Helper()
	archive, _ := ociArchive(t, tag)
	rev, err := r.Push(t.Context(), tag, bytes.NewReader(archive), opts)
	require.NoError(t, err)
	return rev
}

// ociPull returns the file "version" of what a reference means.
func ociPull(t testing.TB, r *oci.Repository, ref oci.Ref) (oci.Revision, string) {
	t.Helper()
	rev, err := r.Resolve(t.Context(), ref)
	require.NoError(t, err)
	m, err := r.Manifest(t.Context(), rev)
	require.NoError(t, err)
	layer, err := m.Layer("")
	require.NoError(t, err)
	tree, err := r.Open(t.Context(), layer)
	require.NoError(t, err)
	data, err := fs.ReadFile(tree, "version")
	require.NoError(t, err)
	return rev, string(data)
}

func TestBackend(t *testing.T) {
	artifacttest.TestBackend(t, newServer(t).repo(t, oci.Options{}).Backend())
}

// A store over a registry, and a handler over it, as replicas have them.
func TestStoreInARegistry(t *testing.T) {
	repo := newServer(t).repo(t, oci.Options{})
	s, err := artifact.NewStore(t.TempDir(), artifact.StoreOptions{Backend: repo.Backend()})
	require.NoError(t, err)
	sum, err := s.Pack(t.Context(), ociTree("1"), artifact.PackOptions{})
	require.NoError(t, err)
	require.NoError(t, s.Record(t.Context(), "gitrepository/default/app", sum.Digest))
	require.NoError(t, s.Check(t.Context(), sum.Digest))
	server := httptest.NewServer(transfer.NewHandler(repo.Backend(), transfer.HandlerOptions{}))
	defer server.Close()
	p, err := artifact.Path("gitrepository/default/app", sum.Digest)
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/"+p, nil)
	require.NoError(t, err)
	req.Header.Set("Range", "bytes=10-")
	resp, err := server.Client().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	archive, _ := ociArchive(t, "1")
	require.Equal(t, archive[10:], data)
	done, err := s.Collect(t.Context(), artifact.CollectOptions{MinAge: time.Nanosecond})
	require.NoError(t, err)
	require.Empty(t, done.Archives)
	require.NoError(t, s.Forget(t.Context(), "gitrepository/default/app"))
	done, err = s.Collect(t.Context(), artifact.CollectOptions{MinAge: time.Nanosecond})
	require.NoError(t, err)
	require.Equal(t, []digest.Digest{sum.Digest}, done.Archives)
}

func TestPushAndPull(t *testing.T) {
	server := newServer(t)
	repo := server.repo(t, oci.Options{})
	created := time.Date(2026, 11, 21, 10, 0, 0, 0, time.FixedZone("x", 3600))
	opts := oci.PushOptions{
		Source: "https://example.com/app.git", Revision: "main@sha1:1234", Created: created,
		Annotations: map[string]string{"team": "a", oci.AnnotationSource: "overridden"},
	}
	rev := ociPush(t, repo, "1.0.0", opts)
	require.Equal(t, "1.0.0@"+rev.Digest.String(), rev.String())
	require.Equal(t, rev, ociPush(t, repo, "1.0.0", opts), "the same again")

	m, err := repo.Manifest(t.Context(), rev)
	require.NoError(t, err)
	archive, sum := ociArchive(t, "1.0.0")
	require.Equal(t, []oci.Layer{{MediaType: "application/vnd.cncf.flux.content.v1.tar+gzip", Digest: sum.Digest, Size: sum.Size}}, m.Layers)
	require.Equal(t, "application/vnd.cncf.flux.config.v1+json", m.Config.MediaType)
	require.Equal(t, rev.Digest, m.Digest)
	require.Equal(t, map[string]string{
		"org.opencontainers.image.source": "https://example.com/app.git", "org.opencontainers.image.revision": "main@sha1:1234",
		"org.opencontainers.image.created": "2026-11-21T09:00:00Z", "team": "a",
	}, m.Annotations)

	got, version := ociPull(t, repo, oci.Ref{Tag: "1.0.0"})
	require.Equal(t, rev, got)
	require.Equal(t, "1.0.0", version)
	got, version = ociPull(t, repo, oci.Ref{Digest: rev.Digest, Tag: "other", SemVer: "9.x"})
	require.Equal(t, rev.Digest.String(), got.String())
	require.Equal(t, "1.0.0", version)

	r, err := repo.Read(t.Context(), m.Layers[0])
	require.NoError(t, err)
	copied, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Equal(t, archive, copied)

	require.NoError(t, repo.Tag(t.Context(), rev, "latest"))
	got, _ = ociPull(t, repo, oci.Ref{})
	require.Equal(t, "latest@"+rev.Digest.String(), got.String())

	server.intercept(nil)
	_, err = repo.Resolve(t.Context(), oci.Ref{Tag: "1.0.0"})
	require.NoError(t, err)
	seen, _ := server.requests()
	require.Equal(t, []string{"HEAD /v2/org/app/manifests/1.0.0"}, seen, "that nothing changed costs one request")
}

func TestResolveSemVer(t *testing.T) {
	repo := newServer(t).repo(t, oci.Options{})
	for _, tag := range []string{"1.0.0", "1.2.0", "v1.10.0", "1.9.9", "2.0.0-rc.1", "1.10.0_build.2", "1.10.0_build.10", "latest", "1", "1.11", "staging-1.0.0", "sha256-x"} {
		ociPush(t, repo, tag, oci.PushOptions{})
	}
	for _, tt := range []struct{ semver, filter, want string }{
		{"1.x", "", "1.10.0_build.2"},
		{"*", "", "1.10.0_build.2"},
		{">=1.0.0-0", "", "2.0.0-rc.1"},
		{"1.x", `^1\.\d\.`, "1.9.9"},
		{"~1.0", "", "1.0.0"},
		{"1.x", "^v", "v1.10.0"},
		{"1.10.0", "", "1.10.0_build.2"},
	} {
		rev, version := ociPull(t, repo, oci.Ref{SemVer: tt.semver, SemVerFilter: tt.filter, Tag: "latest"})
		require.Equal(t, tt.want, rev.Tag, "%s %s", tt.semver, tt.filter)
		require.Equal(t, tt.want, version)
	}
	for ref, field := range map[oci.Ref]string{
		{SemVer: "nonsense"}: "SemVer", {SemVer: "1.x", SemVerFilter: "("}: "SemVerFilter", {Tag: "a b"}: "Tag", {Tag: "../x"}: "Tag",
		{Tag: strings.Repeat("a", 129)}: "Tag", {Digest: "sha256:x"}: "Digest", {Digest: "x"}: "Digest", {SemVer: strings.Repeat("1", 2000)}: "SemVer",
	} {
		_, err := repo.Resolve(t.Context(), ref)
		bad := new(oci.RefError)
		require.ErrorAs(t, err, &bad, "%+v", ref)
		require.Equal(t, field, bad.Field)
		require.True(t, bad.Terminal())
		require.Less(t, len(err.Error()), 500)
	}
	_, err := repo.Resolve(t.Context(), oci.Ref{SemVer: "9.x"})
	none := new(oci.NoMatchError)
	require.ErrorAs(t, err, &none)
	require.Equal(t, 12, none.Tags)
}

func TestWhatIsNotThere(t *testing.T) {
	server := newServer(t)
	repo := server.repo(t, oci.Options{})
	_, err := repo.Resolve(t.Context(), oci.Ref{})
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = repo.Tags(t.Context())
	require.ErrorIs(t, err, fs.ErrNotExist)
	rev := ociPush(t, repo, "1.0.0", oci.PushOptions{})
	_, err = repo.Resolve(t.Context(), oci.Ref{Tag: "2.0.0"})
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = repo.Resolve(t.Context(), oci.Ref{Digest: digest.FromString("x")})
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorIs(t, repo.Tag(t.Context(), oci.Revision{Digest: digest.FromString("x")}, "y"), fs.ErrNotExist)
	_, err = repo.Read(t.Context(), oci.Layer{Digest: digest.FromString("x"), Size: 1})
	require.ErrorIs(t, err, fs.ErrNotExist)

	server.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, `{"errors":[{"code":"TOOMANYREQUESTS","message":"slow\u0000 down"}]}`)
		return true
	})
	_, err = repo.Manifest(t.Context(), rev)
	failed := new(oci.Error)
	require.ErrorAs(t, err, &failed)
	require.Equal(t, 429, failed.Status)
	require.Contains(t, err.Error(), "slow")

	server.Close()
	_, err = repo.Resolve(t.Context(), oci.Ref{})
	require.ErrorAs(t, err, &failed)
	require.Zero(t, failed.Status)
	require.Contains(t, err.Error(), "refused")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = repo.Resolve(ctx, oci.Ref{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestNew(t *testing.T) {
	for _, url := range []string{"oci://ghcr.io/org/app", "ghcr.io/org/app", "localhost:5000/app", "oci://docker.io/library/nginx"} {
		repo, err := oci.New(url, oci.Options{})
		require.NoError(t, err, url)
		require.Equal(t, strings.TrimPrefix(url, "oci://"), repo.String())
	}
	for _, url := range []string{"", "oci://", "app", "https://ghcr.io/org/app", "oci://ghcr.io/org/app:1.0.0", "ghcr.io/org/app@" + digest.FromString("x").String(), "oci://ghcr.io/Org/app", "oci://user:secret@ghcr.io/x", "oci://ghcr.io/a/../b", "oci://ghcr.io/a?b", "oci://oci://ghcr.io/a"} {
		_, err := oci.New(url, oci.Options{})
		require.ErrorAs(t, err, new(*oci.URLError), url)
	}
}

func TestPushChecks(t *testing.T) {
	repo := newServer(t).repo(t, oci.Options{})
	_, err := repo.Push(t.Context(), "a b", strings.NewReader("x"), oci.PushOptions{})
	require.ErrorAs(t, err, new(*oci.RefError))
	require.ErrorAs(t, repo.Tag(t.Context(), oci.Revision{}, "a:b"), new(*oci.RefError))
	_, err = repo.Push(t.Context(), "x", strings.NewReader("x"), oci.PushOptions{Annotations: map[string]string{"a": strings.Repeat("x", 4<<20)}})
	require.ErrorAs(t, err, new(*oci.ManifestError))
	rev, err := repo.Push(t.Context(), "x", strings.NewReader("x"), oci.PushOptions{MediaType: "text/plain"})
	require.NoError(t, err)
	m, err := repo.Manifest(t.Context(), rev)
	require.NoError(t, err)
	require.Equal(t, "text/plain", m.Layers[0].MediaType)
}

func TestSelectLayer(t *testing.T) {
	m := &oci.Manifest{Layers: []oci.Layer{{MediaType: "a", Size: 1}, {MediaType: "b", Size: 2}, {MediaType: "b", Size: 3}}}
	for mediaType, size := range map[string]int64{"": 1, "a": 1, "b": 2} {
		layer, err := m.Layer(mediaType)
		require.NoError(t, err)
		require.Equal(t, size, layer.Size)
	}
	_, err := m.Layer("c")
	require.ErrorAs(t, err, new(*oci.ManifestError))
	_, err = (&oci.Manifest{}).Layer("")
	require.ErrorAs(t, err, new(*oci.ManifestError))
}

func TestDockerCredential(t *testing.T) {
	auth := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	config := fmt.Appendf(nil, `{"credsStore":"evil","credHelpers":{"ghcr.io":"evil"},"auths":{
		"https://index.docker.io/v1/":{"auth":%q}, "ghcr.io":{"auth":%q}, "ghcr.io/org":{"username":"org","password":"p:w"},
		"https://quay.io":{"identitytoken":"idt"}, "gcr.io":{"registrytoken":"rt"}, "ghcr.io/or":{"auth":%q}, "broken.io":{"auth":"!"}, "broken2.io":{"auth":"eA=="}}}`,
		auth("hub:pw"), auth("all:a:b"), auth("wrong:x"))
	for url, want := range map[string]oci.Credential{
		"oci://docker.io/library/nginx": {Username: "hub", Password: "pw"},
		"oci://ghcr.io/other/app":       {Username: "all", Password: "a:b"},
		"oci://ghcr.io/org/app":         {Username: "org", Password: "p:w"},
		"ghcr.io/org":                   {Username: "org", Password: "p:w"},
		"oci://quay.io/x":               {IdentityToken: "idt"},
		"oci://GCR.io/x":                {Token: "rt"},
		"oci://evil.io/ghcr.io/org":     {},
		"oci://ghcr.io.evil.io/org":     {},
		"oci://ghcr.io:5000/org":        {},
	} {
		got, err := oci.DockerCredential(config, url)
		require.NoError(t, err, url)
		require.Equal(t, want, got, url)
	}
	for _, url := range []string{"broken.io/x", "broken2.io/x"} {
		_, err := oci.DockerCredential(config, url)
		require.ErrorIs(t, err, oci.ErrDockerConfig)
	}
	for _, bad := range []string{"", "[]", "secret", `{"auths":{"x":"secret"}}`, `{"auths":{"a":{"auth":1}}}`, strings.Repeat(" ", 2<<20) + "{}"} {
		_, err := oci.DockerCredential([]byte(bad), "ghcr.io/x")
		require.ErrorIs(t, err, oci.ErrDockerConfig)
		require.NotContains(t, err.Error(), "secret")
	}
	secret := oci.Credential{Username: "u", Password: "hunter2", Token: "hunter2"}
	for _, text := range []string{fmt.Sprint(secret), fmt.Sprintf("%+v", secret), fmt.Sprintf("%#v", secret), fmt.Sprintf("%+v", oci.Options{Credential: secret})} {
		require.NotContains(t, text, "hunter2")
	}
}

// ociAuth demands what a registry may demand.
type ociAuth struct {
	server *ociServer
	realm  string
	check  func(r *http.Request) bool // of the request for a token
}

func (a ociAuth) serve(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path == "/token" {
		if !a.check(r) {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		fmt.Fprint(w, `{"token":"session","access_token":"session"}`)
		return true
	}
	if r.Header.Get("Authorization") == "Bearer session" {
		return false
	}
	w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="test"`, a.realm))
	w.WriteHeader(http.StatusUnauthorized)
	return true
}

func TestCredentials(t *testing.T) {
	basic := func(r *http.Request) bool {
		u, p, _ := r.BasicAuth()
		return u == "user" && p == "pa:ss"
	}
	t.Run("basic", func(t *testing.T) {
		server := newServer(t)
		server.intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if basic(r) {
				return false
			}
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		})
		repo := server.repo(t, oci.Options{Credential: oci.Credential{Username: "user", Password: "pa:ss"}})
		ociPush(t, repo, "1.0.0", oci.PushOptions{})
		ociPull(t, repo, oci.Ref{SemVer: "*"})
		_, err := server.repo(t, oci.Options{}).Resolve(t.Context(), oci.Ref{})
		require.Error(t, err)
	})
	for name, tt := range map[string]struct {
		cred  oci.Credential
		check func(r *http.Request) bool
	}{
		"anonymous token": {oci.Credential{}, func(r *http.Request) bool { return r.Header.Get("Authorization") == "" }},
		"user":            {oci.Credential{Username: "user", Password: "pa:ss"}, basic},
		"identity token":  {oci.Credential{IdentityToken: "idt"}, func(r *http.Request) bool { return r.FormValue("refresh_token") == "idt" }},
		"token":           {oci.Credential{Token: "session"}, func(*http.Request) bool { return false }},
	} {
		t.Run(name, func(t *testing.T) {
			server := newServer(t)
			server.intercept(ociAuth{server, server.URL + "/token", tt.check}.serve)
			repo := server.repo(t, oci.Options{Credential: tt.cred})
			ociPush(t, repo, "1.0.0", oci.PushOptions{})
			ociPull(t, repo, oci.Ref{SemVer: "*"})
		})
	}
}

// evil is a host that must never learn a credential.
func evil(t *testing.T, answer http.HandlerFunc) *ociServer {
	t.Helper()
	s := newServer(t)
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool { answer(w, r); return true })
	return s
}

var ociSecrets = map[string]oci.Credential{
	"password": {Username: "user", Password: "hunter2"},
	"identity": {IdentityToken: "hunter2"},
	"token":    {Token: "hunter2"},
	"none":     {},
}

func TestAttackBearerRealmOnAnotherHost(t *testing.T) {
	for name, cred := range ociSecrets {
		t.Run(name, func(t *testing.T) {
			thief := evil(t, func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprint(w, `{"token":"session","access_token":"session"}`)
			})
			server := newServer(t)
			server.intercept(ociAuth{server, thief.URL + "/token?x=hunter2", nil}.serve)
			repo := server.repo(t, oci.Options{Credential: cred})
			_, err := repo.Resolve(t.Context(), oci.Ref{})
			if name != "token" { // which goes to the registry alone, and is not asked for
				host := new(oci.HostError)
				require.ErrorAs(t, err, &host)
				require.Equal(t, thief.host(), host.Host)
			}
			require.Error(t, err)
			require.NotContains(t, err.Error(), "hunter2")
			seen, _ := thief.requests()
			require.Empty(t, seen, "not even asked")
		})
	}
}

// A host that the caller names may be asked for tokens.
func TestAuthHosts(t *testing.T) {
	tokens := evil(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"token":"session","access_token":"session"}`)
	})
	server := newServer(t)
	server.intercept(ociAuth{server, tokens.URL + "/token", nil}.serve)
	repo := server.repo(t, oci.Options{Credential: ociSecrets["password"], AuthHosts: []string{tokens.host()}})
	ociPush(t, repo, "1.0.0", oci.PushOptions{})
	_, auth := tokens.requests()
	require.NotEmpty(t, auth)
}

func TestAttackTokenServerRedirects(t *testing.T) {
	for name, cred := range ociSecrets {
		for _, status := range []int{301, 302, 303, 307, 308} {
			t.Run(fmt.Sprint(name, status), func(t *testing.T) {
				thief := evil(t, func(w http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					require.NotContains(t, string(body)+r.URL.String(), "hunter2")
				})
				server := newServer(t)
				server.intercept(func(w http.ResponseWriter, r *http.Request) bool {
					if r.URL.Path == "/token" {
						http.Redirect(w, r, thief.URL+"/token", status)
						return true
					}
					return ociAuth{server, server.URL + "/token", nil}.serve(w, r)
				})
				_, err := server.repo(t, oci.Options{Credential: cred}).Resolve(t.Context(), oci.Ref{})
				require.Error(t, err)
				require.NotContains(t, err.Error(), "hunter2")
				_, auth := thief.requests()
				require.Empty(t, auth)
			})
		}
	}
}

// Blobs may lie elsewhere; what is sent there is the wish for one.
func TestAttackRedirectedBlob(t *testing.T) {
	server := newServer(t)
	rev := ociPush(t, server.repo(t, oci.Options{}), "1.0.0", oci.PushOptions{})
	archive, sum := ociArchive(t, "1.0.0")
	content := archive
	cdn := evil(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`) // it may ask
		if r.URL.Query().Get("auth") != "" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		_, _ = w.Write(content)
	})
	suffix := "?signature=hunter2"
	server.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			http.Redirect(w, r, cdn.URL+"/blob"+suffix, http.StatusTemporaryRedirect)
			return true
		}
		return ociAuth{server, server.URL + "/token", func(*http.Request) bool { return true }}.serve(w, r)
	})
	repo := server.repo(t, oci.Options{Credential: ociSecrets["password"]})
	m, err := repo.Manifest(t.Context(), rev)
	require.NoError(t, err)
	_, err = repo.Open(t.Context(), m.Layers[0])
	require.NoError(t, err)

	for name, bytes := range map[string][]byte{"another": []byte("not it"), "cut": archive[:len(archive)-1], "longer": append(archive[:len(archive):len(archive)], 0), "nothing": nil} {
		content = bytes
		_, err = repo.Open(t.Context(), m.Layers[0])
		require.Error(t, err, name)
		r, err := repo.Read(t.Context(), m.Layers[0])
		if err == nil {
			_, err = io.Copy(io.Discard, r)
			_ = r.Close()
		}
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "hunter2")
		s, serr := artifact.NewStore(t.TempDir(), artifact.StoreOptions{})
		require.NoError(t, serr)
		if r, rerr := repo.Read(t.Context(), m.Layers[0]); rerr == nil {
			_, err = s.Add(t.Context(), r, sum.Digest)
			require.Error(t, err, name)
			_ = r.Close()
		}
	}
	suffix = "?signature=hunter2&auth=1"
	_, err = repo.Open(t.Context(), m.Layers[0])
	require.Error(t, err)
	require.NotContains(t, err.Error(), "hunter2", "a signature is as good as a password")
	cdn.Close()
	_, err = repo.Open(t.Context(), m.Layers[0])
	require.Error(t, err)
	require.NotContains(t, err.Error(), "hunter2")
	_, auth := cdn.requests()
	require.Empty(t, auth)
}

func TestAttackUploadLocationOnAnotherHost(t *testing.T) {
	thief := evil(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusCreated) })
	for name, status := range map[string]int{"location": http.StatusAccepted, "redirect": http.StatusTemporaryRedirect, "permanent": http.StatusPermanentRedirect} {
		t.Run(name, func(t *testing.T) {
			server := newServer(t)
			server.intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPost || r.Method == http.MethodPut {
					w.Header().Set("Location", thief.URL+"/upload")
					w.WriteHeader(status)
					return true
				}
				return false
			})
			repo := server.repo(t, oci.Options{Credential: ociSecrets["password"]})
			archive, _ := ociArchive(t, "x")
			_, err := repo.Push(t.Context(), "x", bytes.NewReader(archive), oci.PushOptions{})
			require.Error(t, err)
			seen, _ := thief.requests()
			require.Empty(t, seen, "neither content nor credentials")
		})
	}
}

func TestAttackNextPageOnAnotherHost(t *testing.T) {
	thief := evil(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"tags":["9.9.9"]}`) })
	server := newServer(t)
	server.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Link", "<"+thief.URL+`/v2/org/app/tags/list?n=1>; rel="next"`)
		fmt.Fprint(w, `{"tags":["1.0.0"]}`)
		return true
	})
	_, err := server.repo(t, oci.Options{Credential: ociSecrets["password"]}).Tags(t.Context())
	require.Error(t, err)
	seen, _ := thief.requests()
	require.Empty(t, seen)
}

func TestAttackEndlessTags(t *testing.T) {
	page := 0
	server := newServer(t)
	server.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		page++
		w.Header().Set("Link", fmt.Sprintf(`</v2/org/app/tags/list?n=1&last=%d>; rel="next"`, page))
		tags := make([]string, 5000)
		for i := range tags {
			tags[i] = fmt.Sprintf("%d.%d.0", page, i)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"tags": tags})
		return true
	})
	_, err := server.repo(t, oci.Options{}).Resolve(t.Context(), oci.Ref{SemVer: "*"})
	require.ErrorContains(t, err, "100000")
	require.Less(t, page, 30)
}

// A server cannot make an encrypted connection an open one.
func TestAttackDowngrade(t *testing.T) {
	plain := evil(t, func(w http.ResponseWriter, r *http.Request) {})
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL+"/x", http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	repo, err := oci.New("oci://"+strings.TrimPrefix(server.URL, "https://")+"/org/app", oci.Options{Transport: server.Client().Transport, Credential: ociSecrets["token"]})
	require.NoError(t, err)
	_, err = repo.Resolve(t.Context(), oci.Ref{})
	require.ErrorAs(t, err, new(*oci.HostError))
	seen, _ := plain.requests()
	require.Empty(t, seen)
}

// A server may say what it was told; an error does not.
func TestAttackErrorRepeatsTheSecret(t *testing.T) {
	for name, cred := range ociSecrets {
		server := newServer(t)
		server.intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/token" && r.Header.Get("Authorization") == "" {
				return ociAuth{server, server.URL + "/token", nil}.serve(w, r)
			}
			_ = r.ParseForm()
			w.WriteHeader(http.StatusForbidden)
			_ = json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": "DENIED", "message": r.Header.Get("Authorization") + r.Form.Encode() + strings.Repeat("x", 5000)}}})
			return true
		})
		_, err := server.repo(t, oci.Options{Credential: cred}).Tags(t.Context())
		require.ErrorContains(t, err, "403", name)
		require.NotContains(t, err.Error(), "hunter2", name)
		require.NotContains(t, err.Error(), base64.StdEncoding.EncodeToString([]byte("user:hunter2")))
		require.Less(t, len(err.Error()), 1000)
	}
}

// serveManifest answers every request for a manifest with some bytes.
func serveManifest(s *ociServer, mediaType string, data []byte, header ...string) {
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/manifests/") {
			return false
		}
		w.Header().Set("Content-Type", mediaType)
		w.Header().Set("Docker-Content-Digest", digest.FromBytes(data).String())
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data)
		return true
	})
}

func TestAttackManifests(t *testing.T) {
	server := newServer(t)
	repo := server.repo(t, oci.Options{})
	d := digest.FromString("x").String()
	layer := func(s string) string {
		return fmt.Sprintf(`{"schemaVersion":2,"config":{"mediaType":"x","digest":%q,"size":2},"layers":[%s]}`, d, s)
	}
	good := layer(fmt.Sprintf(`{"mediaType":"x","digest":%q,"size":1}`, d))
	index := "application/vnd.oci.image.index.v1+json"
	for name, tt := range map[string]struct{ mediaType, body string }{
		"not JSON":             {manifestType, "<html>"},
		"empty":                {manifestType, ""},
		"index":                {index, `{"schemaVersion":2,"manifests":[]}`},
		"index in disguise":    {manifestType, `{"schemaVersion":2,"mediaType":"` + index + `","manifests":[]}`},
		"both at once":         {manifestType, strings.TrimSuffix(good, "}") + `,"manifests":[]}`},
		"another type inside":  {manifestType, strings.Replace(good, "{", `{"mediaType":"application/vnd.docker.distribution.manifest.v2+json",`, 1)},
		"HTML":                 {"text/html", good},
		"version 1":            {manifestType, strings.Replace(good, "2", "1", 1)},
		"digest is a path":     {manifestType, layer(`{"mediaType":"x","digest":"sha256:../../x","size":1}`)},
		"no digest":            {manifestType, layer(`{"mediaType":"x","size":1}`)},
		"weak digest":          {manifestType, layer(`{"mediaType":"x","digest":"md5:d41d8cd98f00b204e9800998ecf8427e","size":1}`)},
		"negative size":        {manifestType, layer(fmt.Sprintf(`{"mediaType":"x","digest":%q,"size":-1}`, d))},
		"size beyond numbers":  {manifestType, layer(fmt.Sprintf(`{"mediaType":"x","digest":%q,"size":1e30}`, d))},
		"deep":                 {manifestType, strings.Repeat("[", 100_000)},
		"layers are no list":   {manifestType, `{"schemaVersion":2,"layers":{}}`},
		"more than 4 MiB":      {manifestType, good + strings.Repeat(" ", 4<<20)},
		"config has no digest": {manifestType, `{"schemaVersion":2,"config":{},"layers":[]}`},
	} {
		t.Run(name, func(t *testing.T) {
			serveManifest(server, tt.mediaType, []byte(tt.body))
			_, err := repo.Manifest(t.Context(), oci.Revision{Digest: digest.FromString(tt.body)})
			require.ErrorAs(t, err, new(*oci.ManifestError))
			require.Less(t, len(err.Error()), 700)
		})
	}
	serveManifest(server, manifestType, []byte(good))
	m, err := repo.Manifest(t.Context(), oci.Revision{Digest: digest.FromString(good)})
	require.NoError(t, err, "or the above proves nothing")
	require.Len(t, m.Layers, 1)
}

func TestAttackManifestIsNotTheOneAskedFor(t *testing.T) {
	server := newServer(t)
	repo := server.repo(t, oci.Options{})
	rev := ociPush(t, repo, "1.0.0", oci.PushOptions{})
	other := ociPush(t, repo, "2.0.0", oci.PushOptions{})
	m, err := repo.Manifest(t.Context(), other)
	require.NoError(t, err)
	body, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": manifestType, "config": m.Config, "layers": m.Layers})
	require.NoError(t, err)
	for name, header := range map[string][]string{
		"honest":        nil,
		"lies":          {"Docker-Content-Digest", rev.Digest.String()},
		"says nothing":  {"Docker-Content-Digest", ""},
		"says nonsense": {"Docker-Content-Digest", "x"},
	} {
		serveManifest(server, manifestType, body, header...)
		_, err := repo.Manifest(t.Context(), rev)
		require.Error(t, err, name)
	}
	for _, answer := range []string{"x", "sha256:../../x", "md5:d41d8cd98f00b204e9800998ecf8427e"} {
		serveManifest(server, manifestType, body, "Docker-Content-Digest", answer)
		_, err := repo.Resolve(t.Context(), oci.Ref{Tag: "1.0.0"})
		require.Error(t, err)
	}
}

func TestAttackLayerSize(t *testing.T) {
	server := newServer(t)
	repo := server.repo(t, oci.Options{Limits: artifact.Limits{ArchiveBytes: 1000}})
	server.intercept(func(w http.ResponseWriter, r *http.Request) bool { // sends for ever
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return true
			}
		}
	})
	_, err := repo.Read(t.Context(), oci.Layer{Digest: digest.FromString("x"), Size: 1001})
	tooLarge := new(artifact.LimitError)
	require.ErrorAs(t, err, &tooLarge)
	require.EqualValues(t, 1000, tooLarge.Max)
	seen, _ := server.requests()
	require.Empty(t, seen)

	layer := oci.Layer{Digest: digest.FromBytes(make([]byte, 1000)), Size: 999}
	r, err := repo.Read(t.Context(), layer)
	require.NoError(t, err)
	n, err := io.Copy(io.Discard, r)
	require.Error(t, err)
	require.LessOrEqual(t, n, int64(1000))
	require.NoError(t, r.Close())
	_, err = repo.Open(t.Context(), layer)
	require.Error(t, err)
	_, err = oci.New("x/y", oci.Options{})
	require.NoError(t, err)
	big := server.repo(t, oci.Options{})
	_, err = big.Read(t.Context(), oci.Layer{Digest: digest.FromString("x"), Size: 256<<20 + 1})
	require.ErrorAs(t, err, &tooLarge, "the default")
}

// Whoever answers a part with another part is not believed.
func TestAttackWrongRange(t *testing.T) {
	server := newServer(t)
	backend := server.repo(t, oci.Options{}).Backend()
	key := fmt.Sprintf("sha256/%x.tar.gz", sha256.Sum256(nil))
	require.NoError(t, backend.Put(t.Context(), key, 10, strings.NewReader("0123456789")))
	for answer, fails := range map[string]bool{"bytes 5-9/10": false, "bytes 0-4/10": true, "": true} {
		server.intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Range") == "" {
				return false
			}
			w.Header().Set("Content-Range", answer)
			w.WriteHeader(http.StatusPartialContent)
			fmt.Fprint(w, "56789 and more")
			return true
		})
		r, err := backend.Open(t.Context(), key, 5, -1)
		if fails {
			require.ErrorContains(t, err, "another part")
			continue
		}
		require.NoError(t, err)
		data, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, "56789", string(data))
		require.NoError(t, r.Close())
	}
	server.intercept(func(w http.ResponseWriter, r *http.Request) bool { // knows no ranges
		r.Header.Del("Range")
		return false
	})
	r, err := backend.Open(t.Context(), key, 5, 3)
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "567", string(data))
	require.NoError(t, r.Close())
}

// The environment and the home directory have no part in it.
func TestAttackEnvironment(t *testing.T) {
	home := t.TempDir()
	thief := evil(t, func(w http.ResponseWriter, r *http.Request) {})
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"} {
		t.Setenv(name, thief.URL)
	}
	t.Setenv("HOME", home)
	t.Setenv("DOCKER_CONFIG", home)
	repo, err := oci.New("oci://registry.invalid/org/app", oci.Options{PlainHTTP: true})
	require.NoError(t, err)
	_, err = repo.Resolve(t.Context(), oci.Ref{})
	require.Error(t, err)
	seen, _ := thief.requests()
	require.Empty(t, seen)
}

func FuzzManifest(f *testing.F) {
	d := digest.FromString("x").String()
	for _, s := range []string{
		`{}`, `{"schemaVersion":2}`, `[`, `{"schemaVersion":2,"config":{"digest":"` + d + `"},"layers":[{"mediaType":"a","digest":"` + d + `","size":3,"annotations":{"a":"b"}}],"annotations":{"c":"d"}}`,
		`{"schemaVersion":2,"manifests":null}`, `{"SCHEMAVERSION":2,"Layers":[]}`,
	} {
		f.Add([]byte(s), manifestType, "a")
	}
	f.Fuzz(func(t *testing.T, data []byte, mediaType, layerType string) {
		m, err := oci.ParseManifest(data, mediaType)
		if err != nil {
			require.ErrorAs(t, err, new(*oci.ManifestError))
			require.Less(t, len(err.Error()), 2000)
			return
		}
		layer, err := m.Layer(layerType)
		if err != nil {
			require.ErrorAs(t, err, new(*oci.ManifestError))
			return
		}
		require.NoError(t, layer.Digest.Validate())
		require.GreaterOrEqual(t, layer.Size, int64(0))
		require.True(t, layerType == "" || layer.MediaType == layerType)
	})
}

func FuzzDockerCredential(f *testing.F) {
	f.Add([]byte(`{"auths":{"ghcr.io":{"auth":"dTpw"}}}`), "oci://ghcr.io/x")
	f.Add([]byte(`{"auths":{"":{"auth":""}}}`), "")
	f.Fuzz(func(t *testing.T, config []byte, url string) {
		cred, err := oci.DockerCredential(config, url)
		if err != nil {
			require.ErrorIs(t, err, oci.ErrDockerConfig)
			require.Zero(t, cred)
		}
	})
}
