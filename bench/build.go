package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// module is where the programs of the sides are.
const module = "github.com/gitopskit/gitopskit/bench"

// command starts a side's program.
type command struct {
	path string
	args []string
}

// build compiles the programs that the pairs need into dir, static as in a controller's
// image, and returns them by package.
func build(ctx context.Context, chosen []Pair, dir string, stderr io.Writer) (map[string]command, error) {
	if err := inModule(ctx); err != nil {
		return nil, err
	}
	programs := map[string]command{}
	for _, p := range chosen {
		for _, pkg := range p.packages() {
			if _, done := programs[pkg]; done {
				continue
			}
			fmt.Fprintf(stderr, "building %s\n", pkg)
			file := filepath.Join(dir, strings.ReplaceAll(pkg, "/", "-"))
			cmd := goCommand(ctx, "build", "-o", file, module+"/"+pkg)
			cmd.Stderr = stderr
			if err := cmd.Run(); err != nil {
				return nil, fmt.Errorf("go build %s: %w", pkg, err)
			}
			programs[pkg] = command{path: file}
		}
	}
	return programs, nil
}

// inModule fails where the go command does not find the programs.
func inModule(ctx context.Context) error {
	out, err := goCommand(ctx, "list", "-m").Output()
	if err == nil && strings.TrimSpace(string(out)) == module {
		return nil
	}
	const hint = `the programs to measure are built from source: start in the repository with "go -C bench run ."`
	if err != nil {
		return fmt.Errorf("%s (go list -m: %w)", hint, err)
	}
	return errors.New(hint)
}

func goCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	return cmd
}
