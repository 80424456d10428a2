package events_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gitopskit/gitopskit/events"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestWireFormat(t *testing.T) {
	e := events.Event{
		InvolvedObject: events.ObjectReference{
			Kind: "Kustomization", Namespace: "flux-system", Name: "apps", UID: "0b1c",
			APIVersion: "kustomize.toolkit.fluxcd.io/v1", ResourceVersion: "42",
		},
		Severity: events.SeverityError, Timestamp: noon, Message: "health check failed", Reason: "HealthCheckFailed",
		Metadata:            map[string]string{"kustomize.toolkit.fluxcd.io/revision": "main@sha1:1f0c"},
		ReportingController: "kustomize-controller", ReportingInstance: "kustomize-controller-0",
	}
	const wire = `{"involvedObject":{"kind":"Kustomization","namespace":"flux-system","name":"apps","uid":"0b1c",` +
		`"apiVersion":"kustomize.toolkit.fluxcd.io/v1","resourceVersion":"42"},"severity":"error",` +
		`"timestamp":"2026-08-21T12:00:00Z","message":"health check failed","reason":"HealthCheckFailed",` +
		`"metadata":{"kustomize.toolkit.fluxcd.io/revision":"main@sha1:1f0c"},` +
		`"reportingController":"kustomize-controller","reportingInstance":"kustomize-controller-0"}`
	got, err := json.Marshal(e)
	require.NoError(t, err)
	require.Equal(t, wire, string(got))

	back, err := events.Decode(strings.NewReader(wire), events.DecodeOptions{})
	require.NoError(t, err)
	require.True(t, e.Timestamp.Equal(&back.Timestamp))
	back.Timestamp = e.Timestamp // the same instant, in the local zone
	require.Equal(t, e, back)
}

func TestWireFormatOfALittle(t *testing.T) {
	e := event("cluster", "fine")
	e.InvolvedObject = events.ObjectReference{Kind: "Namespace", Name: "shop"}
	got, err := json.Marshal(e)
	require.NoError(t, err)
	require.Equal(t, `{"involvedObject":{"kind":"Namespace","name":"shop"},"severity":"info",`+
		`"timestamp":"2026-08-21T12:00:00Z","message":"fine","reason":"Succeeded","reportingController":"app-controller"}`, string(got))
	require.Equal(t, "Namespace shop", e.InvolvedObject.String())
}

func TestValidate(t *testing.T) {
	require.NoError(t, event("web", "fine").Validate())
	long := strings.Repeat("a", events.MaxField+1)
	for field, changes := range map[string][]func(*events.Event){
		"involvedObject.kind": {
			func(e *events.Event) { e.InvolvedObject.Kind = "" },
			func(e *events.Event) { e.InvolvedObject.Kind = long },
		},
		"involvedObject.name": {
			func(e *events.Event) { e.InvolvedObject.Name = "" },
			func(e *events.Event) { e.InvolvedObject.Name = long },
		},
		"involvedObject.namespace":       {func(e *events.Event) { e.InvolvedObject.Namespace = long }},
		"involvedObject.uid":             {func(e *events.Event) { e.InvolvedObject.UID = long }},
		"involvedObject.apiVersion":      {func(e *events.Event) { e.InvolvedObject.APIVersion = long }},
		"involvedObject.resourceVersion": {func(e *events.Event) { e.InvolvedObject.ResourceVersion = long }},
		"involvedObject.fieldPath":       {func(e *events.Event) { e.InvolvedObject.FieldPath = long }},
		"severity": {
			func(e *events.Event) { e.Severity = "" },
			func(e *events.Event) { e.Severity = "warning" },
		},
		"timestamp": {
			func(e *events.Event) { e.Timestamp = metav1.Time{} },
			func(e *events.Event) { e.Timestamp.Time = e.Timestamp.AddDate(-2027, 0, 0) },
			func(e *events.Event) { e.Timestamp.Time = e.Timestamp.AddDate(8000, 0, 0) },
		},
		"message": {
			func(e *events.Event) { e.Message = "" },
			func(e *events.Event) { e.Message = strings.Repeat("é", events.MaxMessage+1) },
		},
		"reason": {
			func(e *events.Event) { e.Reason = "" },
			func(e *events.Event) { e.Reason = long },
		},
		"metadata":            {func(e *events.Event) { e.Metadata = map[string]string{"a": strings.Repeat("b", events.MaxMetadata)} }},
		"reportingController": {func(e *events.Event) { e.ReportingController = "" }},
		"reportingInstance":   {func(e *events.Event) { e.ReportingInstance = long }},
	} {
		for _, change := range changes {
			e := event("web", "fine")
			change(&e)
			err := e.Validate()
			require.ErrorIs(t, err, events.ErrInvalid)
			var invalid *events.InvalidEventError
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, field, invalid.Field)
			require.Less(t, len(err.Error()), 1000, "an error does not repeat a long field")
		}
	}
	e := event("web", strings.Repeat("é", events.MaxMessage))
	require.NoError(t, e.Validate(), "the limit counts characters")
}

func TestDecode(t *testing.T) {
	valid, err := json.Marshal(event("web", "fine"))
	require.NoError(t, err)
	for name, test := range map[string]struct {
		in   string
		want error
		text string
	}{
		"valid":                 {string(valid), nil, ""},
		"blanks around":         {"\n " + string(valid) + "\n", nil, ""},
		"an unknown field":      {strings.Replace(string(valid), "{", `{"new":{"a":[1]},`, 1), nil, ""},
		"empty":                 {"", events.ErrInvalid, "unexpected end"},
		"null":                  {"null", events.ErrInvalid, "null is no event"},
		"an array":              {"[]", events.ErrInvalid, "array"},
		"no JSON":               {"event=1", events.ErrInvalid, "invalid character"},
		"two of them":           {string(valid) + string(valid), events.ErrInvalid, "after top-level value"},
		"a number as message":   {strings.Replace(string(valid), `"fine"`, "1", 1), events.ErrInvalid, `field "message" cannot be number`},
		"a message as metadata": {strings.Replace(string(valid), "{", `{"metadata":"x",`, 1), events.ErrInvalid, `field "metadata"`},
		"no time":               {strings.Replace(string(valid), "2026-08-21T12:00:00Z", "yesterday", 1), events.ErrInvalid, "yesterday"},
		"a null time":           {strings.Replace(string(valid), `"2026-08-21T12:00:00Z"`, "null", 1), events.ErrInvalid, "timestamp is required"},
		"nothing in it":         {"{}", events.ErrInvalid, "involvedObject.kind is required"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := events.Decode(strings.NewReader(test.in), events.DecodeOptions{})
			if test.want == nil {
				require.NoError(t, err)
				require.Equal(t, "fine", got.Message)
				return
			}
			require.ErrorIs(t, err, test.want)
			require.ErrorContains(t, err, test.text)
		})
	}
}

func TestDecodeLimit(t *testing.T) {
	valid, err := json.Marshal(event("web", "fine"))
	require.NoError(t, err)
	limit := int64(len(valid))
	_, err = events.Decode(strings.NewReader(string(valid)), events.DecodeOptions{MaxBytes: limit})
	require.NoError(t, err)
	_, err = events.Decode(strings.NewReader(string(valid)), events.DecodeOptions{MaxBytes: limit - 1})
	require.ErrorIs(t, err, events.ErrTooLarge)
}

// The largest event that may be emitted can be read by the one who gets it.
func TestLargestEventCanBeDecoded(t *testing.T) {
	e := event("web", strings.Repeat("\x01", events.MaxMessage)) // six bytes each on the wire
	e.Metadata = map[string]string{"k": strings.Repeat("\x01", events.MaxMetadata-1)}
	e.Reason = strings.Repeat("\x01", events.MaxField)
	require.NoError(t, e.Validate())
	wire, err := json.Marshal(e)
	require.NoError(t, err)
	back, err := events.Decode(strings.NewReader(string(wire)), events.DecodeOptions{})
	require.NoError(t, err)
	require.Equal(t, e.Metadata, back.Metadata)
}
