package entries

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEntriesAreTheSameEachTime(t *testing.T) {
	list := Make(100)
	require.Equal(t, list, Make(100))
	names := map[string]bool{}
	for _, e := range list {
		names[e.Namespace+"/"+e.Name] = true
	}
	require.Len(t, names, 100)
	require.NotEqual(t, Change(list[0], 1), Change(list[0], 2))
	require.Equal(t, list[0].UID, Change(list[0], 1).UID)
}
