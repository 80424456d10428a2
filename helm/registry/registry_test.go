package registry_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/helm"
	"github.com/gitopskit/gitopskit/helm/registry"
)

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.cncf.helm.config.v1+json"
	chartType    = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	provType     = "application/vnd.cncf.helm.chart.provenance.v1.prov"
)

// host is a registry with a doorkeeper in front, which remembers who asked.
type host struct {
	*httptest.Server
	mu    sync.Mutex
	front func(http.ResponseWriter, *http.Request) bool // true if it has answered
	asked []*http.Request
}

func newHost(t testing.TB, start func(http.Handler) *httptest.Server) *host {
	h := &host{}
	behind := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	h.Server = start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		front := h.front
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			h.asked = append(h.asked, r)
		}
		h.mu.Unlock()
		if front == nil || !front(w, r) {
			behind.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(h.Close)
	return h
}

// guard puts a doorkeeper in front.
func (h *host) guard(front func(http.ResponseWriter, *http.Request) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.front = front
}

func (h *host) requests() []*http.Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	asked := h.asked
	h.asked = nil
	return asked
}

func (h *host) addr() string {
	return strings.TrimPrefix(strings.TrimPrefix(h.URL, "https://"), "http://")
}

func (h *host) oci(name string) string { return "oci://" + h.addr() + "/" + name }

func (h *host) put(t testing.TB, path, contentType string, data []byte) {
	t.Helper()
	method := http.MethodPut
	if strings.Contains(path, "/blobs/") {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(t.Context(), method, h.URL+path, bytes.NewReader(data))
	require.NoError(t, err)
	req.Header.Set("Content-Type", contentType)
	resp, err := h.Client().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusCreated, resp.StatusCode)
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

type layer struct {
	mediaType string
	data      []byte
}

// push pushes what helm push does, and returns the manifest's digest.
func (h *host) push(t testing.TB, name, tag string, layers ...layer) string {
	t.Helper()
	describe := func(l layer) map[string]any {
		h.put(t, "/v2/"+name+"/blobs/uploads/?digest="+digest(l.data), "application/octet-stream", l.data)
		return map[string]any{"mediaType": l.mediaType, "digest": digest(l.data), "size": len(l.data)}
	}
	var list []any
	for _, l := range layers {
		list = append(list, describe(l))
	}
	manifest, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": manifestType, "config": describe(layer{configType, []byte("{}")}), "layers": list})
	require.NoError(t, err)
	h.put(t, "/v2/"+name+"/manifests/"+tag, manifestType, manifest)
	return digest(manifest)
}

func pack(t testing.TB, name, version string) []byte {
	t.Helper()
	p, err := helm.Pack(t.Context(), fstest.MapFS{
		"Chart.yaml": {Data: []byte("apiVersion: v2\nname: " + name + "\nversion: " + version + "\nappVersion: 7\n")},
	}, ".", helm.PackOptions{})
	require.NoError(t, err)
	return p.Archive
}

func open(t testing.TB, url string, opts registry.Options) *registry.Repository {
	t.Helper()
	r, err := registry.New(url, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

func terminal(err error) bool {
	var t interface{ Terminal() bool }
	return errors.As(err, &t) && t.Terminal()
}

var plain = registry.Options{PlainHTTP: true}

func TestPull(t *testing.T) {
	h := newHost(t, httptest.NewServer)
	archive := pack(t, "podinfo", "1.2.3+build")
	want := h.push(t, "charts/podinfo", "1.2.3_build", layer{chartType, archive}, layer{"text/plain", []byte("other")})
	r := open(t, h.oci("charts/podinfo"), plain)
	chart := &registry.Chart{Name: "podinfo", Version: "1.2.3+build", AppVersion: "7", Archive: archive, Digest: digest(archive), Manifest: registry.Resolved{Tag: "1.2.3_build", Digest: want}}
	for name, ref := range map[string]registry.Ref{
		"newest": {}, "range": {SemVer: "1.x"}, "version": {SemVer: "1.2.3+build"}, "tag": {Tag: "1.2.3_build"}, "tag with a plus": {Tag: "1.2.3+build"},
		"range before tag": {SemVer: "1.x", Tag: "none"},
	} {
		got, err := r.Pull(t.Context(), ref)
		require.NoError(t, err, name)
		require.Equal(t, chart, got, name)
	}
	got, err := r.Pull(t.Context(), registry.Ref{Digest: want, SemVer: "9.x", Tag: "none"})
	require.NoError(t, err)
	require.Equal(t, registry.Resolved{Digest: want}, got.Manifest)
	c, err := helm.LoadArchive(t.Context(), got.Archive, helm.LoadOptions{})
	require.NoError(t, err)
	require.Equal(t, "1.2.3+build", c.Version())

	h.push(t, "charts/podinfo", "latest", layer{"application/tar+gzip", archive})
	_, err = r.Pull(t.Context(), registry.Ref{Tag: "latest"})
	require.NoError(t, err, "the old type of charts, and a tag that is no version")
}

func TestVersions(t *testing.T) {
	h := newHost(t, httptest.NewServer)
	for _, tag := range []string{"1.2.0", "v1.10.0", "2.0.0-rc.1", "latest", "1.2.0_b", "1.2", "sha256-abc.sig"} {
		h.push(t, "charts/a", tag, layer{chartType, pack(t, "a", "1.0.0")})
	}
	r := open(t, h.oci("charts/a"), plain)
	versions, err := r.Versions(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"2.0.0-rc.1", "1.10.0", "1.2.0+b", "1.2.0"}, versions)
	for want, ref := range map[string]registry.Ref{"v1.10.0": {}, "2.0.0-rc.1": {SemVer: ">=1.0.0-0"}, "1.2.0_b": {SemVer: "1.2.x"}, "1.2.0": {SemVer: "1.2.0"}} {
		found, err := r.Resolve(t.Context(), ref)
		require.NoError(t, err)
		require.Equal(t, want, found.Tag)
		require.NotEmpty(t, found.Digest)
	}
	_, err = r.Resolve(t.Context(), registry.Ref{SemVer: "3.x"})
	require.ErrorIs(t, err, registry.ErrNoVersion)
	require.EqualError(t, err, "resolve "+h.oci("charts/a")+": no version matches: 3.x is not among the 4 that there are")
}

func TestVersionsOverPages(t *testing.T) {
	h := newHost(t, httptest.NewServer)
	pages := map[string]string{"": "1.0.0", "1.0.0": "2.0.0", "2.0.0": "3.0.0"}
	next := `</v2/charts/a/tags/list?n=1&last=%s>; rel="next"`
	h.guard(func(w http.ResponseWriter, r *http.Request) bool {
		tag := pages[r.URL.Query().Get("last")]
		if tag != "3.0.0" {
			w.Header().Set("Link", fmt.Sprintf(next, tag))
		}
		_, err := fmt.Fprintf(w, `{"name":"charts/a","tags":[%q]}`, tag)
		return err == nil
	})
	r := open(t, h.oci("charts/a"), plain)
	versions, err := r.Versions(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"3.0.0", "2.0.0", "1.0.0"}, versions)

	for _, link := range []string{`<http://169.254.169.254/v2/charts/a/tags/list>; rel="next"`, `</v2/charts/other/tags/list?last=1>; rel="next"`, `<https:>; rel="next"`} {
		next = strings.ReplaceAll(link, "%", "%%") + "%.0s"
		_, err := r.Versions(t.Context())
		require.ErrorIs(t, err, registry.ErrBadAnswer, link)
	}
	next = `</v2/charts/a/tags/list>; rel="next"%.0s`
	_, err = r.Versions(t.Context())
	require.ErrorIs(t, err, registry.ErrBadAnswer, "a list that leads back to itself")
}

func TestResolveSeesATagThatMoved(t *testing.T) {
	h := newHost(t, httptest.NewServer)
	first := h.push(t, "charts/a", "stable", layer{chartType, pack(t, "a", "1.0.0")})
	r := open(t, h.oci("charts/a"), plain)
	found, err := r.Resolve(t.Context(), registry.Ref{Tag: "stable"})
	require.NoError(t, err)
	require.Equal(t, registry.Resolved{Tag: "stable", Digest: first}, found)
	require.Len(t, h.requests(), 1)
	second := h.push(t, "charts/a", "stable", layer{chartType, pack(t, "a", "1.1.0")})
	found, err = r.Resolve(t.Context(), registry.Ref{Tag: "stable"})
	require.NoError(t, err)
	require.Equal(t, second, found.Digest)

	// Registries need not say the digest.
	h.guard(func(w http.ResponseWriter, r *http.Request) bool { return r.Method == http.MethodHead })
	found, err = r.Resolve(t.Context(), registry.Ref{Tag: "stable"})
	require.NoError(t, err)
	require.Equal(t, second, found.Digest)
}

func TestWhatIsNoChartIsRefused(t *testing.T) {
	h := newHost(t, httptest.NewServer)
	archive := pack(t, "a", "1.0.0")
	h.push(t, "charts/a", "1.0.1", layer{chartType, archive})
	h.push(t, "charts/a", "two", layer{chartType, archive}, layer{chartType, archive})
	h.push(t, "charts/a", "none", layer{"text/plain", archive})
	h.push(t, "charts/a", "text", layer{chartType, []byte("text")})
	image, err := json.Marshal(map[string]any{"schemaVersion": 2, "config": map[string]any{"mediaType": "application/vnd.oci.image.config.v1+json"}})
	require.NoError(t, err)
	h.put(t, "/v2/charts/a/manifests/image", manifestType, image)
	r := open(t, h.oci("charts/a"), plain)
	for tag, want := range map[string]error{
		"1.0.1": registry.ErrMismatch, "two": registry.ErrNotChart, "none": registry.ErrNotChart, "text": registry.ErrMismatch, "image": registry.ErrNotChart,
		"a b": registry.ErrInvalidRef, "../x": registry.ErrInvalidRef,
	} {
		_, err := r.Pull(t.Context(), registry.Ref{Tag: tag})
		require.ErrorIs(t, err, want, tag)
		require.True(t, terminal(err), tag)
	}
	_, err = r.Pull(t.Context(), registry.Ref{Tag: "missing"})
	require.ErrorIs(t, err, registry.ErrNotFound)
	require.False(t, terminal(err))
	for _, digest := range []string{"sha256:x", "md5:abc", strings.Repeat("a", 64)} {
		_, err = r.Pull(t.Context(), registry.Ref{Digest: digest})
		require.ErrorIs(t, err, registry.ErrInvalidRef)
	}
	_, err = r.Pull(t.Context(), registry.Ref{SemVer: "nonsense"})
	require.ErrorIs(t, err, registry.ErrInvalidRef)
}

func TestInvalidURLs(t *testing.T) {
	for _, url := range []string{
		"", "https://x/y", "oci://", "oci://x", "oci://x/", "oci://x/Upper", "oci://x/a:1.0", "oci://x/a@sha256:b", "oci://user:hunter2@x/y", "oci://x/../y", "oci://x/a//b", "oci://x/y?z", "oci://x/y#z",
	} {
		_, err := registry.New(url, registry.Options{})
		require.ErrorIs(t, err, registry.ErrInvalidURL, url)
		require.NotContains(t, err.Error(), "hunter2")
		require.True(t, terminal(err))
	}
	_, err := registry.New("oci://x/y", registry.Options{PlainHTTP: true, Username: "u", Password: "hunter2"})
	require.ErrorIs(t, err, registry.ErrInsecureCredentials)
	_, err = registry.New("oci://x/y", registry.Options{Keyring: []byte("x")})
	require.ErrorIs(t, err, registry.ErrKeyring)
}

func TestClose(t *testing.T) {
	r := open(t, "oci://x/y", registry.Options{})
	require.NoError(t, r.Close())
	_, err := r.Versions(t.Context())
	require.ErrorIs(t, err, registry.ErrClosed)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = open(t, "oci://127.0.0.1:1/y", registry.Options{}).Resolve(ctx, registry.Ref{Tag: "x"})
	require.ErrorIs(t, err, context.Canceled)
}
