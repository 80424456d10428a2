package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/gitopskit/gitopskit/internal/controlplane"
	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

// demoOn runs the demo on a control plane that the tests share, as a user with a
// cluster would.
func demoOn(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return demoWith(t.Context(), t, kubeconfig(t, testplane.Full(t)), args...)
}

func demoWith(ctx context.Context, t *testing.T, kubeconfig string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Setenv("KUBECONFIG", kubeconfig)
	var out, err bytes.Buffer
	code = run(ctx, args, &out, &err)
	return code, out.String(), err.String()
}

func kubeconfig(t *testing.T, plane *controlplane.Plane) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(name, plane.Kubeconfig(), 0o600))
	return name
}

func TestTheStoryHoldsOnAnEmbeddedControlPlane(t *testing.T) {
	code, stdout, stderr := demoWith(t.Context(), t, "", "-o", "json")
	require.Zero(t, code, stderr)
	claims, objects := 0, 0
	for line := range strings.Lines(stdout) {
		var r record
		require.NoError(t, json.Unmarshal([]byte(line), &r), line)
		if r.Held != nil {
			require.True(t, *r.Held, r.Claim)
			claims++
		}
		objects += len(r.Objects)
	}
	require.GreaterOrEqual(t, claims, 14)
	require.NotZero(t, objects)
}

func TestTheStoryOnOnesOwnClusterCleansUp(t *testing.T) {
	before := namespaceNames(t)
	code, stdout, stderr := demoOn(t)
	require.Zero(t, code, "%s\n%s", stdout, stderr)
	require.Contains(t, stdout, "data.currency changed by kubectl-edit to \"DOGE\", restored to \"EUR\"")
	require.NotContains(t, stdout, "NOT HELD")
	require.Empty(t, stderr)

	require.Equal(t, before, namespaceNames(t), "the demo's own is gone")
}

func namespaceNames(t *testing.T) []string {
	t.Helper()
	client, err := dynamic.NewForConfig(testplane.Full(t).Config())
	require.NoError(t, err)
	list, err := client.Resource(namespaces).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	var names []string
	for _, ns := range list.Items {
		names = append(names, ns.GetName())
	}
	return names
}

// served is a repository on loopback with one commit on main, tagged v1.0.0.
func served(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	repo, err := gitserver.Create(t.Context(), filepath.Join(dir, "repo.git"))
	require.NoError(t, err)
	tree := fstest.MapFS{}
	for name, text := range files {
		tree[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	}
	commit, err := repo.Commit(t.Context(), tree, gitserver.CommitOptions{Branch: "main", Message: "all of it"})
	require.NoError(t, err)
	_, err = repo.Tag(t.Context(), "v1.0.0", commit, gitserver.TagOptions{Message: "first"})
	require.NoError(t, err)
	server, err := gitserver.ServeHTTP(t.Context(), dir, gitserver.HTTPOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	return server.URL + "/repo.git"
}

const configMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b}\n"

func TestAnyRepositoryWalksTheRoad(t *testing.T) {
	url := served(t, map[string]string{"deploy/a.yaml": configMap})
	for _, ref := range [][]string{{}, {"--branch", "main"}, {"--tag", "v1.0.0"}, {"--semver", "^1"}} {
		code, stdout, stderr := demoOn(t, append([]string{"--url", url, "--path", "deploy"}, ref...)...)
		require.Zero(t, code, stderr)
		require.Contains(t, stdout, "1 created")
		require.Contains(t, stdout, "1 unchanged")
		require.Contains(t, stdout, "skipped: no --key was given")
	}
}

func TestTheRoadOverSSHWithKeys(t *testing.T) {
	dir := t.TempDir()
	repo, err := gitserver.Create(t.Context(), filepath.Join(dir, "repo.git"))
	require.NoError(t, err)
	user, err := gitserver.NewSSHSigner("user")
	require.NoError(t, err)
	_, err = repo.Commit(t.Context(), fstest.MapFS{"a.yaml": {Data: []byte(configMap)}}, gitserver.CommitOptions{Branch: "main", Message: "signed", Signer: user})
	require.NoError(t, err)
	server, err := gitserver.ServeSSH(t.Context(), dir, gitserver.SSHOptions{Keys: []ssh.PublicKey{user.Key()}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	private, err := user.PrivateKey()
	require.NoError(t, err)

	file := func(name string, data []byte) string {
		name = filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(name, data, 0o600))
		return name
	}
	args := []string{"--url", server.URL + "/repo.git", "--branch", "main", "--ssh-key", file("id", private), "--key", file("id.pub", user.PublicKey()), "--keep"}
	code, stdout, stderr := demoOn(t, append(args, "--known-hosts", file("known_hosts", server.KnownHosts))...)
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "commit signed by user")

	code, _, stderr = demoOn(t, args...)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "host key not trusted")
}

func TestBadInputEndsInOneClearSentence(t *testing.T) {
	good := served(t, map[string]string{"a.yaml": configMap})
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		return name
	}
	signer, err := gitserver.NewSSHSigner("somebody")
	require.NoError(t, err)
	tests := []struct {
		name string
		args []string
		want []string // in the sentence
	}{
		{"a wrong URL", []string{"--url", "ftp://example.com/x"}, []string{"ftp", "https and ssh"}},
		{"an unreachable server", []string{"--url", "http://127.0.0.1:1/x.git"}, []string{"127.0.0.1:1", "refused", "check the URL"}},
		{"no such repository", []string{"--url", strings.Replace(good, "repo.git", "other.git", 1)}, []string{"other.git", "not found"}},
		{"no such branch", []string{"--url", good, "--branch", "mian"}, []string{`"mian"`, "main"}},
		{"no such tag", []string{"--url", good, "--tag", "v1.0"}, []string{`"v1.0"`, "v1.0.0"}},
		{"an empty range", []string{"--url", good, "--semver", ">=2"}, []string{">=2", "v1.0.0"}},
		{"a range that is none", []string{"--url", good, "--semver", "latest"}, []string{"latest"}},
		{"no such commit", []string{"--url", good, "--commit", strings.Repeat("ab", 20)}, []string{"abababab"}},
		{"a file that is no key", []string{"--url", good, "--key", file("hello")}, []string{"key"}},
		{"a key file that is not there", []string{"--url", good, "--key", "nowhere.asc"}, []string{"nowhere.asc"}},
		{"an unsigned commit", []string{"--url", good, "--key", file(string(signer.PublicKey()))}, []string{"unsigned"}},
		{"no such directory", []string{"--url", good, "--path", "nowhere"}, []string{"nowhere", "check the path"}},
		{"a broken overlay", []string{"--url", served(t, map[string]string{"kustomization.yaml": "resources: [missing.yaml]"})}, []string{"missing.yaml"}},
		{"a remote base", []string{"--url", served(t, map[string]string{"kustomization.yaml": "resources: [https://example.com/x]"})}, []string{"kustomization.yaml", "https://example.com/x"}},
		{"broken YAML", []string{"--url", served(t, map[string]string{"bad.yaml": "a: [b"})}, []string{"bad.yaml"}},
		{"an object that is refused", []string{"--url", served(t, map[string]string{"a.yaml": configMap, "s.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 99999}]}\n"})},
			[]string{"1 of 2 objects", "Service", "web", "spec.ports[0].port"}},
		{"an unknown kind", []string{"--url", served(t, map[string]string{"a.yaml": "apiVersion: shop.example.com/v1\nkind: Gadget\nmetadata: {name: x}\n"})}, []string{"Gadget", "CustomResourceDefinition"}},
		{"a broken chart", []string{"--url", served(t, map[string]string{"deploy/a.yaml": configMap, "chart/Chart.yaml": "name: x\n"}), "--chart", "chart", "--path", "deploy"}, []string{"chart", "version is required"}},
		{"pods that never run", []string{"--timeout", "1s", "--url", served(t, map[string]string{"a.yaml": neverReady})}, []string{"1 of 1 objects are not ready after 1s", "Deployment.apps"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, _, stderr := demoOn(t, append(tt.args, "--keep")...) // the end of a namespace takes seconds
			require.Equal(t, 1, code, stderr)
			for _, want := range tt.want {
				require.Contains(t, stderr, want)
			}
			require.Len(t, strings.Split(strings.TrimSpace(stderr), "\n"), 1, "one sentence: %s", stderr)
			require.NotContains(t, stderr, "goroutine")
		})
	}
	t.Run("a cluster that is not there", func(t *testing.T) {
		text := strings.ReplaceAll(string(testplane.Full(t).Kubeconfig()), testplane.Full(t).Config().Host, "https://127.0.0.1:1")
		code, _, stderr := demoWith(t.Context(), t, file(text), "--url", good)
		require.Equal(t, 1, code)
		require.Contains(t, stderr, "127.0.0.1:1")
		require.Len(t, strings.Split(strings.TrimSpace(stderr), "\n"), 1, stderr)
	})
	t.Run("a kubeconfig that is not there", func(t *testing.T) {
		code, _, stderr := demoOn(t, "--kubeconfig", "nowhere/config", "--url", good)
		require.Equal(t, 1, code)
		require.Contains(t, stderr, "nowhere/config")
	})
}

const neverReady = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeSelector: {planet: mars}
      containers: [{name: app, image: registry.k8s.io/pause}]
`

func TestWrongUse(t *testing.T) {
	for _, args := range [][]string{
		{"--nonsense"}, {"extra"}, {"-o", "xml"}, {"--branch", "main"}, {"--url", "https://example.com", "--branch", "a", "--tag", "b"},
	} {
		code, _, stderr := demoWith(t.Context(), t, "", args...)
		require.Equal(t, 2, code, args)
		require.NotEmpty(t, stderr)
	}
	code, _, stderr := demoWith(t.Context(), t, "", "-h")
	require.Zero(t, code)
	require.Contains(t, stderr, "usage: quickstart")
}

// onLine runs a function once, when a line that holds some text is written.
type onLine struct {
	io.Writer
	text string
	do   func()
	once sync.Once
}

func (w *onLine) Write(p []byte) (int, error) {
	if strings.Contains(string(p), w.text) {
		w.once.Do(w.do)
	}
	return w.Writer.Write(p)
}

func TestInterruptedInTheMiddle(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	t.Setenv("KUBECONFIG", kubeconfig(t, testplane.Full(t)))
	var stdout, stderr bytes.Buffer
	code := run(ctx, nil, &onLine{Writer: &stdout, text: "A second release", do: cancel}, &stderr)
	require.Equal(t, 1, code)
	require.Contains(t, stderr.String(), "interrupted")
	require.Contains(t, stdout.String(), "is removed", "the namespace goes all the same")
}

func TestClusterThatGoesAwayInTheMiddle(t *testing.T) {
	plane, err := controlplane.Start(t.Context(), controlplane.Options{Workloads: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, plane.Close()) }()
	t.Setenv("KUBECONFIG", kubeconfig(t, plane))
	var stdout, stderr bytes.Buffer
	stop := func() { require.NoError(t, plane.StopServer()) }
	code := run(t.Context(), []string{"--keep"}, &onLine{Writer: &stdout, text: "build", do: stop}, &stderr)
	require.Equal(t, 1, code)
	require.Contains(t, stderr.String(), "cannot be reached")
	require.Len(t, strings.Split(strings.TrimSpace(stderr.String()), "\n"), 1, stderr.String())
}
