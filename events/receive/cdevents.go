package receive

import (
	"regexp"
	"time"
)

// cdEventType has a kind, a predicate and a version, as in
// dev.cdevents.artifact.published.0.1.0.
var cdEventType = regexp.MustCompile(`^dev\.(cdevents\.[a-z]+\.[a-z]+|cdeventsx\.[a-z]+-[a-z]+\.[a-z]+)\.[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$`)

// parseCDEvents reads a CDEvent that came as a CloudEvent: its attributes are in the
// header (binary mode) or around it (structured mode).
func parseCDEvents(d delivery) (facts, error) {
	event := d.body
	outer := func(name string) string { return d.header.Get("Ce-" + name) }
	switch mediaType(d.header) {
	case "application/cloudevents-batch+json":
		return facts{}, malformed("several events at once are not taken")
	case "application/cloudevents+json":
		envelope := d.body
		outer = func(name string) string { return envelope.str(name) }
		event = envelope.obj("data")
	}
	if err := checkCDEvent(event, outer); err != nil {
		return facts{}, err
	}
	context, subject := event.obj("context"), event.obj("subject")
	content := subject.obj("content")
	f := facts{
		event:      context.str("type"),
		id:         context.str("id"),
		repository: either(content.str("repository", "id"), subject.str("id")),
		ref:        content.str("tag"),
	}
	// An id is unique at its source alone.
	f.replay = bodyKey([]byte(context.str("source") + "\x00" + f.id))
	return f, nil
}

// checkCDEvent holds an event to what the specifications require: the attributes of
// CloudEvents, and context and subject as in the schemas of CDEvents.
func checkCDEvent(event object, outer func(string) string) error {
	if outer("specversion") != "1.0" {
		return malformed("it is not a CloudEvent of version 1.0")
	}
	context := event.obj("context")
	for _, field := range []string{"id", "source", "type"} {
		inner := context.str(field)
		if inner == "" {
			return malformed("context.%s is missing", field)
		}
		if outer(field) != inner {
			return malformed("context.%s is not the %s of the CloudEvent", field, field)
		}
	}
	if context.str("version") == "" && context.str("specversion") == "" {
		return malformed("context.version is missing")
	}
	if !cdEventType.MatchString(context.str("type")) {
		return malformed("context.type is no type of CDEvents")
	}
	if _, err := time.Parse(time.RFC3339Nano, context.str("timestamp")); err != nil {
		return malformed("context.timestamp is missing or no time as in RFC 3339")
	}
	subject := event.obj("subject")
	if subject.str("id") == "" {
		return malformed("subject.id is missing")
	}
	if subject.obj("content") == nil {
		return malformed("subject.content is missing")
	}
	return nil
}
