package notify

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/internal/post"
)

// OTelOptions configures [NewOTel].
type OTelOptions struct {
	// Address is the URL of an OTLP/HTTP endpoint. Without a path it means /v1/traces.
	// Required.
	Address string
	// Token is sent as a bearer token, or else Username and Password as basic
	// authentication. All may be empty.
	Token, Username, Password string
	// Service, Namespace and Instance become service.name, service.namespace and
	// service.instance.id. An empty Service is gitops.
	Service, Namespace, Instance string
	// HTTP says how to reach the server.
	HTTP HTTPOptions
}

// The JSON of OTLP: an ExportTraceServiceRequest and what is in it.
type (
	otlpRequest struct {
		ResourceSpans []otlpResourceSpans `json:"resourceSpans"`
	}
	otlpResourceSpans struct {
		Resource   otlpResource     `json:"resource"`
		ScopeSpans []otlpScopeSpans `json:"scopeSpans"`
	}
	otlpResource struct {
		Attributes []otlpAttribute `json:"attributes"`
	}
	otlpScopeSpans struct {
		Scope otlpScope  `json:"scope"`
		Spans []otlpSpan `json:"spans"`
	}
	otlpScope struct {
		Name string `json:"name"`
	}
	otlpSpan struct {
		TraceID    string          `json:"traceId"`
		SpanID     string          `json:"spanId"`
		Name       string          `json:"name"`
		Kind       int             `json:"kind"`
		Start      string          `json:"startTimeUnixNano"`
		End        string          `json:"endTimeUnixNano"`
		Attributes []otlpAttribute `json:"attributes"`
		Status     otlpStatus      `json:"status"`
	}
	otlpStatus struct {
		Code    int    `json:"code"`
		Message string `json:"message,omitempty"`
	}
	otlpAttribute struct {
		Key   string    `json:"key"`
		Value otlpValue `json:"value"`
	}
	otlpValue struct {
		String string `json:"stringValue"`
	}
)

// NewOTel sends each event as a span over OTLP/HTTP, in JSON. Spans about one revision
// are in one trace, so that a trace shows what became of a commit. A span that is sent
// twice has the same id both times.
func NewOTel(o OTelOptions) (*Sink, error) {
	s, err := dial(setup{
		name: "OpenTelemetry", address: o.Address, secrets: []string{o.Token, o.Username, o.Password}, public: true, http: o.HTTP,
	})
	if err != nil {
		return nil, err
	}
	target := s.base
	if strings.Trim(target.Path, "/") == "" {
		target = s.at("v1", "traces")
	}
	header := authorized(jsonHeader(), authorization(o.Token, o.Username, o.Password))
	return s.each(func(e events.Event) request {
		return request{url: target, header: header, body: encode(newOTLPRequest(o, e)), reply: post.MaxReply}
	}, s.otlpAnswer), nil
}

func newOTLPRequest(o OTelOptions, e events.Event) otlpRequest {
	service := o.Service
	if service == "" {
		service = "gitops"
	}
	resource := otlpAttributes([]fact{
		{"service.name", service}, {"service.namespace", o.Namespace}, {"service.instance.id", o.Instance},
	})
	return otlpRequest{[]otlpResourceSpans{{
		Resource:   otlpResource{resource},
		ScopeSpans: []otlpScopeSpans{{Scope: otlpScope{"gitopskit/events"}, Spans: []otlpSpan{newOTLPSpan(o, e)}}},
	}}}
}

func newOTLPSpan(o OTelOptions, e events.Event) otlpSpan {
	obj := e.InvolvedObject
	at := strconv.FormatInt(e.Timestamp.UnixNano(), 10)
	span := otlpSpan{
		TraceID: otlpID(16, o.Instance+":"+traceRevision(e)), SpanID: otlpID(8, string(encode(Clean(e)))),
		Name: fit(title(e), 200, perRune), Kind: 1, // internal
		Start: at, End: at,
		Status: otlpStatus{Code: 1}, // ok
		Attributes: otlpAttributes(append([]fact{
			{"object.uid", plain(obj.UID)}, {"object.kind", plain(obj.Kind)}, {"object.name", plain(obj.Name)},
			{"object.namespace", plain(obj.Namespace)}, {"event.reason", plain(e.Reason)},
			{"event.severity", string(e.Severity)}, {"event.message", fit(plain(e.Message), 8000, perRune)},
			{"event.controller", plain(e.ReportingController)},
		}, details(e, 100, 200, 1000)...)),
	}
	if isError(e) {
		span.Status = otlpStatus{Code: 2, Message: fit(plain(e.Message), 8000, perRune)}
	}
	return span
}

// traceRevision is what joins the spans of one trace: the revision of the source.
func traceRevision(e events.Event) string {
	for _, key := range []string{MetaOriginRevision, MetaRevision, MetaCommit} {
		if r := Metadata(e, key); r != "" {
			return r
		}
	}
	return "unknown"
}

// otlpID is an id of so many bytes in hexadecimal, which is never all zeros.
func otlpID(size int, of string) string {
	sum := sha256.Sum256([]byte(of))
	if binary.BigEndian.Uint64(sum[:8]) == 0 {
		sum[0] = 1
	}
	return hex.EncodeToString(sum[:size])
}

func otlpAttributes(all []fact) []otlpAttribute {
	out := make([]otlpAttribute, 0, len(all))
	for _, f := range all {
		if f.value != "" {
			out = append(out, otlpAttribute{f.key, otlpValue{f.value}})
		}
	}
	return out
}

// otlpAnswer reads what OTLP says: only some statuses are worth trying again, and a
// success may be a partial one.
func (c conn) otlpAnswer(reply post.Reply, err error) error {
	if err != nil {
		switch reply.Status {
		case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return err
		}
		return never(err)
	}
	var answer struct {
		Partial struct {
			Rejected any `json:"rejectedSpans"` // a number, or one in a string
		} `json:"partialSuccess"`
	}
	decode(reply.Body, &answer)
	switch answer.Partial.Rejected {
	case nil, "", "0", 0.0:
		return nil
	}
	return c.fail(true, "rejected the span")
}
