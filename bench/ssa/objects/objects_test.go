package objects

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestReviseChangesSoMany(t *testing.T) {
	for name, list := range map[string]func(string, int) []*unstructured.Unstructured{
		"ConfigMaps":  ConfigMaps,
		"Deployments": Deployments,
	} {
		t.Run(name, func(t *testing.T) {
			before, after := list("ns", 10), list("ns", 10)
			require.Equal(t, before, after)
			require.NoError(t, Revise(after, 3, 1))
			changed := 0
			for i := range after {
				require.Equal(t, before[i].GetName(), after[i].GetName())
				if !equal(before[i], after[i]) {
					changed++
				}
			}
			require.Equal(t, 3, changed)
			require.NoError(t, Revise(after, 10, 2))
			for i := range after {
				require.False(t, equal(before[i], after[i]))
			}
		})
	}
}

func equal(a, b *unstructured.Unstructured) bool {
	x, _ := a.MarshalJSON()
	y, _ := b.MarshalJSON()
	return string(x) == string(y)
}
