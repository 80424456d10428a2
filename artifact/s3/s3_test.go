package s3_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/artifact"
	"github.com/gitopskit/gitopskit/artifact/artifacttest"
	"github.com/gitopskit/gitopskit/artifact/s3"
	"github.com/gitopskit/gitopskit/artifact/transfer"
	"github.com/gitopskit/gitopskit/internal/s3gateway"
)

func s3Options(g *s3gateway.Gateway) s3.Options {
	return s3.Options{
		Endpoint: g.Endpoint, Region: g.Region, Bucket: g.Bucket, Transport: g.Transport,
		Credentials: s3.Static(s3.Credentials{AccessKey: g.AccessKey, SecretKey: g.SecretKey}),
	}
}

func s3Bucket(t testing.TB, opts s3.Options) *s3.Bucket {
	t.Helper()
	b, err := s3.New(opts)
	require.NoError(t, err)
	return b
}

const s3Key = "sha256/0000.tar.gz"

func TestBucket(t *testing.T) {
	g := s3gateway.Start(t)
	t.Run("conformance", func(t *testing.T) { artifacttest.TestBackend(t, s3Bucket(t, s3Options(g))) })
	t.Run("conformance with a prefix", func(t *testing.T) {
		opts := s3Options(g)
		opts.Prefix = "clusters/prod-1/"
		other := s3Bucket(t, s3Options(g))
		require.NoError(t, other.Put(t.Context(), s3Key, 1, strings.NewReader("x")))
		artifacttest.TestBackend(t, s3Bucket(t, opts))
		require.NoError(t, other.Delete(t.Context(), s3Key))
	})
	t.Run("store", func(t *testing.T) { s3Store(t, g) })
	t.Run("many keys", func(t *testing.T) { s3Pages(t, g) })
	t.Run("refusals", func(t *testing.T) { s3Refusals(t, g) })
}

// s3Store keeps, serves and collects archives as replicas do.
func s3Store(t *testing.T, g *s3gateway.Gateway) {
	bucket := s3Bucket(t, s3Options(g))
	leader, err := artifact.NewStore(t.TempDir(), artifact.StoreOptions{Backend: bucket})
	require.NoError(t, err)
	sum, err := leader.Pack(t.Context(), fstest.MapFS{"a": {Data: []byte("b")}}, artifact.PackOptions{})
	require.NoError(t, err)
	require.NoError(t, leader.Record(t.Context(), "gitrepository/default/app", sum.Digest))

	replica := httptest.NewServer(transfer.NewHandler(s3Bucket(t, s3Options(g)), transfer.HandlerOptions{}))
	defer replica.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, replica.URL+"/x/"+sum.Digest.Encoded()+".tar.gz", nil)
	require.NoError(t, err)
	resp, err := replica.Client().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, sum.Digest, digest.FromBytes(data))

	file := filepath.Join(g.Dir, g.Bucket, "sha256", sum.Digest.Encoded()+".tar.gz")
	require.NoError(t, leader.Check(t.Context(), sum.Digest))
	require.NoError(t, os.WriteFile(file, []byte("damaged"), 0o600))
	require.ErrorAs(t, leader.Check(t.Context(), sum.Digest), new(*artifact.DamagedError))
	require.ErrorAs(t, leader.Check(t.Context(), sum.Digest), new(*artifact.NotFoundError))
	require.NoError(t, leader.Forget(t.Context(), "gitrepository/default/app"))
}

func s3Pages(t *testing.T, g *s3gateway.Gateway) {
	bucket := s3Bucket(t, s3Options(g))
	dir := filepath.Join(g.Dir, g.Bucket, "names", "many")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for i := range 2100 { // without asking the server: that takes long
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%04d", i)), nil, 0o600))
	}
	for _, name := range []string{"UPPER", "under_score", ".hidden"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	seen := map[string]bool{}
	for key, err := range bucket.List(t.Context(), "names/many/") {
		require.NoError(t, err)
		seen[key] = true
	}
	require.Len(t, seen, 2100, "all pages, and no keys of others")
}

func s3Refusals(t *testing.T, g *s3gateway.Gateway) {
	for name, tt := range map[string]struct {
		change func(*s3.Options)
		code   string
	}{
		"wrong secret":   {func(o *s3.Options) { o.Credentials = s3.Static(s3.Credentials{AccessKey: g.AccessKey, SecretKey: "x"}) }, "SignatureDoesNotMatch"},
		"unknown key":    {func(o *s3.Options) { o.Credentials = s3.Static(s3.Credentials{AccessKey: "x", SecretKey: "x"}) }, "XAdminUserNotFound"},
		"stranger":       {func(o *s3.Options) { o.Credentials = nil }, "AccessDenied"},
		"another region": {func(o *s3.Options) { o.Region = "mars-1" }, "AuthorizationHeaderMalformed"},
		"no such bucket": {func(o *s3.Options) { o.Bucket = "missing" }, "NoSuchBucket"},
		"default region": {func(o *s3.Options) { o.Region = "" }, "AuthorizationHeaderMalformed"},
	} {
		t.Run(name, func(t *testing.T) {
			opts := s3Options(g)
			tt.change(&opts)
			err := s3Bucket(t, opts).Put(t.Context(), s3Key, 1, strings.NewReader("x"))
			refused := new(s3.Error)
			require.ErrorAs(t, err, &refused)
			require.Equal(t, tt.code, refused.Code)
			require.NotContains(t, err.Error(), g.SecretKey)
			require.NotErrorIs(t, err, fs.ErrNotExist, "or a store would think that it is empty")
		})
	}
	broken := errors.New("no token")
	opts := s3Options(g)
	opts.Credentials = func(context.Context) (s3.Credentials, error) { return s3.Credentials{}, broken }
	_, err := s3Bucket(t, opts).Stat(t.Context(), s3Key)
	require.ErrorIs(t, err, broken)
}

// The examples in the documentation of Signature Version 4.
func TestSignature(t *testing.T) {
	cred := s3.Credentials{AccessKey: "AKIAIOSFODNN7EXAMPLE", SecretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
	now := time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
	for url, tt := range map[string]struct{ span, names, signature string }{
		"https://examplebucket.s3.amazonaws.com/test.txt": {
			"bytes=0-9", "host;range;x-amz-content-sha256;x-amz-date", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
		},
		"https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J": {
			"", "host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
		},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		require.NoError(t, err)
		if tt.span != "" {
			req.Header.Set("Range", tt.span)
		}
		s3.Sign(req, "us-east-1", cred, now)
		require.Equal(t, "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders="+tt.names+",Signature="+tt.signature,
			req.Header.Get("Authorization"))
	}
}

func TestOptions(t *testing.T) {
	good := s3.Options{Endpoint: "https://s3.amazonaws.com/", Bucket: "my-bucket.1"}
	_, err := s3.New(good)
	require.NoError(t, err)
	for field, values := range map[string][]string{
		"Endpoint": {"", "s3.amazonaws.com", "ftp://x", "https://", "https://user:hunter2@x", "https://x/path", "https://x?a=b", "https://x#y", "://hunter2"},
		"Bucket":   {"", "a", "UPPER", "a/b", "../x", "a b", "-ab", strings.Repeat("a", 64)},
		"Region":   {"a b", "EU", "eu/west", strings.Repeat("a", 65)},
		"Prefix":   {"a", "/", "a//", "../", "a/../", "A/", "a b/", strings.Repeat("a/", 300)},
	} {
		for _, value := range values {
			opts := good
			switch field {
			case "Endpoint":
				opts.Endpoint = value
			case "Bucket":
				opts.Bucket = value
			case "Region":
				opts.Region = value
			case "Prefix":
				opts.Prefix = value
			}
			_, err := s3.New(opts)
			bad := new(s3.OptionsError)
			require.ErrorAs(t, err, &bad, "%s %q", field, value)
			require.Equal(t, field, bad.Field)
			require.NotContains(t, err.Error(), "hunter2")
		}
	}
	secret := s3.Credentials{AccessKey: "a", SecretKey: "hunter2", SessionToken: "hunter2"}
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", secret, secret, secret), "hunter2")
}

// s3Fake answers as a test wants.
func s3Fake(t testing.TB, answer http.HandlerFunc) *s3.Bucket {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return s3Bucket(t, s3.Options{
		Endpoint: server.URL, Bucket: "artifacts",
		Credentials: s3.Static(s3.Credentials{AccessKey: "id", SecretKey: "hunter2", SessionToken: "hunter3"}),
	})
}

func TestTriesAgain(t *testing.T) {
	var mu sync.Mutex
	var bodies []string
	b := s3Fake(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		data, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(data))
		switch len(bodies) {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			panic(http.ErrAbortHandler)
		}
	})
	body := strings.NewReader("skipped, body")
	_, err := body.Seek(9, io.SeekStart)
	require.NoError(t, err)
	require.NoError(t, b.Put(t.Context(), s3Key, 4, body))
	require.Equal(t, []string{"body", "body", "body"}, bodies)

	n := 0
	b = s3Fake(t, func(w http.ResponseWriter, r *http.Request) {
		n++
		w.WriteHeader(http.StatusInternalServerError)
	})
	_, err = b.Stat(t.Context(), s3Key)
	failed := new(s3.Error)
	require.ErrorAs(t, err, &failed)
	require.Equal(t, 500, failed.Status)
	require.Equal(t, 4, n)

	ctx, cancel := context.WithCancel(t.Context())
	b = s3Fake(t, func(w http.ResponseWriter, r *http.Request) {
		cancel()
		w.WriteHeader(http.StatusInternalServerError)
	})
	_, err = b.Stat(ctx, s3Key)
	require.ErrorIs(t, err, context.Canceled)
}

// A server cannot send the signature, or a file, elsewhere.
func TestAttackRedirect(t *testing.T) {
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.Error("asked") }))
	defer thief.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		b := s3Fake(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, thief.URL, status) })
		_, err := b.Open(t.Context(), s3Key, 0, -1)
		require.ErrorContains(t, err, "Endpoint")
		require.Error(t, b.Put(t.Context(), s3Key, 1, strings.NewReader("x")))
	}
}

func TestAttackAnswers(t *testing.T) {
	listing := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, s) }
	}
	for name, answer := range map[string]http.HandlerFunc{
		"not XML":             listing("<html"),
		"empty":               listing(""),
		"deep":                listing(strings.Repeat("<a>", 100_000)),
		"too long":            listing("<r>" + strings.Repeat(" ", 9<<20) + "</r>"),
		"the same page again": listing("<r><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken></r>"),
		"no next page":        listing("<r><IsTruncated>true</IsTruncated></r>"),
		"entities":            listing(`<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><r><Contents><Key>&b;</Key></Contents></r>`),
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			for _, err := range s3Fake(t, answer).List(t.Context(), "sha256/") {
				require.Error(t, err)
				require.Less(t, len(err.Error()), 1000)
				n++
			}
			require.Equal(t, 1, n, "one error, and an end")
		})
	}
	b := s3Fake(t, listing("<r><Contents><Key>../x</Key></Contents><Contents><Key>names/a</Key></Contents><Contents><Key>sha256/../x</Key></Contents><Contents><Key>sha256/ok</Key></Contents></r>"))
	for key, err := range b.List(t.Context(), "sha256/") {
		require.NoError(t, err)
		require.Equal(t, "sha256/ok", key)
	}
}

func TestAttackWrongRange(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"another part": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-4/10")
			w.WriteHeader(http.StatusPartialContent)
			fmt.Fprint(w, "01234")
		},
		"too short": func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "0") },
	} {
		_, err := s3Fake(t, answer).Open(t.Context(), s3Key, 5, -1)
		require.Error(t, err, name)
	}
	whole := s3Fake(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "0123456789") })
	r, err := whole.Open(t.Context(), s3Key, 5, 2)
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "56", string(data))
	require.NoError(t, r.Close())
}

// A server may say what it was told; an error does not.
func TestAttackErrorRepeatsTheSecret(t *testing.T) {
	b := s3Fake(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "<Error><Code>Access\x1bDenied</Code></Error>")
	})
	_, err := b.Open(t.Context(), s3Key, 0, -1)
	require.ErrorContains(t, err, "403")
	b = s3Fake(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "<Error><Code>AccessDenied</Code><Message>%s hunter2 \n%s</Message></Error>", r.Header.Get("X-Amz-Security-Token"), strings.Repeat("x", 10_000))
	})
	_, err = b.Open(t.Context(), s3Key, 0, -1)
	require.ErrorContains(t, err, "AccessDenied")
	require.NotContains(t, err.Error(), "hunter")
	require.Less(t, len(err.Error()), 1000)
}

// The environment has no part in it.
func TestAttackEnvironment(t *testing.T) {
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.Error("asked") }))
	defer thief.Close()
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "AWS_ENDPOINT_URL", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		t.Setenv(name, thief.URL)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "x")
	b := s3Bucket(t, s3.Options{Endpoint: "http://bucket.invalid", Bucket: "artifacts"})
	_, err := b.Stat(t.Context(), s3Key)
	require.Error(t, err)
}
