package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/gitopskit/gitopskit/bench/git/host"
	"github.com/gitopskit/gitopskit/bench/git/repos"
	"github.com/gitopskit/gitopskit/bench/internal/hosted"
)

// gitServer is the program that serves repositories.
const gitServer = "git/server"

// gitHost is one Git server for all pairs, a process of its own, started when the
// first needs it.
type gitHost struct {
	dir string // of the repositories that it serves
	cmd *exec.Cmd
	in  io.Closer
	at  host.Server
}

// repo gives a pair its repository: a copy of its own of the one that is kept.
func (h *gitHost) repo(ctx context.Context, p Pair, program command, progress io.Writer) (hosted.Repo, error) {
	cache, err := gitCache(ctx)
	if err != nil {
		return hosted.Repo{}, err
	}
	kind, ok := repos.Repos()[p.Repo]
	if !ok {
		return hosted.Repo{}, fmt.Errorf("there is no repository %q to make", p.Repo)
	}
	kept, err := kind.Kept(ctx, cache, p.Repo, progress)
	if err != nil {
		return hosted.Repo{}, err
	}
	return h.serve(ctx, kept, strings.ReplaceAll(p.Name, "/", "-"), program)
}

// serve serves a copy of a repository under a name.
func (h *gitHost) serve(ctx context.Context, from, name string, program command) (hosted.Repo, error) {
	if err := h.start(ctx, program); err != nil {
		return hosted.Repo{}, err
	}
	copied, err := repos.Copy(ctx, from, filepath.Join(h.dir, name+".git"))
	if err != nil {
		return hosted.Repo{}, err
	}
	facts, err := repos.Facts(ctx, copied)
	return hosted.Repo{URL: h.at.URL + "/" + name + ".git", Control: h.at.Control, Facts: facts}, err
}

func (h *gitHost) start(ctx context.Context, program command) error {
	if h.cmd != nil {
		return nil
	}
	var err error
	if h.dir, err = os.MkdirTemp("", "bench-git-"); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program.path, append(program.args, h.dir)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	h.cmd, h.in = cmd, in
	if err := json.NewDecoder(out).Decode(&h.at); err != nil {
		return fmt.Errorf("the Git server has ended: %w", err)
	}
	return nil
}

// close ends the server and waits for it.
func (h *gitHost) close() {
	if h.cmd != nil {
		_ = h.in.Close()
		_ = h.cmd.Wait()
	}
	if h.dir != "" {
		_ = os.RemoveAll(h.dir) // the system clears temporary files
	}
}

// gitCache is where repositories are kept from one run to the next.
func gitCache(ctx context.Context) (string, error) {
	out, err := goCommand(ctx, "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", err
	}
	dir := strings.TrimSpace(string(out))
	if dir == "" {
		return "", errors.New("go list did not say where this module is")
	}
	return filepath.Join(dir, "..", ".cache", "bench", "git"), nil
}
