package notify_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/notify"
	"github.com/gitopskit/gitopskit/internal/hooktest"
	"github.com/stretchr/testify/require"
)

// list is somebody who keeps what is emitted, or refuses it.
type list struct {
	refuse error

	mu  sync.Mutex
	got []events.Event
}

func (l *list) Emit(e events.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse != nil {
		return l.refuse
	}
	l.got = append(l.got, e)
	return nil
}

func router(t *testing.T, opts notify.RouterOptions, targets ...notify.Target) *notify.Router {
	t.Helper()
	r, err := notify.NewRouter(targets, opts)
	require.NoError(t, err)
	return r
}

func TestRouterHandsOutWhatIsSelected(t *testing.T) {
	var web, failures, none, chat list
	all := selector(t, notify.Rule{Sources: everything})
	r := router(t, notify.RouterOptions{},
		notify.Target{Name: "web", To: &web, Selector: selector(t, notify.Rule{
			Sources: []notify.Source{{Kind: "Kustomization", Name: "web"}}, Metadata: map[string]string{"cluster": "eu"},
		})},
		notify.Target{Name: "failures", To: &failures, Selector: selector(t, notify.Rule{Sources: everything, Severity: events.SeverityError})},
		notify.Target{Name: "none", To: &none, Selector: all, Takes: func(events.Event) bool { return false }},
		notify.Target{Name: "chat", To: &chat, Selector: all, Takes: func(e events.Event) bool { return notify.Metadata(e, "commit_status") == "" }},
	)
	good := event(func(e *events.Event) { e.Severity = events.SeverityInfo })
	status := event(func(e *events.Event) { e.Metadata["commit_status"] = "update"; e.InvolvedObject.Name = "db" })
	require.NoError(t, r.Send(t.Context(), good))
	require.NoError(t, r.Send(t.Context(), status))
	require.Len(t, web.got, 1)
	require.Equal(t, "eu", web.got[0].Metadata["cluster"])
	require.Equal(t, []events.Event{status}, failures.got)
	require.Empty(t, none.got)
	require.Equal(t, []events.Event{good}, chat.got)
}

func TestRouterFailuresStayWithTheirTarget(t *testing.T) {
	full, away := errors.New("full"), errors.New("the cache is away")
	var fine, unsure list
	all := selector(t, notify.Rule{Sources: everything})
	asked := 0
	labeled := selector(t, notify.Rule{Name: "r", Sources: []notify.Source{{Kind: "*", Name: "*", MatchLabels: map[string]string{"a": "b"}}}})
	r := router(t, notify.RouterOptions{
		Labels: func(context.Context, events.ObjectReference) (map[string]string, error) { asked++; return nil, away },
	},
		notify.Target{Name: "unsure", To: &unsure, Selector: labeled},
		notify.Target{Name: "unsure too", To: &unsure, Selector: labeled},
		notify.Target{Name: "full", To: &list{refuse: full}, Selector: all},
		notify.Target{Name: "fine", To: &fine, Selector: all},
	)
	err := r.Send(t.Context(), event(nil))
	require.ErrorIs(t, err, full)
	require.ErrorIs(t, err, away)
	var target *notify.TargetError
	require.ErrorAs(t, err, &target)
	require.EqualError(t, target, "target unsure: rule r: labels of Kustomization shop/web: the cache is away")
	require.ErrorContains(t, err, "target full: full")
	require.Equal(t, 1, asked, "labels are asked for once")
	require.Len(t, fine.got, 1)
	require.Empty(t, unsure.got)
}

func TestRouterTellsConflicts(t *testing.T) {
	var to list
	var told []*notify.ConflictError
	r := router(t, notify.RouterOptions{OnConflict: func(c *notify.ConflictError) { told = append(told, c) }},
		notify.Target{Name: "t", To: &to, Selector: selector(t, notify.Rule{
			Name: "r", Namespace: "shop", Sources: everything, Metadata: map[string]string{"env": "test", "more": "x"},
		})})
	require.NoError(t, r.Send(t.Context(), event(nil)))
	require.Len(t, told, 1)
	require.Equal(t, []string{"env"}, told[0].Keys)
	require.True(t, told[0].Terminal())
	require.EqualError(t, told[0], "rule shop/r: the metadata of Kustomization shop/web, of its annotations and of the rule differ in env: rename the weaker ones")
	require.Equal(t, "prod", to.got[0].Metadata["env"], "the controller is the stronger")
	require.Equal(t, "x", to.got[0].Metadata["more"])
}

func TestNewRouterChecksItsTargets(t *testing.T) {
	s := selector(t, notify.Rule{})
	for want, targets := range map[string][]notify.Target{
		"target 0 has no name":      {{Selector: s, To: &list{}}},
		"two targets are named":     {{Name: "a", Selector: s, To: &list{}}, {Name: "a", Selector: s, To: &list{}}},
		"needs a selector and some": {{Name: "a", To: &list{}}},
		"and somebody who takes":    {{Name: "a", Selector: s}},
	} {
		_, err := notify.NewRouter(targets, notify.RouterOptions{})
		require.ErrorContains(t, err, want)
	}
}

// A platform that never answers keeps nothing from another.
func TestTargetsDoNotWaitForEachOther(t *testing.T) {
	hold := make(chan struct{})
	stuck := events.SinkFunc(func(ctx context.Context, _ events.Event) error {
		select {
		case <-hold:
		case <-ctx.Done():
		}
		return ctx.Err()
	})
	server := hooktest.Start(t, hooktest.Answer{Body: "ok"})
	slack, err := notify.NewSlack(notify.SlackOptions{Address: server.URL + "/hook", HTTP: local})
	require.NoError(t, err)
	t.Cleanup(slack.CloseIdleConnections)
	recorder := func(sink events.Sink) *events.Recorder {
		rec, err := events.New(events.Options{Sinks: []events.Route{{Name: "sink", Sink: sink}}, QueueSize: 2})
		require.NoError(t, err)
		t.Cleanup(func() { rec.Close() })
		return rec
	}
	all := selector(t, notify.Rule{Sources: everything})
	well := recorder(slack)
	r := router(t, notify.RouterOptions{},
		notify.Target{Name: "stuck", Selector: all, To: recorder(stuck)},
		notify.Target{Name: "well", Selector: all, To: well, Takes: slack.Takes},
	)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i := range 6 {
		err := r.Send(ctx, event(func(e *events.Event) { e.InvolvedObject.Name += string(rune('a' + i)) }))
		require.True(t, err == nil || errors.Is(err, events.ErrQueueFull), "%v", err)
		require.NoError(t, well.Flush(ctx))
	}
	require.Len(t, server.Requests(), 6)
	close(hold)
}
