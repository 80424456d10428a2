// Command weight prints what each library package costs a program that uses only
// that package: packages and modules that it compiles in, and the size of the
// stripped static binary; beside it the same of the peer's module.
//
//	go -C bench run ./weight
//	go -C bench run ./weight -check
//
// Sizes are in MB of a million bytes, for linux/amd64.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"text/tabwriter"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	check := flag.Bool("check", false, "measure ours only, and fail when a package exceeds its limit")
	flag.Parse()
	var err error
	if *check {
		err = checkAll(ctx, os.Stdout)
	} else {
		err = printAll(ctx, os.Stdout)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "weight:", err)
		os.Exit(1)
	}
}

// weight is what a package costs.
type weight struct {
	packages, modules int
	megabytes         float64
}

func (w weight) String() string {
	return fmt.Sprintf("%d\t%d\t%.1f MB", w.packages, w.modules, w.megabytes)
}

// printAll prints a table of both sides.
func printAll(ctx context.Context, out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "package\tpackages\tmodules\tbinary\tlimit\tpeer\tpackages\tmodules\tbinary")
	for _, u := range users() {
		ours, err := weigh(ctx, u.ours, ourModule)
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%s\t%v\t%s\t%s", u.name, ours, u.limitText(), u.peerName)
		if u.peer.path != "" {
			peer, err := weigh(ctx, u.peer, benchModule)
			if err != nil {
				return err
			}
			line += "\t" + peer.String()
		}
		fmt.Fprintln(table, line)
	}
	return table.Flush()
}

// checkAll holds our packages against their limits.
func checkAll(ctx context.Context, out io.Writer) error {
	var over []string
	for _, u := range users() {
		ours, err := weigh(ctx, u.ours, ourModule)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %.1f MB of %s\n", u.name, ours.megabytes, u.limitText())
		if u.exceeds(ours.megabytes) {
			over = append(over, u.name)
		}
	}
	if len(over) > 0 {
		return fmt.Errorf("too heavy: %s; look for the import that came with the last change (go list -deps)", strings.Join(over, ", "))
	}
	return nil
}

// weigh builds a program that uses a package, in the module in which it is to be
// built, and measures it.
func weigh(ctx context.Context, p program, module string) (weight, error) {
	dir, err := os.MkdirTemp("", "weight-")
	if err != nil {
		return weight{}, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the system clears temporary files
	root, err := moduleDir(ctx, module)
	if err != nil {
		return weight{}, err
	}
	overlay, err := overlayProgram(dir, root, p)
	if err != nil {
		return weight{}, err
	}
	deps, err := goCommand(ctx, root, "list", "-overlay", overlay, "-deps",
		"-f", "{{if not .Standard}}{{.ImportPath}} {{with .Module}}{{.Path}}{{end}}{{end}}", programDir)
	if err != nil {
		return weight{}, err
	}
	binary := filepath.Join(dir, "program")
	if _, err := goCommand(ctx, root, "build", "-overlay", overlay, "-trimpath", "-ldflags", "-s -w", "-o", binary, programDir); err != nil {
		return weight{}, err
	}
	info, err := os.Stat(binary)
	if err != nil {
		return weight{}, err
	}
	w := count(string(deps))
	w.megabytes = float64(info.Size()) / 1e6
	return w, nil
}

// programDir is where the program seems to be, in either module.
const programDir = "./internal/weightprogram"

// overlayProgram writes the program outside of the module, and the file that
// makes the go command see it inside.
func overlayProgram(dir, root string, p program) (string, error) {
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte(p.source()), 0o600); err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]map[string]string{
		"Replace": {filepath.Join(root, programDir, "main.go"): source},
	})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, overlay, 0o600)
}

// count counts the lines of go list, without the program itself.
func count(list string) weight {
	var w weight
	modules := map[string]bool{}
	for line := range strings.Lines(list) {
		name, module, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" || strings.HasSuffix(name, strings.TrimPrefix(programDir, ".")) {
			continue
		}
		w.packages++
		modules[module] = true
	}
	w.modules = len(modules)
	return w
}

func moduleDir(ctx context.Context, module string) (string, error) {
	out, err := goCommand(ctx, "", "list", "-m", "-f", "{{.Dir}}", module)
	return strings.TrimSpace(string(out)), err
}

func goCommand(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return out, nil
}
