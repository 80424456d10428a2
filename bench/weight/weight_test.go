package main

import (
	"go/format"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProgramsAreGo(t *testing.T) {
	for _, u := range users() {
		for _, p := range []program{u.ours, u.peer} {
			if p.path == "" {
				require.Contains(t, u.peerName, "private", "who has no peer says why")
				continue
			}
			require.NotEmpty(t, p.uses, p.path)
			_, err := format.Source([]byte(p.source()))
			require.NoError(t, err, p.path)
		}
	}
}

func TestCountLeavesOutTheProgram(t *testing.T) {
	w := count("example.test/a/x example.test/a\n\nexample.test/a/y example.test/a\nexample.test/b example.test/b\nexample.test/main/internal/weightprogram example.test/main\n")
	require.Equal(t, weight{packages: 3, modules: 2}, w)
}

func TestLimits(t *testing.T) {
	require.True(t, user{limit: 4}.exceeds(4.1))
	require.False(t, user{limit: 4}.exceeds(4))
	require.False(t, user{}.exceeds(1000))
	require.Equal(t, "4 MB", user{limit: 4}.limitText())
	require.Equal(t, "-", user{}.limitText())
}

func TestWeighBuildsTheProgram(t *testing.T) {
	small, err := weigh(t.Context(), program{path: ourModule + "/internal/meter", uses: []string{"(*p.Meter).Count"}}, ourModule)
	require.NoError(t, err)
	require.Equal(t, 1, small.packages)
	require.Equal(t, 1, small.modules)
	require.Greater(t, small.megabytes, 0.5)
	_, err = weigh(t.Context(), program{path: ourModule + "/internal/meter", uses: []string{"p.Nothing"}}, ourModule)
	require.ErrorContains(t, err, "p.Nothing")
}
