package receive_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/gitopskit/gitopskit/events/receive"
)

// The issuers of the fixtures. Their keys are drawn once for all tests.
var (
	google = newIssuer("https://accounts.google.com")
	ci     = newIssuer("https://ci.example.com/acme")
)

func ciIssuer() receive.Issuer {
	return receive.Issuer{
		URL: ci.url, Audience: "hooks",
		Variables:   []receive.Variable{{Name: "owner", Expression: `claims.repository_owner`}},
		Validations: []receive.Validation{{Expression: `vars.owner == "acme"`, Message: "the owner is not acme"}, {Expression: `claims.ref == "refs/heads/main"`, Message: "the ref is not main"}},
	}
}

func ciClaims() map[string]any {
	return map[string]any{"iss": ci.url, "aud": "hooks", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(), "repository_owner": "acme", "ref": "refs/heads/main"}
}

func googleClaims() map[string]any {
	return map[string]any{
		"iss": google.url, "aud": "https://hooks.example.com/gcr", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
		"email": "push@acme.iam.gserviceaccount.com", "email_verified": true,
	}
}

func with(claims map[string]any, name string, value any) map[string]any {
	claims[name] = value
	return claims
}

func without(claims map[string]any, name string) map[string]any {
	delete(claims, name)
	return claims
}

// issuer is an OpenID Connect provider.
type issuer struct {
	url string

	mu    sync.Mutex
	key   *ecdsa.PrivateKey
	kid   string
	asked int                                           // for the configuration
	serve func(http.ResponseWriter, *http.Request) bool // answers instead, where it returns true
}

func newIssuer(url string) *issuer {
	i := &issuer{url: url}
	i.rotate("one")
	return i
}

func (i *issuer) rotate(kid string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.key, i.kid = key, kid
}

func (i *issuer) requests() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked
}

func (i *issuer) token(t testing.TB, claims map[string]any) string {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	return sign(t, jose.SigningKey{Algorithm: jose.ES256, Key: i.key}, i.kid, claims)
}

func sign(t testing.TB, key jose.SigningKey, kid string, claims any) string {
	t.Helper()
	opts := (&jose.SignerOptions{}).WithType("JWT")
	if kid != "" {
		opts = opts.WithHeader("kid", kid)
	}
	signer, err := jose.NewSigner(key, opts)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// ServeHTTP serves the configuration and the keys.
func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if r.URL.Path != "/keys" {
		i.asked++
	}
	if i.serve != nil && i.serve(w, r) {
		return
	}
	if r.URL.Path == "/keys" {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.key.Public(), KeyID: i.kid, Use: "sig", Algorithm: "ES256"}}})
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"issuer": i.url, "jwks_uri": "https://" + r.Host + "/keys"})
}

// issuers is a transport that reaches issuers by their hosts. What it serves goes
// over a real connection.
func issuers(t testing.TB, all ...*issuer) http.RoundTripper {
	t.Helper()
	servers := map[string]*httptest.Server{}
	for _, i := range all {
		srv := httptest.NewServer(i)
		t.Cleanup(srv.Close)
		u, err := http.NewRequest(http.MethodGet, i.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		servers[u.URL.Host] = srv
	}
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return roundTrip(func(req *http.Request) (*http.Response, error) {
		srv := servers[req.URL.Host]
		if srv == nil {
			return nil, http.ErrServerClosed
		}
		host := req.URL.Host
		req = req.Clone(req.Context())
		req.Host, req.URL.Scheme, req.URL.Host = host, "http", srv.Listener.Addr().String()
		return tr.RoundTrip(req)
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
