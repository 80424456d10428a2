package receive_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/events/receive"
)

// send posts a fixture with a token and returns the status.
func (r *rig) send(t testing.TB, f fixture, url, token string) int {
	t.Helper()
	req := f.request(t, url, f.body)
	req.Header.Set("Authorization", "Bearer "+token)
	return r.do(t, req).status
}

func TestTokensAreChecked(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		claims map[string]any
		want   string
	}{
		"right":                {ciClaims(), ""},
		"audience in a list":   {with(ciClaims(), "aud", []string{"others", "hooks"}), ""},
		"just expired":         {with(ciClaims(), "exp", now.Add(-30*time.Second).Unix()), ""},
		"expired":              {with(ciClaims(), "exp", now.Add(-2*time.Minute).Unix()), "exp"},
		"never expires":        {without(ciClaims(), "exp"), "does not expire"},
		"not yet":              {with(ciClaims(), "nbf", now.Add(time.Hour).Unix()), "not valid yet"},
		"of the future":        {with(ciClaims(), "iat", now.Add(time.Hour).Unix()), "issued in the future"},
		"for others":           {with(ciClaims(), "aud", "others"), "aud"},
		"for nobody":           {without(ciClaims(), "aud"), "aud"},
		"of another issuer":    {with(ciClaims(), "iss", "https://evil.example.com"), "not allowed"},
		"almost the issuer":    {with(ciClaims(), "iss", ci.url+"/"), "not allowed"},
		"of no issuer":         {without(ciClaims(), "iss"), "not allowed"},
		"of another owner":     {with(ciClaims(), "repository_owner", "evil"), "the owner is not acme"},
		"of nobody":            {without(ciClaims(), "repository_owner"), "variable owner"},
		"all validations fail": {with(with(ciClaims(), "repository_owner", "evil"), "ref", "x"), "the owner is not acme\nthe ref is not main"},
		"a claim is missing":   {without(ciClaims(), "ref"), "the ref is not main"},
	} {
		t.Run(name, func(t *testing.T) {
			f := fixtureOf(t, "generic-oidc")
			r := newRig(t, receive.Limits{}, nil)
			status := r.send(t, f, r.set(t, f.receiver), ci.token(t, c.claims))
			o := r.last(t, 1)
			if c.want == "" {
				require.Equal(t, http.StatusOK, status, "%v", o.Err)
				require.Equal(t, "acme", r.calls()[0].Claims["repository_owner"])
				return
			}
			require.Equal(t, http.StatusNotFound, status)
			require.Equal(t, receive.Unauthenticated, o.Result)
			require.ErrorContains(t, o.Err, c.want)
			require.ErrorIs(t, o.Err, receive.ErrUnauthenticated)
		})
	}
}

func TestFiltersSeeClaims(t *testing.T) {
	f := fixtureOf(t, "generic-oidc")
	f.receiver.Filter = `claims.repository_owner == "acme" && req.image == "shop"`
	r := newRig(t, receive.Limits{}, nil)
	require.Equal(t, http.StatusOK, r.send(t, f, r.set(t, f.receiver), ci.token(t, ciClaims())))
	require.Len(t, r.calls(), 1)
}

func TestKeysAreFetchedOnceAndWhenTheyChange(t *testing.T) {
	own := newIssuer("https://own.example.com")
	f := fixtureOf(t, "generic-oidc")
	f.receiver.Issuers[0].URL = own.url
	claims := func() map[string]any { return with(ciClaims(), "iss", own.url) }
	r := newRig(t, receive.Limits{}, issuers(t, own))
	url := r.set(t, f.receiver)
	for range 3 {
		require.Equal(t, http.StatusOK, r.send(t, f, url, own.token(t, claims())))
		r.set(t, f.receiver)
	}
	require.Equal(t, 1, own.requests())

	own.rotate("two")
	require.Equal(t, http.StatusNotFound, r.send(t, f, url, own.token(t, claims())), "not twice within a minute")
	require.Equal(t, 1, own.requests())
	r.advance(61 * time.Second)
	require.Equal(t, http.StatusOK, r.send(t, f, url, own.token(t, claims())))
	require.Equal(t, 2, own.requests())

	r.advance(2 * time.Hour)
	require.Equal(t, http.StatusOK, r.send(t, f, url, own.token(t, with(claims(), "exp", r.now().Add(time.Hour).Unix()))))
	require.Equal(t, 3, own.requests(), "keys grow old")

	require.Equal(t, 1, r.Issuers())
	r.Delete(web)
	require.Zero(t, r.Issuers(), "keys that nobody needs are forgotten")
}

func TestIssuersThatFailAreAskedAgain(t *testing.T) {
	own := newIssuer("https://own.example.com")
	own.serve = func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusInternalServerError)
		return true
	}
	f := fixtureOf(t, "generic-oidc")
	f.receiver.Issuers[0].URL = own.url
	r := newRig(t, receive.Limits{}, issuers(t, own))
	url := r.set(t, f.receiver)
	token := own.token(t, with(ciClaims(), "iss", own.url))
	for range 2 {
		require.Equal(t, http.StatusServiceUnavailable, r.send(t, f, url, token))
	}
	require.Equal(t, 1, own.requests(), "it is left alone for a moment")
	o := r.last(t, 1)
	require.Equal(t, receive.NoKeys, o.Result)
	require.ErrorIs(t, o.Err, receive.ErrIssuer)

	own.mu.Lock()
	own.serve = nil
	own.mu.Unlock()
	r.advance(6 * time.Second)
	require.Equal(t, http.StatusOK, r.send(t, f, url, token))
}

// CVE-2026-40109: any Google account's token was good enough for a push.
func TestAttackGCRTokenOfSomebodyElse(t *testing.T) {
	for name, claims := range map[string]map[string]any{
		"another account":           with(googleClaims(), "email", "push@evil.iam.gserviceaccount.com"),
		"no account":                without(googleClaims(), "email"),
		"an account not verified":   with(googleClaims(), "email_verified", false),
		"verified, says the string": with(googleClaims(), "email_verified", "true"),
		"another audience":          with(googleClaims(), "aud", "https://evil.example.com"),
		"no audience":               without(googleClaims(), "aud"),
	} {
		t.Run(name, func(t *testing.T) {
			f := fixtureOf(t, "gcr")
			r := newRig(t, receive.Limits{}, nil)
			require.Equal(t, http.StatusNotFound, r.send(t, f, r.set(t, f.receiver), google.token(t, claims)))
			require.Empty(t, r.calls())
		})
	}
	f := fixtureOf(t, "gcr")
	f.receiver.Audience = ""
	_, err := newRig(t, receive.Limits{}, nil).Set(web, f.receiver)
	require.Error(t, err, "without both, nothing would be checked")
}

func TestAttackForgedTokens(t *testing.T) {
	f := fixtureOf(t, "generic-oidc")
	r := newRig(t, receive.Limits{}, nil)
	url := r.set(t, f.receiver)
	evil := newIssuer(ci.url) // the same name and key id, another key
	good := ci.token(t, ciClaims())
	parts := strings.Split(good, ".")
	encode := func(v any) string {
		text, err := json.Marshal(v)
		require.NoError(t, err)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	public, err := jose.JSONWebKey{Key: ci.key.Public()}.MarshalJSON()
	require.NoError(t, err)
	for name, token := range map[string]string{
		"another key":              evil.token(t, ciClaims()),
		"no algorithm":             encode(map[string]string{"alg": "none", "kid": "one"}) + "." + parts[1] + ".",
		"the public key as secret": sign(t, jose.SigningKey{Algorithm: jose.HS256, Key: public}, "one", ciClaims()),
		"its own key":              encode(map[string]any{"alg": "ES256", "jwk": json.RawMessage(public)}) + "." + parts[1] + "." + parts[2],
		"other claims":             parts[0] + "." + encode(with(ciClaims(), "sub", "root")) + "." + parts[2],
		"no signature":             parts[0] + "." + parts[1] + ".",
		"two parts":                parts[0] + "." + parts[1],
		"JSON":                     `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"an endless one":           good + strings.Repeat("A", 32<<10),
		"nothing":                  "",
		"no base64":                "a.b.c",
		"a deep header":            base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("[", 5000))) + "." + parts[1] + "." + parts[2],
		"an unknown critical head": encode(map[string]any{"alg": "ES256", "kid": "one", "crit": []string{"x"}, "x": 1}) + "." + parts[1] + "." + parts[2],
	} {
		require.Equal(t, http.StatusNotFound, r.send(t, f, url, token), name)
	}
	for name, change := range map[string]func(http.Header){
		"two headers":    func(h http.Header) { h.Add("Authorization", "Bearer "+good) },
		"another scheme": func(h http.Header) { h.Set("Authorization", "Basic "+good) },
		"no scheme":      func(h http.Header) { h.Set("Authorization", good) },
		"none":           func(h http.Header) { h.Del("Authorization") },
	} {
		req := f.request(t, url, f.body)
		change(req.Header)
		require.Equal(t, http.StatusNotFound, r.do(t, req).status, name)
	}
	require.Empty(t, r.calls())
	require.Equal(t, http.StatusOK, r.send(t, f, url, good))
}

func TestAttackUnknownKeysDoNotFloodTheIssuer(t *testing.T) {
	own := newIssuer("https://own.example.com")
	f := fixtureOf(t, "generic-oidc")
	f.receiver.Issuers[0].URL = own.url
	r := newRig(t, receive.Limits{}, issuers(t, own))
	url := r.set(t, f.receiver)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for i := range 50 {
		token := sign(t, jose.SigningKey{Algorithm: jose.RS256, Key: key}, strings.Repeat("x", i+1), with(ciClaims(), "iss", own.url))
		require.Equal(t, http.StatusNotFound, r.send(t, f, url, token))
	}
	require.Equal(t, 1, own.requests())
}

func TestAttackHostileIssuers(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		weak = nil // this toolchain makes none so weak
	}
	for name, serve := range map[string]func(*issuer) func(http.ResponseWriter, *http.Request) bool{
		"endless": func(*issuer) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				for r.Context().Err() == nil {
					if _, err := w.Write([]byte(strings.Repeat(" ", 64<<10))); err != nil {
						break
					}
				}
				return true
			}
		},
		"redirects": func(*issuer) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, "/.well-known/") {
					return false // which is right
				}
				http.Redirect(w, r, "/moved", http.StatusFound)
				return true
			}
		},
		"another issuer": answer(`{"issuer":"https://other.example.com","jwks_uri":"https://own.example.com/keys"}`),
		"plain keys":     answer(`{"issuer":"https://own.example.com","jwks_uri":"http://own.example.com/keys"}`),
		"file keys":      answer(`{"issuer":"https://own.example.com","jwks_uri":"file:///etc/passwd"}`),
		"no JSON":        answer(`canary`),
		"deep JSON":      answer(strings.Repeat("[", 200<<10)),
		"many keys": func(i *issuer) func(http.ResponseWriter, *http.Request) bool {
			right, _ := json.Marshal(jose.JSONWebKey{Key: i.key.Public(), KeyID: i.kid})
			return keys(`{"keys":[` + strings.Repeat(`{},`, 100) + string(right) + `]}`)(i)
		},
		"no keys":     keys(`{"keys":[]}`),
		"secret keys": keys(`{"keys":[{"kty":"oct","kid":"one","k":"AAAA"}]}`),
		"odd keys":    keys(`{"keys":[1,null,"x",{"kty":"RSA","n":"","e":""},{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`),
		"weak keys": func(i *issuer) func(http.ResponseWriter, *http.Request) bool {
			text := []byte(`{}`)
			if weak != nil {
				text, _ = json.Marshal(jose.JSONWebKey{Key: weak.Public(), KeyID: "one"})
			}
			return keys(`{"keys":[` + string(text) + `]}`)(i)
		},
	} {
		t.Run(name, func(t *testing.T) {
			own := newIssuer("https://own.example.com")
			own.serve = serve(own)
			f := fixtureOf(t, "generic-oidc")
			f.receiver.Issuers[0].URL = own.url
			r := newRig(t, receive.Limits{}, issuers(t, own))
			require.Equal(t, http.StatusServiceUnavailable, r.send(t, f, r.set(t, f.receiver), own.token(t, with(ciClaims(), "iss", own.url))))
			o := r.last(t, 1)
			require.ErrorIs(t, o.Err, receive.ErrIssuer)
			require.NotContains(t, o.Err.Error(), "canary")
			require.Empty(t, r.calls())
		})
	}
}

func answer(text string) func(*issuer) func(http.ResponseWriter, *http.Request) bool {
	return func(*issuer) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/keys" {
				return false // which are right
			}
			_, _ = w.Write([]byte(text))
			return true
		}
	}
}

func keys(text string) func(*issuer) func(http.ResponseWriter, *http.Request) bool {
	return func(*issuer) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/keys" {
				_, _ = w.Write([]byte(text))
			}
			return r.URL.Path == "/keys"
		}
	}
}

// A receiver's author names the issuer, and must not reach this machine through it.
func TestAttackIssuersOnLocalAddresses(t *testing.T) {
	for _, address := range []string{
		"127.0.0.1:80", "[::1]:80", "169.254.169.254:80", "[fe80::1]:80", "[fd00:ec2::254]:80", "0.0.0.0:80", "[::]:80",
		"[::ffff:127.0.0.1]:80", "[::ffff:169.254.169.254]:80", "224.0.0.1:80", "nonsense",
	} {
		require.Error(t, receive.RefuseLocal(address), address)
	}
	for _, address := range []string{"10.96.0.1:443", "192.0.2.1:443", "[2001:db8::1]:443"} {
		require.NoError(t, receive.RefuseLocal(address), address)
	}

	var out receive.Outcome
	h, err := receive.New(receive.Options{
		Receive: func(_ context.Context, _ receive.Request) error { return errors.New("not reached") },
		Observe: func(o receive.Outcome) { out = o },
	})
	require.NoError(t, err)
	defer h.CloseIdleConnections()
	local := newIssuer("http://" + listen(t))
	f := fixtureOf(t, "generic-oidc")
	f.receiver.Issuers[0].URL, f.receiver.Issuers[0].AllowHTTP = local.url, true
	path, err := h.Set(web, f.receiver)
	require.NoError(t, err)
	req := f.request(t, "http://hooks.example.com"+path, f.body)
	req.Header.Set("Authorization", "Bearer "+local.token(t, with(ciClaims(), "iss", local.url)))
	require.Equal(t, http.StatusServiceUnavailable, serve(h, req))
	require.ErrorIs(t, out.Err, receive.ErrIssuer)
}
