package links_test

import (
	"io/fs"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/internal/links"
)

func TestResolve(t *testing.T) {
	tree := map[string]string{ // link -> target; "" is a file or a directory
		"a": "", "a/b": "", "a/b/c": "", "a/b/c/file": "", "file": "",
		"to-file":      "file",
		"to-dir":       "a/b",
		"a/up":         "../file",
		"a/b/c/root":   "../../..",
		"a/b/twice":    "../../to-dir/c/file",
		"dots":         "./a/.//b/../b/c/file",
		"loop":         "loop",
		"ping":         "pong",
		"pong":         "ping",
		"abs":          "/etc/passwd",
		"out":          "../outside",
		"deep-out":     "a/b/../../../x",
		"lexical-lies": "a/b/c/root/../x",
		"dangling":     "nowhere",
		"to-out":       "out",
	}
	lookup := func(name string) (string, bool, error) {
		target, found := tree[name]
		if !found {
			return "", false, fs.ErrNotExist
		}
		return target, target != "", nil
	}
	r := links.NewResolver(lookup)
	for name, want := range map[string]string{
		".": ".", "file": "file", "to-file": "file", "to-dir": "a/b", "to-dir/c/file": "a/b/c/file",
		"a/up": "file", "a/b/c/root": ".", "a/b/c/root/file": "file", "a/b/twice": "a/b/c/file",
		"dots": "a/b/c/file", "to-dir/..": "a", "a/../file": "file",
	} {
		got, err := r.Resolve(name)
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)
	}
	for name, want := range map[string]error{
		"loop": links.ErrLoop, "ping": links.ErrLoop, "ping/x": links.ErrLoop,
		"abs": links.ErrAbsolute, "out": links.ErrEscapes, "to-out": links.ErrEscapes,
		"deep-out": links.ErrEscapes, "lexical-lies": links.ErrEscapes, "..": links.ErrEscapes,
		"dangling": fs.ErrNotExist, "missing": fs.ErrNotExist,
	} {
		_, err := r.Resolve(name)
		require.ErrorIs(t, err, want, name)
	}
}

// Links through each other would cost their product if each was followed anew.
func TestAttackManyLongLinks(t *testing.T) {
	const n = 2000
	long := strings.Repeat("d/../", 200)
	r := links.NewResolver(func(name string) (string, bool, error) {
		if i, err := strconv.Atoi(name); err == nil && i < n {
			return long + strconv.Itoa(i+1), true, nil
		}
		return "", false, nil
	})
	steps := testing.AllocsPerRun(1, func() {
		for i := n; i >= 0; i-- {
			_, err := r.Resolve(strconv.Itoa(i))
			require.NoError(t, err)
		}
	})
	require.Less(t, steps, float64(n*1000))
}

func TestAttackGrowingPath(t *testing.T) {
	r := links.NewResolver(func(name string) (string, bool, error) {
		i, err := strconv.Atoi(name)
		return strconv.Itoa(i-1) + "/" + strings.Repeat("x", 500), err == nil && i > 0, nil
	})
	_, err := r.Resolve("3")
	require.NoError(t, err)
	for i := range 39 {
		if _, err = r.Resolve(strconv.Itoa(i)); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, links.ErrLoop)
}
