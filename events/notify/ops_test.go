package notify_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/notify"
	"github.com/gitopskit/gitopskit/internal/hooktest"
)

const (
	opsHash     = "1f0c7e6b2a9d4c3f8e5b1a0d7c6f9e2b4d8a3c51"
	opsRevision = "main@sha1:" + opsHash
	opsMessage  = `health check failed: <Deployment> \"shop/web\" & *more* @all`
	opsMetadata = `{"env": "prod", "revision": "` + opsRevision + `"}`
)

// opsEvent is an event that names a commit, with changes.
func opsEvent(change ...func(*events.Event)) events.Event {
	e := hooktest.Event()
	e.Metadata["kustomize.toolkit.fluxcd.io/revision"] = opsRevision
	for _, c := range change {
		c(&e)
	}
	return e
}

func opsInfo(e *events.Event) { e.Severity, e.Reason = events.SeverityInfo, "ReconciliationSucceeded" }

// opsConform tries one provider after the other: some read much, and what they allocate
// is measured.
func opsConform(t *testing.T, all ...hooktest.Provider) {
	t.Helper()
	for _, p := range all {
		if p.Event.Message == "" {
			p.Event = opsEvent()
		}
		t.Run(p.Name, func(t *testing.T) { hooktest.Conform(t, p) })
	}
}

// opsToken is a token source.
func opsToken(context.Context) (string, error) { return canary, nil }

func TestIncidentTools(t *testing.T) {
	opsConform(t, hooktest.Provider{
		Name: "Opsgenie",
		New: func(server string) (events.Sink, error) {
			return notify.NewOpsgenie(notify.OpsgenieOptions{Address: server + "/v2/alerts", APIKey: canary, Origin: "uid-1", HTTP: local})
		},
		OK:     hooktest.Answer{Status: 202, Body: `{"result":"Request will be processed","took":0.1,"requestId":"r"}`},
		Path:   "/v2/alerts",
		Header: map[string]string{"Authorization": "GenieKey " + canary, "Content-Type": "application/json; charset=utf-8"},
		Body: `{
			"message": "Kustomization/web", "entity": "Kustomization shop/web", "source": "kustomize-controller", "priority": "P3",
			"alias": "f0c9968bf2b7bef298412d538263d9ceb68ede51544417cfa682f34baaf050f4",
			"description": "` + opsMessage + `",
			"details": {"severity": "error", "env": "prod", "revision": "` + opsRevision + `"}
		}`,
		Final: []hooktest.Answer{{Status: 422, Body: `{"message":"Request body is not processable"}`}},
	}, hooktest.Provider{
		Name: "PagerDuty",
		New: func(server string) (events.Sink, error) {
			return notify.NewPagerDuty(notify.PagerDutyOptions{Address: server + "/ignored", RoutingKey: canary, HTTP: local})
		},
		OK:     hooktest.Answer{Status: 202, Body: `{"status":"success","message":"Event processed","dedup_key":"uid-web"}`},
		Path:   "/v2/enqueue",
		Header: map[string]string{"Authorization": "-"},
		Body: `{
			"routing_key": "` + canary + `", "event_action": "trigger", "dedup_key": "uid-web",
			"payload": {
				"summary": "health check failed: kustomization/web", "source": "kustomize-controller", "severity": "error",
				"timestamp": "2026-08-21T12:00:00Z", "component": "web", "group": "Kustomization", "class": "HealthCheckFailed",
				"custom_details": {"message": "` + opsMessage + `", "metadata": ` + opsMetadata + `}
			}
		}`,
		Final: []hooktest.Answer{{Status: 400, Body: `{"status":"invalid event"}`}},
	}, hooktest.Provider{
		Name: "incident.io",
		New: func(server string) (events.Sink, error) {
			return notify.NewIncidentIO(notify.IncidentIOOptions{Address: server + "/v2/alert_events/http/01ABC", Token: canary, HTTP: local})
		},
		OK:     hooktest.Answer{Status: 202, Body: `{"deduplication_key":"uid-web","message":"Event accepted for processing","status":"success"}`},
		Path:   "/v2/alert_events/http/01ABC",
		Header: map[string]string{"Authorization": "Bearer " + canary},
		Body: `{
			"title": "Kustomization shop/web: HealthCheckFailed", "status": "firing", "deduplication_key": "uid-web",
			"description": "` + opsMessage + `",
			"metadata": {
				"env": "prod", "revision": "` + opsRevision + `", "severity": "error", "reason": "HealthCheckFailed",
				"reportingController": "kustomize-controller"
			}
		}`,
	}, opsAlertmanager("token", notify.AlertmanagerOptions{Token: canary}, "Bearer "+canary),
		opsAlertmanager("password", notify.AlertmanagerOptions{Username: "bob", Password: canary}, opsBasic("bob", canary)),
		opsAlertmanager("open", notify.AlertmanagerOptions{}, "-"))
}

func opsBasic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func opsAlertmanager(name string, o notify.AlertmanagerOptions, authorization string) hooktest.Provider {
	return hooktest.Provider{
		Name: "Alertmanager " + name,
		New: func(server string) (events.Sink, error) {
			o.Address, o.HTTP = server+"/api/v2/alerts", local
			return notify.NewAlertmanager(o)
		},
		Event:  opsEvent(func(e *events.Event) { e.Metadata["9.team/on-call"], e.Metadata["summary"] = "ops", "the shop" }),
		Path:   "/api/v2/alerts",
		Header: map[string]string{"Authorization": authorization},
		Body: `[{
			"labels": {
				"alertname": "FluxKustomizationHealthcheckfailed", "severity": "error", "reason": "HealthCheckFailed",
				"kind": "Kustomization", "name": "web", "namespace": "shop", "reportingcontroller": "kustomize-controller",
				"env": "prod", "revision": "` + opsRevision + `", "_9_team_on_call": "ops"
			},
			"annotations": {"message": "` + opsMessage + `", "summary": "the shop"},
			"startsAt": "2026-08-21T12:00:00Z"
		}]`,
		Final: []hooktest.Answer{{Status: 400, Body: `"bad matcher"`}},
	}
}

func TestObservers(t *testing.T) {
	opsConform(t, hooktest.Provider{
		Name: "Grafana",
		New: func(server string) (events.Sink, error) {
			return notify.NewGrafana(notify.GrafanaOptions{Address: server + "/grafana/api/annotations", Token: canary, DashboardUID: "d1", HTTP: local})
		},
		OK:     hooktest.Answer{Body: `{"message":"Annotation added","id":1}`},
		Path:   "/grafana/api/annotations",
		Header: map[string]string{"Authorization": "Bearer " + canary},
		Body: `{
			"dashboardUID": "d1", "time": 1787313600000,
			"text": "Kustomization shop/web: health check failed: &lt;Deployment&gt; \"shop/web\" &amp; *more* @all",
			"tags": [
				"flux", "kustomize-controller", "kind: Kustomization", "name: web", "namespace: shop", "severity: error",
				"reason: HealthCheckFailed", "env: prod", "revision: main@sha1|` + opsHash + `"
			]
		}`,
	}, hooktest.Provider{
		Name: "Datadog",
		New: func(server string) (events.Sink, error) {
			return notify.NewDatadog(notify.DatadogOptions{Address: server, APIKey: canary, HTTP: local})
		},
		OK:     hooktest.Answer{Status: 202, Body: `{"status":"ok"}`},
		Path:   "/api/v1/events",
		Header: map[string]string{"DD-API-KEY": canary, "Authorization": "-"},
		Body: `{
			"title": "Events from the Kustomization web/shop", "text": "` + opsMessage + `", "source_type_name": "fluxcd",
			"date_happened": 1787313600, "alert_type": "error",
			"tags": [
				"flux_reporting_controller:kustomize-controller", "flux_reason:healthcheckfailed", "kube_kind:kustomization",
				"kube_name:web", "kube_namespace:shop", "env:prod", "revision:` + opsRevision + `"
			]
		}`,
		Final: []hooktest.Answer{{Status: 403, Body: `{"errors":["Forbidden"]}`}, {Status: 400}},
		Retry: []hooktest.Answer{{Status: 429, Header: map[string]string{"X-RateLimit-Reset": "11"}, Wait: 11 * time.Second}},
	}, hooktest.Provider{
		Name: "Sentry",
		New: func(server string) (events.Sink, error) {
			return notify.NewSentry(notify.SentryOptions{
				DSN: strings.Replace(server, "http://", "http://"+canary+":secret-"+canary+"@", 1) + "/base/42", Environment: "prod", HTTP: local,
			})
		},
		OK:   hooktest.Answer{Body: `{"id":"0"}`},
		Path: "/base/api/42/envelope/",
		Header: map[string]string{
			"Content-Type":  "application/x-sentry-envelope",
			"X-Sentry-Auth": "Sentry sentry_version=7, sentry_client=gitopskit/1.0, sentry_key=" + canary,
		},
		Check: opsEnvelope,
		Retry: []hooktest.Answer{{
			Status: 429, Header: map[string]string{"X-Sentry-Rate-Limits": "9999:transaction:key, 60:default;error:organization"}, Wait: time.Minute,
		}},
	}, hooktest.Provider{
		Name: "OpenTelemetry",
		New: func(server string) (events.Sink, error) {
			return notify.NewOTel(notify.OTelOptions{Address: server, Token: canary, Service: "alerts/web", Instance: "uid-1", HTTP: local})
		},
		OK:     hooktest.Answer{Body: `{"partialSuccess":{}}`},
		Path:   "/v1/traces",
		Header: map[string]string{"Authorization": "Bearer " + canary, "Content-Type": "application/json; charset=utf-8"},
		Check:  opsSpan,
		Final:  []hooktest.Answer{{Status: 500}, {Status: 400}, {Body: `{"partialSuccess":{"rejectedSpans":"1","errorMessage":"` + canary + `"}}`}},
		Retry:  []hooktest.Answer{{Status: 502}, {Status: 504}},
	})
}

// opsEnvelope checks an envelope as Sentry reads it: lines of JSON, the second of which
// says how long the third is.
func opsEnvelope(t *testing.T, r hooktest.Request) {
	lines := strings.Split(r.Body, "\n")
	require.Len(t, lines, 4)
	require.Empty(t, lines[3])
	var head struct {
		ID string `json:"event_id"`
	}
	opsStrict(t, lines[0], &head)
	require.Regexp(t, "^[0-9a-f]{32}$", head.ID)
	require.JSONEq(t, `{"type":"event","content_type":"application/json","length":`+strconv.Itoa(len(lines[2]))+`}`, lines[1])
	require.JSONEq(t, `{
		"event_id": "`+head.ID+`", "timestamp": "2026-08-21T12:00:00Z", "platform": "other", "level": "error", "logger": "gitops",
		"server_name": "kustomize-controller", "transaction": "Kustomization shop/web", "environment": "prod",
		"logentry": {"formatted": "`+opsMessage+`"},
		"tags": {"kind": "Kustomization", "namespace": "shop", "name": "web", "reason": "HealthCheckFailed", "controller": "kustomize-controller"},
		"extra": `+opsMetadata+`, "fingerprint": ["Kustomization", "shop", "web", "HealthCheckFailed"]
	}`, lines[2])
}

func opsStrict(t *testing.T, text string, v any) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(v))
}

func opsSpan(t *testing.T, r hooktest.Request) {
	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(r.Body), &got))
	span := got["resourceSpans"].([]any)[0].(map[string]any)["scopeSpans"].([]any)[0].(map[string]any)["spans"].([]any)[0].(map[string]any)
	require.Regexp(t, "^[0-9a-f]{32}$", span["traceId"])
	require.Regexp(t, "^[0-9a-f]{16}$", span["spanId"])
	delete(span, "traceId")
	delete(span, "spanId")
	body, err := json.Marshal(got)
	require.NoError(t, err)
	attribute := func(key, value string) string { return `{"key":"` + key + `","value":{"stringValue":"` + value + `"}}` }
	require.JSONEq(t, `{"resourceSpans": [{
		"resource": {"attributes": [`+attribute("service.name", "alerts/web")+`,`+attribute("service.instance.id", "uid-1")+`]},
		"scopeSpans": [{"scope": {"name": "gitopskit/events"}, "spans": [{
			"name": "Kustomization shop/web", "kind": 1,
			"startTimeUnixNano": "1787313600000000000", "endTimeUnixNano": "1787313600000000000",
			"attributes": [`+strings.Join([]string{
		attribute("object.uid", "uid-web"), attribute("object.kind", "Kustomization"), attribute("object.name", "web"),
		attribute("object.namespace", "shop"), attribute("event.reason", "HealthCheckFailed"), attribute("event.severity", "error"),
		attribute("event.message", opsMessage), attribute("event.controller", "kustomize-controller"),
		attribute("env", "prod"), attribute("revision", opsRevision),
	}, ",")+`],
			"status": {"code": 2, "message": "`+opsMessage+`"}
		}]}]
	}]}`, string(body))
}

// opsWhole is the JSON of the event as the outside world gets it.
func opsWhole(t *testing.T) string {
	t.Helper()
	body, err := json.Marshal(notify.Clean(opsEvent()))
	require.NoError(t, err)
	return string(body)
}

func TestQueues(t *testing.T) {
	sas := "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=" + canary + ";EntityPath=hub"
	opsConform(t, hooktest.Provider{
		Name: "Pub/Sub",
		New: func(server string) (events.Sink, error) {
			return notify.NewPubSub(notify.PubSubOptions{
				Address: server, Project: "my-project", Topic: "news", Attributes: map[string]string{"cluster": "c1"}, Token: opsToken, HTTP: local,
			})
		},
		OK:     hooktest.Answer{Body: `{"messageIds":["1"]}`},
		Path:   "/v1/projects/my-project/topics/news:publish",
		Header: map[string]string{"Authorization": "Bearer " + canary},
		Check: func(t *testing.T, r hooktest.Request) {
			var got struct {
				Messages []struct {
					Data       []byte            `json:"data"`
					Attributes map[string]string `json:"attributes"`
				} `json:"messages"`
			}
			opsStrict(t, r.Body, &got)
			require.Len(t, got.Messages, 1)
			require.JSONEq(t, opsWhole(t), string(got.Messages[0].Data))
			require.Equal(t, map[string]string{"cluster": "c1"}, got.Messages[0].Attributes)
		},
		Final: []hooktest.Answer{{Status: 403, Body: `{"error":{"code":403,"status":"PERMISSION_DENIED","message":"` + canary + `"}}`}},
		Retry: []hooktest.Answer{{Status: 500, Body: `{"error":{"code":500,"status":"INTERNAL"}}`}},
	}, hooktest.Provider{
		Name: "Event Hubs with a connection string",
		New: func(server string) (events.Sink, error) {
			return notify.NewEventHubs(notify.EventHubsOptions{ConnectionString: sas, Address: server, HTTP: local})
		},
		OK:    hooktest.Answer{Status: 201},
		Path:  "/hub/messages",
		Query: url.Values{"api-version": {"2014-01"}},
		Check: func(t *testing.T, r hooktest.Request) {
			require.JSONEq(t, opsWhole(t), r.Body)
			opsSignature(t, r.Header.Get("Authorization"))
		},
	}, hooktest.Provider{
		Name: "Event Hubs with a token",
		New: func(server string) (events.Sink, error) {
			return notify.NewEventHubs(notify.EventHubsOptions{Address: server, Hub: "hub", Token: opsToken, HTTP: local})
		},
		OK:     hooktest.Answer{Status: 201},
		Path:   "/hub/messages",
		Query:  url.Values{"api-version": {"2014-01"}},
		Header: map[string]string{"Authorization": "Bearer " + canary},
		Check:  func(t *testing.T, r hooktest.Request) { require.JSONEq(t, opsWhole(t), r.Body) },
	})
}

// opsSignature checks a shared access signature as the service does.
func opsSignature(t *testing.T, header string) {
	rest, ok := strings.CutPrefix(header, "SharedAccessSignature ")
	require.True(t, ok)
	sr, _, _ := strings.Cut(strings.TrimPrefix(rest, "sr="), "&")
	values, err := url.ParseQuery(rest)
	require.NoError(t, err)
	require.Regexp(t, `^http://127\.0\.0\.1:\d+/hub$`, values.Get("sr"))
	require.Equal(t, "send", values.Get("skn"))
	expiry, err := strconv.ParseInt(values.Get("se"), 10, 64)
	require.NoError(t, err)
	require.WithinRange(t, time.Unix(expiry, 0), time.Now(), time.Now().Add(time.Hour))
	mac := hmac.New(sha256.New, []byte(canary))
	mac.Write([]byte(sr + "\n" + values.Get("se")))
	require.Equal(t, base64.StdEncoding.EncodeToString(mac.Sum(nil)), values.Get("sig"))
}

func TestPagerDutyResolvesAndTellsOfTheChange(t *testing.T) {
	server := hooktest.Start(t, hooktest.Answer{Status: 202})
	sink, err := notify.NewPagerDuty(notify.PagerDutyOptions{Address: server.URL, RoutingKey: "key", HTTP: local})
	require.NoError(t, err)
	defer sink.CloseIdleConnections()
	require.False(t, sink.Takes(opsEvent(func(e *events.Event) { e.Reason = "Progressing" })))
	require.NoError(t, sink.Send(t.Context(), opsEvent(opsInfo)))
	all := server.Requests()
	require.Len(t, all, 2)
	require.Equal(t, "/v2/enqueue", all[0].Path)
	require.JSONEq(t, `{"routing_key":"key","event_action":"resolve","dedup_key":"uid-web"}`, all[0].Body)
	require.Equal(t, "/v2/change/enqueue", all[1].Path)
	require.JSONEq(t, `{"routing_key":"key","payload":{
		"summary":"reconciliation succeeded: kustomization/web","source":"kustomize-controller","timestamp":"2026-08-21T12:00:00Z",
		"custom_details":{"message":"`+opsMessage+`","metadata":`+opsMetadata+`}
	}}`, all[1].Body)
}

func TestIncidentIOResolves(t *testing.T) {
	server := hooktest.Start(t, hooktest.Answer{Status: 202})
	sink, err := notify.NewIncidentIO(notify.IncidentIOOptions{Address: server.URL, Token: "t", HTTP: local})
	require.NoError(t, err)
	defer sink.CloseIdleConnections()
	require.False(t, sink.Takes(opsEvent(func(e *events.Event) { e.Reason = "Progressing" })))
	require.NoError(t, sink.Send(t.Context(), opsEvent(opsInfo, func(e *events.Event) { e.InvolvedObject.UID = "" })))
	require.Contains(t, server.One(t).Body, `"status":"resolved","deduplication_key":"Kustomization/shop/web"`)
}

func TestSpansAboutOneRevisionAreOneTrace(t *testing.T) {
	server := hooktest.Start(t, hooktest.Answer{})
	sink, err := notify.NewOTel(notify.OTelOptions{Address: server.URL + "/v1/traces", HTTP: local})
	require.NoError(t, err)
	defer sink.CloseIdleConnections()
	for _, e := range []events.Event{opsEvent(), opsEvent(opsInfo), opsEvent(), opsEvent(func(e *events.Event) {
		e.Metadata["kustomize.toolkit.fluxcd.io/revision"] = "main@sha1:" + strings.Repeat("a", 40)
	})} {
		require.NoError(t, sink.Send(t.Context(), e))
	}
	var traces, spans []string
	for _, r := range server.Requests() {
		_, after, _ := strings.Cut(r.Body, `"traceId":"`)
		traces = append(traces, after[:32])
		_, after, _ = strings.Cut(r.Body, `"spanId":"`)
		spans = append(spans, after[:16])
	}
	require.Equal(t, traces[0], traces[1])
	require.NotEqual(t, traces[0], traces[3])
	require.NotEqual(t, spans[0], spans[1])
	require.Equal(t, spans[0], spans[2])
}

// Every platform bounds what it takes: an event of the greatest size stays within.
func TestLargestEventFits(t *testing.T) {
	server := hooktest.Start(t, hooktest.Answer{})
	largest := opsEvent(func(e *events.Event) {
		e.Message = strings.Repeat("\u2028", events.MaxMessage) // six bytes each in JSON
		e.InvolvedObject.Name, e.Reason = strings.Repeat("n", 1000), strings.Repeat("Re", 500)
		for i := range 200 {
			e.Metadata[strconv.Itoa(i)+strings.Repeat("k", 300)] = strings.Repeat("\u20ac", 300)
		}
		e.Metadata[notify.MetaChangeRequest] = "7"
		require.NoError(t, e.Validate())
	})
	for name, c := range map[string]struct {
		most int
		make func() (*notify.Sink, error)
	}{
		"Opsgenie": {130 << 10, func() (*notify.Sink, error) {
			return notify.NewOpsgenie(notify.OpsgenieOptions{Address: server.URL, APIKey: "k", HTTP: local})
		}},
		"PagerDuty": {200 << 10, func() (*notify.Sink, error) {
			return notify.NewPagerDuty(notify.PagerDutyOptions{Address: server.URL, RoutingKey: "k", HTTP: local})
		}},
		"Sentry": {120 << 10, func() (*notify.Sink, error) {
			return notify.NewSentry(notify.SentryOptions{DSN: strings.Replace(server.URL, "//", "//k@", 1) + "/1", HTTP: local})
		}},
		"Datadog": {64 << 10, func() (*notify.Sink, error) {
			return notify.NewDatadog(notify.DatadogOptions{Address: server.URL, APIKey: "k", HTTP: local})
		}},
		"dispatch": {64 << 10, func() (*notify.Sink, error) {
			return notify.NewGitHubDispatch(opsRepository(server.URL))
		}},
		"event hub": {1 << 20, func() (*notify.Sink, error) {
			return notify.NewEventHubs(notify.EventHubsOptions{Address: server.URL, Hub: "h", Token: opsToken, HTTP: local})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			sink, err := c.make()
			require.NoError(t, err)
			defer sink.CloseIdleConnections()
			before := len(server.Requests())
			require.NoError(t, sink.Send(t.Context(), largest))
			body := server.Requests()[before].Body
			require.LessOrEqual(t, len(body), c.most)
			require.Contains(t, body, "nnnn")
		})
	}
}

func TestTokenSources(t *testing.T) {
	server := hooktest.Start(t, hooktest.Answer{})
	down := errors.New("the metadata server is down: " + canary)
	for name, c := range map[string]struct {
		source notify.TokenSource
		final  bool
	}{
		"fails":         {func(context.Context) (string, error) { return "", down }, false},
		"fails for all": {func(context.Context) (string, error) { return "", events.Permanent(down) }, true},
		"nothing":       {func(context.Context) (string, error) { return "", nil }, true},
		"two lines":     {func(context.Context) (string, error) { return canary + "\r\nX: y", nil }, true},
	} {
		t.Run(name, func(t *testing.T) {
			sink, err := notify.NewPubSub(notify.PubSubOptions{Address: server.URL, Project: "project", Topic: "topic", Token: c.source, HTTP: local})
			require.NoError(t, err)
			defer sink.CloseIdleConnections()
			err = sink.Send(t.Context(), opsEvent())
			var fail *events.SendError
			require.ErrorAs(t, err, &fail)
			require.Equal(t, c.final, fail.Terminal())
			require.NotContains(t, err.Error(), canary)
		})
	}
	require.Empty(t, server.Requests())
}

func TestOpsOptions(t *testing.T) {
	good := "https://example.com"
	for name, make := range map[string]func() (*notify.Sink, error){
		"no API key of Opsgenie":  func() (*notify.Sink, error) { return notify.NewOpsgenie(notify.OpsgenieOptions{}) },
		"no routing key":          func() (*notify.Sink, error) { return notify.NewPagerDuty(notify.PagerDutyOptions{}) },
		"no token of incident.io": func() (*notify.Sink, error) { return notify.NewIncidentIO(notify.IncidentIOOptions{Address: good}) },
		"no address":              func() (*notify.Sink, error) { return notify.NewAlertmanager(notify.AlertmanagerOptions{}) },
		"token over plain HTTP": func() (*notify.Sink, error) {
			return notify.NewGrafana(notify.GrafanaOptions{Address: "http://grafana:3000/api/annotations", Token: canary})
		},
		"no API key of Datadog": func() (*notify.Sink, error) { return notify.NewDatadog(notify.DatadogOptions{}) },
		"DSN without a key":     func() (*notify.Sink, error) { return notify.NewSentry(notify.SentryOptions{DSN: good + "/1"}) },
		"DSN without a project": func() (*notify.Sink, error) {
			return notify.NewSentry(notify.SentryOptions{DSN: "https://" + canary + "@h"})
		},
		"DSN with a way out": func() (*notify.Sink, error) { return notify.NewSentry(notify.SentryOptions{DSN: "https://k@h/.."}) },
		"DSN over plain HTTP": func() (*notify.Sink, error) {
			return notify.NewSentry(notify.SentryOptions{DSN: "http://" + canary + "@h/1"})
		},
		"project that is a path": func() (*notify.Sink, error) {
			return notify.NewPubSub(notify.PubSubOptions{Project: "../x", Topic: "news", Token: opsToken})
		},
		"no token source": func() (*notify.Sink, error) {
			return notify.NewPubSub(notify.PubSubOptions{Project: "project", Topic: "news"})
		},
		"attribute of Google's": func() (*notify.Sink, error) {
			return notify.NewPubSub(notify.PubSubOptions{Project: "project", Topic: "news", Token: opsToken, Attributes: map[string]string{"googx": "y"}})
		},
		"no credential for Azure": func() (*notify.Sink, error) {
			return notify.NewEventHubs(notify.EventHubsOptions{Address: good, Hub: "h"})
		},
		"connection string that is none": func() (*notify.Sink, error) {
			return notify.NewEventHubs(notify.EventHubsOptions{ConnectionString: "SharedAccessKey=" + canary, Hub: "h"})
		},
		"no event hub": func() (*notify.Sink, error) {
			return notify.NewEventHubs(notify.EventHubsOptions{ConnectionString: "Endpoint=sb://h/;SharedAccessKeyName=n;SharedAccessKey=" + canary})
		},
		"another event hub": func() (*notify.Sink, error) {
			return notify.NewEventHubs(notify.EventHubsOptions{ConnectionString: "Endpoint=sb://h/;SharedAccessKeyName=n;EntityPath=a;SharedAccessKey=" + canary, Hub: "b"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := make()
			var wrong *notify.OptionError
			require.ErrorAs(t, err, &wrong)
			require.True(t, wrong.Terminal())
			require.NotContains(t, err.Error(), canary)
			require.NotContains(t, err.Error(), good)
		})
	}
	sink, err := notify.NewEventHubs(notify.EventHubsOptions{ConnectionString: "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=n;SharedAccessKey=" + canary + "=;EntityPath=hub"})
	require.NoError(t, err)
	require.Equal(t, "Azure Event Hubs at https://ns.servicebus.windows.net", sink.String())
}

func TestReasonsInWords(t *testing.T) {
	for reason, want := range map[string]string{
		"HealthCheckFailed": "health check failed", "HTTPServerFailed": "http server failed", "OCIArtifactUpToDate": "oci artifact up to date",
		"Failed2Times": "failed 2 times", "failed": "failed", "ABC": "abc", "Git_Failed": "git _ failed", "": "", "\x00Evil\u202e": "evil",
	} {
		require.Equal(t, want, notify.OpsWords(reason), reason)
	}
}
