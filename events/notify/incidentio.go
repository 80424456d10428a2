package notify

import (
	"github.com/gitopskit/gitopskit/events"
)

// IncidentIOOptions configures [NewIncidentIO].
type IncidentIOOptions struct {
	// Address is the URL of an HTTP alert source,
	// https://api.incident.io/v2/alert_events/http/<id>. Required.
	Address string
	// Token of the alert source. Required.
	Token string
	// HTTP says how to reach the server.
	HTTP HTTPOptions
}

type incidentIOAlert struct {
	Title            string            `json:"title"`
	Status           string            `json:"status"`
	DeduplicationKey string            `json:"deduplication_key"`
	Description      string            `json:"description"`
	Metadata         map[string]string `json:"metadata"`
}

// NewIncidentIO fires an alert for each object that fails, and resolves it with the next
// event about that object that is no failure. Events about progress are passed over.
func NewIncidentIO(o IncidentIOOptions) (*Sink, error) {
	if err := require("incident.io", "the token", o.Token); err != nil {
		return nil, err
	}
	s, err := dial(setup{
		name: "incident.io", address: o.Address, secrets: []string{o.Token}, takes: concernsIncident, http: o.HTTP,
	})
	if err != nil {
		return nil, err
	}
	header := jsonHeader("Authorization", bearer(o.Token))
	return s.each(func(e events.Event) request {
		return request{url: s.base, header: header, body: encode(newIncidentIOAlert(e))}
	}, nil), nil
}

func newIncidentIOAlert(e events.Event) incidentIOAlert {
	a := incidentIOAlert{
		Title:            fit(title(e)+": "+plain(e.Reason), 500, perRune),
		Status:           "resolved",
		DeduplicationKey: incident(e),
		Description:      fit(plain(e.Message), 10000, perRune),
		Metadata:         detailMap(e, 50, 200, 500),
	}
	if isError(e) {
		a.Status = "firing"
	}
	a.Metadata["severity"], a.Metadata["reason"] = string(e.Severity), plain(e.Reason)
	a.Metadata["reportingController"] = plain(e.ReportingController)
	return a
}
