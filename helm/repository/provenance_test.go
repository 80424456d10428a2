package repository_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/stretchr/testify/require"
	helmprovenance "helm.sh/helm/v3/pkg/provenance"

	"github.com/gitopskit/gitopskit/helm/repository"
)

// certificate makes a client certificate and its key in PEM.
func certificate(t *testing.T) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}

func newSigner(t *testing.T, name string) *openpgp.Entity {
	t.Helper()
	key, err := openpgp.NewEntity(name, "", name+"@example.org", nil)
	require.NoError(t, err)
	return key
}

func keyring(t *testing.T, armored bool, keys ...*openpgp.Entity) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, key := range keys {
		require.NoError(t, key.Serialize(&out))
	}
	if !armored {
		return out.Bytes()
	}
	var text bytes.Buffer
	w, err := armor.Encode(&text, openpgp.PublicKeyType, nil)
	require.NoError(t, err)
	_, err = w.Write(out.Bytes())
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return text.Bytes()
}

// sign signs a chart as the helm command does.
func sign(t *testing.T, key *openpgp.Entity, file string, archive []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), file)
	require.NoError(t, os.WriteFile(path, archive, 0o600))
	signed, err := (&helmprovenance.Signatory{Entity: key}).ClearSign(path)
	require.NoError(t, err)
	return signed
}

func TestProvenance(t *testing.T) {
	s := newSite(t, httptest.NewServer)
	archive, key := pack(t, "a", "1.0.0"), newSigner(t, "signer")
	s.put("/index.yaml", indexOf(entryOf("a", "1.0.0", "a-1.0.0.tgz", archive)))
	s.put("/a-1.0.0.tgz", string(archive))
	s.put("/a-1.0.0.tgz.prov", sign(t, key, "a-1.0.0.tgz", archive))
	for _, armored := range []bool{true, false} {
		got, err := open(t, s.URL, repository.Options{Keyring: keyring(t, armored, newSigner(t, "other"), key)}).Pull(t.Context(), "a", "")
		require.NoError(t, err)
		require.Equal(t, "signer <signer@example.org>", got.SignedBy.Signer)
		require.Regexp(t, "^[0-9A-F]{40}$", got.SignedBy.Fingerprint)
		require.WithinDuration(t, time.Now(), got.SignedBy.Time, time.Hour)
	}
	got, err := open(t, s.URL, repository.Options{}).Pull(t.Context(), "a", "")
	require.NoError(t, err)
	require.Nil(t, got.SignedBy, "what was not asked for is not claimed")
}

func TestAttackProvenance(t *testing.T) {
	s := newSite(t, httptest.NewServer)
	key, stranger := newSigner(t, "signer"), newSigner(t, "stranger")
	archive, older := pack(t, "a", "1.0.0"), pack(t, "a", "0.9.0")
	signed := sign(t, key, "a-1.0.0.tgz", archive)
	s.put("/index.yaml", indexOf(entryOf("a", "1.0.0", "a-1.0.0.tgz", nil)))
	s.put("/a-1.0.0.tgz", string(archive))
	for name, file := range map[string]string{
		"missing":              "",
		"empty":                " ",
		"no signature":         "name: a\n",
		"unknown key":          sign(t, stranger, "a-1.0.0.tgz", archive),
		"changed text":         strings.Replace(signed, "appVersion", "appversion", 1),
		"cut off":              signed[:len(signed)/2],
		"text after":           signed + "files:\n  a-1.0.0.tgz: x\n",
		"two":                  signed + "\n" + signed,
		"of another archive":   sign(t, key, "a-1.0.0.tgz", pack(t, "a", "1.0.0+x")),
		"of another version":   sign(t, key, "a-1.0.0.tgz", older),
		"under another name":   sign(t, key, "b-1.0.0.tgz", archive),
		"larger than may be":   strings.Repeat("x", 2<<20),
		"signature of a stump": strings.Replace(signed, "-----BEGIN PGP SIGNATURE-----", "-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----", 1),
	} {
		t.Run(name, func(t *testing.T) {
			s.mu.Lock()
			delete(s.files, "/a-1.0.0.tgz.prov")
			s.mu.Unlock()
			if file != "" {
				s.put("/a-1.0.0.tgz.prov", file)
			}
			_, err := open(t, s.URL, repository.Options{Keyring: keyring(t, true, key)}).Pull(t.Context(), "a", "")
			require.ErrorIs(t, err, repository.ErrUnverified)
			require.True(t, terminal(err))
		})
	}

	// A chart that was signed is not another one because the index says so.
	s.put("/old.tgz", string(older))
	s.put("/old.tgz.prov", sign(t, key, "old.tgz", older))
	s.put("/index.yaml", indexOf(entryOf("a", "1.0.0", "old.tgz", nil)))
	_, err := open(t, s.URL, repository.Options{Keyring: keyring(t, true, key)}).Pull(t.Context(), "a", "")
	require.ErrorIs(t, err, repository.ErrMismatch)
}
