package registry_test

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/stretchr/testify/require"
	helmprovenance "helm.sh/helm/v3/pkg/provenance"

	"github.com/gitopskit/gitopskit/helm/registry"
)

const canary = "canary-Passw0rd"

func authority(servers ...*host) []byte {
	var all []byte
	for _, s := range servers {
		all = append(all, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})...)
	}
	return all
}

func private(servers ...*host) registry.Options {
	return registry.Options{Username: "user", Password: canary, CABundle: authority(servers...)}
}

// tokens answers as a server of tokens, to the right password.
func tokens(w http.ResponseWriter, r *http.Request) bool {
	if _, password, _ := r.BasicAuth(); password != canary {
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	_, err := fmt.Fprintf(w, `{"token":"token-for-%s","expires_in":300}`, r.URL.Query().Get("scope"))
	return err == nil
}

const goodToken = "Bearer token-for-repository:charts/a:pull"

// wants wants a token of a realm for everything.
func wants(realm string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/token") {
			return tokens(w, r)
		}
		if r.Method == http.MethodPut || r.Method == http.MethodPost || r.Header.Get("Authorization") == goodToken {
			return false
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s",service="registry, of tests",scope="repository:other:pull,push"`, realm))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
}

func sent(requests []*http.Request) []string {
	var list []string
	for _, r := range requests {
		if a := r.Header.Get("Authorization"); a != "" {
			list = append(list, a)
		}
	}
	return list
}

func TestTokens(t *testing.T) {
	h := newHost(t, httptest.NewTLSServer)
	h.push(t, "charts/a", "1.0.0", layer{chartType, pack(t, "a", "1.0.0")})
	h.guard(wants(h.URL + "/token"))
	r := open(t, h.oci("charts/a"), private(h))
	_, err := r.Pull(t.Context(), registry.Ref{})
	require.NoError(t, err)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+canary))
	require.Equal(t, []string{basic, goodToken, goodToken, goodToken}, sent(h.requests()), "one token for all, and no more rights than are needed")

	wrong := private(h)
	wrong.Password = "wrong"
	_, err = open(t, h.oci("charts/a"), wrong).Pull(t.Context(), registry.Ref{})
	require.ErrorIs(t, err, registry.ErrAuthRefused)
	require.False(t, terminal(err))

	// Without a password anybody may be asked for a token.
	other := newHost(t, httptest.NewTLSServer)
	other.guard(func(w http.ResponseWriter, _ *http.Request) bool {
		_, err := w.Write([]byte(`{"access_token":"token-for-repository:charts/a:pull"}`))
		return err == nil
	})
	h.guard(wants(other.URL + "/token"))
	_, err = open(t, h.oci("charts/a"), registry.Options{CABundle: authority(h, other)}).Pull(t.Context(), registry.Ref{})
	require.NoError(t, err)
	require.Empty(t, sent(other.requests()))
}

func TestBasicAndBearer(t *testing.T) {
	h := newHost(t, httptest.NewTLSServer)
	h.push(t, "charts/a", "1.0.0", layer{chartType, pack(t, "a", "1.0.0")})
	h.guard(func(w http.ResponseWriter, r *http.Request) bool {
		if _, password, _ := r.BasicAuth(); password == canary || r.Header.Get("Authorization") == "Bearer "+canary {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	_, err := open(t, h.oci("charts/a"), private(h)).Pull(t.Context(), registry.Ref{})
	require.NoError(t, err)
	_, err = open(t, h.oci("charts/a"), registry.Options{BearerToken: canary, CABundle: authority(h)}).Pull(t.Context(), registry.Ref{})
	require.NoError(t, err)
	_, err = open(t, h.oci("charts/a"), registry.Options{CABundle: authority(h)}).Pull(t.Context(), registry.Ref{})
	require.ErrorIs(t, err, registry.ErrAuthRefused)
	require.ErrorContains(t, err, "no credentials were sent")
}

// A registry that names somebody else's server of tokens would collect what
// belongs to it, or have its own collect the password.
func TestAttackHostileRealm(t *testing.T) {
	h, other := newHost(t, httptest.NewTLSServer), newHost(t, httptest.NewTLSServer)
	insecure := newHost(t, httptest.NewServer)
	h.push(t, "charts/a", "1.0.0", layer{chartType, pack(t, "a", "1.0.0")})
	other.guard(tokens)
	for name, realm := range map[string]string{
		"another host":       other.URL + "/token",
		"plain":              insecure.URL + "/token",
		"metadata":           "http://169.254.169.254/token",
		"file":               "file:///etc/passwd",
		"user":               "https://user:x@" + h.addr() + "/token",
		"none":               "",
		"suffix of the name": "https://0.0.1/token",
		"same name, longer":  "https://" + h.addr() + ".example.org/token",
	} {
		h.guard(wants(realm))
		_, err := open(t, h.oci("charts/a"), private(h, other)).Pull(t.Context(), registry.Ref{})
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), canary)
		require.True(t, terminal(err), "%s: %v", name, err)
	}
	require.Empty(t, other.requests())
	require.Empty(t, insecure.requests())

	h.guard(wants(other.URL + "/token"))
	opts := private(h, other)
	opts.TokenHosts = []string{other.addr()}
	_, err := open(t, h.oci("charts/a"), opts).Pull(t.Context(), registry.Ref{})
	require.NoError(t, err, "whom the options name")

	// A server of tokens that sends on to another is not followed with the password.
	third := newHost(t, httptest.NewTLSServer)
	h.guard(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			http.Redirect(w, r, third.URL+"/token", http.StatusTemporaryRedirect)
			return true
		}
		return wants(h.URL+"/token")(w, r)
	})
	_, err = open(t, h.oci("charts/a"), private(h, third)).Pull(t.Context(), registry.Ref{})
	require.Error(t, err)
	require.Empty(t, sent(third.requests()))
}

func TestAttackBlobElsewhere(t *testing.T) {
	h, storage := newHost(t, httptest.NewTLSServer), newHost(t, httptest.NewTLSServer)
	archive := pack(t, "a", "1.0.0")
	h.push(t, "charts/a", "1.0.0", layer{chartType, archive})
	serve := archive
	storage.guard(func(w http.ResponseWriter, _ *http.Request) bool {
		_, err := w.Write(serve)
		return err == nil
	})
	target := storage.URL + "/signed?key=x"
	h.guard(func(w http.ResponseWriter, r *http.Request) bool {
		if wants(h.URL+"/token")(w, r) {
			return true
		}
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			http.Redirect(w, r, target, http.StatusTemporaryRedirect)
			return true
		}
		return false
	})
	r := open(t, h.oci("charts/a"), private(h, storage))
	_, err := r.Pull(t.Context(), registry.Ref{})
	require.NoError(t, err)
	require.Empty(t, sent(storage.requests()), "the storage sees no token")

	for name, data := range map[string][]byte{"other content": pack(t, "a", "1.0.1"), "less": archive[:10], "nothing": nil, "more": append(bytes.Clone(archive), 0)} {
		serve = data
		_, err := r.Pull(t.Context(), registry.Ref{})
		require.ErrorIs(t, err, registry.ErrDigest, name)
	}
	for _, to := range []string{"http://127.0.0.1:1/x", "file:///etc/passwd", "https://169.254.169.254/latest"} {
		target = to
		_, err := r.Pull(t.Context(), registry.Ref{})
		require.True(t, terminal(err), "%s: %v", to, err)
	}
}

func TestAttackManifests(t *testing.T) {
	h := newHost(t, httptest.NewServer)
	archive := pack(t, "a", "1.0.0")
	pushed := h.push(t, "charts/a", "1.0.0", layer{chartType, archive})
	r := open(t, h.oci("charts/a"), registry.Options{PlainHTTP: true, Limits: registry.Limits{ChartBytes: 1 << 10, Tags: 10}})
	answer := func(text string) {
		h.guard(func(w http.ResponseWriter, _ *http.Request) bool {
			_, err := w.Write([]byte(text))
			return err == nil
		})
	}
	describe := func(digest string, size int64) string {
		return fmt.Sprintf(`{"config":{"mediaType":%q},"layers":[{"mediaType":%q,"digest":%q,"size":%d}]}`, configType, chartType, digest, size)
	}
	for name, c := range map[string]struct {
		answer string
		want   error
	}{
		"large":             {strings.Repeat(" ", 5<<20), registry.ErrLimit},
		"not JSON":          {"<html>", registry.ErrNotChart},
		"deep":              {strings.Repeat("[", 1<<20), registry.ErrNotChart},
		"path for a digest": {describe("../../../etc/passwd", 1), registry.ErrNotChart},
		"other hash":        {describe("sha512:"+strings.Repeat("a", 128), 1), registry.ErrNotChart},
		"large layer":       {describe(digest(archive), 1<<40), registry.ErrLimit},
		"negative size":     {describe(digest(archive), -1), registry.ErrDigest},
	} {
		answer(c.answer)
		_, err := r.Pull(t.Context(), registry.Ref{Tag: "1.0.0"})
		require.ErrorIs(t, err, c.want, name)
		require.True(t, terminal(err))
	}
	answer(`{}`)
	_, err := r.Pull(t.Context(), registry.Ref{Digest: pushed})
	require.ErrorIs(t, err, registry.ErrDigest, "a manifest that is not what its digest says")
	answer(`{"tags":["` + strings.Repeat(`1.0.0","`, 20) + `x"]}`)
	_, err = r.Versions(t.Context())
	require.ErrorIs(t, err, registry.ErrLimit)
}

func TestAttackSecretsInErrors(t *testing.T) {
	h := newHost(t, httptest.NewTLSServer)
	for name, front := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"token that is none": func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/token" {
				_, err := fmt.Fprintf(w, `{"token":"%s\n"}`, canary)
				return err == nil
			}
			return wants(h.URL+"/token")(w, r)
		},
		"echo": func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/token" {
				return wants(h.URL+"/token")(w, r)
			}
			http.Error(w, r.Header.Get("Authorization")+"\x1b[2J", http.StatusForbidden)
			return true
		},
	} {
		h.guard(front)
		_, err := open(t, h.oci("charts/a"), private(h)).Pull(t.Context(), registry.Ref{})
		require.Error(t, err, name)
		for _, form := range []string{canary, "\x1b", base64.StdEncoding.EncodeToString([]byte("user:" + canary))} {
			require.NotContains(t, fmt.Sprintf("%v %+v", err, err), form)
		}
	}
}

func TestAttackSlowAnswers(t *testing.T) {
	h := newHost(t, httptest.NewServer)
	h.guard(func(_ http.ResponseWriter, r *http.Request) bool {
		<-r.Context().Done()
		return true
	})
	r := open(t, h.oci("charts/a"), registry.Options{PlainHTTP: true, Limits: registry.Limits{Time: 20 * time.Millisecond}})
	_, err := r.Pull(t.Context(), registry.Ref{})
	require.ErrorIs(t, err, registry.ErrUnreachable)
	require.ErrorContains(t, err, "time limit")
	require.False(t, terminal(err))
}

func TestProvenance(t *testing.T) {
	h := newHost(t, httptest.NewServer)
	signer := func(name string) (*openpgp.Entity, []byte) {
		key, err := openpgp.NewEntity(name, "", "", nil)
		require.NoError(t, err)
		var ring bytes.Buffer
		require.NoError(t, key.Serialize(&ring))
		return key, ring.Bytes()
	}
	sign := func(key *openpgp.Entity, file string, archive []byte) []byte {
		path := filepath.Join(t.TempDir(), file)
		require.NoError(t, os.WriteFile(path, archive, 0o600))
		text, err := (&helmprovenance.Signatory{Entity: key}).ClearSign(path)
		require.NoError(t, err)
		return []byte(text)
	}
	archive := pack(t, "a", "1.0.0+b")
	key, ring := signer("signer")
	stranger, _ := signer("stranger")
	good := sign(key, "a-1.0.0+b.tgz", archive)
	h.push(t, "charts/a", "good", layer{provType, good}, layer{chartType, archive})
	h.push(t, "charts/a", "missing", layer{chartType, archive})
	h.push(t, "charts/a", "stranger", layer{chartType, archive}, layer{provType, sign(stranger, "a-1.0.0+b.tgz", archive)})
	h.push(t, "charts/a", "other", layer{chartType, pack(t, "a", "1.0.0+c")}, layer{provType, good})
	h.push(t, "charts/a", "empty", layer{chartType, archive}, layer{provType, []byte(" ")})
	r := open(t, h.oci("charts/a"), registry.Options{PlainHTTP: true, Keyring: ring})
	got, err := r.Pull(t.Context(), registry.Ref{Tag: "good"})
	require.NoError(t, err)
	require.Equal(t, "signer", strings.TrimSpace(strings.TrimSuffix(got.SignedBy.Signer, "<>")))
	for _, tag := range []string{"missing", "stranger", "other", "empty"} {
		_, err := r.Pull(t.Context(), registry.Ref{Tag: tag})
		require.ErrorIs(t, err, registry.ErrUnverified, tag)
		require.True(t, terminal(err))
	}
}
