package helm_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"maps"
	"testing"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/gitopskit/gitopskit/helm"
)

func shopFiles() map[string]string {
	return map[string]string{
		"shop/Chart.yaml":             chartYAML("shop", "1.2.3"),
		"shop/values.yaml":            "a: chart\nb: chart\n",
		"shop/values/prod.yaml":       "b: prod\nc: {x: 1}\n",
		"shop/values/eu.yaml":         "c: {z: 2}\n",
		"shop/templates/a.yaml":       "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
		"shop/charts/sub/Chart.yaml":  chartYAML("sub", "0.1.0"),
		"shop/charts/sub/files/a.txt": "hello",
		"shop/.helmignore":            "*.swp\n",
		"shop/x.swp":                  "ignored",
		"outside.yaml":                "secret: 1\n",
		"shop/link.yaml":              "-> ../outside.yaml",
		"shop/inner.yaml":             "-> values/prod.yaml",
	}
}

func packShop(t *testing.T, opts helm.PackOptions) (*helm.Package, error) {
	t.Helper()
	return helm.Pack(t.Context(), tree(shopFiles()), "shop", opts)
}

func unpackNames(t *testing.T, archive []byte) []string {
	t.Helper()
	zipped, err := gzip.NewReader(bytes.NewReader(archive))
	require.NoError(t, err)
	var list []string
	for r := tar.NewReader(zipped); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		require.NoError(t, err)
		require.Zero(t, header.ModTime.Unix())
		list = append(list, header.Name)
	}
}

func TestPack(t *testing.T) {
	p, err := packShop(t, helm.PackOptions{})
	require.NoError(t, err)
	require.Equal(t, "shop", p.Name)
	require.Equal(t, "1.2.3", p.Version)
	require.False(t, p.Unchanged)
	require.Regexp(t, "^sha256:[0-9a-f]{64}$", p.Digest)
	require.Equal(t, []string{
		"shop/Chart.yaml", "shop/.helmignore", "shop/inner.yaml", "shop/link.yaml", "shop/templates/a.yaml", "shop/values.yaml", "shop/values/eu.yaml", "shop/values/prod.yaml",
		"shop/charts/sub/Chart.yaml", "shop/charts/sub/files/a.txt",
	}, unpackNames(t, p.Archive))
	again, err := packShop(t, helm.PackOptions{})
	require.NoError(t, err)
	require.Equal(t, p.Archive, again.Archive)

	// Helm reads it as it reads the directory.
	c, err := loader.LoadArchive(bytes.NewReader(p.Archive))
	require.NoError(t, err)
	require.Equal(t, "1.2.3", c.Metadata.Version)
	require.Equal(t, map[string]any{"a": "chart", "b": "chart"}, c.Values)
	require.Len(t, c.Dependencies(), 1)
	require.NoError(t, c.Validate())
}

func TestPackVersions(t *testing.T) {
	const hash = "0123456789ABCDEF0123456789abcdef01234567"
	for name, c := range map[string]struct {
		opts helm.PackOptions
		want string
	}{
		"chart version":      {helm.PackOptions{Revision: "main@sha1:" + hash}, "1.2.3"},
		"by name":            {helm.PackOptions{Strategy: helm.ChartVersion}, "1.2.3"},
		"revision":           {helm.PackOptions{Strategy: helm.Revision, Revision: "main@sha1:" + hash}, "1.2.3+0123456789ab"},
		"bare hash":          {helm.PackOptions{Strategy: helm.Revision, Revision: hash}, "1.2.3+0123456789ab"},
		"tag":                {helm.PackOptions{Strategy: helm.Revision, Revision: "v1@sha256:" + hash}, "1.2.3+0123456789ab"},
		"values files":       {helm.PackOptions{ValuesFiles: []string{"values/prod.yaml"}, Generation: 7}, "1.2.3+7"},
		"both":               {helm.PackOptions{Strategy: helm.Revision, Revision: "sha1:" + hash, ValuesFiles: []string{"values/prod.yaml"}, Generation: 7}, "1.2.3+0123456789ab.7"},
		"generation of none": {helm.PackOptions{Generation: 7}, "1.2.3"},
		"without generation": {helm.PackOptions{ValuesFiles: []string{"values/prod.yaml"}}, "1.2.3"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := packShop(t, c.opts)
			require.NoError(t, err)
			require.Equal(t, c.want, p.Version)
			loaded, err := helm.LoadArchive(t.Context(), p.Archive, helm.LoadOptions{})
			require.NoError(t, err)
			require.Equal(t, c.want, loaded.Version())

			c.opts.Previous = c.want
			same, err := packShop(t, c.opts)
			require.NoError(t, err)
			require.Equal(t, &helm.Package{Name: "shop", Version: c.want, Unchanged: true}, same)
			c.opts.Previous = "1.2.2"
			other, err := packShop(t, c.opts)
			require.NoError(t, err)
			require.Equal(t, p, other)
		})
	}
	// What the version says already stays.
	p, err := helm.Pack(t.Context(), tree(map[string]string{"Chart.yaml": chartYAML("a", "1.0.0-rc.1+build")}), ".", helm.PackOptions{Strategy: helm.Revision, Revision: hash})
	require.NoError(t, err)
	require.Equal(t, "1.0.0-rc.1+build.0123456789ab", p.Version)
}

func TestPackValuesFiles(t *testing.T) {
	p, err := packShop(t, helm.PackOptions{ValuesFiles: []string{"values.yaml", "inner.yaml", "values/eu.yaml"}})
	require.NoError(t, err)
	require.Equal(t, []string{"values.yaml", "inner.yaml", "values/eu.yaml"}, p.ValuesFiles)
	c, err := loader.LoadArchive(bytes.NewReader(p.Archive))
	require.NoError(t, err)
	require.Equal(t, map[string]any{"a": "chart", "b": "prod", "c": map[string]any{"x": 1.0, "z": 2.0}}, c.Values)

	_, err = packShop(t, helm.PackOptions{ValuesFiles: []string{"values.yaml", "none.yaml"}})
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "none.yaml")
	p, err = packShop(t, helm.PackOptions{ValuesFiles: []string{"none.yaml", "values/eu.yaml"}, IgnoreMissingValuesFiles: true})
	require.NoError(t, err)
	require.Equal(t, []string{"values/eu.yaml"}, p.ValuesFiles)
	p, err = packShop(t, helm.PackOptions{ValuesFiles: []string{"none.yaml"}, IgnoreMissingValuesFiles: true})
	require.NoError(t, err)
	require.Empty(t, p.ValuesFiles)
	c, err = loader.LoadArchive(bytes.NewReader(p.Archive))
	require.NoError(t, err)
	require.Equal(t, map[string]any{"a": "chart", "b": "chart"}, c.Values)
}

// Charts of a repository are packed again for other values.
func TestPackArchive(t *testing.T) {
	first, err := packShop(t, helm.PackOptions{})
	require.NoError(t, err)
	opts := helm.PackOptions{ValuesFiles: []string{"values.yaml", "values/prod.yaml"}, Generation: 3}
	p, err := helm.PackArchive(t.Context(), first.Archive, opts)
	require.NoError(t, err)
	require.Equal(t, "1.2.3+3", p.Version)
	require.Equal(t, unpackNames(t, first.Archive), unpackNames(t, p.Archive))
	direct, err := packShop(t, opts)
	require.NoError(t, err)
	require.Equal(t, direct, p)
	opts.Previous = "1.2.3+3"
	p, err = helm.PackArchive(t.Context(), first.Archive, opts)
	require.NoError(t, err)
	require.True(t, p.Unchanged)

	_, err = helm.PackArchive(t.Context(), first.Archive, helm.PackOptions{ValuesFiles: []string{"none.yaml"}})
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = helm.PackArchive(t.Context(), first.Archive, helm.PackOptions{ValuesFiles: []string{"../shop/values.yaml"}})
	require.ErrorContains(t, err, "a values file is inside the chart")
	_, err = helm.PackArchive(t.Context(), []byte("x"), helm.PackOptions{})
	require.True(t, terminal(err))
}

func TestAttackValuesFilesOutsideOfTheChart(t *testing.T) {
	for _, name := range []string{
		"../outside.yaml", "/etc/passwd", "values/../../outside.yaml", "https://example.org/values.yaml", "file:///etc/passwd", "", ".", "a\\..\\b", "C:/x", "values.yaml/", "link.yaml",
	} {
		_, err := packShop(t, helm.PackOptions{ValuesFiles: []string{name}, IgnoreMissingValuesFiles: true})
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "secret: 1")
		require.True(t, name == "." || terminal(err), name)
	}
}

func TestAttackNamesOfPackedCharts(t *testing.T) {
	for _, name := range []string{"..", ".", "a/b", "../a", `a\b`, `..\a`, "/etc", ""} {
		_, err := helm.Pack(t.Context(), tree(map[string]string{"Chart.yaml": chartYAML(name, "1.0.0")}), ".", helm.PackOptions{})
		require.True(t, terminal(err), "%q: %v", name, err)
	}
	files := shopFiles()
	delete(files, "shop/link.yaml")
	for file, content := range map[string]string{
		"shop/charts/sub/Chart.yaml": chartYAML("..", "0.1.0"),
		"shop/Chart.yaml":            "apiVersion: v2\nname: shop\nversion: one\n",
	} {
		changed := maps.Clone(files)
		changed[file] = content
		_, err := helm.Pack(t.Context(), tree(changed), "shop", helm.PackOptions{})
		require.True(t, terminal(err), file)
	}
}

func TestPackErrors(t *testing.T) {
	for want, opts := range map[string]helm.PackOptions{
		"there is no strategy":              {Strategy: "Sometimes"},
		"ends with no hash":                 {Strategy: helm.Revision, Revision: "main"},
		`"main@sha1:xyz" ends with no hash`: {Strategy: helm.Revision, Revision: "main@sha1:xyz"},
		"it is not an object in YAML":       {ValuesFiles: []string{"templates/list.yaml"}},
	} {
		files := shopFiles()
		delete(files, "shop/link.yaml")
		files["shop/templates/list.yaml"] = "- a\n"
		_, err := helm.Pack(t.Context(), tree(files), "shop", opts)
		require.ErrorContains(t, err, want)
		require.True(t, terminal(err))
	}
	_, err := helm.Pack(t.Context(), tree(shopFiles()), "none", helm.PackOptions{})
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = helm.Pack(t.Context(), tree(shopFiles()), "shop/values", helm.PackOptions{})
	require.ErrorIs(t, err, helm.ErrNotChart)
	_, err = helm.Pack(t.Context(), tree(shopFiles()), "../shop", helm.PackOptions{})
	require.True(t, terminal(err))
}

// Two versions of one subchart, under two aliases, each have a directory.
func TestPackSubchartsOfOneName(t *testing.T) {
	s := &shelf{charts: map[string][]byte{"redis 1.x": packedChart(t, "redis", "1.9.0"), "redis 2.x": packedChart(t, "redis", "2.1.0")}}
	p, err := helm.Pack(t.Context(), tree(map[string]string{"Chart.yaml": chartYAML("app", "1.0.0",
		&chart.Dependency{Name: "redis", Version: "1.x", Repository: "https://x", Alias: "one"},
		&chart.Dependency{Name: "redis", Version: "2.x", Repository: "https://x", Alias: "two"},
	)}), ".", helm.PackOptions{Resolver: s})
	require.NoError(t, err)
	c, err := helm.LoadArchive(t.Context(), p.Archive, helm.LoadOptions{})
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"redis-1.9.0-one", "redis-2.1.0-two"}, names(t, c))
}

// Who looks at the first of two files of one name would not see what counts.
func TestAttackArchiveWithTwoChartFiles(t *testing.T) {
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	w := tar.NewWriter(zipped)
	for _, content := range []string{chartYAML("good", "1.0.0"), chartYAML("evil", "1.0.0")} {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: "good/Chart.yaml", Mode: 0o644, Size: int64(len(content))}))
		_, err := w.Write([]byte(content))
		require.NoError(t, err)
	}
	require.NoError(t, errors.Join(w.Close(), zipped.Close()))
	_, err := helm.LoadArchive(t.Context(), out.Bytes(), helm.LoadOptions{})
	require.ErrorContains(t, err, "is in it twice")
	require.True(t, terminal(err))
}
