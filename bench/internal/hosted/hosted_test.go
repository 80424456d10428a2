package hosted

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func TestTree(t *testing.T) {
	fsys := fstest.MapFS{
		"a":           {Data: []byte("12")},
		"d/b":         {Data: []byte("345")},
		".git/config": {Data: []byte("of git itself")},
	}
	want := Tree{Commit: "c", Files: 2, Bytes: 5}
	require.NoError(t, want.Read(fsys))
	require.NoError(t, want.Written(fsys))
	require.NoError(t, want.Found("c"))
	require.EqualError(t, want.Found("d"), `commit "d" came out, not "c"`)

	fsys["d/b"].Data = []byte("34")
	require.EqualError(t, want.Read(fsys), "2 files of 4 bytes came out, not 2 of 5")
	require.Error(t, want.Written(fsys))
	delete(fsys, "a")
	require.EqualError(t, want.Read(fsys), "1 files of 2 bytes came out, not 2 of 5")
}

func TestServerIsGone(t *testing.T) {
	repo := Repo{URL: "http://127.0.0.1:1/a.git", Control: "http://127.0.0.1:1"}
	_, err := repo.Count(t.Context())
	require.Error(t, err)
	_, err = repo.Change(t.Context(), "main")
	require.Error(t, err)
}
