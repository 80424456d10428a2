package kustomize_test

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/kustomize"
)

// sealed reads a fixture. SOPS's own code wrote them, see the module kustomize/sops.
func sealed(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "sops", name))
	require.NoError(t, err)
	return data
}

func ageDecrypter(t testing.TB) kustomize.Decrypter {
	t.Helper()
	d, err := kustomize.NewAgeDecrypter(sealed(t, "keys.txt"))
	require.NoError(t, err)
	return d
}

var decrypted = map[string]any{"password": "hunter2", "n": "3"}

func TestBuildDecrypts(t *testing.T) {
	tree := fstest.MapFS{
		"plain/secret.yaml":            {Data: sealed(t, "secret.yaml")},
		"plain/hybrid.yaml":            {Data: []byte(strings.Replace(string(sealed(t, "hybrid.yaml")), "name: db", "name: post-quantum", 1))},
		"overlay/kustomization.yaml":   {Data: []byte("resources: [two.yaml]\nnamePrefix: x-\npatches:\n- {path: patch.yaml, target: {name: one}}\n- target: {name: two}\n  patch: '- {op: add, path: /stringData/more, value: z}'\n")},
		"overlay/two.yaml":             {Data: sealed(t, "two.yaml")},
		"overlay/patch.yaml":           {Data: sealed(t, "secret.yaml")},
		"generator/kustomization.yaml": {Data: []byte("generatorOptions: {disableNameSuffixHash: true}\nsecretGenerator:\n- {name: files, files: [settings.json, blob]}\n- {name: env, envs: [settings.env]}\nconfigMapGenerator:\n- {name: public, files: [public.json]}\n")},
		"generator/settings.json":      {Data: sealed(t, "settings.json")},
		"generator/public.json":        {Data: sealed(t, "settings.json")},
		"generator/settings.env":       {Data: sealed(t, "settings.env")},
		"generator/blob":               {Data: sealed(t, "blob")},
	}
	build := func(t *testing.T, dir string) map[string]map[string]any {
		t.Helper()
		res, err := kustomize.Build(t.Context(), tree, dir, kustomize.Options{Decrypter: ageDecrypter(t)})
		require.NoError(t, err)
		objects := map[string]map[string]any{}
		for _, o := range res.Objects {
			require.NotContains(t, o.Object, "sops")
			objects[o.GetName()] = o.Object
		}
		return objects
	}
	text := func(value any) string {
		data, err := base64.StdEncoding.DecodeString(value.(string))
		require.NoError(t, err)
		return string(data)
	}

	t.Run("the checksum of a file holds for its bytes", func(t *testing.T) {
		_, err := kustomize.Build(t.Context(), tree, "plain", kustomize.Options{Decrypter: ageDecrypter(t)})
		var bad *kustomize.DecryptError
		require.ErrorAs(t, err, &bad)
		require.Equal(t, "plain/hybrid.yaml", bad.File)
		require.ErrorContains(t, err, "checksum is not right")
		tree["plain/hybrid.yaml"] = &fstest.MapFile{Data: sealed(t, "hybrid.yaml")}
		delete(tree, "plain/secret.yaml")
		require.Equal(t, decrypted, build(t, "plain")["db"]["stringData"])
	})
	t.Run("resources and patches", func(t *testing.T) {
		objects := build(t, "overlay")
		require.Equal(t, decrypted, objects["x-one"]["stringData"])
		require.Equal(t, map[string]any{"password": "hunter2", "n": "3", "more": "z"}, objects["x-two"]["stringData"])
	})
	t.Run("generators", func(t *testing.T) {
		objects := build(t, "generator")
		files := objects["files"]["data"].(map[string]any)
		require.Contains(t, text(files["settings.json"]), `"password": "hunter2"`)
		require.Equal(t, "\x00\x01 hunter2 \xff", text(files["blob"]))
		env := objects["env"]["data"].(map[string]any)
		require.Equal(t, "hunter2", text(env["PASSWORD"]))
		require.NotContains(t, env, "sops_mac")
		require.Contains(t, objects["public"]["data"].(map[string]any)["public.json"], "ENC[AES256_GCM", "a ConfigMap is no place for secrets")
	})
}

func TestBuildStillEncrypted(t *testing.T) {
	marked := strings.Replace(string(sealed(t, "secret.yaml")), "metadata:\n", "metadata:\n    annotations: {kustomize.gitopskit.dev/decrypt: disabled}\n", 1)
	for name, test := range map[string]struct {
		files map[string]string
		with  bool // a decrypter
		want  *kustomize.EncryptedError
	}{
		"object":       {files: map[string]string{"s.yaml": string(sealed(t, "secret.yaml"))}, want: &kustomize.EncryptedError{Object: "Secret db"}},
		"marked":       {files: map[string]string{"s.yaml": marked}},
		"marked, keys": {files: map[string]string{"s.yaml": marked}, with: true},
		"generated": {files: map[string]string{
			"kustomization.yaml": "generatorOptions: {disableNameSuffixHash: true}\nsecretGenerator: [{name: a, files: [blob]}]\n", "blob": string(sealed(t, "blob")),
		}, want: &kustomize.EncryptedError{Object: "Secret a", Key: "blob"}},
		"shared with a ConfigMap": {files: map[string]string{
			"kustomization.yaml": "generatorOptions: {disableNameSuffixHash: true}\nsecretGenerator: [{name: a, files: [blob]}]\nconfigMapGenerator: [{name: b, files: [blob]}]\n", "blob": string(sealed(t, "blob")),
		}, with: true, want: &kustomize.EncryptedError{Object: "Secret a", Key: "blob"}},
		"ConfigMap": {files: map[string]string{
			"kustomization.yaml": "configMapGenerator: [{name: b, files: [blob]}]\n", "blob": string(sealed(t, "blob")),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			tree := fstest.MapFS{}
			for file, text := range test.files {
				tree[file] = &fstest.MapFile{Data: []byte(text)}
			}
			opts := kustomize.Options{}
			if test.with {
				opts.Decrypter = ageDecrypter(t)
			}
			_, err := kustomize.Build(t.Context(), tree, ".", opts)
			if test.want == nil {
				require.NoError(t, err)
				return
			}
			var got *kustomize.EncryptedError
			require.ErrorAs(t, err, &got)
			require.Equal(t, test.want, got)
			require.True(t, got.Terminal())
		})
	}
}

// An encrypted document beside one that is not is decrypted by itself.
func TestBuildDecryptsSingleDocuments(t *testing.T) {
	tree := fstest.MapFS{"all.yaml": {Data: []byte("---\n" + configMap + "\n---\n# a secret\n" + string(sealed(t, "secret.yaml")) + "---\n---\n" + deployment("{name: web}"))}}
	res, err := kustomize.Build(t.Context(), tree, ".", kustomize.Options{Decrypter: ageDecrypter(t)})
	require.NoError(t, err)
	require.Len(t, res.Objects, 3)
	require.Equal(t, decrypted, res.Objects[1].Object["stringData"])
}

// What kustomize says about decrypted content could show it.
func TestAttackDecryptedContentInErrors(t *testing.T) {
	for name, kustomization := range map[string]string{
		"patch that fails":       "resources: [s.yaml]\npatches: [{target: {kind: Secret}, patch: '- {op: test, path: /stringData/password, value: other}'}]\n",
		"patch with secret":      "resources: [cm.yaml]\npatches: [{path: s.yaml}]\n",
		"replacement that fails": "resources: [s.yaml, cm.yaml]\nreplacements: [{source: {kind: Secret, fieldPath: stringData.password}, targets: [{select: {kind: ConfigMap}, fieldPaths: [data.a.b.c.d]}]}]\n",
		"the same object twice":  "resources: [s.yaml, again]\n",
	} {
		t.Run(name, func(t *testing.T) {
			tree := fstest.MapFS{
				"kustomization.yaml":       {Data: []byte(kustomization)},
				"s.yaml":                   {Data: sealed(t, "secret.yaml")},
				"cm.yaml":                  {Data: []byte(configMap)},
				"again/kustomization.yaml": {Data: []byte("resources: [s.yaml]\n")},
				"again/s.yaml":             {Data: sealed(t, "secret.yaml")},
			}
			_, err := kustomize.Build(t.Context(), tree, ".", kustomize.Options{Decrypter: ageDecrypter(t)})
			require.Error(t, err)
			require.NotContains(t, err.Error(), "hunter2")
			require.NotContains(t, err.Error(), base64.StdEncoding.EncodeToString([]byte("hunter2")))
		})
	}
}

func TestAgeKeys(t *testing.T) {
	for name, test := range map[string]struct{ keys, message string }{
		"none":      {"# nothing\n", "there is no age key"},
		"damaged":   {"\nAGE-SECRET-KEY-1HUNTER2\n", "line 2 of the age keys is not a key"},
		"recipient": {"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p", "line 1 of the age keys is not a key"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := kustomize.NewAgeDecrypter([]byte(test.keys))
			require.ErrorContains(t, err, test.message)
			require.NotContains(t, err.Error(), "HUNTER2")
		})
	}
	other, err := kustomize.NewAgeDecrypter([]byte("AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"))
	require.NoError(t, err)
	_, err = other.Decrypt(t.Context(), "s.yaml", kustomize.FormatYAML, sealed(t, "secret.yaml"))
	require.ErrorContains(t, err, "none of the age keys fits; it is encrypted for")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = ageDecrypter(t).Decrypt(ctx, "s.yaml", kustomize.FormatYAML, sealed(t, "secret.yaml"))
	require.ErrorIs(t, err, context.Canceled)
}

func FuzzDecrypt(f *testing.F) {
	formats := []kustomize.Format{kustomize.FormatYAML, kustomize.FormatJSON, kustomize.FormatDotenv, kustomize.FormatBinary, kustomize.FormatINI}
	for i, name := range []string{"secret.yaml", "settings.json", "settings.env", "blob", "two.yaml"} {
		f.Add(i, sealed(f, name))
	}
	d := ageDecrypter(f)
	f.Fuzz(func(t *testing.T, i int, data []byte) {
		format := formats[max(0, i)%len(formats)]
		if _, err := d.Decrypt(t.Context(), "file", format, data); err != nil {
			return
		}
		_, err := d.Decrypt(t.Context(), "file", format, []byte(strings.Replace(string(data), "str]", "int]", 1)))
		require.False(t, err != nil && strings.Contains(err.Error(), "hunter2"))
	})
}

// The whole of a tree can be searched for what a build would not decrypt.
func ExampleDecrypter() {
	tree := fstest.MapFS{"secret.yaml": {Data: []byte("apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nsops: {mac: 'ENC[AES256_GCM,data:…]'}\n")}}
	_, err := kustomize.Build(context.Background(), tree, ".", kustomize.Options{})
	if sealed, ok := errors.AsType[*kustomize.EncryptedError](err); ok {
		os.Stdout.WriteString(sealed.Object + " is still encrypted\n")
	}
	// Output: Secret db is still encrypted
}
