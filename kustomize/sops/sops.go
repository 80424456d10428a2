package sops

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	"github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/keyservice"
	"github.com/getsops/sops/v3/stores/dotenv"
	"github.com/getsops/sops/v3/stores/ini"
	"github.com/getsops/sops/v3/stores/json"
	"github.com/getsops/sops/v3/stores/yaml"

	"github.com/gitopskit/gitopskit/kustomize"
)

// Decrypter decrypts files and documents that SOPS encrypted. It is safe for
// concurrent use.
type Decrypter struct {
	opts Options
	age  age.ParsedIdentities
	pgp  openpgp.EntityList

	identity string
}

var _ kustomize.Decrypter = (*Decrypter)(nil)

// New returns a decrypter. A key that cannot be read is an error, which does not
// show it.
func New(opts Options) (*Decrypter, error) {
	d := &Decrypter{opts: opts, identity: opts.identity()}
	for i, keys := range opts.Age {
		if err := d.age.Import(string(keys)); err != nil {
			return nil, fmt.Errorf("sops: age key file %d is none: it should have a key on each line", i+1)
		}
	}
	for i, armored := range opts.OpenPGP {
		keys, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(armored))
		if err != nil {
			return nil, fmt.Errorf("sops: OpenPGP key %d is no armored key", i+1)
		}
		for _, key := range keys {
			if key.PrivateKey == nil || key.PrivateKey.Encrypted {
				return nil, fmt.Errorf("sops: OpenPGP key %d is no private key without a passphrase", i+1)
			}
		}
		d.pgp = append(d.pgp, keys...)
	}
	return d, nil
}

// Identity names the keys without showing them.
func (d *Decrypter) Identity() string { return d.identity }

func (o Options) identity() string {
	if o.Identity != "" {
		return "named:" + o.Identity
	}
	if o.AWS != nil || o.GCP != nil || o.Azure != nil || len(o.Vault) > 0 {
		return "single:" + rand.Text()
	}
	sum := sha256.New()
	for _, key := range slices.Concat(o.Age, o.OpenPGP) {
		one := sha256.Sum256(key)
		sum.Write(one[:])
	}
	return "keys:" + hex.EncodeToString(sum.Sum(nil))
}

// Decrypt returns the plain text of a file or document.
func (d *Decrypter) Decrypt(ctx context.Context, _ string, format kustomize.Format, data []byte) ([]byte, error) {
	store := storeOf(format)
	if store == nil {
		return nil, fmt.Errorf("sops knows no format %q", string(format))
	}
	tree, err := store.LoadEncryptedFile(data)
	if err != nil {
		return nil, errors.New("it is not as SOPS writes such a file")
	}
	asked := &keyServer{Decrypter: d, ctx: ctx}
	key, err := tree.Metadata.GetDataKeyWithKeyServices(
		[]keyservice.KeyServiceClient{keyservice.NewCustomLocalClient(asked)}, nil)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, asked.explain()
	}
	if err := open(&tree, key); err != nil {
		return nil, err
	}
	text, err := store.EmitPlainFile(tree.Branches)
	if err != nil {
		return nil, errors.New("what was decrypted cannot be written in its format") // the cause might show it
	}
	return text, nil
}

func storeOf(format kustomize.Format) sops.Store {
	stores := config.NewStoresConfig()
	switch format {
	case kustomize.FormatYAML:
		return yaml.NewStore(&stores.YAML)
	case kustomize.FormatJSON:
		return json.NewStore(&stores.JSON)
	case kustomize.FormatDotenv:
		return dotenv.NewStore(&stores.Dotenv)
	case kustomize.FormatINI:
		return ini.NewStore(&stores.INI)
	case kustomize.FormatBinary:
		return json.NewBinaryStore(&stores.JSONBinary)
	}
	return nil
}

// open decrypts all values and compares the checksum.
func open(tree *sops.Tree, key []byte) error {
	aes := aes.NewCipher()
	mac, err := tree.Decrypt(key, aes)
	if err != nil {
		return errors.New("an encrypted value was changed, moved, or encrypted with another key; edit the file with sops")
	}
	want, err := aes.Decrypt(tree.Metadata.MessageAuthenticationCode, key, tree.Metadata.LastModified.Format(time.RFC3339))
	text, _ := want.(string)
	if err != nil || subtle.ConstantTimeCompare([]byte(text), []byte(mac)) != 1 {
		return errors.New("its checksum is not right: somebody changed it after it was encrypted; edit it with sops")
	}
	return nil
}
