package git

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// strongHashes are what a signature may be over. SHA-1 is not among them: two
// texts of one hash can be made.
var strongHashes = []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512}

func (k *Keys) verifyOpenPGP(subject *SignatureError, payload, armored []byte, good *Signature) error {
	blob, sig, err := readOpenPGP(armored)
	if err != nil {
		return subject.because(ErrBadSignature, "its OpenPGP signature is malformed ("+clip(err.Error())+"); sign again")
	}
	subject.Fingerprint = issuer(sig)
	weak := true
	for _, h := range strongHashes {
		weak = weak && h != sig.Hash
	}
	if weak {
		return subject.because(ErrWeakSignature, fmt.Sprintf("it is over %v; sign with SHA-256 or better", sig.Hash))
	}
	// Each key has a verdict of its own: one subkey may belong to two keys, and
	// two keys may have one ID.
	verdict := subject.because(ErrUnknownKey, "add the key to the trusted ones, or have it signed with one of those")
	for _, key := range k.pgp {
		if len(openpgp.EntityList{key}.KeysById(*sig.IssuerKeyId)) == 0 {
			continue
		}
		refused := checkOpenPGP(subject, key, payload, blob, sig)
		if refused == nil {
			good.Fingerprint = fmt.Sprintf("%X", key.PrimaryKey.Fingerprint)
			good.Time = sig.CreationTime
			if identity := key.PrimaryIdentity(); identity != nil {
				good.Signer = clip(identity.Name)
			}
			return nil
		}
		if errors.Is(verdict, ErrUnknownKey) || errors.Is(verdict, ErrBadSignature) {
			verdict = refused
		}
	}
	return verdict
}

// checkOpenPGP is the verdict of one key, nil if it is good.
func checkOpenPGP(subject *SignatureError, key *openpgp.Entity, payload, blob []byte, sig *packet.Signature) *SignatureError {
	ring := openpgp.EntityList{key}
	_, err := openpgp.CheckDetachedSignatureAndHash(ring, bytes.NewReader(payload), bytes.NewReader(blob), strongHashes, nil)
	switch {
	case err == nil:
	case errors.Is(err, pgperrors.ErrKeyExpired):
		return subject.because(ErrExpired, "the key has expired; give the key with its expiry renewed, or sign with another")
	case errors.Is(err, pgperrors.ErrSignatureExpired):
		return subject.because(ErrExpired, "the signature has expired; sign again")
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		return subject.because(ErrRevoked, "sign again with another key")
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return subject.because(ErrUnknownKey, "the key may not be used for signatures; sign with one that may")
	default:
		return subject.because(ErrBadSignature, "what was signed is not what is here ("+clip(err.Error())+"); do not use it")
	}
	for _, signer := range ring.KeysById(*sig.IssuerKeyId) {
		if weakOpenPGPKey(signer.PublicKey) {
			return subject.because(ErrWeakSignature, "it was made with a DSA key or a short RSA key; sign with RSA of 2048 bits or more, or with Ed25519")
		}
		if sig.CreationTime.Before(signer.PublicKey.CreationTime) {
			return subject.because(ErrBadSignature, "it says that it is older than its key; correct the clock and sign again")
		}
	}
	return nil
}

// weakOpenPGPKey holds OpenPGP keys to what SSH keys are held to.
func weakOpenPGPKey(key *packet.PublicKey) bool {
	if key.PubKeyAlgo == packet.PubKeyAlgoDSA {
		return true
	}
	bits, err := key.BitLength()
	isRSA := key.PubKeyAlgo == packet.PubKeyAlgoRSA || key.PubKeyAlgo == packet.PubKeyAlgoRSASignOnly
	return isRSA && (err != nil || bits < shortestRSA)
}

// readOpenPGP reads an armored signature, and insists that it is one, and only
// one.
func readOpenPGP(armored []byte) (blob []byte, sig *packet.Signature, err error) {
	const end = "-----END PGP SIGNATURE-----"
	text := strings.TrimSpace(string(armored))
	if strings.Count(text, "-----BEGIN ") != 1 || strings.Count(text, "-----END ") != 1 || !strings.HasSuffix(text, end) {
		return nil, nil, errors.New("not one armored signature with nothing after it")
	}
	block, err := armor.Decode(strings.NewReader(text))
	if err != nil {
		return nil, nil, err
	}
	if block.Type != openpgp.SignatureType {
		return nil, nil, errors.New("not a detached signature")
	}
	if blob, err = io.ReadAll(block.Body); err != nil {
		return nil, nil, err
	}
	// Opaque packets: others are skipped when they are of an unknown kind.
	packets := packet.NewOpaqueReader(bytes.NewReader(blob))
	opaque, err := packets.Next()
	if err != nil {
		return nil, nil, err
	}
	p, err := opaque.Parse()
	if err != nil {
		return nil, nil, err
	}
	sig, ok := p.(*packet.Signature)
	if !ok || sig.SigType != packet.SigTypeBinary || sig.IssuerKeyId == nil {
		return nil, nil, errors.New("not a signature of a document with an issuer")
	}
	if _, err := packets.Next(); !errors.Is(err, io.EOF) {
		return nil, nil, errors.New("more than one signature")
	}
	return blob, sig, nil
}

// issuer is the key that a signature says it was made with.
func issuer(sig *packet.Signature) string {
	if len(sig.IssuerFingerprint) > 0 {
		return fmt.Sprintf("%X", sig.IssuerFingerprint)
	}
	return fmt.Sprintf("%016X", *sig.IssuerKeyId)
}
