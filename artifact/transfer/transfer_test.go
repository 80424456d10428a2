package transfer_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/artifact"
)

const app = "gitrepository/default/app"

func small() fstest.MapFS {
	return fstest.MapFS{
		"README.md":       {Data: []byte("# app\n")},
		"deploy/app.yaml": {Data: []byte("kind: Deployment\n")},
		"hack/run.sh":     {Data: []byte("#!/bin/sh\n"), Mode: 0o755},
		"latest":          {Data: []byte("deploy/app.yaml"), Mode: fs.ModeSymlink},
	}
}

// noise is a tree of 3 MiB that does not get smaller.
func noise() fstest.MapFS {
	return fstest.MapFS{"noise": {Data: random(3 << 20)}, "a/b": {Data: []byte("b")}}
}

// large is a tree whose archive has several members, and some MiB.
var large = sync.OnceValue(func() fstest.MapFS {
	tree := fstest.MapFS{"big.bin": {Data: random(9 << 20)}}
	for i := range 300 {
		tree[fmt.Sprintf("dir%d/file%d", i%10, i)] = &fstest.MapFile{Data: random(10 << 10)}
	}
	return tree
})

func random(n int) []byte {
	r := rand.New(rand.NewPCG(3, 4))
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return data
}

func pack(t testing.TB, fsys fs.FS) ([]byte, artifact.Summary) {
	t.Helper()
	var buf bytes.Buffer
	sum, err := artifact.Pack(t.Context(), &buf, fsys, artifact.PackOptions{})
	require.NoError(t, err)
	return buf.Bytes(), sum
}

func zip(b []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, _ = w.Write(b)
	_ = w.Close()
	return buf.Bytes()
}

// zeros makes an archive of one file with many zeros, without holding them.
func zeros(t *testing.T, size int64) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "zeros", Typeflag: tar.TypeReg, Size: size, Mode: 0o644}))
	_, err := io.CopyN(w, endless{}, size)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	return buf.Bytes()
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { clear(b); return len(b), nil }

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func limit(t *testing.T, err error, name string) {
	t.Helper()
	limitErr, ok := errors.AsType[*artifact.LimitError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, name, limitErr.Limit)
}

// heap fails the test if f makes the heap grow by more than most bytes.
func heap(t *testing.T, most uint64, f func()) {
	t.Helper()
	stop, peak := make(chan struct{}), make(chan uint64)
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	go func() {
		highest := before.HeapAlloc
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			highest = max(highest, now.HeapAlloc)
			select {
			case <-stop:
				peak <- highest
				return
			case <-tick.C:
			}
		}
	}()
	f()
	close(stop)
	require.Less(t, <-peak-before.HeapAlloc, most)
}
