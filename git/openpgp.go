package git

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"

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
	switch {
	case weak:
		return subject.because(ErrWeakSignature, fmt.Sprintf("it is over %v; sign with SHA-256 or better", sig.Hash))
	case len(k.pgp.KeysById(*sig.IssuerKeyId)) == 0:
		return subject.because(ErrUnknownKey, "add the key to the trusted ones, or have it signed with one of those")
	}
	signer, err := openpgp.CheckDetachedSignatureAndHash(k.pgp, bytes.NewReader(payload), bytes.NewReader(blob), strongHashes, nil)
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
	good.Fingerprint = fmt.Sprintf("%X", signer.PrimaryKey.Fingerprint)
	good.Time = sig.CreationTime
	if identity := signer.PrimaryIdentity(); identity != nil {
		good.Signer = identity.Name
	}
	return nil
}

// readOpenPGP reads an armored signature, and insists that it is one.
func readOpenPGP(armored []byte) (blob []byte, sig *packet.Signature, err error) {
	block, err := armor.Decode(bytes.NewReader(armored))
	if err != nil {
		return nil, nil, err
	}
	if block.Type != openpgp.SignatureType {
		return nil, nil, errors.New("not a detached signature")
	}
	if blob, err = io.ReadAll(block.Body); err != nil {
		return nil, nil, err
	}
	packets := packet.NewReader(bytes.NewReader(blob))
	p, err := packets.Next()
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
