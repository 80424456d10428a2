package gc_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

	"github.com/gitopskit/gitopskit/gc"
)

// fate is what becomes of a request.
type fate int

const (
	carriedOut fate = iota
	neverSent       // as if the process had died before it
	answerLost      // carried out, and the answer was lost
	outOfOrder      // the server answers 500
)

var errDead = errors.New("the connection is dead")

// mortal is a transport whose requests meet their fate. It is safe for
// concurrent use, and counts from one.
type mortal struct {
	next http.RoundTripper

	mu    sync.Mutex
	count int
	fate  func(n int) fate
}

func (m *mortal) wrap(next http.RoundTripper) http.RoundTripper {
	m.next = next
	return m
}

func (m *mortal) RoundTrip(req *http.Request) (*http.Response, error) {
	m.mu.Lock()
	m.count++
	f := carriedOut
	if m.fate != nil {
		f = m.fate(m.count)
	}
	m.mu.Unlock()
	switch f {
	case neverSent:
		return nil, errDead
	case outOfOrder:
		return &http.Response{
			StatusCode: http.StatusInternalServerError, Header: http.Header{}, Request: req, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Body: io.NopCloser(strings.NewReader("out of order")),
		}, nil
	default:
	}
	resp, err := m.next.RoundTrip(req)
	if err == nil && f == answerLost {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return nil, errDead
	}
	return resp, err
}

func mortalStore(t *testing.T, cfg *rest.Config, ns string) (*gc.ClusterStore, *mortal) {
	t.Helper()
	m := &mortal{}
	cfg = rest.CopyConfig(cfg)
	cfg.Wrap(m.wrap)
	return gc.Shrunk(configMapStore(t, cfg, ns, "inventory"), 1), m
}

// A save that dies at any request, before or after it was carried out, leaves the
// old inventory or the new one, whole. The next save succeeds, and nothing of the
// dead one is left in the end.
func TestSaveKilledAtEveryRequest(t *testing.T) {
	f := setup(t)
	all := numbered(20)
	changed := append(gc.Inventory(nil), all...)
	for i := range changed {
		changed[i].Intent = "changed"
	}
	tests := []struct {
		name     string
		old, new gc.Inventory
	}{
		{"the first", nil, all},
		{"the first, without shards", nil, all[:5]},
		{"one change", all, all[1:]},
		{"one shard", all, all[5:].Union(changed[5:10])},
		{"all shards", all, changed},
		{"growth", all[:11], all},
		{"shrinking", all, all[:9]},
		{"to no shards", all, all[:3]},
		{"from no shards", all[:3], all},
		{"to nothing", all, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fates := []fate{neverSent, answerLost}
			if tt.name == "one shard" {
				fates = append(fates, outOfOrder) // to the store, much like neverSent
			}
			for _, fate := range fates {
				for at, done := 1, false; !done; at++ {
					done = f.killSave(t, tt.old, tt.new, at, fate)
				}
			}
			s := gc.Shrunk(configMapStore(t, f.cfg, f.ns, "inventory"), 1)
			save(t, s, all) // takes the numbers that the last dead save has taken, and frees them
			save(t, s, nil)
			require.Empty(t, f.names(t))
		})
	}
}

// killSave reports whether the save was through before its end had come.
func (f *fixture) killSave(t *testing.T, before, after gc.Inventory, at int, end fate) bool {
	t.Helper()
	s, m := mortalStore(t, f.cfg, f.ns)
	load(t, s)
	save(t, s, before)
	m.count = 0
	m.fate = func(n int) fate {
		if n < at {
			return carriedOut
		}
		if n > at { // the process is gone
			return neverSent
		}
		return end
	}
	err := s.Save(t.Context(), after)
	through := m.count < at
	m.fate = nil

	next := gc.Shrunk(configMapStore(t, f.cfg, f.ns, "inventory"), 1)
	got := load(t, next)
	require.True(t, got.Equal(before) || got.Equal(after), "killed at request %d: %d entries", at, len(got))
	if err == nil {
		require.True(t, got.Equal(after), "killed at request %d: it reported success", at)
	}
	save(t, next, after)
	require.True(t, after.Equal(load(t, configMapStore(t, f.cfg, f.ns, "inventory"))))
	save(t, next, nil)
	return through
}

// Over random histories of several writers whose requests fail in every way, what
// is loaded is always a whole inventory that one of them saved, and one whose save
// succeeded is not lost to another that had not seen it.
func TestWritersThatFailNeverMix(t *testing.T) {
	f := setup(t)
	for seed := range uint64(3) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		var mu sync.Mutex
		failing := func(int) fate {
			mu.Lock()
			defer mu.Unlock()
			if rnd.IntN(15) > 0 {
				return carriedOut
			}
			return fate(1 + rnd.IntN(3))
		}
		var writers []*gc.ClusterStore
		for range 3 {
			s, m := mortalStore(t, f.cfg, f.ns)
			m.fate = failing
			writers = append(writers, s)
		}
		witness := gc.Shrunk(configMapStore(t, f.cfg, f.ns, "inventory"), 1)
		for round := range 12 {
			tried := []gc.Inventory{load(t, witness)}
			var wg sync.WaitGroup
			won := make([]gc.Inventory, len(writers))
			for i, w := range writers {
				inv := numbered(1 + (round*17+i*23)%60)
				for j := range inv {
					inv[j].Owned = string(rune('a'+i)) + string(rune('a'+round))
				}
				tried = append(tried, inv)
				wg.Go(func() {
					if _, err := w.Load(t.Context()); err != nil {
						return
					}
					if w.Save(t.Context(), inv) == nil {
						won[i] = inv
					}
				})
			}
			wg.Wait()
			got := load(t, witness)
			require.Contains(t, tried, got, "seed %d round %d: a mixture of %d entries", seed, round, len(got))
			for _, inv := range won {
				if inv != nil {
					require.False(t, got.Equal(tried[0]), "seed %d round %d: a save that succeeded is not there", seed, round)
				}
			}
		}
		load(t, witness)
		save(t, witness, numbered(60)) // takes the numbers that were left, and frees them
		save(t, witness, nil)
	}
	require.Empty(t, f.names(t))
}
