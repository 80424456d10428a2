package post

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"syscall"
	"time"
)

func newTransport(o Options, g guard) (*http.Transport, error) {
	config, err := tlsConfig(o)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second, Control: g.control}
	t := &http.Transport{
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    5 * time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    8,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true, // no small answer that unpacks to a large one
	}
	if o.Proxy != "" {
		proxy, err := url.Parse(o.Proxy)
		if err != nil || proxy.Hostname() == "" || !slices.Contains([]string{"http", "https", "socks5"}, proxy.Scheme) {
			return nil, errors.New("the proxy must be a URL that starts with http://, https:// or socks5:// and names a host")
		}
		t.Proxy = http.ProxyURL(proxy)
	}
	return t, nil
}

func tlsConfig(o Options) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(o.CA) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(o.CA) {
			return nil, errors.New("the CA holds no certificate in PEM")
		}
	}
	if len(o.ClientCert)+len(o.ClientKey) > 0 {
		pair, err := tls.X509KeyPair(o.ClientCert, o.ClientKey)
		if err != nil {
			return nil, errors.New("the client's certificate and key are not a pair in PEM")
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// guard refuses addresses that no notification has to go to.
type guard struct{ open bool }

// control looks at the address that a connection is about to go to, after the name
// was resolved: a name that changes its address between a check and its use gains
// nothing.
func (g guard) control(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err == nil && !g.open && forbidden(at.Addr()) {
		return errForbidden
	}
	return nil
}

// refuses says whether a URL names such an address itself. Behind a proxy, or with the
// caller's own transport, this is all that can be seen.
func (g guard) refuses(u *url.URL) bool {
	at, err := netip.ParseAddr(u.Hostname())
	return err == nil && !g.open && forbidden(at)
}

// forbidden holds for link-local addresses, where clouds answer with credentials, for
// the addresses outside that range where some do the same, and for those that are
// nobody's own. The IPv6 forms of an IPv4 address count as that address.
func forbidden(ip netip.Addr) bool {
	ip = embedded(ip.WithZone("").Unmap())
	switch ip.String() {
	case "fd00:ec2::254", // Amazon
		"fd20:ce::254",    // Google
		"100.100.100.200", // Alibaba
		"168.63.129.16",   // Azure
		"192.0.0.192":     // Oracle
		return true
	}
	return ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified()
}

// embedded returns the IPv4 address that an IPv6 address leads to, by NAT64, by 6to4 or
// by the oldest form, or the address itself.
func embedded(ip netip.Addr) netip.Addr {
	if !ip.Is6() {
		return ip
	}
	b := ip.As16()
	switch {
	case netip.MustParsePrefix("2002::/16").Contains(ip):
		return netip.AddrFrom4([4]byte(b[2:6]))
	case netip.MustParsePrefix("64:ff9b::/96").Contains(ip), netip.MustParsePrefix("::/96").Contains(ip):
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return ip
}
