package gc

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// Store keeps one inventory. Its methods are safe for concurrent use, but it
// serves one Reconcile at a time: two that run at once, in one process or in
// several, each need a Store of their own, so that they see each other's writes.
type Store interface {
	// Load reads the inventory. One that was never saved is empty, not an error.
	Load(ctx context.Context) (Inventory, error)
	// Save replaces it, all or nothing: after an error the previous inventory
	// stands, or the new one where the answer was lost on the way; Load before the
	// next Save. It fails with ErrConflict when somebody else saved since this
	// store's last Load or Save.
	Save(ctx context.Context, inv Inventory) error
}

// ErrConflict says that somebody else saved the inventory in the meantime. Load
// it again and start over.
var ErrConflict = errors.New("the inventory was changed by somebody else in the meantime; load it again and retry")

// MemoryStore keeps an inventory in memory, for tests and for callers that store
// it elsewhere. The zero value is empty.
type MemoryStore struct {
	mu     sync.Mutex
	shared *memory // nil until it is needed
	seen   int     // the version of what was last loaded or saved
}

// memory is what the stores of one inventory share.
type memory struct {
	mu      sync.Mutex
	inv     Inventory
	version int
}

// Another returns another Store of the same inventory. The two see each other's
// writes, as the stores of two processes do.
func (s *MemoryStore) Another() *MemoryStore {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &MemoryStore{shared: s.memory()}
}

func (s *MemoryStore) memory() *memory {
	if s.shared == nil {
		s.shared = &memory{}
	}
	return s.shared
}

// Load implements Store.
func (s *MemoryStore) Load(ctx context.Context) (Inventory, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.memory()
	m.mu.Lock()
	defer m.mu.Unlock()
	s.seen = m.version
	return slices.Clone(m.inv), nil
}

// Save implements Store.
func (s *MemoryStore) Save(ctx context.Context, inv Inventory) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.memory()
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.seen != m.version {
		return ErrConflict
	}
	m.inv = NewInventory(inv...)
	m.version++
	s.seen = m.version
	return nil
}
