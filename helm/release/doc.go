// Package release keeps Helm releases: it compares what is desired with what
// Helm's history says and with the live objects, does what is needed, and says what
// it did and why. The helm command reads its history, and it reads the helm
// command's.
//
//	engine, err := release.New(config, release.Options{})
//	if err != nil {
//		return err
//	}
//	defer engine.Close()
//	result, err := engine.Reconcile(ctx, release.Spec{Name: "corner", Namespace: "shop", Chart: chart, Values: values}, state)
//	if result != nil {
//		state = result.State // keep it for the next call
//	}
//	return err
//
// # Guarantees
//
//   - A release that is as it should be costs one request; with drift detection one
//     more for each type and namespace of its objects, whose metadata alone is read,
//     or with none where [Engine.Watch] is used.
//   - The history is Helm 3's: helm list, history, status, get, upgrade, rollback,
//     test and uninstall work on it.
//   - What others did is found and brought back: an upgrade, a rollback or an
//     uninstallation with the helm command, a deleted or edited record. An action
//     that did not end, ours or theirs, is unlocked.
//   - A version is stored before its first object is written, and no object that
//     belongs to somebody else is written or deleted unless that is asked for.
//     Objects are deleted by their UID, and only if they carry the release's marks.
//   - Each call takes each action at most once. Failures are counted for what is
//     desired; when no retries remain, the error is terminal and nothing is tried.
//   - The Result is complete, whatever the error: every action with its objects,
//     its hooks and the engine's last words. Values of Secrets are in none of it.
//
// # How it differs from Helm
//
// Objects are applied by the server (server-side apply, taking over conflicts), and
// what helm or kubectl wrote before becomes this engine's. So fields that others
// set, and the chart does not name, stay; lists with duplicate keys are refused;
// fields that the type does not have are always refused. An upgrade deletes what
// the version that is deployed had, and also what failed ones left. Templates reach
// no cluster: lookup finds nothing. Ready is what kstatus says, found by watching.
// Hooks are created and waited for as Helm does; a hook's object that exists and is
// no hook is never deleted.
//
// # Limits
//
// A record unpacks to at most 64 MiB and a version fits into a Secret of 1 MiB. An
// action takes at most its timeout. At most 10 snapshots, 100 fields of drift for
// each object, 40 lines of log for each action. Values of an earlier version are
// not reused. Pod logs of hooks are not read; hooks need a name. Two controllers
// must not keep the same release: a pending action is taken for one that nobody
// works on any more, and unlocked at once.
//
// # Threat model
//
// Charts, values and stored records may be hostile, as may the texts of the server
// and its webhooks. What package helm says of charts holds here. Everything that
// concerns a release is done with the rights of the engine that does it (see
// [Engine.As]); what the server serves is asked for with those of the first engine.
// Names cannot address other objects than those that they name. A record is
// believed only if it names itself rightly; a rollback goes only to a version whose
// content is the one that was observed.
package release
