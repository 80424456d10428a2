package git

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

// sshNamespace is what an SSH signature must have been made for.
const sshNamespace = "git"

// sshSignature is the content of an SSH signature, as OpenSSH's PROTOCOL.sshsig
// describes it.
type sshSignature struct {
	key       ssh.PublicKey
	namespace string
	hash      string
	signature *ssh.Signature
}

const sshMagic = "SSHSIG"

// parseSSHSignature reads an armored signature.
func parseSSHSignature(armored []byte) (*sshSignature, error) {
	const end = "-----END SSH SIGNATURE-----"
	text := strings.TrimSpace(string(armored))
	text, begun := strings.CutPrefix(text, beginSSH)
	text, ended := strings.CutSuffix(text, end)
	if !begun || !ended {
		return nil, errors.New("no armor around it")
	}
	blob, err := base64.StdEncoding.DecodeString(strings.NewReplacer("\n", "", "\r", "").Replace(text))
	if err != nil {
		return nil, errors.New("it is not in base64")
	}
	blob, ok := bytes.CutPrefix(blob, []byte(sshMagic))
	if !ok {
		return nil, errors.New("it does not begin with " + sshMagic)
	}
	var outer struct {
		Version                              uint32
		Key                                  []byte
		Namespace, Reserved, Hash, Signature string
	}
	if err := ssh.Unmarshal(blob, &outer); err != nil {
		return nil, errors.New("its fields are malformed")
	}
	if outer.Version != 1 {
		return nil, fmt.Errorf("version %d is not known", outer.Version)
	}
	s := &sshSignature{namespace: outer.Namespace, hash: outer.Hash, signature: &ssh.Signature{}}
	if s.key, err = ssh.ParsePublicKey(outer.Key); err != nil {
		return nil, errors.New("its key is malformed, or of an unsupported type")
	}
	// The rest is the counter and flags of a hardware key.
	if err := ssh.Unmarshal([]byte(outer.Signature), s.signature); err != nil {
		return nil, errors.New("its signature is malformed")
	}
	return s, nil
}

// verify checks the signature, not whose it is.
func (s *sshSignature) verify(payload []byte) error {
	var digest []byte
	switch s.hash {
	case "sha256":
		sum := sha256.Sum256(payload)
		digest = sum[:]
	case "sha512":
		sum := sha512.Sum512(payload)
		digest = sum[:]
	default:
		return fmt.Errorf("hash %q is not allowed", clip(s.hash))
	}
	_, key := uncertified(s.key)
	if key.Type() == ssh.KeyAlgoRSA && s.signature.Format != ssh.KeyAlgoRSASHA256 && s.signature.Format != ssh.KeyAlgoRSASHA512 {
		return errors.New("an RSA signature over SHA-1 is not allowed")
	}
	signed := append([]byte(sshMagic), ssh.Marshal(struct {
		Namespace, Reserved, Hash string
		Digest                    []byte
	}{s.namespace, "", s.hash, digest})...)
	if strings.HasPrefix(key.Type(), "sk-") {
		return verifyHardware(key, signed, s.signature)
	}
	return key.Verify(signed, s.signature)
}

// uncertified returns a key without the certificate around it, and the
// certificate, nil if there is none.
func uncertified(key ssh.PublicKey) (*ssh.Certificate, ssh.PublicKey) {
	if cert, ok := key.(*ssh.Certificate); ok {
		return cert, cert.Key
	}
	return nil, key
}

// verifyHardware checks a signature by a security key (OpenSSH's PROTOCOL.u2f).
// Whether it was touched for the signature is not asked, neither by OpenSSH for
// signatures like these; the library's own check insists on it.
func verifyHardware(key ssh.PublicKey, signed []byte, sig *ssh.Signature) error {
	var fields struct {
		Flags   byte
		Counter uint32
	}
	if err := ssh.Unmarshal(sig.Rest, &fields); err != nil || sig.Format != key.Type() {
		return errors.New("it is not by a security key of this type")
	}
	holder, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return errors.New("its key is of an unsupported type")
	}
	// What the hardware signs, it signs like any other key.
	plain, err := ssh.NewPublicKey(holder.CryptoPublicKey())
	if err != nil {
		return errors.New("its key is of an unsupported type")
	}
	application, err := applicationOf(key)
	if err != nil {
		return err
	}
	scope, digest := sha256.Sum256(application), sha256.Sum256(signed)
	message := append(scope[:], ssh.Marshal(fields)...)
	message = append(message, digest[:]...)
	return plain.Verify(message, &ssh.Signature{Format: plain.Type(), Blob: sig.Blob})
}

// applicationOf returns the last field of a security key: what it is used for.
func applicationOf(key ssh.PublicKey) ([]byte, error) {
	var fields struct {
		Type string
		Rest []byte `ssh:"rest"`
	}
	err := ssh.Unmarshal(key.Marshal(), &fields)
	var application []byte
	for rest := fields.Rest; err == nil && len(rest) > 0; {
		var next struct {
			Field []byte
			Rest  []byte `ssh:"rest"`
		}
		err = ssh.Unmarshal(rest, &next)
		application, rest = next.Field, next.Rest
	}
	return application, err
}

// shortestRSA is how many bits an RSA key must have.
const shortestRSA = 2048

// supportedSSHKey leaves out keys that are too weak: DSA, and short RSA.
func supportedSSHKey(key ssh.PublicKey) bool {
	switch key.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256:
		return true
	case ssh.KeyAlgoRSA:
		raw, ok := key.(ssh.CryptoPublicKey)
		if !ok {
			return false
		}
		public, ok := raw.CryptoPublicKey().(*rsa.PublicKey)
		return ok && public.N.BitLen() >= shortestRSA
	}
	return false
}
