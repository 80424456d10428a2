package notify_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/notify"
	"github.com/gitopskit/gitopskit/internal/hooktest"
	"github.com/stretchr/testify/require"
)

const genericBody = `{
	"involvedObject": {
		"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
		"namespace": "shop", "name": "web", "uid": "uid-web"
	},
	"severity": "error", "timestamp": "2026-08-21T12:00:00Z", "reason": "HealthCheckFailed",
	"message": "health check failed: <Deployment> \"shop/web\" & *more* @all",
	"metadata": {"env": "prod", "revision": "main@sha1:1f0c"},
	"reportingController": "kustomize-controller", "reportingInstance": "kustomize-controller-0"
}`

func TestGeneric(t *testing.T) {
	conform(t, hooktest.Provider{
		Name: "token",
		New: func(server string) (events.Sink, error) {
			return notify.NewGeneric(notify.GenericOptions{Address: server + "/hook/" + canary, Token: canary, HTTP: local})
		},
		Path: "/hook/" + canary,
		Header: map[string]string{
			"Content-Type": "application/json; charset=utf-8", "Gotk-Component": "kustomize-controller",
			"Authorization": "Bearer " + canary, "X-Signature": "-",
		},
		Body: genericBody,
	}, hooktest.Provider{
		Name: "HMAC",
		New: func(server string) (events.Sink, error) {
			return notify.NewGeneric(notify.GenericOptions{Address: server + "/hook", HMACKey: []byte(canary)})
		},
		Path:   "/hook",
		Header: map[string]string{"Gotk-Component": "kustomize-controller", "Authorization": "-"},
		Body:   genericBody,
		Check: func(t *testing.T, r hooktest.Request) {
			mac := hmac.New(sha256.New, []byte(canary))
			mac.Write([]byte(r.Body))
			require.Equal(t, "sha256="+hex.EncodeToString(mac.Sum(nil)), r.Header.Get("X-Signature"))
		},
	})
}
