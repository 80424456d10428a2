package git_test

import (
	"crypto"
	"crypto/dsa" //nolint:staticcheck // a key that is to be refused
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

// keyPairs are private keys of every type that can be used.
func keyPairs(t *testing.T) map[string]crypto.Signer {
	t.Helper()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	keys := map[string]crypto.Signer{"Ed25519": ed}
	for name, curve := range map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()} {
		keys[name], err = ecdsa.GenerateKey(curve, rand.Reader)
		require.NoError(t, err)
	}
	keys["RSA"], err = rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	return keys
}

// sshKey is a private key in OpenSSH's format, and its public one.
func sshKey(t *testing.T, key crypto.Signer) ([]byte, ssh.Signer) {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(key, "")
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromSigner(key)
	require.NoError(t, err)
	return pem.EncodeToMemory(block), signer
}

// userCert is a certificate for user git, valid until then.
func userCert(t *testing.T, ca ssh.Signer, key ssh.PublicKey, kind uint32, until uint64, names ...string) []byte {
	t.Helper()
	cert := &ssh.Certificate{Key: key, CertType: kind, ValidPrincipals: names, ValidBefore: until}
	require.NoError(t, cert.SignCert(rand.Reader, ca))
	return ssh.MarshalAuthorizedKey(cert)
}

func TestSSHKeyTypes(t *testing.T) {
	f := newFixture(t)
	f.commit("main", files("a", "1"), nil)
	_, ca := sshKey(t, keyPairs(t)["Ed25519"])
	for name, key := range keyPairs(t) {
		private, signer := sshKey(t, key)
		server, err := gitserver.ServeSSH(t.Context(), f.root, gitserver.SSHOptions{Keys: []ssh.PublicKey{signer.PublicKey()}})
		require.NoError(t, err)
		defer server.Close()
		certified, err := gitserver.ServeSSH(t.Context(), f.root, gitserver.SSHOptions{Authorities: []ssh.PublicKey{ca.PublicKey()}})
		require.NoError(t, err)
		defer certified.Close()
		t.Run(name, func(t *testing.T) {
			pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
			require.NoError(t, err)
			other := git.Auth{SSHKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), KnownHosts: server.KnownHosts}
			snapshot(t, open(t, server.URL+"/repo.git", git.Options{Auth: other}), git.Ref{})
			snapshot(t, open(t, server.URL+"/repo.git", git.Options{Auth: git.Auth{SSHKey: private, KnownHosts: server.KnownHosts}}), git.Ref{})
		})
		t.Run(name+" with a certificate", func(t *testing.T) {
			auth := git.Auth{SSHKey: private, KnownHosts: certified.KnownHosts}
			_, err := open(t, certified.URL+"/repo.git", git.Options{Auth: auth}).Resolve(t.Context(), git.Ref{})
			require.ErrorIs(t, err, git.ErrAuthRefused)
			auth.SSHCertificate = userCert(t, ca, signer.PublicKey(), ssh.UserCert, ssh.CertTimeInfinity, "git")
			snapshot(t, open(t, certified.URL+"/repo.git", git.Options{Auth: auth}), git.Ref{})
			auth.SSHCertificate = userCert(t, ca, signer.PublicKey(), ssh.UserCert, ssh.CertTimeInfinity, "somebody")
			_, err = open(t, certified.URL+"/repo.git", git.Options{Auth: auth}).Resolve(t.Context(), git.Ref{})
			require.ErrorIs(t, err, git.ErrAuthRefused)
		})
	}
}

func TestOpenRefusesSSHKeys(t *testing.T) {
	private, signer := sshKey(t, keyPairs(t)["Ed25519"])
	_, ca := sshKey(t, keyPairs(t)["Ed25519"])
	rounds, err := os.ReadFile(filepath.Join("testdata", "locked_key"))
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		auth git.Auth
		says string
	}{
		"DSA":                         {git.Auth{SSHKey: dsaKey(t)}, "DSA"},
		"enormous":                    {git.Auth{SSHKey: make([]byte, 20<<10)}, "larger than 16384 bytes"},
		"rounds for years":            {git.Auth{SSHKey: withRounds(t, rounds, 1<<31), SSHPassphrase: []byte("open sesame")}, "ssh-keygen -p"},
		"a certificate without a key": {git.Auth{SSHCertificate: userCert(t, ca, signer.PublicKey(), ssh.UserCert, ssh.CertTimeInfinity)}, "Auth.SSHKey"},
		"a certificate that is none":  {git.Auth{SSHKey: private, SSHCertificate: []byte("canary")}, "not an OpenSSH user certificate"},
		"a public key":                {git.Auth{SSHKey: private, SSHCertificate: ssh.MarshalAuthorizedKey(signer.PublicKey())}, "not an OpenSSH user certificate"},
		"a host's":                    {git.Auth{SSHKey: private, SSHCertificate: userCert(t, ca, signer.PublicKey(), ssh.HostCert, ssh.CertTimeInfinity)}, "not an OpenSSH user certificate"},
		"expired":                     {git.Auth{SSHKey: private, SSHCertificate: userCert(t, ca, signer.PublicKey(), ssh.UserCert, 1_000_000)}, "expired"},
		"of another key":              {git.Auth{SSHKey: private, SSHCertificate: userCert(t, ca, ca.PublicKey(), ssh.UserCert, ssh.CertTimeInfinity)}, "another key"},
		"a user that is an option":    {git.Auth{SSHKey: private, Username: "-oProxyCommand=canary"}, "dash"},
		"a user in two lines":         {git.Auth{SSHKey: private, Username: "a\ncanary"}, "control character"},
		"a token":                     {git.Auth{SSHKey: private, BearerToken: "canary"}, "not a password or token"},
		"an app":                      {git.Auth{SSHKey: private, GitHubApp: &git.GitHubApp{}}, "not a password or token"},
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			_, err := git.Open("ssh://example.com/x", git.Options{Auth: tt.auth})
			require.ErrorIs(t, err, git.ErrInvalidAuth)
			require.ErrorContains(t, err, tt.says)
			require.NotContains(t, err.Error(), "canary")
			require.Less(t, time.Since(begin), time.Minute)
		})
	}
}

// withRounds changes how often the key derivation of a key goes round.
func withRounds(t *testing.T, key []byte, n uint32) []byte {
	t.Helper()
	block, _ := pem.Decode(key)
	require.NotNil(t, block)
	const magic = "openssh-key-v1\x00"
	var head struct {
		Cipher, KDF, Options string
		Rest                 []byte `ssh:"rest"`
	}
	require.NoError(t, ssh.Unmarshal(block.Bytes[len(magic):], &head))
	var options struct {
		Salt   string
		Rounds uint32
	}
	require.NoError(t, ssh.Unmarshal([]byte(head.Options), &options))
	options.Rounds = n
	head.Options = string(ssh.Marshal(options))
	block.Bytes = append([]byte(magic), ssh.Marshal(head)...)
	return pem.EncodeToMemory(block)
}

func dsaKey(t *testing.T) []byte {
	t.Helper()
	var key dsa.PrivateKey
	require.NoError(t, dsa.GenerateParameters(&key.Parameters, rand.Reader, dsa.L1024N160))
	require.NoError(t, dsa.GenerateKey(&key, rand.Reader))
	der, err := asn1.Marshal(struct {
		Version       int
		P, Q, G, Y, X *big.Int
	}{0, key.P, key.Q, key.G, key.Y, key.X})
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "DSA PRIVATE KEY", Bytes: der})
}

// A server that talks for ever before it lets anyone in is not listened to for
// ever.
func TestAttackSSHTalk(t *testing.T) {
	private, _ := sshKey(t, keyPairs(t)["Ed25519"])
	// A packet that is to be ignored: its length, that of the padding, its type
	// and text, and the padding.
	text := strings.Repeat("c4n4ry ", 1000)
	payload := ssh.Marshal(struct {
		Text string `sshtype:"2"`
	}{text})
	padding := 16 - (5+len(payload))%8
	packet := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)+padding))
	packet = append(append(append(packet, byte(padding)), payload...), make([]byte, padding)...)
	for name, tt := range map[string]struct{ first, then, says string }{
		"lines before the version":       {"", "hello\r\n", ""},
		"one line":                       {"SSH-2.0-", "hello", ""},
		"packets that are to be ignored": {"SSH-2.0-x\r\n", string(packet), "too much"},
	} {
		t.Run(name, func(t *testing.T) {
			addr := listen(t, func(conn net.Conn) { pourOut(conn, tt.first, tt.then) })
			begin := time.Now()
			_, err := open(t, "ssh://"+addr+"/x", git.Options{Auth: git.Auth{SSHKey: private}}).Resolve(t.Context(), git.Ref{})
			require.ErrorIs(t, err, git.ErrUnreachable)
			require.ErrorContains(t, err, tt.says)
			require.Less(t, time.Since(begin), time.Minute)
		})
	}
}

// The real server of OpenSSH, where there is one.
func TestOpenSSHServer(t *testing.T) {
	sshd := findSSHD(t)
	f := newFixture(t)
	f.commit("main", files("a", "1"), nil)
	me, err := user.Current()
	require.NoError(t, err)
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		return path
	}
	var config, authorized strings.Builder
	var known []byte
	hosts := keyPairs(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	for name, key := range hosts {
		private, signer := sshKey(t, key)
		fmt.Fprintf(&config, "HostKey %s\n", write("host_"+name, private))
		known = append(known, knownhosts.Line([]string{knownhosts.HashHostname(knownhosts.Normalize(addr))}, signer.PublicKey())+"\n"...)
	}
	users := keyPairs(t)
	for _, key := range users {
		_, signer := sshKey(t, key)
		authorized.WriteString("restrict " + keyText(signer.PublicKey()))
	}
	_, ca := sshKey(t, keyPairs(t)["Ed25519"])
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	fmt.Fprintf(&config, "Port %s\nListenAddress 127.0.0.1\nAuthorizedKeysFile %s\nTrustedUserCAKeys %s\nStrictModes no\nUsePAM no\nPidFile none\n",
		port, write("authorized", []byte(authorized.String())), write("ca", []byte(keyText(ca.PublicKey()))))
	startSSHD(t, sshd, write("config", []byte(config.String())), addr)

	url := "ssh://" + me.Username + "@" + addr + filepath.ToSlash(f.root) + "/repo.git"
	for name, key := range users {
		private, _ := sshKey(t, key)
		snapshot(t, open(t, url, git.Options{Auth: git.Auth{SSHKey: private, KnownHosts: known}}), git.Ref{})
		stranger, signer := sshKey(t, keyPairs(t)[name])
		_, err := open(t, url, git.Options{Auth: git.Auth{SSHKey: stranger, KnownHosts: known}}).Resolve(t.Context(), git.Ref{})
		require.ErrorIs(t, err, git.ErrAuthRefused)
		cert := userCert(t, ca, signer.PublicKey(), ssh.UserCert, ssh.CertTimeInfinity, me.Username)
		snapshot(t, open(t, url, git.Options{Auth: git.Auth{SSHKey: stranger, SSHCertificate: cert, KnownHosts: known}}), git.Ref{})
	}
	private, _ := sshKey(t, users["Ed25519"])
	for _, line := range strings.SplitAfter(strings.TrimSpace(string(known)), "\n") {
		_, err := open(t, url, git.Options{Auth: git.Auth{SSHKey: private, KnownHosts: []byte(line)}}).Resolve(t.Context(), git.Ref{})
		require.NoError(t, err, line)
	}
	_, err = open(t, url+"none", git.Options{Auth: git.Auth{SSHKey: private, KnownHosts: known}}).Resolve(t.Context(), git.Ref{})
	require.ErrorIs(t, err, git.ErrRepositoryNotFound)
	for _, scheme := range []string{"http", "socks5"} {
		p := serveProxy(t, gitserver.ProxyOptions{})
		snapshot(t, open(t, url, git.Options{Auth: git.Auth{SSHKey: private, KnownHosts: known}, Proxy: git.Proxy{URL: scheme + "://" + p.Addr}}), git.Ref{})
		require.Contains(t, p.Targets(), addr)
	}
}

func findSSHD(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"sshd", "/usr/sbin/sshd", "/usr/local/sbin/sshd"} {
		if path, err := exec.LookPath(name); err == nil {
			if path, err = filepath.Abs(path); err == nil {
				return path
			}
		}
	}
	t.Skip("there is no sshd here")
	return ""
}

func startSSHD(t *testing.T, sshd, config, addr string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), sshd, "-t", "-f", config).CombinedOutput(); err != nil {
		t.Skipf("sshd does not run here: %s", out)
	}
	cmd := exec.CommandContext(t.Context(), sshd, "-D", "-e", "-f", config)
	var log strings.Builder
	cmd.Stderr = &log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	}, 10*time.Second, 20*time.Millisecond)
}
