package notify

import (
	"strings"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/internal/post"
)

// DatadogOptions configures [NewDatadog].
type DatadogOptions struct {
	// Address is the URL of the API of your site, such as https://api.datadoghq.eu; of
	// its path nothing is used. Empty means https://api.datadoghq.com.
	Address string
	// APIKey, not an application key. Required.
	APIKey string
	// HTTP says how to reach the server.
	HTTP HTTPOptions
}

type datadogEvent struct {
	Title        string   `json:"title"`
	Text         string   `json:"text"`
	Tags         []string `json:"tags"`
	SourceType   string   `json:"source_type_name"`
	DateHappened int64    `json:"date_happened"`
	AlertType    string   `json:"alert_type"`
}

// NewDatadog makes an event of each event, of the source fluxcd, with tags for the
// object, the reason, the controller and the metadata.
func NewDatadog(o DatadogOptions) (*Sink, error) {
	if o.Address == "" {
		o.Address = "https://api.datadoghq.com"
	}
	if err := require("Datadog", "the API key", o.APIKey); err != nil {
		return nil, err
	}
	s, err := dial(setup{name: "Datadog", address: o.Address, secrets: []string{o.APIKey}, http: o.HTTP})
	if err != nil {
		return nil, err
	}
	base := *s.base
	base.Path, base.RawPath, base.RawQuery, base.Fragment = "", "", "", ""
	s.base = &base
	target, header := s.at("api", "v1", "events"), jsonHeader("DD-API-KEY", o.APIKey)
	return s.each(func(e events.Event) request {
		return request{url: target, header: header, body: encode(newDatadogEvent(e))}
	}, func(reply post.Reply, err error) error {
		return resets(reply, err, "X-RateLimit-Reset")
	}), nil
}

// newDatadogEvent keeps within 100 characters of title, 4,000 of text and 200 of a tag.
func newDatadogEvent(e events.Event) datadogEvent {
	o := e.InvolvedObject
	d := datadogEvent{
		Title: fit("Events from the "+plain(o.Kind+" "+o.Name+"/"+o.Namespace), 100, perRune),
		Text:  fit(plain(e.Message), 4000, perRune), SourceType: "fluxcd",
		DateHappened: e.Timestamp.Unix(), AlertType: "info",
	}
	if isError(e) {
		d.AlertType = "error"
	}
	for _, f := range append([]fact{
		{"flux_reporting_controller", plain(e.ReportingController)}, {"flux_reason", plain(e.Reason)},
		{"kube_kind", plain(o.Kind)}, {"kube_name", plain(o.Name)}, {"kube_namespace", plain(o.Namespace)},
	}, details(e, 80, 100, 200)...) {
		if f.value != "" {
			d.Tags = append(d.Tags, fit(strings.ToLower(f.key+":"+f.value), 200, perRune))
		}
	}
	return d
}
