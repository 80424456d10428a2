package receive_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/events/receive"
)

func FuzzGitHub(f *testing.F)          { fuzz(f, "github", "X-GitHub-Event") }
func FuzzGitea(f *testing.F)           { fuzz(f, "gitea", "X-Gitea-Event") }
func FuzzGitLab(f *testing.F)          { fuzz(f, "gitlab", "X-Gitlab-Event") }
func FuzzBitbucketServer(f *testing.F) { fuzz(f, "bitbucket server", "X-Event-Key") }
func FuzzBitbucketCloud(f *testing.F)  { fuzz(f, "bitbucket cloud", "X-Event-Key") }
func FuzzHarbor(f *testing.F)          { fuzz(f, "harbor", "Content-Type") }
func FuzzDockerHub(f *testing.F)       { fuzz(f, "dockerhub", "Content-Type") }
func FuzzQuay(f *testing.F)            { fuzz(f, "quay", "Content-Type") }
func FuzzGCR(f *testing.F)             { fuzz(f, "gcr", "Content-Type") }
func FuzzACR(f *testing.F)             { fuzz(f, "acr", "Content-Type") }
func FuzzNexus(f *testing.F)           { fuzz(f, "nexus", "X-Nexus-Webhook-Id") }
func FuzzCDEvents(f *testing.F)        { fuzz(f, "cdevents", "Content-Type") }
func FuzzGeneric(f *testing.F)         { fuzz(f, "generic", "Content-Type") }
func FuzzGenericHMAC(f *testing.F)     { fuzz(f, "generic-hmac", "Content-Type") }
func FuzzGenericOIDC(f *testing.F)     { fuzz(f, "generic-oidc", "Content-Type") }

// fuzz sends any body and one header to a receiver, with the right proof and with any
// other. Nothing without the right one may pass, and nothing may be too long.
func fuzz(f *testing.F, name, header string) {
	fix := fixtureOf(f, name)
	var calls []receive.Request
	h, err := receive.New(receive.Options{
		Transport: issuers(f, google, ci),
		Limits:    receive.Limits{ReplayEntries: 1},
		Receive:   func(_ context.Context, r receive.Request) error { calls = append(calls, r); return nil },
	})
	require.NoError(f, err)
	path, err := h.Set(web, fix.receiver)
	require.NoError(f, err)
	f.Add(fix.body, fix.header[header], "sha256=00")
	f.Add(`{}`, "push", secret)
	f.Add(`payload=%7B%7D`, "application/x-www-form-urlencoded", "Bearer a.b.c")
	f.Add(`{"specversion":"1.0","data":{"context":{}}}`, "application/cloudevents+json", "")
	f.Fuzz(func(t *testing.T, body, value, proof string) {
		send := func(prove bool) int {
			req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
			for k, v := range fix.header {
				req.Header.Set(k, v)
			}
			req.Header.Set(header, value)
			if prove {
				fix.prove(t, req.Header, secret, body)
			} else if fix.proof() != "" {
				req.Header.Set(fix.proof(), proof)
			}
			return serve(h, req)
		}
		calls = nil
		if code := send(false); fix.proof() != "" && !right(t, fix, proof, body) {
			require.Equal(t, http.StatusNotFound, code)
			require.Empty(t, calls)
		}
		require.Contains(t, []int{http.StatusOK, http.StatusBadRequest}, send(true))
		for _, got := range calls {
			for _, fact := range []string{got.Event, got.DeliveryID, got.Repository, got.Ref, got.Revision} {
				require.LessOrEqual(t, len(fact), 1024)
			}
		}
	})
}

// right reports whether a proof is by chance the right one.
func right(t *testing.T, f fixture, proof, body string) bool {
	h := http.Header{}
	f.prove(t, h, secret, body)
	return strings.EqualFold(h.Get(f.proof()), proof)
}
