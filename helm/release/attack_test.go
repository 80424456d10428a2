package release_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/helm/release"
)

// CVE-2026-41050: a template reads what the tenant may not.
func TestAttackLookupReadsNothing(t *testing.T) {
	w := api(t)
	_, err := w.client.Resource(secrets()).Namespace(w.namespace).Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "crown"}, "stringData": map[string]any{"jewels": "canary"}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	w.must(w.spec(chart(t, "1.0.0", map[string]string{"templates/x.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata:\n" +
		"  found: {{ lookup \"v1\" \"Secret\" \"" + w.namespace + "\" \"crown\" | toJson | quote }}\n"})), release.Install)
	require.Equal(t, "{}", w.value("x", "found"))
}

// Everything is done with the rights of the tenant.
func TestAttackTenantWithoutRights(t *testing.T) {
	w := api(t)
	tenant, err := w.engine.As("system:serviceaccount:" + w.namespace + ":tenant")
	require.NoError(t, err)
	spec := w.spec(chart(t, "1.0.0", nil))
	_, err = tenant.Reconcile(t.Context(), spec, release.State{})
	require.ErrorContains(t, err, "Forbidden")
	require.Empty(t, w.names(secrets(), "owner=helm"))

	grant(w, "secrets", "configmaps")
	require.Eventually(t, func() bool { // the server learns of the grant by a watch of its own
		result, err := tenant.Reconcile(t.Context(), spec, release.State{})
		w.state = result.State
		return err == nil
	}, 30*time.Second, 10*time.Millisecond)
	again, err := w.engine.As("system:serviceaccount:" + w.namespace + ":tenant")
	require.NoError(t, err)
	require.Same(t, tenant, again)

	spec.Chart = chart(t, "1.1.0", map[string]string{"templates/sa.yaml": "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: more}\n"})
	_, err = tenant.Reconcile(t.Context(), spec, w.state)
	require.ErrorContains(t, err, "serviceaccounts")
}

// grant gives the tenant all rights for some resources of the namespace.
func grant(w *world, resources ...string) {
	w.Helper()
	var names []any
	for _, r := range resources {
		names = append(names, r)
	}
	const group = "rbac.authorization.k8s.io"
	for kind, body := range map[string]map[string]any{
		"roles": {"kind": "Role", "rules": []any{map[string]any{"apiGroups": []any{""}, "resources": names, "verbs": []any{"*"}}}},
		"rolebindings": {"kind": "RoleBinding", "roleRef": map[string]any{"apiGroup": group, "kind": "Role", "name": "tenant"},
			"subjects": []any{map[string]any{"kind": "ServiceAccount", "name": "tenant", "namespace": w.namespace}}},
	} {
		body["apiVersion"], body["metadata"] = group+"/v1", map[string]any{"name": "tenant"}
		_, err := w.client.Resource(resource(group, kind)).Namespace(w.namespace).Create(w.Context(), &unstructured.Unstructured{Object: body}, metav1.CreateOptions{})
		require.NoError(w, err)
	}
}

// CVE-2026-23990: a name that is not sent is the engine's own rights.
func TestAttackEmptyIdentity(t *testing.T) {
	w := api(t)
	for _, name := range []string{"", " ", "a\n", " a"} {
		_, err := w.engine.As(name)
		var refused *release.IdentityError
		require.ErrorAs(t, err, &refused, "%q", name)
	}
	_, err := w.engine.As("a", "")
	require.Error(t, err)
}

// A record that unpacks to much more than it is.
func TestAttackRecordBomb(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	zeros := make([]byte, 1<<20)
	for range 100 {
		_, err := z.Write(zeros)
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	require.ErrorContains(t, release.Decode(base64.StdEncoding.EncodeToString(b.Bytes())), "more than 64 MiB")
}

// A record that names another release, to have its objects deleted.
func TestAttackRecordOfAnotherRelease(t *testing.T) {
	w := api(t)
	w.must(w.spec(chart(t, "1.0.0", nil)), release.Install)
	theirs := w.get(secrets(), "sh.helm.release.v1.shop.v1")
	forged := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
		"metadata": map[string]any{"name": "sh.helm.release.v1.mine.v1", "labels": map[string]any{"name": "mine", "owner": "helm", "status": "deployed", "version": "1"}},
		"data":     theirs.Object["data"]}}
	_, err := w.client.Resource(secrets()).Namespace(w.namespace).Create(t.Context(), forged, metav1.CreateOptions{})
	require.NoError(t, err)
	mine := w.spec(nil)
	mine.Name = "mine"
	_, err = w.engine.Uninstall(t.Context(), mine, release.State{})
	require.NoError(t, err)
	require.NotNil(t, w.get(configMaps(), "shop-config"))
}

// CVE-2025-23216: what the server says of a Secret may quote it.
func TestAttackSecretInErrors(t *testing.T) {
	w := api(t)
	spec := w.spec(chart(t, "1.0.0", map[string]string{"templates/s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {key: \"canary-not-base64!\"}\n"}))
	result, err := w.reconcile(spec)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "canary")
	for _, s := range result.Steps {
		require.NotContains(t, text(s.Log), "canary")
		require.NotContains(t, text(s.Objects), "canary")
	}
	require.NotContains(t, text(w.state), "canary")
	require.NotContains(t, w.helm("history", "shop"), "canary")
}

// Names that would address something else.
func TestAttackNames(t *testing.T) {
	w := api(t)
	for _, change := range []func(*release.Spec){
		func(s *release.Spec) { s.Name = "../x" },
		func(s *release.Spec) { s.Name = "" },
		func(s *release.Spec) { s.Namespace = "a/b" },
		func(s *release.Spec) { s.StorageNamespace = ".." },
	} {
		spec := w.spec(chart(t, "1.0.0", nil))
		change(&spec)
		_, err := w.engine.Reconcile(t.Context(), spec, release.State{})
		var wrong *release.SpecError
		require.ErrorAs(t, err, &wrong)
	}
	_, err := w.reconcile(w.spec(chart(t, "1.0.0", map[string]string{"templates/x.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"../../x\"}\n"})))
	require.ErrorContains(t, err, "cannot be part of a URL")
}
