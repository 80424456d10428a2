package gc

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// MaxEntries is the most that a ClusterStore holds.
	MaxEntries = 500_000

	// MaxStoredBytes is the most that a ClusterStore writes into one object,
	// compressed. The API server refuses objects somewhat above it.
	MaxStoredBytes = 900 << 10

	// Whoever may write the objects could put a decompression bomb there, so what
	// is read back is bounded, by object and in all.
	maxInflatedBytes = 8 << 20
	maxTotalBytes    = 256 << 20
	maxBlockEntries  = 10_000
	maxPartBytes     = MaxStoredBytes / 3 // leaves room for the list of shards
	maxShards        = 2_000
	maxStale         = 2 * maxShards
	maxIndexBytes    = 1 << 20

	formatVersion = 2
)

// ErrTooLarge says that an inventory does not fit into its store. Split the set.
var ErrTooLarge error = tooLargeError{}

type tooLargeError struct{}

func (tooLargeError) Error() string {
	return "the inventory is too large for its store; split the set into several"
}

// Terminal says that trying again cannot help.
func (tooLargeError) Terminal() bool { return true }

// index is what the first object holds: which shards count, and what changed
// since they were written. The inventory is the shards' entries, without Removed,
// with Changes in place of or beside them.
type index struct {
	Shards  []shardRef
	Changes Inventory
	Removed Inventory // their keys alone matter
	Stale   []staleRef
}

// staleRef names a shard that counts no more and may still be there.
type staleRef struct {
	Number int       `json:"number"`
	UID    types.UID `json:"uid"`

	seen bool // by this store itself, and not only read in the index
}

// shardRef names a shard and fixes its content.
type shardRef struct {
	Number  int    `json:"number"`  // the object's name is that of the index, a dash and this
	Digest  []byte `json:"digest"`  // of the stored bytes: sha256, the first 16
	Entries int    `json:"entries"` // in it
	Bytes   int    `json:"bytes"`   // that it inflates to
}

// id tells contents apart, wherever they are stored.
func (r shardRef) id() string { return fmt.Sprintf("%d %x", r.Number, r.Digest) }

func digestOf(data []byte) []byte {
	sum := sha256.Sum256(data)
	return sum[:16]
}

// The parts of an index object, and the only one of a shard.
const (
	partShards  = "shards.json"
	partChanges = "changes"
	partRemoved = "removed"
	partEntries = "entries"
)

type shardsDocument struct {
	Format int        `json:"format"`
	Shards []shardRef `json:"shards,omitempty"`
	Stale  []staleRef `json:"stale,omitempty"`
}

// encode returns the parts of the index object.
func (x index) encode() (map[string][]byte, error) {
	doc, err := json.Marshal(shardsDocument{formatVersion, x.Shards, x.Stale})
	if err != nil {
		return nil, err
	}
	parts := map[string][]byte{partShards: doc}
	stored := len(doc)
	for name, inv := range map[string]Inventory{partChanges: x.Changes, partRemoved: x.Removed} {
		if len(inv) == 0 {
			continue
		}
		data, inflated, err := encodeEntries(inv)
		if err != nil {
			return nil, err
		}
		if inflated > maxInflatedBytes || len(inv) > maxBlockEntries || len(data) > maxPartBytes {
			return nil, ErrTooLarge
		}
		parts[name] = data
		stored += len(data)
	}
	if stored > MaxStoredBytes {
		return nil, ErrTooLarge
	}
	return parts, nil
}

func decodeIndex(parts map[string][]byte) (index, error) {
	var x index
	doc, err := decodeShards(parts[partShards])
	if err != nil {
		return index{}, fmt.Errorf("%s: %w", partShards, err)
	}
	x.Shards, x.Stale = doc.Shards, doc.Stale
	var d decoder
	if data := parts[partChanges]; len(data) > 0 {
		if x.Changes, err = d.decode(data, maxInflatedBytes); err == nil {
			err = x.Changes.check()
		}
		if err != nil {
			return index{}, fmt.Errorf("%s: %w", partChanges, err)
		}
	}
	if data := parts[partRemoved]; len(data) > 0 {
		if x.Removed, err = d.decode(data, maxInflatedBytes); err != nil {
			return index{}, fmt.Errorf("%s: %w", partRemoved, err)
		}
	}
	return x, nil
}

func decodeShards(data []byte) (shardsDocument, error) {
	if len(data) == 0 {
		return shardsDocument{}, errors.New("it is missing")
	}
	if len(data) > maxIndexBytes {
		return shardsDocument{}, fmt.Errorf("it has more than %d bytes", maxIndexBytes)
	}
	var doc shardsDocument
	if err := json.Unmarshal(data, &doc); err != nil {
		return shardsDocument{}, err
	}
	if doc.Format != formatVersion {
		return shardsDocument{}, fmt.Errorf("its format is %d and this version reads %d", doc.Format, formatVersion)
	}
	if len(doc.Stale) > maxStale {
		return shardsDocument{}, fmt.Errorf("it names %d shards to delete of at most %d", len(doc.Stale), maxStale)
	}
	if len(doc.Shards) > maxShards {
		return shardsDocument{}, fmt.Errorf("it names %d shards of at most %d", len(doc.Shards), maxShards)
	}
	entries, total := 0, 0
	numbers := map[int]bool{}
	for _, s := range doc.Shards {
		switch {
		case s.Number < 0 || numbers[s.Number] || s.Number > maxNumber:
			return shardsDocument{}, fmt.Errorf("shard number %d is out of range or named twice", s.Number)
		case s.Entries <= 0 || s.Entries > maxBlockEntries:
			return shardsDocument{}, fmt.Errorf("shard %d claims %d entries of at most %d", s.Number, s.Entries, maxBlockEntries)
		case s.Bytes <= 0 || s.Bytes > maxInflatedBytes:
			return shardsDocument{}, fmt.Errorf("shard %d claims %d bytes of at most %d", s.Number, s.Bytes, maxInflatedBytes)
		}
		numbers[s.Number] = true
		entries += s.Entries
		total += s.Bytes
	}
	for _, l := range doc.Stale {
		if l.Number < 0 || l.Number > maxNumber || numbers[l.Number] {
			return shardsDocument{}, fmt.Errorf("shard number %d is to be deleted, and out of range or in use", l.Number)
		}
	}
	if entries > MaxEntries || total > maxTotalBytes {
		return shardsDocument{}, fmt.Errorf("its shards hold %d entries of at most %d in %d bytes of at most %d", entries, MaxEntries, total, maxTotalBytes)
	}
	return doc, nil
}
