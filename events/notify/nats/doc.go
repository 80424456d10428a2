// Package nats tells subjects of NATS about events. It is apart from package notify since
// it needs a client of its own.
//
// The shortest complete use:
//
//	sink, err := nats.New(nats.Options{
//		Address: "tls://nats.example.com", Subject: "gitops.events", Credentials: creds,
//	})
//	if err != nil {
//		return err
//	}
//	defer sink.CloseIdleConnections()
//
// # Guarantees
//
//   - An event is delivered once the server has confirmed that it has seen it. Whether
//     anybody listens to the subject is not known: NATS keeps nothing for them, unless a
//     stream of JetStream does.
//   - The connection is kept and, after a failure, made anew by the next event. No other
//     server than that of the address is ever connected to, whichever others it names.
//   - No secret, and nothing that a server wrote, is in an error.
//
// # Limits
//
// One event takes at most 10 s. From the server, 1 MiB is read between two events. What
// is longer than the server's max_payload, 1 MiB by default, is refused for good.
package nats
