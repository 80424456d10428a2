package events

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"sync"
	"time"
)

// maxRecent is how many delivered events a sink's memory holds. A storm of
// different events pushes the oldest out, so that an equal one may be delivered
// twice.
const maxRecent = 8192

type fingerprint [sha256.Size]byte

// fingerprint is equal for events that say the same: about the same object, with
// the same severity, reason, message and metadata, whenever they happened.
func (e Event) fingerprint() fingerprint {
	text := make([]byte, 0, 512+len(e.Message))
	write := func(s string) {
		text = binary.LittleEndian.AppendUint64(text, uint64(len(s)))
		text = append(text, s...)
	}
	o := e.InvolvedObject
	for _, s := range [...]string{
		o.APIVersion, o.Kind, o.Namespace, o.Name, o.UID, o.FieldPath,
		string(e.Severity), e.Reason, e.Message, e.ReportingController,
	} {
		write(s)
	}
	for _, k := range slices.Sorted(maps.Keys(e.Metadata)) {
		write(k)
		write(e.Metadata[k])
	}
	return sha256.Sum256(text)
}

// recent remembers for a while what was delivered.
type recent struct {
	window time.Duration // zero or less: nothing is remembered

	mu    sync.Mutex
	seen  map[fingerprint]struct{}
	order []delivered // the oldest first
}

type delivered struct {
	mark fingerprint
	at   time.Time
}

func newRecent(window time.Duration) *recent {
	return &recent{window: window, seen: map[fingerprint]struct{}{}}
}

// has reports whether an event with the fingerprint was delivered within the
// window.
func (r *recent) has(p fingerprint, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.order) > 0 && now.Sub(r.order[0].at) >= r.window {
		r.forgetOldest()
	}
	_, ok := r.seen[p]
	return ok
}

// add remembers a fingerprint that has is false for.
func (r *recent) add(p fingerprint, now time.Time) {
	if r.window <= 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.order) == maxRecent {
		r.forgetOldest()
	}
	r.seen[p] = struct{}{}
	r.order = append(r.order, delivered{p, now})
}

func (r *recent) forgetOldest() {
	delete(r.seen, r.order[0].mark)
	r.order = r.order[1:]
}
