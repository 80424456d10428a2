package git_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

// github stands in for the API of GitHub: it has one app with one installation.
type github struct {
	t      *testing.T
	URL    string
	key    *rsa.PrivateKey
	lives  time.Duration // how long tokens do
	answer http.HandlerFunc
	delay  chan struct{} // if not nil, tokens wait for it

	mu     sync.Mutex
	token  string // the last one; the only one that is valid
	issued int
	asked  []string // method and path
	bodies []string
	jwts   []string
}

const (
	appID        = "Iv23liExample"
	installation = 4711
)

func newGitHub(t *testing.T) *github {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	g := &github{t: t, key: key, lives: time.Hour}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	g.URL = server.URL + "/api/v3"
	return g
}

func (g *github) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	// Before it waits: only then does a server notice that its client is gone.
	body, _ := io.ReadAll(req.Body)
	if g.delay != nil {
		select {
		case <-g.delay:
		case <-req.Context().Done():
			return
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	jwt, _ := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	path, _ := strings.CutPrefix(req.URL.Path, "/api/v3")
	g.asked = append(g.asked, req.Method+" "+path)
	g.jwts = append(g.jwts, jwt)
	if g.answer != nil {
		g.answer(w, req)
		return
	}
	if err := g.verify(jwt); err != nil {
		http.Error(w, err.Error()+jwt, http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch req.Method + " " + path {
	case "GET /users/someone/installation", "GET /repos/org/repo/installation":
		fmt.Fprintf(w, `{"id":%d,"access_tokens_url":"https://elsewhere.invalid/tokens"}`, installation)
	case fmt.Sprintf("POST /app/installations/%d/access_tokens", installation):
		g.bodies = append(g.bodies, string(body))
		g.issued++
		g.token = fmt.Sprintf("ghs_c4n4ry%d", g.issued)
		w.WriteHeader(http.StatusCreated)
		json.NewEncoder(w).Encode(map[string]string{"token": g.token, "expires_at": time.Now().Add(g.lives).UTC().Format(time.RFC3339)})
	default:
		http.Error(w, `{"message":"Not Found"}`, http.StatusNotFound)
	}
}

// verify checks a token of the app as GitHub does.
func (g *github) verify(jwt string) error {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return errors.New("not a JWT")
	}
	head, _ := base64.RawURLEncoding.DecodeString(parts[0])
	body, _ := base64.RawURLEncoding.DecodeString(parts[1])
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err != nil || rsa.VerifyPKCS1v15(&g.key.PublicKey, crypto.SHA256, sum[:], signature) != nil {
		return errors.New("bad signature")
	}
	var header struct{ Alg, Typ string }
	var claims struct {
		Iat, Exp int64
		Iss      string
	}
	if json.Unmarshal(head, &header) != nil || json.Unmarshal(body, &claims) != nil || header.Alg != "RS256" || claims.Iss != appID {
		return errors.New("bad claims")
	}
	now := time.Now()
	if iat := time.Unix(claims.Iat, 0); iat.After(now.Add(-30*time.Second)) || iat.Before(now.Add(-2*time.Minute)) {
		return errors.New("iat")
	}
	if exp := time.Unix(claims.Exp, 0); exp.Before(now) || exp.After(now.Add(10*time.Minute)) {
		return errors.New("exp")
	}
	return nil
}

// allow lets in who has the last token that was issued.
func (g *github) allow(req *http.Request) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	user, password, _ := req.BasicAuth()
	return g.token != "" && user == "x-access-token" && password == g.token
}

func (g *github) issuedTokens() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.issued
}

func (g *github) revoke() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.token = "revoked"
}

func (g *github) app() *git.GitHubApp {
	return &git.GitHubApp{
		AppID: appID, InstallationID: fmt.Sprint(installation), BaseURL: g.URL,
		PrivateKey: pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(g.key)}),
	}
}

func (g *github) options() git.Options {
	return git.Options{Auth: git.Auth{GitHubApp: g.app()}, InsecureCredentials: true}
}

// repository is a repository at /org/repo.git that wants the app's tokens.
func (g *github) repository(t *testing.T) string {
	t.Helper()
	f := newFixture(t)
	repo := f.create("org/repo.git")
	_, err := repo.Commit(t.Context(), files("a", "1"), gitserver.CommitOptions{Branch: "main"})
	require.NoError(t, err)
	return f.serve(gitserver.HTTPOptions{Allow: g.allow}).URL + "/org/repo.git"
}

func TestGitHubApp(t *testing.T) {
	g := newGitHub(t)
	url := g.repository(t)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(g.key)
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		change func(*git.GitHubApp)
		asked  []string
	}{
		"by installation": {func(*git.GitHubApp) {}, nil},
		"PKCS #8": {func(a *git.GitHubApp) {
			a.PrivateKey = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
		}, nil},
		"a slash at the end": {func(a *git.GitHubApp) { a.BaseURL += "/" }, nil},
		"by owner": {func(a *git.GitHubApp) { a.InstallationID, a.InstallationOwner = "", "someone" },
			[]string{"GET /orgs/someone/installation", "GET /users/someone/installation"}},
		"by repository": {func(a *git.GitHubApp) { a.InstallationID = "" }, []string{"GET /repos/org/repo/installation"}},
	} {
		t.Run(name, func(t *testing.T) {
			g.asked, g.bodies = nil, nil
			opts := g.options()
			tt.change(opts.Auth.GitHubApp)
			snapshot(t, open(t, url, opts), git.Ref{})
			require.Equal(t, append(tt.asked, "POST /app/installations/4711/access_tokens"), g.asked)
			require.Len(t, g.bodies, 1, "one token for all requests")
			require.JSONEq(t, `{"repositories":["repo"],"permissions":{"contents":"read"}}`, g.bodies[0])
		})
	}
}

func TestGitHubAppRenewsTokens(t *testing.T) {
	g := newGitHub(t)
	url := g.repository(t)
	r := open(t, url, g.options())
	snapshot(t, r, git.Ref{})
	require.Equal(t, 1, g.issuedTokens())
	g.revoke()
	snapshot(t, r, git.Ref{})
	require.Equal(t, 2, g.issuedTokens(), "after a refusal")

	g.lives = 30 * time.Second // less than the minute that is kept in hand
	short := open(t, url, g.options())
	_, err := short.Resolve(t.Context(), git.Ref{})
	require.NoError(t, err)
	before := g.issuedTokens()
	_, err = short.Resolve(t.Context(), git.Ref{})
	require.NoError(t, err)
	require.Equal(t, before+1, g.issuedTokens(), "shortly before the end")
}

func TestGitHubAppOneTokenForAll(t *testing.T) {
	g := newGitHub(t)
	r := open(t, g.repository(t), g.options())
	g.delay = make(chan struct{})
	const callers = 20
	results := make(chan error, callers)
	// One that gives up takes the others not with it.
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { _, err := r.Resolve(ctx, git.Ref{}); first <- err }()
	for range callers {
		go func() { _, err := r.Resolve(t.Context(), git.Ref{}); results <- err }()
	}
	cancel()
	require.ErrorIs(t, <-first, context.Canceled)
	close(g.delay)
	for range callers {
		require.NoError(t, <-results)
	}
	require.Equal(t, 1, g.issuedTokens())
}

func TestGitHubAppRefusals(t *testing.T) {
	g := newGitHub(t)
	url := g.repository(t)
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	status := func(code int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			http.Error(w, "c4n4ry "+req.Header.Get("Authorization"), code)
		}
	}
	body := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }
	}
	byOwner := func(a *git.GitHubApp) { a.InstallationID, a.InstallationOwner = "", "stranger" }
	for name, tt := range map[string]struct {
		change func(*git.GitHubApp)
		answer http.HandlerFunc
		want   error
		says   string
	}{
		"another app":          {func(a *git.GitHubApp) { a.AppID = "12" }, nil, git.ErrAuthRefused, "clock"},
		"another key":          {func(a *git.GitHubApp) { a.PrivateKey = rsaPEM(stranger) }, nil, git.ErrAuthRefused, "PrivateKey"},
		"another installation": {func(a *git.GitHubApp) { a.InstallationID = "1" }, nil, git.ErrAuthRefused, "InstallationID"},
		"another owner":        {byOwner, nil, git.ErrAuthRefused, "InstallationOwner"},
		"suspended":            {nil, status(403), git.ErrAuthRefused, "suspended"},
		"no such repository":   {nil, status(422), git.ErrAuthRefused, "renamed"},
		"too often":            {nil, status(403, "X-RateLimit-Remaining", "0"), git.ErrUnreachable, "later"},
		"much too often":       {nil, status(429), git.ErrUnreachable, "later"},
		"broken":               {nil, status(500), git.ErrUnreachable, "later"},
		"teapot":               {nil, status(418), git.ErrProtocol, "BaseURL"},
		"moved":                {nil, status(301, "Location", "/elsewhere"), git.ErrProtocol, "BaseURL"},
		"a page":               {nil, body("<html>c4n4ry"), git.ErrProtocol, "JSON"},
		"no token":             {nil, body(`{"token":"","expires_at":"2099-01-01T00:00:00Z"}`), git.ErrProtocol, "no token"},
		"a token in two lines": {nil, body(`{"token":"c4n4ry\r\nX: y","expires_at":"2099-01-01T00:00:00Z"}`), git.ErrProtocol, "no token"},
		"a long token":         {nil, body(`{"token":"` + strings.Repeat("c4n4ry", 1000) + `","expires_at":"2099-01-01T00:00:00Z"}`), git.ErrProtocol, "no token"},
		"no date":              {nil, body(`{"token":"c4n4ry"}`), git.ErrProtocol, "no token"},
		"no installation":      {byOwner, body(`{"id":-1}`), git.ErrProtocol, "no installation"},
	} {
		t.Run(name, func(t *testing.T) {
			g.answer = tt.answer
			opts := g.options()
			if tt.change != nil {
				tt.change(opts.Auth.GitHubApp)
			}
			_, err := open(t, url, opts).Resolve(t.Context(), git.Ref{})
			require.ErrorIs(t, err, tt.want)
			require.ErrorContains(t, err, tt.says)
			require.NotContains(t, err.Error(), "c4n4ry")
			for _, jwt := range g.jwts {
				require.NotContains(t, err.Error(), jwt)
			}
		})
	}
}

func rsaPEM(key *rsa.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

func TestOpenRefusesGitHubApps(t *testing.T) {
	g := newGitHub(t)
	ed, err := sshSigner(t).PrivateKey()
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		change func(*git.GitHubApp)
		want   error
	}{
		"no app":               {func(a *git.GitHubApp) { a.AppID = "" }, git.ErrInvalidAuth},
		"an app with a slash":  {func(a *git.GitHubApp) { a.AppID = "a/b" }, git.ErrInvalidAuth},
		"both":                 {func(a *git.GitHubApp) { a.InstallationOwner = "org" }, git.ErrInvalidAuth},
		"a path":               {func(a *git.GitHubApp) { a.InstallationID = "1/../2" }, git.ErrInvalidAuth},
		"a sign":               {func(a *git.GitHubApp) { a.InstallationID = "-1" }, git.ErrInvalidAuth},
		"an owner with a path": {func(a *git.GitHubApp) { a.InstallationID, a.InstallationOwner = "", "../x" }, git.ErrInvalidAuth},
		"an owner of dots":     {func(a *git.GitHubApp) { a.InstallationID, a.InstallationOwner = "", ".." }, git.ErrInvalidAuth},
		"no key":               {func(a *git.GitHubApp) { a.PrivateKey = nil }, git.ErrInvalidAuth},
		"no PEM":               {func(a *git.GitHubApp) { a.PrivateKey = []byte("canary") }, git.ErrInvalidAuth},
		"not RSA":              {func(a *git.GitHubApp) { a.PrivateKey = ed }, git.ErrInvalidAuth},
		"an enormous key":      {func(a *git.GitHubApp) { a.PrivateKey = bytes.Repeat([]byte("c"), 20<<10) }, git.ErrInvalidAuth},
		"plain HTTP":           {func(a *git.GitHubApp) { a.BaseURL = "http://canary.example.com" }, git.ErrInsecureCredentials},
		"another scheme":       {func(a *git.GitHubApp) { a.BaseURL = "ftp://canary.example.com" }, git.ErrInvalidURL},
		"a login":              {func(a *git.GitHubApp) { a.BaseURL = "https://canary@example.com" }, git.ErrInvalidURL},
		"no URL":               {func(a *git.GitHubApp) { a.BaseURL = "canary" }, git.ErrInvalidURL},
	} {
		t.Run(name, func(t *testing.T) {
			app := g.app()
			app.BaseURL = ""
			tt.change(app)
			_, err := git.Open("https://github.com/org/repo", git.Options{Auth: git.Auth{GitHubApp: app}})
			require.ErrorIs(t, err, tt.want)
			require.True(t, terminal(t, err))
			require.NotContains(t, err.Error(), "canary")
		})
	}
	app := g.app()
	app.BaseURL = ""
	for _, url := range []string{"https://github.com/repo", "https://github.com/org/..", "https://github.com/a%2fb/%2e%2e"} {
		_, err := git.Open(url, git.Options{Auth: git.Auth{GitHubApp: app}})
		require.ErrorIs(t, err, git.ErrInvalidURL, url)
	}
	_, err = git.Open("https://github.com/org/repo", git.Options{Auth: git.Auth{GitHubApp: app}})
	require.NoError(t, err)
}

// The API is asked through the same proxy and the same transport.
func TestGitHubAppThroughProxy(t *testing.T) {
	g := newGitHub(t)
	url := g.repository(t)
	for _, scheme := range []string{"http", "socks5"} {
		p := serveProxy(t, gitserver.ProxyOptions{Username: "u", Password: "p"})
		opts := g.options()
		opts.Proxy = git.Proxy{URL: scheme + "://" + p.Addr, Username: "u", Password: "p"}
		var requests atomic.Int64
		opts.WrapTransport = func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(req *http.Request) (*http.Response, error) {
				requests.Add(1)
				return next.RoundTrip(req)
			})
		}
		_, err := open(t, url, opts).Resolve(t.Context(), git.Ref{})
		require.NoError(t, err)
		require.Contains(t, p.Targets(), strings.Split(g.URL, "/")[2])
		require.EqualValues(t, 3, requests.Load(), "the token, the greeting and the references")
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// An API that cannot be trusted gets the app's token for ten minutes, and
// cannot make more of it.
func TestAttackGitHubAPI(t *testing.T) {
	g := newGitHub(t)
	url := g.repository(t)
	var leaked atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { leaked.Add(1) }))
	defer other.Close()
	for name, answer := range map[string]http.HandlerFunc{
		"a redirect": func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, other.URL, http.StatusTemporaryRedirect)
		},
		"an endless answer": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			pourOut(w, `{"token":"`, strings.Repeat("x", 1000))
		},
		"an endless refusal": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			pourOut(w, "", strings.Repeat("x", 1000))
		},
		"endless spaces": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			pourOut(w, `{`, strings.Repeat(" ", 1000))
		},
		"deep JSON": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("[", 900_000)) },
	} {
		t.Run(name, func(t *testing.T) {
			g.answer = answer
			_, err := open(t, url, g.options()).Resolve(t.Context(), git.Ref{})
			require.Error(t, err)
			require.Zero(t, leaked.Load())
		})
	}
	t.Run("an answer that never comes", func(t *testing.T) {
		stuck := newGitHub(t)
		stuck.delay = make(chan struct{})
		requireCancelled(t, open(t, url, stuck.options()))
	})
}

// A token goes to the origin of the repository only, and its end is believed
// only within reason.
func TestAttackGitHubTokenOnRedirect(t *testing.T) {
	g := newGitHub(t)
	var leaked atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") != "" {
			leaked.Add(1)
		}
		http.Error(w, "who are you?", http.StatusUnauthorized)
	}))
	defer other.Close()
	var tokens atomic.Int64
	here := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if g.allow(req) {
			tokens.Add(1)
		}
		http.Redirect(w, req, other.URL+"/repo.git/info/refs", http.StatusFound)
	}))
	defer here.Close()
	_, err := open(t, here.URL+"/org/repo.git", g.options()).Resolve(t.Context(), git.Ref{})
	require.ErrorIs(t, err, git.ErrAuthRequired)
	require.ErrorContains(t, err, "has moved")
	require.EqualValues(t, 1, tokens.Load())
	require.Zero(t, leaked.Load())
	require.Equal(t, 1, g.issuedTokens(), "a stranger's 401 is no reason to ask again")
}

func TestTokens(t *testing.T) {
	f := newFixture(t)
	f.commit("main", files("a", "1"), nil)
	var valid atomic.Value
	valid.Store("t1")
	server := f.serve(gitserver.HTTPOptions{Allow: func(req *http.Request) bool {
		return req.Header.Get("Authorization") == "Bearer "+valid.Load().(string)
	}})
	var calls atomic.Int64
	var lives time.Duration
	remote := func(source func(context.Context) (git.Token, error)) *git.Remote {
		calls.Store(0)
		return open(t, server.URL+"/repo.git", git.Options{Auth: git.Auth{Token: source}, InsecureCredentials: true})
	}
	source := func(context.Context) (git.Token, error) { //nolint:unparam // as Auth.Token is
		calls.Add(1)
		token := git.Token{Bearer: valid.Load().(string)}
		if lives > 0 {
			token.Expires = time.Now().Add(lives)
		}
		return token, nil
	}
	t.Run("for an hour", func(t *testing.T) {
		lives = time.Hour
		r := remote(source)
		snapshot(t, r, git.Ref{})
		require.EqualValues(t, 1, calls.Load())
		valid.Store("t2")
		snapshot(t, r, git.Ref{})
		require.EqualValues(t, 2, calls.Load())
	})
	t.Run("for one request", func(t *testing.T) {
		lives = 0
		snapshot(t, remote(source), git.Ref{})
		require.EqualValues(t, 3, calls.Load(), "the greeting, the references, the objects")
	})
	t.Run("that is refused", func(t *testing.T) {
		lives = time.Hour
		r := remote(func(context.Context) (git.Token, error) {
			calls.Add(1)
			return git.Token{Bearer: fmt.Sprint("canary", calls.Load()), Expires: time.Now().Add(time.Hour)}, nil
		})
		_, err := r.Resolve(t.Context(), git.Ref{})
		require.ErrorIs(t, err, git.ErrAuthRefused)
		require.NotContains(t, err.Error(), "canary")
		require.EqualValues(t, 2, calls.Load(), "once more, not for ever")
	})
	t.Run("that makes no sense", func(t *testing.T) {
		for _, token := range []git.Token{
			{Bearer: "canary", Password: "canary"}, {Bearer: "canary\n"}, {Username: "canary:"},
		} {
			_, err := remote(func(context.Context) (git.Token, error) { return token, nil }).Resolve(t.Context(), git.Ref{})
			require.ErrorIs(t, err, git.ErrInvalidAuth)
			require.NotContains(t, err.Error(), "canary")
		}
	})
	t.Run("that is none", func(t *testing.T) {
		_, err := remote(func(context.Context) (git.Token, error) { return git.Token{}, nil }).Resolve(t.Context(), git.Ref{})
		require.ErrorIs(t, err, git.ErrAuthRequired)
	})
	t.Run("an error", func(t *testing.T) {
		broken := errors.New("no identity")
		_, err := remote(func(context.Context) (git.Token, error) { return git.Token{}, broken }).Resolve(t.Context(), git.Ref{})
		require.ErrorIs(t, err, broken)
		require.ErrorIs(t, err, git.ErrAuthRequired)
		require.NotErrorIs(t, err, git.ErrUnreachable)
	})
	t.Run("that never comes", func(t *testing.T) {
		requireCancelled(t, remote(func(ctx context.Context) (git.Token, error) {
			<-ctx.Done()
			return git.Token{}, ctx.Err()
		}))
	})
}
