package notify

import (
	"strings"
	"time"
	"unicode"

	"github.com/gitopskit/gitopskit/events"
)

// AlertmanagerOptions configures [NewAlertmanager].
type AlertmanagerOptions struct {
	// Address is the URL of the API, which ends in /api/v2/alerts. Required.
	Address string
	// Token is sent as a bearer token, or else Username and Password as basic
	// authentication. All may be empty.
	Token, Username, Password string
	// HTTP says how to reach the server.
	HTTP HTTPOptions
}

type alertmanagerAlert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    string            `json:"startsAt"`
}

// NewAlertmanager posts an alert for each event. It is called Flux, the kind and the
// reason, as in FluxKustomizationHealthcheckfailed, which is what routes are written
// for. Metadata become labels, in whose names an underscore stands for what a name
// cannot hold. It ends when Alertmanager's resolve_timeout does.
func NewAlertmanager(o AlertmanagerOptions) (*Sink, error) {
	s, err := dial(setup{
		name: "Alertmanager", address: o.Address, secrets: []string{o.Token, o.Username, o.Password}, public: true, http: o.HTTP,
	})
	if err != nil {
		return nil, err
	}
	header := authorized(jsonHeader(), authorization(o.Token, o.Username, o.Password))
	return s.each(func(e events.Event) request {
		return request{url: s.base, header: header, body: encode([]alertmanagerAlert{newAlertmanagerAlert(e)})}
	}, nil), nil
}

func newAlertmanagerAlert(e events.Event) alertmanagerAlert {
	a := alertmanagerAlert{
		Labels:      map[string]string{},
		Annotations: map[string]string{"message": plain(e.Message)},
		StartsAt:    e.Timestamp.UTC().Format(time.RFC3339),
	}
	if s := Metadata(e, MetaSummary); s != "" {
		a.Annotations[MetaSummary] = fit(plain(s), 1000, perRune)
	}
	for _, f := range details(e, 50, 200, 500) {
		if f.key != MetaSummary {
			a.Labels[labelName(f.key)] = f.value
		}
	}
	reason := []rune(strings.ToLower(plain(e.Reason)))
	if len(reason) > 0 {
		reason[0] = unicode.ToUpper(reason[0])
	}
	for name, value := range map[string]string{
		"alertname": "Flux" + plain(e.InvolvedObject.Kind) + string(reason),
		"severity":  string(e.Severity), "reason": plain(e.Reason),
		"kind": plain(e.InvolvedObject.Kind), "name": plain(e.InvolvedObject.Name), "namespace": plain(e.InvolvedObject.Namespace),
		"reportingcontroller": plain(e.ReportingController),
	} {
		delete(a.Labels, name)
		if value != "" { // an empty label is none
			a.Labels[name] = value
		}
	}
	return a
}

// labelName makes a name that every Alertmanager takes: letters, digits and underscores,
// with no digit first. Two underscores in front are Prometheus's own.
func labelName(key string) string {
	name := strings.Map(func(r rune) rune {
		if r < 0x80 && (class(r) != other || r == '_') {
			return r
		}
		return '_'
	}, key)
	name = strings.TrimLeft(name, "_")
	if name == "" || class(rune(name[0])) == digit {
		return "_" + name
	}
	return name
}
