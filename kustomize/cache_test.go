package kustomize_test

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/gitopskit/gitopskit/kustomize"
)

func cached(t testing.TB, c *kustomize.Cache, fsys fstest.MapFS, dir string, opts kustomize.Options) bool {
	t.Helper()
	res, err := c.Build(t.Context(), fsys, dir, opts)
	require.NoError(t, err)
	return res.Cached
}

// A hit is what a build would give, to the byte, and the caller's own.
func TestCache(t *testing.T) {
	fsys := loaded(t)
	c := kustomize.NewCache(kustomize.CacheOptions{})
	for _, dir := range allDirs(t) {
		want, err := kustomize.Build(t.Context(), fsys, dir, kustomize.Options{})
		require.NoError(t, err)
		require.False(t, cached(t, c, fsys, dir, kustomize.Options{}), dir)
		hit, err := c.Build(t.Context(), fsys, dir, kustomize.Options{})
		require.NoError(t, err)
		require.True(t, hit.Cached, dir)
		require.Equal(t, want.Objects, hit.Objects)
		require.Equal(t, want.Inputs, hit.Inputs)
		wantText, err := json.Marshal(want.Objects)
		require.NoError(t, err)
		text, err := json.Marshal(hit.Objects)
		require.NoError(t, err)
		require.Equal(t, string(wantText), string(text))

		for _, o := range hit.Objects {
			o.SetName("changed")
			o.SetLabels(map[string]string{"changed": "yes"})
		}
		again, err := c.Build(t.Context(), fsys, dir, kustomize.Options{})
		require.NoError(t, err)
		require.Equal(t, want.Objects, again.Objects)
	}
}

func TestCacheKnowsWhatWasAsked(t *testing.T) {
	fsys := tree(app(""))
	c := kustomize.NewCache(kustomize.CacheOptions{})
	require.False(t, cached(t, c, fsys, "app", kustomize.Options{}))
	require.True(t, cached(t, c, fsys, "./app", kustomize.Options{}))
	require.False(t, cached(t, c, fsys, "app", kustomize.Options{NamePrefix: "x-"}))
	require.False(t, cached(t, c, fsys, "plain", kustomize.Options{}))

	other := tree(app("namespace: other"))
	require.False(t, cached(t, c, other, "app", kustomize.Options{}))
	require.True(t, cached(t, c, tree(app("")), "app", kustomize.Options{}), "an equal tree")
	require.True(t, cached(t, c, other, "app", kustomize.Options{}), "both are kept")
	delete(fsys, "app/web.yaml")
	_, err := c.Build(t.Context(), fsys, "app", kustomize.Options{})
	require.ErrorContains(t, err, "does not exist")
	_, err = c.Build(t.Context(), fsys, "app", kustomize.Options{NamePrefix: "/"})
	require.ErrorAs(t, err, new(*kustomize.OptionError))
}

func numbered(n int) fstest.MapFS {
	return tree(map[string]string{"cm.yaml": strings.ReplaceAll(configMap, "settings", fmt.Sprint("cm-", n))})
}

func TestCacheDropsWhatWasNotUsedForLongest(t *testing.T) {
	c := kustomize.NewCache(kustomize.CacheOptions{Results: 3})
	for n := range 3 {
		require.False(t, cached(t, c, numbered(n), ".", kustomize.Options{}))
	}
	require.True(t, cached(t, c, numbered(0), ".", kustomize.Options{}))
	require.False(t, cached(t, c, numbered(3), ".", kustomize.Options{NamePrefix: "other-"}))
	require.False(t, cached(t, c, numbered(1), ".", kustomize.Options{}), "1 was the oldest, and now 2 goes")
	require.True(t, cached(t, c, numbered(0), ".", kustomize.Options{}))
	require.True(t, cached(t, c, numbered(3), ".", kustomize.Options{NamePrefix: "other-"}))
	require.False(t, cached(t, c, numbered(2), ".", kustomize.Options{}))
}

// However many trees there are for one question, finding the answer is bounded.
func TestAttackCacheOfManyTrees(t *testing.T) {
	c := kustomize.NewCache(kustomize.CacheOptions{})
	for n := range 40 {
		require.False(t, cached(t, c, numbered(n), ".", kustomize.Options{}))
	}
	require.True(t, cached(t, c, numbered(39), ".", kustomize.Options{}))
	require.False(t, cached(t, c, numbered(0), ".", kustomize.Options{}))
}

func TestAttackCacheOfLargeResults(t *testing.T) {
	large := func(n int) fstest.MapFS {
		return tree(map[string]string{"cm.yaml": fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm-%d}\ndata: {x: %q}\n", n, strings.Repeat("x", 1<<20))})
	}
	c := kustomize.NewCache(kustomize.CacheOptions{Bytes: 5 << 20})
	kept := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	require.False(t, cached(t, c, large(100), ".", kustomize.Options{}))
	before := kept()
	for n := range 12 {
		require.False(t, cached(t, c, large(n), ".", kustomize.Options{}))
	}
	require.Less(t, kept(), before+6<<20)
	require.True(t, cached(t, c, large(11), ".", kustomize.Options{}))
	require.True(t, cached(t, c, large(8), ".", kustomize.Options{}), "as many as there is room for")
	require.False(t, cached(t, c, large(7), ".", kustomize.Options{}))

	small := kustomize.NewCache(kustomize.CacheOptions{Bytes: 3 << 20})
	require.False(t, cached(t, small, large(1), ".", kustomize.Options{}))
	require.False(t, cached(t, small, large(1), ".", kustomize.Options{}), "too large for this cache")
}

func TestCacheOfManyAtOnce(t *testing.T) {
	fsys := loaded(t)
	c := kustomize.NewCache(kustomize.CacheOptions{Results: 6})
	want := map[string]*kustomize.Result{}
	for _, dir := range allDirs(t) {
		var err error
		want[dir], err = kustomize.Build(t.Context(), fsys, dir, kustomize.Options{})
		require.NoError(t, err)
	}
	group, ctx := errgroup.WithContext(t.Context())
	for range 4 {
		for dir, res := range want {
			group.Go(func() error {
				got, err := c.Build(ctx, fsys, dir, kustomize.Options{})
				if err != nil {
					return err
				}
				return same(res.Objects, got.Objects)
			})
		}
	}
	require.NoError(t, group.Wait())
}

func TestCacheContext(t *testing.T) {
	c := kustomize.NewCache(kustomize.CacheOptions{})
	require.False(t, cached(t, c, numbered(1), ".", kustomize.Options{}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Build(ctx, numbered(1), ".", kustomize.Options{})
	require.ErrorIs(t, err, context.Canceled)
}
