package notify_test

import (
	"testing"

	"github.com/gitopskit/gitopskit/events/notify"
	"github.com/gitopskit/gitopskit/internal/hooktest"
)

const canary = hooktest.Canary

// local lets a test use a server without TLS.
var local = notify.HTTPOptions{AllowPlainHTTP: true}

func conform(t *testing.T, all ...hooktest.Provider) {
	t.Helper()
	for _, p := range all {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			hooktest.Conform(t, p)
		})
	}
}
