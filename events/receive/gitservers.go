package receive

import "strings"

// parseGitHub reads what GitHub, Gitea and Forgejo send, who name most things alike.
func parseGitHub(d delivery) (facts, error) {
	h, b := d.header, d.body
	f := facts{
		event:      either(h.Get("X-GitHub-Event"), h.Get("X-Forgejo-Event"), h.Get("X-Gitea-Event")),
		id:         either(h.Get("X-GitHub-Delivery"), h.Get("X-Forgejo-Delivery"), h.Get("X-Gitea-Delivery")),
		repository: b.str("repository", "full_name"),
		// Bodies hold the time, so no two deliveries share one. The id is in a header,
		// which nobody signs: a replay would come under a new one.
		replay: bodyKey(d.raw),
	}
	switch f.event {
	case "ping":
		f.ping = true
	case "push":
		f.ref, f.revision = b.str("ref"), commit(b.str("after"))
	case "create", "delete":
		f.ref, f.revision = b.str("ref"), commit(b.str("sha"))
		if kind, ok := map[string]string{"branch": "refs/heads/", "tag": "refs/tags/"}[b.str("ref_type")]; ok {
			f.ref = prefixed(kind, f.ref)
		}
	case "pull_request":
		f.ref, f.revision = prefixed("refs/heads/", b.str("pull_request", "head", "ref")), b.str("pull_request", "head", "sha")
	case "release":
		f.ref = prefixed("refs/tags/", b.str("release", "tag_name"))
	case "package", "registry_package":
		p := b.obj(f.event)
		f.ref, f.revision = p.str("package_version", "container_metadata", "tag", "name"), p.str("package_version", "version")
	}
	return f, nil
}

// commit leaves out the zeros that stand for a reference that is gone.
func commit(hash string) string {
	if strings.Trim(hash, "0") == "" {
		return ""
	}
	return hash
}

func parseGitLab(d delivery) (facts, error) {
	h, b := d.header, d.body
	f := facts{
		event:      h.Get("X-Gitlab-Event"),
		id:         either(h.Get("Idempotency-Key"), h.Get("X-Gitlab-Event-UUID")),
		repository: either(b.str("project", "path_with_namespace"), b.str("path_with_namespace")),
		ref:        b.str("ref"),
		revision:   either(b.str("checkout_sha"), commit(b.str("after"))),
		// The UUID of an event is shared by the webhooks that follow from it; the other
		// one stays the same for the retries of one delivery, and for nothing else.
		replay: idKey(h.Get("Idempotency-Key")),
	}
	if attrs := b.obj("object_attributes"); attrs != nil && b.str("object_kind") == "merge_request" {
		f.ref = prefixed("refs/heads/", attrs.str("source_branch"))
		f.revision = attrs.str("last_commit", "id")
	}
	return f, nil
}

// parseBitbucket reads what Cloud sends, and Server or Data Center, which share
// little but their headers.
func parseBitbucket(d delivery) (facts, error) {
	f := facts{event: d.header.Get("X-Event-Key"), id: either(d.header.Get("X-Request-UUID"), d.header.Get("X-Request-Id"))}
	f.ping = f.event == "diagnostics:ping"
	f.replay = idKey(f.id)
	if d.body.str("date") != "" {
		f.replay = bodyKey(d.raw) // stronger, as the id is not signed; Cloud's bodies hold no time
	}
	repo := d.body.obj("repository")
	f.repository = repo.str("full_name")
	if f.repository == "" && repo.str("slug") != "" {
		f.repository = repo.str("project", "key") + "/" + repo.str("slug")
	}
	if change := d.body.first("changes"); change != nil { // Server
		f.ref, f.revision = change.str("ref", "id"), commit(change.str("toHash"))
	}
	change := d.body.obj("push").first("changes") // Cloud
	at := change.obj("new")
	if at == nil {
		at = change.obj("old") // it was deleted
	} else {
		f.revision = at.str("target", "hash")
	}
	switch at.str("type") {
	case "branch":
		f.ref = prefixed("refs/heads/", at.str("name"))
	case "tag":
		f.ref = prefixed("refs/tags/", at.str("name"))
	}
	return f, nil
}
