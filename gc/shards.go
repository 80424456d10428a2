package gc

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// sizes say when an inventory is cut into shards. The tests make them small.
type sizes struct {
	inline  int // an inventory without shards gets some when it has more entries
	shrink  int // one with shards loses them when it has no more entries
	changes int // changes that are kept in the index before they go to the shards
	shard   int // entries of a new shard
	largest int // entries at which a shard is split
	least   int // entries below which a shard that changes joins its neighbour
}

var defaultSizes = sizes{inline: 2000, shrink: 500, changes: 1000, shard: 1000, largest: 2000, least: 250}

// leaf is a shard as it is stored: a run of the inventory, in the order of keys.
// The runs of an inventory's leaves follow each other without overlap. It is kept
// as it is stored, which takes a quarter of the room of its entries.
type leaf struct {
	ref   shardRef
	uid   types.UID // of the object
	data  []byte
	first Key
	seed  maphash.Seed
	sum   uint64
}

// newLeaf is the leaf of a shard that holds the entries.
func newLeaf(ref shardRef, uid types.UID, data []byte, inv Inventory) leaf {
	l := leaf{ref: ref, uid: uid, data: data, first: inv[0].Key, seed: maphash.MakeSeed()}
	l.sum = l.sumOf(inv)
	return l
}

// sumOf tells entries from others. Nobody can choose ones with the same sum, and
// by chance two have it once in 2^64.
func (l leaf) sumOf(inv Inventory) uint64 {
	var h maphash.Hash
	h.SetSeed(l.seed)
	for i := range inv {
		maphash.WriteComparable(&h, inv[i])
	}
	return h.Sum64()
}

func (l leaf) holds(inv Inventory) bool {
	return len(inv) == l.ref.Entries && l.sumOf(inv) == l.sum
}

func (l leaf) entries() (Inventory, error) {
	inv := make(Inventory, l.ref.Entries)
	return inv, new(decoder).decodeShard(l.ref, l.data, inv)
}

// piece is a run of an inventory that is to be stored. It is one with a leaf
// that holds the same entries, or it is written anew.
type piece struct {
	entries Inventory
	same    *leaf
}

// plan decides how to store an inventory beside the leaves that there are: in the
// index alone, as changes to the leaves, or, once there are many, with new leaves
// in the place of those that changed.
func plan(leaves []leaf, inv Inventory, z sizes) (index, []piece, error) {
	if len(inv) <= z.shrink || len(leaves) == 0 && len(inv) <= z.inline {
		return index{Changes: inv}, nil, nil
	}
	pieces := cut(leaves, inv)
	changes, removed, err := changesOf(leaves, pieces, z.changes)
	if err != nil {
		return index{}, nil, err
	}
	if len(leaves) > 0 && len(changes)+len(removed) <= z.changes {
		return index{Changes: changes, Removed: removed}, unchanged(leaves), nil
	}
	return index{}, split(join(pieces, z), z), nil
}

// rewrite plans without changes in the index, for when they do not fit.
func rewrite(leaves []leaf, inv Inventory, z sizes) []piece {
	return split(join(cut(leaves, inv), z), z)
}

func unchanged(leaves []leaf) []piece {
	out := make([]piece, len(leaves))
	for i := range leaves {
		out[i].same = &leaves[i]
	}
	return out
}

// cut divides an inventory at the first keys of the leaves.
func cut(leaves []leaf, inv Inventory) []piece {
	if len(leaves) == 0 {
		return []piece{{entries: inv}}
	}
	out := make([]piece, len(leaves))
	for i := range leaves {
		end := len(inv)
		if i+1 < len(leaves) {
			end, _ = inv.search(leaves[i+1].first)
		}
		out[i].entries = inv[:end]
		if leaves[i].holds(out[i].entries) {
			out[i].same = &leaves[i]
		}
		inv = inv[end:]
	}
	return out
}

// changesOf compares what cut made of the same leaves with them. It stops when
// there are more changes than most.
func changesOf(leaves []leaf, pieces []piece, most int) (changes, removed Inventory, err error) {
	for i, p := range pieces {
		if p.same != nil || i >= len(leaves) || len(changes)+len(removed) > most {
			continue
		}
		old, err := leaves[i].entries()
		if err != nil {
			return nil, nil, err
		}
		for _, e := range p.entries {
			if before, ok := old.Lookup(e.Key); !ok || before != e {
				changes = append(changes, e)
			}
		}
		for _, e := range old.Minus(p.entries) {
			removed = append(removed, Entry{Key: e.Key})
		}
	}
	return changes, removed, nil
}

// join drops pieces that became empty, and puts those that became small together
// with a neighbour.
func join(pieces []piece, z sizes) []piece {
	var out []piece
	for _, p := range pieces {
		n := len(out)
		small := func(p piece) bool { return p.same == nil && len(p.entries) < z.least }
		switch {
		case len(p.entries) == 0:
		case n > 0 && (small(p) || small(out[n-1])):
			out[n-1] = piece{entries: slices.Concat(out[n-1].entries, p.entries)}
		default:
			out = append(out, p)
		}
	}
	return out
}

// split divides pieces that became too large into even parts.
func split(pieces []piece, z sizes) []piece {
	var out []piece
	for _, p := range pieces {
		if p.same != nil || len(p.entries) <= z.largest {
			out = append(out, p)
			continue
		}
		parts := (len(p.entries) + z.shard - 1) / z.shard
		for i := range parts {
			out = append(out, piece{entries: p.entries[i*len(p.entries)/parts : (i+1)*len(p.entries)/parts]})
		}
	}
	return out
}

// block is a piece that is ready to be written.
type block struct {
	piece
	ref  shardRef // without number
	data []byte
}

// encodeBlocks encodes pieces, in halves where one is too large for an object.
func encodeBlocks(pieces []piece) ([]block, error) {
	var out []block
	for _, p := range pieces {
		blocks, err := encodePiece(p)
		if err != nil {
			return nil, err
		}
		out = append(out, blocks...)
	}
	if len(out) > maxShards {
		return nil, fmt.Errorf("%d shards of at most %d: %w", len(out), maxShards, ErrTooLarge)
	}
	total := 0
	for _, b := range out {
		total += b.ref.Bytes
	}
	if total > maxTotalBytes {
		return nil, fmt.Errorf("%d bytes of at most %d before compression: %w", total, maxTotalBytes, ErrTooLarge)
	}
	return out, nil
}

func encodePiece(p piece) ([]block, error) {
	if p.same != nil {
		return []block{{piece: p, ref: p.same.ref}}, nil
	}
	data, inflated, err := encodeEntries(p.entries)
	if err != nil {
		return nil, err
	}
	if len(data) <= MaxStoredBytes && inflated <= maxInflatedBytes {
		ref := shardRef{Digest: digestOf(data), Entries: len(p.entries), Bytes: inflated}
		return []block{{p, ref, data}}, nil
	}
	half := len(p.entries) / 2
	if half == 0 {
		return nil, fmt.Errorf("the entry of %s alone takes %d bytes: %w", p.entries[0].Key, inflated, ErrTooLarge)
	}
	left, err := encodePiece(piece{entries: p.entries[:half]})
	if err != nil {
		return nil, err
	}
	right, err := encodePiece(piece{entries: p.entries[half:]})
	return append(left, right...), err
}

// whole makes the inventory of the entries of the leaves. It changes them.
func (x index) whole(leaves []leaf, inv Inventory) (Inventory, error) {
	rest, last := inv, Key{}
	for _, l := range leaves {
		if last.Compare(l.first) >= 0 {
			return nil, fmt.Errorf("shard %d begins before the one ahead of it ends", l.ref.Number)
		}
		last = rest[l.ref.Entries-1].Key
		rest = rest[l.ref.Entries:]
	}
	if len(x.Removed) > 0 {
		inv = slices.DeleteFunc(inv, func(e Entry) bool { return x.Removed.Has(e.Key) })
	}
	var added Inventory
	for _, e := range x.Changes {
		if i, ok := inv.search(e.Key); ok {
			inv[i] = e
		} else {
			added = append(added, e)
		}
	}
	if len(added) > 0 {
		inv = inv.Union(added)
	}
	if len(inv) > MaxEntries {
		return nil, errors.New("it holds more entries than a store may")
	}
	return inv, nil
}
