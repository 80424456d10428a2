package git

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// signer reads the private key, and the certificate if there is one. Its errors
// quote nothing of them.
func (a Auth) signer() (ssh.Signer, error) {
	refuse := func(why string) (ssh.Signer, error) {
		return nil, fmt.Errorf("%w: %s", ErrInvalidAuth, why)
	}
	if len(a.SSHKey) > keySize {
		return refuse(fmt.Sprintf("the SSH key is larger than %d bytes", keySize))
	}
	signer, err := a.parseKey()
	var missing *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &missing):
		return refuse("the SSH key is encrypted; give Auth.SSHPassphrase")
	case err != nil && strings.Contains(err.Error(), "rounds"):
		return refuse("the SSH key is encrypted with more than 2048 rounds; encrypt it again with ssh-keygen -p -a 24")
	case err != nil && len(a.SSHPassphrase) > 0:
		return refuse("the SSH key cannot be decrypted with this passphrase, or is not a private key in PEM")
	case err != nil:
		return refuse("the SSH key is not a private key in PEM")
	case signer.PublicKey().Type() == ssh.InsecureKeyAlgoDSA: //nolint:staticcheck // to refuse it
		return refuse("DSA keys are no longer accepted by servers; make an Ed25519 key")
	}
	if len(a.SSHCertificate) == 0 {
		return signer, nil
	}
	return a.certify(signer)
}

func (a Auth) parseKey() (ssh.Signer, error) {
	if len(a.SSHPassphrase) > 0 {
		return ssh.ParsePrivateKeyWithPassphrase(a.SSHKey, a.SSHPassphrase)
	}
	return ssh.ParsePrivateKey(a.SSHKey)
}

// certify adds the certificate to the key.
func (a Auth) certify(signer ssh.Signer) (ssh.Signer, error) {
	refuse := func(why string) (ssh.Signer, error) {
		return nil, fmt.Errorf("%w: Auth.SSHCertificate %s", ErrInvalidAuth, why)
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(a.SSHCertificate)
	cert, ok := public.(*ssh.Certificate)
	switch {
	case err != nil || !ok || cert.CertType != ssh.UserCert:
		return refuse("is not an OpenSSH user certificate")
	case cert.ValidBefore != ssh.CertTimeInfinity && uint64(time.Now().Unix()) >= cert.ValidBefore: //nolint:gosec // the time is after 1970
		return refuse("has expired")
	}
	certified, err := ssh.NewCertSigner(cert, signer)
	if err != nil {
		return refuse("is of another key than Auth.SSHKey")
	}
	return certified, nil
}
