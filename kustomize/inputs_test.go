package kustomize_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/kustomize"
)

// loaded is the corpus in memory, with links and a directory without kustomization.
func loaded(t testing.TB) fstest.MapFS {
	t.Helper()
	m := fstest.MapFS{}
	corpusFS := os.DirFS(corpus)
	require.NoError(t, fs.WalkDir(corpusFS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(corpusFS, name)
		m[name] = &fstest.MapFile{Data: data}
		return err
	}))
	maps.Copy(m, tree(map[string]string{
		"generated/a.yaml":                configMap,
		"generated/sub/b.yml":             strings.ReplaceAll(configMap, "settings", "b"),
		"generated/sub/README.md":         "text",
		"generated/sub/empty/x.txt":       "text",
		"generated/.hidden/c.yaml":        configMap,
		"generated/base/Kustomization":    "resources: [d.yaml]\n",
		"generated/base/d.yaml":           strings.ReplaceAll(configMap, "settings", "d"),
		"linked/kustomization.yaml":       "resources: [base, cm.yaml]\n",
		"elsewhere/cm.yaml":               strings.ReplaceAll(configMap, "settings", "e"),
		"elsewhere/dir/kustomization.yml": "resources: [../d.yaml]\n",
		"elsewhere/d.yaml":                strings.ReplaceAll(configMap, "settings", "f"),
	}))
	m["linked/base"] = &fstest.MapFile{Data: []byte("../way/dir"), Mode: fs.ModeSymlink}
	m["linked/cm.yaml"] = &fstest.MapFile{Data: []byte("../way/cm.yaml"), Mode: fs.ModeSymlink}
	m["way"] = &fstest.MapFile{Data: []byte("elsewhere"), Mode: fs.ModeSymlink}
	m["generated/link.yaml"] = &fstest.MapFile{Data: []byte("../way/cm.yaml"), Mode: fs.ModeSymlink}
	return m
}

func allDirs(t testing.TB) []string { return append(overlays(t), "generated", "linked") }

func unchanged(t testing.TB, in kustomize.Inputs, fsys fs.FS, dir string, opts kustomize.Options) bool {
	t.Helper()
	same, err := in.Unchanged(t.Context(), fsys, dir, opts)
	require.NoError(t, err)
	return same
}

func inputsOf(t testing.TB, fsys fs.FS, dir string, opts kustomize.Options) kustomize.Inputs {
	t.Helper()
	res, err := kustomize.Build(t.Context(), fsys, dir, opts)
	require.NoError(t, err)
	return res.Inputs
}

func TestInputs(t *testing.T) {
	fsys := loaded(t)
	in := inputsOf(t, fsys, "linked", kustomize.Options{})
	require.Equal(t, []kustomize.Input{
		{Name: "elsewhere/cm.yaml", Kind: kustomize.File},
		{Name: "elsewhere/d.yaml", Kind: kustomize.File},
		{Name: "elsewhere/dir/Kustomization", Kind: kustomize.Missing},
		{Name: "elsewhere/dir/kustomization.yaml", Kind: kustomize.Missing},
		{Name: "elsewhere/dir/kustomization.yml", Kind: kustomize.File},
		{Name: "linked/Kustomization", Kind: kustomize.Missing},
		{Name: "linked/base", Kind: kustomize.Link},
		{Name: "linked/cm.yaml", Kind: kustomize.Link},
		{Name: "linked/kustomization.yaml", Kind: kustomize.File},
		{Name: "linked/kustomization.yml", Kind: kustomize.Missing},
		{Name: "way", Kind: kustomize.Link},
	}, in.All())
	in = inputsOf(t, fsys, "generated", kustomize.Options{Components: []string{"../none"}, IgnoreMissingComponents: true})
	for _, want := range []kustomize.Input{
		{Name: "generated", Kind: kustomize.Directory},
		{Name: "generated/sub", Kind: kustomize.Directory},
		{Name: "generated/sub/empty", Kind: kustomize.Directory},
		{Name: "generated/base/kustomization.yaml", Kind: kustomize.Missing},
		{Name: "none", Kind: kustomize.Missing},
	} {
		require.Contains(t, in.All(), want)
	}
	require.Empty(t, kustomize.Inputs{}.Digest())
	require.False(t, unchanged(t, kustomize.Inputs{}, fsys, "", kustomize.Options{}))
}

// changes are all single changes of a tree: what is there with other content, gone,
// moved behind a link, or another kind of thing; and what the build looked for, and
// something else beside it, come into being.
func changes(fsys fstest.MapFS, in kustomize.Inputs) map[string]fstest.MapFS {
	all := map[string]fstest.MapFS{}
	change := func(what, name string, f func(m fstest.MapFS)) {
		m := maps.Clone(fsys)
		f(m)
		all[what+" "+name] = m
	}
	used := map[string]bool{}
	for _, i := range in.All() {
		used[i.Name] = true
	}
	for n, name := range slices.Sorted(maps.Keys(fsys)) {
		if !used[name] && n%5 != 0 { // a few that have nothing to do with it
			continue
		}
		file := fsys[name]
		change("other content", name, func(m fstest.MapFS) {
			m[name] = &fstest.MapFile{Data: append(slices.Clone(file.Data), "\n# x"...), Mode: file.Mode}
		})
		change("gone", name, func(m fstest.MapFS) { delete(m, name) })
		change("behind a link", name, func(m fstest.MapFS) {
			m["moved/by/"+path.Base(name)] = file
			m[name] = &fstest.MapFile{Data: []byte(strings.Repeat("../", strings.Count(name, "/")) + "moved/by/" + path.Base(name)), Mode: fs.ModeSymlink}
		})
		change("beside", name, func(m fstest.MapFS) {
			m[path.Join(path.Dir(name), "new.yaml")] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(configMap, "settings", "new"))}
		})
		if dir := path.Dir(name); dir != "." && !strings.Contains(dir, "/") {
			change("directory behind a link", dir, func(m fstest.MapFS) {
				for other, file := range fsys {
					if rest, ok := strings.CutPrefix(other, dir+"/"); ok {
						delete(m, other)
						m["very/deep/"+rest] = file
					}
				}
				m[dir] = &fstest.MapFile{Data: []byte("very/deep"), Mode: fs.ModeSymlink}
			})
		}
	}
	for _, i := range in.All() {
		if i.Kind == kustomize.Missing {
			change("appears", i.Name, func(m fstest.MapFS) { m[i.Name] = &fstest.MapFile{Data: []byte("namePrefix: x-\n")} })
			change("directory appears", i.Name, func(m fstest.MapFS) {
				m[i.Name+"/kustomization.yaml"] = &fstest.MapFile{Data: []byte("kind: Component\nnamePrefix: x-\n")}
			})
		}
	}
	return all
}

// Whatever changes: if the inputs are said to be the same, so is the result. And
// they are said to be so whenever a file that was not read changes.
func TestUnchanged(t *testing.T) {
	fsys := loaded(t)
	opts := kustomize.Options{NameSuffix: "-x", Components: []string{"../none"}, IgnoreMissingComponents: true}
	for _, dir := range allDirs(t) {
		t.Run(dir, func(t *testing.T) {
			for _, kind := range []func(fstest.MapFS) fs.FS{plainTree, identified} {
				in := inputsOf(t, kind(fsys), dir, opts)
				want, err := kustomize.Build(t.Context(), fsys, dir, opts)
				require.NoError(t, err)
				read := map[string]bool{}
				for _, i := range in.All() {
					read[i.Name] = true
				}
				saved := 0
				for what, changed := range changes(fsys, in) {
					same := unchanged(t, in, kind(changed), dir, opts)
					_, name, _ := strings.Cut(what, "other content ")
					if name != "" {
						require.Equal(t, !read[name], same, what)
					}
					if !same {
						continue
					}
					if saved++; saved%8 != 0 { // builds take time
						continue
					}
					got, err := kustomize.Build(t.Context(), changed, dir, opts)
					require.NoError(t, err, what)
					require.Equal(t, want.Objects, got.Objects, what)
					require.Equal(t, in.Digest(), got.Inputs.Digest(), what)
				}
				require.Greater(t, saved, 20, "most changes concern other directories")
			}
		})
	}
}

func plainTree(m fstest.MapFS) fs.FS { return m }

func identified(m fstest.MapFS) fs.FS { return &withIDs{MapFS: m} }

// withIDs is a tree that knows what it holds.
type withIDs struct {
	fstest.MapFS
	opened   []string
	noHashes bool
}

func (w *withIDs) Open(name string) (fs.File, error) {
	if info, err := w.MapFS.Stat(name); err == nil && !info.IsDir() {
		w.opened = append(w.opened, name)
	}
	return w.MapFS.Open(name)
}

func (w *withIDs) ContentID(name string) (string, error) {
	data, err := w.MapFS.ReadFile(name)
	h := sha256.Sum256(data)
	return "blob-" + hex.EncodeToString(h[:]), err
}

func (w *withIDs) TreeHash(dir string) (string, error) {
	if w.noHashes {
		return "", errors.ErrUnsupported
	}
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(w.MapFS)) {
		if rest, ok := strings.CutPrefix(name, dir+"/"); ok || dir == "." {
			fmt.Fprintf(h, "%s %v %x\n", rest, w.MapFS[name].Mode.Type(), w.MapFS[name].Data)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Ids mean that nothing is read; and where there are none, contents are compared,
// also of a tree that had some.
func TestUnchangedReadsNothing(t *testing.T) {
	fsys := loaded(t)
	for _, dir := range allDirs(t) {
		for _, noHashes := range []bool{false, true} {
			in := inputsOf(t, &withIDs{MapFS: fsys, noHashes: noHashes}, dir, kustomize.Options{})
			again := &withIDs{MapFS: fsys, noHashes: noHashes}
			require.True(t, unchanged(t, in, again, dir, kustomize.Options{}), dir)
			require.Empty(t, again.opened, dir)
			require.True(t, unchanged(t, in, fsys, dir, kustomize.Options{}), dir)
			require.True(t, unchanged(t, inputsOf(t, fsys, dir, kustomize.Options{}), again, dir, kustomize.Options{}))
			require.Equal(t, in.Digest(), inputsOf(t, fsys, dir, kustomize.Options{}).Digest(), "it is of contents, whatever their ids")
		}
	}
}

// An option that a digest forgets would make a stale result look fresh.
func TestInputsKnowEveryOption(t *testing.T) {
	fsys := tree(app(""))
	plain := kustomize.Options{}
	in := inputsOf(t, fsys, "app", plain)
	seen := map[string]bool{in.Digest(): true}
	var walk func(name string, v reflect.Value)
	walk = func(name string, v reflect.Value) {
		if v.Kind() == reflect.Struct {
			for i := range v.NumField() {
				walk(name+"."+v.Type().Field(i).Name, v.Field(i))
			}
			return
		}
		old := reflect.New(v.Type()).Elem()
		old.Set(v)
		set := func(what string, value reflect.Value) {
			v.Set(value)
			require.False(t, unchanged(t, in, fsys, "app", plain), name+what)
			digest := kustomize.DigestOf(plain)
			require.False(t, seen[digest], name+what)
			seen[digest] = true
			v.Set(old)
		}
		switch v.Kind() {
		case reflect.Interface: // the decrypter
			v.Set(reflect.ValueOf(ageDecrypter(t)))
			require.False(t, unchanged(t, in, fsys, "app", plain), name)
			require.NotEqual(t, kustomize.DigestOf(kustomize.Options{}), kustomize.DigestOf(plain))
			v.SetZero()
		case reflect.String:
			set("", reflect.ValueOf("x"))
		case reflect.Bool:
			set("", reflect.ValueOf(true))
		case reflect.Int, reflect.Int64:
			set("", reflect.ValueOf(7).Convert(v.Type()))
		case reflect.Map:
			m := reflect.MakeMap(v.Type())
			m.SetMapIndex(reflect.ValueOf("k"), reflect.ValueOf("v"))
			set("", m)
		case reflect.Slice:
			elem := reflect.MakeSlice(v.Type(), 1, 1)
			if elem.Index(0).Kind() == reflect.String {
				elem.Index(0).SetString("x")
				set("[0]", elem)
				return
			}
			for i := range elem.Index(0).NumField() {
				one := reflect.MakeSlice(v.Type(), 1, 1)
				f := one.Index(0).Field(i)
				if f.Kind() == reflect.String {
					f.SetString("x")
				} else {
					f.Set(reflect.ValueOf(&kustomize.Selector{Kind: "x"}))
				}
				set(fmt.Sprint("[0].", i), one)
			}
		default:
			t.Fatalf("%s is a %s: have the digest of options know it, and this test", name, v.Kind())
		}
	}
	walk("Options", reflect.ValueOf(&plain).Elem())
	require.True(t, unchanged(t, in, fsys, "./app/", plain))
	require.False(t, unchanged(t, in, fsys, "plain", plain), "of another directory")
	defaults := kustomize.Options{Limits: kustomize.Limits{Objects: 5000}}
	require.True(t, unchanged(t, in, fsys, "app", defaults), "what is the default is nothing else")
}

func TestInputsNameTheVersion(t *testing.T) {
	gomod, err := os.ReadFile("../go.mod")
	require.NoError(t, err)
	version, _, _ := strings.Cut(strings.TrimPrefix(kustomize.Version, "kustomize "), ",")
	for _, module := range []string{"api", "kyaml"} {
		require.Contains(t, string(gomod), "sigs.k8s.io/kustomize/"+module+" "+version+"\n")
	}
}

func TestInputsAsJSON(t *testing.T) {
	fsys := loaded(t)
	for _, dir := range allDirs(t) {
		in := inputsOf(t, identified(fsys), dir, kustomize.Options{})
		text, err := json.Marshal(in)
		require.NoError(t, err)
		var again kustomize.Inputs
		require.NoError(t, json.Unmarshal(text, &again))
		require.Equal(t, in, again)
		require.True(t, unchanged(t, again, fsys, dir, kustomize.Options{}))

		other := strings.ReplaceAll(string(text), kustomize.Version, "kustomize v9")
		require.NoError(t, json.Unmarshal([]byte(other), &again))
		require.False(t, unchanged(t, again, fsys, dir, kustomize.Options{}), "of another version")
	}
	text, err := json.Marshal(kustomize.Inputs{})
	require.NoError(t, err)
	require.Equal(t, "null", string(text))
	again := inputsOf(t, fsys, "plain", kustomize.Options{})
	require.NoError(t, json.Unmarshal(text, &again))
	require.Equal(t, kustomize.Inputs{}, again)
}

// Inputs of 200 files are small enough for a status.
func TestInputsAreSmall(t *testing.T) {
	files := map[string]string{"apps/team/service/base/kustomization.yaml": "resources:\n"}
	for i := range 200 {
		name := fmt.Sprintf("component-%03d-deployment.yaml", i)
		files["apps/team/service/base/"+name] = strings.ReplaceAll(configMap, "settings", fmt.Sprint("cm-", i))
		files["apps/team/service/base/kustomization.yaml"] += "- " + name + "\n"
	}
	text, err := json.Marshal(inputsOf(t, tree(files), "apps/team/service/base", kustomize.Options{}))
	require.NoError(t, err)
	require.Less(t, len(text), 6_000)
}

func TestAttackMalformedInputs(t *testing.T) {
	good, err := json.Marshal(inputsOf(t, loaded(t), "chain/c", kustomize.Options{}))
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(good, &fields))
	with := func(key string, value any) []byte {
		m := maps.Clone(fields)
		m[key] = value
		text, err := json.Marshal(m)
		require.NoError(t, err)
		return text
	}
	long := make([]string, 60_000)
	long[0] = "0f" + strings.Repeat("x", 4000)
	for i := range long[1:] {
		long[i+1] = fmt.Sprintf("4000f%06d", i)
	}
	many := make([]string, 100_001)
	for i := range many {
		many[i] = fmt.Sprintf("0f%06d", i)
	}
	for name, text := range map[string][]byte{
		"no object":       []byte(`"x"`),
		"no version":      with("version", ""),
		"dir outside":     with("dir", "../x"),
		"short digest":    with("digest", "AAAA"),
		"no options":      with("options", nil),
		"long ids":        with("ids", strings.Repeat("AAAA", 11)),
		"name outside":    with("names", []string{"0f../x"}),
		"absolute name":   with("names", []string{"0m/etc/passwd"}),
		"no kind":         with("names", []string{"0"}),
		"unknown kind":    with("names", []string{"0x"}),
		"no number":       with("names", []string{"fa"}),
		"shares too much": with("names", []string{"0fa", "2fb"}),
		"negative":        with("names", []string{"0fa", "-1fb"}),
		"twice":           with("names", []string{"0fa", "0fa"}),
		"out of order":    with("names", []string{"0fb", "0fa"}),
		"names expand":    with("names", long),
		"many names":      with("names", many),
		"long":            []byte(`{"version": "` + strings.Repeat("x", 9<<20) + `"}`),
	} {
		t.Run(name, func(t *testing.T) {
			heap(t, 100<<20, func() {
				var in kustomize.Inputs
				require.ErrorIs(t, json.Unmarshal(text, &in), kustomize.ErrMalformed)
				require.Equal(t, kustomize.Inputs{}, in)
			})
		})
	}
}

// What grew, or will not end, is not read to its end to be told from what it was.
func TestAttackUnchangedOfHugeFiles(t *testing.T) {
	fsys := tree(app(""))
	opts := kustomize.Options{Limits: kustomize.Limits{FileBytes: 10_000}}
	in := inputsOf(t, fsys, "app", opts)
	fsys["app/web.yaml"] = &fstest.MapFile{Data: make([]byte, 1<<30)}
	heap(t, 10<<20, func() { require.False(t, unchanged(t, in, fsys, "app", opts)) })
}

func TestUnchangedErrors(t *testing.T) {
	fsys := loaded(t)
	in := inputsOf(t, fsys, "plain", kustomize.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := in.Unchanged(ctx, fsys, "plain", kustomize.Options{})
	require.ErrorIs(t, err, context.Canceled)
	broken := errors.New("connection lost")
	_, err = in.Unchanged(t.Context(), failing{fsys, "plain/service.yaml", broken}, "plain", kustomize.Options{})
	require.ErrorIs(t, err, broken)
}
