package receive

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// decode reads a body as JSON. How deep it is and how many values it has is counted
// first: decoded, an empty array takes ten times its bytes.
func decode(body []byte, l Limits) (any, error) {
	if err := measure(body, l); err != nil {
		return nil, err
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return nil, malformed("the body is not JSON") // what is wrong would quote it
	}
	return v, nil
}

// measure counts brackets and separators outside of strings. What is not JSON is
// found later.
func measure(body []byte, l Limits) error {
	depth, values, quoted := 0, 0, false
	for i := 0; i < len(body); i++ {
		switch ch := body[i]; {
		case quoted && ch == '\\':
			i++
		case ch == '"':
			quoted = !quoted
		case quoted:
		case ch == '{' || ch == '[':
			depth++
			values++
		case ch == '}' || ch == ']':
			depth--
		case ch == ',' || ch == ':':
			values++
		}
		if depth > l.Depth {
			return malformed("the body is nested more than %d deep", l.Depth)
		}
		if values > l.Values {
			return malformed("the body has more than %d values", l.Values)
		}
	}
	return nil
}

// formPayload takes the JSON out of a form, which GitHub sends where a webhook was
// not told otherwise.
func formPayload(h http.Header, body []byte) ([]byte, error) {
	if mediaType(h) != "application/x-www-form-urlencoded" {
		return body, nil
	}
	payload, ok := bytes.CutPrefix(body, []byte("payload="))
	if !ok || bytes.IndexByte(payload, '&') >= 0 {
		return body, nil // some senders of JSON call it a form, as curl does
	}
	text, err := url.QueryUnescape(string(payload))
	if err != nil {
		return nil, malformed("the form is not escaped as a form is")
	}
	return []byte(text), nil
}

// mediaType returns the type of a body, or "" where none is told.
func mediaType(h http.Header) string {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return kind
}

// bodyKey names a delivery by its body.
func bodyKey(raw []byte) string {
	sum := sha256.Sum256(raw)
	return "body:" + string(sum[:])
}

// idKey names a delivery by the platform's id, if there is one.
func idKey(id string) string {
	if id == "" {
		return ""
	}
	return "id:" + id
}

// object is decoded JSON, read without a look at whether it is there.
type object map[string]any

func (o object) obj(path ...string) object {
	for _, name := range path {
		o, _ = o[name].(map[string]any)
	}
	return o
}

func (o object) str(path ...string) string {
	last := len(path) - 1
	s, _ := o.obj(path[:last]...)[path[last]].(string)
	return s
}

// first returns the first of a list of objects.
func (o object) first(name string) object {
	list, _ := o[name].([]any)
	if len(list) == 0 {
		return nil
	}
	m, _ := list[0].(map[string]any)
	return m
}

// firstText returns the first of a list of strings.
func (o object) firstText(name string) string {
	list, _ := o[name].([]any)
	if len(list) == 0 {
		return ""
	}
	s, _ := list[0].(string)
	return s
}

// either returns the first that is not empty.
func either(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

// prefixed puts a prefix before a text that is not empty.
func prefixed(prefix, s string) string {
	if s == "" || strings.HasPrefix(s, prefix) {
		return s
	}
	return prefix + s
}
