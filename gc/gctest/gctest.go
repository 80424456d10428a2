// Package gctest tells whether a [gc.Store] keeps what its interface promises. It
// is for those who write one: call TestStore from a test of theirs.
//
//	func TestStore(t *testing.T) {
//		bucket := newBucket(t)
//		gctest.TestStore(t, func() gc.Store { return &bucketStore{bucket} })
//	}
package gctest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/gitopskit/gitopskit/gc"
)

// Large is the number of entries of the largest inventory that TestStore saves.
const Large = 5000

// TestStore checks a Store. Each call of newStore returns a new Store of one and
// the same inventory, as processes of their own would have; it is empty when
// TestStore begins and when it ends. The subtests run one after the other.
func TestStore(t *testing.T, newStore func() gc.Store) {
	t.Helper()
	tests := []struct {
		name string
		run  func(*suite)
	}{
		{"empty", (*suite).empty},
		{"round trip", (*suite).roundTrip},
		{"names are not confused", (*suite).oddNames},
		{"order and duplicates", (*suite).order},
		{"what is given out is not shared", (*suite).aliasing},
		{"conflicts", (*suite).conflicts},
		{"concurrent savers", (*suite).concurrent},
		{"a cancelled context", (*suite).cancelled},
		{"large", (*suite).large},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &suite{T: t, open: newStore}
			s.reset()
			tt.run(s)
			s.reset()
		})
	}
}

type suite struct {
	*testing.T
	open func() gc.Store
}

func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// reset empties the inventory.
func (s *suite) reset() {
	s.Helper()
	store := s.open()
	s.load(store)
	s.must(store.Save(s.Context(), nil))
	s.holds(nil)
}

func (s *suite) load(store gc.Store) gc.Inventory {
	s.Helper()
	inv, err := store.Load(s.Context())
	s.must(err)
	return inv
}

// holds checks what a new store loads.
func (s *suite) holds(want gc.Inventory) {
	s.Helper()
	s.same(s.load(s.open()), want)
}

func (s *suite) same(got, want gc.Inventory) {
	s.Helper()
	if got.Equal(want) {
		return
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			s.Fatalf("loaded %d entries, want %d; they differ first at %d: %v and %v", len(got), len(want), i, at(got, i), at(want, i))
		}
	}
}

func at(inv gc.Inventory, i int) any {
	if i < len(inv) {
		return inv[i]
	}
	return "none"
}

func (s *suite) empty() {
	store := s.open()
	s.same(s.load(store), nil)
	s.must(store.Save(s.Context(), nil))
	s.must(store.Save(s.Context(), gc.Inventory{}))
	s.holds(nil)
	s.must(store.Save(s.Context(), gc.NewInventory(configMap("a"))))
	s.must(store.Save(s.Context(), nil))
	s.holds(nil)
	s.must(store.Save(s.Context(), gc.NewInventory(configMap("b"))))
	s.holds(gc.NewInventory(configMap("b")))
}

func (s *suite) roundTrip() {
	full := Entry(1)
	full.Generation, full.LeftOf = -1, 100
	inv := gc.NewInventory(full, configMap("a"), Entry(2))
	store := s.open()
	s.load(store)
	s.must(store.Save(s.Context(), inv))
	s.same(s.load(store), inv)
	s.holds(inv)
	s.must(store.Save(s.Context(), inv[1:]))
	s.holds(inv[1:])
	changed := inv[1:].Union([]gc.Entry{inv[0], func() gc.Entry { e := inv[1]; e.Intent = "changed"; return e }()})
	s.must(store.Save(s.Context(), changed))
	s.holds(changed)
}

func (s *suite) oddNames() {
	var inv gc.Inventory
	for _, name := range []string{"a:b", "a__b", "a_b", "a.b", "a-b", "A", "0", "00", "1e3", "-1", "null", "ünï", "a b", "a/b", `"`, "a\nb", "deadbeef", "YWJj"} {
		inv = append(inv, gc.Entry{Key: gc.Key{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: name}, Version: "v1", Resource: "clusterroles"})
		inv = append(inv, gc.Entry{Key: gc.Key{Group: "rbac.authorization.k8s.io", Kind: "Role", Namespace: name, Name: name}, Version: "v1", Resource: "roles"})
	}
	for _, text := range []string{"0", "01", "18446744073709551616", "00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-00000000000G", "DEADBEEFDEADBEEF", "YWJjYWJjYWJjYW==", "sha256:00"} {
		e := configMap("with-" + text)
		e.UID, e.ResourceVersion, e.Intent, e.Owned = types.UID(text), text, text, text
		inv = append(inv, e)
	}
	inv = gc.NewInventory(inv...)
	store := s.open()
	s.load(store)
	s.must(store.Save(s.Context(), inv))
	s.holds(inv)
}

func (s *suite) order() {
	store := s.open()
	s.load(store)
	newer := configMap("a")
	newer.UID = "newer"
	s.must(store.Save(s.Context(), gc.Inventory{configMap("c"), configMap("a"), configMap("b"), newer}))
	s.holds(gc.Inventory{newer, configMap("b"), configMap("c")})
}

func (s *suite) aliasing() {
	store := s.open()
	s.load(store)
	inv := gc.NewInventory(configMap("a"), configMap("b"))
	s.must(store.Save(s.Context(), inv))
	inv[0].UID = "changed by the caller"
	loaded := s.load(store)
	loaded[1].UID = "changed by the caller"
	want := gc.NewInventory(configMap("a"), configMap("b"))
	s.same(s.load(store), want)
	s.holds(want)
}

func (s *suite) conflicts() {
	a, b := gc.NewInventory(configMap("a")), gc.NewInventory(configMap("b"))
	one, two := s.open(), s.open()
	for _, store := range []gc.Store{one, two} {
		s.load(store)
	}
	s.must(one.Save(s.Context(), a))
	s.conflict(two.Save(s.Context(), b), "both saw none")
	s.conflict(two.Save(s.Context(), nil), "one saw none and saves none")
	s.holds(a)

	s.load(two)
	s.must(two.Save(s.Context(), a.Union(b)))
	s.conflict(one.Save(s.Context(), b), "saved by the other since")
	s.conflict(one.Save(s.Context(), nil), "emptied though saved by the other since")
	s.holds(a.Union(b))

	s.load(one)
	s.must(one.Save(s.Context(), nil))
	s.conflict(two.Save(s.Context(), a), "emptied by the other since")
	s.holds(nil)

	s.load(two)
	s.must(two.Save(s.Context(), b))
	s.must(two.Save(s.Context(), a))
	s.holds(a)
	s.conflict(s.open().Save(s.Context(), b), "a store that has loaded nothing overwrites nothing")
}

func (s *suite) conflict(err error, when string) {
	s.Helper()
	if !errors.Is(err, gc.ErrConflict) {
		s.Fatalf("%s: want ErrConflict, got %v", when, err)
	}
}

// concurrent lets several savers begin with the same inventory: one wins, and
// what is stored is what it saved and nothing of the others.
func (s *suite) concurrent() {
	const savers, rounds = 4, 5
	for round := range rounds {
		stores, invs := make([]gc.Store, savers), make([]gc.Inventory, savers)
		errs := make([]error, savers)
		for i := range stores {
			stores[i] = s.open()
			s.load(stores[i])
			invs[i] = gc.NewInventory(configMap(fmt.Sprint("round-", round)), configMap(fmt.Sprint("saver-", i)))
		}
		var wg sync.WaitGroup
		for i := range stores {
			wg.Go(func() { errs[i] = stores[i].Save(s.Context(), invs[i]) })
		}
		wg.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				s.Fatalf("round %d: savers %d and %d both won", round, winner, i)
			case err == nil:
				winner = i
			default:
				s.conflict(err, fmt.Sprintf("round %d: saver %d", round, i))
			}
		}
		if winner < 0 {
			s.Fatalf("round %d: nobody won", round)
		}
		s.holds(invs[winner])
	}
}

func (s *suite) cancelled() {
	store := s.open()
	s.load(store)
	inv := gc.NewInventory(configMap("a"))
	s.must(store.Save(s.Context(), inv))
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	if _, err := store.Load(ctx); !errors.Is(err, context.Canceled) {
		s.Fatalf("Load: want the context's error, got %v", err)
	}
	s.load(store)
	for _, next := range []gc.Inventory{gc.NewInventory(configMap("b")), nil} {
		if err := store.Save(ctx, next); !errors.Is(err, context.Canceled) {
			s.Fatalf("Save: want the context's error, got %v", err)
		}
	}
	s.holds(inv)
}

// large grows, changes and shrinks an inventory.
func (s *suite) large() {
	var entries []gc.Entry
	for i := range Large {
		entries = append(entries, Entry(i))
	}
	all := gc.NewInventory(entries...)
	store := s.open()
	s.load(store)
	save := func(inv gc.Inventory) {
		s.Helper()
		s.must(store.Save(s.Context(), inv))
		s.holds(inv)
	}
	save(all[:Large/2])
	save(all)
	one := append(gc.Inventory(nil), all...)
	one[Large/3].Intent = "changed"
	save(one)
	save(append(one[:Large/4:Large/4], one[Large/4+1:]...))
	for i := range one {
		one[i].ResourceVersion += "1"
	}
	save(one)
	one[Large/5].Intent = "changed in place, in what was saved before"
	save(one)
	save(one[Large/2:])
	save(one[:10])
}

func configMap(name string) gc.Entry {
	return gc.Entry{Key: gc.Key{Kind: "ConfigMap", Namespace: "shop", Name: name}, Version: "v1", Resource: "configmaps"}
}

// Entry returns the i-th of any number of entries that are as hard to compress as
// real ones.
func Entry(i int) gc.Entry {
	rnd := rand.New(rand.NewPCG(uint64(i), 7)) //nolint:gosec // the same entries each time
	kinds := []struct{ group, kind, version, resource string }{
		{"apps", "Deployment", "v1", "deployments"}, {"", "Service", "v1", "services"},
		{"", "ConfigMap", "v1", "configmaps"}, {"networking.k8s.io", "Ingress", "v1", "ingresses"},
	}
	k := kinds[i%len(kinds)]
	e := gc.Entry{
		Key:     gc.Key{Group: k.group, Kind: k.kind, Namespace: fmt.Sprint("team-", i%50), Name: fmt.Sprint("service-", i)},
		Version: k.version, Resource: k.resource,
		UID:             types.UID(fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", rnd.Uint32(), rnd.IntN(1<<16), rnd.IntN(1<<12), rnd.IntN(1<<12), rnd.Int64N(1<<48))),
		ResourceVersion: fmt.Sprint(rnd.IntN(1 << 24)),
		Intent:          random(rnd, 16), Owned: random(rnd, 12),
	}
	if k.group != "" {
		e.Generation = 1
	}
	return e
}

// random is a digest in the form that appliers use.
func random(rnd *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32()) //nolint:gosec // any byte will do
	}
	return base64.RawStdEncoding.EncodeToString(b)
}
