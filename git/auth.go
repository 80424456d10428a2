package git

import (
	"context"
	"fmt"
	"strings"
	"unicode"
)

// Auth are the credentials for one repository. The zero value has none, which
// is right for public repositories over HTTP; SSH needs a key and known hosts.
//
// Over HTTP it is one of four: Username and Password, BearerToken, Token or
// GitHubApp. Most forges take an access token as Password, with any user name.
// Credentials are sent to the scheme, host and port of the repository's URL and
// nowhere else, also not on a redirect. A client certificate, which is
// [Options.ClientCert], goes with any of them or alone.
type Auth struct {
	// Username and Password for HTTP. Over SSH Username is who logs in, if the
	// URL names nobody; if neither does it is git.
	Username, Password string
	BearerToken        string

	// Token, if not nil, is called for credentials that are valid for a time
	// only, such as those of a cloud's workload identity. It is called by one
	// goroutine at a time, when there is no token yet, when the last one is
	// about to expire, and once more when the server has refused it. It must
	// return when its context is done. Its error fails the operation, which is
	// then ErrAuthRequired and what the function returned.
	Token func(ctx context.Context) (Token, error)
	// GitHubApp, if not nil, reads as an installation of a GitHub App.
	GitHubApp *GitHubApp

	// SSHKey is a private key in PEM: Ed25519, ECDSA or RSA, in OpenSSH's format,
	// PKCS #8 (not encrypted), PKCS #1 or SEC 1. Keys in hardware and DSA keys
	// cannot be used. The key is at most 16 KiB, and an encrypted one has at most
	// 2048 rounds of its key derivation function (ssh-keygen -a, which makes 16
	// or 24 if not told).
	SSHKey []byte
	// SSHPassphrase decrypts SSHKey if it is encrypted.
	SSHPassphrase []byte
	// SSHCertificate is an OpenSSH user certificate for SSHKey, as in a file
	// id_ed25519-cert.pub. The key itself is then not offered.
	SSHCertificate []byte
	// KnownHosts are the keys of SSH servers, in the format of OpenSSH's
	// known_hosts: names may be hashed, patterns and the markers
	// @cert-authority and @revoked are understood. Without a matching line no
	// SSH server is trusted.
	KnownHosts []byte
}

// static are the credentials that are given as they are.
func (a Auth) static() Token {
	return Token{Username: a.Username, Password: a.Password, Bearer: a.BearerToken}
}

// web says that there is something for an Authorization header.
func (a Auth) web() bool { return a.static().header() != "" || a.Token != nil || a.GitHubApp != nil }

// keySize is how large a private key may be, in bytes. An RSA key of 16,384 bits
// fits in; reading much larger ones takes minutes.
const keySize = 16 << 10

// check refuses credentials that the scheme of the URL cannot use: they would be
// ignored in silence.
func (a Auth) check(scheme string, insecure bool) error {
	if scheme == "ssh" {
		return a.checkShell()
	}
	if len(a.SSHKey)+len(a.SSHPassphrase)+len(a.SSHCertificate)+len(a.KnownHosts) > 0 {
		return fmt.Errorf("%w: SSH keys, certificates and known hosts are for ssh URLs, this one is %s", ErrInvalidAuth, scheme)
	}
	kinds := 0
	for _, given := range []bool{a.Username != "" || a.Password != "", a.BearerToken != "", a.Token != nil, a.GitHubApp != nil} {
		if given {
			kinds++
		}
	}
	if kinds > 1 {
		return fmt.Errorf("%w: give a user and password, a bearer token, Auth.Token or Auth.GitHubApp, only one of them", ErrInvalidAuth)
	}
	if err := a.static().check(); err != nil {
		return err
	}
	if scheme == "http" && a.web() && !insecure {
		return fmt.Errorf("%w: use https, or set Options.InsecureCredentials", ErrInsecureCredentials)
	}
	return nil
}

func (a Auth) checkShell() error {
	switch {
	case a.Password != "" || a.BearerToken != "" || a.Token != nil || a.GitHubApp != nil:
		return fmt.Errorf("%w: an ssh URL takes Auth.SSHKey, not a password or token", ErrInvalidAuth)
	case len(a.SSHKey) == 0:
		return fmt.Errorf("%w: an ssh URL needs Auth.SSHKey", ErrInvalidAuth)
	case strings.HasPrefix(a.Username, "-") || strings.ContainsFunc(a.Username, unicode.IsControl):
		return fmt.Errorf("%w: the user begins with a dash or holds a control character", ErrInvalidAuth)
	}
	return nil
}

// secrets are what is secret of all options.
func (o Options) secrets() *secrets {
	a := o.Auth
	fixed := append(a.static().secrets(), string(a.SSHPassphrase), pemText(a.SSHKey), pemText(o.ClientKey))
	fixed = append(fixed, Token{Username: o.Proxy.Username, Password: o.Proxy.Password}.secrets()...)
	if a.GitHubApp != nil {
		fixed = append(fixed, pemText(a.GitHubApp.PrivateKey))
	}
	return newSecrets(fixed...)
}

func pemText(data []byte) string { return strings.TrimSpace(string(data)) }
