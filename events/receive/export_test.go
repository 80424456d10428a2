package receive

import "time"

// SetClock replaces the handler's clock, before it serves.
func (h *Handler) SetClock(now func() time.Time) { h.now = now }

// Issuers tells how many issuers' keys are kept.
func (h *Handler) Issuers() int {
	h.keys.mu.Lock()
	defer h.keys.mu.Unlock()
	return len(h.keys.sets)
}

// RefuseLocal is what the handler's own transport asks before it connects.
func RefuseLocal(address string) error { return refuseLocal("tcp", address, nil) }
