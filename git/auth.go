package git

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Auth are the credentials for one repository. The zero value has none, which
// is right for public repositories over HTTP; SSH needs a key and known hosts.
//
// Over HTTP it is either Username and Password or BearerToken. Most forges take
// an access token as Password, with any user name. Credentials are sent to the
// scheme, host and port of the repository's URL and nowhere else, also not on a
// redirect.
type Auth struct {
	Username, Password string
	BearerToken        string

	// SSHKey is a private key in PEM, in any format that OpenSSH reads.
	SSHKey []byte
	// SSHPassphrase decrypts SSHKey if it is encrypted.
	SSHPassphrase []byte
	// KnownHosts are the keys of SSH servers, in the format of OpenSSH's
	// known_hosts: names may be hashed, patterns and the markers
	// @cert-authority and @revoked are understood. Without a matching line no
	// SSH server is trusted.
	KnownHosts []byte
}

// header returns the value of the Authorization header, if any.
func (a Auth) header() string {
	switch {
	case a.BearerToken != "":
		return "Bearer " + a.BearerToken
	case a.Username != "" || a.Password != "":
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(a.Username+":"+a.Password))
	}
	return ""
}

func (a Auth) secrets() secrets {
	var s secrets
	for _, secret := range []string{
		strings.TrimPrefix(strings.TrimPrefix(a.header(), "Basic "), "Bearer "),
		a.Password, a.BearerToken, string(a.SSHPassphrase), strings.TrimSpace(string(a.SSHKey)),
	} {
		if secret != "" {
			s = append(s, secret)
		}
	}
	return s
}

// check refuses credentials that the scheme of the URL cannot use: they would be
// ignored in silence.
func (a Auth) check(scheme string, insecure bool) error {
	web := a.Password != "" || a.BearerToken != ""
	shell := len(a.SSHKey)+len(a.SSHPassphrase)+len(a.KnownHosts) > 0
	switch {
	case scheme == "ssh" && web:
		return fmt.Errorf("%w: an ssh URL takes Auth.SSHKey, not a password or token", ErrInvalidAuth)
	case scheme == "ssh" && len(a.SSHKey) == 0:
		return fmt.Errorf("%w: an ssh URL needs Auth.SSHKey", ErrInvalidAuth)
	case scheme != "ssh" && shell:
		return fmt.Errorf("%w: SSH keys and known hosts are for ssh URLs, this one is %s", ErrInvalidAuth, scheme)
	case a.BearerToken != "" && (a.Username != "" || a.Password != ""):
		return fmt.Errorf("%w: give a user and password or a bearer token, not both", ErrInvalidAuth)
	case scheme != "ssh" && strings.ContainsAny(a.Username+a.Password+a.BearerToken, "\x00\r\n"):
		return fmt.Errorf("%w: they hold a line break; remove it from the end of the secret", ErrInvalidAuth)
	case strings.Contains(a.Username, ":") && scheme != "ssh":
		return fmt.Errorf("%w: a user name cannot hold a colon", ErrInvalidAuth)
	case scheme == "http" && a.header() != "" && !insecure:
		return fmt.Errorf("%w: use https, or set Options.InsecureCredentials", ErrInsecureCredentials)
	}
	return nil
}

// signer reads the private key. Its errors quote nothing of it.
func (a Auth) signer() (ssh.Signer, error) {
	var signer ssh.Signer
	var err error
	if len(a.SSHPassphrase) > 0 {
		signer, err = ssh.ParsePrivateKeyWithPassphrase(a.SSHKey, a.SSHPassphrase)
	} else {
		signer, err = ssh.ParsePrivateKey(a.SSHKey)
	}
	var missing *ssh.PassphraseMissingError
	switch {
	case err == nil:
		return signer, nil
	case errors.As(err, &missing):
		return nil, fmt.Errorf("%w: the SSH key is encrypted; give Auth.SSHPassphrase", ErrInvalidAuth)
	case len(a.SSHPassphrase) > 0:
		return nil, fmt.Errorf("%w: the SSH key cannot be decrypted with this passphrase, or is not a private key in PEM", ErrInvalidAuth)
	}
	return nil, fmt.Errorf("%w: the SSH key is not a private key in PEM", ErrInvalidAuth)
}
