package oci

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// guard lets requests out to where they may go. It sees each one as it leaves,
// redirected or not, so what a server can say to send credentials elsewhere does
// not have to be foreseen.
type guard struct {
	base      http.RoundTripper
	registry  string // its host and port
	authHosts []string
	plain     bool
}

func newGuard(registry string, opts Options) *guard {
	scheme := "https"
	if opts.PlainHTTP {
		scheme = "http"
	}
	g := &guard{base: opts.Transport, registry: hostPort(&url.URL{Scheme: scheme, Host: registry}), plain: opts.PlainHTTP}
	if g.base == nil {
		g.base = newTransport()
	}
	for _, host := range opts.AuthHosts {
		g.authHosts = append(g.authHosts, hostPort(&url.URL{Scheme: "https", Host: host}))
	}
	if registry == "registry-1.docker.io" {
		g.authHosts = append(g.authHosts, "auth.docker.io:443")
	}
	return g
}

// RoundTrip implements [http.RoundTripper].
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if why := g.refuse(req); why != "" {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, &HostError{g.registry, hostPort(req.URL), why}
	}
	return g.base.RoundTrip(req)
}

// refuse says why a request may not go out.
func (g *guard) refuse(req *http.Request) string {
	host := hostPort(req.URL)
	redirected := req.Response != nil
	switch {
	case req.URL.Scheme != "https" && (req.URL.Scheme != "http" || !g.plain):
		return "the connection would not be encrypted"
	case host == g.registry || slices.Contains(g.authHosts, host):
		return ""
	case req.Header.Get("Authorization") != "" || req.Method != http.MethodGet && req.Method != http.MethodHead:
		return "credentials or content would go to another host; if it is the registry's own, add it to AuthHosts"
	case !redirected:
		return "the registry asks for a request to another host; if it has its tokens there, add it to AuthHosts"
	default:
		return ""
	}
}

func hostPort(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "http":
		port = "80"
	default:
		port = "443"
	}
	return strings.ToLower(u.Hostname()) + ":" + port
}
