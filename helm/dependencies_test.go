package helm_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart"
	"sigs.k8s.io/yaml"

	"github.com/gitopskit/gitopskit/helm"
)

// chartYAML is a Chart.yaml with dependencies.
func chartYAML(name, version string, deps ...*chart.Dependency) string {
	data, err := yaml.Marshal(&chart.Metadata{APIVersion: "v2", Name: name, Version: version, Dependencies: deps})
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// lock is the Chart.lock that Helm writes for dependencies.
func lock(t testing.TB, asked, locked []*chart.Dependency) string {
	t.Helper()
	both, err := json.Marshal([2][]*chart.Dependency{asked, locked})
	require.NoError(t, err)
	sum := sha256.Sum256(both)
	data, err := yaml.Marshal(&chart.Lock{Digest: "sha256:" + hex.EncodeToString(sum[:]), Dependencies: locked})
	require.NoError(t, err)
	return string(data)
}

// packedChart packs a chart of one template, which says what it is.
func packedChart(t testing.TB, name, version string) []byte {
	t.Helper()
	p, err := helm.Pack(t.Context(), tree(map[string]string{
		"Chart.yaml":       chartYAML(name, version),
		"templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "-" + version + "-{{ .Chart.Name }}}\n",
	}), ".", helm.PackOptions{})
	require.NoError(t, err)
	return p.Archive
}

// shelf is a resolver that has what is in it, and remembers what it was asked for.
type shelf struct {
	charts map[string][]byte
	asked  []helm.Dependency
}

func (s *shelf) Resolve(_ context.Context, d helm.Dependency) ([]byte, error) {
	s.asked = append(s.asked, d)
	data, ok := s.charts[d.Name+" "+d.Version]
	if !ok {
		return nil, fmt.Errorf("there is no %s %s", d.Name, d.Version)
	}
	return data, nil
}

func names(t *testing.T, c *helm.Chart) []string {
	t.Helper()
	r, err := c.Render(t.Context(), helm.RenderOptions{})
	require.NoError(t, err)
	var list []string
	for _, o := range r.Objects {
		list = append(list, o.GetName())
	}
	return list
}

func TestDependenciesInTheTree(t *testing.T) {
	template := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"{{ .Chart.Name }}\"}\n"
	fsys := tree(map[string]string{
		"charts/app/Chart.yaml":            chartYAML("app", "1.0.0", &chart.Dependency{Name: "db", Version: "1.x", Repository: "file://../db"}, &chart.Dependency{Name: "own", Version: "*"}),
		"charts/app/charts/own/Chart.yaml": chartYAML("own", "0.1.0"),
		"charts/db/Chart.yaml":             chartYAML("db", "1.2.0", &chart.Dependency{Name: "lib", Version: "*", Repository: "file://lib"}),
		"charts/db/templates/a.yaml":       template,
		"charts/db/lib/Chart.yaml":         chartYAML("lib", "0.0.1"),
		"charts/db/lib/templates/a.yaml":   template,
	})
	c, err := helm.Load(t.Context(), fsys, "charts/app", helm.LoadOptions{})
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"db", "lib"}, names(t, c))

	fsys["charts/db/Chart.yaml"].Data = []byte(chartYAML("db", "2.0.0"))
	_, err = helm.Load(t.Context(), fsys, "charts/app", helm.LoadOptions{})
	require.ErrorIs(t, err, helm.ErrDependency)
	require.EqualError(t, err, "chart app depends on db 1.x: file://../db has db 2.0.0, which is not that; correct the version, or run helm dependency update")
	require.True(t, terminal(err))
}

func TestAttackDependencyLeavesTheTree(t *testing.T) {
	for _, repository := range []string{
		"file://../../other", "file://../../../etc", "file:///charts/db", "file:///etc", "file://", "file:../db", "file://..\\db", "file://../link", "file://../../charts/../../x",
	} {
		fsys := tree(map[string]string{
			"charts/app/Chart.yaml": chartYAML("app", "1.0.0", &chart.Dependency{Name: "db", Version: "*", Repository: repository}),
			"charts/db/Chart.yaml":  chartYAML("db", "1.0.0"),
			"charts/link":           "-> /etc",
		})
		_, err := helm.Load(t.Context(), fsys, "charts/app", helm.LoadOptions{Resolver: &shelf{}})
		require.ErrorIs(t, err, helm.ErrDependency, repository)
		require.True(t, terminal(err), repository)
	}
	circle := tree(map[string]string{
		"a/Chart.yaml": chartYAML("a", "1.0.0", &chart.Dependency{Name: "b", Version: "*", Repository: "file://../b"}),
		"b/Chart.yaml": chartYAML("b", "1.0.0", &chart.Dependency{Name: "a", Version: "*", Repository: "file://../a"}),
	})
	_, err := helm.Load(t.Context(), circle, "a", helm.LoadOptions{})
	require.ErrorContains(t, err, "depends on the chart that depends on it")
	require.True(t, terminal(err))
}

func TestDependenciesThroughResolver(t *testing.T) {
	deps := []*chart.Dependency{
		{Name: "redis", Version: "1.x", Repository: "https://charts.example.org", Alias: "cache"},
		{Name: "redis", Version: "1.x", Repository: "https://charts.example.org", Alias: "queue"},
		{Name: "redis", Version: "2.x", Repository: "oci://example.org/charts", Alias: "new"},
	}
	fsys := tree(map[string]string{"Chart.yaml": chartYAML("app", "1.0.0", deps...)})
	_, err := helm.Load(t.Context(), fsys, ".", helm.LoadOptions{})
	var missing *helm.DependencyError
	require.ErrorAs(t, err, &missing)
	require.Len(t, missing.Missing, 3)
	require.ErrorContains(t, err, "set LoadOptions.Resolver")

	s := &shelf{charts: map[string][]byte{"redis 1.x": packedChart(t, "redis", "1.9.0"), "redis 2.x": packedChart(t, "redis", "2.1.0")}}
	c, err := helm.Load(t.Context(), fsys, ".", helm.LoadOptions{Resolver: s})
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"redis-1.9.0-cache", "redis-1.9.0-queue", "redis-2.1.0-new"}, names(t, c))
	require.Len(t, s.asked, 2, "one chart for two aliases is fetched once")
	require.Equal(t, helm.Dependency{Name: "redis", Alias: "cache", Version: "1.x", Repository: "https://charts.example.org"}, s.asked[0])

	// A resolver's error is its own.
	_, err = helm.Load(t.Context(), fsys, ".", helm.LoadOptions{Resolver: helm.ResolverFunc(func(context.Context, helm.Dependency) ([]byte, error) {
		return nil, errors.New("try later")
	})})
	require.EqualError(t, err, "chart app depends on redis 1.x: try later")
	require.False(t, terminal(err))
}

func TestResolverIsNotTrusted(t *testing.T) {
	fsys := tree(map[string]string{"Chart.yaml": chartYAML("app", "1.0.0", &chart.Dependency{Name: "redis", Version: "1.x", Repository: "https://charts.example.org"})})
	for name, data := range map[string][]byte{
		"another version": packedChart(t, "redis", "2.0.0"),
		"another chart":   packedChart(t, "evil", "1.0.0"),
		"no chart":        []byte("no"),
		"nothing":         nil,
	} {
		_, err := helm.Load(t.Context(), fsys, ".", helm.LoadOptions{Resolver: &shelf{charts: map[string][]byte{"redis 1.x": data}}})
		require.ErrorIs(t, err, helm.ErrDependency, name)
		require.True(t, terminal(err), name)
	}
	_, err := helm.Load(t.Context(), fsys, ".", helm.LoadOptions{Resolver: &shelf{charts: map[string][]byte{"redis 1.x": packedChart(t, "redis", "1.0.0")}}, Limits: helm.Limits{Files: 2}})
	require.ErrorIs(t, err, helm.ErrLimit, "what is fetched counts too")
	ctx, cancel := context.WithCancel(t.Context())
	_, err = helm.Load(ctx, fsys, ".", helm.LoadOptions{Resolver: helm.ResolverFunc(func(context.Context, helm.Dependency) ([]byte, error) {
		cancel()
		return nil, errors.New("no")
	})})
	require.ErrorIs(t, err, context.Canceled)
}

func TestVendoredChartsAreUsedAsTheyAre(t *testing.T) {
	fsys := tree(map[string]string{
		"Chart.yaml":              chartYAML("app", "1.0.0", &chart.Dependency{Name: "redis", Version: ">=1.0.0", Repository: "https://charts.example.org"}),
		"Chart.lock":              "digest: sha256:of something else\n",
		"charts/redis/Chart.yaml": chartYAML("redis", "1.5.0"),
	})
	s := &shelf{}
	_, err := helm.Load(t.Context(), fsys, ".", helm.LoadOptions{Resolver: s})
	require.NoError(t, err)
	require.Empty(t, s.asked)
}

func TestLock(t *testing.T) {
	asked := []*chart.Dependency{{Name: "redis", Version: "1.x", Repository: "https://charts.example.org"}}
	locked := []*chart.Dependency{{Name: "redis", Version: "1.2.3", Repository: "https://evil.example.org"}}
	files := map[string]string{"Chart.yaml": chartYAML("app", "1.0.0", asked...), "Chart.lock": lock(t, asked, locked)}
	s := &shelf{charts: map[string][]byte{"redis 1.2.3": packedChart(t, "redis", "1.2.3")}}
	_, err := helm.Load(t.Context(), tree(files), ".", helm.LoadOptions{Resolver: s})
	require.NoError(t, err)
	require.Equal(t, []helm.Dependency{{Name: "redis", Version: "1.2.3", Repository: "https://charts.example.org"}}, s.asked, "where it comes from is for Chart.yaml to say")

	old := *asked[0]
	for name, content := range map[string]string{
		"other dependencies": lock(t, []*chart.Dependency{{Name: "redis", Version: "2.x", Repository: "https://charts.example.org"}}, locked),
		"edited":             strings.Replace(files["Chart.lock"], "1.2.3", "1.2.4", 1),
		"no digest":          "dependencies:\n- name: redis\n  version: 1.2.3\n",
		"another name":       lock(t, asked, []*chart.Dependency{{Name: "evil", Version: "1.2.3"}}),
		"out of range":       lock(t, asked, []*chart.Dependency{{Name: "redis", Version: "2.0.0"}}),
		"too many":           lock(t, asked, []*chart.Dependency{locked[0], locked[0]}),
		"null":               lock(t, asked, []*chart.Dependency{nil}),
		"empty":              "{}\n",
	} {
		changed := maps.Clone(files)
		changed["Chart.lock"] = content
		_, err := helm.Load(t.Context(), tree(changed), ".", helm.LoadOptions{Resolver: s})
		require.ErrorIs(t, err, helm.ErrLock, name)
		require.ErrorContains(t, err, "run helm dependency update", name)
		require.True(t, terminal(err), name)
	}

	// Charts of Helm 2 have a digest of the dependencies alone.
	v1, err := json.Marshal(map[string][]*chart.Dependency{"dependencies": {&old}})
	require.NoError(t, err)
	sum := sha256.Sum256(v1)
	_, err = helm.Load(t.Context(), tree(map[string]string{
		"Chart.yaml":        "apiVersion: v1\nname: app\nversion: 1.0.0\n",
		"requirements.yaml": "dependencies:\n- name: redis\n  version: 1.x\n  repository: https://charts.example.org\n",
		"requirements.lock": "digest: sha256:" + hex.EncodeToString(sum[:]) + "\ndependencies:\n- name: redis\n  version: 1.2.3\n  repository: https://charts.example.org\n",
	}), ".", helm.LoadOptions{Resolver: s})
	require.NoError(t, err)
}

// A Chart.lock that is a link to a file which a shell runs is read, and not
// written through.
func TestAttackLockIsALink(t *testing.T) {
	asked := []*chart.Dependency{{Name: "redis", Version: "1.x", Repository: "https://charts.example.org"}}
	fsys := tree(map[string]string{
		"app/Chart.yaml": chartYAML("app", "1.0.0", asked...),
		"app/Chart.lock": "-> ../.bashrc",
		".bashrc":        "echo",
	})
	before := maps.Clone(fsys)
	_, err := helm.Load(t.Context(), fsys, "app", helm.LoadOptions{Resolver: &shelf{charts: map[string][]byte{"redis 1.x": packedChart(t, "redis", "1.0.0")}}})
	require.Error(t, err)
	require.Equal(t, before, fsys)
}

func FuzzLock(f *testing.F) {
	asked := []*chart.Dependency{{Name: "redis", Version: "1.x", Repository: "https://charts.example.org"}}
	f.Add(chartYAML("app", "1.0.0", asked...), lock(f, asked, []*chart.Dependency{{Name: "redis", Version: "1.2.3"}}))
	for _, seed := range []string{"", "null", "[]", "dependencies: [null]", "digest: 1", "a: &a [*a]", "generated: x"} {
		f.Add(chartYAML("app", "1.0.0", asked...), seed)
	}
	f.Add("apiVersion: v2\nname: a\nversion: 1.0.0\ndependencies: [{name: a, repository: 'file://.'}]", "")
	f.Add("apiVersion: v2\nname: a\nversion: 1.0.0\ndependencies: [{name: a, version: '<', repository: x}]", "")
	f.Fuzz(func(t *testing.T, chartFile, lockFile string) {
		_, err := helm.Load(t.Context(), tree(map[string]string{"Chart.yaml": chartFile, "Chart.lock": lockFile}), ".", helm.LoadOptions{Resolver: helm.ResolverFunc(
			func(context.Context, helm.Dependency) ([]byte, error) { return []byte("no chart"), nil })})
		if err != nil {
			require.True(t, terminal(err), "%v", err)
		}
	})
}

func TestLoadArchive(t *testing.T) {
	data := packedChart(t, "demo", "1.2.3")
	c, err := helm.LoadArchive(t.Context(), data, helm.LoadOptions{})
	require.NoError(t, err)
	require.Equal(t, "demo", c.Name())
	require.Equal(t, []string{"demo-1.2.3-demo"}, names(t, c))

	// A file in a tree does as well.
	c, err = helm.Load(t.Context(), fstest.MapFS{"packages/demo.tgz": {Data: data}, "link": {Data: []byte("packages/demo.tgz"), Mode: fs.ModeSymlink}}, "link", helm.LoadOptions{})
	require.NoError(t, err)
	require.Equal(t, "1.2.3", c.Version())

	for name, data := range map[string][]byte{"empty": nil, "text": []byte("text"), "cut off": data[:len(data)/2]} {
		_, err := helm.LoadArchive(t.Context(), data, helm.LoadOptions{})
		require.True(t, terminal(err), name)
	}
	_, err = helm.LoadArchive(t.Context(), data, helm.LoadOptions{Limits: helm.Limits{Bytes: 10}})
	require.ErrorIs(t, err, helm.ErrLimit)

	// Its dependencies are inside, or the resolver's.
	outer, err := helm.Pack(t.Context(), tree(map[string]string{
		"Chart.yaml":    chartYAML("outer", "1.0.0", &chart.Dependency{Name: "db", Version: "*", Repository: "file://db"}),
		"db/Chart.yaml": chartYAML("db", "1.0.0"),
	}), ".", helm.PackOptions{})
	require.NoError(t, err)
	_, err = helm.LoadArchive(t.Context(), outer.Archive, helm.LoadOptions{})
	require.NoError(t, err)
}
