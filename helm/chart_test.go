package helm_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/helm"
)

// tree makes a file system of names and contents; a content that begins with
// "-> " is a symbolic link.
func tree(files map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, content := range files {
		if target, link := strings.CutPrefix(content, "-> "); link {
			fsys[name] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
			continue
		}
		fsys[name] = &fstest.MapFile{Data: []byte(content), Mode: 0o644}
	}
	return fsys
}

// with returns the files of a minimal chart in chart/, and more.
func with(more map[string]string) fstest.MapFS {
	files := map[string]string{"chart/Chart.yaml": "apiVersion: v2\nname: demo\nversion: 1.2.3\nappVersion: \"4.5\"\n"}
	maps.Copy(files, more)
	return tree(files)
}

func load(t *testing.T, fsys fs.FS) *helm.Chart {
	t.Helper()
	c, err := helm.Load(t.Context(), fsys, "chart", helm.LoadOptions{})
	require.NoError(t, err)
	return c
}

// render renders a minimal chart with one template.
func render(t *testing.T, template string, opts helm.RenderOptions) (*helm.Rendered, error) {
	t.Helper()
	return load(t, with(map[string]string{"chart/templates/a.yaml": template})).Render(t.Context(), opts)
}

// value renders an expression and returns what it leaves in a ConfigMap.
func value(t *testing.T, expression string) string {
	t.Helper()
	r, err := render(t, "apiVersion: v1\nkind: ConfigMap\ndata:\n  v: "+expression, helm.RenderOptions{})
	require.NoError(t, err)
	require.Len(t, r.Objects, 1)
	data, _ := r.Objects[0].Object["data"].(map[string]any)
	v, _ := data["v"].(string)
	return v
}

// packed makes a packed chart of names and contents.
func packed(t *testing.T, files map[string]string) string {
	t.Helper()
	var headers []tar.Header
	for _, name := range slices.Sorted(maps.Keys(files)) {
		headers = append(headers, tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name]))})
	}
	return packedWith(t, files, headers...)
}

func packedWith(t *testing.T, files map[string]string, headers ...tar.Header) string {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	archive := tar.NewWriter(zipped)
	for _, h := range headers {
		require.NoError(t, archive.WriteHeader(&h))
		_, err := archive.Write([]byte(files[h.Name]))
		require.NoError(t, err)
	}
	require.NoError(t, archive.Close())
	require.NoError(t, zipped.Close())
	return out.String()
}

func TestLoadReadsChart(t *testing.T) {
	c := load(t, with(map[string]string{
		"chart/Chart.yaml": `
apiVersion: v2
name: demo
version: 1.2.3
appVersion: "4.5"
dependencies:
- {name: one, version: ^1.0.0, repository: https://charts.example.test, alias: first}
- {name: two, version: 2.x}
`,
		"chart/charts/one/Chart.yaml": "apiVersion: v2\nname: one\nversion: 1.0.0\n",
		"chart/charts/two-2.0.0.tgz":  packed(t, map[string]string{"two/Chart.yaml": "apiVersion: v2\nname: two\nversion: 2.0.0\n"}),
	}))
	require.Equal(t, "demo", c.Name())
	require.Equal(t, "1.2.3", c.Version())
	require.Equal(t, "4.5", c.AppVersion())
	require.Equal(t, []helm.Dependency{
		{Name: "one", Alias: "first", Version: "^1.0.0", Repository: "https://charts.example.test"},
		{Name: "two", Version: "2.x"},
	}, c.Dependencies())
}

func TestLoadErrorsNameChartFileAndRemedy(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]string
		dir   string
		want  string
	}{
		"no Chart.yaml":  {map[string]string{"chart/Chart.yaml": "-> gone"}, "chart/templates", "file does not exist"},
		"empty":          {map[string]string{"other/README.md": "no chart"}, "other", "chart other: there is no Chart.yaml"},
		"not YAML":       {map[string]string{"chart/Chart.yaml": "{"}, "chart", "chart chart: cannot load Chart.yaml"},
		"no version":     {map[string]string{"chart/Chart.yaml": "apiVersion: v2\nname: demo"}, "chart", "chart.metadata.version is required"},
		"broken values":  {map[string]string{"chart/values.yaml": "a: ["}, "chart", "cannot load values.yaml"},
		"broken ignore":  {map[string]string{"chart/.helmignore": "a/**"}, "chart", ".helmignore: double-star"},
		"absolute":       {nil, "/chart", "is not a path in the tree"},
		"outside":        {nil, "../chart", "is not a path in the tree"},
		"broken archive": {map[string]string{"chart/charts/a.tgz": "text"}, "chart", "charts/a.tgz: it is not a packed chart"},
		"missing dependency": {
			map[string]string{"chart/Chart.yaml": "apiVersion: v2\nname: demo\nversion: 1.0.0\ndependencies: [{name: redis, version: ^7.0.0}]"}, "chart",
			"chart demo depends on redis ^7.0.0, which charts/ does not hold; run helm dependency update and commit the charts directory",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := helm.Load(t.Context(), with(tc.files), tc.dir, helm.LoadOptions{})
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestLoadErrorsHaveTypes(t *testing.T) {
	_, err := helm.Load(t.Context(), tree(map[string]string{"other/x": ""}), "other", helm.LoadOptions{})
	require.ErrorIs(t, err, helm.ErrNotChart)
	require.True(t, terminal(err))

	_, err = helm.Load(t.Context(), with(nil), "gone", helm.LoadOptions{})
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.False(t, terminal(err), "a tree that cannot be read may be readable later")

	_, err = helm.Load(t.Context(), with(map[string]string{"chart/Chart.yaml": "apiVersion: v2\nname: demo\nversion: 1.0.0\ndependencies: [{name: redis}]"}), "chart", helm.LoadOptions{})
	require.ErrorIs(t, err, helm.ErrDependency)
	var missing *helm.DependencyError
	require.ErrorAs(t, err, &missing)
	require.Equal(t, []helm.Dependency{{Name: "redis"}}, missing.Missing)
	require.True(t, terminal(err))

	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	_, err = helm.Load(ctx, with(nil), "chart", helm.LoadOptions{})
	require.ErrorIs(t, err, stop)
	require.False(t, terminal(err))
}

func terminal(err error) bool {
	var t interface{ Terminal() bool }
	return errors.As(err, &t) && t.Terminal()
}

func TestLoadFollowsLinksInsideTheTree(t *testing.T) {
	c := load(t, with(map[string]string{
		"chart/templates":             "-> ../shared/latest/templates",
		"chart/values.yaml":           "-> ./../shared/latest/values.yaml",
		"shared/latest":               "-> v1",
		"shared/v1/values.yaml":       "v: linked\n",
		"shared/v1/templates/a.yaml":  "apiVersion: v1\nkind: ConfigMap\ndata: {v: {{ .Values.v }}}\n",
		"shared/v1/templates/b.yaml":  "-> a.yaml",
		"shared/v1/templates/_c.yaml": "not: [read",
	}))
	r, err := c.Render(t.Context(), helm.RenderOptions{})
	require.NoError(t, err)
	require.Len(t, r.Objects, 2, "a.yaml and the link to it")
	require.Equal(t, map[string]any{"v": "linked"}, r.Objects[1].Object["data"])
}

func TestHelmignoreIsHonoured(t *testing.T) {
	c := load(t, with(map[string]string{
		"chart/.helmignore":          "\xef\xbb\xbf# comment\n*.bak\nsecret/\n",
		"chart/templates/a.yaml":     "apiVersion: v1\nkind: ConfigMap\ndata:\n  v: '{{ range $name, $_ := .Files }}{{ $name }} {{ end }}'\n",
		"chart/templates/b.yaml.bak": "broken: {{",
		"chart/templates/.hidden":    "broken: {{",
		"chart/secret/x":             "x",
		"chart/shown":                "x",
	}))
	r, err := c.Render(t.Context(), helm.RenderOptions{})
	require.NoError(t, err)
	require.Equal(t, ".helmignore shown ", r.Objects[0].Object["data"].(map[string]any)["v"])
}

func TestLoadReadsRealDirectories(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, with(map[string]string{"chart/templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\n"})))
	require.NoError(t, os.Symlink("chart", filepath.Join(dir, "link")))
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	for name, fsys := range map[string]fs.FS{"DirFS": os.DirFS(dir), "Root": root.FS()} {
		c, err := helm.Load(t.Context(), fsys, "link", helm.LoadOptions{})
		require.NoError(t, err, name)
		require.Equal(t, "demo", c.Name())
	}
}
