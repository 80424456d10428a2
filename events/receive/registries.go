package receive

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// push is the event of registries that send nothing else.
const push = "push"

// parseHarbor reads both formats that a policy of Harbor can ask for: its own, and
// CloudEvents.
func parseHarbor(d delivery) (facts, error) {
	data := d.body.obj("event_data")
	f := facts{event: d.body.str("type")}
	if d.body.str("specversion") != "" {
		data = d.body.obj("data")
		f.id, f.replay = d.body.str("id"), idKey(d.body.str("id"))
	}
	resource := data.first("resources")
	f.repository, f.ref, f.revision = data.str("repository", "repo_full_name"), resource.str("tag"), resource.str("digest")
	return f, nil
}

func parseDockerHub(d delivery) (facts, error) {
	f := facts{event: push, repository: d.body.str("repository", "repo_name"), ref: d.body.str("push_data", "tag")}
	if f.repository == "" {
		return facts{}, malformed("repository.repo_name is missing")
	}
	return f, nil
}

func parseQuay(d delivery) (facts, error) {
	f := facts{event: push, repository: either(d.body.str("docker_url"), d.body.str("repository")), ref: d.body.firstText("updated_tags")}
	if f.repository == "" {
		return facts{}, malformed("docker_url is missing")
	}
	return f, nil
}

// parseGCR reads the message of a Pub/Sub push, in which the news of the registry is
// in base64.
func parseGCR(d delivery) (facts, error) {
	const most = 64 << 10 // the news is two names
	message := d.body.obj("message")
	text := message.str("data")
	if len(text) > most {
		return facts{}, malformed("message.data has %d bytes; at most %d are allowed", len(text), most)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return facts{}, malformed("message.data is not base64")
	}
	var news struct{ Action, Digest, Tag string }
	if err := json.Unmarshal(raw, &news); err != nil {
		return facts{}, malformed("message.data does not hold JSON of a registry")
	}
	id := either(message.str("messageId"), message.str("message_id"))
	f := facts{event: news.Action, id: id, replay: idKey(id)}
	if name, digest, ok := strings.Cut(news.Digest, "@"); ok {
		f.repository, f.revision = name, digest
	}
	if i := strings.LastIndexByte(news.Tag, ':'); i > strings.LastIndexByte(news.Tag, '/') {
		f.repository, f.ref = news.Tag[:i], news.Tag[i+1:]
	}
	return f, nil
}

func parseACR(d delivery) (facts, error) {
	target := d.body.obj("target")
	f := facts{
		event: d.body.str("action"), id: d.body.str("id"),
		repository: target.str("repository"), ref: target.str("tag"), revision: target.str("digest"),
	}
	if host := d.body.str("request", "host"); host != "" && f.repository != "" {
		f.repository = host + "/" + f.repository
	}
	f.ping = f.event == "ping"
	f.replay = idKey(f.id)
	return f, nil
}

func parseNexus(d delivery) (facts, error) {
	f := facts{
		event:      d.header.Get("X-Nexus-Webhook-Id"),
		id:         d.header.Get("X-Nexus-Webhook-Delivery"),
		repository: d.body.str("repositoryName"),
		ref:        d.body.str("component", "version"),
	}
	if f.replay = idKey(f.id); d.body.str("timestamp") != "" {
		f.replay = bodyKey(d.raw) // stronger, as the id is not signed
	}
	return f, nil
}
