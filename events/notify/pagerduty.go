package notify

import (
	"context"
	"time"

	"github.com/gitopskit/gitopskit/events"
)

// PagerDutyOptions configures [NewPagerDuty].
type PagerDutyOptions struct {
	// Address is the URL of the Events API v2; of its path nothing is used. Empty means
	// https://events.pagerduty.com; in Europe it is https://events.eu.pagerduty.com.
	Address string
	// RoutingKey is the integration key of a service. Required.
	RoutingKey string
	// HTTP says how to reach the server.
	HTTP HTTPOptions
}

type pagerDutyEvent struct {
	RoutingKey string            `json:"routing_key"`
	Action     string            `json:"event_action"`
	DedupKey   string            `json:"dedup_key"`
	Payload    *pagerDutyPayload `json:"payload,omitempty"`
}

type pagerDutyChange struct {
	RoutingKey string           `json:"routing_key"`
	Payload    pagerDutyPayload `json:"payload"`
}

type pagerDutyPayload struct {
	Summary   string         `json:"summary"`
	Source    string         `json:"source"`
	Severity  string         `json:"severity,omitempty"`
	Timestamp string         `json:"timestamp"`
	Component string         `json:"component,omitempty"`
	Group     string         `json:"group,omitempty"`
	Class     string         `json:"class,omitempty"`
	Details   map[string]any `json:"custom_details"`
}

// NewPagerDuty triggers an incident for each object that fails, and resolves it with the
// next event about that object that is no failure; PagerDuty is also told of that event
// as a change. Events about progress are passed over.
func NewPagerDuty(o PagerDutyOptions) (*Sink, error) {
	if o.Address == "" {
		o.Address = "https://events.pagerduty.com"
	}
	if err := require("PagerDuty", "the routing key", o.RoutingKey); err != nil {
		return nil, err
	}
	s, err := dial(setup{
		name: "PagerDuty", address: o.Address, secrets: []string{o.RoutingKey}, takes: concernsIncident, http: o.HTTP,
	})
	if err != nil {
		return nil, err
	}
	base := *s.base
	base.Path, base.RawPath, base.RawQuery, base.Fragment = "", "", "", ""
	s.base = &base
	s.send = func(ctx context.Context, e events.Event) error { return s.pagerDuty(ctx, o.RoutingKey, e) }
	return s, nil
}

func (c conn) pagerDuty(ctx context.Context, key string, e events.Event) error {
	payload := newPagerDutyPayload(e)
	event := pagerDutyEvent{RoutingKey: key, Action: "resolve", DedupKey: incident(e)}
	if isError(e) {
		trigger := payload
		trigger.Severity = "error"
		trigger.Component, trigger.Group = fit(plain(e.InvolvedObject.Name), 255, perRune), plain(e.InvolvedObject.Kind)
		trigger.Class = plain(e.Reason)
		event.Action, event.Payload = "trigger", &trigger
	}
	_, err := c.do(ctx, request{url: c.at("v2", "enqueue"), header: jsonHeader(), body: encode(event)})
	if err != nil || isError(e) {
		return err
	}
	change := pagerDutyChange{RoutingKey: key, Payload: payload}
	_, err = c.do(ctx, request{url: c.at("v2", "change", "enqueue"), header: jsonHeader(), body: encode(change)})
	return err
}

// newPagerDutyPayload keeps within 1,024 characters of summary, and 512 KB of all.
func newPagerDutyPayload(e events.Event) pagerDutyPayload {
	return pagerDutyPayload{
		Summary:   fit(words(e.Reason)+": "+shortName(e), 1024, perUTF16),
		Source:    plain(e.ReportingController),
		Timestamp: e.Timestamp.UTC().Format(time.RFC3339),
		Details: map[string]any{
			"message":  fit(plain(e.Message), 100<<10, perJSON),
			"metadata": detailMap(e, 50, 200, 500),
		},
	}
}
