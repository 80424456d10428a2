package gc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"

	"golang.org/x/sync/errgroup"

	"github.com/gitopskit/gitopskit/internal/kube"
)

// ClusterStore keeps an inventory in ConfigMaps or Secrets of one namespace. It
// holds names, versions and digests, no content of any object.
//
// The object that bears the store's name is the index. A small inventory is in it
// whole. A larger one is cut into shards, objects named after the index with a
// number behind: the index names those that count, with their digests, and holds
// what changed since they were written. A shard is never changed: it is created,
// named by the index, and deleted when the index names it no more. So the one
// write of the index replaces the inventory, all or nothing, and its
// resourceVersion tells two writers apart.
//
// It needs get, create, update and delete on these objects, and no list. An empty
// inventory has none.
type ClusterStore struct {
	objects objects
	name    string
	options StoreOptions
	sizes   sizes

	mu     sync.Mutex
	index  stored // what was last loaded or saved; zero if there is none
	leaves []leaf // the shards that it names
	stale  []staleRef
}

// StoreOptions has a usable zero value.
type StoreOptions struct {
	// Labels are put on every object of the store, beside app.kubernetes.io/managed-by.
	Labels map[string]string
	// ApplySet marks the index as the parent of an ApplySet for other tools, if it
	// is not empty: it names the tool that manages the set, as in "shop/v1.4.0". Whoever
	// applies the objects labels them with ApplySetMember(store.Key()).
	ApplySet string
}

// maxNumber is the largest number of a shard. There are more than maxShards of
// them, for the shards that are being replaced and those of saves that failed.
const maxNumber = 9999

// NewConfigMapStore keeps the inventory in the ConfigMap namespace/name of the
// cluster that cfg points at, and in ConfigMaps named name-0, name-1 and so on.
// The namespace must exist. The name has at most 248 characters.
func NewConfigMapStore(cfg *rest.Config, namespace, name string, opts StoreOptions) (*ClusterStore, error) {
	return newClusterStore(cfg, configMapKind, namespace, name, opts)
}

// NewSecretStore is NewConfigMapStore with Secrets in the place of ConfigMaps, of
// the type gitopskit.dev/inventory.
func NewSecretStore(cfg *rest.Config, namespace, name string, opts StoreOptions) (*ClusterStore, error) {
	return newClusterStore(cfg, secretKind, namespace, name, opts)
}

func newClusterStore(cfg *rest.Config, kind, namespace, name string, opts StoreOptions) (*ClusterStore, error) {
	if namespace == "" || name == "" {
		return nil, errors.New("an inventory store needs a namespace and a name")
	}
	if why := validation.IsDNS1123Label(namespace); len(why) > 0 {
		return nil, fmt.Errorf("inventory store: the namespace %q is invalid: %s", namespace, why[0])
	}
	if why := validation.IsDNS1123Subdomain(shardName(name, maxNumber)); len(why) > 0 {
		return nil, fmt.Errorf("inventory store: the name %q is invalid: with the number of a shard behind it, %s", name, why[0])
	}
	c, err := kube.New(cfg)
	if err != nil {
		return nil, err
	}
	s := &ClusterStore{objects: newObjects(c, kind, namespace, name, opts.Labels), name: name, options: opts, sizes: defaultSizes}
	return s, nil
}

func shardName(name string, number int) string { return fmt.Sprintf("%s-%d", name, number) }

// Key is that of the index object.
func (s *ClusterStore) Key() Key {
	return Key{Kind: s.objects.kind, Namespace: s.objects.namespace, Name: s.name}
}

func (s *ClusterStore) where() string { return s.Key().String() }

// concurrency is the number of shards that are read or written at a time.
const concurrency = 8

// loadAttempts bounds how often a Load starts over because somebody saved and
// deleted the shards that it was about to read.
const loadAttempts = 5

// Load implements Store. It reads the index, and those shards that this store has
// not read or written before.
func (s *ClusterStore) Load(ctx context.Context) (Inventory, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.leaves
	s.forget() // after an error nothing is known, and Save overwrites nothing
	var last stored
	var lastErr error
	for range loadAttempts {
		object, parts, err := s.objects.get(ctx, s.name)
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, s.fail("load", err)
		}
		if object.version == last.version && object.uid == last.uid {
			return nil, lastErr // the index stands by a shard that is not there
		}
		inv, leaves, stale, err := s.read(ctx, parts, known)
		var damaged *DamagedError
		switch {
		case err == nil:
			s.index, s.leaves, s.stale = object, leaves, stale
			return inv, nil
		case !errors.As(err, &damaged):
			return nil, err
		}
		last, lastErr = object, err
	}
	return nil, fmt.Errorf("load the inventory in %s: %w", s.where(), ErrConflict)
}

func (s *ClusterStore) forget() { s.index, s.leaves, s.stale = stored{}, nil, nil }

// read makes an inventory of the index's parts.
func (s *ClusterStore) read(ctx context.Context, parts map[string][]byte, known []leaf) (Inventory, []leaf, []staleRef, error) {
	x, err := decodeIndex(parts)
	if err != nil {
		return nil, nil, nil, &DamagedError{Where: s.where(), Err: err}
	}
	leaves, inv, err := s.readLeaves(ctx, x.Shards, known)
	if err != nil {
		return nil, nil, nil, err
	}
	inv, err = x.whole(leaves, inv)
	if err != nil {
		return nil, nil, nil, &DamagedError{Where: s.where(), Err: err}
	}
	return inv, leaves, x.Stale, nil
}

// readLeaves reads the shards, and all their entries into one piece of memory.
func (s *ClusterStore) readLeaves(ctx context.Context, refs []shardRef, known []leaf) ([]leaf, Inventory, error) {
	cache := make(map[string]leaf, len(known))
	for _, l := range known {
		cache[l.ref.id()] = l
	}
	total := 0
	for _, ref := range refs {
		total += ref.Entries
	}
	out, inv := make([]leaf, len(refs)), make(Inventory, total)
	rest := inv
	decoders := sync.Pool{New: func() any { return new(decoder) }}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(concurrency)
	for i, ref := range refs {
		entries := rest[:ref.Entries]
		rest = rest[ref.Entries:]
		g.Go(func() (err error) {
			d, _ := decoders.Get().(*decoder)
			defer decoders.Put(d)
			if l, ok := cache[ref.id()]; ok {
				out[i] = l
				return d.decodeShard(ref, l.data, entries)
			}
			out[i], err = s.readLeaf(ctx, ref, d, entries)
			return err
		})
	}
	return out, inv, g.Wait()
}

func (s *ClusterStore) readLeaf(ctx context.Context, ref shardRef, d *decoder, entries Inventory) (leaf, error) {
	name := shardName(s.name, ref.Number)
	damaged := func(err error) error {
		return &DamagedError{Where: s.where(), Err: fmt.Errorf("shard %s: %w", name, err)}
	}
	object, parts, err := s.objects.get(ctx, name)
	if apierrors.IsNotFound(err) {
		return leaf{}, damaged(errors.New("it is missing"))
	}
	if err != nil {
		return leaf{}, s.fail("load", err)
	}
	data := parts[partEntries]
	if err := d.decodeShard(ref, data, entries); err != nil {
		return leaf{}, damaged(err)
	}
	return newLeaf(ref, object.uid, data, entries), nil
}

// Save implements Store. A change of up to 1,000 entries since the shards were
// written is one request, that of the index.
func (s *ClusterStore) Save(ctx context.Context, inv Inventory) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if inv.checkKeys() != nil { // perhaps for want of order alone
		inv = NewInventory(inv...)
	}
	if err := inv.check(); err != nil {
		return s.fail("save", err)
	}
	if len(inv) > MaxEntries {
		return s.fail("save", fmt.Errorf("%d entries of at most %d: %w", len(inv), MaxEntries, ErrTooLarge))
	}
	if len(inv) == 0 {
		return s.remove(ctx)
	}
	x, blocks, err := s.prepare(inv)
	if err != nil {
		return s.fail("save", err)
	}
	leaves, leftover, err := s.writeBlocks(ctx, blocks)
	if err != nil {
		return s.fail("save", err)
	}
	for _, l := range leaves {
		x.Shards = append(x.Shards, l.ref)
	}
	x.Stale = slices.Concat(s.stale, leftover, dropped(s.leaves, leaves))
	if err := s.commit(ctx, x, inv); err != nil {
		return err
	}
	s.leaves = leaves
	s.tidy(ctx, x, inv)
	return nil
}

// tidy deletes the shards that count no more, and says so in the index. The
// inventory is saved by now: what fails here is tried again by the next save.
func (s *ClusterStore) tidy(ctx context.Context, x index, inv Inventory) {
	s.stale = s.clean(ctx, x.Stale)
	if len(s.stale) < len(x.Stale) {
		x.Stale = s.stale
		_ = s.commit(ctx, x, inv)
	}
}

// prepare decides how to store an inventory, and encodes its shards.
func (s *ClusterStore) prepare(inv Inventory) (index, []block, error) {
	x, pieces, err := plan(s.leaves, inv, s.sizes)
	if err != nil {
		return index{}, nil, err
	}
	if _, err := x.encode(); errors.Is(err, ErrTooLarge) {
		x, pieces = index{}, rewrite(s.leaves, inv, s.sizes)
	} else if err != nil {
		return index{}, nil, err
	}
	blocks, err := encodeBlocks(pieces)
	return x, blocks, err
}

// commit writes the index. It alone decides whether the save took place.
func (s *ClusterStore) commit(ctx context.Context, x index, inv Inventory) error {
	x.Stale = x.Stale[:min(len(x.Stale), maxStale)] // a later save meets the others
	parts, err := x.encode()
	if err != nil {
		return s.fail("save", err)
	}
	labels, annotations := map[string]string(nil), map[string]string(nil)
	if s.options.ApplySet != "" {
		labels, annotations = ApplySetParent(s.Key(), inv, s.options.ApplySet)
	}
	written, err := s.objects.put(ctx, s.name, s.index, parts, labels, annotations)
	if err != nil {
		return s.fail("save", err)
	}
	s.index = written
	return nil
}

// remove deletes everything, the index first.
func (s *ClusterStore) remove(ctx context.Context) error {
	if s.index.version == "" {
		_, _, err := s.objects.get(ctx, s.name)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err == nil {
			return fmt.Errorf("save the inventory in %s: %w", s.where(), ErrConflict)
		}
		return s.fail("save", err)
	}
	if err := s.removeShards(ctx); err != nil {
		return err
	}
	if err := s.objects.remove(ctx, s.name, s.index.uid, s.index.version); err != nil {
		return s.fail("save", err)
	}
	s.forget()
	return nil
}

// removeShards leaves an index without entries, which still knows what is to be
// deleted, and deletes that.
func (s *ClusterStore) removeShards(ctx context.Context) error {
	if len(s.leaves) == 0 && len(s.stale) == 0 {
		return nil
	}
	n := s.freeNumbers()
	if err := s.probe(ctx, n); err != nil {
		return s.fail("save", err)
	}
	left := slices.Concat(s.stale, n.leftover, dropped(s.leaves, nil))
	for range 2 { // once more for shards that were not those that we knew
		if err := s.commit(ctx, index{Stale: left}, nil); err != nil {
			return err
		}
		s.leaves, s.stale = nil, left
		if left = s.clean(ctx, left); len(left) == 0 {
			s.stale = nil
			return nil
		}
	}
	return s.fail("save", fmt.Errorf("shard %s could not be deleted", shardName(s.name, left[0].Number)))
}

func (s *ClusterStore) fail(op string, err error) error {
	gone := apierrors.IsNotFound(err) && op == "save" && s.index.version != ""
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || gone {
		return fmt.Errorf("%s the inventory in %s: %w", op, s.where(), ErrConflict)
	}
	return &StoreError{Op: op, Where: s.where(), Err: err}
}
