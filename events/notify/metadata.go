package notify

import (
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
)

// group is the API group of the object that an event is about, with which its
// controller may have prefixed the keys of the metadata.
func group(e events.Event) string {
	g, _, found := strings.Cut(e.InvolvedObject.APIVersion, "/")
	if !found {
		return ""
	}
	return g
}

// Metadata returns what an event's metadata says about a key, with or without the
// prefix of the object's API group. The controller's own, with the prefix, wins.
func Metadata(e events.Event, key string) string {
	if g := group(e); g != "" {
		if v, ok := e.Metadata[g+"/"+key]; ok {
			return v
		}
	}
	return e.Metadata[key]
}

// internal are keys for which nobody outside has a use: the token by which equal
// events are recognised, and digests of what was applied.
func internal(key string) bool {
	return key == "token" || key == "digest" || key == "checksum"
}

// forwarded is the metadata that a platform gets to see: keys without the group's
// prefix, and no internal ones.
func forwarded(e events.Event) map[string]string {
	prefix := group(e) + "/"
	out := map[string]string{}
	for key, value := range e.Metadata {
		short, own := strings.CutPrefix(key, prefix)
		if _, both := e.Metadata[prefix+key]; internal(short) || both && !own {
			continue
		}
		out[short] = value
	}
	return out
}

// Clean returns the event as the outside world gets to see it: keys of metadata without
// the prefix of the object's API group, and none that are internal (token, digest,
// checksum). Providers that hand on whole events do this themselves.
func Clean(e events.Event) events.Event {
	e.Metadata = forwarded(e)
	return e
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
