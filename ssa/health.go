package ssa

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/internal/clip"
	"github.com/gitopskit/gitopskit/internal/kube"
)

// Status is an object's health, as kstatus defines it, but for Jobs: those are
// Current when they are complete, or suspended, and not as soon as they run.
type Status string

// The kstatus values.
const (
	Current     Status = "Current"     // it is what its specification asks for
	InProgress  Status = "InProgress"  // its controller is at work
	Broken      Status = "Failed"      // its controller says that it cannot go on
	Terminating Status = "Terminating" // it is being deleted
	NotFound    Status = "NotFound"    // it does not exist
	Unknown     Status = "Unknown"     // its status cannot be read
)

// Health is the status of one object, and why.
type Health struct {
	Key     gc.Key
	Status  Status
	Message string
}

// HealthFunc tells the health of an object that exists and is not being deleted,
// and why. It must not change the object, and should end when ctx does. An empty
// status leaves the decision to the next check, and at last to kstatus. An error
// makes the object Unknown until it changes. It is called for each version of an
// object that the server reports, from several goroutines.
type HealthFunc func(ctx context.Context, obj *unstructured.Unstructured) (s Status, message string, err error)

// HealthCheck is a function that judges the objects of one kind, or, without a
// kind, those of every kind that Wait looks at.
type HealthCheck struct {
	Group, Kind string
	Func        HealthFunc
}

// doctor examines objects: what the caller's checks leave open, kstatus decides.
type doctor struct {
	special   map[schema.GroupKind]bool
	checks    []HealthCheck
	undecided Status
}

func newDoctor(opts WaitOptions) (*doctor, error) {
	d := &doctor{special: map[schema.GroupKind]bool{}, checks: opts.Checks, undecided: opts.Undecided}
	for i, c := range opts.Checks {
		if c.Func == nil {
			return nil, fmt.Errorf("wait: WaitOptions.Checks[%d] has no function", i)
		}
		if c.Kind == "" && c.Group != "" {
			return nil, fmt.Errorf("wait: WaitOptions.Checks[%d] has a group and no kind; set both or neither", i)
		}
		if c.Kind != "" {
			d.special[schema.GroupKind{Group: c.Group, Kind: c.Kind}] = true
		}
	}
	switch opts.Undecided {
	case "":
		d.undecided = Current
	case Current, InProgress, Unknown:
	default:
		return nil, errors.New("wait: WaitOptions.Undecided must be Current, InProgress or Unknown")
	}
	return d, nil
}

// knows reports whether a check names the kind of an object.
func (d *doctor) knows(k gc.Key) bool {
	return d.special[schema.GroupKind{Group: k.Group, Kind: k.Kind}]
}

func (d *doctor) examine(ctx context.Context, key gc.Key, u *unstructured.Unstructured) Health {
	if u.GetDeletionTimestamp() != nil && (!isJob(key) || !isComplete(u)) {
		return Health{Key: key, Status: Terminating, Message: "it is being deleted"}
	}
	for _, c := range d.checks {
		if c.Kind != "" && (c.Kind != key.Kind || c.Group != key.Group) {
			continue
		}
		s, message, err := c.Func(ctx, u)
		switch {
		case err != nil && isSecret(key):
			return Health{Key: key, Status: Unknown, Message: "its health check failed (" + kube.Withheld + ")"}
		case err != nil:
			return Health{Key: key, Status: Unknown, Message: clip.Quote(err.Error(), maxMessage)}
		case s != "":
			return Health{Key: key, Status: valid(s), Message: clip.Quote(message, maxMessage)}
		}
	}
	return d.byKstatus(key, u)
}

func (d *doctor) byKstatus(key gc.Key, u *unstructured.Unstructured) Health {
	if isCustom(key) && d.undecided != Current && !tells(u) {
		return Health{Key: key, Status: d.undecided, Message: "it says nothing of its health yet, or never does"}
	}
	res, err := status.Compute(u)
	if err != nil {
		return Health{Key: key, Status: Unknown, Message: clip.Quote(err.Error(), maxMessage)}
	}
	h := Health{Key: key, Status: Status(res.Status), Message: clip.Quote(res.Message, maxMessage)}
	if isJob(key) && h.Status != Broken && !isComplete(u) {
		if suspended, _, _ := unstructured.NestedBool(u.Object, "spec", "suspend"); suspended {
			return Health{Key: key, Status: Current, Message: suspendedJob}
		}
		h.Status = InProgress // for kstatus a Job has arrived when it runs
	}
	return h
}

func valid(s Status) Status {
	switch s {
	case Current, InProgress, Broken, Terminating, NotFound:
		return s
	default:
		return Unknown
	}
}

// maxMessage bounds what controllers say: a message ends up in errors and events.
const maxMessage = 1 << 10

func missing(key gc.Key) Health {
	return Health{Key: key, Status: NotFound, Message: "it does not exist"}
}

const suspendedJob = "it is suspended"

func isJob(k gc.Key) bool { return k.Group == "batch" && k.Kind == "Job" }

func isComplete(u *unstructured.Unstructured) bool {
	for _, c := range conditionsOf(u) {
		if c["type"] == "Complete" && c["status"] == "True" {
			return true
		}
	}
	return false
}

func conditionsOf(u *unstructured.Unstructured) []map[string]any {
	list, _, _ := unstructured.NestedFieldNoCopy(u.Object, "status", "conditions")
	items, _ := list.([]any)
	out := make([]map[string]any, 0, len(items))
	for _, item := range items {
		if c, ok := item.(map[string]any); ok {
			out = append(out, c)
		}
	}
	return out
}

// isCustom tells the kinds that somebody's definition brought: the groups of
// Kubernetes itself have no dot in their names, or end in .k8s.io.
func isCustom(k gc.Key) bool {
	return strings.Contains(k.Group, ".") && !strings.HasSuffix(k.Group, ".k8s.io")
}

// tells reports whether an object shows any sign that kstatus can read.
func tells(u *unstructured.Unstructured) bool {
	if _, ok, _ := unstructured.NestedFieldNoCopy(u.Object, "status", "observedGeneration"); ok {
		return true
	}
	for _, c := range conditionsOf(u) {
		switch c["type"] {
		case "Ready", "Reconciling", "Stalled":
			return true
		}
	}
	return false
}

// passive tells the kinds that are all they will ever be once they exist.
func passive(k gc.Key) bool {
	switch k.Group {
	case "":
		switch k.Kind {
		case "ConfigMap", "Secret", "ServiceAccount", "LimitRange", "ResourceQuota":
			return true
		}
	case rbacGroup, "admissionregistration.k8s.io", "scheduling.k8s.io", "storage.k8s.io":
		return true
	case "networking.k8s.io":
		return k.Kind == "NetworkPolicy" || k.Kind == "IngressClass"
	}
	return false
}
