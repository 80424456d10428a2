package notify

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/gitopskit/gitopskit/events"
)

// reasonProgressing is the reason of events about work that has not ended yet.
const reasonProgressing = "Progressing"

// concernsIncident reports whether an event opens or ends an incident: work that has
// not ended does neither.
func concernsIncident(e events.Event) bool { return isNews(e) && e.Reason != reasonProgressing }

// basicAuth is the value of an Authorization header.
func basicAuth(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// authorization is the header's value for a token or, without one, for a user and a
// password. It is empty without any of them.
func authorization(token, user, password string) string {
	switch {
	case token != "":
		return bearer(token)
	case user != "" || password != "":
		return basicAuth(user, password)
	}
	return ""
}

// authorized is a header that has an Authorization where there is one.
func authorized(header map[string][]string, value string) map[string][]string {
	if value != "" {
		header["Authorization"] = []string{value}
	}
	return header
}

// details lists metadata in the order of its keys, with what a platform has no room for
// left out or shortened. Lengths are in characters.
func details(e events.Event, most, longestKey, longestValue int) []fact {
	all := forwarded(e)
	var out []fact
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if all[key] == "" {
			continue
		}
		if len(out) == most {
			break
		}
		out = append(out, fact{fit(plain(key), longestKey, perRune), fit(plain(all[key]), longestValue, perRune)})
	}
	return out
}

// detailMap is details as a map.
func detailMap(e events.Event, most, longestKey, longestValue int) map[string]string {
	out := map[string]string{}
	for _, f := range details(e, most, longestKey, longestValue) {
		out[f.key] = f.value
	}
	return out
}

// incident identifies what is wrong with an object, until it is not any more: the
// object's UID, which differs between clusters, or else its name.
func incident(e events.Event) string {
	o := e.InvolvedObject
	if o.UID != "" {
		return fit(plain(o.UID), 255, perRune)
	}
	return fit(plain(o.Kind+"/"+o.Namespace+"/"+o.Name), 255, perRune)
}

// shortName is "kind/name" in small letters.
func shortName(e events.Event) string {
	return plain(strings.ToLower(e.InvolvedObject.Kind + "/" + e.InvolvedObject.Name))
}

// words spells a reason as people write: HealthCheckFailed is "health check failed".
func words(reason string) string {
	var b strings.Builder
	all := []rune(plain(reason))
	for i, r := range all {
		if i > 0 && wordStarts(all, i) {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// wordStarts reports whether a new word begins at a character: at a change of its
// class, where the last capital of several belongs to the small letters after it.
func wordStarts(all []rune, i int) bool {
	before, here := class(all[i-1]), class(all[i])
	if before == upper && here == lower {
		return false
	}
	if before == upper && here == upper {
		return i+1 < len(all) && class(all[i+1]) == lower
	}
	return before != here
}

const (
	lower = iota
	upper
	digit
	other
)

func class(r rune) int {
	switch {
	case unicode.IsLower(r):
		return lower
	case unicode.IsUpper(r):
		return upper
	case unicode.IsDigit(r):
		return digit
	}
	return other
}
