package git_test

import (
	"io"
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

// sample is a tree with everything that Git knows.
func sample() fstest.MapFS {
	tree := files(
		"README.md", "hello\n",
		"app/base/deploy.yaml", "kind: Deployment\n",
		"app/base.yaml", "between base and base/ in Git's order\n",
		"app/overlay/kustomization.yaml", "resources: [../base]\n",
		"empty", "",
	)
	tree["bin/run.sh"] = &fstest.MapFile{Data: []byte("#!/bin/sh\n"), Mode: 0o755}
	link := func(name, target string) {
		tree[name] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
	}
	link("app/overlay/base", "../base")
	link("app/overlay/readme", "../../README.md")
	link("twice", "app/overlay/readme")
	link("dangling", "no/such/file")
	return tree
}

func TestSnapshotIsAFileSystem(t *testing.T) {
	f := newFixture(t)
	f.commit("main", sample(), nil)
	f.each(func(t *testing.T, r *git.Remote) {
		s := snapshot(t, r, git.Ref{})
		// A link that leads nowhere fails on Open, which TestFS does not
		// expect: it is looked at below.
		require.NoError(t, fstest.TestFS(without(s, "dangling"), "README.md", "app/base/deploy.yaml", "bin/run.sh", "empty", "app/overlay/base", "twice"))
		sub, err := fs.Sub(s, "app")
		require.NoError(t, err)
		require.NoError(t, fstest.TestFS(sub, "base/deploy.yaml", "overlay/base", "overlay/readme"))
	})
}

// without hides an entry of the root.
func without(s *git.Snapshot, name string) fs.FS { return hiding{s, name} }

type hiding struct {
	*git.Snapshot
	name string
}

func (h hiding) ReadDir(name string) ([]fs.DirEntry, error) {
	list, err := h.Snapshot.ReadDir(name)
	return h.filter(list), err
}

func (h hiding) Open(name string) (fs.File, error) {
	f, err := h.Snapshot.Open(name)
	if d, ok := f.(fs.ReadDirFile); ok && name == "." {
		return hidingDir{d, h}, err
	}
	return f, err
}

func (h hiding) filter(list []fs.DirEntry) []fs.DirEntry {
	var kept []fs.DirEntry
	for _, e := range list {
		if e.Name() != h.name {
			kept = append(kept, e)
		}
	}
	return kept
}

type hidingDir struct {
	fs.ReadDirFile
	h hiding
}

func (d hidingDir) ReadDir(n int) ([]fs.DirEntry, error) {
	list, err := d.ReadDirFile.ReadDir(n)
	kept := d.h.filter(list)
	if n > 0 && len(kept) == 0 && err == nil {
		return d.ReadDir(n)
	}
	return kept, err
}

func TestSnapshotModesAndLinks(t *testing.T) {
	f := newFixture(t)
	when := time.Date(2025, 6, 1, 12, 30, 0, 0, time.FixedZone("", 2*3600))
	_, err := f.Commit(t.Context(), sample(), gitserver.CommitOptions{Branch: "main", Time: when,
		Author: gitserver.Person{Name: "Zoë", Email: "z@example.com"}, Message: "subject\n\nbody"})
	require.NoError(t, err)
	s := snapshot(t, f.remote(), git.Ref{})

	commit := s.Commit()
	require.Equal(t, "Zoë", commit.Author.Name)
	require.Equal(t, "z@example.com", commit.Committer.Email)
	require.True(t, commit.Author.Time.Equal(when))
	require.Equal(t, when.Format(time.RFC3339), commit.Author.Time.Format(time.RFC3339), "the offset is kept")
	require.Equal(t, "subject\n\nbody\n", commit.Message)

	for name, mode := range map[string]fs.FileMode{
		".":                     fs.ModeDir | 0o755,
		"README.md":             0o644,
		"bin/run.sh":            0o755,
		"bin":                   fs.ModeDir | 0o755,
		"app/overlay/base":      fs.ModeSymlink | 0o777,
		"app/overlay/base/.":    0, // not a valid path
		"app/overlay/readme":    fs.ModeSymlink | 0o777,
		"app/overlay/base/none": 0,
	} {
		info, err := s.Lstat(name)
		if mode == 0 {
			require.Error(t, err, name)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode(), name)
		require.True(t, info.ModTime().Equal(when))
	}

	info, err := s.Stat("app/overlay/base")
	require.NoError(t, err)
	require.True(t, info.IsDir(), "Stat follows")
	require.Equal(t, "base", info.Name())

	target, err := s.ReadLink("app/overlay/base")
	require.NoError(t, err)
	require.Equal(t, "../base", target)
	_, err = s.ReadLink("README.md")
	require.ErrorIs(t, err, fs.ErrInvalid)

	for name, want := range map[string]string{
		"app/overlay/base/deploy.yaml": "kind: Deployment\n", // through a linked directory
		"twice":                        "hello\n",            // a link to a link
	} {
		content, err := fs.ReadFile(s, name)
		require.NoError(t, err)
		require.Equal(t, want, string(content))
	}
	_, err = s.Open("dangling")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = s.Open("README.md/x")
	require.Error(t, err)
	_, err = s.ReadFile("bin")
	require.Error(t, err)
	_, err = s.ReadDir("README.md")
	require.Error(t, err)

	file, err := s.Open("README.md")
	require.NoError(t, err)
	_, err = file.(io.Seeker).Seek(1, io.SeekStart)
	require.NoError(t, err)
	rest, err := io.ReadAll(file)
	require.NoError(t, err)
	require.Equal(t, "ello\n", string(rest))

	// What a caller does to what it got does not change the snapshot.
	content, err := s.ReadFile("README.md")
	require.NoError(t, err)
	content[0] = 'J'
	again, err := s.ReadFile("README.md")
	require.NoError(t, err)
	require.Equal(t, "hello\n", string(again))
}

func TestSnapshotSub(t *testing.T) {
	f := newFixture(t)
	f.commit("main", sample(), nil)
	s := snapshot(t, f.remote(), git.Ref{})
	for _, dir := range []string{"app/overlay", "app"} {
		sub, err := s.Sub(dir)
		require.NoError(t, err)
		_, ok := sub.(fs.ReadLinkFS)
		require.True(t, ok)
	}
	sub, err := s.Sub("app/overlay")
	require.NoError(t, err)
	// A link out of the directory, inside the snapshot.
	content, err := fs.ReadFile(sub, "base/deploy.yaml")
	require.NoError(t, err)
	require.Equal(t, "kind: Deployment\n", string(content))
	_, err = sub.Open("../base")
	require.ErrorIs(t, err, fs.ErrInvalid)
	// Through a link, it is the directory that the link leads to.
	linked, err := s.Sub("app/overlay/base")
	require.NoError(t, err)
	_, err = fs.Stat(linked, "deploy.yaml")
	require.NoError(t, err)
	_, err = s.Sub("README.md")
	require.Error(t, err)
	_, err = s.Sub("none")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestSnapshotTreeHash(t *testing.T) {
	f := newFixture(t)
	f.commit("main", sample(), nil)
	before := snapshot(t, f.remote(), git.Ref{})
	changed := sample()
	changed["README.md"] = files("x", "changed\n")["x"]
	f.commit("main", changed, nil)
	after := snapshot(t, f.remote(), git.Ref{})

	hash := func(s *git.Snapshot, dir string) string {
		h, err := s.TreeHash(dir)
		require.NoError(t, err)
		return h
	}
	require.Equal(t, hash(before, "app"), hash(after, "app"))
	require.NotEqual(t, hash(before, "."), hash(after, "."))
	want, err := f.Git(t.Context(), nil, "rev-parse", "main:app/base")
	require.NoError(t, err)
	require.Equal(t, want, hash(after, "app/base"))
	require.Equal(t, want, hash(after, "app/overlay/base"), "a link to a directory is the directory")
	_, err = after.TreeHash("README.md")
	require.Error(t, err)
	_, err = after.TreeHash("none")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = after.TreeHash("../x")
	require.ErrorIs(t, err, fs.ErrInvalid)
}

func TestSnapshotSubmodule(t *testing.T) {
	f := newFixture(t)
	blob, err := f.Object("blob", []byte("hello\n"))
	require.NoError(t, err)
	const pinned = "0123456789abcdef0123456789abcdef01234567"
	tree, err := f.RawTree("100644 file "+blob, "160000 vendor "+pinned)
	require.NoError(t, err)
	commit, err := f.CommitTree(tree, nil, gitserver.CommitOptions{})
	require.NoError(t, err)
	f.setRef("refs/heads/main", commit)
	f.each(func(t *testing.T, r *git.Remote) {
		s := snapshot(t, r, git.Ref{})
		require.NoError(t, fstest.TestFS(s, "file", "vendor"))
		list, err := s.ReadDir("vendor")
		require.NoError(t, err)
		require.Empty(t, list)
		_, err = s.Open("vendor/x")
		require.ErrorIs(t, err, fs.ErrNotExist)
		hash, err := s.TreeHash("vendor")
		require.NoError(t, err)
		require.Equal(t, pinned, hash)
	})
}

func TestSnapshotTag(t *testing.T) {
	f := newFixture(t)
	commit := f.commit("main", files("a", "1"), nil)
	hash := f.tag("v1.0.0", commit, pgpSigner(t))
	s := snapshot(t, f.remote(), git.Ref{Tag: "v1.0.0"})
	tag := s.Tag()
	require.Equal(t, hash, tag.Hash)
	require.Equal(t, commit, tag.Target)
	require.Equal(t, "v1.0.0", tag.Name)
	require.Equal(t, "Ada Example", tag.Tagger.Name)
	require.Equal(t, "release v1.0.0\n", tag.Message, "without the signature")
	tag.Name = "changed"
	require.Equal(t, "v1.0.0", s.Tag().Name)
}

// An empty tree is a tree.
func TestSnapshotEmptyTree(t *testing.T) {
	f := newFixture(t)
	f.commit("main", files(), nil)
	s := snapshot(t, f.remote(), git.Ref{})
	list, err := s.ReadDir(".")
	require.NoError(t, err)
	require.Empty(t, list)
}
