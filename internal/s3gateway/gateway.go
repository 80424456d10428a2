// Package s3gateway starts a real server that speaks S3, for tests: the Versity
// gateway over a directory, reached through a socket in the file system.
package s3gateway

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Gateway is a running server with one empty bucket.
type Gateway struct {
	Endpoint  string
	Bucket    string
	Region    string
	AccessKey string
	SecretKey string
	Transport *http.Transport // which reaches it
	Dir       string          // its files, in folders named like the buckets
}

// The gateway ends when the pipe that the shell reads from is closed, which the
// kernel does however the test process ends.
const script = `"$@" & pid=$!; read -r _; kill -s KILL $pid`

// Start runs a gateway until the test ends.
func Start(t testing.TB) *Gateway {
	t.Helper()
	file, err := Ensure(t.Context())
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "s3") //nolint:usetesting // the path to a socket has to be short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "socket")
	g := &Gateway{
		Endpoint: "http://s3.test", Bucket: "artifacts", Region: "eu-test-1",
		AccessKey: "test-access", SecretKey: "test-secret/+key", Dir: filepath.Join(dir, "data"),
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}},
	}
	t.Cleanup(g.Transport.CloseIdleConnections)
	for _, sub := range []string{filepath.Join(g.Dir, g.Bucket), filepath.Join(dir, "meta")} {
		require.NoError(t, os.MkdirAll(sub, 0o755))
	}
	cmd := exec.Command("sh", "-c", script, "s3gateway", file, "--port", socket, "--region", g.Region, "--quiet",
		"posix", "--sidecar", filepath.Join(dir, "meta"), g.Dir)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+g.AccessKey, "ROOT_SECRET_KEY="+g.SecretKey)
	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	cmd.Stdout, cmd.Stderr = log, log
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait() // it was killed
		_ = log.Close()
	})
	g.wait(t, log.Name())
	return g
}

// wait returns when the gateway answers.
func (g *Gateway) wait(t testing.TB, log string) {
	t.Helper()
	client := &http.Client{Transport: g.Transport}
	ok := func() bool {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.Endpoint, nil)
		if err != nil {
			return false
		}
		resp, err := client.Do(req)
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil
	}
	for deadline := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(log)
			require.FailNow(t, "the gateway does not answer", "%s", text)
		}
		<-time.After(20 * time.Millisecond)
	}
}
