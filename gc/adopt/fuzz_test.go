package adopt

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/gc"
)

// written is how Flux and cli-utils write a key.
func written(k gc.Key) string {
	name := k.Name
	if writesColons(k) {
		name = strings.ReplaceAll(name, ":", "__")
	}
	return strings.Join([]string{k.Namespace, name, k.Group, k.Kind}, "_")
}

// Every meaning of an id is written as that id, and no two are the same.
func FuzzParse(f *testing.F) {
	for _, id := range []string{
		"", "_", "___", "____", "default_web_apps_Deployment", "_a__b_rbac.authorization.k8s.io_ClusterRole", "a_b__Service",
		"_____rbac.authorization.k8s.io_ClusterRole", "a__b_c", "_" + strings.Repeat("_", 900) + "_rbac.authorization.k8s.io_Role",
	} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		keys, err := parse(id)
		if err != nil {
			require.Empty(t, keys)
			return
		}
		require.NotEmpty(t, keys)
		require.LessOrEqual(t, len(keys), maxCandidates)
		seen := map[gc.Key]bool{}
		for _, k := range keys {
			require.False(t, seen[k])
			seen[k] = true
			require.Equal(t, id, written(k))
		}
	})
}

// Every key that can be written is among the meanings of what it is written as.
func FuzzWrittenIsRead(f *testing.F) {
	f.Add("", "system:a__b", true)
	f.Add("default", "a_b", false)
	f.Add("default", "a__b", false)
	f.Add("", ":_:", true)
	f.Fuzz(func(t *testing.T, namespace, name string, rbac bool) {
		k := gc.Key{Group: "apps", Kind: "Deployment", Namespace: namespace, Name: name}
		if rbac {
			k.Group, k.Kind = "rbac.authorization.k8s.io", "RoleBinding"
		}
		if strings.Contains(namespace, "_") || name == "" || len(written(k)) > maxIDBytes {
			return // no object has such a name
		}
		keys, err := parse(written(k))
		if err != nil {
			require.ErrorContains(t, err, "meanings")
			return
		}
		require.Contains(t, keys, k)
	})
}
