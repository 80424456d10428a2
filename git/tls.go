package git

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"strings"
)

// trusted are the certificates of the system and those of Options.CABundle; nil,
// which is those of the system, if there are no others.
func trusted(bundle []byte) (*x509.CertPool, error) {
	if len(bundle) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(bundle) {
		return nil, fmt.Errorf("%w: Options.CABundle holds no certificate in PEM", ErrInvalidAuth)
	}
	return pool, nil
}

// tlsConfig is for servers that see no client certificate.
func tlsConfig(roots *x509.CertPool) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
}

// clientCertificate reads Options.ClientCert and ClientKey; nil if there are
// none. Its errors quote nothing of them.
func clientCertificate(opts Options, scheme string) (*tls.Certificate, error) {
	cert, key := opts.ClientCert, opts.ClientKey
	refuse := func(why string) (*tls.Certificate, error) {
		return nil, fmt.Errorf("%w: %s", ErrInvalidAuth, why)
	}
	switch {
	case len(cert) == 0 && len(key) == 0:
		return nil, nil
	case len(cert) == 0 || len(key) == 0:
		return refuse("Options.ClientCert and ClientKey are given together")
	case scheme != "https":
		return refuse("a client certificate is for https URLs, this one is " + scheme)
	case len(key) > keySize:
		return refuse(fmt.Sprintf("Options.ClientKey is larger than %d bytes", keySize))
	case encrypted(key):
		return refuse("Options.ClientKey is encrypted; decrypt it, for example with openssl pkey")
	}
	pair, err := tls.X509KeyPair(cert, key)
	switch {
	case err == nil:
		return &pair, nil
	case strings.Contains(err.Error(), "does not match"):
		return refuse("Options.ClientKey is not the key of the first certificate in Options.ClientCert")
	}
	return refuse("Options.ClientCert and ClientKey are not a certificate and its private key in PEM")
}

// encrypted says that a private key in PEM needs a passphrase.
func encrypted(key []byte) bool {
	block, _ := pem.Decode(key)
	return block != nil && (block.Type == "ENCRYPTED PRIVATE KEY" || bytes.Contains([]byte(block.Headers["Proc-Type"]), []byte("ENCRYPTED")))
}

// untrusted says that it is the server's certificate that was refused.
func untrusted(err error) bool {
	var verification *tls.CertificateVerificationError
	return errors.As(err, &verification)
}

// certificateRefused returns what to say if it is our certificate that the
// server refused, or missed. With TLS 1.3 the server may say so, or may close
// the connection.
func certificateRefused(err error, certified bool) error {
	var alert *net.OpError
	if !errors.As(err, &alert) || alert.Op != "remote error" {
		return nil
	}
	text := clip(alert.Err.Error())
	about := strings.Contains(text, "certificate")
	switch {
	case about && certified:
		return fmt.Errorf("%w: the server answers %q; check Options.ClientCert: its authority and its dates", ErrAuthRefused, text)
	case about:
		return fmt.Errorf("%w: the server wants a client certificate; set Options.ClientCert and ClientKey", ErrAuthRequired)
	case strings.Contains(text, "handshake failure"):
		return fmt.Errorf("%w: %w; check whether the server wants a client certificate, which is Options.ClientCert", ErrUnreachable, err)
	}
	return nil
}
