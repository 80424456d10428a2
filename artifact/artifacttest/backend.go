// Package artifacttest tells whether an [artifact.Backend] keeps what its
// interface promises. It is for those who write one: call TestBackend from a test
// of theirs.
//
//	func TestBackend(t *testing.T) {
//		artifacttest.TestBackend(t, newBucket(t))
//	}
package artifacttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitopskit/gitopskit/artifact"
)

// TestBackend checks a Backend, which is empty when it begins and when it ends.
// The subtests run one after the other.
func TestBackend(t *testing.T, b artifact.Backend) {
	t.Helper()
	tests := []struct {
		name string
		run  func(*suite)
	}{
		{"absent", (*suite).absent},
		{"round trip", (*suite).roundTrip},
		{"ranges", (*suite).ranges},
		{"replaced", (*suite).replaced},
		{"reading what goes", (*suite).readingWhatGoes},
		{"a body that is not whole", (*suite).short},
		{"lists", (*suite).lists},
		{"bad keys", (*suite).badKeys},
		{"concurrent writers", (*suite).concurrent},
		{"a cancelled context", (*suite).cancelled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &suite{t, b}
			s.empty()
			tt.run(s)
			s.clear()
			s.empty()
		})
	}
}

type suite struct {
	*testing.T
	b artifact.Backend
}

// key makes one as a store does.
func key(i int) string { return fmt.Sprintf("sha256/%064x.tar.gz", i) }

func (s *suite) noError(err error) {
	s.Helper()
	if err != nil {
		s.Fatalf("error: %v", err)
	}
}

func (s *suite) put(key string, data []byte) {
	s.Helper()
	s.noError(s.b.Put(s.Context(), key, int64(len(data)), bytes.NewReader(data)))
}

func (s *suite) read(key string, offset, length int64) []byte {
	s.Helper()
	r, err := s.b.Open(s.Context(), key, offset, length)
	s.noError(err)
	data, err := io.ReadAll(r)
	s.noError(err)
	s.noError(r.Close())
	return data
}

func (s *suite) same(got, want []byte) {
	s.Helper()
	if !bytes.Equal(got, want) {
		s.Fatalf("got %d bytes that are not the %d put", len(got), len(want))
	}
}

func (s *suite) list(prefix string) []string {
	s.Helper()
	keys := []string{}
	for key, err := range s.b.List(s.Context(), prefix) {
		s.noError(err)
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func (s *suite) wantList(prefix string, want ...string) {
	s.Helper()
	slices.Sort(want)
	if got := s.list(prefix); !slices.Equal(got, want) {
		s.Fatalf("List(%q) yields %q, not %q", prefix, got, want)
	}
}

func (s *suite) clear() {
	s.Helper()
	for _, prefix := range []string{"sha256/", "names/"} {
		for _, key := range s.list(prefix) {
			s.noError(s.b.Delete(s.Context(), key))
		}
	}
}

func (s *suite) empty() {
	s.Helper()
	s.wantList("sha256/")
	s.wantList("names/")
}

func (s *suite) isGone(key string) {
	s.Helper()
	if _, err := s.b.Stat(s.Context(), key); !errors.Is(err, fs.ErrNotExist) {
		s.Fatalf("Stat of what is not there: %v", err)
	}
	r, err := s.b.Open(s.Context(), key, 0, -1)
	if err == nil { // a backend may notice when it is read
		_, err = io.ReadAll(r)
		_ = r.Close()
	}
	if !errors.Is(err, fs.ErrNotExist) {
		s.Fatalf("Open of what is not there: %v", err)
	}
}

func (s *suite) absent() {
	s.isGone(key(1))
	s.noError(s.b.Delete(s.Context(), key(1)))
}

func (s *suite) roundTrip() {
	before := time.Now().Add(-time.Minute) // clocks differ
	large := noise(6<<20, 1)
	for i, data := range [][]byte{{}, []byte("x"), large} {
		s.put(key(i), data)
		s.same(s.read(key(i), 0, -1), data)
		info, err := s.b.Stat(s.Context(), key(i))
		s.noError(err)
		if info.Size != int64(len(data)) || info.Modified.Before(before) || info.Modified.After(time.Now().Add(time.Minute)) || info.Version == "" {
			s.Fatalf("Stat: %+v of %d bytes put now", info, len(data))
		}
		again, err := s.b.Stat(s.Context(), key(i))
		s.noError(err)
		if again != info {
			s.Fatalf("Stat: %+v, and then %+v", info, again)
		}
	}
	body := bytes.NewReader([]byte("not this, but this"))
	_, err := body.Seek(10, io.SeekStart)
	s.noError(err)
	s.noError(s.b.Put(s.Context(), key(7), 8, body))
	s.same(s.read(key(7), 0, -1), []byte("but this"))
	s.noError(s.b.Delete(s.Context(), key(7)))
	s.isGone(key(7))
	s.noError(s.b.Delete(s.Context(), key(7)))
	s.same(s.read(key(2), 0, -1), large)
}

func (s *suite) ranges() {
	data := noise(300_000, 2)
	s.put(key(1), data)
	for _, r := range [][2]int64{{0, 1}, {0, 300_000}, {1, 99}, {299_999, 1}, {299_999, -1}, {150_000, -1}, {65_536, 65_536}, {200_000, 200_000}} {
		end := r[0] + r[1]
		if r[1] < 0 || end > int64(len(data)) {
			end = int64(len(data))
		}
		s.same(s.read(key(1), r[0], r[1]), data[r[0]:end])
	}
	r, err := s.b.Open(s.Context(), key(1), 10, -1)
	s.noError(err)
	s.noError(r.Close()) // without having read
}

func (s *suite) replaced() {
	s.put(key(1), []byte("one"))
	first, err := s.b.Stat(s.Context(), key(1))
	s.noError(err)
	s.put(key(1), []byte("two"))
	s.same(s.read(key(1), 0, -1), []byte("two"))
	second, err := s.b.Stat(s.Context(), key(1))
	s.noError(err)
	if first.Version == second.Version {
		s.Fatalf("Version %q is that of two contents", first.Version)
	}
}

func (s *suite) readingWhatGoes() {
	data := noise(2<<20, 3)
	s.put(key(1), data)
	r, err := s.b.Open(s.Context(), key(1), 0, -1)
	s.noError(err)
	head := make([]byte, 10)
	_, err = io.ReadFull(r, head)
	s.noError(err)
	s.noError(s.b.Delete(s.Context(), key(1)))
	rest, err := io.ReadAll(r)
	s.noError(err)
	s.noError(r.Close())
	s.same(append(head, rest...), data)
	s.isGone(key(1))
}

func (s *suite) short() {
	for _, size := range []int64{2, 4} {
		if err := s.b.Put(s.Context(), key(1), size, strings.NewReader("abc")); err == nil {
			s.Fatalf("3 bytes were put as %d", size)
		}
		s.isGone(key(1))
	}
	s.put(key(1), []byte("good"))
	if err := s.b.Put(s.Context(), key(1), 9, strings.NewReader("bad")); err == nil {
		s.Fatal("3 bytes were put as 9")
	}
	s.same(s.read(key(1), 0, -1), []byte("good"))
}

func (s *suite) lists() {
	var archives []string
	for i := range 25 {
		archives = append(archives, key(i))
		s.put(key(i), []byte("x"))
	}
	group := "names/" + strings.Repeat("a", 32) + "/"
	records := []string{group + "1764000000000-" + strings.Repeat("b", 64), group + "1764000000001-" + strings.Repeat("c", 64)}
	other := "names/" + strings.Repeat("d", 32) + "/1764000000000-" + strings.Repeat("b", 64)
	for _, key := range append(records, other) {
		s.put(key, []byte("gitrepository/default/app"))
	}
	s.wantList("sha256/", archives...)
	s.wantList(group, records...)
	s.wantList("names/", append(records, other)...)
	s.wantList("names/" + strings.Repeat("e", 32) + "/")
	for _, err := range s.b.List(s.Context(), "sha256/") {
		s.noError(err)
		break // what listens no more is not called any more
	}
	s.noError(s.b.Delete(s.Context(), other))
	s.wantList("names/", records...)
}

func (s *suite) badKeys() {
	for _, key := range []string{
		"", "/", "x", "a//b", "/a/b", "a/b/", "../b", "a/../b", "a/..", "./a", "a/.b", "a/-b", "A/b", "a/b c", "a/b%2f", `a\b/c`, "a/b\x00", "a/ü",
		"a/" + strings.Repeat("b", 127),
	} {
		if err := s.b.Put(s.Context(), key, 1, strings.NewReader("x")); err == nil {
			s.Errorf("key %q was taken", key)
		}
		if _, err := s.b.Stat(s.Context(), key); err == nil {
			s.Errorf("key %q is there", key)
		}
		if _, err := s.b.Open(s.Context(), key, 0, -1); err == nil {
			s.Errorf("key %q can be read", key)
		}
		if err := s.b.Delete(s.Context(), key); err == nil {
			s.Errorf("key %q can be deleted", key)
		}
	}
}

// concurrent writers of one key leave one of their contents, whole.
func (s *suite) concurrent() {
	var group sync.WaitGroup
	for w, letter := range []byte("abcd") {
		group.Go(func() {
			for i := range 5 {
				data := bytes.Repeat([]byte{letter}, 50_000+w)
				if err := s.b.Put(s.Context(), key(i), int64(len(data)), bytes.NewReader(data)); err != nil {
					s.Errorf("Put: %v", err)
				}
				s.whole(key(i))
			}
		})
	}
	group.Wait()
	if n := len(s.list("sha256/")); n != 5 {
		s.Errorf("%d keys, not 5", n)
	}
}

func (s *suite) whole(key string) {
	r, err := s.b.Open(s.Context(), key, 0, -1)
	if err != nil {
		s.Errorf("Open: %v", err)
		return
	}
	defer func() { _ = r.Close() }() // it was only read
	data, err := io.ReadAll(r)
	if err != nil || len(data) < 50_000 || len(data) != 50_000+int(data[0]-'a') || len(bytes.Trim(data, string(data[:1]))) != 0 {
		s.Errorf("a mixture of two contents, or a part of one: %d bytes, %v", len(data), err)
	}
}

func (s *suite) cancelled() {
	s.put(key(1), []byte("good"))
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	if err := s.b.Put(ctx, key(1), 3, strings.NewReader("bad")); !errors.Is(err, context.Canceled) {
		s.Errorf("Put: %v", err)
	}
	for _, err := range s.b.List(ctx, "sha256/") {
		if !errors.Is(err, context.Canceled) {
			s.Errorf("List: %v", err)
		}
	}
	s.same(s.read(key(1), 0, -1), []byte("good"))
}

// noise does not compress.
func noise(n int, seed byte) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data) // it never fails
	return data
}
