// Package repository reads Helm repositories over HTTP: their index, of which it
// holds little and reads less, and the packed charts.
//
//	charts, err := repository.New("https://charts.example.org", repository.Options{})
//	if err != nil {
//		return err
//	}
//	defer charts.Close()
//	got, err := charts.Pull(ctx, "podinfo", "6.x")
//	if err != nil {
//		return err
//	}
//	chart, err := helm.LoadArchive(ctx, got.Archive, helm.LoadOptions{})
//
// # Guarantees
//
//   - An index that has not changed costs one conditional request. One that has is
//     read once, whoever asks, while it arrives; it is kept compressed, and only
//     what it says of the charts that are looked up is decoded.
//   - A version is chosen as Helm chooses it, and always the same one: those of
//     equal precedence are in the order of their time and their text. Tests hold the
//     index against Helm's own loader.
//   - The revision of an index is a digest of what it says of its charts, whatever
//     their order and the time at which it was generated.
//   - An archive is the chart and version that the index says, and has the digest
//     that it says. With a keyring, a chart is signed by one of its keys, under that
//     name and version, or it is refused.
//   - Errors that another attempt cannot cure have Terminal() bool. No error holds
//     credentials, a query of a URL, or text that steers a terminal.
//
// # Limits
//
// [Limits] bound bytes, charts, versions, nesting and time; each has a default.
// An index that is neither block YAML, as all known servers write it, nor JSON is
// read as a whole, and may therefore be of 8 MiB only. A fault in what the index
// says of one chart is an error where that chart is looked up; Helm refuses all of
// the index. Charts at oci:// URLs are for package registry. There are no proxies
// other than those that [Options.WrapTransport] brings.
//
// # Threat model
//
// The repository may be hostile. Credentials and the client certificate go to the
// scheme, host and port of its URL only, unless [Options.PassCredentials] says
// otherwise, and never with a redirect to another. Nothing leads from https to
// http. Addresses are looked at when they are dialled, so that no name leads to
// those that are refused. Texts from an index hold nothing that cannot be printed.
// An answer that does not end, or that comes drop by drop, ends at a limit.
//
// Without a keyring, and without digests in an index that came over https, whoever
// serves a chart decides what is in it.
package repository
