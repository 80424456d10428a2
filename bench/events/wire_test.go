package events_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitopskit/gitopskit/events"
)

func theirs() map[string]eventv1.Event {
	at := metav1.NewTime(time.Date(2026, 8, 21, 12, 0, 0, 0, time.UTC))
	return map[string]eventv1.Event{
		"all fields": {
			InvolvedObject: corev1.ObjectReference{
				Kind: "Kustomization", Namespace: "flux-system", Name: "apps", UID: "0b1c",
				APIVersion: "kustomize.toolkit.fluxcd.io/v1", ResourceVersion: "42", FieldPath: "spec.path",
			},
			Severity: eventv1.EventSeverityError, Timestamp: at, Reason: "HealthCheckFailed",
			Message: "failed: <b>\u2028&\"\\ \x01 é \U0001F600",
			Metadata: map[string]string{
				"kustomize.toolkit.fluxcd.io/revision": "main@sha1:1f0c", eventv1.MetaCommitStatusKey: eventv1.MetaCommitStatusUpdateValue,
				"empty": "",
			},
			ReportingController: "kustomize-controller", ReportingInstance: "kustomize-controller-0",
		},
		"a cluster-scoped object": {
			InvolvedObject: corev1.ObjectReference{Kind: "Namespace", Name: "shop", APIVersion: "v1"},
			Severity:       eventv1.EventSeverityTrace, Timestamp: at, Message: "m", Reason: "R", ReportingController: "c",
		},
		"the longest message": {
			InvolvedObject: corev1.ObjectReference{Kind: "App", Namespace: "shop", Name: "web"},
			Severity:       eventv1.EventSeverityInfo, Timestamp: at, Message: strings.Repeat("é", 39000), Reason: "R", ReportingController: "c",
		},
	}
}

// What Flux's controllers write is read, and what we write is the same, byte by byte.
func TestWireFormatIsFlux(t *testing.T) {
	for name, event := range theirs() {
		t.Run(name, func(t *testing.T) {
			wire, err := json.Marshal(event)
			require.NoError(t, err)
			ours, err := events.Decode(bytes.NewReader(wire), events.DecodeOptions{})
			require.NoError(t, err)
			written, err := json.Marshal(ours)
			require.NoError(t, err)
			require.Equal(t, string(wire), string(written))

			var back eventv1.Event
			require.NoError(t, json.Unmarshal(written, &back))
			require.True(t, event.Timestamp.Equal(&back.Timestamp))
			back.Timestamp = event.Timestamp // the same instant, in the local zone
			require.Equal(t, event, back)
		})
	}
}

func TestSeveritiesAreFlux(t *testing.T) {
	require.EqualValues(t, eventv1.EventSeverityTrace, events.SeverityTrace)
	require.EqualValues(t, eventv1.EventSeverityInfo, events.SeverityInfo)
	require.EqualValues(t, eventv1.EventSeverityError, events.SeverityError)
}
