package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/gitopskit/gitopskit/events"
)

// OpsgenieOptions configures [NewOpsgenie].
type OpsgenieOptions struct {
	// Address is the URL of the alert API. Empty means
	// https://api.opsgenie.com/v2/alerts; in Europe it is
	// https://api.eu.opsgenie.com/v2/alerts.
	Address string
	// APIKey of an API integration. Required.
	APIKey string
	// Origin tells alerts of this sink from those of other clusters about objects of the
	// same name, for instance the UID of what configures it. It may be empty.
	Origin string
	// HTTP says how to reach the server.
	HTTP HTTPOptions
}

type opsgenieAlert struct {
	Message     string            `json:"message"`
	Alias       string            `json:"alias"`
	Description string            `json:"description"`
	Details     map[string]string `json:"details"`
	Entity      string            `json:"entity"`
	Source      string            `json:"source,omitempty"`
	Priority    string            `json:"priority"`
}

// NewOpsgenie makes an alert of each event: with priority P3 of a failure, P5 of
// everything else. Opsgenie counts alerts about one object with one reason as one.
func NewOpsgenie(o OpsgenieOptions) (*Sink, error) {
	if o.Address == "" {
		o.Address = "https://api.opsgenie.com/v2/alerts"
	}
	if err := require("Opsgenie", "the API key", o.APIKey); err != nil {
		return nil, err
	}
	s, err := dial(setup{name: "Opsgenie", address: o.Address, secrets: []string{o.APIKey}, http: o.HTTP})
	if err != nil {
		return nil, err
	}
	header := jsonHeader("Authorization", "GenieKey "+o.APIKey)
	return s.each(func(e events.Event) request {
		return request{url: s.base, header: header, body: encode(newOpsgenieAlert(o, e))}
	}, nil), nil
}

// newOpsgenieAlert keeps within 130 characters of message, 15,000 of description, 512
// of entity, 100 of source, and 8,000 of details, keys included.
func newOpsgenieAlert(o OpsgenieOptions, e events.Event) opsgenieAlert {
	a := opsgenieAlert{
		Message:     fit(plain(e.InvolvedObject.Kind+"/"+e.InvolvedObject.Name), 130, perUTF16),
		Alias:       opsgenieAlias(o.Origin, e),
		Description: fit(plain(e.Message), 15000, perUTF16),
		Entity:      fit(title(e), 512, perUTF16),
		Source:      fit(plain(e.ReportingController), 100, perUTF16),
		Priority:    "P5",
		Details:     map[string]string{},
	}
	if isError(e) {
		a.Priority = "P3"
	}
	room := 8000
	for _, f := range append([]fact{{"severity", string(e.Severity)}}, details(e, 100, 200, 1000)...) {
		if room -= width(f.key+f.value, perUTF16); room < 0 {
			break
		}
		if _, there := a.Details[f.key]; !there {
			a.Details[f.key] = f.value
		}
	}
	return a
}

func opsgenieAlias(origin string, e events.Event) string {
	o := e.InvolvedObject
	sum := sha256.Sum256([]byte(strings.Join([]string{origin, o.Kind, o.Namespace, o.Name, e.Reason}, "/")))
	return hex.EncodeToString(sum[:])
}
