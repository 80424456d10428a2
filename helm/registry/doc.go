// Package registry fetches Helm charts from OCI registries.
//
//	podinfo, err := registry.New("oci://ghcr.io/stefanprodan/charts/podinfo", registry.Options{})
//	if err != nil {
//		return err
//	}
//	defer podinfo.Close()
//	got, err := podinfo.Pull(ctx, registry.Ref{SemVer: "6.x"})
//	if err != nil {
//		return err
//	}
//	chart, err := helm.LoadArchive(ctx, got.Archive, helm.LoadOptions{})
//
// # Guarantees
//
//   - A chart is what helm push makes, its content is what the digests say, and its
//     version is what its tag says. A range means the newest version in it, always
//     the same one.
//   - Resolve tells with one request whether a tag has moved.
//   - With a keyring, a chart is signed by one of its keys, under its name and
//     version, or it is refused.
//   - Errors that another attempt cannot cure have Terminal() bool. No error holds
//     credentials, or text that steers a terminal.
//
// # Limits
//
// [Limits] bound tags, bytes and time; each has a default. Digests are sha256.
// Charts are not pushed, and signatures of cosign and notation are not verified.
// There are no proxies other than those that [Options.WrapTransport] brings.
//
// # Threat model
//
// The registry may be hostile. The password goes to its own scheme, host and port,
// and to a server of tokens that is the registry itself, that is a domain above
// it, or that [Options.TokenHosts] names: a registry cannot send it elsewhere. No
// credentials follow a redirect of a blob, or a next page, to another host.
// Nothing leads from https to http. Addresses are looked at when they are dialled.
// Nothing is used before its digest was checked.
package registry
