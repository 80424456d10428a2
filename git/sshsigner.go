package git

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// verifySSH checks an SSH signature, and whether its key may sign. The time is
// that which the object states.
func (k *Keys) verifySSH(subject *SignatureError, payload, armored []byte, at time.Time, good *Signature) error {
	sig, err := parseSSHSignature(armored)
	if err != nil {
		return subject.because(ErrBadSignature, "its SSH signature is malformed ("+err.Error()+"); sign again")
	}
	cert, key := uncertified(sig.key)
	good.Fingerprint = ssh.FingerprintSHA256(key)
	subject.Fingerprint = good.Fingerprint
	if cert != nil {
		good.CA, good.KeyID = ssh.FingerprintSHA256(cert.SignatureKey), clip(cert.KeyId)
	}
	switch {
	case sig.namespace != sshNamespace:
		return subject.because(ErrBadSignature, fmt.Sprintf("it was made for %q, not for %s; sign again", clip(sig.namespace), sshNamespace))
	case !supportedSSHKey(key):
		return subject.because(ErrWeakSignature, "it was made with a DSA key or a short RSA key; sign with RSA of 2048 bits or more, or with Ed25519")
	case k.isRevoked(sig.key):
		return subject.because(ErrRevoked, "sign again with another key")
	}
	if at.Unix() <= 0 {
		at = time.Now() // the object states no time; Git does the same
	}
	signer, refused := k.sshSigner(subject, sig.key, at)
	if refused != nil {
		return refused
	}
	if err := sig.verify(payload); err != nil {
		return subject.because(ErrBadSignature, "what was signed is not what is here ("+clip(err.Error())+"); do not use it")
	}
	good.Signer = clip(signer)
	return nil
}

// isRevoked says whether a key, or the authority that certified it, is revoked.
func (k *Keys) isRevoked(key ssh.PublicKey) bool {
	cert, plain := uncertified(key)
	return slices.ContainsFunc(k.revoked, func(revoked ssh.PublicKey) bool {
		return sameKey(revoked, plain) || cert != nil && sameKey(revoked, cert.SignatureKey)
	})
}

// sshSigner returns whose key it is: what the first line that allows it to sign
// says.
func (k *Keys) sshSigner(subject *SignatureError, key ssh.PublicKey, at time.Time) (string, *SignatureError) {
	verdict := subject.because(ErrUnknownKey, "add the key to the trusted ones, or have it signed with one of those")
	cert, plain := uncertified(key)
	if cert != nil {
		verdict = subject.because(ErrUnknownKey, "add the authority of its certificate, "+ssh.FingerprintSHA256(cert.SignatureKey)+
			", to the trusted ones with the option cert-authority, or sign with a key that is there")
		plain = cert.SignatureKey
	}
	for _, line := range k.ssh {
		if line.ca != (cert != nil) || !sameKey(line.key, plain) {
			continue
		}
		signer, refused := line.allows(subject, cert, at)
		if refused == nil {
			return signer, nil
		}
		verdict = refused
	}
	return "", verdict
}

// allows returns whom the line of a key, or of the authority of a certificate,
// allows to sign.
func (k sshKey) allows(subject *SignatureError, cert *ssh.Certificate, at time.Time) (string, *SignatureError) {
	switch {
	case k.namespaces != nil && !matchPatterns(k.namespaces, sshNamespace):
		return "", subject.because(ErrUnknownKey, "its namespaces do not include git; add it to them")
	case !k.after.IsZero() && at.Before(k.after), !k.before.IsZero() && at.After(k.before):
		return "", subject.because(ErrExpired, fmt.Sprintf("the key is not valid at %s, when this was made; sign again", at.UTC().Format(time.RFC3339)))
	case cert == nil && k.principals == nil:
		return k.comment, nil
	case cert == nil:
		return strings.Join(k.names(), ","), nil
	}
	if err := checkUserCertificate(subject, cert, at); err != nil {
		return "", err
	}
	var names []string
	for _, name := range cert.ValidPrincipals {
		// A comma would make two names of one where they are listed.
		if !strings.Contains(name, ",") && matchPatterns(k.principals, name) {
			names = append(names, name)
		}
	}
	if names == nil {
		return "", subject.because(ErrUnknownKey, "its certificate holds none of the principals that are allowed for its authority; add one of them")
	}
	return strings.Join(names, ","), nil
}

// checkUserCertificate checks all of a certificate but whose it is.
func checkUserCertificate(subject *SignatureError, cert *ssh.Certificate, at time.Time) *SignatureError {
	switch {
	case cert.CertType != ssh.UserCert:
		return subject.because(ErrUnknownKey, "its certificate is not for a user; sign with one that is")
	case len(cert.CriticalOptions) > 0:
		return subject.because(ErrUnsupportedSignature, "its certificate has critical options, which restrict it to other uses; sign with one without")
	case cert.Signature.Format == ssh.KeyAlgoRSA:
		return subject.because(ErrWeakSignature, "its certificate is signed over SHA-1; have it signed with rsa-sha2-256 or rsa-sha2-512")
	case len(cert.ValidPrincipals) == 0:
		return subject.because(ErrUnknownKey, "its certificate names no principals; have one made that does")
	case !certifiedAt(cert, at):
		return subject.because(ErrExpired, fmt.Sprintf("its certificate is not valid at %s, when this was made; have it renewed and sign again", at.UTC().Format(time.RFC3339)))
	}
	checker := ssh.CertChecker{Clock: func() time.Time { return at }}
	if err := checker.CheckCert(cert.ValidPrincipals[0], cert); err != nil {
		return subject.because(ErrBadSignature, "its certificate was not made by the authority that it names; do not use it")
	}
	return nil
}

// certifiedAt says whether a certificate is valid at a time.
func certifiedAt(cert *ssh.Certificate, at time.Time) bool {
	now := uint64(max(at.Unix(), 0))
	return now >= cert.ValidAfter && now < cert.ValidBefore
}
