package registry_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/helm/registry"
)

func TestWhoMaySeeThePassword(t *testing.T) {
	for _, c := range []struct {
		repository, realm string
		may               bool
	}{
		{"oci://ghcr.io/a/b", "https://ghcr.io/token", true},
		{"oci://docker.io/a/b", "https://auth.docker.io/token", true},
		{"oci://registry-1.docker.io/a/b", "https://auth.docker.io/token", true},
		{"oci://registry.gitlab.com/a/b", "https://gitlab.com/jwt/auth", true},
		{"oci://registry.example.org/a/b", "https://tokens.example.net/x", true},

		{"oci://ghcr.io/a/b", "https://auth.docker.io/token", false},
		{"oci://ghcr.io/a/b", "http://ghcr.io/token", false},
		{"oci://ghcr.io/a/b", "https://ghcr.io:8443/token", false},
		{"oci://ghcr.io/a/b", "https://evil.ghcr.io/token", false},
		{"oci://ghcr.io/a/b", "https://io/token", false},
		{"oci://registry.gitlab.com/a/b", "https://gitlab.com:8443/jwt/auth", false},
		{"oci://registry.gitlab.com/a/b", "https://lab.com/jwt/auth", false},
		{"oci://10.1.2.3/a/b", "https://2.3/token", false},
		{"oci://ghcr.io/a/b", "https://user@ghcr.io/token", false},
		{"oci://ghcr.io/a/b", "/token", false},
	} {
		r := open(t, c.repository, registry.Options{Username: "u", Password: "p", TokenHosts: []string{"tokens.example.net"}})
		require.Equal(t, c.may, r.MayAsk(c.realm), "%s: %s", c.repository, c.realm)
	}
	require.True(t, open(t, "oci://ghcr.io/a/b", registry.Options{}).MayAsk("https://elsewhere.example.org/token"), "there is nothing to see")
}

func FuzzChallenge(f *testing.F) {
	for _, seed := range []string{
		`Bearer realm="https://x/token",service="a, b",scope="repository:x:pull"`, `Basic realm=x`, `Bearer`, ``, `Bearer realm="`, `Bearer =,=`, `Bearer a=b,,c="d"e,f=g`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		_, params := registry.ParseChallenge(header)
		require.LessOrEqual(t, len(params), len(header))
	})
}

func TestChallenge(t *testing.T) {
	scheme, params := registry.ParseChallenge(`Bearer realm="https://x/token",service="a, b", Scope=c`)
	require.Equal(t, "bearer", scheme)
	require.Equal(t, map[string]string{"realm": "https://x/token", "service": "a, b", "scope": "c"}, params)
}
