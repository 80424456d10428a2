// Command command is the helm command's side of benchmarks of helm.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec" //nolint:depguard // the helm command is what is measured
	"path/filepath"
	"strconv"

	"github.com/gitopskit/gitopskit/bench/helm/charts"
	"github.com/gitopskit/gitopskit/bench/internal/cluster"
	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/bench/internal/work"
	"github.com/gitopskit/gitopskit/internal/helmcommand"
)

func main() {
	side.Main(map[string]side.Setup{
		"helm/install-podinfo": install,
		"helm/upgrade-podinfo": upgrade,
	})
}

// newCommand returns the command, for a namespace of its own, and the chart.
func newCommand(ctx context.Context, env side.Env) (run func(context.Context, ...string) error, chart string, err error) {
	program, err := helmcommand.Ensure(ctx)
	if err != nil {
		return nil, "", err
	}
	cfg, err := cluster.Config(env)
	if err != nil {
		return nil, "", err
	}
	namespace, err := cluster.NewNamespace(ctx, cfg)
	if err != nil {
		return nil, "", err
	}
	kubeconfig := filepath.Join(env.Dir, "kubeconfig")
	if err := os.WriteFile(kubeconfig, env.Kubeconfig, 0o600); err != nil {
		return nil, "", err
	}
	chart = filepath.Join(env.Dir, "chart")
	if err := os.MkdirAll(chart, 0o750); err != nil {
		return nil, "", err
	}
	if err := work.WriteFiles(chart, charts.Podinfo()); err != nil {
		return nil, "", err
	}
	return func(ctx context.Context, args ...string) error {
		cmd := exec.CommandContext(ctx, program, append(args, "--namespace", namespace, "--kubeconfig", kubeconfig)...)
		cmd.Env = []string{"HOME=" + env.Dir, "PATH=" + os.Getenv("PATH")}
		var errs bytes.Buffer
		cmd.Stderr = &errs
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("helm %s: %w: %s", args[0], err, bytes.TrimSpace(errs.Bytes()))
		}
		return nil
	}, chart, nil
}

func install(ctx context.Context, env side.Env) (side.Work, error) {
	helm, chart, err := newCommand(ctx, env)
	if err != nil {
		return side.Work{}, err
	}
	return side.Work{
		Do:     func(ctx context.Context) error { return helm(ctx, "install", "podinfo", chart, "--wait") },
		Finish: func(ctx context.Context) error { return helm(ctx, "uninstall", "podinfo", "--wait") },
	}, nil
}

func upgrade(ctx context.Context, env side.Env) (side.Work, error) {
	helm, chart, err := newCommand(ctx, env)
	if err != nil {
		return side.Work{}, err
	}
	if err := helm(ctx, "install", "podinfo", chart, "--wait"); err != nil {
		return side.Work{}, err
	}
	revision := 0
	return side.Work{Do: func(ctx context.Context) error {
		revision++
		return helm(ctx, "upgrade", "podinfo", chart, "--wait", "--history-max", "5", "--set-string", "ui.message="+strconv.Itoa(revision))
	}}, nil
}
