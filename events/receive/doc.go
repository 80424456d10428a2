// Package receive takes webhooks from Git servers and registries, so that a controller
// hears of a change when it happens.
//
// A [Handler] serves any number of receivers, which come and go while it runs. What
// is authentic and wanted reaches one callback, with what the platform tells of it:
// the event, the repository, the reference and the revision.
//
// The shortest complete use:
//
//	h, err := receive.New(receive.Options{
//		Receive: func(ctx context.Context, req receive.Request) error {
//			return reconcileNow(ctx, req.Receiver, req.Revision) // an error asks for another delivery
//		},
//	})
//	if err != nil {
//		return err
//	}
//	path, err := h.Set(receive.Name{Namespace: "shop", Name: "web"}, receive.Receiver{
//		Type: receive.GitHub, Secret: token, Events: []string{"push"},
//	})
//	if err != nil {
//		return err
//	}
//	// "https://hooks.example.com" + path is the address of the webhook.
//
//	srv := receive.NewServer(h)
//	srv.Addr = ":9292"
//	err = srv.ListenAndServe()
//
// # Types
//
// What proves who sent a request:
//
//	github, gitea   HMAC-SHA256 of the body in X-Hub-Signature-256, or in X-Gitea-Signature
//	                or X-Forgejo-Signature; HMAC-SHA1 in X-Hub-Signature with AllowSHA1
//	gitlab          the secret in X-Gitlab-Token
//	bitbucket       HMAC-SHA256 in X-Hub-Signature; Cloud, Server and Data Center
//	harbor          the secret in Authorization, as it is
//	nexus           HMAC-SHA1 in X-Nexus-Webhook-Signature
//	gcr             Google's token of a Pub/Sub push, with Email and Audience
//	generic-hmac    X-Signature: sha256=<hex>; also sha1, sha224, sha384 and sha512
//	generic-oidc    a bearer token of one of Issuers, with all its Validations
//	dockerhub, quay, acr, cdevents, generic
//	                nothing but the path, which is then a secret: serve it over TLS alone
//
// The name of the event is X-GitHub-Event, X-Gitea-Event or X-Forgejo-Event,
// X-Gitlab-Event, X-Event-Key (Bitbucket), X-Nexus-Webhook-Id, the type of a CDEvent,
// the type in the body (Harbor), the action (GCR, ACR), and "push" for Docker Hub and
// Quay, which send nothing else. Generic types have none.
//
// # Answers
//
// No answer has a body, but for those that the server gives before it asks the handler.
//
//	200  taken, not wanted by the filter, received before, or a ping
//	400  authentic, but malformed, of an event that is not asked for, or the filter failed;
//	     or the body was too slow
//	404  the path is not known, or the request is not authentic: one answer for both
//	405  not a POST
//	413  the body is too large, whatever the path
//	415  the body is compressed, whatever the path
//	431  the header is too large, whatever the path
//	500  the callback failed
//	503  authentic, but suspended; too many requests for one receiver; or the keys of an
//	     issuer could not be had
//
// A platform may disable a webhook that is often answered with 400: ask it for no
// events but those in Events.
//
// # Guarantees
//
//   - The callback sees what passed every check, and nothing else. Secrets, MACs and
//     paths are compared in constant time; tokens and paths as digests, so that not even
//     a length shows.
//   - Until a request is authentic it is answered like one for a path that is not there:
//     the body is read and hashed in both cases, and nothing in it is parsed. A receiver
//     that waits for an issuer is slower.
//   - A path has the entropy of its secret and changes with it. Two receivers whose
//     paths would be the same are refused.
//   - A delivery that the callback took is not passed on again within Limits.ReplayWindow.
//     One that failed is: the platform can deliver it anew. Of two that come together the
//     second one waits for the first.
//   - Expressions are compiled once, by Set, and their mistakes are errors of Set.
//   - Changing a receiver loses no request: those that came in before end as they began.
//   - Observe hears of each request whose callback does not panic, and no secret is in
//     what it hears.
//
// # Replays
//
// A delivery is known by what its sender vouches for. The bodies of GitHub, Gitea, Forgejo,
// Bitbucket Server and Nexus hold a time and are signed, while their id is in a header that
// is not: a second request with the same body is a replay, whatever its id. The id counts
// where it is in the body (GCR, ACR, CDEvents, Harbor where it sends CloudEvents), and otherwise as the platform sends it:
// X-Request-UUID of Bitbucket Cloud and Idempotency-Key of GitLab. Who took such a request
// can send it again under another id; it is as authentic as before. Harbor's
// own format, Docker Hub, Quay and generic senders name no delivery, and each of their requests counts.
//
// "Redeliver" in the settings of a webhook sends the same again. Where the first one was
// taken, it is answered with 200 and does nothing within the window: what it would tell
// is known. Where the first one failed, it is taken. What was taken is remembered in
// memory, and forgotten with the process.
//
// # Limits
//
//   - A body has 3 MiB, a header 256 KiB, JSON 64 levels and 250,000 values. A body comes
//     within 30 s, also where the server sets no time limit of its own. [NewServer] bounds
//     the header.
//   - Each receiver serves 8 requests at a time, and others wait for up to 30 s, before
//     their body is read. The callback has 30 s.
//   - An expression has 8 KiB; one evaluation costs at most 1,000,000 and 100 ms; split
//     makes at most 1000 pieces.
//   - 4096 deliveries of a receiver are remembered, for 1 h. There are 10,000 receivers.
//   - A token has 16 KiB. An issuer answers with at most 256 KiB and 100 keys within 10 s;
//     its keys live for 1 h. Keys that are not known are asked for once a minute, and an
//     issuer that failed 5 s later. RSA keys have 2048 to 8192 bits.
//   - A receiver names 256 events and 16 issuers, and an issuer 64 variables and as many
//     validations. A secret has 8 bytes to 64 KiB, a fact of a [Request] 1024 bytes.
//
// # Threat model
//
// Whoever sends a request may be hostile, and may have the path from a log: bodies
// without end, slow ones, compressed ones, nested ones, forged tokens and signatures
// and replays cost bounded time and memory, and tell nothing. Who holds the path and not
// the secret can keep one receiver busy, and no other.
//
// A sender that is authentic may lie in what is not signed: the name of the event is in
// a header with all Git servers. What a request says is a reason to look at the source,
// and never what to deploy.
//
// The author of a receiver may be hostile to other receivers: filters are bounded, and the
// issuers that he names are asked at no loopback or link-local address, follow no redirect
// and are shown nothing. Private addresses are allowed, as issuers inside a cluster have
// them; bring a Transport to allow less.
package receive
