package notify

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/internal/post"
)

// SentryOptions configures [NewSentry].
type SentryOptions struct {
	// DSN of a project, https://<public key>@<host>/<path>/<project>. Required.
	DSN string
	// Environment that the events are of, such as staging. Empty means Sentry's own,
	// production.
	Environment string
	// HTTP says how to reach the server.
	HTTP HTTPOptions
}

type sentryEvent struct {
	ID          string            `json:"event_id"`
	Timestamp   string            `json:"timestamp"`
	Platform    string            `json:"platform"`
	Level       string            `json:"level"`
	Logger      string            `json:"logger"`
	ServerName  string            `json:"server_name,omitempty"`
	Transaction string            `json:"transaction"`
	Environment string            `json:"environment,omitempty"`
	Message     sentryMessage     `json:"logentry"`
	Tags        map[string]string `json:"tags"`
	Extra       map[string]string `json:"extra"`
	Fingerprint []string          `json:"fingerprint"`
}

type sentryMessage struct {
	Formatted string `json:"formatted"`
}

// NewSentry makes a Sentry event of each event: of level error of a failure, of level
// info of everything else. Those with one reason about one object are one issue. An
// event that is sent twice is kept once, since its id says what is in it.
func NewSentry(o SentryOptions) (*Sink, error) {
	target, key, ok := parseDSN(o.DSN)
	if !ok {
		return nil, optionError("Sentry", "the DSN must have the form https://key@host/project")
	}
	s, err := dial(setup{name: "Sentry", address: target, secrets: []string{key}, http: o.HTTP})
	if err != nil {
		return nil, err
	}
	header := http.Header{
		"Content-Type":  {"application/x-sentry-envelope"},
		"X-Sentry-Auth": {"Sentry sentry_version=7, sentry_client=gitopskit/1.0, sentry_key=" + key},
	}
	return s.each(func(e events.Event) request {
		return request{url: s.base, header: header, body: sentryEnvelope(newSentryEvent(o, e))}
	}, func(reply post.Reply, err error) error {
		return asked(err, sentryWait(reply.Header.Get("X-Sentry-Rate-Limits")))
	}), nil
}

// parseDSN returns where a project's envelopes go, and its public key. The secret key
// that old DSNs hold is not used any more.
func parseDSN(dsn string) (target, key string, ok bool) {
	u, err := url.Parse(dsn)
	if err != nil || u.User == nil || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		return "", "", false
	}
	key = u.User.Username()
	at := strings.LastIndexByte(u.Path, '/')
	if at < 0 {
		return "", "", false
	}
	project := u.Path[at+1:]
	if !isWord(key) || !isWord(project) || u.RawPath != "" {
		return "", "", false
	}
	to := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path[:at] + "/api/" + project + "/envelope/"}
	return to.String(), key, true
}

// isWord reports whether a text is of letters, digits, dashes and underscores.
func isWord(s string) bool {
	return s != "" && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool {
		return r >= 0x80 || class(r) == other && r != '-' && r != '_'
	})
}

// newSentryEvent keeps within 8,192 characters of message and 200 of a tag.
func newSentryEvent(o SentryOptions, e events.Event) sentryEvent {
	sum := sha256.Sum256(encode(Clean(e)))
	obj := e.InvolvedObject
	s := sentryEvent{
		ID:          hex.EncodeToString(sum[:16]),
		Timestamp:   e.Timestamp.UTC().Format(time.RFC3339),
		Platform:    "other",
		Level:       "info",
		Logger:      "gitops",
		ServerName:  plain(e.ReportingController),
		Transaction: fit(title(e), 200, perRune),
		Environment: o.Environment,
		Message:     sentryMessage{fit(plain(e.Message), 8192, perRune)},
		Tags:        map[string]string{},
		Extra:       detailMap(e, 50, 200, 1000),
		Fingerprint: []string{plain(obj.Kind), plain(obj.Namespace), plain(obj.Name), plain(e.Reason)},
	}
	if isError(e) {
		s.Level = "error"
	}
	for name, value := range map[string]string{
		"kind": obj.Kind, "namespace": obj.Namespace, "name": obj.Name, "reason": e.Reason, "controller": e.ReportingController,
	} {
		// A tag is one line.
		if value = strings.ReplaceAll(fit(plain(value), 200, perRune), "\n", " "); value != "" {
			s.Tags[name] = value
		}
	}
	return s
}

// sentryEnvelope is a header and one item, each a line of JSON.
func sentryEnvelope(e sentryEvent) []byte {
	payload := encode(e)
	return bytes.Join([][]byte{
		encode(map[string]string{"event_id": e.ID}),
		encode(map[string]any{"type": "event", "content_type": "application/json", "length": len(payload)}),
		payload, nil,
	}, []byte("\n"))
}

// sentryWait reads how long no events are wanted, in seconds, of a list such as
// "60:transaction:key, 2700:default;error:organization".
func sentryWait(header string) float64 {
	longest := 0.0
	for i, limit := range strings.Split(header, ",") {
		if i == 20 {
			break
		}
		parts := strings.Split(strings.TrimSpace(limit), ":")
		seconds, err := strconv.ParseUint(parts[0], 10, 32)
		if err != nil || len(parts) < 2 {
			continue
		}
		kinds := strings.Split(parts[1], ";")
		if parts[1] == "" || slices.Contains(kinds, "error") || slices.Contains(kinds, "default") {
			longest = max(longest, float64(seconds))
		}
	}
	return longest
}
