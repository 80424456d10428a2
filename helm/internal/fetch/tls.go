package fetch

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
)

type (
	certPool    = *x509.CertPool
	certificate = tls.Certificate
)

// maxKey is how large a private key may be, in bytes.
const maxKey = 16 << 10

// certificates reads the authorities and the client's certificate. Errors quote
// nothing of them.
func certificates(base *url.URL, opts Options) (certPool, *certificate, error) {
	var roots certPool
	if len(opts.CABundle) > 0 {
		var err error
		if roots, err = x509.SystemCertPool(); err != nil {
			roots = x509.NewCertPool()
		}
		if !roots.AppendCertsFromPEM(opts.CABundle) {
			return nil, nil, fmt.Errorf("%w: CABundle holds no certificate in PEM", ErrInvalidAuth)
		}
	}
	switch {
	case len(opts.ClientCert) == 0 && len(opts.ClientKey) == 0:
		return roots, nil, nil
	case len(opts.ClientCert) == 0 || len(opts.ClientKey) == 0:
		return nil, nil, fmt.Errorf("%w: ClientCert and ClientKey are given together", ErrInvalidAuth)
	case base.Scheme != "https":
		return nil, nil, fmt.Errorf("%w: a client certificate is for https, this URL is %s", ErrInvalidAuth, base.Scheme)
	case len(opts.ClientKey) > maxKey:
		return nil, nil, fmt.Errorf("%w: ClientKey is larger than %d bytes", ErrInvalidAuth, maxKey)
	}
	pair, err := tls.X509KeyPair(opts.ClientCert, opts.ClientKey)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: ClientCert and ClientKey are not a certificate and its private key, unencrypted, in PEM", ErrInvalidAuth)
	}
	return roots, &pair, nil
}

func tlsConfig(roots certPool, cert *certificate) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	if cert != nil {
		config.Certificates = []tls.Certificate{*cert}
	}
	return config
}
