package git_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

// stalling is a server that stops in the middle of a pack until it is told to
// go on. What came before is more than what is handed over at once.
type stalling struct {
	*git.Remote
	rev    git.Revision
	goOn   chan struct{}
	second string // the content of the file that comes late
}

func newStalling(t *testing.T, end func([]byte) []byte) *stalling {
	t.Helper()
	s := &stalling{goOn: make(chan struct{}), second: "late\n"}
	first, filler := []byte("early\n"), []byte(noise(1, 600_000))
	tree := treeOf("100644 early", hashOf("blob", first), "100644 filler", hashOf("blob", filler), "100644 late", hashOf("blob", []byte(s.second)))
	text := commitOf(hashOf("tree", tree))
	raw := pack(5, packed{1, -1, nil, text}, packed{2, -1, nil, tree}, packed{3, -1, nil, first}, packed{3, -1, nil, filler}, packed{3, -1, nil, []byte(s.second)})
	if end != nil {
		raw = end(raw)
	}
	cut := len(raw) - 40
	s.rev = git.Revision{Commit: hashOf("commit", text)}
	s.Remote = (&hostile2{refs: oneRef2(s.rev.Commit), fetch: func(w http.ResponseWriter, _ string) {
		data := sidebands(raw[:cut])
		fmt.Fprint(w, packHead, string(data[:len(data)-4]))
		flushNow(w)
		<-s.goOn
		w.Write(sidebands(raw[cut:]))
	}}).serve(t, git.Options{})
	return s
}

func TestStreamReadsWhatHasCome(t *testing.T) {
	s := newStalling(t, nil)
	var seen *git.Snapshot
	got, err := s.Fetch(t.Context(), s.rev, git.FetchOptions{Stream: func(_ context.Context, snap *git.Snapshot) error {
		seen = snap
		list, err := snap.ReadDir(".")
		require.NoError(t, err)
		require.Len(t, list, 3)
		content, err := snap.ReadFile("early")
		require.NoError(t, err)
		require.Equal(t, "early\n", string(content))
		require.Empty(t, snap.LFSFiles())
		close(s.goOn)
		content, err = snap.ReadFile("late") // waits
		require.NoError(t, err)
		require.Equal(t, s.second, string(content))
		return nil
	}})
	require.NoError(t, err)
	require.Same(t, seen, got)
}

func TestStreamErrorEndsTheFetch(t *testing.T) {
	s := newStalling(t, nil)
	defer close(s.goOn)
	mine := errors.New("mine")
	calls := 0
	_, err := s.Fetch(t.Context(), s.rev, git.FetchOptions{Stream: func(context.Context, *git.Snapshot) error {
		calls++
		return mine
	}})
	require.ErrorIs(t, err, mine)
	require.Equal(t, 1, calls)
}

// A failed transfer ends reads that wait, and its error is the one that counts.
func TestStreamOfATransferThatFails(t *testing.T) {
	cutOff := func(raw []byte) []byte { return raw[:len(raw)-21] }
	trailer := func(raw []byte) []byte { raw[len(raw)-1] ^= 1; return raw }
	for name, tt := range map[string]struct {
		end   func([]byte) []byte
		reads bool // everything can be read
	}{"cut off": {cutOff, false}, "bad trailer": {trailer, true}} {
		t.Run(name, func(t *testing.T) {
			s := newStalling(t, tt.end)
			close(s.goOn)
			_, err := s.Fetch(t.Context(), s.rev, git.FetchOptions{Stream: func(_ context.Context, snap *git.Snapshot) error {
				content, err := snap.ReadFile("late")
				if tt.reads {
					require.NoError(t, err)
					require.Equal(t, s.second, string(content))
					return nil
				}
				require.Error(t, err)
				return errors.New("hides why")
			}})
			require.ErrorIs(t, err, git.ErrMalformed)
			again, err := s.Fetch(t.Context(), s.rev, git.FetchOptions{})
			require.Nil(t, again, "nothing of it was kept")
			require.Error(t, err)
		})
	}
}

// A tree that must not be is no reason to wait for what Stream does.
func TestStreamOfAMalformedTree(t *testing.T) {
	blob := []byte("x")
	tree := treeOf("100644 .git", hashOf("blob", blob))
	text := commitOf(hashOf("tree", tree))
	raw := pack(3, packed{1, -1, nil, text}, packed{2, -1, nil, tree}, packed{3, -1, nil, blob})
	r := (&hostile2{refs: oneRef2(hashOf("commit", text)), pack: raw}).serve(t, git.Options{})
	_, err := r.Fetch(t.Context(), git.Revision{Commit: hashOf("commit", text)}, git.FetchOptions{Stream: func(ctx context.Context, _ *git.Snapshot) error {
		<-ctx.Done()
		return ctx.Err()
	}})
	require.ErrorIs(t, err, git.ErrMalformed)
}

func TestStreamIsCalledAgainAfterAFreshFetch(t *testing.T) {
	first, entries := tiny("hello\n")
	second, others := tiny("second\n")
	server := &hostile2{refs: oneRef2(first)}
	var asked atomic.Int64
	server.fetch = func(w http.ResponseWriter, _ string) {
		switch asked.Add(1) {
		case 1:
			answer2(w, pack(3, entries...))
		case 2:
			answer2(w, pack(2, others[:2]...)) // without the file
		default:
			answer2(w, pack(3, others...))
		}
	}
	r := server.serve(t, git.Options{})
	require.NoError(t, fetchHostile(t, r))
	var read []string
	_, err := r.Fetch(t.Context(), git.Revision{Commit: second}, git.FetchOptions{Stream: func(_ context.Context, s *git.Snapshot) error {
		content, err := s.ReadFile("file")
		read = append(read, string(content))
		return err
	}})
	require.NoError(t, err)
	require.Equal(t, []string{"", "second\n"}, read)
}

// Whoever reads on after Stream has returned reads the same.
func TestStreamMayBeOutlived(t *testing.T) {
	f := newFixture(t)
	tree := estate()
	f.each(func(t *testing.T, r *git.Remote) {
		var wg sync.WaitGroup
		for i := range 3 {
			f.commit("main", put(tree, "n", fmt.Sprint(i)+noise(m64(), 9)), nil)
			rev, err := r.Resolve(t.Context(), git.Ref{})
			require.NoError(t, err)
			_, err = r.Fetch(t.Context(), rev, git.FetchOptions{Stream: func(_ context.Context, s *git.Snapshot) error {
				for range 4 {
					wg.Go(func() {
						if err := fs.WalkDir(s, ".", func(name string, e fs.DirEntry, err error) error {
							if err != nil || !e.Type().IsRegular() {
								return err
							}
							_, err = s.ReadFile(name)
							return err
						}); err != nil {
							t.Error(err)
						}
						s.LFSFiles()
					})
				}
				return nil
			}})
			require.NoError(t, err)
		}
		wg.Wait()
	})
}

// Transfers share a connection too.
func TestConnectionIsKeptAfterTransfers(t *testing.T) {
	f := newFixture(t)
	handler, err := gitserver.HTTP(t.Context(), f.root, gitserver.HTTPOptions{})
	require.NoError(t, err)
	var connections atomic.Int64
	server := httptest.NewUnstartedServer(handler)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	r := open(t, server.URL+"/repo.git", git.Options{})
	for i := range 10 {
		f.commit("main", files("a", fmt.Sprint(i)), nil)
		snapshot(t, r, git.Ref{})
	}
	require.EqualValues(t, 1, connections.Load())
}
