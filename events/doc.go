// Package events tells people and machines what happened to an object, without ever
// making the one who tells it wait.
//
// An [Event] has the JSON that GitOps tools exchange. A [Recorder] takes events to
// its sinks: an [HTTPSink] posts them to a webhook such as a notification controller,
// a [KubernetesSink] keeps them where kubectl describe shows them, and a [Sink] of
// your own is one method.
//
// The shortest complete use:
//
//	hook, err := events.NewHTTPSink("https://hooks.example.com/events", events.HTTPOptions{Token: token})
//	if err != nil {
//		return err
//	}
//	defer hook.CloseIdleConnections()
//	rec, err := events.New(events.Options{
//		Controller: "app-controller",
//		Sinks: []events.Route{{Name: "hook", Sink: hook, MinSeverity: events.SeverityInfo}},
//	})
//	if err != nil {
//		return err
//	}
//	defer rec.Close()
//
//	err = rec.Emit(events.Event{ // in a reconciler; an error says that it was dropped, and why
//		InvolvedObject: events.ObjectReference{Kind: "App", Namespace: "shop", Name: "web"},
//		Severity:       events.SeverityInfo,
//		Reason:         "Succeeded",
//		Message:        "applied main@sha1:1f0c",
//	})
//
//	err = rec.Flush(shutdownCtx) // at the end of the program, before Close
//
// What a controller exports as metrics is in [Stats]: counters and gauges by sink.
// Whoever needs a histogram of latencies has it from Options.OnDelivered.
//
// # Guarantees
//
//   - [Recorder.Emit] does not wait for a sink, a callback or room in a queue, and does
//     not panic.
//   - An event that Emit accepted is sent until the sink takes it, until the sink says
//     that it never will, or until [Retry].GiveUpAfter has passed. Whatever else becomes
//     of it is counted in [Stats] and told to a callback: nothing is lost in silence.
//   - Events about one object reach a sink in the order of the calls, one at a time,
//     also through failures. An event that a sink cannot take holds up the later ones
//     of its own object and no other object's.
//   - Equal events within a window are sent once. They are compared after a delivery
//     and per sink, so that a failed one is never taken for a duplicate.
//   - Pauses between attempts grow and vary. A sink that fails is probed with one event
//     at a time. What a sink asks for with Retry-After is honoured.
//   - Repeats of an event cost the API server a count now and then, not an object each,
//     and so do events that differ in their message alone, from the eleventh on.
//   - With a [Spool], what is accepted survives the process: written beside the
//     delivery, within microseconds where the disk is idle, with a sync within 200 ms.
//     [Recorder.Sync] waits for both. A process that is killed before loses what Emit
//     accepted since, and no more; a file that is cut off is read up to there. A full or
//     broken disk holds up nothing, and is told.
//
// Delivery is at least once: where an answer is lost on the way, or the process is
// killed before it noted one in its spool, a webhook sees the event again. A Kubernetes
// event is not written twice.
//
// # Limits
//
//   - A message has at most 39000 characters (a longer one is shortened by Emit),
//     metadata 256 KiB, other fields 1024 bytes. [Decode] reads at most 3 MiB.
//   - Each sink's queue holds 1000 events and 32 MiB; what does not fit is dropped and
//     counted, the newest first. Without a spool a queue ends with the process.
//   - A spool takes 64 MiB of disk, and gives up an event after 24 h.
//   - An attempt takes at most 15 s, pauses are 0.5 s to 30 s, a sink may ask for
//     10 min, an event is given up after 1 h. Equal events are sent once in 5 min.
//   - [HTTPSink]: 10 s for a request, 64 KiB of answer header, 64 KiB and 1 s of answer
//     body, which is not looked at.
//   - [KubernetesSink]: 1024 bytes of message, 20 requests a second, one write in 10 s
//     for the repeats of an event, 4096 different events remembered.
//
// All but the bounds of an event itself can be changed by options.
//
// Some receivers answer 429 to an event that they have seen before, Flux's
// notification-controller among them. Set HTTPOptions.TooManyIsDuplicate for these:
// otherwise the sink is left alone for the time that they ask for.
//
// # Threat model
//
// The server behind a webhook may be hostile. It can fail, hang, answer without end,
// redirect or lie, and costs bounded time and memory: it sees only its own events, is
// followed to no other host, scheme or method, and stops no other sink. What it writes
// reaches no error, and neither does a token, a key, or any part of an address but
// scheme and host. A token goes over plain HTTP only on request. Without a Transport of
// your own, requests to link-local addresses, and to those where clouds keep
// credentials, are refused after the name was resolved. The sender of an event that is
// decoded may be hostile too: it is bounded before it is parsed and validated after.
//
// The API server is trusted, and so is a sink of your own: one that ignores its
// context blocks a worker, and Close.
//
// A spool holds what events say, in files for their owner alone. What is read from it is
// bounded, checked and validated, so that a damaged one does no harm; but whoever can
// write to the folder can have events sent.
//
// What an event says is up to its author: this package does not know a secret when it
// sees one.
package events
