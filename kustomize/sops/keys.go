package sops

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/azkv"
	"github.com/getsops/sops/v3/gcpkms"
	"github.com/getsops/sops/v3/hcvault"
	"github.com/getsops/sops/v3/keyservice"
	"github.com/getsops/sops/v3/kms"
)

// keyServer is whom SOPS asks for the key of one file. SOPS knows no context there,
// so the server has that of the call.
type keyServer struct {
	*Decrypter
	ctx context.Context //nolint:containedctx // of one call

	mu    sync.Mutex
	fails []string // why each of the file's keys could not be used
}

var errNoKey = errors.New("no key of this kind was given")

// Encrypt is not what this is for.
func (s *keyServer) Encrypt(context.Context, *keyservice.EncryptRequest) (*keyservice.EncryptResponse, error) {
	return nil, errors.ErrUnsupported
}

// Decrypt opens the key of a file with one of ours.
func (s *keyServer) Decrypt(_ context.Context, req *keyservice.DecryptRequest) (*keyservice.DecryptResponse, error) {
	kind, plain, err := s.open(req.Key, req.Ciphertext)
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.fails = append(s.fails, kind+": "+reason(err))
		return nil, err
	}
	return &keyservice.DecryptResponse{Plaintext: plain}, nil
}

// explain says why no key of a file could be used.
func (s *keyServer) explain() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.fails) == 0 {
		return errors.New("it names no key that it was encrypted for")
	}
	return fmt.Errorf("none of its keys can be used (%s)", strings.Join(s.fails[:min(len(s.fails), 10)], "; "))
}

// reason shortens what a service said. Some answer with pages.
func reason(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	const most = 300
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

func (s *keyServer) open(key *keyservice.Key, sealed []byte) (kind string, plain []byte, err error) {
	switch k := key.KeyType.(type) {
	case *keyservice.Key_AgeKey:
		plain, err = s.openAge(k.AgeKey, sealed)
		return "age", plain, err
	case *keyservice.Key_PgpKey:
		plain, err = s.openPGP(sealed)
		return "OpenPGP", plain, err
	case *keyservice.Key_KmsKey:
		plain, err = s.openAWS(k.KmsKey, sealed)
		return "AWS KMS", plain, err
	case *keyservice.Key_GcpKmsKey:
		plain, err = s.openGCP(k.GcpKmsKey, sealed)
		return "Google Cloud KMS", plain, err
	case *keyservice.Key_AzureKeyvaultKey:
		plain, err = s.openAzure(k.AzureKeyvaultKey, sealed)
		return "Azure Key Vault", plain, err
	case *keyservice.Key_VaultKey:
		plain, err = s.openVault(k.VaultKey, sealed)
		return "Vault", plain, err
	}
	return "another service", nil, errNoKey
}

func (s *keyServer) openAge(k *keyservice.AgeKey, sealed []byte) ([]byte, error) {
	if len(s.age) == 0 {
		return nil, errNoKey
	}
	key := age.MasterKey{Recipient: k.Recipient, EncryptedKey: string(sealed)}
	s.age.ApplyToMasterKey(&key)
	plain, err := key.Decrypt()
	if err != nil {
		return nil, errors.New("no key fits the recipient")
	}
	return plain, nil
}

func (s *keyServer) openPGP(sealed []byte) ([]byte, error) {
	if len(s.pgp) == 0 {
		return nil, errNoKey
	}
	block, err := armor.Decode(bytes.NewReader(sealed))
	if err != nil {
		return nil, errors.New("the sealed key is not armored")
	}
	message, err := openpgp.ReadMessage(block.Body, s.pgp, nil, nil)
	if err != nil {
		return nil, errors.New("no key fits")
	}
	const longest = 64 << 10
	return io.ReadAll(io.LimitReader(message.UnverifiedBody, longest))
}

// keyARN is stricter than SOPS is: the region becomes a part of the host's name.
var keyARN = regexp.MustCompile(`^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]+:(key|alias)/[\w/-]+$`)

func (s *keyServer) openAWS(k *keyservice.KmsKey, sealed []byte) ([]byte, error) {
	if s.opts.AWS == nil {
		return nil, errNoKey
	}
	context := map[string]*string{}
	for name, value := range k.Context {
		context[name] = &value
	}
	if !keyARN.MatchString(k.Arn) {
		return nil, fmt.Errorf("%q names no key of AWS KMS", k.Arn)
	}
	// A profile would be one of the user's files.
	key := kms.NewMasterKey(k.Arn, k.Role, context)
	key.EncryptedKey = string(sealed)
	kms.NewCredentialsProvider(s.opts.AWS).ApplyToMasterKey(key)
	return key.DecryptContext(s.ctx)
}

func (s *keyServer) openGCP(k *keyservice.GcpKmsKey, sealed []byte) ([]byte, error) {
	if s.opts.GCP == nil {
		return nil, errNoKey
	}
	key := gcpkms.NewMasterKeyFromResourceID(k.ResourceId)
	key.EncryptedKey = string(sealed)
	gcpkms.NewTokenSource(s.opts.GCP).ApplyToMasterKey(key)
	return key.DecryptContext(s.ctx)
}

func (s *keyServer) openAzure(k *keyservice.AzureKeyVaultKey, sealed []byte) ([]byte, error) {
	if s.opts.Azure == nil {
		return nil, errNoKey
	}
	if !s.azureHost(k.VaultUrl) {
		return nil, fmt.Errorf("%q is no host of Azure's: list it in Options.AzureHosts if it may be asked", k.VaultUrl)
	}
	key := azkv.NewMasterKey(k.VaultUrl, k.Name, k.Version)
	key.EncryptedKey = string(sealed)
	azkv.NewTokenCredential(s.opts.Azure).ApplyToMasterKey(key)
	return key.DecryptContext(s.ctx)
}

func (s *keyServer) azureHost(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" {
		return false
	}
	ends := func(domain string) bool { return strings.HasSuffix(u.Hostname(), domain) }
	return slices.ContainsFunc([]string{".vault.azure.net", ".vault.azure.cn", ".vault.usgovcloudapi.net"}, ends) ||
		slices.Contains(s.opts.AzureHosts, u.Host)
}

func (s *keyServer) openVault(k *keyservice.VaultKey, sealed []byte) ([]byte, error) {
	if len(s.opts.Vault) == 0 {
		return nil, errNoKey
	}
	token := s.opts.Vault[strings.TrimSuffix(k.VaultAddress, "/")]
	if token == "" { // SOPS would take the user's own then
		return nil, fmt.Errorf("there is no token for %q", k.VaultAddress)
	}
	key := hcvault.NewMasterKey(k.VaultAddress, k.EnginePath, k.KeyName)
	key.EncryptedKey = string(sealed)
	hcvault.Token(token).ApplyToMasterKey(key)
	return key.DecryptContext(s.ctx)
}
