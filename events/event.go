package events

import (
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The bounds of an event.
const (
	// MaxMessage is the longest message, in characters.
	MaxMessage = 39000
	// MaxMetadata is the most that keys and values of the metadata take
	// together, in bytes: what the API server allows for annotations.
	MaxMetadata = 256 << 10
	// MaxField is the longest of the other texts, in bytes.
	MaxField = 1024
)

// Severity says how much an event matters.
type Severity string

// The severities, from the least to the greatest.
const (
	// SeverityTrace is for events that only somebody who looks at the object
	// wants to see.
	SeverityTrace Severity = "trace"
	// SeverityInfo is for news.
	SeverityInfo Severity = "info"
	// SeverityError is for failures.
	SeverityError Severity = "error"
)

// rank orders severities; what is no severity has rank 0.
func (s Severity) rank() int {
	return slices.Index([]Severity{SeverityTrace, SeverityInfo, SeverityError}, s) + 1
}

// Event is something that happened to an object, in the JSON that GitOps tools
// exchange.
type Event struct {
	// InvolvedObject is what the event is about. Kind and name are required.
	InvolvedObject ObjectReference `json:"involvedObject"`
	// Severity is trace, info or error.
	Severity Severity `json:"severity"`
	// Timestamp is when it happened. On the wire it has whole seconds.
	Timestamp metav1.Time `json:"timestamp"`
	// Message tells people what happened, in at most [MaxMessage] characters.
	Message string `json:"message"`
	// Reason tells machines what happened, in one CamelCase word.
	Reason string `json:"reason"`
	// Metadata holds further facts for machines, such as a revision. A sink
	// that keeps Kubernetes events writes them as annotations.
	Metadata map[string]string `json:"metadata,omitempty"`
	// ReportingController names the controller, such as kustomize-controller.
	ReportingController string `json:"reportingController"`
	// ReportingInstance names the controller's process, such as its pod.
	ReportingInstance string `json:"reportingInstance,omitempty"`
}

// ObjectReference names a Kubernetes object. It has the fields and the JSON of
// the core/v1 type without that package's weight.
type ObjectReference struct {
	Kind            string `json:"kind,omitempty"`
	Namespace       string `json:"namespace,omitempty"` // empty for cluster-scoped objects
	Name            string `json:"name,omitempty"`
	UID             string `json:"uid,omitempty"`
	APIVersion      string `json:"apiVersion,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
	FieldPath       string `json:"fieldPath,omitempty"`
}

// String returns "Kind namespace/name", or "Kind name" for a cluster-scoped object.
func (o ObjectReference) String() string {
	if o.Namespace == "" {
		return o.Kind + " " + o.Name
	}
	return o.Kind + " " + o.Namespace + "/" + o.Name
}

// Validate returns an [*InvalidEventError] for the first field that is missing or
// exceeds its bound.
func (e Event) Validate() error {
	if field, problem := e.check(); field != "" {
		return &InvalidEventError{Object: e.InvolvedObject, Field: field, Problem: problem}
	}
	return nil
}

func (e Event) check() (field, problem string) {
	o := e.InvolvedObject
	for _, f := range []struct {
		name, value string
		required    bool
	}{
		{"involvedObject.kind", o.Kind, true},
		{"involvedObject.name", o.Name, true},
		{"involvedObject.namespace", o.Namespace, false},
		{"involvedObject.uid", o.UID, false},
		{"involvedObject.apiVersion", o.APIVersion, false},
		{"involvedObject.resourceVersion", o.ResourceVersion, false},
		{"involvedObject.fieldPath", o.FieldPath, false},
		{"reason", e.Reason, true},
		{"reportingController", e.ReportingController, true},
		{"reportingInstance", e.ReportingInstance, false},
	} {
		switch {
		case f.required && f.value == "":
			return f.name, "is required"
		case len(f.value) > MaxField:
			return f.name, fmt.Sprintf("has %d bytes, the limit is %d", len(f.value), MaxField)
		}
	}
	return e.checkContent()
}

func (e Event) checkContent() (field, problem string) {
	switch {
	case e.Severity.rank() == 0:
		return "severity", "must be trace, info or error"
	case e.Timestamp.IsZero():
		return "timestamp", "is required"
	case e.Message == "":
		return "message", "is required"
	}
	// The wire format has years of four digits.
	if year := e.Timestamp.UTC().Year(); year < 1970 || year > 9999 {
		return "timestamp", fmt.Sprintf("is in the year %d", year)
	}
	if n := len(e.Message); n > MaxMessage && utf8.RuneCountInString(e.Message) > MaxMessage {
		return "message", fmt.Sprintf("has %d bytes, the limit is %d characters", n, MaxMessage)
	}
	if n := e.metadataSize(); n > MaxMetadata {
		return "metadata", fmt.Sprintf("has %d bytes, the limit is %d", n, MaxMetadata)
	}
	return "", ""
}

func (e Event) metadataSize() int {
	n := 0
	for k, v := range e.Metadata {
		n += len(k) + len(v)
	}
	return n
}

// clone returns an event that shares nothing with e that can be written to.
func (e Event) clone() Event {
	e.Metadata = maps.Clone(e.Metadata)
	return e
}
