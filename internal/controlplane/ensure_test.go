package controlplane_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitopskit/gitopskit/internal/controlplane"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

var everything = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"}

func TestEnsureBuildsWhatIsAskedFor(t *testing.T) {
	repository(t)
	var told []controlplane.Progress
	opts := controlplane.Options{Progress: func(p controlplane.Progress) { told = append(told, p) }}

	dir, err := controlplane.Ensure(t.Context(), opts)
	require.NoError(t, err)
	require.Regexp(t, `/gitopskit/controlplane/v1\.2\.3-[a-z0-9]+-[a-z0-9]+-[0-9a-f]{12}$`, filepath.ToSlash(dir))
	require.Equal(t, []string{"etcd", "kube-apiserver"}, visible(t, dir))
	out, err := exec.Command(filepath.Join(dir, "kube-apiserver")).Output()
	require.NoError(t, err)
	require.Equal(t, "v1.2.3 1 2\n", string(out), "the version is linked in")

	for _, p := range told {
		require.Equal(t, controlplane.Building, p.Stage)
		require.LessOrEqual(t, p.Done, p.Total)
		require.Positive(t, p.Total)
	}
	require.Equal(t, "etcd", told[0].Name)
	require.Equal(t, "kube-apiserver", told[len(told)-1].Name)

	told = nil
	again, err := controlplane.Ensure(t.Context(), opts)
	require.NoError(t, err)
	require.Equal(t, dir, again)
	require.Empty(t, told, "nothing is built twice")

	opts.Workloads = true
	again, err = controlplane.Ensure(t.Context(), opts)
	require.NoError(t, err)
	require.Equal(t, dir, again)
	require.Equal(t, append(everything[:len(everything):len(everything)], "kwok-stages"), visible(t, dir))
	require.ElementsMatch(t, []string{"node-initialize.yaml", "node-heartbeat-with-lease.yaml", "pod-ready.yaml"},
		entries(t, filepath.Join(dir, "kwok-stages")))
	for _, p := range told {
		require.NotContains(t, []string{"etcd", "kube-apiserver"}, p.Name)
	}
}

func TestEnsureBuildsOnce(t *testing.T) {
	repository(t)
	// The first to build does not go on until the other waits for it.
	waiting := make(chan struct{})
	building := make(chan struct{})
	var once bool
	first := controlplane.Options{Progress: func(controlplane.Progress) {
		if !once {
			once = true
			close(building)
			<-waiting
		}
	}}
	var told []controlplane.Progress
	second := controlplane.Options{Progress: func(p controlplane.Progress) {
		if p.Stage == controlplane.Waiting {
			close(waiting)
		}
		told = append(told, p)
	}}

	var group errgroup.Group
	ensure := func(opts controlplane.Options) func() error {
		return func() error {
			_, err := controlplane.Ensure(t.Context(), opts)
			return err
		}
	}
	group.Go(ensure(first))
	<-building
	group.Go(ensure(second))
	require.NoError(t, group.Wait())
	require.Equal(t, []controlplane.Progress{{Stage: controlplane.Waiting}}, told)
}

func TestEnsureStopsWaiting(t *testing.T) {
	repository(t)
	release := make(chan struct{})
	building := make(chan struct{}, 1)
	first := controlplane.Options{Progress: func(controlplane.Progress) {
		select {
		case building <- struct{}{}:
		default:
		}
		<-release
	}}
	var group errgroup.Group
	group.Go(func() error {
		_, err := controlplane.Ensure(t.Context(), first)
		return err
	})
	<-building

	reason := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := controlplane.Ensure(ctx, controlplane.Options{Progress: func(controlplane.Progress) { cancel(reason) }})
	require.ErrorIs(t, err, reason)
	require.ErrorContains(t, err, "waiting for another build")

	close(release)
	require.NoError(t, group.Wait())
}

func TestEnsureLeavesNoPart(t *testing.T) {
	t.Run("sources that do not compile", func(t *testing.T) {
		root := repository(t)
		write(t, root, "tools/controlplane/kubernetes/cmd/kube-apiserver/main.go", "package main\n\nfunc main() { undefined() }\n")
		_, err := controlplane.Ensure(t.Context(), controlplane.Options{})
		require.ErrorContains(t, err, "building kube-apiserver")
		require.ErrorContains(t, err, "undefined: undefined")
		require.Equal(t, []string{"etcd"}, visible(t, cacheFolder(t)), "what was built is kept")
	})
	t.Run("cancelled", func(t *testing.T) {
		repository(t)
		reason := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		_, err := controlplane.Ensure(ctx, controlplane.Options{Progress: func(controlplane.Progress) { cancel(reason) }})
		require.ErrorIs(t, err, reason)
		require.Empty(t, visible(t, cacheFolder(t)))
	})
	t.Run("what a killed build left", func(t *testing.T) {
		repository(t)
		dir, err := controlplane.Ensure(t.Context(), controlplane.Options{})
		require.NoError(t, err)
		require.NoError(t, os.Remove(filepath.Join(dir, "etcd")))
		write(t, dir, ".build/etcd", "half of a binary")
		_, err = controlplane.Ensure(t.Context(), controlplane.Options{})
		require.NoError(t, err)
		require.NoError(t, exec.Command(filepath.Join(dir, "etcd")).Run())
		require.NoDirExists(t, filepath.Join(dir, ".build"))
	})
}

func TestEnsureKeyFollowsDependencies(t *testing.T) {
	root := repository(t)
	before, err := controlplane.Ensure(t.Context(), controlplane.Options{})
	require.NoError(t, err)
	write(t, root, "tools/controlplane/go.mod", moduleFile+"\n// changed\n")
	after, err := controlplane.Ensure(t.Context(), controlplane.Options{})
	require.NoError(t, err)
	require.NotEqual(t, before, after)
}

func TestEnsureOutsideTheRepository(t *testing.T) {
	t.Setenv("KUBEBUILDER_ASSETS", "")
	t.Chdir(t.TempDir())
	_, err := controlplane.Ensure(t.Context(), controlplane.Options{})
	require.ErrorContains(t, err, filepath.Join("tools", "controlplane", "go.mod"))
	require.ErrorContains(t, err, "KUBEBUILDER_ASSETS")
}

func TestEnsureWithoutGo(t *testing.T) {
	repository(t)
	t.Setenv("PATH", t.TempDir())
	_, err := controlplane.Ensure(t.Context(), controlplane.Options{})
	require.ErrorContains(t, err, "install Go")
}

func TestEnsureAssets(t *testing.T) {
	t.Chdir(t.TempDir()) // there is nothing to build from
	assets := t.TempDir()
	t.Setenv("KUBEBUILDER_ASSETS", assets)

	_, err := controlplane.Ensure(t.Context(), controlplane.Options{})
	require.ErrorContains(t, err, "KUBEBUILDER_ASSETS="+assets+" lacks etcd, kube-apiserver: ")

	for _, name := range []string{"etcd", "kube-apiserver"} {
		write(t, assets, name, "#!/bin/sh\n")
		require.NoError(t, os.Chmod(filepath.Join(assets, name), 0o755))
	}
	dir, err := controlplane.Ensure(t.Context(), controlplane.Options{})
	require.NoError(t, err)
	require.Equal(t, assets, dir)

	_, err = controlplane.Ensure(t.Context(), controlplane.Options{Workloads: true})
	require.ErrorContains(t, err, " lacks kube-controller-manager, kube-scheduler, kwok, kwok-stages: ")
	require.ErrorContains(t, err, "unset KUBEBUILDER_ASSETS")

	require.NoError(t, os.Chmod(filepath.Join(assets, "etcd"), 0o644))
	_, err = controlplane.Ensure(t.Context(), controlplane.Options{})
	require.ErrorContains(t, err, " lacks etcd: ", "a file that nobody may execute is no binary")
}

func TestStartFromAssets(t *testing.T) {
	binaries, err := controlplane.Ensure(t.Context(), controlplane.Options{})
	require.NoError(t, err)
	assets := filepath.Join(t.TempDir(), "assets")
	require.NoError(t, os.Symlink(binaries, assets))
	t.Setenv("KUBEBUILDER_ASSETS", assets)
	t.Setenv("PATH", pathWithoutGo(t))
	t.Chdir(t.TempDir())
	p := start(t, controlplane.Options{})
	require.Len(t, processes(t, assets), 2, "the binaries of the folder run")
	applyConfigMap(t, p.Config(), "default", "assets")
}

// moduleFile stands for the module that the binaries are built from: same
// module and package paths, nothing to download, a second to build.
const moduleFile = `module example.com/controlplane

go 1.26

require (
	go.etcd.io/etcd/server/v3 v3.0.0
	k8s.io/component-base v0.0.0
	k8s.io/kubernetes v1.2.3
	sigs.k8s.io/kwok v0.0.0
)

replace (
	go.etcd.io/etcd/server/v3 => ./etcd
	k8s.io/component-base => ./base
	k8s.io/kubernetes => ./kubernetes
	sigs.k8s.io/kwok => ./kwok
)
`

const (
	quietMain   = "package main\n\nfunc main() {}\n"
	versionMain = `package main

import "k8s.io/component-base/version"

func main() { version.Print() }
`
	versionPackage = `package version

import "fmt"

var gitVersion, gitMajor, gitMinor string

func Print() { fmt.Println(gitVersion, gitMajor, gitMinor) }
`
	kubernetesModule = `module k8s.io/kubernetes

go 1.26

require k8s.io/component-base v0.0.0
`
)

// repository makes a repository with a small module to build, changes to a
// directory deep inside it, and gives the test a cache folder of its own.
func repository(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range map[string]string{
		"go.mod":                                moduleFile,
		"go.sum":                                "",
		"etcd/go.mod":                           "module go.etcd.io/etcd/server/v3\n\ngo 1.26\n",
		"etcd/main.go":                          quietMain,
		"base/go.mod":                           "module k8s.io/component-base\n\ngo 1.26\n",
		"base/version/version.go":               versionPackage,
		"kubernetes/go.mod":                     kubernetesModule,
		"kubernetes/cmd/kube-apiserver/main.go": versionMain,
		"kubernetes/cmd/kube-controller-manager/main.go":                                quietMain,
		"kubernetes/cmd/kube-scheduler/main.go":                                         quietMain,
		"kwok/go.mod":                                                                   "module sigs.k8s.io/kwok\n\ngo 1.26\n",
		"kwok/cmd/kwok/main.go":                                                         quietMain,
		"kwok/kustomize/stage/node/fast/node-initialize.yaml":                           "stage",
		"kwok/kustomize/stage/node/fast/kustomization.yaml":                             "no stage",
		"kwok/kustomize/stage/node/heartbeat-with-lease/node-heartbeat-with-lease.yaml": "stage",
		"kwok/kustomize/stage/pod/fast/pod-ready.yaml":                                  "stage",
	} {
		write(t, filepath.Join(root, "tools", "controlplane"), name, text)
	}
	// Go's own caches stay where they are.
	for _, name := range []string{"GOCACHE", "GOMODCACHE"} {
		out, err := exec.Command("go", "env", name).Output()
		require.NoError(t, err)
		t.Setenv(name, strings.TrimSpace(string(out)))
	}
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(home, ".cache"))
	t.Setenv("KUBEBUILDER_ASSETS", "")

	deep := filepath.Join(root, "some", "package")
	require.NoError(t, os.MkdirAll(deep, 0o755))
	t.Chdir(deep)
	return root
}

// cacheFolder returns the one folder of binaries that the test has made.
func cacheFolder(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	folders, err := filepath.Glob(filepath.Join(cache, "gitopskit", "controlplane", "*"))
	require.NoError(t, err)
	require.Len(t, folders, 1)
	return folders[0]
}

// visible lists a folder but for the files whose names begin with a dot.
func visible(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	for _, name := range entries(t, dir) {
		if !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	return names
}

// pathWithoutGo is a PATH with the shell's own programs only.
func pathWithoutGo(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	for _, name := range []string{"sh", "rm", "sleep"} {
		program, err := exec.LookPath(name)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(program, filepath.Join(bin, name)))
	}
	return bin
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}
