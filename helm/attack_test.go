package helm_test

import (
	"archive/tar"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/helm"
)

func TestAttackLinksOutOfTheTree(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(outside, []byte("canary"), 0o600))
	for name, link := range map[string]string{
		"absolute":       outside,
		"parent":         "../../../../../../../../etc/passwd",
		"climbing":       "../../secret",
		"through a link": "up/secret",
		"backslash":      `..\..\secret`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "tree")
			require.NoError(t, os.CopyFS(dir, with(map[string]string{"chart/templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\ndata:\n{{ (.Files.Glob \"*\").AsConfig | indent 2 }}\n"})))
			if name == "through a link" {
				require.NoError(t, os.Symlink("../..", filepath.Join(dir, "chart", "up")))
			}
			require.NoError(t, os.Symlink(link, filepath.Join(dir, "chart", "file")))
			// os.DirFS does not keep links inside, so this package has to.
			_, err := helm.Load(t.Context(), os.DirFS(dir), "chart", helm.LoadOptions{})
			require.ErrorContains(t, err, "a symbolic link points out of the tree")
			require.NotContains(t, err.Error(), "canary")
			require.True(t, terminal(err))
		})
	}
}

func TestAttackLinkLoops(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"self":             {"chart/a": "-> a"},
		"mutual":           {"chart/a": "-> b", "chart/b": "-> a"},
		"to the chart":     {"chart/files/a": "-> .."},
		"two directories":  {"chart/x/a": "-> ../y", "chart/y/b": "-> ../x"},
		"of the directory": {"chart/x": "-> ../chart"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := helm.Load(t.Context(), with(files), "chart", helm.LoadOptions{})
			require.ErrorContains(t, err, "symbolic link")
			require.True(t, terminal(err))
		})
	}
}

func TestAttackArchives(t *testing.T) {
	const meta = "apiVersion: v2\nname: sub\nversion: 1.0.0\n"
	chart := tar.Header{Name: "sub/Chart.yaml", Mode: 0o644, Size: int64(len(meta))}
	files := map[string]string{"sub/Chart.yaml": meta}
	for name, tc := range map[string]struct {
		header tar.Header
		want   string
	}{
		"symbolic link": {tar.Header{Name: "sub/link", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, "not a plain file"},
		"hard link":     {tar.Header{Name: "sub/link", Typeflag: tar.TypeLink, Linkname: "../../x"}, "not a plain file"},
		"device":        {tar.Header{Name: "sub/dev", Typeflag: tar.TypeChar}, "not a plain file"},
		"fifo":          {tar.Header{Name: "sub/fifo", Typeflag: tar.TypeFifo}, "not a plain file"},
		"parent":        {tar.Header{Name: "sub/../../x"}, "not a path below"},
		"absolute":      {tar.Header{Name: "/etc/x"}, "not a path below"},
		"first parent":  {tar.Header{Name: "../x"}, "not a path below"},
		"drive":         {tar.Header{Name: `sub\c:\x`}, "not a path below"},
		"top level":     {tar.Header{Name: "Chart.yaml"}, "not a path below"},
		"no chart":      {tar.Header{Name: "sub/charts/other/x"}, "Chart.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			archive := packedWith(t, files, chart, tc.header)
			_, err := helm.Load(t.Context(), with(map[string]string{"chart/charts/sub.tgz": archive}), "chart", helm.LoadOptions{})
			require.ErrorContains(t, err, tc.want)
			require.True(t, terminal(err))
		})
	}
}

func TestAttackLimits(t *testing.T) {
	meta := map[string]string{"sub/Chart.yaml": "apiVersion: v2\nname: sub\nversion: 1.0.0\n"}
	bomb := packed(t, map[string]string{"sub/Chart.yaml": meta["sub/Chart.yaml"], "sub/a": strings.Repeat("\x00", 4<<20), "sub/b": strings.Repeat("\x00", 4<<20)})
	nested := packed(t, meta)
	for range 5 {
		nested = packed(t, map[string]string{"sub/Chart.yaml": meta["sub/Chart.yaml"], "sub/charts/sub.tgz": nested})
	}
	deep := map[string]string{"chart/" + strings.Repeat("d/", 50) + "x": ""}
	many := map[string]string{}
	for i := range 40 {
		many[fmt.Sprintf("chart/files/%d", i)] = "content"
	}
	for name, tc := range map[string]struct {
		files  map[string]string
		limits helm.Limits
		want   string
	}{
		"ratio bomb":        {map[string]string{"chart/charts/sub.tgz": bomb}, helm.Limits{}, "Ratio"},
		"archive's file":    {map[string]string{"chart/charts/sub.tgz": bomb}, helm.Limits{FileBytes: 1 << 20}, "FileBytes"},
		"archive's bytes":   {map[string]string{"chart/charts/sub.tgz": bomb}, helm.Limits{Ratio: 1e6, Bytes: 5 << 20}, "Bytes"},
		"archives nested":   {map[string]string{"chart/charts/sub.tgz": nested}, helm.Limits{Depth: 4}, "Depth"},
		"archive's files":   {map[string]string{"chart/charts/sub.tgz": bomb}, helm.Limits{Files: 2, Ratio: 1e6}, "Files"},
		"directories":       {deep, helm.Limits{}, "Depth"},
		"files":             {many, helm.Limits{Files: 39}, "Files"},
		"bytes":             {many, helm.Limits{Bytes: 200}, "Bytes"},
		"one file":          {many, helm.Limits{FileBytes: 6}, "FileBytes"},
		"an endless ignore": {map[string]string{"chart/.helmignore": strings.Repeat("x", 6<<20)}, helm.Limits{}, "FileBytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := helm.Load(t.Context(), with(tc.files), "chart", helm.LoadOptions{Limits: tc.limits})
			require.ErrorIs(t, err, helm.ErrLimit)
			var limit *helm.LimitError
			require.ErrorAs(t, err, &limit)
			require.Equal(t, tc.want, limit.Limit)
			require.True(t, terminal(err))
		})
	}
}

func TestAttackChartNames(t *testing.T) {
	for _, name := range []string{"..", ".", "a/b", "../x", "/", `'a\b'`, `""`} {
		_, err := helm.Load(t.Context(), with(map[string]string{"chart/Chart.yaml": "apiVersion: v2\nversion: 1.0.0\nname: " + name}), "chart", helm.LoadOptions{})
		require.ErrorContains(t, err, "chart.metadata.name", name)
	}
}

func TestAttackNilYAML(t *testing.T) {
	const meta = "apiVersion: v2\nname: demo\nversion: 1.0.0\n"
	for name, files := range map[string]map[string]string{
		"empty Chart.yaml":  {"chart/Chart.yaml": ""},
		"null Chart.yaml":   {"chart/Chart.yaml": "null"},
		"null dependency":   {"chart/Chart.yaml": meta + "dependencies: [null]"},
		"null maintainer":   {"chart/Chart.yaml": meta + "maintainers: [~]"},
		"null lock":         {"chart/Chart.lock": "null"},
		"null requirements": {"chart/requirements.yaml": "null", "chart/requirements.lock": "null"},
		"null values":       {"chart/values.yaml": "null"},
		"null import":       {"chart/Chart.yaml": meta + "dependencies: [{name: sub, import-values: [null, {child: ~}]}]", "chart/charts/sub/Chart.yaml": "apiVersion: v2\nname: sub\nversion: 1.0.0"},
		"null subchart":     {"chart/values.yaml": "sub: null", "chart/charts/sub/Chart.yaml": "apiVersion: v2\nname: sub\nversion: 1.0.0"},
		"scalar subchart":   {"chart/values.yaml": "sub: 1", "chart/charts/sub/Chart.yaml": "apiVersion: v2\nname: sub\nversion: 1.0.0"},
		"null globals":      {"chart/values.yaml": "global: null", "chart/charts/sub/Chart.yaml": "apiVersion: v2\nname: sub\nversion: 1.0.0"},
		"null schema":       {"chart/values.schema.json": "null"},
	} {
		t.Run(name, func(t *testing.T) {
			// Either answer is right; a panic is not.
			c, err := helm.Load(t.Context(), with(files), "chart", helm.LoadOptions{})
			if err == nil {
				_, err = c.Render(t.Context(), helm.RenderOptions{Values: map[string]any{"a": nil}})
			}
			if err != nil {
				require.True(t, terminal(err), "%v", err)
			}
		})
	}
}

func TestAttackSchemas(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret.json")
	require.NoError(t, os.WriteFile(secret, []byte(`{"const": "canary"}`), 0o600))
	chain := `{"a": 0}`
	for range 5000 {
		chain = `{"a": ` + chain + `}`
	}
	for name, tc := range map[string]struct{ schema, want string }{
		"file":        {`{"$ref": "file://` + secret + `"}`, "references to files and networks are not followed"},
		"zero device": {`{"$ref": "file:///dev/zero"}`, "references to files and networks are not followed"},
		"relative":    {`{"$ref": "` + secret + `"}`, "references to files and networks are not followed"},
		"network":     {`{"$ref": "http://169.254.169.254/latest"}`, "references to files and networks are not followed"},
		"urn":         {`{"$ref": "urn:example:test"}`, "references to files and networks are not followed"},
		"dialect":     {`{"$schema": "https://example.test/meta"}`, "references to files and networks are not followed"},
		"id":          {`{"$id": "file:///etc/", "$ref": "passwd"}`, "references to files and networks are not followed"},
		"nesting":     {chain, "nested"},
		"to itself":   {`{"$ref": "#"}`, "schema"},
		"not JSON":    {`{`, "it is not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			c := load(t, with(map[string]string{"chart/values.schema.json": tc.schema}))
			_, err := c.Render(t.Context(), helm.RenderOptions{})
			require.ErrorContains(t, err, tc.want)
			require.NotContains(t, err.Error(), "canary")
			require.True(t, terminal(err))
		})
	}
}

// A schema whose check doubles with every definition ends with its caller.
func TestAttackSchemaThatNeverEnds(t *testing.T) {
	var defs []string
	for i := range 60 {
		defs = append(defs, fmt.Sprintf(`"d%d": {"allOf": [{"$ref": "#/$defs/d%d"}, {"$ref": "#/$defs/d%d"}]}`, i, i+1, i+1))
	}
	schema := `{"$ref": "#/$defs/d0", "$defs": {` + strings.Join(defs, ",") + `, "d60": {"type": "object"}}}`
	c, err := helm.Load(t.Context(), with(map[string]string{"chart/values.schema.json": schema}), "chart", helm.LoadOptions{Limits: helm.Limits{Time: 50 * time.Millisecond}})
	require.NoError(t, err)
	_, err = c.Render(t.Context(), helm.RenderOptions{})
	require.ErrorIs(t, err, helm.ErrLimit)
}

func TestAttackTemplatesReachNothing(t *testing.T) {
	t.Setenv("CANARY", "canary")
	require.Equal(t, "{}", value(t, `{{ lookup "v1" "Secret" "kube-system" "" | toJson | quote }}`))
	require.Equal(t, "<>", value(t, `<{{ getHostByName "localhost" }}>`))
	for _, call := range []string{`env "CANARY"`, `expandenv "$CANARY"`} {
		_, err := render(t, "{{ "+call+" }}", helm.RenderOptions{})
		require.ErrorContains(t, err, "not defined")
		require.NotContains(t, err.Error(), "canary\"")
	}
	require.Equal(t, "<>", value(t, `<{{ .Files.Get "../../../../etc/passwd" }}{{ .Files.Get "/etc/passwd" }}>`))
}

func TestAttackTemplatesThatDoNotEnd(t *testing.T) {
	lists := map[string]any{"l": make([]any, 1000)}
	for name, tc := range map[string]struct{ template, want string }{
		"includes itself":       {`{{ define "a" }}{{ include "a" . }}{{ end }}{{ include "a" . }}`, "Nesting"},
		"calls itself":          {`{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}`, "Nesting"},
		"include and call":      {`{{ define "a" }}{{ template "b" . }}{{ end }}{{ define "b" }}{{ include "a" . }}{{ end }}{{ include "a" . }}`, "Nesting"},
		"tpl of itself":         {`{{ define "a" }}{{ tpl "{{ include \"a\" . }}" . }}{{ end }}{{ include "a" . }}`, "Nesting"},
		"defined in tpl":        {`{{ tpl "{{ define \"a\" }}{{ template \"a\" . }}{{ end }}{{ template \"a\" . }}" . }}`, "Nesting"},
		"doubles":               {`{{ define "a" }}{{ if lt (int .) 100 }}{{ template "a" (add . 1) }}{{ template "a" (add . 1) }}{{ end }}{{ end }}{{ template "a" 0 }}`, "Time"},
		"loops in loops":        {`{{ $l := .Values.l }}{{ range $l }}{{ range $l }}{{ range $l }}{{ range $l }}{{ end }}{{ end }}{{ end }}{{ end }}`, "Time"},
		"loops under if":        {`{{ $l := .Values.l }}{{ range $l }}{{ if true }}{{ with $l }}{{ range $l }}{{ range $l }}{{ range $l }}{{ else }}{{ end }}{{ end }}{{ end }}{{ end }}{{ end }}{{ end }}`, "Time"},
		"loops over a number":   {`{{ range 1000000000 }}{{ end }}`, "Time"},
		"loops in tpl":          {`{{ tpl "{{ $l := .Values.l }}{{ range $l }}{{ range $l }}{{ range $l }}{{ range $l }}{{ end }}{{ end }}{{ end }}{{ end }}" . }}`, "Time"},
		"writes":                {`{{ $l := .Values.l }}{{ range $l }}{{ range $l }}{{ range $l }}0123456789{{ end }}{{ end }}{{ end }}`, "Output"},
		"writes through values": {`{{ define "a" }}{{ range .Values.l }}0123456789{{ end }}{{ end }}{{ $x := "" }}{{ range .Values.l }}{{ $x = include "a" $ }}{{ end }}`, "Output"},
		"repeat":                {`{{ repeat 9223372036854775807 "aa" }}`, "Output"},
		"indent":                {`{{ "a\nb" | indent 1000000000 }}`, "Output"},
		"nindent":               {`{{ "a\nb" | nindent 1000000000 }}`, "Output"},
		"replace":               {`{{ $x := repeat 10000 "a" }}{{ replace "a" $x $x }}`, "Output"},
		"until":                 {`{{ until 9223372036854775807 }}`, "Output"},
		"untilStep":             {`{{ untilStep -9223372036854775807 9223372036854775807 1 }}`, "Output"},
		"seq":                   {`{{ seq 1 1 9223372036854775807 }}`, "Output"},
		"randAlphaNum":          {`{{ randAlphaNum 1000000000 }}`, "Output"},
		"randBytes":             {`{{ randBytes 9223372036854775807 }}`, "Output"},
	} {
		t.Run(name, func(t *testing.T) {
			limits := helm.Limits{Output: 1 << 20}
			if tc.want == "Time" {
				limits.Time = 200 * time.Millisecond
			}
			c, err := helm.Load(t.Context(), with(map[string]string{"chart/templates/a.yaml": tc.template}), "chart", helm.LoadOptions{Limits: limits})
			require.NoError(t, err)
			_, err = c.Render(t.Context(), helm.RenderOptions{Values: lists})
			require.ErrorIs(t, err, helm.ErrLimit)
			var limit *helm.LimitError
			require.ErrorAs(t, err, &limit)
			require.Equal(t, tc.want, limit.Limit)
			require.True(t, terminal(err))
		})
	}
}

// The caller's own deadline is not the chart's fault.
func TestAttackLoopEndsWithTheCaller(t *testing.T) {
	c := load(t, with(map[string]string{"chart/templates/a.yaml": `{{ range 1000000000 }}{{ end }}`}))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := c.Render(ctx, helm.RenderOptions{})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.False(t, terminal(err))
}

func TestAttackTooManyObjects(t *testing.T) {
	c, err := helm.Load(t.Context(), with(map[string]string{
		"chart/templates/a.yaml": "{{ range until 11 }}\n---\napiVersion: v1\nkind: ConfigMap\n{{ end }}",
	}), "chart", helm.LoadOptions{Limits: helm.Limits{Objects: 10}})
	require.NoError(t, err)
	_, err = c.Render(t.Context(), helm.RenderOptions{})
	require.ErrorIs(t, err, helm.ErrLimit)
}

func TestAttackAliasBomb(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'k'; c++ {
		bomb += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
	}
	_, err := helm.Load(t.Context(), with(map[string]string{"chart/values.yaml": bomb}), "chart", helm.LoadOptions{})
	require.ErrorContains(t, err, "excessive aliasing")
}
