package notify

import (
	"strings"

	"github.com/gitopskit/gitopskit/events"
)

// GrafanaOptions configures [NewGrafana].
type GrafanaOptions struct {
	// Address is the URL of the annotations API, which ends in /api/annotations.
	// Required.
	Address string
	// Token of a service account, or else Username and Password. All may be empty.
	Token, Username, Password string
	// DashboardUID is the dashboard to annotate. Empty means all of the organization,
	// which show annotations by their tags.
	DashboardUID string
	// HTTP says how to reach the server.
	HTTP HTTPOptions
}

type grafanaAnnotation struct {
	DashboardUID string   `json:"dashboardUID,omitempty"`
	Time         int64    `json:"time"` // in milliseconds
	Text         string   `json:"text"`
	Tags         []string `json:"tags"`
}

// NewGrafana makes an annotation of each event, with the tags flux, the controller, and
// one for each of kind, name, namespace, severity, reason and metadata, as "key: value".
func NewGrafana(o GrafanaOptions) (*Sink, error) {
	s, err := dial(setup{
		name: "Grafana", address: o.Address, secrets: []string{o.Token, o.Username, o.Password}, public: true, http: o.HTTP,
	})
	if err != nil {
		return nil, err
	}
	header := authorized(jsonHeader(), authorization(o.Token, o.Username, o.Password))
	return s.each(func(e events.Event) request {
		return request{url: s.base, header: header, body: encode(newGrafanaAnnotation(o, e))}
	}, nil), nil
}

func newGrafanaAnnotation(o GrafanaOptions, e events.Event) grafanaAnnotation {
	a := grafanaAnnotation{
		DashboardUID: o.DashboardUID, Time: e.Timestamp.UnixMilli(),
		Text: fit(escapeMarkup(title(e)+": "+plain(e.Message)), 16000, perByte),
		Tags: []string{"flux", grafanaTag(plain(e.ReportingController))},
	}
	about := []fact{
		{"kind", plain(e.InvolvedObject.Kind)}, {"name", plain(e.InvolvedObject.Name)}, {"namespace", plain(e.InvolvedObject.Namespace)},
		{"severity", string(e.Severity)}, {"reason", plain(e.Reason)},
	}
	for _, f := range append(about, details(e, 50, 90, 500)...) {
		if f.value != "" {
			a.Tags = append(a.Tags, grafanaTag(f.key)+": "+grafanaTag(f.value))
		}
	}
	return a
}

// grafanaTag keeps a key or a value within 100 characters, and leaves the colon to what
// parts them.
func grafanaTag(s string) string { return fit(strings.ReplaceAll(s, ":", "|"), 100, perRune) }

// escapeMarkup is for texts that are shown as HTML.
func escapeMarkup(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
