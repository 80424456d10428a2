package events

import "context"

// Sink takes events to where somebody reads them. A recorder calls Send from
// several goroutines, but never for two events about one object at once.
type Sink interface {
	// Send delivers one event and returns once it is delivered or has failed.
	// It must return soon after ctx ends.
	//
	// The recorder sends again after an error, unless the error or one that it
	// wraps has a method Terminal() bool that returns true, see [Permanent]. An
	// error with a method RetryAfter() time.Duration that returns more than zero
	// tells how long the sink wants to be left alone.
	Send(ctx context.Context, e Event) error
}

// Flusher is a [Sink] that may hold back part of what it has taken. A recorder
// calls Flush every [FlushInterval] as long as events go to the sink, and at the
// end of [Recorder.Flush]. Flush may be called at the same time as Send.
type Flusher interface {
	Sink
	Flush(ctx context.Context) error
}

// RepeatCounter is a [Sink] that wants to see each repeat of an event because it
// counts them. A recorder does not de-duplicate for it unless it is told to.
type RepeatCounter interface {
	Sink
	CountsRepeats() bool
}

// SinkFunc is a function as a [Sink].
type SinkFunc func(ctx context.Context, e Event) error

// Send calls f.
func (f SinkFunc) Send(ctx context.Context, e Event) error { return f(ctx, e) }
