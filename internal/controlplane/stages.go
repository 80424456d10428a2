package controlplane

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The stages tell kwok what becomes of nodes and pods. They come with kwok's
// module, as files.
const (
	stagesFolder = "kwok-stages"
	kwokModule   = "sigs.k8s.io/kwok"
)

// stageSources are the folders in kwok's module: nodes become ready and stay
// so, pods become ready, complete or go without delay.
var stageSources = []string{"node/fast", "node/heartbeat-with-lease", "pod/fast"}

// stageFiles lists the stages in a folder of binaries.
func stageFiles(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, stagesFolder, "*.yaml"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, stagesFolder), fs.ErrNotExist)
	}
	return files, nil
}

func (m *module) copyStages(ctx context.Context, _, to string, _ Options) error {
	out, err := m.goTool(ctx, []string{"list", "-m", "-f", "{{.Dir}}", kwokModule}, func(string) bool { return false })
	if err != nil {
		return err
	}
	root := strings.TrimSpace(out)
	if root == "" {
		return fmt.Errorf("the sources of %s are not in the module cache", kwokModule)
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, source := range stageSources {
		files, err := filepath.Glob(filepath.Join(root, "kustomize", "stage", filepath.FromSlash(source), "*.yaml"))
		if err != nil {
			return err
		}
		if len(files) == 0 {
			return fmt.Errorf("%s in %s holds no stages", source, kwokModule)
		}
		for _, file := range files {
			if filepath.Base(file) == "kustomization.yaml" {
				continue
			}
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(to, filepath.Base(file)), data, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}
