package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/gitopskit/gitopskit/internal/clip"
)

// DefaultMaxBytes is the largest encoded event that [Decode] reads unless it is
// told otherwise: enough for one whose every field is as long as it may be.
const DefaultMaxBytes = 3 << 20

// DecodeOptions bounds what [Decode] reads. The zero value is ready to use.
type DecodeOptions struct {
	// MaxBytes is the largest encoded event, in bytes. Zero means
	// [DefaultMaxBytes].
	MaxBytes int64
}

// Decode reads one event as JSON to the end of r and validates it. Fields that it
// does not know are passed over, so that newer senders are understood.
//
// The error wraps [ErrTooLarge] where there is more than the limit allows, and
// [ErrInvalid] where what was read is no valid event; other errors come from r.
func Decode(r io.Reader, opts DecodeOptions) (Event, error) {
	limit := opts.MaxBytes
	if limit <= 0 {
		limit = DefaultMaxBytes
	}
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return Event{}, fmt.Errorf("read an event: %w", err)
	}
	if int64(len(data)) > limit {
		return Event{}, fmt.Errorf("event: %w: the limit is %d bytes", ErrTooLarge, limit)
	}
	var e Event
	if err := json.Unmarshal(data, &e); err != nil {
		return Event{}, fmt.Errorf("%w: %s", ErrInvalid, complaint(err))
	}
	if bytes.Equal(bytes.TrimSpace(data), []byte("null")) {
		return Event{}, fmt.Errorf("%w: null is no event", ErrInvalid)
	}
	return e, e.Validate()
}

// complaint says what a decoder found wrong without repeating much of the input.
func complaint(err error) string {
	if bad := (*json.UnmarshalTypeError)(nil); errors.As(err, &bad) {
		return fmt.Sprintf("field %q cannot be %s", clip.Text(bad.Field, 100), clip.Text(bad.Value, 100))
	}
	return clip.Text(err.Error(), 200)
}
