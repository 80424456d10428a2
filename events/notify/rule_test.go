package notify_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/notify"
	"github.com/gitopskit/gitopskit/internal/hooktest"
	"github.com/stretchr/testify/require"
)

// event is the event of the tests, changed.
func event(change func(*events.Event)) events.Event {
	e := hooktest.Event()
	if change != nil {
		change(&e)
	}
	return e
}

func selector(t *testing.T, rule notify.Rule) *notify.Selector {
	t.Helper()
	s, err := notify.NewSelector(rule, notify.SelectorOptions{})
	require.NoError(t, err)
	return s
}

func selects(t *testing.T, s *notify.Selector, e events.Event) bool {
	t.Helper()
	_, ok, err := s.Select(t.Context(), e, nil)
	require.NoError(t, err)
	return ok
}

var everything = []notify.Source{{Kind: notify.Any, Name: notify.Any}}

func TestRuleSources(t *testing.T) {
	for name, test := range map[string]struct {
		rule   string // the rule's namespace
		source notify.Source
		want   bool
	}{
		"exactly":                    {"", notify.Source{Kind: "Kustomization", Namespace: "shop", Name: "web"}, true},
		"any name":                   {"", notify.Source{Kind: "Kustomization", Namespace: "shop", Name: "*"}, true},
		"any kind":                   {"", notify.Source{Kind: "*", Namespace: "shop", Name: "web"}, true},
		"any namespace":              {"ops", notify.Source{Kind: "Kustomization", Namespace: "*", Name: "web"}, true},
		"the rule's namespace":       {"shop", notify.Source{Kind: "Kustomization", Name: "web"}, true},
		"not the rule's namespace":   {"ops", notify.Source{Kind: "Kustomization", Name: "web"}, false},
		"no namespace anywhere":      {"", notify.Source{Kind: "Kustomization", Name: "web"}, true},
		"another namespace":          {"ops", notify.Source{Kind: "Kustomization", Namespace: "shop", Name: "web"}, true},
		"another kind":               {"", notify.Source{Kind: "HelmRelease", Namespace: "shop", Name: "web"}, false},
		"another name":               {"", notify.Source{Kind: "Kustomization", Namespace: "shop", Name: "we"}, false},
		"a star is no pattern":       {"", notify.Source{Kind: "Kustomization", Namespace: "shop", Name: "w*"}, false},
		"another version of a group": {"", notify.Source{APIVersion: "kustomize.toolkit.fluxcd.io/v1beta2", Kind: "*", Name: "*"}, true},
		"another group":              {"", notify.Source{APIVersion: "example.org/v1", Kind: "*", Name: "*"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := selector(t, notify.Rule{Name: "r", Namespace: test.rule, Sources: []notify.Source{test.source}})
			require.Equal(t, test.want, selects(t, s, event(nil)))
		})
	}
}

func TestRuleSeesObjectsWithoutANamespace(t *testing.T) {
	e := event(func(e *events.Event) { e.InvolvedObject.Namespace = "" })
	require.True(t, selects(t, selector(t, notify.Rule{Sources: everything}), e))
	require.False(t, selects(t, selector(t, notify.Rule{Namespace: "shop", Sources: everything}), e))
}

func TestRuleNeedsOneOfItsSources(t *testing.T) {
	s := selector(t, notify.Rule{Sources: []notify.Source{{Kind: "A", Name: "*"}, {Kind: "Kustomization", Name: "web"}}})
	require.True(t, selects(t, s, event(nil)))
	require.False(t, selects(t, selector(t, notify.Rule{}), event(nil)), "no source, no event")
}

func TestRuleSeverity(t *testing.T) {
	for _, test := range []struct {
		rule, event events.Severity
		want        bool
	}{
		{"", "trace", false}, {"", "info", true}, {"", "error", true},
		{"info", "trace", false}, {"info", "info", true}, {"info", "error", true},
		{"error", "trace", false}, {"error", "info", false}, {"error", "error", true},
	} {
		s := selector(t, notify.Rule{Sources: everything, Severity: test.rule})
		e := event(func(e *events.Event) { e.Severity = test.event })
		require.Equal(t, test.want, selects(t, s, e), "%q of %q", test.event, test.rule)
	}
}

func TestRuleExpressions(t *testing.T) {
	for name, test := range map[string]struct {
		include, exclude []string
		want             bool
	}{
		"none":                          {nil, nil, true},
		"one of two includes":           {[]string{"nothing", "^health.*failed"}, nil, true},
		"no include":                    {[]string{"nothing", "^failed"}, nil, false},
		"excluded":                      {nil, []string{"nothing", "check"}, false},
		"not excluded":                  {nil, []string{"nothing"}, true},
		"exclusion wins over inclusion": {[]string{"health"}, []string{"check"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := selector(t, notify.Rule{Sources: everything, Include: test.include, Exclude: test.exclude})
			require.Equal(t, test.want, selects(t, s, event(nil)))
		})
	}
}

func TestSuspendedRuleSelectsNothing(t *testing.T) {
	require.False(t, selects(t, selector(t, notify.Rule{Sources: everything, Suspended: true}), event(nil)))
}

// An expression that is wrong is told, and takes nothing but itself away.
func TestRuleGoesOnWithoutWhatIsWrong(t *testing.T) {
	long := strings.Repeat("a", notify.MaxExpression+1)
	many := make([]string, notify.MaxExpressions+1)
	for name, test := range map[string]struct {
		rule notify.Rule
		want string
		ok   bool
	}{
		"inclusion":              {notify.Rule{Include: []string{"(", "health"}}, "rule ops/r: inclusion 0 is not a regular expression", true},
		"the only inclusion":     {notify.Rule{Include: []string{"("}}, "inclusion 0", false},
		"exclusion":              {notify.Rule{Exclude: []string{"[", "nothing"}}, "exclusion 0 is not a regular expression", true},
		"exclusion beside right": {notify.Rule{Exclude: []string{"[", "health"}}, "exclusion 0", false},
		"back-reference":         {notify.Rule{Exclude: []string{`(a)\1`}}, "exclusion 0", true},
		"too long":               {notify.Rule{Exclude: []string{long}}, "the limit is 4096", true},
		"too many":               {notify.Rule{Exclude: many}, "exclusion 100 is one too many", false},
		"severity":               {notify.Rule{Severity: "trace"}, "neither info nor error", true},
		"no kind":                {notify.Rule{Sources: []notify.Source{{Name: "*"}}}, "source 0 has no kind", false},
		"no name":                {notify.Rule{Sources: []notify.Source{{Kind: "*"}}}, "source 0 has no name", false},
	} {
		t.Run(name, func(t *testing.T) {
			test.rule.Name, test.rule.Namespace = "r", "ops"
			if test.rule.Sources == nil {
				test.rule.Sources = []notify.Source{{Kind: "*", Namespace: "*", Name: "*"}}
			}
			s, err := notify.NewSelector(test.rule, notify.SelectorOptions{})
			var wrong *notify.RuleError
			require.ErrorAs(t, err, &wrong)
			require.True(t, wrong.Terminal())
			require.ErrorContains(t, err, test.want)
			require.Less(t, len(err.Error()), 1000)
			require.Equal(t, test.ok, selects(t, s, event(nil)))
		})
	}
}

func TestRuleMayBeKeptToItsNamespace(t *testing.T) {
	for namespace, allowed := range map[string]bool{"": true, "shop": true, "ops": false, "*": false} {
		s, err := notify.NewSelector(
			notify.Rule{Name: "r", Namespace: "shop", Sources: []notify.Source{{Kind: "*", Namespace: namespace, Name: "*"}}},
			notify.SelectorOptions{NoCrossNamespace: true},
		)
		require.Equal(t, allowed, err == nil, "%q: %v", namespace, err)
		require.Equal(t, allowed, selects(t, s, event(nil)))
		for _, other := range []string{"ops", ""} {
			require.False(t, selects(t, s, event(func(e *events.Event) { e.InvolvedObject.Namespace = other })))
		}
	}
}

func TestRuleLabels(t *testing.T) {
	source := notify.Source{Kind: "Kustomization", Name: "*", MatchLabels: map[string]string{"team": "web", "tier": ""}}
	s := selector(t, notify.Rule{Name: "r", Sources: []notify.Source{source}})
	for name, test := range map[string]struct {
		labels map[string]string
		want   bool
	}{
		"all":     {map[string]string{"team": "web", "tier": "", "more": "x"}, true},
		"value":   {map[string]string{"team": "db", "tier": ""}, false},
		"missing": {map[string]string{"team": "web"}, false},
		"none":    {nil, false},
	} {
		_, ok, err := s.Select(t.Context(), event(nil), func(_ context.Context, o events.ObjectReference) (map[string]string, error) {
			require.Equal(t, "Kustomization shop/web", o.String())
			return test.labels, nil
		})
		require.NoError(t, err)
		require.Equal(t, test.want, ok, name)
	}
	away := errors.New("the cache is away")
	_, ok, err := s.Select(t.Context(), event(nil), func(context.Context, events.ObjectReference) (map[string]string, error) {
		return nil, away
	})
	require.False(t, ok)
	require.ErrorIs(t, err, away)
	_, _, err = s.Select(t.Context(), event(nil), nil)
	var labels *notify.LabelsError
	require.ErrorAs(t, err, &labels)
	require.ErrorContains(t, err, "set Labels")
}

func TestRuleAsksForLabelsOnlyToDecide(t *testing.T) {
	needs := notify.Source{Kind: "*", Name: "*", MatchLabels: map[string]string{"a": "b"}}
	never := func(context.Context, events.ObjectReference) (map[string]string, error) {
		t.Error("asked for labels")
		return nil, nil
	}
	for _, rule := range []notify.Rule{
		{Sources: []notify.Source{needs}, Severity: events.SeverityError},
		{Sources: []notify.Source{needs}, Exclude: []string{"fine"}},
		{Sources: []notify.Source{needs}, Suspended: true},
		{Sources: []notify.Source{needs, {Kind: "*", Name: "*"}}},
		{Sources: []notify.Source{{Kind: "Other", Name: "*", MatchLabels: needs.MatchLabels}}},
	} {
		e := event(func(e *events.Event) { e.Severity, e.Message = events.SeverityInfo, "fine" })
		_, _, err := selector(t, rule).Select(t.Context(), e, never)
		require.NoError(t, err)
	}
}

func TestMetadataPrecedence(t *testing.T) {
	const group, annotation = "kustomize.toolkit.fluxcd.io/", notify.AnnotationPrefix
	rule := notify.Rule{
		Sources: everything, Summary: "from the summary",
		Metadata: map[string]string{"a": "rule", "b": "rule", "c": "rule", "same": "same", "summary": "rule", "revision": "rule"},
	}
	e := event(func(e *events.Event) {
		e.Metadata = map[string]string{
			annotation + "a": "annotation", annotation + "only": "annotation", annotation + "summary": "annotation",
			annotation + "commit": "annotation", annotation + "same": "same",
			group + "b": "controller", "c": "controller", group + "revision": "controller", group + "token": "t1",
		}
	})
	before := len(e.Metadata)
	got, ok, err := selector(t, rule).Select(t.Context(), e, nil)
	require.NoError(t, err)
	require.True(t, ok)
	require.Len(t, e.Metadata, before, "the caller's event stays as it is")
	require.Equal(t, map[string]string{
		"a": "rule", "only": "annotation", "summary": "from the summary", "commit": "annotation", "same": "same",
		group + "b": "controller", "c": "controller", group + "revision": "controller", group + "token": "t1",
	}, got.Event.Metadata)
	require.Equal(t, []string{"a", "b", "c", "revision", "summary"}, got.Conflicts)
	require.Equal(t, map[string]string{
		"a": "rule", "only": "annotation", "summary": "from the summary", "commit": "annotation", "same": "same",
		"b": "controller", "c": "controller", "revision": "controller",
	}, notify.Clean(got.Event).Metadata)
	require.Equal(t, "controller", notify.Metadata(got.Event, "revision"))
}

func TestInternalMetadataGoesNowhere(t *testing.T) {
	for _, prefix := range []string{"", "kustomize.toolkit.fluxcd.io/", notify.AnnotationPrefix} {
		e := event(func(e *events.Event) {
			e.Metadata = map[string]string{
				prefix + "token": "1", prefix + "digest": "2", prefix + "checksum": "3", prefix + "oci-digest": "4",
			}
		})
		require.Equal(t, map[string]string{"oci-digest": "4"}, notify.Clean(e).Metadata)
	}
}

func TestMetadataReadsWithAndWithoutPrefix(t *testing.T) {
	e := event(func(e *events.Event) {
		e.Metadata = map[string]string{notify.AnnotationPrefix + "a": "1", notify.AnnotationPrefix + "b": "1", "b": "2", "c": "2", "kustomize.toolkit.fluxcd.io/c": "3"}
	})
	for key, want := range map[string]string{"a": "1", "b": "2", "c": "3", "d": ""} {
		require.Equal(t, want, notify.Metadata(e, key))
		require.Equal(t, want, notify.Clean(e).Metadata[key])
	}
	e.InvolvedObject.APIVersion = "v1"
	e.Metadata = map[string]string{"a": "1"}
	require.Equal(t, "1", notify.Metadata(e, "a"))
}

func TestWhoTakesWhat(t *testing.T) {
	const group = "kustomize.toolkit.fluxcd.io/"
	for name, test := range map[string]struct {
		severity             events.Severity
		meta                 map[string]string
		chat, commit, change bool
	}{
		"news":                        {"info", nil, true, false, false},
		"failure":                     {"error", nil, true, true, false},
		"update of a status":          {"info", map[string]string{group + "commit_status": "update"}, false, true, false},
		"failed update of a status":   {"error", map[string]string{"commit_status": "update"}, false, true, false},
		"another status":              {"info", map[string]string{"commit_status": "other"}, true, false, false},
		"with a commit":               {"info", map[string]string{group + "commit": "1f0c"}, true, true, false},
		"with a change request":       {"info", map[string]string{notify.AnnotationPrefix + "change_request": "12"}, true, false, true},
		"with an empty one":           {"info", map[string]string{"change_request": ""}, true, false, false},
		"update for a change request": {"info", map[string]string{"commit_status": "update", "change_request": "1"}, false, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			e := event(func(e *events.Event) { e.Severity, e.Metadata = test.severity, test.meta })
			chat, err := notify.NewSlack(notify.SlackOptions{Address: "https://hooks.slack.com/services/1"})
			require.NoError(t, err)
			generic, err := notify.NewGeneric(notify.GenericOptions{Address: "http://example.test"})
			require.NoError(t, err)
			require.Equal(t, test.chat, chat.Takes(e), "chat")
			require.True(t, generic.Takes(e), "generic")
			require.Equal(t, test.commit, notify.ConcernsCommit(e), "commit")
			require.Equal(t, test.change, notify.ConcernsChange(e), "change request")
		})
	}
}

func TestSinkPassesOverWhatItDoesNotTake(t *testing.T) {
	server := hooktest.Start(t, hooktest.Answer{Body: "ok"})
	sink, err := notify.NewSlack(notify.SlackOptions{Address: server.URL, HTTP: local})
	require.NoError(t, err)
	t.Cleanup(sink.CloseIdleConnections)
	require.NoError(t, sink.Send(t.Context(), event(func(e *events.Event) { e.Metadata["commit_status"] = "update" })))
	require.Empty(t, server.Requests())
}
