package events

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

var (
	// ErrQueueFull says that a sink's queue had no room for an event.
	ErrQueueFull = errors.New("the queue is full")
	// ErrClosed says that the recorder was closed.
	ErrClosed = errors.New("the recorder is closed")
	// ErrExpired says that an event was too old to be sent, see [Spool].
	ErrExpired = errors.New("the event has expired")
	// ErrSpoolInUse says that a spool's folder belongs to another process, or to
	// another route.
	ErrSpoolInUse = errors.New("the spool is in use")
	// ErrInvalid says that an event misses a field or exceeds a bound.
	ErrInvalid = errors.New("invalid event")
	// ErrTooLarge says that an encoded event exceeds its bound.
	ErrTooLarge = errors.New("too large")
)

// InvalidEventError says which field of an event is wrong. It wraps [ErrInvalid].
type InvalidEventError struct {
	Object  ObjectReference // as far as it is known
	Field   string          // its name in JSON
	Problem string
}

func (e *InvalidEventError) Error() string {
	return fmt.Sprintf("%v about %s: %s %s", ErrInvalid, bounded(e.Object), e.Field, e.Problem)
}

func (e *InvalidEventError) Unwrap() error { return ErrInvalid }

// Terminal is true: the same event will be invalid again.
func (e *InvalidEventError) Terminal() bool { return true }

// bounded names an object that may be the thing that is too long.
func bounded(o ObjectReference) string {
	const longest = 600 // a kind, a namespace and a name as the API server bounds them
	switch s := o.String(); {
	case o.Kind == "" && o.Name == "":
		return "an unnamed object"
	case len(s) > longest:
		return "an object whose name is too long to repeat"
	default:
		return s
	}
}

// DroppedError says that some sinks did not accept an event. It wraps
// [ErrQueueFull] or [ErrClosed].
type DroppedError struct {
	Object ObjectReference
	Sinks  []string // the names of the sinks that did not accept it
	Err    error
}

func (e *DroppedError) Error() string {
	msg := fmt.Sprintf("event about %s dropped for %s: %v", e.Object, strings.Join(e.Sinks, ", "), e.Err)
	if errors.Is(e.Err, ErrQueueFull) {
		msg += "; the sink is slower than the events, see its failures or raise QueueSize"
	}
	return msg
}

func (e *DroppedError) Unwrap() error { return e.Err }

// UndeliveredError says how many accepted events had not reached their sinks when
// a flush or the recorder itself ended.
type UndeliveredError struct {
	Events map[string]int // by the name of the sink
	Err    error          // why nobody waited any longer
}

func (e *UndeliveredError) Error() string {
	return fmt.Sprintf("%s not delivered: %v", perSink(e.Events), e.Err)
}

func (e *UndeliveredError) Unwrap() error { return e.Err }

// SendError says why a sink did not take an event. It holds no part of an address but
// scheme and host, and nothing that the server of a webhook wrote.
type SendError struct {
	Target string        // where the event was sent to
	Status int           // HTTP status of the answer; zero where there was none
	Reason string        // what went wrong
	After  time.Duration // how long the remote party asks to be left alone; zero where it does not
	Final  bool          // whether trying again is useless
	Err    error         // the end of the context, where that was the cause
}

func (e *SendError) Error() string {
	return fmt.Sprintf("send event to %s: %s", e.Target, e.Reason)
}

func (e *SendError) Unwrap() error { return e.Err }

// Terminal reports whether trying again is useless.
func (e *SendError) Terminal() bool { return e.Final }

// RetryAfter is how long the remote party asks to be left alone.
func (e *SendError) RetryAfter() time.Duration { return e.After }

// Permanent marks an error as one that trying again cannot cure, for sinks that
// have no error type of their own. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ error }

func (e *permanentError) Unwrap() error  { return e.error }
func (e *permanentError) Terminal() bool { return true }

// terminal reports whether an error says that trying again cannot cure it.
func terminal(err error) bool {
	var t interface{ Terminal() bool }
	return errors.As(err, &t) && t.Terminal()
}

// retryAfter returns how long an error asks to wait, or zero.
func retryAfter(err error) time.Duration {
	var t interface{ RetryAfter() time.Duration }
	if !errors.As(err, &t) {
		return 0
	}
	return max(t.RetryAfter(), 0)
}

// perSink writes counts as "4 events (3 for chat, 1 for kubernetes)".
func perSink(counts map[string]int) string {
	total := 0
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		total += counts[name]
		parts = append(parts, fmt.Sprintf("%d for %s", counts[name], name))
	}
	return fmt.Sprintf("%d events (%s)", total, strings.Join(parts, ", "))
}
