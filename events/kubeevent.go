package events

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/gitopskit/gitopskit/internal/clip"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// kubeEvent is the part of a core/v1 Event that the sink writes. The package of the
// real type would add three megabytes to every program.
type kubeEvent struct {
	APIVersion          string          `json:"apiVersion"`
	Kind                string          `json:"kind"`
	Metadata            kubeMeta        `json:"metadata"`
	InvolvedObject      ObjectReference `json:"involvedObject"`
	Reason              string          `json:"reason"`
	Message             string          `json:"message"`
	Source              kubeSource      `json:"source"`
	FirstTimestamp      metav1.Time     `json:"firstTimestamp"`
	LastTimestamp       metav1.Time     `json:"lastTimestamp"`
	Count               int32           `json:"count"`
	Type                string          `json:"type"`
	ReportingController string          `json:"reportingComponent"`
	ReportingInstance   string          `json:"reportingInstance"`
}

type kubeMeta struct {
	Name        string            `json:"name"`
	Namespace   string            `json:"namespace"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type kubeSource struct {
	Component string `json:"component"`
}

// newKubeEvent writes an event in the classic form, which has a count: it is the one
// that kubectl shows repeats of, and that may hold a longer message.
func newKubeEvent(e Event, maxMessage int) kubeEvent {
	mark := e.fingerprint()
	namespace := e.InvolvedObject.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault // where events about cluster-scoped objects live
	}
	return kubeEvent{
		APIVersion: "v1",
		Kind:       "Event",
		Metadata: kubeMeta{
			Name:        eventName(e.InvolvedObject.Name, e.Timestamp.Time, string(mark[:])),
			Namespace:   namespace,
			Annotations: annotations(e.Metadata),
		},
		InvolvedObject:      e.InvolvedObject,
		Reason:              e.Reason,
		Message:             clip.Text(e.Message, maxMessage),
		Source:              kubeSource{Component: e.ReportingController},
		FirstTimestamp:      e.Timestamp,
		LastTimestamp:       e.Timestamp,
		Count:               1,
		Type:                kubeType(e.Severity),
		ReportingController: e.ReportingController,
		ReportingInstance:   e.ReportingInstance,
	}
}

func kubeType(s Severity) string {
	if s == SeverityError {
		return "Warning"
	}
	return "Normal"
}

// eventName is the object's name, as far as it makes a name for an event, and a hash
// that differs for what differs.
func eventName(object string, at time.Time, distinct string) string {
	const longest = 200 // of the 253 that a name may have
	object = strings.Map(func(r rune) rune {
		if ('a' <= r && r <= 'z') || ('0' <= r && r <= '9') || r == '-' {
			return r
		}
		return '-' // a dot too: what stands between two has rules of its own
	}, strings.ToLower(object))
	object = strings.Trim(object[:min(len(object), longest)], "-")
	if object == "" {
		object = "object"
	}
	sum := sha256.Sum256([]byte(strconv.FormatInt(at.UnixNano(), 10) + distinct))
	return object + "." + hex.EncodeToString(sum[:8])
}

// annotations returns the metadata whose keys can be annotations.
func annotations(metadata map[string]string) map[string]string {
	valid := map[string]string{}
	for k, v := range metadata {
		// The server reads a key's case as it is but checks it in lower case.
		if len(validation.IsQualifiedName(strings.ToLower(k))) == 0 {
			valid[k] = v
		}
	}
	return valid
}
