package events

import (
	"context"
	"time"
)

// lifetime is the context of a recorder's work. That work belongs to no call, since
// whoever emits an event does not wait for it; it ends when the recorder's owner
// closes the channel.
type lifetime chan struct{}

var _ context.Context = lifetime(nil)

func (lifetime) Deadline() (time.Time, bool) { return time.Time{}, false }
func (l lifetime) Done() <-chan struct{}     { return l }
func (lifetime) Value(any) any               { return nil }

func (l lifetime) Err() error {
	select {
	case <-l:
		return context.Canceled
	default:
		return nil
	}
}
