// Package provenance checks who signed a packed chart.
package provenance

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"sigs.k8s.io/yaml"

	"github.com/gitopskit/gitopskit/internal/clip"
)

// What errors of this package are.
var (
	ErrKeyring    = errors.New("no usable keyring")
	ErrUnverified = errors.New("the chart's provenance cannot be verified")
)

const (
	maxKeyring = 1 << 20
	// MaxFile is how many bytes a provenance file may have.
	MaxFile = 1 << 20
)

// strongHashes are what a signature may be over.
var strongHashes = []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512}

// Keyring are the public keys that are trusted.
type Keyring struct{ keys openpgp.EntityList }

// NewKeyring reads OpenPGP public keys, armored or as gpg --export writes them.
func NewKeyring(data []byte) (*Keyring, error) {
	if len(data) > maxKeyring {
		return nil, fmt.Errorf("%w: it is larger than %d bytes", ErrKeyring, maxKeyring)
	}
	read := openpgp.ReadKeyRing
	if bytes.Contains(data, []byte("-----BEGIN PGP")) {
		read = openpgp.ReadArmoredKeyRing
	}
	keys, err := read(bytes.NewReader(data))
	if err != nil || len(keys) == 0 {
		return nil, fmt.Errorf("%w: it holds no OpenPGP public key; export one with gpg --export", ErrKeyring)
	}
	return &Keyring{keys: keys}, nil
}

// Chart is what a provenance file has to be of.
type Chart struct {
	File    string // NAME-VERSION.tgz
	Name    string
	Version string
	Archive []byte
}

// Signed says who signed, and when.
type Signed struct {
	By          string // the key's user, for people
	Fingerprint string // of the primary key, upper-case hexadecimal
	At          time.Time
}

// Verify checks the signature, that it is of this archive, and that its author
// meant this chart and version.
func (k *Keyring) Verify(file []byte, c Chart) (Signed, error) {
	refuse := func(format string, args ...any) (Signed, error) {
		return Signed{}, fmt.Errorf("%w: %s", ErrUnverified, fmt.Sprintf(format, args...))
	}
	if len(file) > MaxFile {
		return refuse("the provenance file is larger than %d bytes", MaxFile)
	}
	block, rest := clearsign.Decode(file)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return refuse("the provenance file is not one signed text; sign the chart again with helm package --sign")
	}
	config := &packet.Config{}
	sig, key, err := openpgp.VerifyDetachedSignatureAndHash(k.keys, bytes.NewReader(block.Bytes), block.ArmoredSignature.Body, strongHashes, config)
	if err != nil {
		return refuse("%s", why(err))
	}
	sums, metadata, err := readMessage(block.Plaintext)
	if err != nil {
		return refuse("%v", err)
	}
	if metadata.Name != c.Name || metadata.Version != c.Version {
		return refuse("it was signed as %s %s, and is served as %s %s", clip.Quote(metadata.Name, 100), clip.Quote(metadata.Version, 100), c.Name, c.Version)
	}
	sum := sha256.Sum256(c.Archive)
	if sums.Files[c.File] != "sha256:"+hex.EncodeToString(sum[:]) {
		return refuse("the archive %s is not the one that was signed; do not use it", c.File)
	}
	signed := Signed{Fingerprint: fmt.Sprintf("%X", key.PrimaryKey.Fingerprint), At: sig.CreationTime}
	if id := key.PrimaryIdentity(); id != nil {
		signed.By = clip.Text(id.Name, 200)
	}
	return signed, nil
}

func why(err error) string {
	switch {
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return "none of the keyring's keys signed it; add the signer's key, or do not use the chart"
	case errors.Is(err, pgperrors.ErrKeyExpired):
		return "the key has expired; give the key with its expiry renewed, or sign with another"
	case errors.Is(err, pgperrors.ErrSignatureExpired):
		return "the signature has expired; sign again"
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		return "the key is revoked; sign again with another"
	}
	return "the signature is not good (" + clip.Quote(err.Error(), 200) + "); do not use the chart"
}

type metadata struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

type sums struct {
	Files map[string]string `json:"files"`
}

// readMessage reads what was signed: Chart.yaml, a line of three dots, and the
// digests.
func readMessage(text []byte) (sums, metadata, error) {
	var s sums
	var m metadata
	about, digests, ok := bytes.Cut(text, []byte("\n...\n"))
	if !ok || bytes.Contains(digests, []byte("\n...\n")) {
		return s, m, errors.New("the signed text is not that of a chart; sign it with helm package --sign")
	}
	if yaml.Unmarshal(about, &m) != nil || yaml.Unmarshal(digests, &s) != nil {
		return s, m, errors.New("the signed text cannot be read; sign the chart again with helm package --sign")
	}
	return s, m, nil
}
