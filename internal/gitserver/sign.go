package gitserver

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"golang.org/x/crypto/ssh"
)

// Signer signs the payload of a commit or a tag.
type Signer interface {
	// Sign returns an armored signature.
	Sign(payload []byte) ([]byte, error)
	// PublicKey returns the key for those who verify: an armored OpenPGP key,
	// or a line as in an authorized_keys file.
	PublicKey() []byte
}

// OpenPGPSigner signs with an OpenPGP key.
type OpenPGPSigner struct {
	Entity *openpgp.Entity
	// Config is used to sign; nil: SHA-256, now.
	Config *packet.Config
}

// NewOpenPGPSigner makes a new Ed25519 key for a user.
func NewOpenPGPSigner(name, email string) (*OpenPGPSigner, error) {
	config := &packet.Config{
		Algorithm:   packet.PubKeyAlgoEdDSA,
		DefaultHash: crypto.SHA256,
		// A little in the past: a verifier on the same machine, a moment later,
		// must never find the key made in the future.
		Time: func() time.Time { return time.Now().Add(-time.Hour) },
	}
	entity, err := openpgp.NewEntity(name, "", email, config)
	if err != nil {
		return nil, err
	}
	return &OpenPGPSigner{Entity: entity}, nil
}

// Sign implements [Signer].
func (s *OpenPGPSigner) Sign(payload []byte) ([]byte, error) {
	config := s.Config
	if config == nil {
		config = &packet.Config{DefaultHash: crypto.SHA256}
	}
	var out bytes.Buffer
	err := openpgp.ArmoredDetachSign(&out, s.Entity, bytes.NewReader(payload), config)
	return out.Bytes(), err
}

// PublicKey implements [Signer].
func (s *OpenPGPSigner) PublicKey() []byte {
	var out bytes.Buffer
	w, err := armor.Encode(&out, openpgp.PublicKeyType, nil)
	if err == nil {
		err = s.Entity.Serialize(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil // writing to memory: it cannot fail
	}
	return append(out.Bytes(), '\n')
}

// SSHSigner signs as "ssh-keygen -Y sign" does.
type SSHSigner struct {
	signer  ssh.Signer
	comment string
	// Namespace that the signature is for; empty: git.
	Namespace string
	// Algorithm of a signature by an RSA key; empty: rsa-sha2-512.
	Algorithm string
	private   crypto.Signer // nil: not known
}

// NewSSHSigner makes a new Ed25519 key.
func NewSSHSigner(comment string) (*SSHSigner, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return SSHSignerFor(private, comment)
}

// SSHSignerFor signs with a key that the caller has.
func SSHSignerFor(private crypto.Signer, comment string) (*SSHSigner, error) {
	signer, err := ssh.NewSignerFromSigner(private)
	if err != nil {
		return nil, err
	}
	return &SSHSigner{signer: signer, comment: comment, private: private}, nil
}

// SSHSignerOf signs with anything that can, such as a key with a certificate.
func SSHSignerOf(signer ssh.Signer, comment string) *SSHSigner {
	return &SSHSigner{signer: signer, comment: comment}
}

// Sign implements [Signer], in the format of OpenSSH's PROTOCOL.sshsig.
func (s *SSHSigner) Sign(payload []byte) ([]byte, error) {
	namespace := s.Namespace
	if namespace == "" {
		namespace = "git"
	}
	const hash = "sha512"
	digest := sha512.Sum512(payload)
	toSign := append([]byte("SSHSIG"), ssh.Marshal(struct{ Namespace, Reserved, Hash, Digest string }{
		namespace, "", hash, string(digest[:]),
	})...)

	var signature *ssh.Signature
	var err error
	switch s.signer.PublicKey().Type() {
	case ssh.KeyAlgoRSA, ssh.CertAlgoRSAv01:
		// An RSA key signs with SHA-1 unless told otherwise.
		multi, ok := s.signer.(ssh.AlgorithmSigner)
		if !ok {
			return nil, fmt.Errorf("the RSA key of %s cannot sign with SHA-2", s.comment)
		}
		algorithm := s.Algorithm
		if algorithm == "" {
			algorithm = ssh.KeyAlgoRSASHA512
		}
		signature, err = multi.SignWithAlgorithm(rand.Reader, toSign, algorithm)
	default:
		signature, err = s.signer.Sign(rand.Reader, toSign)
	}
	if err != nil {
		return nil, err
	}
	blob := append([]byte("SSHSIG"), ssh.Marshal(struct {
		Version                                           uint32
		PublicKey, Namespace, Reserved, Hash, SignatureOf string
	}{1, string(s.signer.PublicKey().Marshal()), namespace, "", hash, string(ssh.Marshal(*signature))})...)

	var out strings.Builder
	out.WriteString("-----BEGIN SSH SIGNATURE-----\n")
	for text := base64.StdEncoding.EncodeToString(blob); text != ""; {
		n := min(70, len(text))
		out.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	out.WriteString("-----END SSH SIGNATURE-----\n")
	return []byte(out.String()), nil
}

// PublicKey implements [Signer].
func (s *SSHSigner) PublicKey() []byte {
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.signer.PublicKey())))
	return []byte(strings.TrimSpace(line+" "+s.comment) + "\n")
}

// Key returns the public key, for [SSHOptions].
func (s *SSHSigner) Key() ssh.PublicKey { return s.signer.PublicKey() }

// PrivateKey returns the private key in OpenSSH's format.
func (s *SSHSigner) PrivateKey() ([]byte, error) {
	if s.private == nil {
		return nil, fmt.Errorf("the private key of %s is not known", s.comment)
	}
	block, err := ssh.MarshalPrivateKey(s.private, s.comment)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(block), nil
}
