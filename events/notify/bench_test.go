package notify_test

import (
	"fmt"
	"testing"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/notify"
	"github.com/stretchr/testify/require"
)

// nowhere forgets what it is given.
type nowhere struct{}

func (nowhere) Emit(events.Event) error { return nil }

// A hundred rules of which one selects the event.
func BenchmarkRouter(b *testing.B) {
	var targets []notify.Target
	for i := range 100 {
		s, err := notify.NewSelector(notify.Rule{
			Sources: []notify.Source{{Kind: "Kustomization", Name: fmt.Sprint("web", i)}},
			Exclude: []string{"^dependency .* is not ready"}, Summary: "production",
		}, notify.SelectorOptions{})
		require.NoError(b, err)
		targets = append(targets, notify.Target{Name: fmt.Sprint(i), Selector: s, To: nowhere{}})
	}
	r, err := notify.NewRouter(targets, notify.RouterOptions{})
	require.NoError(b, err)
	e := event(func(e *events.Event) { e.InvolvedObject.Name = "web50" })
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Send(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
}
