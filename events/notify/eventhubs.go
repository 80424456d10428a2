package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gitopskit/gitopskit/events"
)

// EventHubsOptions configures [NewEventHubs].
type EventHubsOptions struct {
	// ConnectionString of a policy that may send, as Azure shows it. With it nothing but
	// Hub is needed, and that only if it is a connection string of a namespace.
	ConnectionString string
	// Address is the URL of a namespace, such as https://ns.servicebus.windows.net.
	// Required without a connection string; with one it stands for its endpoint.
	Address string
	// Hub is the name of the event hub.
	Hub string
	// Token returns a token of Entra ID for https://eventhubs.azure.net/.default.
	// Required without a connection string.
	Token TokenSource
	// HTTP says how to reach the server.
	HTTP HTTPOptions
}

// sharedKey is a policy that may send.
type sharedKey struct{ name, key string }

// NewEventHubs sends the JSON of each event, those that update a commit's status aside,
// to an event hub of Azure.
func NewEventHubs(o EventHubsOptions) (*Sink, error) {
	const name = "Azure Event Hubs"
	var policy *sharedKey
	if o.ConnectionString != "" {
		parsed, endpoint, hub, ok := parseConnectionString(o.ConnectionString)
		switch {
		case !ok:
			return nil, optionError(name, "the connection string must hold Endpoint, SharedAccessKeyName and SharedAccessKey")
		case o.Token != nil:
			return nil, optionError(name, "there is a connection string and a token source; one is enough")
		case hub != "" && o.Hub != "" && hub != o.Hub:
			return nil, optionError(name, "the connection string is for another event hub")
		}
		policy = &parsed
		if o.Address == "" {
			o.Address = endpoint
		}
		if hub != "" {
			o.Hub = hub
		}
	} else if o.Token == nil {
		return nil, optionError(name, "a connection string or a token source is required")
	}
	if !validName(o.Hub) || len(o.Hub) > 256 {
		return nil, optionError(name, "the name of the event hub is missing, or is none")
	}
	s, err := dial(setup{name: name, address: o.Address, http: o.HTTP})
	if err != nil {
		return nil, err
	}
	return s.eventHub(o, policy), nil
}

func (s *Sink) eventHub(o EventHubsOptions, policy *sharedKey) *Sink {
	hub := s.at(o.Hub)
	target := query(s.at(o.Hub, "messages"), "api-version", "2014-01")
	s.send = func(ctx context.Context, e events.Event) error {
		header := jsonHeader()
		if policy != nil {
			header.Set("Authorization", policy.sign(hub, time.Now().Add(10*time.Minute)))
		} else {
			token, err := s.issue(ctx, o.Token)
			if err != nil {
				return err
			}
			header.Set("Authorization", bearer(token))
		}
		_, err := s.do(ctx, request{url: target, header: header, body: encode(Clean(e))})
		return err
	}
	return s
}

// parseConnectionString reads Endpoint=sb://host/;SharedAccessKeyName=n;SharedAccessKey=k
// with or without EntityPath=hub.
func parseConnectionString(s string) (policy sharedKey, endpoint, hub string, ok bool) {
	for _, part := range strings.Split(s, ";") {
		name, value, _ := strings.Cut(part, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "endpoint":
			if host, is := strings.CutPrefix(value, "sb://"); is {
				endpoint = "https://" + host
			}
		case "sharedaccesskeyname":
			policy.name = value
		case "sharedaccesskey":
			policy.key = strings.TrimSpace(value)
		case "entitypath":
			hub = value
		}
	}
	return policy, endpoint, hub, endpoint != "" && policy.name != "" && policy.key != ""
}

// sign makes a shared access signature for an event hub, which is valid for a while.
func (p sharedKey) sign(hub *url.URL, until time.Time) string {
	resource := url.QueryEscape(strings.ToLower(hub.String()))
	expiry := strconv.FormatInt(until.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(p.key))
	mac.Write([]byte(resource + "\n" + expiry)) // a hash's Write does not fail
	return "SharedAccessSignature sr=" + resource +
		"&sig=" + url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil))) +
		"&se=" + expiry + "&skn=" + url.QueryEscape(p.name)
}
