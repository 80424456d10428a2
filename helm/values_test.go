package helm_test

import (
	"maps"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/strvals"

	"github.com/gitopskit/gitopskit/helm"
)

func object(pairs ...string) map[string][]byte {
	data := map[string][]byte{}
	for i := 0; i < len(pairs); i += 2 {
		data[pairs[i]] = []byte(pairs[i+1])
	}
	return data
}

func TestMergeValuesPrecedence(t *testing.T) {
	inline := map[string]any{"c": "inline", "t": map[string]any{"x": "inline", "kept": true}, "list": []any{"inline"}, "gone": nil}
	before := map[string]any{}
	maps.Copy(before, inline)
	merged, err := helm.MergeValues(helm.ValuesSources{
		Files: []helm.ValuesFile{{Name: "values.yaml", Data: []byte("a: file\nb: file\nc: file\nlist: [file, file]\ngone: 1\nm: {one: 1}")}, {Name: "prod.yaml", Data: []byte("a2: prod\nm: {two: 2}")}},
		References: []helm.ValuesReference{
			{Name: "ConfigMap x", Data: object("values.yaml", "b: first\nc: first\nd: first")},
			{Name: "Secret y", Data: object("password", "hunter2"), Key: "password", TargetPath: "t.x"},
			{Name: "ConfigMap z", Data: object("other", "d: second"), Key: "other"},
			{Name: "Secret none", Optional: true},
			{Name: "ConfigMap empty", Data: object("values.yaml", "")},
		},
		Inline: inline,
	})
	require.NoError(t, err)
	require.Equal(t, map[string]any{
		"a": "file", "a2": "prod", "b": "first", "c": "inline", "d": "second", "gone": nil,
		"list": []any{"inline"}, "m": map[string]any{"one": 1.0, "two": 2.0},
		"t": map[string]any{"x": "hunter2", "kept": true},
	}, merged)
	require.Equal(t, before, inline)
	merged["t"].(map[string]any)["kept"] = false
	require.Equal(t, true, inline["t"].(map[string]any)["kept"], "nothing is shared with the sources")
}

func TestTargetPaths(t *testing.T) {
	for name, c := range map[string]struct {
		path, text string
		literal    bool
		want       map[string]any
	}{
		"nested":                 {path: "a.b", text: "x", want: map[string]any{"a": map[string]any{"b": "x"}}},
		"list":                   {path: "a[1].b", text: "x", want: map[string]any{"a": []any{nil, map[string]any{"b": "x"}}}},
		"list in a list":         {path: "a[0][1]", text: "x", want: map[string]any{"a": []any{[]any{nil, "x"}}}},
		"escaped dot":            {path: `a\.b/c.d`, text: "x", want: map[string]any{"a.b/c": map[string]any{"d": "x"}}},
		"number":                 {path: "a", text: "12", want: map[string]any{"a": int64(12)}},
		"truth":                  {path: "a", text: "true", want: map[string]any{"a": true}},
		"null":                   {path: "a", text: "null", want: map[string]any{"a": nil}},
		"quoted number":          {path: "a", text: `"12"`, want: map[string]any{"a": "12"}},
		"single quotes":          {path: "a", text: "'true'", want: map[string]any{"a": "true"}},
		"empty":                  {path: "a", text: "", want: map[string]any{"a": ""}},
		"list text":              {path: "a", text: "{x,y}", want: map[string]any{"a": []any{"x", "y"}}},
		"another path":           {path: "a", text: "x,b=y", want: map[string]any{"a": "x", "b": "y"}},
		"literal comma":          {path: "a.b", text: "x,y={z}[1]\\", literal: true, want: map[string]any{"a": map[string]any{"b": "x,y={z}[1]\\"}}},
		"literal number":         {path: "a", text: "12", literal: true, want: map[string]any{"a": "12"}},
		"literal lines":          {path: "a", text: "one\ntwo\n", literal: true, want: map[string]any{"a": "one\ntwo\n"}},
		"literal quotes":         {path: "a", text: `"x"`, literal: true, want: map[string]any{"a": `"x"`}},
		"literal list":           {path: "a[0]", text: "[99999]", literal: true, want: map[string]any{"a": []any{"[99999]"}}},
		"largest index":          {path: "a[65536]", text: "x", want: map[string]any{"a": append(make([]any, 65536), "x")}},
		"quotes that are no end": {path: "a", text: `"x`, want: map[string]any{"a": `"x`}},
	} {
		t.Run(name, func(t *testing.T) {
			merged, err := helm.MergeValues(helm.ValuesSources{References: []helm.ValuesReference{
				{Name: "Secret x", Data: object("k", c.text), Key: "k", TargetPath: c.path, Literal: c.literal},
			}})
			require.NoError(t, err)
			require.Equal(t, c.want, merged)
		})
	}
}

func TestTargetPathsKeepWhatIsBeside(t *testing.T) {
	inline := map[string]any{"list": []any{map[string]any{"a": 1.0}, "two"}}
	merged, err := helm.MergeValues(helm.ValuesSources{Inline: inline, References: []helm.ValuesReference{
		{Name: "x", Data: object("k", "v"), Key: "k", TargetPath: "list[0].b"},
	}})
	require.NoError(t, err)
	require.Equal(t, map[string]any{"list": []any{map[string]any{"a": 1.0, "b": "v"}, "two"}}, merged)
	require.Equal(t, map[string]any{"list": []any{map[string]any{"a": 1.0}, "two"}}, inline)
}

func TestMergeValuesErrors(t *testing.T) {
	const canary = "s3cr3t-canary"
	for name, c := range map[string]struct {
		ref      helm.ValuesReference
		want     string
		terminal bool
	}{
		"no object":           {ref: helm.ValuesReference{}, want: `values of "Secret team/db" key "values.yaml": there is no such object`},
		"no key":              {ref: helm.ValuesReference{Data: object("other", canary)}, want: "no such key", terminal: true},
		"no key and optional": {ref: helm.ValuesReference{Data: object("other", canary), Optional: true, Key: "k"}, want: `key "k": the object has no such key`, terminal: true},
		"not an object":       {ref: helm.ValuesReference{Data: object("values.yaml", canary)}, want: "not an object in YAML", terminal: true},
		"not YAML":            {ref: helm.ValuesReference{Data: object("values.yaml", "a: 1\nb: "+canary+": "+canary)}, want: "line 2", terminal: true},
		"comma in text":       {ref: helm.ValuesReference{Data: object("values.yaml", "a,"+canary), TargetPath: "x"}, want: "has to be literal", terminal: true},
		"through a text":      {ref: helm.ValuesReference{Data: object("values.yaml", canary), TargetPath: "text.x"}, want: "value of another kind", terminal: true},
		"index of a text":     {ref: helm.ValuesReference{Data: object("values.yaml", canary), TargetPath: "text[0]"}, want: "value of another kind", terminal: true},
		"negative index":      {ref: helm.ValuesReference{Data: object("values.yaml", canary), TargetPath: "a[-1]"}, want: "malformed", terminal: true},
		"literal negative":    {ref: helm.ValuesReference{Data: object("values.yaml", canary), TargetPath: "a[-1]", Literal: true}, want: "malformed", terminal: true},
	} {
		t.Run(name, func(t *testing.T) {
			c.ref.Name = "Secret team/db"
			_, err := helm.MergeValues(helm.ValuesSources{Inline: map[string]any{"text": canary}, References: []helm.ValuesReference{c.ref}})
			require.ErrorIs(t, err, helm.ErrValues)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), canary)
			require.Equal(t, c.terminal, terminal(err))
			var source *helm.ValuesSourceError
			require.ErrorAs(t, err, &source)
			require.Equal(t, "Secret team/db", source.Source)
		})
	}
	_, err := helm.MergeValues(helm.ValuesSources{Files: []helm.ValuesFile{{Name: "a.yaml", Data: []byte("a: 1")}}, MaxBytes: 3})
	require.ErrorContains(t, err, "MaxBytes")
}

func TestValuesDigest(t *testing.T) {
	a, err := helm.ValuesDigest(map[string]any{"a": 1, "b": map[string]any{"c": []any{"x"}}})
	require.NoError(t, err)
	require.Regexp(t, "^sha256:[0-9a-f]{64}$", a)
	b, err := helm.ValuesDigest(map[string]any{"b": map[string]any{"c": []any{"x"}}, "a": 1.0})
	require.NoError(t, err)
	require.Equal(t, a, b)
	c, err := helm.ValuesDigest(map[string]any{"b": map[string]any{"c": []any{"y"}}, "a": 1.0})
	require.NoError(t, err)
	require.NotEqual(t, a, c)
	none, err := helm.ValuesDigest(nil)
	require.NoError(t, err)
	empty, err := helm.ValuesDigest(map[string]any{})
	require.NoError(t, err)
	require.Equal(t, empty, none)
	_, err = helm.ValuesDigest(map[string]any{"a": func() {}})
	require.ErrorIs(t, err, helm.ErrValues)
}

// Lists that are asked for with few bytes and would fill the memory.
func TestAttackIndexesExhaustMemory(t *testing.T) {
	many := strings.Repeat(",a[65536]=", 50_000)
	for name, ref := range map[string]helm.ValuesReference{
		"many lists":         {Data: object("k", many), TargetPath: "x"},
		"many different":     {Data: object("k", strings.ReplaceAll(many, ",a", ",b.c")), TargetPath: "x"},
		"nested":             {Data: object("k", "1"), TargetPath: "x[65536][65536][65536]"},
		"nested and literal": {Data: object("k", "1"), TargetPath: "x[65536][65536][65536]", Literal: true},
		"deep":               {Data: object("k", "1,x"+strings.Repeat("[0]", 300_000)+"=1"), TargetPath: "x"},
		"huge":               {Data: object("k", "1"), TargetPath: "x[999999999999]"},
		"escaped digits":     {Data: object("k", strings.ReplaceAll(many, "[65536]", `[\6\5\5\3\6]`)), TargetPath: "x"},
		"signs":              {Data: object("k", strings.ReplaceAll(many, "[65536]", `[+65536]`)), TargetPath: "x"},
		"growing":            {Data: object("k", "1"+growing(3000)), TargetPath: "x"},
		"many texts":         {Data: object("k", strings.Repeat(",a.b=", 400_000)), TargetPath: "x"},
	} {
		t.Run(name, func(t *testing.T) {
			ref.Name, ref.Key = "Secret x", "k"
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := helm.MergeValues(helm.ValuesSources{References: []helm.ValuesReference{ref}})
			runtime.ReadMemStats(&after)
			require.ErrorIs(t, err, helm.ErrValues)
			require.True(t, terminal(err))
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<20))
		})
	}
}

func growing(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(",y[" + strings.Repeat("0", i%3) + string(rune('0'+i%10)) + "00]=1")
	}
	return b.String()
}

// Aliases that unfold to more than there is memory for.
func TestAttackValuesDocuments(t *testing.T) {
	for name, doc := range map[string]string{
		"aliases": "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f,*f,*f]\n",
		"cycle":   "a: &a\n  b: *a\n",
		"deep":    "a: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"deeper":  "a: " + strings.Repeat("{a: ", 200) + strings.Repeat("}", 200),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := helm.MergeValues(helm.ValuesSources{Files: []helm.ValuesFile{{Name: "x", Data: []byte(doc)}}})
			require.ErrorIs(t, err, helm.ErrValues)
		})
	}
	nested := map[string]any{}
	for at, i := nested, 0; i < 200; i++ {
		inner := map[string]any{}
		at["a"], at = inner, inner
	}
	_, err := helm.MergeValues(helm.ValuesSources{Inline: nested})
	require.ErrorIs(t, err, helm.ErrValues)
}

// What Helm makes of a path and a text, we make too, unless it costs too much; and
// it never costs much.
func FuzzTargetPath(f *testing.F) {
	for _, seed := range [][2]string{
		{"a", "b"}, {"a.b[0].c", "1"}, {`a\.b`, "x,y"}, {"a[65536]", ""}, {"a[0][0]", "{x,y"}, {"", "="}, {"a.", "b"}, {"a", ",b[9]=1,c=null"}, {"a[", "]"}, {`a[\1]`, "0"},
		{"list[1]", "x"}, {"text.x", "x"}, {"list.x", "1"}, {"a", "'b"}, {"a", "\"b\""},
	} {
		f.Add(seed[0], seed[1], false)
		f.Add(seed[0], seed[1], true)
	}
	f.Fuzz(func(t *testing.T, path, text string, literal bool) {
		if path == "" {
			return
		}
		inline := func() map[string]any {
			return map[string]any{"text": "x", "list": []any{"x", map[string]any{"y": "z"}}}
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, err := helm.MergeValues(helm.ValuesSources{Inline: inline(), References: []helm.ValuesReference{
			{Name: "x", Data: object("k", text), Key: "k", TargetPath: path, Literal: literal},
		}})
		runtime.ReadMemStats(&after)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(128<<20))
		if err != nil {
			require.ErrorIs(t, err, helm.ErrValues)
			return
		}
		_, err = helm.ValuesDigest(got)
		require.NoError(t, err)
		want := inline()
		quoted := len(text) > 1 && (text[0] == '"' || text[0] == '\'') && text[len(text)-1] == text[0]
		switch {
		case literal:
			err = strvals.ParseLiteralInto(path+"="+text, want)
		case quoted:
			err = strvals.ParseIntoString(path+"="+text[1:len(text)-1], want)
		default:
			err = strvals.ParseInto(path+"="+text, want)
		}
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

func FuzzMergeValues(f *testing.F) {
	for _, seed := range []string{"", "a: 1", "a: {b: 2}", "[]", "null", "a: null", "a: &a [*a]", "? [a]\n: b", "a: .nan", "<<: {a: 1}", "\x00"} {
		f.Add(seed, "a: {b: {c: 1}}")
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		got, err := helm.MergeValues(helm.ValuesSources{Files: []helm.ValuesFile{{Name: "a", Data: []byte(first)}, {Name: "b", Data: []byte(second)}}})
		if err != nil {
			require.ErrorIs(t, err, helm.ErrValues)
			return
		}
		_, err = helm.ValuesDigest(got)
		require.NoError(t, err)
	})
}
