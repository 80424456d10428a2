package controlplane

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// The binaries, named as in KUBEBUILDER_ASSETS.
const (
	binEtcd       = "etcd"
	binServer     = "kube-apiserver"
	binController = "kube-controller-manager"
	binScheduler  = "kube-scheduler"
	binKwok       = "kwok"
)

// packages are what the binaries are built from.
var packages = map[string]string{
	binEtcd:       "go.etcd.io/etcd/server/v3",
	binServer:     "k8s.io/kubernetes/cmd/kube-apiserver",
	binController: "k8s.io/kubernetes/cmd/kube-controller-manager",
	binScheduler:  "k8s.io/kubernetes/cmd/kube-scheduler",
	binKwok:       "sigs.k8s.io/kwok/cmd/kwok",
}

// binaries lists what is needed, what most tests need first.
func (o Options) binaries() []string {
	names := []string{binEtcd, binServer}
	if o.Workloads {
		names = append(names, binController, binScheduler, binKwok)
	}
	return names
}

// assetsVariable is the variable that envtest reads too.
const assetsVariable = "KUBEBUILDER_ASSETS"

// Ensure returns the folder with the binaries that [Start] needs for the same
// options. It builds those that are missing, unless KUBEBUILDER_ASSETS names
// the folder, which then must hold them all.
func Ensure(ctx context.Context, opts Options) (dir string, err error) {
	if assets := os.Getenv(assetsVariable); assets != "" {
		return assets, checkAssets(assets, opts)
	}
	m, err := findModule()
	if err != nil {
		return "", err
	}
	dir, err = m.cacheFolder()
	if err != nil {
		return "", err
	}
	if len(missing(dir, opts)) == 0 {
		return dir, nil
	}
	if err := m.build(ctx, dir, opts); err != nil {
		return "", fmt.Errorf("controlplane: %w", err)
	}
	return dir, nil
}

func checkAssets(dir string, opts Options) error {
	if lacks := missing(dir, opts); len(lacks) > 0 {
		return fmt.Errorf("controlplane: %s=%s lacks %s: add them, or unset %[1]s to have them built",
			assetsVariable, dir, strings.Join(lacks, ", "))
	}
	return nil
}

// missing lists what a folder lacks for the options.
func missing(dir string, opts Options) []string {
	var lacks []string
	for _, name := range opts.binaries() {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
			lacks = append(lacks, name)
		}
	}
	if opts.Workloads {
		if _, err := stageFiles(dir); err != nil {
			lacks = append(lacks, stagesFolder)
		}
	}
	return lacks
}

// module is the Go module that the binaries are built from.
type module struct {
	dir     string
	version string // of Kubernetes, with its v
	key     string // names this version, built this way from these dependencies
}

// modulePath is where the module lies in the repository.
var modulePath = filepath.Join("tools", "controlplane")

// findModule looks for the module from the working directory upwards: the
// package's sources may lie elsewhere, or be trimmed from the binary.
func findModule() (*module, error) {
	wd, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("controlplane: %w", err)
	}
	for root := wd; ; root = filepath.Dir(root) {
		m, err := loadModule(filepath.Join(root, modulePath))
		if err == nil {
			return m, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("controlplane: %w", err)
		}
		if root == filepath.Dir(root) {
			return nil, fmt.Errorf("controlplane: no %s above %s: run inside the gitopskit repository, or set %s to a folder with %s and %s",
				filepath.Join(modulePath, "go.mod"), wd, assetsVariable, binEtcd, binServer)
		}
	}
}

var kubernetesVersion = regexp.MustCompile(`(?m)^\s*k8s\.io/kubernetes (v\S+)`)

func loadModule(dir string) (*module, error) {
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return nil, err
	}
	sum, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	if err != nil {
		return nil, err
	}
	match := kubernetesVersion.FindSubmatch(mod)
	if match == nil {
		return nil, fmt.Errorf("%s requires no k8s.io/kubernetes", filepath.Join(dir, "go.mod"))
	}
	m := &module{dir: dir, version: string(match[1])}

	h := sha256.New()
	for _, part := range append(m.buildFlags(), string(mod), string(sum)) {
		fmt.Fprintf(h, "%d %s\n", len(part), part)
	}
	m.key = fmt.Sprintf("%s-%s-%s-%s", m.version, runtime.GOOS, runtime.GOARCH,
		hex.EncodeToString(h.Sum(nil))[:12])
	return m, nil
}

func (m *module) cacheFolder() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("controlplane: no folder to keep the binaries in: %w", err)
	}
	return filepath.Join(cache, "gitopskit", "controlplane", m.key), nil
}
