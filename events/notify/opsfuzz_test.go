package notify_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/events/notify"
)

// Whatever an address says, the API that follows from it is on its host, or on the one
// that the platform has for that, and no element of its path leads out.
func FuzzRepositoryAddress(f *testing.F) {
	for _, s := range []string{
		"https://github.com/acme/shop.git", "git@github.com:acme/shop", "ssh://git@ssh.github.com:443/acme/shop", "https://acme.ghe.com/a/b",
		"https://org@dev.azure.com/org/My%20Project/_git/repo", "git@ssh.dev.azure.com:v3/org/project/repo", "https://h/scm/~bob/repo.git",
		"https://github.com/acme/..", "https://github.com/%2e%2e/x", "https://github.com/a/b%2Fc", "https://u:p@github.com/a/b", "ssh://[::1]:22/a/b",
		"git@h@evil:a/b", "https://github.com\\@evil/a/b", "https://h/a/b.git.git", "a:b", "x@h:/a/b", "https://h:99999/a/b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, address string) {
		base, host, path, ok := notify.OpsRepository(address)
		if !ok {
			return
		}
		u, err := url.Parse(base)
		require.NoError(t, err)
		require.Equal(t, host, u.Host)
		require.Nil(t, u.User)
		require.Empty(t, u.RawQuery+u.Fragment)
		require.True(t, u.Scheme == "http" || u.Scheme == "https")
		for _, name := range path {
			require.NotContains(t, []string{"", ".", ".."}, name)
			require.NotContains(t, name, "/")
		}
		require.Equal(t, "/"+strings.Join(path, "/"), "/"+strings.TrimPrefix(u.Path, "/"))
		for platform, api := range notify.OpsAPIs(address) {
			u, err := url.Parse(api)
			require.NoError(t, err)
			switch platform {
			case "GitHub":
				require.Contains(t, []string{host, "api." + host, "api.github.com"}, u.Host)
			case "Bitbucket":
				require.Equal(t, "api.bitbucket.org", u.Host)
			default:
				require.Equal(t, host, u.Host)
			}
			_, err = http.NewRequestWithContext(t.Context(), http.MethodGet, api, nil)
			require.NoError(t, err)
		}
	})
}

// A hash is a hash, and was in the revision.
func FuzzRevision(f *testing.F) {
	for _, s := range []string{
		opsRevision, opsHash, "main/" + opsHash, "sha1:" + opsHash, "v1@sha256:" + strings.Repeat("a", 64), "refs/pull/1/head@sha1:" + opsHash,
		"main@sha1:1f0c", "main@sha1:" + strings.ToUpper(opsHash), "sha512:" + opsHash, "a@b@sha1:" + opsHash, ":" + opsHash, "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, revision string) {
		hash := notify.OpsCommitHash(revision)
		if hash == "" {
			return
		}
		require.Regexp(t, "^([0-9a-f]{40}|[0-9a-f]{64})$", hash)
		require.True(t, strings.HasSuffix(revision, hash))
	})
}

func TestRevisions(t *testing.T) {
	long := strings.Repeat("ab", 32)
	for revision, want := range map[string]string{
		opsRevision: opsHash, opsHash: opsHash, "main/" + opsHash: opsHash, "sha1:" + opsHash: opsHash, "v1.2.3@sha1:" + opsHash: opsHash,
		"refs/pull/1/head@sha1:" + opsHash: opsHash, "feature/x@sha1:" + opsHash: opsHash, "main@sha256:" + long: long, long: long,
		"": "", "main": "", "main@sha1:1f0c": "", "sha1:" + long: "", "sha256:" + opsHash: "", "sha512:" + long: "", "1.4.2": "",
		"main@sha1:" + strings.ToUpper(opsHash): "", "main@sha1:" + opsHash + "/..": "",
	} {
		require.Equal(t, want, notify.OpsCommitHash(revision), revision)
	}
}

// A DSN leads to its own host, and nowhere but to a project's envelopes.
func FuzzDSN(f *testing.F) {
	for _, s := range []string{"https://key@o1.ingest.sentry.io/42", "https://k:s@h/base/1", "https://k@h/..", "https://k@h/1?x", "https://k@h", "//k@h/1", "https://k@h/a%2Fb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, dsn string) {
		target, key, ok := notify.OpsDSN(dsn)
		if !ok {
			return
		}
		u, err := url.Parse(target)
		require.NoError(t, err)
		given, err := url.Parse(dsn)
		require.NoError(t, err)
		require.Equal(t, given.Host, u.Host)
		require.Nil(t, u.User)
		require.Regexp(t, `/api/[0-9A-Za-z_-]+/envelope/$`, u.Path)
		require.Regexp(t, `^[0-9A-Za-z_-]+$`, key)
	})
}

// What a connection string says makes one line of a header, which does not hold the key.
func FuzzConnectionString(f *testing.F) {
	f.Add("Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=c2VjcmV0;EntityPath=hub")
	f.Add("Endpoint=sb://h/;SharedAccessKeyName=a\r\nb;SharedAccessKey=x")
	f.Add(";;=;Endpoint=;SharedAccessKey==")
	f.Fuzz(func(t *testing.T, s string) {
		endpoint, signature, ok := notify.OpsConnectionString(s)
		if !ok {
			return
		}
		require.True(t, strings.HasPrefix(endpoint, "https://"))
		require.NotContains(t, signature, "\n")
		require.NotContains(t, signature, "\r")
	})
}
