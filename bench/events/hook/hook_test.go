package hook_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/bench/events/hook"
)

func TestHookKnowsWhatArrived(t *testing.T) {
	h, err := hook.Start()
	require.NoError(t, err)
	post := func(body string) int {
		resp, err := http.Post(h.URL, "application/json", strings.NewReader(body))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
	require.Equal(t, 202, post(`{"message":"a"}`))
	require.Equal(t, 400, post(`no`))
	h.Down(true)
	require.Equal(t, 503, post(`{"message":"b"}`))
	require.NoError(t, h.Outage(t.Context(), 1))
	require.EqualError(t, h.Expect(2), "1 events arrived, not 2")
	require.NoError(t, h.Expect(0), "it was asked before")
	h.Down(false)
	require.Equal(t, 202, post(`{"message":"b"}`))
	require.Equal(t, 202, post(`{"message":"b"}`))
	require.EqualError(t, h.Expect(1), `event "b" arrived 2 times`)
}

func TestCallers(t *testing.T) {
	seen := make(chan int, 100)
	require.Positive(t, hook.Slowest(func(event int) { seen <- event }))
	hook.Shared(20, func(event int) { seen <- event })
	require.Len(t, seen, hook.Callers+20)
}
