// Package transfer serves and fetches the archives of package artifact over HTTP: a
// [Handler] for whoever keeps them, and a [Fetcher] for whoever wants them. It also
// fetches what Flux's source-controller publishes.
//
//	handler := transfer.NewHandler(store.Backend(), transfer.HandlerOptions{})
//	err := transfer.NewServer(":9090", handler).ListenAndServe()
//
//	fetcher, err := transfer.NewFetcher(transfer.FetcherOptions{})
//	tree, err := fetcher.Open(ctx, published, artifact.OpenOptions{})
//
// # Guarantees
//
//   - A [Handler] serves archives by their digest and nothing else, whole, in ranges
//     and on conditions. It lists nothing, and tells a client nothing of what went
//     wrong. Several replicas may serve from one backend.
//   - A [Fetcher] goes on where a connection was lost, and checks, expands and writes
//     while bytes come in. What belongs to another archive is never mixed in.
//   - Nothing that was fetched is shown before its digest was checked.
//   - Errors that trying again cannot cure have a method Terminal that says so.
//
// # Limits
//
// A download may not make fewer than 128 KiB in 30 s, is tried again five times
// for each MiB, and follows five redirects. The context bounds it as a whole. What
// it brings is bounded by [artifact.Limits]. [NewServer] has the bounds of the
// other side.
//
// # Threat model
//
// Servers may lie about sizes, ranges and tags, send slowly or without end, and
// redirect: not from https to http, and not to link-local addresses, where clouds
// keep credentials. Tokens and client certificates are for the origin of the
// artifact's URL alone. Errors hold no query, user or token.
//
// Clients may be anybody. Whoever can reach a handler and knows a digest can read
// the archive, unless HandlerOptions.Allow says otherwise; names in a path are for
// people and protect nothing.
package transfer
