package gc_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/gc"
)

// The ids were computed from the text of the enhancement, apart from this code:
// unpadded URL-safe base64 of the sha256 of "<name>.<namespace>.<kind>.<group>".
func TestApplySetID(t *testing.T) {
	tests := []struct {
		parent gc.Key
		want   string
	}{
		{gc.Key{Kind: "Secret", Namespace: "my-namespace", Name: "my-secret"}, "applyset-XJCXKSU_EBgo4bCbktmyHn6fvfGzsT9KVg2_dPdAuM8-v1"},
		{gc.Key{Group: "example.com", Kind: "ApplySet", Name: "my-set"}, "applyset-Sh3WCjh4qH12bDA1rTslQ76C16YpHhJ44-toBoobL6s-v1"},
	}
	for _, tt := range tests {
		require.Equal(t, tt.want, gc.ApplySetID(tt.parent))
		require.Equal(t, map[string]string{"applyset.kubernetes.io/part-of": tt.want}, gc.ApplySetMember(tt.parent))
	}
}

func TestApplySetParent(t *testing.T) {
	parent := gc.Key{Kind: "ConfigMap", Namespace: "home", Name: "set"}
	in := func(group, kind, ns string) gc.Entry {
		return gc.Entry{Key: gc.Key{Group: group, Kind: kind, Namespace: ns, Name: "x"}}
	}
	labels, annotations := gc.ApplySetParent(parent, gc.NewInventory(
		in("apps", "Deployment", "home"), in("apps", "Deployment", "b"), in("", "ConfigMap", "a"), in("", "Namespace", "")), "shop/v1")
	require.Equal(t, map[string]string{"applyset.kubernetes.io/id": gc.ApplySetID(parent)}, labels)
	require.Equal(t, map[string]string{
		"applyset.kubernetes.io/tooling":               "shop/v1",
		"applyset.kubernetes.io/contains-group-kinds":  "ConfigMap,Deployment.apps,Namespace",
		"applyset.kubernetes.io/additional-namespaces": "a,b",
	}, annotations)
}
