package gitserver

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// Repo is a bare repository on disk.
type Repo struct {
	dir string
}

// Create makes an empty bare repository in dir, which is created if it is not
// there. Its HEAD names the branch main.
func Create(ctx context.Context, dir string) (*Repo, error) {
	r := &Repo{dir: dir}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if _, err := r.Git(ctx, nil, "init", "--quiet", "--bare", "--template=", "--initial-branch=main", "."); err != nil {
		return nil, err
	}
	return r, nil
}

// Dir returns the directory of the repository.
func (r *Repo) Dir() string { return r.dir }

// Git runs the git command in the repository and returns what it printed.
func (r *Repo) Git(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = r.dir
	cmd.Env = append(Environ(), "GIT_DIR=.")
	cmd.Stdin = stdin
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

// Environ is the environment in which git runs: the search path, and no
// configuration but what it is given here.
func Environ() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"),
		"TMPDIR=" + os.TempDir(),
		"HOME=" + os.DevNull,
		"LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=" + os.DevNull,
		"GIT_TERMINAL_PROMPT=0",
		// The repository may belong to another user, such as the one who
		// mounted it into a container.
		"GIT_CONFIG_COUNT=1",
		"GIT_CONFIG_KEY_0=safe.directory",
		"GIT_CONFIG_VALUE_0=*",
	}
}

// Person is an author, committer or tagger.
type Person struct {
	Name, Email string
}

// CommitOptions say what a commit holds beside its tree. The zero value makes a
// commit without parents by a fixed author at a fixed time.
type CommitOptions struct {
	// Branch is moved to the new commit. Empty: no reference is moved.
	Branch string
	// Parents are commits by hash. Nil: what Branch points to now, if anything.
	Parents []string
	// Author is also the committer.
	Author Person
	// Time of authoring and committing; zero: 2024-01-01 00:00 UTC.
	Time    time.Time
	Message string
	// Signer signs the commit. Nil: the commit is not signed.
	Signer Signer
}

// Commit writes the content of fsys as a commit and returns its hash. Files
// with an executable bit and links (where fsys implements [fs.ReadLinkFS]) keep
// them; empty directories are left out, as in Git.
func (r *Repo) Commit(ctx context.Context, fsys fs.FS, opts CommitOptions) (string, error) {
	tree, err := r.Tree(fsys)
	if err != nil {
		return "", err
	}
	parents := opts.Parents
	if parents == nil && opts.Branch != "" {
		if tip, err := r.Git(ctx, nil, "rev-parse", "--verify", "--quiet", "refs/heads/"+opts.Branch); err == nil {
			parents = []string{tip}
		}
	}
	hash, err := r.CommitTree(tree, parents, opts)
	if err != nil || opts.Branch == "" {
		return hash, err
	}
	return hash, r.SetRef(ctx, "refs/heads/"+opts.Branch, hash)
}

// CommitTree writes a commit of a tree that is there already. Of the options
// it uses Author, Time, Message and Signer.
func (r *Repo) CommitTree(tree string, parents []string, opts CommitOptions) (string, error) {
	var header bytes.Buffer
	fmt.Fprintf(&header, "tree %s\n", tree)
	for _, parent := range parents {
		fmt.Fprintf(&header, "parent %s\n", parent)
	}
	who := identity(opts.Author, opts.Time)
	fmt.Fprintf(&header, "author %s\ncommitter %s\n", who, who)
	message := withNewline(opts.Message)
	if opts.Signer != nil {
		signature, err := opts.Signer.Sign([]byte(header.String() + "\n" + message))
		if err != nil {
			return "", err
		}
		// Lines after the first begin with a space: that is how a header goes on.
		header.WriteString("gpgsig " + strings.ReplaceAll(strings.TrimSpace(string(signature)), "\n", "\n ") + "\n")
	}
	return r.Object("commit", []byte(header.String()+"\n"+message))
}

// TagOptions say what an annotated tag holds.
type TagOptions struct {
	Tagger  Person
	Time    time.Time // zero: 2024-01-01 00:00 UTC
	Message string
	Signer  Signer // nil: the tag is not signed
	// Ref is the reference to point to the tag. Empty: refs/tags/ and the name.
	Ref string
}

// Tag writes an annotated tag of an object and the reference to it, and returns
// the hash of the tag. (A lightweight tag is [Repo.SetRef] of refs/tags/….)
func (r *Repo) Tag(ctx context.Context, name, target string, opts TagOptions) (string, error) {
	kind, err := r.Git(ctx, nil, "cat-file", "-t", target)
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("object %s\ntype %s\ntag %s\ntagger %s\n\n%s", target, kind, name,
		identity(opts.Tagger, opts.Time), withNewline(opts.Message))
	if opts.Signer != nil {
		signature, err := opts.Signer.Sign([]byte(text))
		if err != nil {
			return "", err
		}
		text += withNewline(string(signature))
	}
	hash, err := r.Object("tag", []byte(text))
	if err != nil {
		return "", err
	}
	ref := opts.Ref
	if ref == "" {
		ref = "refs/tags/" + name
	}
	return hash, r.SetRef(ctx, ref, hash)
}

// SetRef creates or moves a reference, given by its full name. An empty hash
// deletes it.
func (r *Repo) SetRef(ctx context.Context, ref, hash string) error {
	args := []string{"update-ref", ref, hash}
	if hash == "" {
		args = []string{"update-ref", "-d", ref}
	}
	_, err := r.Git(ctx, nil, args...)
	return err
}

// Tree writes the content of fsys and returns the hash of its tree.
func (r *Repo) Tree(fsys fs.FS) (string, error) {
	return r.tree(fsys, ".")
}

// treeEntry is a line of a tree: mode in octal, name, hash in hex.
type treeEntry struct {
	mode, name, hash string
}

func (r *Repo) tree(fsys fs.FS, dir string) (string, error) {
	list, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return "", err
	}
	var entries []treeEntry
	for _, e := range list {
		entry, err := r.entry(fsys, path.Join(dir, e.Name()), e)
		if err != nil {
			return "", err
		}
		if entry.hash != "" {
			entries = append(entries, entry)
		}
	}
	if len(entries) == 0 && dir != "." {
		return "", nil
	}
	// Git's order: by bytes, a directory as if its name ended with a slash.
	key := func(e treeEntry) string {
		if e.mode == "40000" {
			return e.name + "/"
		}
		return e.name
	}
	sort.Slice(entries, func(i, j int) bool { return key(entries[i]) < key(entries[j]) })
	return r.Object("tree", encodeTree(entries))
}

func (r *Repo) entry(fsys fs.FS, name string, e fs.DirEntry) (treeEntry, error) {
	switch {
	case e.IsDir():
		hash, err := r.tree(fsys, name)
		return treeEntry{"40000", e.Name(), hash}, err
	case e.Type() == fs.ModeSymlink:
		target, err := fs.ReadLink(fsys, name)
		if err != nil {
			return treeEntry{}, err
		}
		hash, err := r.Object("blob", []byte(target))
		return treeEntry{"120000", e.Name(), hash}, err
	case !e.Type().IsRegular():
		return treeEntry{}, fmt.Errorf("%s: neither a file, nor a directory, nor a link", name)
	}
	info, err := e.Info()
	if err != nil {
		return treeEntry{}, err
	}
	content, err := fs.ReadFile(fsys, name)
	if err != nil {
		return treeEntry{}, err
	}
	mode := "100644"
	if info.Mode()&0o111 != 0 {
		mode = "100755"
	}
	hash, err := r.Object("blob", content)
	return treeEntry{mode, e.Name(), hash}, err
}

// RawTree writes a tree with exactly the given entries, each "mode name hash",
// whatever git would think of it.
func (r *Repo) RawTree(lines ...string) (string, error) {
	var entries []treeEntry
	for _, line := range lines {
		mode, rest, _ := strings.Cut(line, " ")
		i := strings.LastIndex(rest, " ")
		if i < 0 {
			return "", fmt.Errorf("%q is not \"mode name hash\"", line)
		}
		entries = append(entries, treeEntry{mode, rest[:i], rest[i+1:]})
	}
	return r.Object("tree", encodeTree(entries))
}

func encodeTree(entries []treeEntry) []byte {
	var b bytes.Buffer
	for _, e := range entries {
		hash, _ := hex.DecodeString(e.hash)
		fmt.Fprintf(&b, "%s %s\x00%s", e.mode, e.name, hash)
	}
	return b.Bytes()
}

// Object writes an object of a type (blob, tree, commit, tag) with exactly the
// given content, whatever git would think of it, and returns its hash.
func (r *Repo) Object(kind string, content []byte) (string, error) {
	header := fmt.Appendf(nil, "%s %d\x00", kind, len(content))
	sum := sha1.New()
	sum.Write(header)
	sum.Write(content)
	hash := hex.EncodeToString(sum.Sum(nil))

	file := filepath.Join(r.dir, "objects", hash[:2], hash[2:])
	if _, err := os.Stat(file); err == nil {
		return hash, nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return "", err
	}
	packed, err := deflate(header, content)
	if err != nil {
		return "", err
	}
	// Written beside and renamed, so that a server never reads half an object.
	temp, err := os.CreateTemp(filepath.Dir(file), "tmp_obj_")
	if err != nil {
		return "", err
	}
	_, err = temp.Write(packed)
	if e := temp.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(temp.Name(), file)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(temp.Name()))
	}
	return hash, nil
}

func deflate(parts ...[]byte) ([]byte, error) {
	var packed bytes.Buffer
	z, err := zlib.NewWriterLevel(&packed, zlib.BestSpeed)
	if err != nil {
		return nil, err
	}
	for _, part := range parts {
		if _, err := z.Write(part); err != nil {
			return nil, err
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}

// Content returns the content of an object that [Repo.Object] wrote, byte for
// byte.
func (r *Repo) Content(hash string) ([]byte, error) {
	packed, err := os.ReadFile(filepath.Join(r.dir, "objects", hash[:2], hash[2:]))
	if err != nil {
		return nil, err
	}
	z, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(z)
	_, content, _ := bytes.Cut(raw, []byte{0})
	return content, err
}

func identity(p Person, t time.Time) string {
	if p == (Person{}) {
		p = Person{"Ada Example", "ada@example.com"}
	}
	if t.IsZero() {
		t = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return fmt.Sprintf("%s <%s> %d %s", p.Name, p.Email, t.Unix(), t.Format("-0700"))
}

func withNewline(s string) string {
	if s == "" || strings.HasSuffix(s, "\n") {
		return s
	}
	return s + "\n"
}
