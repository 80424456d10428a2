package events_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gitopskit/gitopskit/events"
	"github.com/stretchr/testify/require"
)

// What is decoded is valid, and survives a round trip.
func FuzzDecode(f *testing.F) {
	valid, err := json.Marshal(event("web", "fine"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(valid)
	f.Add([]byte(`{"involvedObject":{"kind":"Namespace","name":"shop"},"severity":"trace","timestamp":"2026-08-21T12:00:00.123456789+02:00","message":"<&>\ud83d\ude00","reason":"R","metadata":{"a":"b"},"reportingController":"c"}`))
	f.Add([]byte(`{"InvolvedObject":{},"severity":null,"timestamp":null}`))
	f.Add([]byte(`{"timestamp":"0000-01-01T00:00:00Z"}`))
	f.Add([]byte(strings.Repeat("[", 100)))
	f.Add([]byte(`{"involvedObject":{"kind":"0","name":"0"},"severity":"info","timestamp":"0000-01-01T00:00:00+01:00","message":"0","reason":"0","reportingController":"0"}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := events.Decode(strings.NewReader(string(data)), events.DecodeOptions{MaxBytes: 1 << 16})
		if err != nil {
			require.Less(t, len(err.Error()), 2000)
			return
		}
		require.NoError(t, e.Validate())
		wire, err := json.Marshal(e)
		require.NoError(t, err)
		again, err := events.Decode(strings.NewReader(string(wire)), events.DecodeOptions{})
		require.NoError(t, err)
		require.Equal(t, e.Timestamp.Unix(), again.Timestamp.Unix())
		again.Timestamp = e.Timestamp
		require.Equal(t, e, again)
	})
}
