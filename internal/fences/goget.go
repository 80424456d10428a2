package fences

import (
	"archive/zip"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Proxy is a module proxy in a folder that serves one version of the house's
// module: the working tree as it is now.
type Proxy struct {
	house   House
	dir     string
	Version string
}

// NewProxy packs the working tree, without the modules nested in it, into a
// module proxy below dir. The version is made up anew each time, so that no cache
// answers with another content, and runs side by side do not share one.
func NewProxy(h House, dir string) (*Proxy, error) {
	files, err := moduleFiles(h.Dir)
	if err != nil {
		return nil, err
	}
	commit := make([]byte, 6)
	if _, err := rand.Read(commit); err != nil {
		return nil, err
	}
	p := &Proxy{house: h, dir: dir, Version: "v0.0.0-20000101000000-" + hex.EncodeToString(commit)}
	if err := os.MkdirAll(p.folder(), 0o755); err != nil {
		return nil, err
	}
	return p, p.fill(files)
}

// folder is where a proxy keeps the module; the escaping of upper-case letters
// that the protocol asks for is left out, because the house's path has none.
func (p *Proxy) folder() string {
	return filepath.Join(p.dir, filepath.FromSlash(p.house.Module), "@v")
}

// fill writes what the GOPROXY protocol asks for.
func (p *Proxy) fill(files []string) error {
	mod, err := os.ReadFile(filepath.Join(p.house.Dir, "go.mod"))
	if err != nil {
		return err
	}
	info, err := json.Marshal(map[string]string{"Version": p.Version, "Time": "2000-01-01T00:00:00Z"})
	if err != nil {
		return err
	}
	file := filepath.Join(p.folder(), p.Version)
	return errors.Join(
		os.WriteFile(filepath.Join(p.folder(), "list"), nil, 0o644),
		os.WriteFile(file+".mod", mod, 0o644),
		os.WriteFile(file+".info", info, 0o644),
		p.zip(file+".zip", files),
	)
}

func (p *Proxy) zip(name string, files []string) error {
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(p.writeZip(out, files), out.Close())
}

func (p *Proxy) writeZip(out io.Writer, files []string) error {
	z := zip.NewWriter(out)
	for _, file := range files {
		w, err := z.Create(p.house.Module + "@" + p.Version + "/" + filepath.ToSlash(file))
		if err != nil {
			return err
		}
		in, err := os.Open(filepath.Join(p.house.Dir, file))
		if err != nil {
			return err
		}
		if _, err := io.Copy(w, in); err != nil {
			return errors.Join(err, in.Close())
		}
		if err := in.Close(); err != nil {
			return err
		}
	}
	return z.Close()
}

// moduleFiles lists what belongs to the module at dir: regular files that are
// not hidden and not in a nested module, in order.
func moduleFiles(dir string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		hidden := strings.HasPrefix(d.Name(), ".")
		if !d.IsDir() {
			if d.Type().IsRegular() && !hidden {
				rel, err := filepath.Rel(dir, name)
				files = append(files, rel)
				return err
			}
			return nil
		}
		if _, err := os.Stat(filepath.Join(name, "go.mod")); hidden || err == nil {
			return fs.SkipDir
		}
		return nil
	})
	slices.Sort(files)
	return files, err
}

// Import does what a new user of one package does: in an empty module below dir,
// it gets the package and builds a program that imports it. Modules that the
// machine does not have yet come from its usual proxy.
//
// The machine's module cache is used, because filling a new one takes longer
// than all the rest; Forget takes the house's module out of it again.
func (p *Proxy) Import(ctx context.Context, dir, pkg string) error {
	name := path.Join(p.house.Module, pkg)
	program := fmt.Sprintf("package main\n\nimport _ %q\n\nfunc main() {}\n", name)
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.test/user\n\ngo 1.26\n"), 0o644),
		os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o644),
	); err != nil {
		return err
	}
	env, err := p.env(ctx, dir)
	if err != nil {
		return err
	}
	if _, err := goCommand(ctx, dir, env, "get", name+"@"+p.Version); err != nil {
		return err
	}
	_, err = goCommand(ctx, dir, env, "build", "-o", os.DevNull, ".")
	return err
}

func (p *Proxy) env(ctx context.Context, dir string) ([]string, error) {
	proxies, err := goEnv(ctx, dir, "GOPROXY")
	if err != nil {
		return nil, err
	}
	return []string{
		"GOPROXY=file://" + filepath.ToSlash(p.dir) + "," + proxies,
		"GOFLAGS=-mod=mod -modcacherw",
		"GONOSUMDB=" + p.house.Module,
		"GONOPROXY=none",
		"GOPRIVATE=",
	}, nil
}

// Forget removes the packed version from the machine's module cache, and the
// folders that hold nothing else.
func (p *Proxy) Forget(ctx context.Context) error {
	cache, err := goEnv(ctx, p.house.Dir, "GOMODCACHE")
	if err != nil {
		return err
	}
	module := filepath.FromSlash(p.house.Module)
	downloads := filepath.Join(cache, "cache", "download", module, "@v")
	unpacked := filepath.Join(cache, module+"@"+p.Version)
	files, err := filepath.Glob(filepath.Join(downloads, p.Version+".*"))
	if err != nil {
		return err
	}
	for _, file := range append(files, unpacked) {
		if err := os.RemoveAll(file); err != nil {
			return err
		}
	}
	if err := forgetListed(filepath.Join(downloads, "list"), p.Version); err != nil {
		return err
	}
	removeEmpty(downloads, cache)
	removeEmpty(filepath.Dir(unpacked), cache)
	return nil
}

// forgetListed takes a version out of the list that the go command keeps, and
// removes a list that is then empty.
func forgetListed(file, version string) error {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	left := strings.ReplaceAll(string(data), version+"\n", "")
	if strings.TrimSpace(left) == "" {
		return os.Remove(file)
	}
	return os.WriteFile(file, []byte(left), 0o644)
}

// removeEmpty removes dir and its parents below root as far as they are empty.
func removeEmpty(dir, root string) {
	for dir != root && os.Remove(dir) == nil {
		dir = filepath.Dir(dir)
	}
}

func goEnv(ctx context.Context, dir, name string) (string, error) {
	out, err := goCommand(ctx, dir, nil, "env", name)
	return strings.TrimSpace(string(out)), err
}
