package sops_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"filippo.io/age"
	agearmor "filippo.io/age/armor"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/aws/aws-sdk-go-v2/aws"
	upstream "github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	sopsage "github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/azkv"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/hcvault"
	"github.com/getsops/sops/v3/keys"
	"github.com/getsops/sops/v3/kms"
	"github.com/getsops/sops/v3/pgp"
	"github.com/getsops/sops/v3/shamir"
	sopsdotenv "github.com/getsops/sops/v3/stores/dotenv"
	sopsini "github.com/getsops/sops/v3/stores/ini"
	sopsjson "github.com/getsops/sops/v3/stores/json"
	sopsyaml "github.com/getsops/sops/v3/stores/yaml"
	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/kustomize"
	"github.com/gitopskit/gitopskit/kustomize/sops"
)

var update = flag.Bool("update", false, "encrypt the fixtures of the package kustomize anew")

// The plain texts that are encrypted in all formats.
var plain = map[kustomize.Format]string{
	kustomize.FormatYAML:   "# the password\napiVersion: v1\nkind: Secret\nmetadata:\n    name: db\nstringData:\n    # not the real one\n    password: hunter2\n    empty: \"\"\n    \"yes\": \"true\"\n    lines: |\n        one\n        two\ncounts:\n    - 1\n    - -2.5\n    - true\n    - null\n    # inside\n    - when: 2001-12-14T21:59:43Z\n",
	kustomize.FormatJSON:   "{\n\t\"password\": \"hunter2\",\n\t\"n\": 3,\n\t\"f\": 0.5,\n\t\"list\": [\n\t\ttrue,\n\t\tnull,\n\t\t{\n\t\t\t\"smile\": \"\\u003c😀\"\n\t\t}\n\t]\n}\n",
	kustomize.FormatDotenv: "# the password\nPASSWORD=hunter2\nLINES=one\\ntwo\nEMPTY=\n",
	kustomize.FormatINI:    "[db]\npassword = hunter2\n",
	kustomize.FormatBinary: "\x00\x01 hunter2 \xff",
}

func store(format kustomize.Format) upstream.Store {
	stores := config.NewStoresConfig()
	switch format {
	case kustomize.FormatYAML:
		return sopsyaml.NewStore(&stores.YAML)
	case kustomize.FormatJSON:
		return sopsjson.NewStore(&stores.JSON)
	case kustomize.FormatDotenv:
		return sopsdotenv.NewStore(&stores.Dotenv)
	case kustomize.FormatINI:
		return sopsini.NewStore(&stores.INI)
	case kustomize.FormatBinary:
	}
	return sopsjson.NewBinaryStore(&stores.JSONBinary)
}

// encrypt is what the sops command does, with its own code, but for who seals the
// key.
func encrypt(t *testing.T, format kustomize.Format, text string, dataKey []byte, groups []upstream.KeyGroup, change func(*upstream.Metadata)) []byte {
	t.Helper()
	s := store(format)
	branches, err := s.LoadPlainFile([]byte(text))
	require.NoError(t, err)
	tree := upstream.Tree{Branches: branches, Metadata: upstream.Metadata{
		KeyGroups: groups, UnencryptedSuffix: "_unencrypted", Version: "3.13.3",
		LastModified: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), ShamirThreshold: len(groups),
	}}
	if change != nil {
		change(&tree.Metadata)
	}
	cipher := aes.NewCipher()
	mac, err := tree.Encrypt(dataKey, cipher)
	require.NoError(t, err)
	tree.Metadata.MessageAuthenticationCode, err = cipher.Encrypt(mac, dataKey, tree.Metadata.LastModified.Format(time.RFC3339))
	require.NoError(t, err)
	out, err := s.EmitEncryptedFile(tree)
	require.NoError(t, err)
	return out
}

func dataKey(t *testing.T) []byte {
	t.Helper()
	key := make([]byte, 32)
	_, err := rand.Read(key)
	require.NoError(t, err)
	return key
}

func sealedForAge(t *testing.T, recipient age.Recipient, name string, key []byte) keys.MasterKey {
	t.Helper()
	var out bytes.Buffer
	a := agearmor.NewWriter(&out)
	w, err := age.Encrypt(a, recipient)
	require.NoError(t, err)
	_, err = w.Write(key)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, a.Close())
	return &sopsage.MasterKey{Recipient: name, EncryptedKey: out.String()}
}

func sealedForPGP(t *testing.T, entity *openpgp.Entity, key []byte) keys.MasterKey {
	t.Helper()
	var out bytes.Buffer
	a, err := armor.Encode(&out, "PGP MESSAGE", nil)
	require.NoError(t, err)
	w, err := openpgp.Encrypt(a, []*openpgp.Entity{entity}, nil, nil, nil)
	require.NoError(t, err)
	_, err = w.Write(key)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, a.Close())
	m := pgp.NewMasterKeyFromFingerprint("85D77543B3D624B63CEA9E6DBC17301B491B3F21")
	m.EncryptedKey = out.String()
	return m
}

func armored(t *testing.T, entity *openpgp.Entity) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := armor.Encode(&out, openpgp.PrivateKeyType, nil)
	require.NoError(t, err)
	require.NoError(t, entity.SerializePrivate(w, nil))
	require.NoError(t, w.Close())
	return out.Bytes()
}

func pgpEntity(t *testing.T) *openpgp.Entity {
	t.Helper()
	entity, err := openpgp.NewEntity("test", "", "test@example.com", nil)
	require.NoError(t, err)
	return entity
}

func ageKey(t *testing.T) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	return id
}

// Both decrypters give what SOPS's own code gives, in every format.
func TestDecryptFormats(t *testing.T) {
	id, entity, key := ageKey(t), pgpEntity(t), dataKey(t)
	group := upstream.KeyGroup{sealedForPGP(t, entity, key), sealedForAge(t, id.Recipient(), id.Recipient().String(), key)}
	withAge, err := kustomize.NewAgeDecrypter([]byte(id.String()))
	require.NoError(t, err)
	viaAge, err := sops.New(sops.Options{Age: [][]byte{[]byte(id.String())}})
	require.NoError(t, err)
	viaPGP, err := sops.New(sops.Options{OpenPGP: [][]byte{armored(t, entity)}})
	require.NoError(t, err)
	for format, text := range plain {
		for name, change := range map[string]func(*upstream.Metadata){
			"all":           nil,
			"by regexp":     func(m *upstream.Metadata) { m.UnencryptedSuffix, m.EncryptedRegex = "", "^(data|stringData|list)$" },
			"by not regexp": func(m *upstream.Metadata) { m.UnencryptedSuffix, m.UnencryptedRegex = "", "^(metadata|kind|n)$" },
			"by suffix":     func(m *upstream.Metadata) { m.UnencryptedSuffix, m.EncryptedSuffix = "", "Data" },
			"mac of secrets": func(m *upstream.Metadata) {
				m.UnencryptedSuffix, m.EncryptedRegex, m.MACOnlyEncrypted = "", "ata$", true
			},
		} {
			if format == kustomize.FormatBinary && change != nil {
				continue // has no keys to choose by
			}
			t.Run(string(format)+"/"+name, func(t *testing.T) {
				file := encrypt(t, format, text, key, []upstream.KeyGroup{group}, change)
				for _, d := range []kustomize.Decrypter{viaAge, viaPGP} {
					got, err := d.Decrypt(t.Context(), "file", format, file)
					require.NoError(t, err)
					require.Equal(t, text, string(got))
				}
				got, err := withAge.Decrypt(t.Context(), "file", format, file)
				if format == kustomize.FormatINI {
					require.ErrorContains(t, err, "use the module kustomize/sops")
					return
				}
				require.NoError(t, err)
				switch format {
				case kustomize.FormatDotenv:
					require.Equal(t, strings.TrimPrefix(text, "# the password\n"), string(got), "comments are left out")
				case kustomize.FormatYAML:
					require.YAMLEq(t, text, string(got), "comments stay encrypted")
					require.NotContains(t, string(got), "sops:")
				default:
					require.Equal(t, text, string(got))
				}
			})
		}
	}
}

// Several documents in a file have one checksum.
func TestDecryptDocuments(t *testing.T) {
	id, key := ageKey(t), dataKey(t)
	group := upstream.KeyGroup{sealedForAge(t, id.Recipient(), id.Recipient().String(), key)}
	text := "a: 1\n---\nb: two\n"
	file := encrypt(t, kustomize.FormatYAML, text, key, []upstream.KeyGroup{group}, nil)
	d, err := kustomize.NewAgeDecrypter([]byte(id.String()))
	require.NoError(t, err)
	got, err := d.Decrypt(t.Context(), "file", kustomize.FormatYAML, file)
	require.NoError(t, err)
	require.Equal(t, text, string(got))
}

func TestDecryptKeyGroups(t *testing.T) {
	id, entity, key := ageKey(t), pgpEntity(t), dataKey(t)
	parts, err := shamir.Split(key, 2, 2)
	require.NoError(t, err)
	file := encrypt(t, kustomize.FormatYAML, "a: b\n", key, []upstream.KeyGroup{
		{sealedForAge(t, id.Recipient(), id.Recipient().String(), parts[0])},
		{sealedForPGP(t, entity, parts[1])},
	}, nil)
	d, err := sops.New(sops.Options{Age: [][]byte{[]byte(id.String())}, OpenPGP: [][]byte{armored(t, entity)}})
	require.NoError(t, err)
	got, err := d.Decrypt(t.Context(), "file", kustomize.FormatYAML, file)
	require.NoError(t, err)
	require.Equal(t, "a: b\n", string(got))

	one, err := kustomize.NewAgeDecrypter([]byte(id.String()))
	require.NoError(t, err)
	_, err = one.Decrypt(t.Context(), "file", kustomize.FormatYAML, file)
	require.ErrorContains(t, err, "several groups")
}

// transit answers as the transit engine of Vault and OpenBao does.
func transit(t *testing.T, token string, key []byte) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Ciphertext string }
		if r.Header.Get("X-Vault-Token") != token || r.URL.Path != "/v1/sops/decrypt/app" ||
			json.NewDecoder(r.Body).Decode(&body) != nil || body.Ciphertext != "vault:v1:sealed" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]string{"plaintext": base64.StdEncoding.EncodeToString(key)}})
	}))
	t.Cleanup(s.Close)
	return s
}

func TestDecryptVault(t *testing.T) {
	key := dataKey(t)
	s := transit(t, "s3cret", key)
	sealed := hcvault.NewMasterKey(s.URL, "sops", "app")
	sealed.EncryptedKey = "vault:v1:sealed"
	file := encrypt(t, kustomize.FormatYAML, "a: b\n", key, []upstream.KeyGroup{{sealed}}, nil)
	d, err := sops.New(sops.Options{Vault: map[string]string{s.URL: "s3cret"}})
	require.NoError(t, err)
	got, err := d.Decrypt(t.Context(), "file", kustomize.FormatYAML, file)
	require.NoError(t, err)
	require.Equal(t, "a: b\n", string(got))
}

type fakeToken struct{ asked *bool }

func (f fakeToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	*f.asked = true
	return azcore.AccessToken{Token: "s3cret"}, nil
}

// The file chooses who is asked. Nobody gets a token whom it was not given for.
func TestAttackTokensGoNowhereElse(t *testing.T) {
	key := dataKey(t)
	var requests int
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests++ }))
	t.Cleanup(thief.Close)
	t.Setenv("VAULT_TOKEN", "s3cret")
	vault := hcvault.NewMasterKey(thief.URL, "sops", "app")
	vault.EncryptedKey = "vault:v1:sealed"
	azure := azkv.NewMasterKey(thief.URL, "app", "1")
	azure.EncryptedKey = "c2VhbGVk"
	amazon := kms.NewMasterKey("arn:aws:kms:x.example.com/:1:key/a", "", nil)
	amazon.EncryptedKey = "c2VhbGVk"
	var asked bool
	credentials := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		asked = true
		return aws.Credentials{AccessKeyID: "a", SecretAccessKey: "s3cret"}, nil
	})
	for name, test := range map[string]struct {
		key     keys.MasterKey
		opts    sops.Options
		message string
	}{
		"vault":                {vault, sops.Options{Vault: map[string]string{"https://vault.example.com": "s3cret"}}, "there is no token for"},
		"vault, empty token":   {vault, sops.Options{Vault: map[string]string{thief.URL: ""}}, "there is no token for"},
		"vault, no token":      {vault, sops.Options{}, "no key of this kind was given"},
		"azure":                {azure, sops.Options{Azure: fakeToken{&asked}}, "is no host of Azure's"},
		"amazon's region":      {amazon, sops.Options{AWS: credentials}, "names no key of AWS KMS"},
		"nothing is given":     {amazon, sops.Options{}, "no key of this kind was given"},
		"nothing is given (2)": {azure, sops.Options{}, "no key of this kind was given"},
	} {
		t.Run(name, func(t *testing.T) {
			file := encrypt(t, kustomize.FormatYAML, "a: b\n", key, []upstream.KeyGroup{{test.key}}, nil)
			d, err := sops.New(test.opts)
			require.NoError(t, err)
			_, err = d.Decrypt(t.Context(), "file", kustomize.FormatYAML, file)
			require.ErrorContains(t, err, test.message)
			require.NotContains(t, err.Error(), "s3cret")
			require.Zero(t, requests)
			require.False(t, asked)
		})
	}
}

func TestAttackTamperedFile(t *testing.T) {
	id, key := ageKey(t), dataKey(t)
	group := upstream.KeyGroup{sealedForAge(t, id.Recipient(), id.Recipient().String(), key)}
	file := string(encrypt(t, kustomize.FormatYAML, "open_unencrypted: a\nsecret: hunter2\nother: swordfish\n", key, []upstream.KeyGroup{group}, nil))
	core, err := kustomize.NewAgeDecrypter([]byte(id.String()))
	require.NoError(t, err)
	full, err := sops.New(sops.Options{Age: [][]byte{[]byte(id.String())}})
	require.NoError(t, err)
	lines := strings.SplitAfter(file, "\n")
	for name, changed := range map[string]string{
		"open value":   strings.Replace(file, "open_unencrypted: a", "open_unencrypted: b", 1),
		"left out":     strings.Join(append([]string{lines[0]}, lines[2:]...), ""),
		"moved":        strings.Replace(strings.Replace(file, "secret:", "x:", 1), "other:", "secret:", 1),
		"added":        "more_unencrypted: 1\n" + file,
		"rule changed": strings.Replace(file, "unencrypted_suffix: _unencrypted", "unencrypted_suffix: secret", 1),
		"time changed": strings.Replace(file, "2026-01-02", "2026-01-03", 1),
	} {
		t.Run(name, func(t *testing.T) {
			require.NotEqual(t, file, changed)
			for _, d := range []kustomize.Decrypter{core, full} {
				_, err := d.Decrypt(t.Context(), "file", kustomize.FormatYAML, []byte(changed))
				require.Error(t, err)
				require.NotContains(t, err.Error(), "hunter2")
			}
		})
	}
}

func TestBadKeys(t *testing.T) {
	for name, opts := range map[string]sops.Options{
		"age": {Age: [][]byte{[]byte("AGE-SECRET-KEY-1HUNTER2")}},
		"pgp": {OpenPGP: [][]byte{[]byte("hunter2")}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sops.New(opts)
			require.Error(t, err)
			require.NotContains(t, strings.ToLower(err.Error()), "hunter2")
		})
	}
}

// The whole way: an encrypted Secret, an encrypted patch of it, and generators.
func TestBuild(t *testing.T) {
	entity, key := pgpEntity(t), dataKey(t)
	group := []upstream.KeyGroup{{sealedForPGP(t, entity, key)}}
	secrets := func(m *upstream.Metadata) { m.UnencryptedSuffix, m.EncryptedRegex = "", "^(data|stringData)$" }
	tree := fstest.MapFS{
		"kustomization.yaml": {Data: []byte("resources: [secret.yaml]\nsecretGenerator:\n- {name: made, files: [app.ini], options: {disableNameSuffixHash: true}}\n")},
		"secret.yaml":        {Data: encrypt(t, kustomize.FormatYAML, "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {password: hunter2}\n", key, group, secrets)},
		"app.ini":            {Data: encrypt(t, kustomize.FormatINI, plain[kustomize.FormatINI], key, group, nil)},
	}
	d, err := sops.New(sops.Options{OpenPGP: [][]byte{armored(t, entity)}})
	require.NoError(t, err)
	res, err := kustomize.Build(t.Context(), tree, ".", kustomize.Options{Decrypter: d})
	require.NoError(t, err)
	require.Equal(t, map[string]any{"password": "hunter2"}, res.Objects[0].Object["stringData"])
	require.Equal(t, map[string]any{"app.ini": base64.StdEncoding.EncodeToString([]byte(plain[kustomize.FormatINI]))}, res.Objects[1].Object["data"])
}

// The fixtures of the package kustomize are written by SOPS's code, with keys that
// are used for nothing else.
func TestFixtures(t *testing.T) {
	dir := filepath.Join("..", "testdata", "sops")
	if *update {
		writeFixtures(t, dir)
	}
	keys, err := os.ReadFile(filepath.Join(dir, "keys.txt"))
	require.NoError(t, err)
	d, err := sops.New(sops.Options{Age: [][]byte{keys}})
	require.NoError(t, err)
	for name, format := range map[string]kustomize.Format{
		"secret.yaml": kustomize.FormatYAML, "two.yaml": kustomize.FormatYAML, "settings.json": kustomize.FormatJSON,
		"settings.env": kustomize.FormatDotenv, "blob": kustomize.FormatBinary, "hybrid.yaml": kustomize.FormatYAML,
	} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		_, err = d.Decrypt(t.Context(), name, format, data)
		require.NoError(t, err, name)
	}
}

func writeFixtures(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	id, key := ageKey(t), dataKey(t)
	hybrid, err := age.GenerateHybridIdentity()
	require.NoError(t, err)
	write := func(name string, data []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	write("keys.txt", []byte("# for tests alone\n"+id.String()+"\n\n"+hybrid.String()+"\n"))
	group := []upstream.KeyGroup{{sealedForAge(t, id.Recipient(), id.Recipient().String(), key)}}
	quantum := []upstream.KeyGroup{{sealedForAge(t, hybrid.Recipient(), hybrid.Recipient().String(), key)}}
	secrets := func(m *upstream.Metadata) { m.UnencryptedSuffix, m.EncryptedRegex = "", "^(data|stringData)$" }
	secret := func(name string) string {
		return "apiVersion: v1\nkind: Secret\nmetadata:\n    name: " + name + "\nstringData:\n    password: hunter2\n    \"n\": \"3\"\n"
	}
	write("secret.yaml", encrypt(t, kustomize.FormatYAML, secret("db"), key, group, secrets))
	write("two.yaml", encrypt(t, kustomize.FormatYAML, secret("one")+"---\n"+secret("two"), key, group, secrets))
	write("hybrid.yaml", encrypt(t, kustomize.FormatYAML, secret("db"), key, quantum, secrets))
	write("settings.json", encrypt(t, kustomize.FormatJSON, plain[kustomize.FormatJSON], key, group, nil))
	write("settings.env", encrypt(t, kustomize.FormatDotenv, plain[kustomize.FormatDotenv], key, group, nil))
	write("blob", encrypt(t, kustomize.FormatBinary, plain[kustomize.FormatBinary], key, group, nil))
}
