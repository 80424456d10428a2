package git_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

var withLFS = git.FetchOptions{LFS: true}

// lfsTree is a tree with pointers, and what it is with the files.
func lfsTree(lfs *gitserver.LFS) (tree fstest.MapFS, pointers, whole map[string]string) {
	big, script := noise(1, 5000), "#!/bin/sh\n"
	pointer := func(s string) string { return string(lfs.Put([]byte(s))) }
	tree = files("plain", "text", "big", pointer(big), "dir/same", pointer(big), "dir/deep/other", pointer("other"))
	tree["dir/run"] = &fstest.MapFile{Data: []byte(pointer(script)), Mode: 0o755}
	tree["dir/link"] = link("../big")
	pointers, whole = map[string]string{}, map[string]string{}
	for name, f := range tree {
		pointers[name] = string(f.Data)
	}
	pointers["dir/link"] = "-> ../big"
	for name, content := range pointers {
		whole[name] = content
	}
	whole["big"], whole["dir/same"], whole["dir/deep/other"], whole["dir/run"] = big, big, "other", script
	return tree, pointers, whole
}

func TestFetchLFS(t *testing.T) {
	h := newHub(t, gitserver.HTTPOptions{})
	tree, pointers, whole := lfsTree(&h.LFS)
	commit := h.commit("repo.git", tree)
	user := sshSigner(t)
	store := httptest.NewTLSServer(&h.LFS) // who comes over SSH is sent to no plain HTTP
	t.Cleanup(store.Close)
	shell, err := gitserver.ServeSSH(t.Context(), h.root, gitserver.SSHOptions{Keys: []ssh.PublicKey{user.Key()}, LFS: func(repo string) (string, error) {
		return fmt.Sprintf(`{"href": "%s%s/info/lfs"}`, store.URL, repo), nil
	}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, shell.Close()) })
	key, err := user.PrivateKey()
	require.NoError(t, err)
	auth := git.Auth{SSHKey: key, KnownHosts: shell.KnownHosts}
	for name, r := range map[string]*git.Remote{
		"http":        h.open("repo.git", git.Options{}),
		"http go-git": h.open("repo.git", git.Options{Engine: git.EngineCompatible}),
		"ssh":         open(t, shell.URL+"/repo.git", git.Options{Auth: auth, CABundle: certificate(store)}),
	} {
		t.Run(name, func(t *testing.T) {
			plain, s := fetch(t, r, commit, git.FetchOptions{}), fetch(t, r, commit, withLFS)
			require.Equal(t, pointers, contents(t, plain))
			require.Equal(t, whole, contents(t, s))
			require.Equal(t, pointers, contents(t, fetch(t, r, commit, git.FetchOptions{})), "what is kept is the repository's")
			mustBeFS(t, s)
			var paths []string
			for _, file := range s.LFSFiles() {
				paths = append(paths, file.Path)
			}
			require.Equal(t, []string{"big", "dir/deep/other", "dir/run", "dir/same"}, paths)
			require.Equal(t, s.LFSFiles(), plain.LFSFiles())
			for name, content := range whole {
				if strings.HasPrefix(content, "->") {
					continue
				}
				requireFile(t, s, name, content)
				id, err := s.ContentID(name)
				require.NoError(t, err)
				want := hashOf("blob", tree[name].Data)
				if string(tree[name].Data) != content { // a pointer, which has the other id itself
					before, err := plain.ContentID(name)
					require.NoError(t, err)
					require.Equal(t, want, before)
					want = "lfs:" + want
				}
				require.Equal(t, want, id)
			}
			through, err := s.ReadFile("dir/link")
			require.NoError(t, err)
			require.Equal(t, whole["big"], string(through))
			info, err := s.Stat("dir/run")
			require.NoError(t, err)
			require.Equal(t, fs.FileMode(0o755), info.Mode())
			d := newOnDisk(t)
			require.NoError(t, s.Checkout(t.Context(), d.Root, git.CheckoutOptions{}))
			require.Equal(t, whole, contents(t, d.FS()))
			info, err = d.Stat("dir/run")
			require.NoError(t, err)
			require.NotZero(t, info.Mode()&0o100)
		})
	}
}

// requireFile compares all ways to read a file.
func requireFile(t *testing.T, s *git.Snapshot, name, content string) {
	t.Helper()
	raw, err := s.ReadFile(name)
	require.NoError(t, err)
	require.True(t, content == string(raw), name)
	file, err := s.Open(name)
	require.NoError(t, err)
	info, err := file.Stat()
	require.NoError(t, err)
	require.EqualValues(t, len(content), info.Size())
	half := make([]byte, len(content)-len(content)/2)
	_, err = file.(io.ReaderAt).ReadAt(half, int64(len(content)/2))
	require.NoError(t, err)
	require.True(t, content[len(content)/2:] == string(half), name)
	var all bytes.Buffer
	_, err = file.(io.WriterTo).WriteTo(&all)
	require.NoError(t, err)
	require.True(t, content == all.String(), name)
	info, err = s.Stat(name)
	require.NoError(t, err)
	require.EqualValues(t, len(content), info.Size())
}

func TestFetchLFSBringsOnlyWhatIsNew(t *testing.T) {
	h := newHub(t, gitserver.HTTPOptions{})
	tree, _, whole := lfsTree(&h.LFS)
	commit := h.commit("repo.git", tree)
	r := h.open("repo.git", git.Options{})
	require.Empty(t, asked(h, func() { fetch(t, r, commit, git.FetchOptions{}) }))
	require.Equal(t, "batch 1, files 3", asked(h, func() { fetch(t, r, commit, withLFS) }), "each content once")
	require.Empty(t, asked(h, func() { fetch(t, r, commit, withLFS) }))

	put(tree, "plain", "changed")
	commit = h.commit("repo.git", tree)
	require.Empty(t, asked(h, func() { fetch(t, r, commit, withLFS) }))

	put(tree, "dir/deep/other", string(h.Put([]byte("changed"))))
	put(tree, "moved", string(tree["big"].Data))
	delete(tree, "big")
	commit = h.commit("repo.git", tree)
	var s *git.Snapshot
	require.Equal(t, "batch 1, files 1", asked(h, func() { s = fetch(t, r, commit, withLFS) }))
	requireFile(t, s, "dir/deep/other", "changed")
	requireFile(t, s, "moved", whole["big"])

	// What is not kept comes each time.
	r = h.open("repo.git", git.Options{Limits: git.Limits{Kept: -1}})
	for range 2 {
		require.Equal(t, "batch 1, files 3", asked(h, func() { s = fetch(t, r, commit, withLFS) }))
		requireFile(t, s, "moved", whole["big"])
	}
}

// asked says what was asked of the large file storage.
func asked(h *hub, step func()) string {
	h.count("")
	step()
	h.mu.Lock()
	batches := strings.Count(strings.Join(h.seen, "\n"), "/info/lfs/objects/batch")
	h.mu.Unlock()
	if all := h.count("/info/lfs/objects/"); all > 0 {
		return fmt.Sprintf("batch %d, files %d", batches, all-batches)
	}
	return ""
}

func TestFetchLFSOfDirectories(t *testing.T) {
	for _, filter := range []string{"false", "true"} {
		h := newHub(t, gitserver.HTTPOptions{})
		tree, _, whole := lfsTree(&h.LFS)
		commit := h.commit("repo.git", tree)
		h.git(h.repo("repo.git"), "", "config", "uploadpack.allowFilter", filter)
		r := h.open("repo.git", git.Options{})
		var s *git.Snapshot
		require.Equal(t, "batch 1, files 1", asked(h, func() {
			s = fetch(t, r, commit, git.FetchOptions{LFS: true, Dirs: []string{"dir/deep"}})
		}))
		require.Equal(t, map[string]string{"dir/deep/other": "other"}, contents(t, s))
		require.Len(t, s.LFSFiles(), 1)
		require.Equal(t, "batch 1, files 2", asked(h, func() { s = fetch(t, r, commit, withLFS) }))
		require.Equal(t, whole, contents(t, s))
	}
}

func TestFetchLFSFails(t *testing.T) {
	h := newHub(t, gitserver.HTTPOptions{})
	extended := strings.Replace(string(h.Put([]byte("held"))), "\noid", "\next-0-foo sha256:"+someOID+"\noid", 1)
	longer := strings.Replace(string(h.Put([]byte("held"))), "size 4", "size 5", 1)
	held := h.commit("repo.git", files("a", string(h.Put([]byte("held")))))
	fresh := h.commit("repo.git", files("dir/a", string(h.Put([]byte("content")))))
	r := h.open("repo.git", git.Options{})
	fetch(t, r, held, withLFS)

	t.Run("another content", func(t *testing.T) {
		h.Download = func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "c0ntent") }
		defer func() { h.Download = nil }()
		err := fetchError(t, r, fresh, withLFS)
		require.ErrorIs(t, err, git.ErrProtocol)
		require.ErrorContains(t, err, `"dir/a"`)
		h.Download = nil
		requireFile(t, fetch(t, r, fresh, withLFS), "dir/a", "content")
	})
	t.Run("nothing at all", func(t *testing.T) {
		err := fetchError(t, r, h.commit("repo.git", files("dir/gone", somePointer)), withLFS)
		var missing *git.LFSError
		require.ErrorAs(t, err, &missing)
		require.Equal(t, "dir/gone", missing.Path)
		require.Equal(t, someOID, missing.OID)
	})
	t.Run("extended, though its content is held", func(t *testing.T) {
		err := fetchError(t, r, h.commit("repo.git", files("a", extended)), withLFS)
		require.ErrorIs(t, err, git.ErrLFS)
		require.True(t, terminal(t, err))
	})
	t.Run("another size, though its content is held", func(t *testing.T) {
		require.ErrorIs(t, fetchError(t, r, h.commit("repo.git", files("a", longer)), withLFS), git.ErrLFS)
	})
	t.Run("no storage", func(t *testing.T) {
		server, err := gitserver.ServeHTTP(t.Context(), h.root, gitserver.HTTPOptions{})
		require.NoError(t, err)
		defer server.Close()
		r := open(t, server.URL+"/repo.git", git.Options{})
		require.ErrorIs(t, fetchError(t, r, fresh, withLFS), git.ErrLFS)
		require.Len(t, fetch(t, r, fresh, git.FetchOptions{}).LFSFiles(), 1)
	})
	t.Run("closed", func(t *testing.T) {
		require.NoError(t, r.Close())
		require.ErrorIs(t, fetchError(t, r, fresh, withLFS), git.ErrClosed)
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		h.Download = func(w http.ResponseWriter, req *http.Request) {
			cancel()
			<-req.Context().Done()
		}
		_, err := h.open("repo.git", git.Options{}).Fetch(ctx, git.Revision{Commit: fresh}, withLFS)
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestFetchLFSLimits(t *testing.T) {
	h := newHub(t, gitserver.HTTPOptions{})
	a, b := h.Put([]byte(noise(1, 60_000))), h.Put([]byte(noise(2, 60_000)))
	commit := h.commit("repo.git", files("a", string(a), "b", string(b)))
	for name, limits := range map[string]git.Limits{
		"ObjectSize": {ObjectSize: 59_999}, "Inflated": {Inflated: 119_999}, "Bytes": {Bytes: 119_999},
	} {
		r := h.open("repo.git", git.Options{Limits: limits})
		requireLimit(t, fetchError(t, r, commit, withLFS), name)
		require.Len(t, fetch(t, r, commit, git.FetchOptions{}).LFSFiles(), 2)
	}
	r := h.open("repo.git", git.Options{Limits: git.Limits{ObjectSize: 60_000, Inflated: 120_000, Bytes: 122_000}})
	fetch(t, r, commit, withLFS)
}

// What was not a file in the end leaves nothing on the disk.
func TestAttackLFSLeavesNothingOnTheDisk(t *testing.T) {
	h := newHub(t, gitserver.HTTPOptions{})
	content := []byte(noise(4, 6<<20))
	commit := h.commit("repo.git", files("large", string(h.Put(content)), "small", "1"))
	wrong := bytes.Clone(content)
	wrong[len(wrong)-1]++
	h.Download = func(w http.ResponseWriter, _ *http.Request) { w.Write(wrong) }
	dir := t.TempDir()
	r := h.open("repo.git", git.Options{Dir: dir})
	require.ErrorIs(t, fetchError(t, r, commit, withLFS), git.ErrProtocol)
	require.Len(t, entries(t, dir), 2, "what the repository itself holds")
}

// Large files are on a disk, and outlive the Remote.
func TestFetchLFSOfALargeFile(t *testing.T) {
	h := newHub(t, gitserver.HTTPOptions{})
	const size = 6 << 20
	content := noise(3, size)
	commit := h.commit("repo.git", files("large", string(h.Put([]byte(content)))))
	dir := t.TempDir()
	for _, opts := range []git.Options{{}, {Dir: dir}, {Dir: dir}} { // the last after a restart
		r := h.open("repo.git", opts)
		var written int64
		s := fetch(t, r, commit, withLFS)
		require.NoError(t, r.Close())
		requireFile(t, s, "large", content)
		for _, name := range entries(t, dir) {
			info, err := os.Stat(filepath.Join(dir, name))
			require.NoError(t, err)
			written = max(written, info.Size())
		}
		require.Equal(t, opts.Dir != "", written > size-(1<<20))
	}
}

func TestFetchLFSFromManyGoroutines(t *testing.T) {
	h := newHub(t, gitserver.HTTPOptions{})
	want := map[string]map[string]string{}
	for i := range 3 {
		tree, whole := files(), map[string]string{}
		for j := range 8 {
			name, content := fmt.Sprintf("f%d", j), noise(uint64(i+j), 3000)
			put(tree, name, string(h.Put([]byte(content))))
			whole[name] = content
		}
		want[h.commit("repo.git", tree)] = whole
	}
	r := h.open("repo.git", git.Options{Progress: func(git.Progress) {}})
	var all sync.WaitGroup
	for commit, whole := range want {
		for range 3 {
			all.Go(func() {
				s, err := r.Fetch(t.Context(), git.Revision{Commit: commit}, withLFS)
				if err == nil {
					for name, content := range whole {
						raw, _ := s.ReadFile(name)
						if content != string(raw) {
							err = fmt.Errorf("%s differs", name)
						}
					}
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
}

// A tree with what is not in the repository is a base like any other.
func TestFetchUponATreeWithLFSAndSubmodules(t *testing.T) {
	h := newHub(t, gitserver.HTTPOptions{})
	opts := git.FetchOptions{LFS: true, Submodules: &git.Submodules{}}
	lib := h.commit("lib.git", files("lib", "1"))
	tree := files("a", string(h.Put([]byte("large"))), "dir/b", "1", ".gitmodules", modules("lib", "../lib.git"))
	first := h.commit("repo.git", tree, "lib", lib)
	old := fetch(t, h.open("repo.git", git.Options{}), first, opts)
	next := h.commit("repo.git", put(tree, "dir/b", "2"), "lib", lib)
	opts.Base = git.Base{Commit: first, FS: old}
	s := fetch(t, h.open("repo.git", git.Options{}), next, opts)
	want := contents(t, old)
	want["dir/b"] = "2"
	require.Equal(t, want, contents(t, s))
}

// Stream sees the files, not their pointers.
func TestFetchLFSStreams(t *testing.T) {
	h := newHub(t, gitserver.HTTPOptions{})
	commit := h.commit("repo.git", files("a", string(h.Put([]byte("content")))))
	r := h.open("repo.git", git.Options{})
	for range 2 { // the second is held
		calls := 0
		fetch(t, r, commit, git.FetchOptions{LFS: true, Stream: func(_ context.Context, s *git.Snapshot) error {
			calls++
			requireFile(t, s, "a", "content")
			return nil
		}})
		require.Equal(t, 1, calls)
	}
}

// A link whose target has the text of a pointer is a link.
func TestAttackLFSPointerAsALink(t *testing.T) {
	h := newHub(t, gitserver.HTTPOptions{})
	pointer := string(h.Put([]byte("victim")))
	tree := files("a", pointer, "victim", "secret")
	tree["link"] = link(pointer)
	s := fetch(t, h.open("repo.git", git.Options{}), h.commit("repo.git", tree), withLFS)
	target, err := s.ReadLink("link")
	require.NoError(t, err)
	require.Equal(t, pointer, target)
	_, err = s.ReadFile("link")
	require.ErrorIs(t, err, fs.ErrNotExist)
	info, err := s.Lstat("link")
	require.NoError(t, err)
	require.EqualValues(t, len(pointer), info.Size())
	requireFile(t, s, "a", "victim")
}
