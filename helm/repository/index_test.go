package repository_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/repo"
	"sigs.k8s.io/yaml"

	"github.com/gitopskit/gitopskit/helm/repository"
)

// Helm's loader logs what it leaves out.
func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	os.Exit(m.Run())
}

func read(t testing.TB, text string) (*repository.Index, error) {
	return repository.ReadIndex(t.Context(), strings.NewReader(text), repository.Limits{})
}

func mustRead(t testing.TB, text string) *repository.Index {
	t.Helper()
	x, err := read(t, text)
	require.NoError(t, err)
	return x
}

// describe is what both sides say of one chart. Helm has no order for versions of
// equal precedence.
func describe(name, version, app, digest, description string, urls []string) string {
	clean := strings.Map(func(r rune) rune {
		if r == '\ufffd' || !visible(r) {
			return -1
		}
		return r
	}, strings.Join(append(urls, digest), " "))
	return fmt.Sprintf("%q %q %q %q %q", name, version, app, description, clean)
}

// agrees holds our reading against that of Helm: what Helm accepts, we read in the
// same way, chart for chart.
func agrees(t testing.TB, text string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "index.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	theirs, refused := helmReads(path)
	ours, err := read(t, text)
	if refused != nil {
		return // we may be more lenient: a fault in one chart is that chart's
	}
	require.NoError(t, err, text)
	require.Len(t, ours.Charts(), len(theirs.Entries), text)
	for name, entries := range theirs.Entries {
		versions, err := ours.Versions(name)
		require.NoError(t, err, text)
		var got, want []string
		for _, v := range versions {
			got = append(got, describe(v.Name, v.Version, v.AppVersion, v.Digest, v.Description, v.URLs))
		}
		for _, e := range entries {
			want = append(want, describe(e.Name, e.Version, e.AppVersion, e.Digest, e.Description, e.URLs))
		}
		slices.Sort(got)
		slices.Sort(want)
		require.Equal(t, want, got, text)
		sameChoice(t, theirs, ours, name)
	}
}

func helmReads(path string) (x *repo.IndexFile, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	return repo.LoadIndexFile(path)
}

// sameChoice compares what ranges mean.
func sameChoice(t testing.TB, theirs *repo.IndexFile, ours *repository.Index, name string) {
	t.Helper()
	for _, wanted := range []string{"", "*", "1.x", ">=1.0.0-0", "<2.0.0", "v1.2.0", "1.50.0", "nonsense range"} {
		want, refused := theirs.Get(name, wanted)
		got, err := ours.Find(name, wanted)
		if refused != nil {
			require.Error(t, err)
			continue
		}
		require.NoError(t, err)
		if !strings.Contains(want.Version+got.Version, "+") { // Helm has no order for those
			require.Equal(t, strings.TrimPrefix(want.Version, "v"), strings.TrimPrefix(got.Version, "v"))
		}
	}
}

const small = `apiVersion: v1
entries:
  alpine:
  - apiVersion: v2
    created: "2024-01-02T03:04:05Z"
    description: Deploy a basic
      Alpine Linux pod
    digest: 705ebc5d83bd1eb7e8e1a3fa4b0b5c7ee9a48d1e7f4a9a3fbde8b4e5d6c7b8a9
    name: alpine
    urls:
    - https://example.org/alpine-1.2.0.tgz
    version: 1.2.0
  - apiVersion: v2
    name: alpine
    urls: [alpine-2.0.0-rc.1.tgz]
    version: 2.0.0-rc.1
  - {apiVersion: v2, name: alpine, urls: ["alpine-1.10.0.tgz"], version: 1.10.0}
  empty: []
  nginx:
  - apiVersion: v2
    deprecated: true
    description: |
      several lines
        evil:
      - name: evil
    name: nginx
    urls:
    - nginx-0.1.0.tgz
    version: 0.1.0
generated: "2024-01-02T03:04:05Z"
`

func TestIndex(t *testing.T) {
	x := mustRead(t, small)
	require.False(t, x.Odd())
	require.Equal(t, []string{"alpine", "empty", "nginx"}, x.Charts())
	versions, err := x.Versions("alpine")
	require.NoError(t, err)
	require.Len(t, versions, 3)
	require.Equal(t, "2.0.0-rc.1", versions[0].Version)
	require.Equal(t, "1.10.0", versions[1].Version, "by precedence, not by text")
	require.Equal(t, "Deploy a basic Alpine Linux pod", versions[2].Description)

	for wanted, version := range map[string]string{"": "1.10.0", "1.2.x": "1.2.0", ">=1.0.0-0": "2.0.0-rc.1", "2.0.0-rc.1": "2.0.0-rc.1"} {
		v, err := x.Find("alpine", wanted)
		require.NoError(t, err)
		require.Equal(t, version, v.Version, wanted)
	}
	v, err := x.Find("nginx", "")
	require.NoError(t, err)
	require.True(t, v.Deprecated)
	_, err = x.Find("alpine", "3.x")
	require.ErrorIs(t, err, repository.ErrNoVersion)
	require.ErrorContains(t, err, "3.x of alpine is not among 2.0.0-rc.1, 1.10.0, 1.2.0")
	_, err = x.Find("alpine", "not a range")
	require.ErrorIs(t, err, repository.ErrNoVersion)
	_, err = x.Find("evil", "")
	require.ErrorIs(t, err, repository.ErrNoChart)
	versions, err = x.Versions("empty")
	require.NoError(t, err)
	require.Empty(t, versions)
}

// The forms in which indexes are found. Odd ones are read as a whole.
var forms = map[string]struct {
	text string
	odd  bool
}{
	"helm":              {text: small},
	"generated":         {text: bigIndex(200 << 10)},
	"indented lists":    {text: strings.ReplaceAll(small, "\n  ", "\n    ")},
	"document marker":   {text: "---\n" + small},
	"comments":          {text: "# made by hand\n" + strings.ReplaceAll(small, "  nginx:\n", "  # the other one\n  nginx:\n")},
	"blank lines":       {text: strings.ReplaceAll(small, "\n  nginx", "\n\n   \n  nginx")},
	"entries last":      {text: "generated: \"2024-01-02T03:04:05Z\"\n" + strings.Replace(small, "generated: \"2024-01-02T03:04:05Z\"\n", "", 1)},
	"no last line":      {text: strings.TrimSpace(small)},
	"no entries":        {text: "apiVersion: v1\nentries: {}\ngenerated: \"2024-01-02T03:04:05Z\"\n"},
	"null entries":      {text: "apiVersion: v1\nentries:\n"},
	"only a version":    {text: "apiVersion: v1\n"},
	"quoted":            {text: "apiVersion: \"v1\"\nentries:\n  \"a\":\n  - name: 'a'\n    version: \"1.0.0\"\n    description: \"it's\\\n  x:\n  - name: b\"\n    urls: ['u']\n"},
	"quoted keys":       {text: "apiVersion: v1\nentries:\n  a:\n  - \"name\": a\n    'version': 1.0.0\n    urls: []\n"},
	"numbers for names": {text: "apiVersion: v1\nentries:\n  123:\n  - name: a\n    version: 1.0.0\n  1.10:\n  - name: a\n    version: 1.0.0\n  yes:\n  - name: a\n    version: 1.0.0\n  3proxy:\n  - name: a\n    version: 1.0.0\n"},
	"literal":           {text: "apiVersion: v1\nentries:\n  a:\n  - description: >-\n\n      text: \"open\n    name: a\n    version: 1.0.0\n  b:\n  - name: b\n    version: 1.0.0\n    description: |2\n        \"\n"},
	"plain over lines":  {text: "apiVersion: v1\nentries:\n  a:\n  - description: one\n      - \"two\n      'three\n    name: a\n    version: 1.0.0\n  b:\n  - name: b\n    version: 1.0.0\n"},
	"value on its line": {text: "apiVersion: v1\nentries:\n  a:\n  - description:\n      \"one\n  b:\n  two\"\n    name: a\n    version: 1.0.0\n"},
	"dash on its line":  {text: "apiVersion: v1\nentries:\n  a:\n  -\n    name: a\n    version: 1.0.0\n  - name: a\n    version: 1.1.0\n"},
	"hash in a value":   {text: "apiVersion: v1\nentries:\n  a:\n  - description: a#b # c: \"d\n    name: a\n    version: 1.0.0\n"},
	"public keys":       {text: "apiVersion: v1\npublicKeys:\n- one\n- two\nannotations:\n  a: b\nserverInfo:\n  contextPath: x\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n"},
	"null version":      {text: "apiVersion: v1\nentries:\n  a:\n  - null\n  - name: a\n    version: 1.0.0\n  -\n"},
	"invalid versions":  {text: "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: one\n  - name: a/b\n    version: 1.0.0\n  - version: 1.0.0\n  - name: a\n    version: v1.2\n  - name: a\n    version: 1.2.0+b\n  - name: a\n    version: 1.2.0+a\n"},
	"aliases dropped":   {text: "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n    dependencies:\n    - name: b\n      version: 1\n    - name: b\n      version: 1\n"},

	"anchors":           {odd: true, text: "apiVersion: v1\nentries:\n  a:\n  - &x\n    name: a\n    version: 1.0.0\n  b:\n  - *x\n"},
	"tags":              {odd: true, text: "apiVersion: v1\nentries:\n  a:\n  - name: !!str a\n    version: 1.0.0\n"},
	"windows":           {odd: true, text: strings.ReplaceAll(small, "\n", "\r\n")},
	"byte order mark":   {odd: true, text: "\ufeff" + small},
	"flow":              {odd: true, text: "apiVersion: v1\nentries: {a: [{name: a, version: 1.0.0}]}\n"},
	"flow over lines":   {odd: true, text: "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n    urls: [a,\n  b,\n  c]\n"},
	"unicode breaks":    {odd: true, text: "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n    description: one\u2028      two\n"},
	"tabs":              {odd: true, text: "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version:\t1.0.0\n"},
	"complex key":       {odd: true, text: "apiVersion: v1\nentries:\n  ? a\n  : - name: a\n      version: 1.0.0\n"},
	"json with comment": {odd: true, text: "{apiVersion: v1, entries: {a: [{name: a, version: 1.0.0}]}}"},
	"json other case":   {odd: true, text: `{"apiVersion": "v1", "Entries": {"a": [{"name": "a", "version": "1.0.0"}]}}`},
	"json null chart":   {odd: true, text: `{"apiVersion": "v1", "entries": {"a": null}}`},

	"json":          {text: `{"apiVersion":"v1","generated":"2024-01-02T03:04:05Z","entries":{"a":[{"name":"a","version":"1.0.0","urls":["x\"]}"]},null,{"name":"a","version":"1.2.0","unknown":{"a":[1,true,null]}}],"b":[], "c\u0064":[ {"name":"cd","version":"0.1.0-0"} ]},"serverInfo":{"a":{"b":[]}}}`},
	"json twice":    {text: `{"apiVersion":"v1","entries":{"a":[{"name":"a","version":"1.0.0"}],"a":[{"name":"a","version":"2.0.0"}]}}`},
	"json nothing":  {text: `{"apiVersion":"v1","entries":{}}`},
	"json, no list": {text: ` {"apiVersion":"v1"} `},
}

func TestFormsAgreeWithHelm(t *testing.T) {
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			agrees(t, form.text)
			require.Equal(t, form.odd, mustRead(t, form.text).Odd())
			if asJSON, err := yaml.YAMLToJSON([]byte(form.text)); err == nil && json.Valid(asJSON) {
				agrees(t, string(asJSON))
			}
		})
	}
}

func TestInvalidIndexes(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "it is empty",
		" \n":                      "it is empty",
		"entries: {}\n":            "no apiVersion",
		"apiVersion: v1\nnew: 1\n": "unknown field",
		"<html>":                   "invalid repository index",
		"apiVersion: v1\nentries:\n  a:\n  - name: a\n  a:\n  - name: b\n": `chart "a": it is there twice`,
		"apiVersion: v1\nentries: []\n":                                    "invalid repository index",
		`{"entries":{}}`:                                                   "no apiVersion",
		`{"apiVersion":"v1","entries":{}`:                                  "invalid repository index",
		"apiVersion: v1\nentries:\n  a:\n  - \"name\n":                     "invalid repository index",
	} {
		_, err := read(t, text)
		require.ErrorIs(t, err, repository.ErrIndex, text)
		require.ErrorContains(t, err, want, text)
	}
	x := mustRead(t, "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n  b:\n  - name: b\n    name: b\n")
	_, err := x.Versions("a")
	require.NoError(t, err, "a fault in one chart is that chart's")
	_, err = x.Find("b", "")
	require.ErrorIs(t, err, repository.ErrIndex)
	require.ErrorContains(t, err, `chart "b"`)
}

func TestRevisionIsOfTheContent(t *testing.T) {
	a := "  a:\n  - name: a\n    version: 1.0.0\n"
	b := "  b:\n  - name: b\n    version: 1.0.0\n  - name: b\n    version: 2.0.0\n"
	other := "  b:\n  - name: b\n    version: 2.0.0\n  - name: b\n    version: 1.0.0\n"
	head := "apiVersion: v1\nentries:\n"
	first := mustRead(t, head+a+b+"generated: \"2024-01-02T03:04:05Z\"\n").Revision()
	require.Regexp(t, "^sha256:[0-9a-f]{64}$", first)
	require.Equal(t, first, mustRead(t, head+other+a+"generated: \"2025-01-02T03:04:05Z\"\n").Revision())
	require.NotEqual(t, first, mustRead(t, head+a+"generated: \"2024-01-02T03:04:05Z\"\n").Revision())
	require.NotEqual(t, first, mustRead(t, head+strings.ReplaceAll(a+b, "2.0.0", "2.0.1")).Revision())
	require.NotEqual(t, first, mustRead(t, head+a+strings.ReplaceAll(b, "  b:\n", "  c:\n")).Revision(), "the name counts")
}

// Equal precedence has one order, whatever that in the index.
func TestOrderIsStable(t *testing.T) {
	item := func(version, created string) string {
		return "  - name: a\n    version: " + version + "\n    created: \"" + created + "\"\n"
	}
	older, newer, twin := item("1.0.0+z", "2024-01-01T00:00:00Z"), item("1.0.0+a", "2024-06-01T00:00:00Z"), item("1.0.0+b", "2024-06-01T00:00:00Z")
	for _, entries := range []string{older + newer + twin, twin + newer + older, newer + older + twin} {
		v, err := mustRead(t, "apiVersion: v1\nentries:\n  a:\n"+entries).Find("a", "1.x")
		require.NoError(t, err)
		require.Equal(t, "1.0.0+b", v.Version)
	}
}

func FuzzIndex(f *testing.F) {
	for name, form := range forms {
		if name != "generated" {
			f.Add(form.text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) { agrees(t, text) })
}
