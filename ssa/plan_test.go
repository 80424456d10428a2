package ssa_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitopskit/gitopskit/internal/controlplane/testplane"
	"github.com/gitopskit/gitopskit/ssa"
)

// plan plans and makes sure that nothing is written.
func (f *fixture) plan(t *testing.T, objs []*unstructured.Unstructured, opts ssa.ApplyOptions) *ssa.Plan {
	t.Helper()
	p, err := f.applier.Plan(t.Context(), objs, opts)
	require.NoError(t, err)
	return p
}

func planned(p *ssa.Plan) map[string]ssa.Action {
	out := map[string]ssa.Action{}
	for _, c := range p.Changes {
		out[c.Key.Kind+"/"+c.Key.Name] = c.Action
	}
	return out
}

func TestPlanTellsWhatApplyWouldDo(t *testing.T) {
	f := setup(t)
	f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if req.Method != http.MethodGet && req.URL.Query().Get("dryRun") != "All" && strings.Contains(req.UserAgent(), "planning") {
			t.Errorf("%s %s writes", req.Method, req.URL)
		}
		return next.RoundTrip(req)
	})
	objs := objects(t, app)
	p := f.plan(t, objs, f.options())
	require.Equal(t, len(objs), p.Count(ssa.Created))
	prev := f.apply(t, objs, f.options())

	opts := f.options()
	opts.Previous = prev.Entries
	before := f.meter.Count().Requests
	p = f.plan(t, objs, opts)
	require.Equal(t, len(objs), p.Count(ssa.Unchanged))
	require.EqualValues(t, 4, f.meter.Count().Requests-before, "what nobody touched is not asked for")
	require.Equal(t, "plan: 0 created, 0 configured, 5 unchanged, 0 deleted\n", p.String())

	f.patch(t, deployments, "web", "updater", types.StrategicMergePatchType,
		`{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"example.com/web:2.0"}]}}}}`)
	require.NoError(t, unstructured.SetNestedField(objs[0].Object, "red", "data", "colour"))
	rv := f.get(t, deployments, "web").GetResourceVersion()
	changed := []*unstructured.Unstructured{objs[0], objs[2], objs[3], objs[4]}
	p = f.plan(t, changed, opts)
	require.Equal(t, map[string]ssa.Action{"ConfigMap/settings": ssa.Configured, "Secret/token": ssa.Unchanged, "Service/web": ssa.Unchanged,
		"Deployment/web": ssa.Configured, "ConfigMap/more": ssa.Deleted}, planned(p))
	require.Equal(t, []ssa.FieldChange{{Path: "data.colour", Old: "blue", New: "red"}}, p.Changes[0].Fields)
	require.Equal(t, []ssa.FieldChange{{Path: "spec.template.spec.containers[name=app].image", Old: "example.com/web:2.0", New: "example.com/web:1.0"}}, p.Changes[3].Fields)
	require.Equal(t, rv, f.get(t, deployments, "web").GetResourceVersion())
	require.Contains(t, p.String(), "configured ConfigMap "+f.ns+"/settings\n@@ -1,6 +1,6 @@\n  apiVersion: v1\n  data:\n-   colour: blue\n+   colour: red\n    size: large\n  kind: ConfigMap\n")
	require.Contains(t, p.String(), "deleted ConfigMap "+f.ns+"/more\n")
	require.Contains(t, p.String(), "plan: 0 created, 2 configured, 2 unchanged, 1 deleted\n")
	var b strings.Builder
	n, err := p.WriteTo(&b, true)
	require.NoError(t, err)
	require.EqualValues(t, b.Len(), n)
	require.Contains(t, b.String(), "\x1b[31m-   colour: blue\x1b[0m\n\x1b[32m+   colour: red\x1b[0m\n")

	res, err := f.applier.Apply(t.Context(), changed, opts)
	require.NoError(t, err)
	for i, c := range res.Changes {
		require.Equal(t, p.Changes[i].Action, c.Action, c.Key)
	}
}

func TestPlanOfEveryPolicy(t *testing.T) {
	f := setup(t)
	f.former(t, "kubectl-client-side-apply", false)
	p := f.plan(t, web(t), f.options())
	require.Equal(t, ssa.Configured, p.Changes[0].Action)
	require.Equal(t, []string{"kubectl-client-side-apply"}, p.Changes[0].Migrated)
	paths := map[string]bool{}
	for _, c := range p.Changes[0].Fields {
		paths[c.Path] = true
	}
	for _, path := range []string{"spec.minReadySeconds", "metadata.labels.old", "metadata.annotations.old", "spec.template.spec.containers[name=gone].image", "spec.replicas",
		"spec.template.spec.containers[name=app].env[name=OLD].value"} {
		require.True(t, path == "spec.minReadySeconds" || paths[path], "%s in %v", path, paths)
	}
	require.Contains(t, p.String(), "# takes over from kubectl-client-side-apply")

	immutable := immutables["immutable ConfigMap"]
	prev := f.apply(t, objects(t, f.variant(immutable, false)), f.options())
	opts := f.options()
	opts.Previous, opts.Policy = prev.Entries, ssa.Recreate
	p = f.plan(t, objects(t, f.variant(immutable, true)), opts)
	require.True(t, p.Changes[0].Replaced)
	require.Contains(t, p.String(), "recreated ConfigMap")
	require.Contains(t, p.String(), "-   a: one\n+   a: two\n")
	require.Equal(t, "one", f.data(t)["a"])

	opts.Policy = ssa.Override
	p, err := f.applier.Plan(t.Context(), objects(t, f.variant(immutable, true)), opts)
	var refused *ssa.PlanError
	require.ErrorAs(t, err, &refused)
	require.ErrorContains(t, err, "1 of 1 objects would not be applied: apply ConfigMap "+f.ns+"/x")
	require.Equal(t, ssa.Failed, p.Changes[0].Action)

	opts.Policy = ssa.IfNotPresent
	require.Equal(t, ssa.Unchanged, f.plan(t, objects(t, f.variant(immutable, true)), opts).Changes[0].Action)
	opts.Policy = ssa.Ignore
	require.Equal(t, ssa.Ignored, f.plan(t, objects(t, f.variant(immutable, true)), opts).Changes[0].Action)
}

func TestPlanOfConflicts(t *testing.T) {
	f := setup(t)
	f.existing(t, "them", `"a.b": theirs`)
	opts := f.options()
	opts.Conflicts = ssa.Report
	_, err := f.applier.Plan(t.Context(), configMap(t, "", dotted), opts)
	var conflict *ssa.ConflictError
	require.ErrorAs(t, err, &conflict)
	opts.Conflicts = ssa.Leave
	p := f.plan(t, configMap(t, "", dotted), opts)
	require.Len(t, p.Changes[0].Left, 1)
	require.Contains(t, p.String(), "# leaves .data.a.b to them")
	require.Equal(t, map[string]string{"a.b": "theirs"}, f.data(t))
}

func TestPlanOfWhatComesWithTheSet(t *testing.T) {
	f := setup(t)
	objs := objects(t, strings.ReplaceAll(widgets+`
---
apiVersion: v1
kind: Namespace
metadata: {name: GROUP-new}
---
apiVersion: v1
kind: Secret
metadata: {name: x, namespace: GROUP-new}
stringData: {password: c4n4ry}`, "GROUP", f.ns+".example.com"))
	for _, u := range objs[2:] {
		name := strings.ReplaceAll(f.ns, ".", "-") + "-new"
		if u.GetKind() == "Namespace" {
			u.SetName(name)
		} else {
			u.SetNamespace(name)
		}
	}
	p := f.plan(t, objs, f.options())
	require.Equal(t, len(objs), p.Count(ssa.Created))
	require.Contains(t, p.String(), "+ spec:\n+   size: 3\n")
	require.NotContains(t, p.String(), "c4n4ry")
	require.NotContains(t, p.String(), base64.StdEncoding.EncodeToString([]byte("c4n4ry")))
}

// leaks looks for a canary, plain and encoded, in all that a plan says.
func leaks(t *testing.T, p *ssa.Plan, canaries ...string) {
	t.Helper()
	text := p.String()
	for _, c := range p.Changes {
		text += fmt.Sprintf("%+v\n%#v\n", c, c) + everything(c.Err)
	}
	for _, canary := range canaries {
		for _, form := range []string{canary, base64.StdEncoding.EncodeToString([]byte(canary))} {
			require.NotContains(t, text, form)
		}
	}
}

// Values of Secrets are in no part of a plan: not in what is, not in what would
// be, not in managedFields, nor where kubectl left a copy of the whole.
func TestAttackPlanOfSecrets(t *testing.T) {
	const old, now = "c4n4ry-old", "c4n4ry-new"
	f := setup(t)
	quoted := `{"kind":"Secret","stringData":{"password":"` + old + `"}}`
	u := objects(t, `
apiVersion: v1
kind: Secret
metadata: {name: x, labels: {a: b}}
stringData: {password: `+old+`, same: `+old+`, gone: `+old+`}`)[0]
	u.SetAnnotations(map[string]string{lastApplied: quoted, "note": old})
	_, err := f.others.Resource(secrets).Namespace(f.ns).Create(t.Context(), u, metav1.CreateOptions{FieldManager: "kubectl-client-side-apply"})
	require.NoError(t, err)

	manifests := map[string]string{
		"stringData": "stringData: {password: " + now + ", same: " + old + ", more: " + now + "}",
		"data": "data: {password: " + base64.StdEncoding.EncodeToString([]byte(now)) + ", same: " + base64.StdEncoding.EncodeToString([]byte(old)) +
			", more: " + base64.StdEncoding.EncodeToString([]byte(now)) + "}",
	}
	for name, data := range manifests {
		t.Run(name, func(t *testing.T) {
			objs := objects(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: x, annotations: {note: "+now+"}}\n"+data)
			p := f.plan(t, objs, f.options())
			leaks(t, p, old, now)
			masked := map[string]bool{}
			for _, c := range p.Changes[0].Fields {
				masked[c.Path] = c.Masked
			}
			require.True(t, masked["data.password"] && masked["data.gone"] && masked["data.more"] && masked["metadata.annotations.note"], "%v", masked)
			require.NotContains(t, masked, "data.same", "that it does not change is told")
			text := p.String()
			require.Contains(t, text, "-   password: <masked: old value>\n")
			require.Contains(t, text, "+   password: <masked: new value>\n")
			require.Contains(t, text, "    same: <masked>\n")
			require.Contains(t, text, "-   gone: <masked>\n")
			require.Contains(t, text, "+   more: <masked>\n")
		})
	}
	for name, text := range map[string]string{
		"data of a wrong type":        "data: " + now,
		"data that is a list":         "data: [" + now + "]",
		"a value of a wrong type":     "data: {password: {" + now + ": " + now + "}}",
		"not base64":                  "data: {password: " + now + "!}",
		"stringData of a wrong type":  "stringData: " + now,
		"a field that does not exist": now + ": x",
		"a type of a wrong type":      "type: {" + now + ": x}",
	} {
		t.Run(name, func(t *testing.T) {
			for _, namespace := range []string{f.ns, f.ns + "-new"} { // the latter is shown as it would be sent
				objs := objects(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: x, namespace: "+namespace+"}\n"+text+
					"\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: "+f.ns+"-new}")
				p, err := f.applier.Plan(t.Context(), objs, f.options())
				if name != "a field that does not exist" || namespace == f.ns { // a field's name is no value
					leaks(t, p, old, now)
				}
				require.NotContains(t, everything(err), now)
			}
		})
	}
}

// A value that reads like the mask is not taken for it, on either side.
func TestAttackPlanOfMasksInValues(t *testing.T) {
	for _, mask := range []string{"<masked>", "<masked: old value>", "<masked: new value>", "***", "x\n    password: <masked>"} {
		f := setup(t)
		secret := func(v string) []*unstructured.Unstructured {
			u := objects(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: x}")
			u[0].Object["stringData"] = map[string]any{"password": v}
			return u
		}
		f.apply(t, secret("c4n4ry"), f.options())
		p := f.plan(t, secret(mask), f.options())
		require.Equal(t, ssa.Configured, p.Changes[0].Action)
		require.Equal(t, []ssa.FieldChange{{Path: "data.password", Masked: true}}, p.Changes[0].Fields)
		leaks(t, p, "c4n4ry")
		f.apply(t, secret(mask), f.options())
		p = f.plan(t, secret("c4n4ry"), f.options())
		require.Equal(t, []ssa.FieldChange{{Path: "data.password", Masked: true}}, p.Changes[0].Fields)
		leaks(t, p, "c4n4ry")

		u := configMap(t, "", "a: b")
		u[0].Object["data"] = map[string]any{"a": mask}
		p = f.plan(t, u, f.options())
		for line := range strings.SplitSeq(p.String(), "\n") {
			require.False(t, strings.HasSuffix(line, ": <masked>") && !strings.Contains(line, "| "), "a value of a ConfigMap reads like a mask: %s", line)
		}
	}
}

// What a manifest holds must not steer the terminal of who reads the plan.
func TestAttackPlanOfEscapeSequences(t *testing.T) {
	f := setup(t)
	u := configMap(t, "", "a: b")
	u[0].Object["data"] = map[string]any{"a": "x\x1b[2Jy", "b": "line\nother\x1b]0;title\x07\n\u202eevil", "c": "\u009b31m"}
	p := f.plan(t, u, f.options())
	for _, bad := range []string{"\x1b", "\x07", "\u202e", "\u009b"} {
		require.NotContains(t, p.String(), bad)
	}
	var b strings.Builder
	_, err := p.WriteTo(&b, true)
	require.NoError(t, err)
	require.NotContains(t, b.String(), "\x1b[2J")
}

// A plan is made with the rights of the identity that would apply.
func TestAttackPlanOfAnotherIdentity(t *testing.T) {
	f := setup(t)
	f.apply(t, objects(t, app), f.options())
	cfg, err := testplane.Small(t).User("nobody")
	require.NoError(t, err)
	f.applier = newApplier(t, cfg, f.meter)
	p, err := f.applier.Plan(t.Context(), objects(t, app), f.options())
	require.ErrorContains(t, err, "the identity lacks a right")
	require.Equal(t, 5, p.Count(ssa.Failed))
	leaks(t, p, "hunter2")
}

func TestPlanIsBounded(t *testing.T) {
	f := setup(t)
	var b strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	data := map[string]any{"long": strings.Repeat("x", 100_000), "text": b.String()}
	for i := range 1500 {
		data[fmt.Sprintf("k%04d", i)] = "v"
	}
	u := configMap(t, "", "a: b")
	u[0].Object["data"] = data
	p := f.plan(t, u, f.options())
	require.Len(t, p.Changes[0].Fields, 1000)
	require.True(t, p.Changes[0].More)
	require.Less(t, len(p.String()), 200_000)
	require.Contains(t, p.String(), "more lines")

	f.apply(t, u, f.options())
	data["long"] = strings.Repeat("x", 100_000) + "y"
	p = f.plan(t, u, f.options())
	require.Len(t, p.Changes[0].Fields, 1)
	require.Contains(t, p.String(), "(100009 bytes, sha256 ", "long lines that differ at the end are told apart")
}

func TestPlanErrors(t *testing.T) {
	f := setup(t)
	p, err := f.applier.Plan(t.Context(), objects(t, "kind: x\nmetadata: {name: x}"), f.options())
	var invalid *ssa.InvalidSetError
	require.ErrorAs(t, err, &invalid)
	require.Empty(t, p.Changes)
	f.through(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if strings.Contains(req.URL.Path, f.ns) {
			return nil, errors.New("connection refused")
		}
		return next.RoundTrip(req)
	})
	_, err = f.applier.Plan(t.Context(), objects(t, app), f.options())
	var unreachable *ssa.UnreachableError
	require.ErrorAs(t, err, &unreachable)
}

func TestControlCharactersAreKept(t *testing.T) {
	f := setup(t)
	value := "a\u007fb\u0080c\u0085d\u009be\u2028f\ufeffg\uffffh\ti\x1bj"
	u := configMap(t, "", "a: b")
	u[0].Object["data"] = map[string]any{"a": value}
	res := f.apply(t, u, f.options())
	require.Equal(t, map[string]string{"a": value}, f.data(t))
	opts := f.options()
	opts.Previous, opts.Full = res.Entries, true
	require.Equal(t, 1, f.apply(t, u, opts).Count(ssa.Unchanged))
}
