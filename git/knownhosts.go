package git

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what hashed names in known_hosts are made with
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// knownHosts is a parsed known_hosts file.
type knownHosts []knownHost

type knownHost struct {
	marker   string // "", "cert-authority" or "revoked"
	patterns []string
	key      ssh.PublicKey
}

// parseKnownHosts reads the format of OpenSSH's known_hosts.
func parseKnownHosts(data []byte) (knownHosts, error) {
	var hosts knownHosts
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		// One at a time: of several it skips what it does not understand, which
		// may be a revocation.
		marker, patterns, key, _, _, err := ssh.ParseKnownHosts([]byte(line))
		if err != nil {
			return nil, fmt.Errorf("%w: known hosts, line %d: not \"host type key\"", ErrInvalidAuth, n)
		}
		if marker != "" && marker != "cert-authority" && marker != "revoked" {
			return nil, fmt.Errorf("%w: known hosts, line %d: unknown marker", ErrInvalidAuth, n)
		}
		hosts = append(hosts, knownHost{marker, patterns, key})
	}
	return hosts, nil
}

// hostName is how known_hosts writes an address.
func hostName(host, port string) string {
	host = strings.ToLower(host)
	if port == "22" {
		return host
	}
	return "[" + host + "]:" + port
}

// matches says whether an entry is about a host. A negated pattern wins.
func (k knownHost) matches(name string) bool {
	found := false
	for _, pattern := range k.patterns {
		negated := strings.HasPrefix(pattern, "!")
		if !matchHost(strings.TrimPrefix(pattern, "!"), name) {
			continue
		}
		if negated {
			return false
		}
		found = true
	}
	return found
}

func matchHost(pattern, name string) bool {
	if salted, ok := strings.CutPrefix(pattern, "|1|"); ok {
		salt64, hash64, _ := strings.Cut(salted, "|")
		salt, err1 := base64.StdEncoding.DecodeString(salt64)
		hash, err2 := base64.StdEncoding.DecodeString(hash64)
		if err1 != nil || err2 != nil {
			return false
		}
		mac := hmac.New(sha1.New, salt)
		mac.Write([]byte(name))
		return subtle.ConstantTimeCompare(mac.Sum(nil), hash) == 1
	}
	// A bracket is a literal here, but begins a class in path.Match; a slash
	// is in no host name.
	quote := strings.NewReplacer("[", `\[`, "]", `\]`, `\`, `\\`)
	ok, err := path.Match(quote.Replace(strings.ToLower(pattern)), name)
	return ok && err == nil
}

// algorithms are the host key algorithms to ask a server for: those of the keys
// that are known for it. Otherwise a server with several keys shows the one
// that it likes best, which may be one that nobody has written down.
func (k knownHosts) algorithms(name string) []string {
	var algorithms []string
	add := func(a ...string) {
		for _, a := range a {
			if !slices.Contains(algorithms, a) {
				algorithms = append(algorithms, a)
			}
		}
	}
	for _, h := range k {
		if h.marker == "revoked" || !h.matches(name) {
			continue
		}
		switch {
		case h.marker == "cert-authority":
			add(ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
				ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01)
		case h.key.Type() == ssh.KeyAlgoRSA:
			add(ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		default:
			add(h.key.Type())
		}
	}
	return algorithms
}

// check is the verdict on the key that a server showed.
func (k knownHosts) check(name string, key ssh.PublicKey) error {
	shown := key
	cert, isCert := key.(*ssh.Certificate)
	if isCert {
		shown = cert.SignatureKey
	}
	verdict := &HostKeyError{Host: name, Fingerprint: key.Type() + " " + ssh.FingerprintSHA256(key)}
	trusted := false
	for _, h := range k {
		if h.marker == "revoked" && (sameKey(h.key, shown) || isCert && sameKey(h.key, cert.Key)) {
			return &HostKeyError{Host: name, Fingerprint: verdict.Fingerprint, Revoked: true}
		}
		if h.marker == "revoked" || !h.matches(name) {
			continue
		}
		verdict.Mismatch = true
		if isCert == (h.marker == "cert-authority") && sameKey(h.key, shown) {
			trusted = true
		}
	}
	if !trusted {
		return verdict
	}
	if isCert {
		return k.checkCertificate(name, cert)
	}
	return nil
}

func (k knownHosts) checkCertificate(name string, cert *ssh.Certificate) error {
	// Principals are bare names, without a port.
	host := name
	if strings.HasPrefix(name, "[") {
		host = name[1:strings.LastIndex(name, "]")]
	}
	if cert.CertType != ssh.HostCert {
		return &HostKeyError{Host: name, Fingerprint: ssh.FingerprintSHA256(cert), Mismatch: true}
	}
	checker := &ssh.CertChecker{}
	if err := checker.CheckCert(host, cert); err != nil {
		return fmt.Errorf("%w (its certificate is not valid for it now)",
			&HostKeyError{Host: name, Fingerprint: ssh.FingerprintSHA256(cert), Mismatch: true})
	}
	return nil
}

func sameKey(a, b ssh.PublicKey) bool { return string(a.Marshal()) == string(b.Marshal()) }

// sshAddress returns where to dial, and the name in known_hosts.
func sshAddress(host, port string) (addr, name string) {
	if port == "" {
		port = "22"
	}
	return net.JoinHostPort(host, port), hostName(host, port)
}
