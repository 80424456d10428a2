package notify

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"strconv"
	"time"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/internal/post"
)

// GitHubApp acts as an installation of a GitHub App. Its tokens are for one repository
// and, where that can be said, for nothing but what the sink does; they are kept until
// they expire.
type GitHubApp struct {
	// AppID is the client ID or the number of the app. Required.
	AppID string
	// InstallationID is the number of the installation. Empty means the one that the
	// repository belongs to.
	InstallationID string
	// PrivateKey of the app, in PEM, as PKCS #1 or PKCS #8. Required.
	PrivateKey []byte
}

// gitHubTokens asks for the tokens of an installation, and keeps the last one.
type gitHubTokens struct {
	conn
	app, installation string
	key               *rsa.PrivateKey
	owner, repo       string
	permissions       map[string]string

	// turn is held by who reads or changes what follows. It is a channel so that who
	// waits for it can stop waiting.
	turn    chan struct{}
	held    string
	expires time.Time
}

func newGitHubTokens(g *gitHub, a GitHubApp, permissions map[string]string) (*gitHubTokens, error) {
	switch {
	case a.AppID == "" || len(a.AppID) > 100 || !post.ValidHeader(a.AppID):
		return nil, optionError(g.name, "the id of the app is missing, or is none")
	case a.InstallationID != "" && !isNumber(a.InstallationID):
		return nil, optionError(g.name, "the id of the installation must be a number")
	}
	key := parseRSAKey(a.PrivateKey)
	if key == nil {
		return nil, optionError(g.name, "the private key of the app must be an RSA key in PEM without a passphrase")
	}
	return &gitHubTokens{
		conn: g.conn, app: a.AppID, installation: a.InstallationID, key: key,
		owner: g.owner, repo: g.repo, permissions: permissions, turn: make(chan struct{}, 1),
	}, nil
}

// isNumber reports whether a text is a whole number of at most 18 digits.
func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 63)
	return err == nil && len(s) <= 18
}

// parseRSAKey returns nil for what is no such key.
func parseRSAKey(data []byte) *rsa.PrivateKey {
	const longest = 16 << 10
	block, _ := pem.Decode(data[:min(len(data), longest)])
	if block == nil {
		return nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil
	}
	key, _ := parsed.(*rsa.PrivateKey)
	return key
}

// lock waits for the turn.
func (g *gitHubTokens) lock(ctx context.Context) error {
	select {
	case g.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return &events.SendError{Target: g.target(), Reason: "no token in time", Err: ctx.Err()}
	}
}

func (g *gitHubTokens) unlock() { <-g.turn }

// token returns a token, and whether it was there already.
func (g *gitHubTokens) token(ctx context.Context) (token string, cached bool, err error) {
	if err := g.lock(ctx); err != nil {
		return "", false, err
	}
	defer g.unlock()
	const spare = time.Minute // for the request that the token is for
	if g.held != "" && time.Until(g.expires) > spare {
		return g.held, true, nil
	}
	err = g.renew(ctx)
	return g.held, false, err
}

// forget drops a token that was refused.
func (g *gitHubTokens) forget(ctx context.Context, token string) error {
	if err := g.lock(ctx); err != nil {
		return err
	}
	defer g.unlock()
	if g.held == token {
		g.held = ""
	}
	return nil
}

// renew asks for a token.
func (g *gitHubTokens) renew(ctx context.Context) error {
	g.held = ""
	jwt, err := g.sign(time.Now())
	if err != nil {
		return err
	}
	id := g.installation
	if id == "" {
		if id, err = g.find(ctx, jwt); err != nil {
			return err
		}
	}
	wanted := map[string]any{"repositories": []string{g.repo}}
	if len(g.permissions) > 0 {
		wanted["permissions"] = g.permissions
	}
	var answer struct {
		Token   string    `json:"token"`
		Expires time.Time `json:"expires_at"`
	}
	r := request{url: g.at("app", "installations", id, "access_tokens"), body: encode(wanted)}
	if err := g.asApp(ctx, jwt, r, &answer); err != nil {
		return err
	}
	if answer.Token == "" || len(answer.Token) > 4096 || !post.ValidHeader(answer.Token) {
		return g.fail(false, "the answer holds no token for the app's installation")
	}
	g.held, g.expires = answer.Token, answer.Expires
	if longest := time.Now().Add(time.Hour); g.expires.After(longest) {
		g.expires = longest // GitHub's are valid for an hour; one for ever is not believed
	}
	return nil
}

// find asks which installation the repository belongs to.
func (g *gitHubTokens) find(ctx context.Context, jwt string) (string, error) {
	var answer struct {
		ID int64 `json:"id"`
	}
	r := request{method: http.MethodGet, url: g.at("repos", g.owner, g.repo, "installation")}
	if err := g.asApp(ctx, jwt, r, &answer); err != nil {
		return "", err
	}
	if answer.ID <= 0 {
		return "", g.fail(true, "the answer names no installation of the app")
	}
	return strconv.FormatInt(answer.ID, 10), nil
}

// login returns the name under which the app writes.
func (g *gitHubTokens) login(ctx context.Context) (string, error) {
	jwt, err := g.sign(time.Now())
	if err != nil {
		return "", err
	}
	var answer struct {
		Slug string `json:"slug"`
	}
	err = g.asApp(ctx, jwt, request{method: http.MethodGet, url: g.at("app")}, &answer)
	if err != nil || answer.Slug == "" {
		return "", err
	}
	return answer.Slug + "[bot]", nil
}

// asApp sends a request as the app itself, and reads the answer.
func (g *gitHubTokens) asApp(ctx context.Context, jwt string, r request, answer any) error {
	r.header, r.reply = gitHubHeader(jwt), post.MaxReply
	reply, err := g.do(ctx, r)
	if err == nil {
		decode(reply.Body, answer)
	}
	return gitHubLimits(reply, err)
}

// sign makes the token with which an app says who it is. GitHub takes those that are
// valid for ten minutes at most; a minute in the past is for its clock.
func (g *gitHubTokens) sign(now time.Time) (string, error) {
	part := base64.RawURLEncoding.EncodeToString
	signed := part(encode(map[string]string{"alg": "RS256", "typ": "JWT"})) + "." + part(encode(map[string]any{
		"iat": now.Add(-time.Minute).Unix(), "exp": now.Add(8 * time.Minute).Unix(), "iss": g.app,
	}))
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, g.key, crypto.SHA256, sum[:])
	if err != nil {
		return "", g.fail(true, "the private key of the app cannot sign")
	}
	return signed + "." + part(signature), nil
}
