package notify

import (
	"strings"

	"github.com/gitopskit/gitopskit/events"
)

// commitOf returns the hash of the commit that an event is about, or nothing: of the
// commit that it names, of the source's revision, or of the object's own.
func commitOf(e events.Event) string {
	for _, key := range []string{MetaCommit, MetaOriginRevision, MetaRevision} {
		if hash := commitHash(Metadata(e, key)); hash != "" {
			return hash
		}
	}
	return ""
}

// commitHash returns the hash in a revision: main@sha1:<hash>, sha1:<hash>, the older
// main/<hash>, or the hash alone; 40 or 64 hexadecimal digits.
func commitHash(revision string) string {
	hash := revision[strings.LastIndexAny(revision, "@/")+1:]
	algorithm, digest, named := strings.Cut(hash, ":")
	switch {
	case !named && (isHex(hash, 40) || isHex(hash, 64)):
		return hash
	case algorithm == "sha1" && isHex(digest, 40), algorithm == "sha256" && isHex(digest, 64):
		return digest
	}
	return ""
}

func isHex(s string, length int) bool {
	return len(s) == length && strings.Trim(s, "0123456789abcdef") == ""
}
