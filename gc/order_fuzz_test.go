package gc

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDependencies(t *testing.T) {
	require.Equal(t, []Key{
		{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "db"},
		{Kind: "ConfigMap", Namespace: "shop", Name: "settings"},
		{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "reader"},
		{Kind: "Namespace", Name: "shop"},
	}, dependencies("apps/namespaces/shop/Deployment/db, /namespaces/shop/ConfigMap/settings,rbac.authorization.k8s.io/ClusterRole/reader,/Namespace/shop"))
	require.Empty(t, dependencies(""))
	require.Empty(t, dependencies("a,a/b,a/b/c/d,a/nowhere/c/d/e,a/namespaces/c/d/e/f"))
	require.Len(t, dependencies(strings.Repeat("/Namespace/x,", 5000)), maxDependencies)
}

// The annotation is written by whoever may write the object.
func FuzzDependencies(f *testing.F) {
	f.Add("apps/namespaces/shop/Deployment/db, /Namespace/shop")
	f.Add(",,//,///,////")
	f.Fuzz(func(t *testing.T, text string) {
		ks := dependencies(text)
		require.LessOrEqual(t, len(ks), maxDependencies)
		for _, k := range ks {
			ref := k.Group + "/" + k.Kind + "/" + k.Name
			if k.Namespace != "" {
				ref = k.Group + "/namespaces/" + k.Namespace + "/" + k.Kind + "/" + k.Name
			}
			require.Equal(t, []Key{k}, dependencies(ref), "what was read is written and read the same")
		}
	})
}
