package provenance_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/helm/internal/provenance"
)

func newKey(t testing.TB, config *packet.Config) *openpgp.Entity {
	t.Helper()
	key, err := openpgp.NewEntity("signer", "", "", config)
	require.NoError(t, err)
	return key
}

func ring(t testing.TB, keys ...*openpgp.Entity) *provenance.Keyring {
	t.Helper()
	var out bytes.Buffer
	for _, key := range keys {
		require.NoError(t, key.Serialize(&out))
	}
	k, err := provenance.NewKeyring(out.Bytes())
	require.NoError(t, err)
	return k
}

func sign(t testing.TB, key *openpgp.Entity, text string, config *packet.Config) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := clearsign.Encode(&out, key.PrivateKey, config)
	require.NoError(t, err)
	_, err = w.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

// chart is an empty archive, and what its signer says of it.
var chart = provenance.Chart{File: "a-1.0.0.tgz", Name: "a", Version: "1.0.0"}

const (
	about = "name: a\nversion: 1.0.0\n"
	sums  = "files:\n  a-1.0.0.tgz: sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
)

func TestVerify(t *testing.T) {
	key := newKey(t, nil)
	signed, err := ring(t, key).Verify(sign(t, key, about+"\n...\n"+sums, nil), chart)
	require.NoError(t, err)
	require.Regexp(t, "^[0-9A-F]{40}$", signed.Fingerprint)
}

func TestAttackSignedTexts(t *testing.T) {
	key := newKey(t, nil)
	for name, file := range map[string][]byte{
		"no digests":         sign(t, key, about, nil),
		"three parts":        sign(t, key, about+"\n...\n"+sums+"\n...\n"+sums, nil),
		"no YAML":            sign(t, key, "a: b: c\n\n...\n"+sums, nil),
		"digests are a list": sign(t, key, about+"\n...\n- a\n", nil),
		"no such file":       sign(t, key, about+"\n...\nfiles: {}\n", nil),
		"prefix of a digest": sign(t, key, about+"\n...\nfiles: {a-1.0.0.tgz: 'sha256:'}\n", nil),
		"another chart":      sign(t, key, "name: b\nversion: 1.0.0\n\n...\n"+sums, nil),
		"another version":    sign(t, key, "name: a\nversion: 1.0.1\n\n...\n"+sums, nil),
		"empty":              nil,
	} {
		_, err := ring(t, key).Verify(file, chart)
		require.ErrorIs(t, err, provenance.ErrUnverified, name)
	}
	_, err := ring(t, newKey(t, nil)).Verify(sign(t, key, about+"\n...\n"+sums, nil), chart)
	require.ErrorIs(t, err, provenance.ErrUnverified)
	require.ErrorContains(t, err, "none of the keyring's keys signed it")
}

func TestAttackExpiredAndRevokedKeys(t *testing.T) {
	past := func() time.Time { return time.Now().Add(-48 * time.Hour) }
	then := &packet.Config{Time: past, KeyLifetimeSecs: 3600}
	old := newKey(t, then)
	_, err := ring(t, old).Verify(sign(t, old, about+"\n...\n"+sums, then), chart)
	require.ErrorIs(t, err, provenance.ErrUnverified)
	require.ErrorContains(t, err, "the key has expired")

	brief := &packet.Config{Time: past, SigLifetimeSecs: 3600}
	key := newKey(t, &packet.Config{Time: past})
	_, err = ring(t, key).Verify(sign(t, key, about+"\n...\n"+sums, brief), chart)
	require.ErrorIs(t, err, provenance.ErrUnverified)
	require.ErrorContains(t, err, "the signature has expired")

	lost := newKey(t, &packet.Config{Time: past})
	file := sign(t, lost, about+"\n...\n"+sums, nil)
	require.NoError(t, lost.RevokeKey(packet.KeyCompromised, "stolen", nil))
	_, err = ring(t, lost).Verify(file, chart)
	require.ErrorIs(t, err, provenance.ErrUnverified)
	require.ErrorContains(t, err, "revoked")
}

func TestKeyrings(t *testing.T) {
	for name, data := range map[string][]byte{
		"none": nil, "text": []byte("text"), "armor of nothing": []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n-----END PGP PUBLIC KEY BLOCK-----\n"), "large": make([]byte, 2<<20),
	} {
		_, err := provenance.NewKeyring(data)
		require.ErrorIs(t, err, provenance.ErrKeyring, name)
	}
}

// Whatever is written around it or into it: what is verified was signed.
func FuzzProvenance(f *testing.F) {
	key := newKey(f, nil)
	good := sign(f, key, about+"\n...\n"+sums, nil)
	keys := ring(f, key)
	f.Add(good)
	f.Add([]byte("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n- -\n-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n"))
	f.Add(bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, file []byte) {
		other := chart
		other.Archive = []byte("other")
		_, err := keys.Verify(file, other)
		require.ErrorIs(t, err, provenance.ErrUnverified, "nobody signed that")
		if _, err = keys.Verify(file, chart); err != nil {
			require.ErrorIs(t, err, provenance.ErrUnverified)
		}
	})
}
