package git

import (
	"bytes"
	"cmp"
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
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// GitHubApp reads a repository as an installation of a GitHub App. Its tokens
// are valid for an hour, may read the contents of this one repository and
// nothing else, and are kept by the [Remote] until they expire.
type GitHubApp struct { //nolint:revive // its name is GitHub, and does not repeat the package's
	// AppID is the client ID or the number of the app.
	AppID string
	// InstallationID is the number of the installation. Instead of it,
	// InstallationOwner is the organization or user who installed the app.
	// Without both it is the installation that the repository belongs to.
	InstallationID    string
	InstallationOwner string
	// PrivateKey of the app, in PEM as GitHub gives it (PKCS #1) or as PKCS #8.
	// It is at most 16 KiB.
	PrivateKey []byte
	// BaseURL of the API. Default: https://api.github.com. GitHub Enterprise
	// Server has it at https://host/api/v3. It is https, unless
	// [Options.InsecureCredentials] is set. Options.CABundle, Proxy and
	// WrapTransport are used for it too.
	BaseURL string
}

// installation asks for the tokens of an installation.
type installation struct {
	app         string
	key         *rsa.PrivateKey
	api         *url.URL
	id          string   // the installation; empty if it is not given
	found       string   // the installation, if it is not given
	search      []string // paths of the API where it may be found
	owner, name string   // the repository
	send        func(*http.Request) (*http.Response, error)
	secrets     *secrets
}

// installation checks what is given, and prepares to ask for tokens.
func (a *GitHubApp) installation(repository *url.URL, insecure bool) (*installation, error) {
	refuse := func(why string) (*installation, error) {
		return nil, fmt.Errorf("%w: GitHubApp.%s", ErrInvalidAuth, why)
	}
	switch {
	case !pathName(a.AppID):
		return refuse("AppID is missing or not the ID of an app")
	case a.InstallationID != "" && a.InstallationOwner != "":
		return refuse("InstallationID and InstallationOwner are given both; one is enough")
	case a.InstallationID != "" && !number(a.InstallationID):
		return refuse("InstallationID is not a number")
	case a.InstallationOwner != "" && !pathName(a.InstallationOwner):
		return refuse("InstallationOwner is not the name of an organization or user")
	}
	i := &installation{app: a.AppID, id: a.InstallationID}
	segments := strings.Split(strings.Trim(strings.TrimSuffix(strings.TrimRight(repository.Path, "/"), ".git"), "/"), "/")
	if len(segments) < 2 || !pathName(segments[len(segments)-2]) || !pathName(segments[len(segments)-1]) {
		return nil, fmt.Errorf("%w: with Auth.GitHubApp the path is /owner/repository", ErrInvalidURL)
	}
	i.owner, i.name = segments[len(segments)-2], segments[len(segments)-1]
	i.search = []string{"repos/" + i.owner + "/" + i.name}
	if a.InstallationOwner != "" {
		i.search = []string{"orgs/" + a.InstallationOwner, "users/" + a.InstallationOwner}
	}
	var err error
	if i.api, err = a.base(insecure); err != nil {
		return nil, err
	}
	if i.key, err = rsaKey(a.PrivateKey); err != nil {
		return nil, err
	}
	return i, nil
}

// pathName says that a name is one segment of a path, and nothing but that.
func pathName(s string) bool {
	const most = 100
	if s == "" || len(s) > most || strings.Trim(s, ".") == "" {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-", r)
	})
}

// number says that a text is a number without a sign.
func number(s string) bool {
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil
}

// usableToken says that a token can be sent.
func usableToken(s string) bool {
	const most = 4096
	return s != "" && len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

func (a *GitHubApp) base(insecure bool) (*url.URL, error) {
	refuse := func(kind error, why string) (*url.URL, error) {
		return nil, fmt.Errorf("%w: GitHubApp.BaseURL %s", kind, why)
	}
	if a.BaseURL == "" {
		return &url.URL{Scheme: "https", Host: "api.github.com"}, nil
	}
	u, err := url.Parse(a.BaseURL)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" || !validPort(u):
		return refuse(ErrInvalidURL, "is not the address of an API; write https://host/api/v3")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return refuse(ErrInvalidURL, "has a user, a query or a fragment")
	case u.Scheme == "http" && !insecure:
		return refuse(ErrInsecureCredentials, "is http; use https, or set Options.InsecureCredentials")
	}
	return u, nil
}

// rsaKey reads a private key. Its errors quote nothing of it.
func rsaKey(data []byte) (*rsa.PrivateKey, error) {
	refuse := func(why string) (*rsa.PrivateKey, error) {
		return nil, fmt.Errorf("%w: GitHubApp.PrivateKey %s", ErrInvalidAuth, why)
	}
	if len(data) > keySize {
		return refuse(fmt.Sprintf("is larger than %d bytes", keySize))
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return refuse("is missing or not in PEM")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	parsed, _ := x509.ParsePKCS8PrivateKey(block.Bytes) // nil if it cannot be parsed
	if key, ok := parsed.(*rsa.PrivateKey); ok {
		return key, nil
	}
	return refuse("is not an RSA private key without a passphrase")
}

// token asks for a token for the repository.
func (i *installation) token(ctx context.Context) (Token, error) {
	jwt, err := i.sign(time.Now())
	if err != nil {
		return Token{}, err
	}
	i.secrets.add(jwt)
	id := cmp.Or(i.id, i.found)
	if id == "" {
		if id, err = i.find(ctx, jwt); err != nil {
			return Token{}, err
		}
	}
	i.found = "" // who installs an app anew gets another number
	// Fewer rights than the app may have: only what a fetch needs.
	wanted, err := json.Marshal(map[string]any{
		"repositories": []string{i.name}, "permissions": map[string]string{"contents": "read"},
	})
	if err != nil {
		return Token{}, fmt.Errorf("%w: %w", ErrInvalidAuth, err)
	}
	var answer struct {
		Token   string    `json:"token"`
		Expires time.Time `json:"expires_at"`
	}
	err = i.ask(ctx, http.MethodPost, "app/installations/"+id+"/access_tokens", jwt, wanted, &answer)
	if errors.Is(err, errNotInstalled) {
		err = fmt.Errorf("%w; check GitHubApp.InstallationID, and that it belongs to this app", err)
	}
	if err != nil {
		return Token{}, err
	}
	i.secrets.add(answer.Token)
	if !usableToken(answer.Token) || answer.Expires.IsZero() {
		return Token{}, fmt.Errorf("%w: the GitHub API gives no token; check GitHubApp.BaseURL", ErrProtocol)
	}
	i.found = id
	// GitHub's are valid for an hour. One for ever is not believed.
	longest := time.Now().Add(time.Hour)
	if answer.Expires.After(longest) {
		answer.Expires = longest
	}
	return Token{Username: "x-access-token", Password: answer.Token, Expires: answer.Expires}, nil
}

// errNotInstalled is what the API answers with status 404.
var errNotInstalled = errors.New("the GitHub API knows no such installation of the app (status 404)")

// find asks which installation it is.
func (i *installation) find(ctx context.Context, jwt string) (string, error) {
	var err error
	for _, path := range i.search {
		var answer struct {
			ID int64 `json:"id"`
		}
		err = i.ask(ctx, http.MethodGet, path+"/installation", jwt, nil, &answer)
		switch {
		case err == nil && answer.ID > 0:
			return fmt.Sprint(answer.ID), nil
		case err == nil:
			return "", fmt.Errorf("%w: the GitHub API gives no installation; check GitHubApp.BaseURL", ErrProtocol)
		case !errors.Is(err, errNotInstalled):
			return "", err
		}
	}
	return "", fmt.Errorf("%w; check GitHubApp.InstallationOwner, the URL, and who has installed the app", err)
}

// ask asks the API and reads its answer, which is JSON.
func (i *installation) ask(ctx context.Context, method, path, jwt string, body []byte, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, i.api.JoinPath(path).String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: GitHubApp.BaseURL is not the address of an API", ErrInvalidURL)
	}
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("Authorization", "Bearer "+jwt)
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := i.send(req) //nolint:bodyclose // discard closes it
	if err != nil {
		return fmt.Errorf("asking the GitHub API: %w", err)
	}
	defer discard(resp.Body)
	if resp.StatusCode/100 != 2 {
		return apiRefusal(resp)
	}
	const most = 1 << 20
	content, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	switch {
	case err != nil:
		return fmt.Errorf("%w: reading the answer of the GitHub API: %w", ErrUnreachable, err)
	case len(content) > most || json.Unmarshal(content, answer) != nil:
		return fmt.Errorf("%w: the answer of the GitHub API is not JSON of at most %d bytes; check GitHubApp.BaseURL", ErrProtocol, most)
	}
	return nil
}

// apiRefusal says what to check. It repeats nothing that the API said.
func apiRefusal(resp *http.Response) error {
	code := resp.StatusCode
	limited := resp.Header.Get("X-Ratelimit-Remaining") == "0" || resp.Header.Get("Retry-After") != ""
	refuse := func(kind error, advice string) error {
		return fmt.Errorf("%w: the GitHub API answers with status %d; %s", kind, code, advice)
	}
	switch {
	case code == http.StatusTooManyRequests, code == http.StatusForbidden && limited, code >= 500:
		return refuse(ErrUnreachable, "try again later")
	case code == http.StatusProxyAuthRequired:
		return fmt.Errorf("%w: %w", ErrProxy, proxyStatus(code))
	case code == http.StatusUnauthorized:
		return refuse(ErrAuthRefused, "check GitHubApp.AppID and PrivateKey, and this machine's clock")
	case code == http.StatusForbidden:
		return refuse(ErrAuthRefused, "check that the installation is not suspended and may read contents")
	case code == http.StatusNotFound:
		return fmt.Errorf("%w: %w", ErrAuthRefused, errNotInstalled)
	case code == http.StatusUnprocessableEntity:
		return refuse(ErrAuthRefused, "check that the installation has access to the repository and to reading contents, and that the repository was not renamed")
	}
	return refuse(ErrProtocol, "check GitHubApp.BaseURL")
}

// sign makes the token with which the app itself talks to the API. It begins a
// minute ago and ends soon, for clocks differ.
func (i *installation) sign(now time.Time) (string, error) {
	claims, err := json.Marshal(map[string]any{
		"iat": now.Add(-time.Minute).Unix(), "exp": now.Add(5 * time.Minute).Unix(), "iss": i.app,
	})
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalidAuth, err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode(claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, i.key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("%w: GitHubApp.PrivateKey cannot sign; it is too short or damaged", ErrInvalidAuth)
	}
	return text + "." + encode(signature), nil
}
