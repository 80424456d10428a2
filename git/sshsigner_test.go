package git_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"io"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

// softKey signs as a security key does (OpenSSH's PROTOCOL.u2f).
type softKey struct {
	public  ssh.PublicKey
	private crypto.Signer
	flags   byte // 1: it was touched
	format  string
}

func newSoftKey(t *testing.T, private crypto.Signer, flags byte) *softKey {
	t.Helper()
	const application = "ssh:git"
	var blob []byte
	switch public := private.Public().(type) {
	case ed25519.PublicKey:
		blob = ssh.Marshal(struct{ Type, Key, Application string }{ssh.KeyAlgoSKED25519, string(public), application})
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		require.NoError(t, err)
		blob = ssh.Marshal(struct{ Type, Curve, Key, Application string }{ssh.KeyAlgoSKECDSA256, "nistp256", string(point), application})
	}
	key, err := ssh.ParsePublicKey(blob)
	require.NoError(t, err)
	return &softKey{key, private, flags, key.Type()}
}

func (k *softKey) PublicKey() ssh.PublicKey { return k.public }

func (k *softKey) Sign(random io.Reader, data []byte) (*ssh.Signature, error) {
	scope, digest := sha256.Sum256([]byte("ssh:git")), sha256.Sum256(data)
	fields := []byte{k.flags, 0, 0, 0, 7}
	message := append(append(scope[:], fields...), digest[:]...)
	sig := &ssh.Signature{Format: k.format, Rest: fields}
	var err error
	switch private := k.private.(type) {
	case ed25519.PrivateKey:
		sig.Blob = ed25519.Sign(private, message)
	case *ecdsa.PrivateKey:
		sum := sha256.Sum256(message)
		var r, s *big.Int
		if r, s, err = ecdsa.Sign(random, private, sum[:]); err == nil {
			sig.Blob = ssh.Marshal(struct{ R, S *big.Int }{r, s})
		}
	}
	return sig, err
}

func sshPlain(t *testing.T, key any) ssh.Signer {
	t.Helper()
	signer, err := ssh.NewSignerFromKey(key)
	require.NoError(t, err)
	return signer
}

func newEd25519(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return sshPlain(t, private)
}

// certify makes a certificate for a year from 2023-07-01 for a key, with some
// change, and what signs with it.
func certify(t *testing.T, ca, key ssh.Signer, change func(*ssh.Certificate)) *gitserver.SSHSigner {
	t.Helper()
	cert := &ssh.Certificate{
		Key: key.PublicKey(), KeyId: "laptop of dev", Serial: 1, CertType: ssh.UserCert,
		ValidPrincipals: []string{"dev@example.com", "admin@example.com"},
		ValidAfter:      uint64(time.Date(2023, 7, 1, 0, 0, 0, 0, time.UTC).Unix()),
		ValidBefore:     uint64(time.Date(2024, 7, 1, 0, 0, 0, 0, time.UTC).Unix()),
	}
	if change != nil {
		change(cert)
	}
	require.NoError(t, cert.SignCert(rand.Reader, ca))
	return withCertificate(t, cert, key)
}

func withCertificate(t *testing.T, cert *ssh.Certificate, key ssh.Signer) *gitserver.SSHSigner {
	t.Helper()
	signer, err := ssh.NewCertSigner(cert, key)
	require.NoError(t, err)
	return gitserver.SSHSignerOf(signer, "")
}

func TestVerifySSHAsGit(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	shortRSA, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	curve := func(c elliptic.Curve) *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(c, rand.Reader)
		require.NoError(t, err)
		return key
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	dev, other := newEd25519(t), newEd25519(t)
	sign := func(s ssh.Signer) *gitserver.SSHSigner { return gitserver.SSHSignerOf(s, "") }
	with := func(s ssh.Signer, change func(*gitserver.SSHSigner)) *gitserver.SSHSigner {
		signer := sign(s)
		change(signer)
		return signer
	}
	const me = "dev@example.com"
	line := func(front string, key ssh.Signer) []string {
		return []string{front + " " + strings.TrimSpace(keyText(key.PublicKey()))}
	}
	edSK, edSKNoTouch, ecSK := newSoftKey(t, edKey, 1), newSoftKey(t, edKey, 0), newSoftKey(t, curve(elliptic.P256()), 1)
	brokenSK := &softKey{edSK.public, newEdKey(t), 1, edSK.format}
	misnamed := &softKey{edSK.public, edKey, 1, ssh.KeyAlgoED25519}

	var cases []signatureCase
	for name, s := range map[string]ssh.Signer{
		"ed25519": dev, "rsa": sshPlain(t, rsaKey), "ecdsa 256": sshPlain(t, curve(elliptic.P256())),
		"ecdsa 384": sshPlain(t, curve(elliptic.P384())), "ecdsa 521": sshPlain(t, curve(elliptic.P521())),
		"security key ed25519": edSK, "security key ecdsa": ecSK, "security key not touched": edSKNoTouch,
	} {
		cases = append(cases, signatureCase{name: name, signer: sign(s), keys: line(me, s), by: me})
	}
	at := func(year, month, d int) time.Time { return time.Date(year, time.Month(month), d, 0, 0, 0, 0, time.UTC) }
	checkSignatures(t, append(cases, []signatureCase{
		{name: "rsa sha2-256", signer: with(sshPlain(t, rsaKey), func(s *gitserver.SSHSigner) { s.Algorithm = ssh.KeyAlgoRSASHA256 }), keys: line(me, sshPlain(t, rsaKey))},
		{name: "rsa sha1", signer: with(sshPlain(t, rsaKey), func(s *gitserver.SSHSigner) { s.Algorithm = ssh.KeyAlgoRSA }), keys: line(me, sshPlain(t, rsaKey)), want: git.ErrBadSignature},
		{name: "short rsa", signer: sign(sshPlain(t, shortRSA)), keys: line(me, sshPlain(t, shortRSA)), want: git.ErrInvalidKeys,
			differs: "RSA of 1024 bits can be broken"},
		{name: "security key of another", signer: sign(brokenSK), keys: line(me, edSK), want: git.ErrBadSignature},
		{name: "security key by another type", signer: sign(misnamed), keys: line(me, edSK), want: git.ErrBadSignature},
		{name: "valid until a time in UTC", signer: sign(dev), at: at(2024, 3, 1), keys: line(me+` valid-before="20240301utc"`, dev)},
		{name: "unknown key", signer: sign(dev), keys: line(me, other), want: git.ErrUnknownKey},
		{name: "another namespace", signer: with(dev, func(s *gitserver.SSHSigner) { s.Namespace = "file" }), keys: line(me, dev), want: git.ErrBadSignature},
		{name: "second line", signer: sign(dev), keys: append(line("other@example.com", other), line(me, dev)...), by: me},
		{name: "second line of the key", signer: sign(dev), keys: append(line(`old@example.com valid-before="20200101"`, dev), line(me, dev)...), by: me},
		{name: "second line of the key for git", signer: sign(dev), keys: append(line(`old@example.com namespaces="file"`, dev), line(me, dev)...), by: me,
			looser: "git finds the first line, asks about its principal, and looks no further"},
		{name: "two principals", signer: sign(dev), keys: line("dev@example.com,dev@example.org", dev), by: "dev@example.com,dev@example.org"},
		{name: "quoted principals", signer: sign(dev), keys: line(`"dev@example.com,dev@example.org"`, dev), by: "dev@example.com,dev@example.org"},
		{name: "pattern", signer: sign(dev), keys: line("*@example.com", dev), by: "*@example.com"},
		{name: "pattern with exception", signer: sign(dev), keys: line("!root@example.com,*@example.com", dev), by: "*@example.com"},
		{name: "pattern that excludes itself", signer: sign(dev), keys: line("*@example.com,!*@example.com", dev), want: git.ErrInvalidKeys},
		{name: "only exceptions", signer: sign(dev), keys: line("!root@example.com", dev), want: git.ErrInvalidKeys},
		{name: "namespace", signer: sign(dev), keys: line(me+` namespaces="file,git"`, dev)},
		{name: "namespace pattern", signer: sign(dev), keys: line(me+` namespaces="g?t*"`, dev)},
		{name: "other namespaces", signer: sign(dev), keys: line(me+` namespaces="file"`, dev), want: git.ErrUnknownKey},
		{name: "namespaces with a blank", signer: sign(dev), keys: line(me+` namespaces="file, git"`, dev), want: git.ErrUnknownKey},
		{name: "namespaces but git", signer: sign(dev), keys: line(me+` namespaces="*,!git"`, dev), want: git.ErrUnknownKey},
		{name: "valid", signer: sign(dev), at: at(2024, 2, 1), keys: line(me+` VALID-AFTER="20240201",valid-before="20240301Z"`, dev)},
		{name: "valid to the second", signer: sign(dev), at: at(2024, 3, 1), keys: line(me+` valid-before="20240301"`, dev)},
		{name: "expired", signer: sign(dev), at: at(2024, 3, 1), keys: line(me+` valid-before="20240229235959Z"`, dev), want: git.ErrExpired},
		{name: "not yet valid", signer: sign(dev), at: at(2024, 1, 31), keys: line(me+` valid-after="202401310001"`, dev), want: git.ErrExpired},
		{name: "no time is now", signer: sign(dev), at: at(1970, 1, 1), keys: line(me+` valid-after="20240101"`, dev)},
		{name: "no time is not then", signer: sign(dev), at: at(1970, 1, 1), keys: line(me+` valid-before="20240101"`, dev), want: git.ErrExpired},
	}...))
}

func newEdKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return key
}

func TestVerifySSHCertificatesAsGit(t *testing.T) {
	ca, otherCA, dev := newEd25519(t), newEd25519(t), newEd25519(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	rsaSigner := sshPlain(t, rsaKey)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	shortRSA, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	sha1CA := sha1Signer{rsaSigner.(ssh.AlgorithmSigner)}

	skCA := newSoftKey(t, newEdKey(t), 0)

	good := certify(t, ca, dev, nil)
	cert := func(change func(*ssh.Certificate)) *gitserver.SSHSigner { return certify(t, ca, dev, change) }
	trust := func(front string, key ssh.Signer) []string {
		return []string{front + " " + strings.TrimSpace(keyText(key.PublicKey()))}
	}
	const authority = "*@example.com cert-authority"
	at := func(year, month, d int) time.Time { return time.Date(year, time.Month(month), d, 0, 0, 0, 0, time.UTC) }

	checkSignatures(t, []signatureCase{
		{name: "good", signer: good, keys: trust(authority, ca), by: "dev@example.com,admin@example.com"},
		{name: "one principal", signer: good, keys: trust("dev@example.com cert-authority", ca), by: "dev@example.com"},
		{name: "a principal excluded", signer: good, keys: trust("!dev@example.com,*@example.com cert-authority", ca), by: "admin@example.com"},
		{name: "in capitals", signer: good, keys: trust(`*@example.com CERT-AUTHORITY,namespaces="git"`, ca)},
		{name: "rsa", signer: certify(t, ca, rsaSigner, nil), keys: trust(authority, ca)},
		{name: "ecdsa", signer: certify(t, ca, sshPlain(t, p256), nil), keys: trust(authority, ca)},
		{name: "rsa authority", signer: certify(t, sha2Signer(t, rsaSigner), dev, nil), keys: trust(authority, rsaSigner)},
		{name: "security key", signer: certify(t, ca, newSoftKey(t, newEdKey(t), 1), nil), keys: trust(authority, ca)},
		{name: "authority on a security key", signer: certify(t, skCA, dev, nil), keys: trust(authority, skCA)},
		{name: "extensions", signer: cert(func(c *ssh.Certificate) { c.Extensions = map[string]string{"permit-pty": ""} }), keys: trust(authority, ca)},
		{name: "for ever", signer: cert(func(c *ssh.Certificate) { c.ValidAfter, c.ValidBefore = 0, ssh.CertTimeInfinity }), keys: trust(authority, ca)},
		{name: "beside the plain key", signer: good, keys: append(trust("dev@example.com", dev), trust(authority, ca)...)},

		{name: "another authority", signer: good, keys: trust(authority, otherCA), want: git.ErrUnknownKey},
		{name: "other principals", signer: good, keys: trust("*@example.org cert-authority", ca), want: git.ErrUnknownKey},
		{name: "all principals excluded", signer: good, keys: trust("!dev@example.com,!admin@*,*@example.com cert-authority", ca), want: git.ErrUnknownKey},
		{name: "no principals", signer: cert(func(c *ssh.Certificate) { c.ValidPrincipals = nil }), keys: trust(authority, ca), want: git.ErrUnknownKey},
		{name: "a principal with a comma", signer: cert(func(c *ssh.Certificate) { c.ValidPrincipals = []string{"dev,root@example.com"} }), keys: trust(authority, ca), want: git.ErrUnknownKey},
		{name: "other namespaces", signer: good, keys: trust(authority+`,namespaces="file"`, ca), want: git.ErrUnknownKey},
		{name: "first second", signer: good, at: at(2023, 7, 1), keys: trust(authority, ca)},
		{name: "too early", signer: good, at: at(2023, 7, 1).Add(-time.Second), keys: trust(authority, ca), want: git.ErrExpired},
		{name: "last second", signer: good, at: at(2024, 7, 1).Add(-time.Second), keys: trust(authority, ca)},
		{name: "too late", signer: good, at: at(2024, 7, 1), keys: trust(authority, ca), want: git.ErrExpired},
		{name: "no time is now", signer: good, at: at(1970, 1, 1), keys: trust(authority, ca), want: git.ErrExpired},
		{name: "authority expired", signer: good, keys: trust(authority+`,valid-before="20231231"`, ca), want: git.ErrExpired},
		{name: "authority not yet valid", signer: good, keys: trust(authority+`,valid-after="20240102"`, ca), want: git.ErrExpired},

		{name: "critical option", signer: cert(func(c *ssh.Certificate) { c.CriticalOptions = map[string]string{"force-command": "/bin/false"} }),
			keys: trust(authority, ca), want: git.ErrUnsupportedSignature, differs: "the option restricts the certificate to another use"},
		{name: "short rsa", signer: certify(t, ca, sshPlain(t, shortRSA), nil),
			keys: trust(authority, ca), want: git.ErrWeakSignature, differs: "RSA of 1024 bits can be broken"},
		{name: "certificate over sha1", signer: certify(t, sha1CA, dev, nil),
			keys: trust(authority, rsaSigner), want: git.ErrWeakSignature, differs: "two texts of one SHA-1 can be made"},
	})
}

// An answer about a certificate names the key, the authority and what it calls
// the key; so does a refusal.
func TestVerifySSHCertificateNames(t *testing.T) {
	f := newFixture(t)
	ca, dev := newEd25519(t), newEd25519(t)
	f.commit("main", files("a", "1"), certify(t, ca, dev, nil))
	s := snapshot(t, f.remote(), git.Ref{})
	v, err := verifyWith(t, s, []string{"dev@* cert-authority " + keyText(ca.PublicKey())}, git.ModeHead)
	require.NoError(t, err)
	require.Equal(t, git.Signature{
		Object: "commit", Hash: s.Commit().Hash, Format: "ssh", Fingerprint: ssh.FingerprintSHA256(dev.PublicKey()),
		Signer: "dev@example.com", CA: ssh.FingerprintSHA256(ca.PublicKey()), KeyID: "laptop of dev",
	}, v.Signatures[0])
	require.Contains(t, v.String(), `signed by dev@example.com (ssh `+ssh.FingerprintSHA256(dev.PublicKey())+
		`, certified as "laptop of dev" by `+ssh.FingerprintSHA256(ca.PublicKey()))

	_, err = verifyWith(t, s, []string{"dev@example.com " + keyText(dev.PublicKey())}, git.ModeHead)
	require.ErrorIs(t, err, git.ErrUnknownKey)
	require.ErrorContains(t, err, ssh.FingerprintSHA256(dev.PublicKey()))
	require.ErrorContains(t, err, ssh.FingerprintSHA256(ca.PublicKey()))
	require.ErrorContains(t, err, "cert-authority")
}

// sha1Signer certifies with RSA over SHA-1, as old authorities did.
type sha1Signer struct{ ssh.AlgorithmSigner }

func (s sha1Signer) SignWithAlgorithm(random io.Reader, data []byte, _ string) (*ssh.Signature, error) {
	return s.AlgorithmSigner.SignWithAlgorithm(random, data, ssh.KeyAlgoRSA)
}

func sha2Signer(t *testing.T, s ssh.Signer) ssh.Signer {
	t.Helper()
	multi, err := ssh.NewSignerWithAlgorithms(s.(ssh.AlgorithmSigner), []string{ssh.KeyAlgoRSASHA512})
	require.NoError(t, err)
	return multi
}
