package repos

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec" //nolint:depguard // no library, though its path looks like one
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitopskit/gitopskit/internal/gitserver"
)

// History is a repository of small manifests, of which each commit changes one.
type History struct {
	Apps     int // of three files each
	Commits  int
	Tags     int // annotated, at even distances; the last commit has the highest version
	Branches int // beside main
	Pulls    int // references refs/pull/N/head
}

// Make writes the history. It is the same each time.
func (h History) Make(ctx context.Context, repo *gitserver.Repo) error {
	random := rand.New(rand.NewPCG(1, 2))
	var s stream
	tags := 0
	for i := range h.Commits {
		s.commit("main", "", fmt.Sprintf("Commit %d", i))
		if i == 0 {
			for app := range h.Apps {
				for _, kind := range kinds() {
					s.file(manifestName(app, kind), manifest(random, app, kind))
				}
			}
		}
		app, kind := random.IntN(h.Apps), kinds()[random.IntN(len(kinds()))]
		s.file(manifestName(app, kind), manifest(random, app, kind))
		for ; tags*h.Commits < (i+1)*h.Tags && (tags+1)*h.Commits <= (i+1)*h.Tags; tags++ {
			s.tag(fmt.Sprintf("v%d.%d.%d", tags/100, tags/10%10, tags%10))
		}
	}
	if err := s.write(ctx, repo); err != nil {
		return err
	}
	for i := range h.Branches {
		if err := repo.SetRef(ctx, fmt.Sprintf("refs/heads/release-%d", i+1), "main"); err != nil {
			return err
		}
	}
	return h.writePulls(ctx, repo)
}

func kinds() []string { return []string{"config", "deployment", "service"} }

func manifestName(app int, kind string) string {
	return fmt.Sprintf("apps/team-%02d/app-%03d/%s.yaml", app/10, app, kind)
}

// manifest is a file of one to four kilobytes.
func manifest(random *rand.Rand, app int, kind string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "apiVersion: v1\nkind: %s\nmetadata:\n  name: app-%03d\ndata:\n", kind, app)
	for i := range 20 + random.IntN(60) {
		fmt.Fprintf(&b, "  setting-%02d: \"value %d of app %d\"\n", i, random.Uint64(), app)
	}
	return b.Bytes()
}

// writePulls writes the references of pull requests straight into the file in
// which git keeps many of them: as loose ones they would take minutes.
func (h History) writePulls(ctx context.Context, repo *gitserver.Repo) error {
	if h.Pulls == 0 {
		return nil
	}
	if _, err := repo.Git(ctx, nil, "pack-refs", "--all"); err != nil {
		return err
	}
	out, err := repo.Git(ctx, nil, "rev-list", "main")
	if err != nil {
		return err
	}
	commits := strings.Fields(out)
	pulls := make([]string, h.Pulls)
	for i := range pulls {
		pulls[i] = fmt.Sprintf("refs/pull/%d/head", i+1)
	}
	slices.Sort(pulls)
	file := filepath.Join(repo.Dir(), "packed-refs")
	packed, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	// The file is sorted: heads, pull, tags.
	i := bytes.Index(packed, []byte(" refs/tags/"))
	if i < 0 {
		return errors.New("packed-refs has no tags")
	}
	i = bytes.LastIndexByte(packed[:i], '\n') + 1
	var b bytes.Buffer
	b.Write(packed[:i])
	for n, pull := range pulls {
		fmt.Fprintf(&b, "%s %s\n", commits[n%len(commits)], pull)
	}
	b.Write(packed[i:])
	return os.WriteFile(file, b.Bytes(), 0o600)
}

// oneFile is a repository with one file of random bytes, the same each time.
func oneFile(size int) func(context.Context, *gitserver.Repo) error {
	return func(ctx context.Context, repo *gitserver.Repo) error {
		content := make([]byte, size)
		if _, err := rand.NewChaCha8([32]byte{1}).Read(content); err != nil {
			return err
		}
		var s stream
		s.commit("main", "", "One file")
		s.file("file.bin", content)
		return s.write(ctx, repo)
	}
}

// stream is what git fast-import reads.
type stream struct{ bytes.Buffer }

func (s *stream) data(content []byte) {
	fmt.Fprintf(s, "data %d\n%s\n", len(content), content)
}

const person = "Ada Example <ada@example.com> 1704067200 +0000"

// commit begins a commit, whose files follow. Its parent is what the stream put
// on the branch before, or from.
func (s *stream) commit(branch, from, message string) {
	fmt.Fprintf(s, "commit refs/heads/%s\ncommitter %s\n", branch, person)
	s.data([]byte(message + "\n"))
	if from != "" {
		fmt.Fprintf(s, "from %s\n", from)
	}
}

func (s *stream) file(name string, content []byte) {
	fmt.Fprintf(s, "M 100644 inline %s\n", name)
	s.data(content)
}

// tag tags the last commit of main.
func (s *stream) tag(name string) {
	fmt.Fprintf(s, "tag %s\nfrom refs/heads/main\ntagger %s\n", name, person)
	s.data([]byte("Release " + name + "\n"))
}

func (s *stream) write(ctx context.Context, repo *gitserver.Repo) error {
	_, err := repo.Git(ctx, bufio.NewReader(&s.Buffer), "fast-import", "--quiet")
	return err
}

func command(ctx context.Context, name string, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(append(exit.Stderr, out...)))
	}
	return out, err
}
