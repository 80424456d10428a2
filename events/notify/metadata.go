package notify

import (
	"maps"
	"slices"
	"strings"

	"github.com/gitopskit/gitopskit/events"
)

// The keys of metadata that decide where an event goes.
const (
	// MetaCommitStatus is there, with the value [CommitStatusUpdate], in events whose
	// only use is to update a commit's status.
	MetaCommitStatus = "commit_status"
	// MetaCommit names the commit that an event is about.
	MetaCommit = "commit"
	// MetaChangeRequest is the number of the change request (pull or merge request)
	// that an event is about.
	MetaChangeRequest = "change_request"
	// MetaRevision is the revision that an event is about.
	MetaRevision = "revision"
	// MetaOriginRevision is the revision of the source that an artifact was made of.
	MetaOriginRevision = "originRevision"
	// MetaSummary is what whoever asked for the event wants to be told with it.
	MetaSummary = "summary"

	// CommitStatusUpdate is the value of [MetaCommitStatus].
	CommitStatusUpdate = "update"

	// AnnotationPrefix starts the annotations of an object that its controller copies
	// into the metadata of the object's events.
	AnnotationPrefix = "event.toolkit.fluxcd.io/"
)

// groupOf is the group in an API version. That of the core has none.
func groupOf(apiVersion string) string {
	g, _, found := strings.Cut(apiVersion, "/")
	if !found {
		return ""
	}
	return g
}

// controllerPrefix starts the keys that are the controller's own: the API group of the
// object that an event is about. A core object has none, and nothing starts like that.
func controllerPrefix(e events.Event) string { return groupOf(e.InvolvedObject.APIVersion) + "/" }

// Metadata returns what an event's metadata says about a key. The controller's own
// entry wins, be it with the prefix of the object's API group or without, then comes
// that of the object's annotations.
func Metadata(e events.Event, key string) string {
	for _, k := range []string{controllerPrefix(e) + key, key, AnnotationPrefix + key} {
		if v, ok := e.Metadata[k]; ok {
			return v
		}
	}
	return ""
}

// internal are keys for which nobody outside has a use: the token by which equal
// events are recognised, and digests of what was applied.
func internal(key string) bool {
	return key == "token" || key == "digest" || key == "checksum"
}

// short is a key without its prefix.
func short(e events.Event, key string) string {
	if s, ok := strings.CutPrefix(key, controllerPrefix(e)); ok {
		return s
	}
	return strings.TrimPrefix(key, AnnotationPrefix)
}

// forwarded is the metadata that a platform gets to see: keys without a prefix, and no
// internal ones.
func forwarded(e events.Event) map[string]string {
	out := make(map[string]string, len(e.Metadata))
	for key := range e.Metadata {
		if s := short(e, key); !internal(s) {
			out[s] = Metadata(e, s)
		}
	}
	return out
}

// Clean returns the event as the outside world gets to see it: keys of metadata without
// the prefix of the object's API group or of annotations, and none that are internal
// (token, digest, checksum). Providers do this themselves with all that they send.
func Clean(e events.Event) events.Event {
	e.Metadata = forwarded(e)
	return e
}

// combine adds a rule's metadata to an event. From the weakest to the strongest: the
// object's annotations, the rule's metadata, its summary, the controller's own. Internal
// keys stay, since equal events are recognised by them. It returns the keys, without
// their prefix, for which two of these differ.
func combine(e events.Event, rule Rule) (events.Event, []string) {
	weaker := map[string]string{}
	var conflicts []string
	set := func(key, value string) {
		if old, ok := weaker[key]; ok && old != value {
			conflicts = append(conflicts, key)
		}
		weaker[key] = value
	}
	own := map[string]string{} // with the prefix that the controller gave
	for key, value := range e.Metadata {
		if s, ok := strings.CutPrefix(key, AnnotationPrefix); ok && controllerPrefix(e) != AnnotationPrefix {
			weaker[s] = value
		} else {
			own[key] = value
		}
	}
	for key, value := range rule.Metadata {
		set(key, value)
	}
	if rule.Summary != "" {
		set(MetaSummary, rule.Summary)
	}
	for key := range own {
		s := short(e, key)
		set(s, Metadata(events.Event{InvolvedObject: e.InvolvedObject, Metadata: own}, s))
		delete(weaker, s)
	}
	maps.Copy(weaker, own)
	e.Metadata = weaker
	slices.Sort(conflicts)
	return e, slices.Compact(conflicts)
}

// isNews reports whether an event is for people.
func isNews(e events.Event) bool { return Metadata(e, MetaCommitStatus) != CommitStatusUpdate }

// always is for providers that hand on every event.
func always(events.Event) bool { return true }

// concernsCommit reports whether a commit's status should be updated: for an event
// that is there for that, one that names a commit, and every failure.
func concernsCommit(e events.Event) bool {
	return !isNews(e) || Metadata(e, MetaCommit) != "" || isError(e)
}

// concernsChange reports whether a change request should be told.
func concernsChange(e events.Event) bool { return Metadata(e, MetaChangeRequest) != "" }
