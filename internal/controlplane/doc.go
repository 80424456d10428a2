// Package controlplane builds and starts a real Kubernetes control plane on
// loopback, for tests and for the demo. Nothing but Go has to be installed:
// the binaries are built once, from the module in tools/controlplane, and kept
// in the user's cache folder.
//
//	plane, err := controlplane.Start(ctx, controlplane.Options{})
//	if err != nil {
//		return err
//	}
//	defer plane.Close()
//	client, err := dynamic.NewForConfig(plane.Config())
//
// The small pair, etcd and kube-apiserver, stores and validates objects, and
// does no more: a Deployment gets no pods, a namespace stays Terminating, and
// an owner's dependents outlive it. [Options].Workloads adds
// kube-controller-manager, kube-scheduler and kwok with simulated nodes, so
// that all of this happens, and pods become ready without running anything.
//
// # Guarantees
//
//   - Planes do not disturb each other: each has its own data directory, certificate
//     authority, port and process groups. etcd listens on Unix sockets below
//     the data directory, which only this user may enter.
//   - No process and no file is left behind, however the process that started
//     the plane ends: [Plane.Close], exit, panic, Ctrl-C or kill -9. A small
//     shell process per plane holds the other end of a pipe and clears up
//     when the pipe closes.
//   - A binary appears in the cache whole or not at all, and one process at a
//     time builds it; others wait, and say so.
//   - A component that does not come up is named in the error, with the end of
//     its log.
//
// # Limits
//
// Linux and macOS. Data does not survive the plane: etcd runs without fsync.
// Certificates hold for a year. The first build takes some minutes on two
// cores; Go's build cache shortens every later one.
//
// # Environment
//
// KUBEBUILDER_ASSETS names a folder that holds the binaries already, as
// controller-runtime's envtest reads it. Nothing is built then.
//
// # Threat model
//
// The plane is for data that is worth nothing. It listens on loopback only and
// authenticates every client by certificate, so that other users of the
// machine get no further than the TLS handshake.
package controlplane
