package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gitopskit/gitopskit/helm/internal/fetch"
)

// token is what the registry's server of tokens gave.
type token struct {
	header  string // Authorization
	expires time.Time
}

// get asks the registry, and asks for a token first where it wants one.
func (r *Repository) get(ctx context.Context, method string, target *url.URL, accept ...string) (*http.Response, error) {
	header := http.Header{"Accept": accept}
	authorization := r.known()
	resp, err := r.client.Do(ctx, method, target, header, authorization)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || fetch.Origin(resp.Request.URL) != fetch.Origin(r.base) {
		return resp, err
	}
	next, err := r.authorize(ctx, resp.Header.Values("WWW-Authenticate"))
	switch {
	case err != nil:
		_ = resp.Body.Close()
		return nil, err
	case next == "" || next == authorization:
		return resp, nil // there is no other
	}
	_ = resp.Body.Close()
	return r.client.Do(ctx, method, target, header, next)
}

// known is what the registry is likely to take.
func (r *Repository) known() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.token.header != "" && time.Now().Before(r.token.expires) {
		return r.token.header
	}
	if !r.basic {
		return r.client.Authorization() // a bearer token, or nothing
	}
	return "" // the registry says first which way it wants the password
}

// authorize answers a challenge: with the password, or with a token for it.
func (r *Repository) authorize(ctx context.Context, challenges []string) (string, error) {
	for _, challenge := range challenges {
		scheme, params := parseChallenge(challenge)
		switch {
		case scheme == "basic" && r.basic:
			r.keep(token{header: r.client.Authorization(), expires: time.Now().Add(time.Hour)})
			return r.client.Authorization(), nil
		case scheme == "bearer" && (r.basic || r.client.Authorization() == ""):
			return r.fetchToken(ctx, params)
		}
	}
	return "", nil
}

func (r *Repository) keep(t token) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.token = t
}

func (r *Repository) fetchToken(ctx context.Context, params map[string]string) (string, error) {
	realm, err := r.realm(params["realm"])
	if err != nil {
		return "", err
	}
	query := realm.Query()
	if service := params["service"]; service != "" {
		query.Set("service", service)
	}
	// What is asked for is ours to say, not the registry's.
	query.Set("scope", "repository:"+r.name+":pull")
	realm.RawQuery = query.Encode()
	authorization := ""
	if r.basic {
		authorization = r.client.Authorization()
	}
	resp, err := r.client.Do(ctx, http.MethodGet, realm, nil, authorization)
	if err != nil {
		return "", fmt.Errorf("the server of tokens %s: %w", fetch.Place(realm), err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the server of tokens %s: %w", fetch.Place(realm), fetch.Status(resp))
	}
	return r.readToken(ctx, resp)
}

// realm decides whether the server of tokens may see the password. A registry
// that names any other could collect what belongs to it.
func (r *Repository) realm(raw string) (*url.URL, error) {
	realm, err := url.Parse(raw)
	if err != nil || realm.Hostname() == "" || realm.User != nil {
		return nil, fmt.Errorf("%w: the registry names a malformed server of tokens", ErrTokenHost)
	}
	own, host := strings.ToLower(r.base.Hostname()), strings.ToLower(realm.Hostname())
	_, notName := netip.ParseAddr(own)
	above := notName != nil && strings.Contains(host, ".") && strings.HasSuffix(own, "."+host) && realm.Port() == ""
	switch {
	case !r.basic, realm.Host == r.base.Host, above:
	case r.base.Host == "registry-1.docker.io" && realm.Host == "auth.docker.io":
	case slices.Contains(r.tokenHosts, realm.Host):
	default:
		return nil, fmt.Errorf("%w: the registry wants the password to go to %s; if that is right, add it to Options.TokenHosts", ErrTokenHost, fetch.Place(realm))
	}
	if r.basic && realm.Scheme != "https" && !r.insecure {
		return nil, fmt.Errorf("%w: the registry wants it to go to %s", ErrInsecureCredentials, fetch.Place(realm))
	}
	return realm, nil
}

func (r *Repository) readToken(ctx context.Context, resp *http.Response) (string, error) {
	data, err := r.read(ctx, resp, "answer of the server of tokens", 1<<20)
	if err != nil {
		return "", err
	}
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
	}
	if json.Unmarshal(data, &answer) != nil {
		return "", fmt.Errorf("%w: what the server of tokens says is not JSON", ErrBadAnswer)
	}
	value := answer.Token
	if value == "" {
		value = answer.AccessToken
	}
	if value == "" || strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return "", fmt.Errorf("%w: the server of tokens gives none that can be used", ErrBadAnswer)
	}
	r.client.Secret(value)
	seconds := min(max(answer.ExpiresIn, 60), 3600) // 60 if it does not say
	t := token{header: "Bearer " + value, expires: time.Now().Add(time.Duration(seconds)*time.Second - 5*time.Second)}
	r.keep(t)
	return t.header, nil
}

// parseChallenge reads a WWW-Authenticate header of one challenge, as registries
// send it. What it does not understand it leaves out.
func parseChallenge(header string) (string, map[string]string) {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(header), " ")
	params := map[string]string{}
	for rest != "" {
		name, after, ok := strings.Cut(rest, "=")
		if !ok {
			break
		}
		var value string
		if quoted, ok := strings.CutPrefix(after, `"`); ok {
			value, rest, ok = strings.Cut(quoted, `"`)
			if !ok {
				break
			}
			_, rest, _ = strings.Cut(rest, ",")
		} else {
			value, rest, _ = strings.Cut(after, ",")
		}
		params[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(value)
	}
	return strings.ToLower(scheme), params
}
