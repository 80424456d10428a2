// Package notify tells chats, incident tools and other platforms about events: which
// ones, see [Rule], and how, see [Sink].
//
// A provider is an [events.Sink] for an [events.Recorder], which queues, waits and tries
// again. There is one for each platform: [NewGeneric] (signed with HMAC where there is a
// key), [NewSlack] (webhook and bot), [NewTeams], [NewDiscord], [NewRocket],
// [NewGoogleChat], [NewWebex], [NewTelegram], [NewLark], [NewMatrix], [NewZulip] and
// [NewZoom]. All take an address, what the platform needs to let us in, and
// [HTTPOptions].
//
// The shortest complete use is one provider and a recorder:
//
//	slack, err := notify.NewSlack(notify.SlackOptions{Token: token, Channel: "#ops"})
//	if err != nil {
//		return err
//	}
//	defer slack.CloseIdleConnections()
//	rec, err := events.New(events.Options{
//		Controller: "app-controller",
//		Sinks: []events.Route{{Name: "slack", Sink: slack, MinSeverity: events.SeverityInfo}},
//	})
//
// Where people decide what they want to hear of, a [Router] stands before the recorders,
// one for each [Target]. It is a sink as well, and what a notification controller is made
// of:
//
//	rule, err := notify.NewSelector(notify.Rule{
//		Name: "failures", Namespace: "shop",
//		Sources:  []notify.Source{{Kind: "Kustomization", Name: notify.Any}},
//		Severity: events.SeverityError,
//		Exclude:  []string{"^dependency .* is not ready"},
//		Summary:  "production, eu-1",
//	}, notify.SelectorOptions{})
//	...
//	router, err := notify.NewRouter([]notify.Target{
//		{Name: "shop/failures", Selector: rule, To: rec, Takes: slack.Takes},
//	}, notify.RouterOptions{})
//	err = router.Send(ctx, event)
//
// # Guarantees
//
//   - An exclusion wins over an inclusion. A part of a rule that is not valid is told by
//     [NewSelector], and takes away neither the rule's other parts nor other rules.
//   - The router waits for no target, and what goes wrong with one keeps the event from
//     no other.
//   - Metadata has one order, from the weakest to the strongest: annotations of the object
//     (with [AnnotationPrefix]), the rule's metadata, its summary, the controller's own.
//     Where two of them differ, [RouterOptions].OnConflict is told.
//   - Entries called token, digest or checksum, which are for controllers, reach no
//     platform.
//   - Events that only update a commit's status reach no chat, see [Sink.Takes].
//   - Every text fits the platform's limits as it counts them. What is too long is
//     shortened, the message first, never in the middle of a character.
//   - Errors of a platform that come with a status of 200 are errors. What can heal is
//     tried again by the recorder, after the time that the platform asks for, be it in a
//     header or in the body; what cannot has Terminal() true.
//
// Delivery is at least once: where an answer is lost on the way, a chat sees the event
// again. Matrix shows it once.
//
// # Limits
//
//   - A request takes at most 10 s with its answer. 64 KiB of an answer's header and of
//     its body are read.
//   - A rule has 100 inclusions and 100 exclusions of 4096 bytes. Expressions have the
//     syntax of package regexp, and match in time linear in the message.
//   - The most that is shown of a message: Slack 4000 characters, Teams 6000 bytes of
//     JSON, Discord 3000, Rocket.Chat 4000, Google Chat 16000 bytes of JSON, Webex 7439
//     bytes with metadata, Telegram 4096 with metadata, Lark 10000 bytes of JSON, Matrix
//     30000 with metadata, Zulip 10000 with metadata, Zoom 4000. Of metadata, the first
//     10 or 20 entries.
//   - Expressions see the message alone, and names match whole or by [Any].
//
// # Threat model
//
// A platform's server may be hostile or be fooled. It costs bounded time and memory. A
// redirect to another host, scheme or method is not followed. Of what the server writes,
// an error holds a number, or one word of letters that has nothing in common with a
// secret. No error, and no printed sink, holds a token, a key, or any part of an address
// but scheme and host. Secrets go over plain HTTP only on request; the address of a chat's
// webhook is one, and so is an extra header.
//
// Whoever may name an address may not be trusted with the network that we are in:
// link-local addresses, and those where clouds keep credentials, are refused, after the
// name was resolved. Loopback and private addresses are allowed, because services in the
// cluster have them. With a proxy or a Transport of the caller's, only an address that is
// written out can be seen: the proxy has to refuse the rest.
//
// The author of a rule is bounded, and can be kept to the rule's namespace with
// [SelectorOptions].
//
// Whoever causes an event chooses its words. They become text and nothing else: no call
// to everybody, no markup where the platform has a way to say so, no control characters.
// Rocket.Chat has no such way: words can be bold there, or a link. A secret in a message
// is sent like any other word.
package notify
