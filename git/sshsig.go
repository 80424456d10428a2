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
	"time"

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
	if s.key.Type() == ssh.KeyAlgoRSA && s.signature.Format != ssh.KeyAlgoRSASHA256 && s.signature.Format != ssh.KeyAlgoRSASHA512 {
		return errors.New("an RSA signature over SHA-1 is not allowed")
	}
	signed := append([]byte(sshMagic), ssh.Marshal(struct {
		Namespace, Reserved, Hash string
		Digest                    []byte
	}{s.namespace, "", s.hash, digest})...)
	return s.key.Verify(signed, s.signature)
}

// supportedSSHKey leaves out keys that are too weak: DSA, and short RSA.
func supportedSSHKey(key ssh.PublicKey) bool {
	switch key.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256:
		return true
	case ssh.KeyAlgoRSA:
		const shortest = 2048
		raw, ok := key.(ssh.CryptoPublicKey)
		if !ok {
			return false
		}
		public, ok := raw.CryptoPublicKey().(*rsa.PublicKey)
		return ok && public.N.BitLen() >= shortest
	}
	return false
}

func (k *Keys) verifySSH(subject *SignatureError, payload, armored []byte, at time.Time, good *Signature) error {
	sig, err := parseSSHSignature(armored)
	if err != nil {
		return subject.because(ErrBadSignature, "its SSH signature is malformed ("+err.Error()+"); sign again")
	}
	good.Fingerprint = ssh.FingerprintSHA256(sig.key)
	subject.Fingerprint = good.Fingerprint
	if sig.namespace != sshNamespace {
		return subject.because(ErrBadSignature, fmt.Sprintf("it was made for %q, not for %s; sign again", clip(sig.namespace), sshNamespace))
	}
	if _, isCert := sig.key.(*ssh.Certificate); isCert {
		return subject.because(ErrUnsupportedSignature, "SSH certificates are not verified; sign with a plain key")
	}
	verdict := subject.because(ErrUnknownKey, "add the key to the trusted ones, or have it signed with one of those")
	for _, key := range k.ssh {
		if !sameKey(key.key, sig.key) {
			continue
		}
		switch {
		case !key.allows(sshNamespace):
			verdict = subject.because(ErrUnknownKey, "its namespaces do not include git; add it to them")
		case !key.after.IsZero() && at.Before(key.after), !key.before.IsZero() && !at.Before(key.before):
			verdict = subject.because(ErrExpired, fmt.Sprintf("the key is not valid at %s, when this was made; sign again", at.UTC().Format(time.RFC3339)))
		default:
			if err := sig.verify(payload); err != nil {
				return subject.because(ErrBadSignature, "what was signed is not what is here ("+clip(err.Error())+"); do not use it")
			}
			good.Signer = key.signer
			return nil
		}
	}
	return verdict
}
