package git_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

func TestOpenRefuses(t *testing.T) {
	key, err := sshSigner(t).PrivateKey()
	require.NoError(t, err)
	web := git.Auth{Username: "u", Password: "p"}
	for name, tt := range map[string]struct {
		url  string
		opts git.Options
		want error
	}{
		"a password over plain HTTP": {"http://example.com/x", git.Options{Auth: web}, git.ErrInsecureCredentials},
		"on loopback too":            {"http://127.0.0.1/x", git.Options{Auth: web}, git.ErrInsecureCredentials},
		"a token over plain HTTP":    {"http://localhost/x", git.Options{Auth: git.Auth{BearerToken: "t"}}, git.ErrInsecureCredentials},
		"a user over plain HTTP":     {"http://localhost/x", git.Options{Auth: git.Auth{Username: "t"}}, git.ErrInsecureCredentials},
		"password and token":         {"https://example.com/x", git.Options{Auth: git.Auth{Password: "p", BearerToken: "t"}}, git.ErrInvalidAuth},
		"a line break":               {"https://example.com/x", git.Options{Auth: git.Auth{BearerToken: "t\n"}}, git.ErrInvalidAuth},
		"a colon in the user":        {"https://example.com/x", git.Options{Auth: git.Auth{Username: "a:b"}}, git.ErrInvalidAuth},
		"an SSH key over HTTPS":      {"https://example.com/x", git.Options{Auth: git.Auth{SSHKey: key}}, git.ErrInvalidAuth},
		"known hosts over HTTPS":     {"https://example.com/x", git.Options{Auth: git.Auth{KnownHosts: []byte("x")}}, git.ErrInvalidAuth},
		"a password over SSH":        {"ssh://git@example.com/x", git.Options{Auth: git.Auth{SSHKey: key, Password: "p"}}, git.ErrInvalidAuth},
		"no key over SSH":            {"ssh://git@example.com/x", git.Options{}, git.ErrInvalidAuth},
		"a key that is none":         {"ssh://git@example.com/x", git.Options{Auth: git.Auth{SSHKey: []byte("hunter2")}}, git.ErrInvalidAuth},
		"known hosts that are none":  {"ssh://git@example.com/x", git.Options{Auth: git.Auth{SSHKey: key, KnownHosts: []byte("hunter2")}}, git.ErrInvalidAuth},
		"a CA that is none":          {"https://example.com/x", git.Options{CABundle: []byte("hunter2")}, git.ErrInvalidAuth},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := git.Open(tt.url, tt.opts)
			require.ErrorIs(t, err, tt.want)
			require.True(t, terminal(t, err))
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

func TestHTTPAuth(t *testing.T) {
	f := newFixture(t)
	f.commit("main", files("a", "1"), nil)
	for name, tt := range map[string]struct {
		server gitserver.HTTPOptions
		auth   git.Auth
		want   error
	}{
		"basic":         {gitserver.HTTPOptions{Username: "u", Password: "p"}, git.Auth{Username: "u", Password: "p"}, nil},
		"wrong":         {gitserver.HTTPOptions{Username: "u", Password: "p"}, git.Auth{Username: "u", Password: "q"}, git.ErrAuthRefused},
		"none":          {gitserver.HTTPOptions{Username: "u", Password: "p"}, git.Auth{}, git.ErrAuthRequired},
		"bearer":        {gitserver.HTTPOptions{BearerToken: "t"}, git.Auth{BearerToken: "t"}, nil},
		"wrong bearer":  {gitserver.HTTPOptions{BearerToken: "t"}, git.Auth{BearerToken: "x"}, git.ErrAuthRefused},
		"not asked for": {gitserver.HTTPOptions{}, git.Auth{BearerToken: "x"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			server, err := gitserver.ServeHTTP(t.Context(), f.root, tt.server)
			require.NoError(t, err)
			defer server.Close()
			r := open(t, server.URL+"/repo.git", git.Options{Auth: tt.auth, InsecureCredentials: true})
			rev, err := r.Resolve(t.Context(), git.Ref{})
			if tt.want != nil {
				require.ErrorIs(t, err, tt.want)
				require.False(t, terminal(t, err))
				return
			}
			require.NoError(t, err)
			_, err = r.Fetch(t.Context(), rev, git.FetchOptions{})
			require.NoError(t, err)
		})
	}
}

func TestHTTPS(t *testing.T) {
	f := newFixture(t)
	f.commit("main", files("a", "1"), nil)
	handler, err := gitserver.HTTP(t.Context(), f.root, gitserver.HTTPOptions{Username: "u", Password: "p"})
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // the handshake that is to fail
	server.StartTLS()
	defer server.Close()

	s := snapshot(t, open(t, server.URL+"/repo.git", git.Options{CABundle: certificate(server), Auth: git.Auth{Username: "u", Password: "p"}}), git.Ref{})
	require.Equal(t, "main", s.Revision().Name)

	_, err = open(t, server.URL+"/repo.git", git.Options{}).Resolve(t.Context(), git.Ref{})
	require.ErrorIs(t, err, git.ErrUnreachable)
	require.ErrorContains(t, err, "certificate")
}

// certificate is what to trust to trust a server.
func certificate(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

func TestHTTPAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		kind   string
		body   string
		want   error
	}{
		"not found":     {404, "text/plain", "", git.ErrRepositoryNotFound},
		"forbidden":     {403, "text/plain", "", git.ErrAuthRefused},
		"broken":        {503, "text/plain", "", git.ErrUnreachable},
		"too many":      {429, "text/plain", "", git.ErrUnreachable},
		"teapot":        {418, "text/plain", "", git.ErrProtocol},
		"a web page":    {200, "text/html", "<html>", git.ErrProtocol},
		"dumb HTTP":     {200, "text/plain", strings.Repeat("0", 40) + "\trefs/heads/main\n", git.ErrProtocol},
		"nothing":       {200, advertised, "", git.ErrUnreachable},
		"half":          {200, advertised, "001e# service=git-upload-pack\n0000003", git.ErrUnreachable},
		"other service": {200, advertised, "001f# service=git-receive-pack\n0000", git.ErrProtocol},
		"an error":      {200, advertised, "001e# service=git-upload-pack\n0000" + pkt("ERR access denied or repository not exported"), git.ErrAuthRefused},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.kind)
				w.WriteHeader(tt.status)
				w.Write([]byte(tt.body))
			}))
			defer server.Close()
			_, err := open(t, server.URL+"/x", git.Options{}).Resolve(t.Context(), git.Ref{})
			require.ErrorIs(t, err, tt.want)
			var remote *git.RemoteError
			require.ErrorAs(t, err, &remote)
			require.Equal(t, server.URL+"/x", remote.URL)
		})
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	key, err := sshSigner(t).PrivateKey()
	require.NoError(t, err)
	for _, r := range []*git.Remote{
		open(t, "http://"+addr+"/x", git.Options{}),
		open(t, "https://"+addr+"/x", git.Options{}),
		open(t, "ssh://"+addr+"/x", git.Options{Auth: git.Auth{SSHKey: key}}),
		open(t, "https://no-such-host.invalid/x", git.Options{}),
	} {
		_, err := r.Resolve(t.Context(), git.Ref{})
		require.ErrorIs(t, err, git.ErrUnreachable, r.URL())
		require.False(t, terminal(t, err))
	}
}

func TestRepositoryNotFound(t *testing.T) {
	f := newFixture(t)
	for _, r := range []*git.Remote{
		open(t, f.http.URL+"/none.git", git.Options{}),
		open(t, f.ssh.URL+"/none.git", git.Options{Auth: f.sshAuth()}),
	} {
		_, err := r.Resolve(t.Context(), git.Ref{})
		require.ErrorIs(t, err, git.ErrRepositoryNotFound)
		require.False(t, terminal(t, err))
	}
}

func TestSSHKeys(t *testing.T) {
	f := newFixture(t)
	f.commit("main", files("a", "1"), nil)
	locked, err := os.ReadFile(filepath.Join("testdata", "locked_key"))
	require.NoError(t, err)
	unlocked, err := ssh.ParsePrivateKeyWithPassphrase(locked, []byte("open sesame"))
	require.NoError(t, err)
	server, err := gitserver.ServeSSH(t.Context(), f.root, gitserver.SSHOptions{Keys: []ssh.PublicKey{unlocked.PublicKey()}})
	require.NoError(t, err)
	defer server.Close()
	auth := git.Auth{SSHKey: locked, SSHPassphrase: []byte("open sesame"), KnownHosts: server.KnownHosts}
	snapshot(t, open(t, server.URL+"/repo.git", git.Options{Auth: auth}), git.Ref{})

	for _, passphrase := range []string{"", "wrong canary"} {
		auth.SSHPassphrase = []byte(passphrase)
		_, err = git.Open(server.URL+"/repo.git", git.Options{Auth: auth})
		require.ErrorIs(t, err, git.ErrInvalidAuth)
		require.Contains(t, strings.ToLower(err.Error()), "passphrase")
		require.NotContains(t, err.Error(), "canary")
	}

	other, err := sshSigner(t).PrivateKey()
	require.NoError(t, err)
	auth = git.Auth{SSHKey: other, KnownHosts: f.ssh.KnownHosts}
	_, err = open(t, f.ssh.URL+"/repo.git", git.Options{Auth: auth}).Resolve(t.Context(), git.Ref{})
	require.ErrorIs(t, err, git.ErrAuthRefused)
	require.ErrorContains(t, err, `user "git" in with the key SHA256:`)
}

func TestKnownHosts(t *testing.T) {
	f := newFixture(t)
	f.commit("main", files("a", "1"), nil)
	addr := strings.TrimPrefix(f.ssh.URL, "ssh://git@")
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	name := knownhosts.Normalize(addr)
	_, _, key, _, _, err := ssh.ParseKnownHosts(f.ssh.KnownHosts)
	require.NoError(t, err)
	stranger := sshSigner(t).Key()
	line := func(host string, key ssh.PublicKey) string {
		return knownhosts.Line([]string{host}, key) + "\n"
	}
	star := "[127.0.0.*]:" + port
	auth := f.sshAuth()
	for what, tt := range map[string]struct {
		known    string
		trusted  bool
		mismatch bool
		revoked  bool
	}{
		"right":            {line(name, key), true, false, false},
		"hashed":           {line(knownhosts.HashHostname(name), key), true, false, false},
		"pattern":          {"other," + star + " " + keyText(key), true, false, false},
		"one of two":       {line(name, stranger) + line(name, key), true, false, false},
		"comment":          {"# hosts\n\n" + strings.TrimSpace(line(name, key)) + " comment\n", true, false, false},
		"nothing":          {"", false, false, false},
		"other host":       {line("example.com", key), false, false, false},
		"other port":       {line("127.0.0.1", key), false, false, false},
		"negated":          {"!" + name + "," + star + " " + keyText(key), false, false, false},
		"other key":        {line(name, stranger), false, true, false},
		"hashed other key": {line(knownhosts.HashHostname(name), stranger), false, true, false},
		"revoked":          {line(name, key) + "@revoked * " + keyText(key), false, false, true},
		"a CA, not a key":  {"@cert-authority " + line(name, key), false, true, false},
	} {
		t.Run(what, func(t *testing.T) {
			auth.KnownHosts = []byte(tt.known)
			_, err := open(t, f.ssh.URL+"/repo.git", git.Options{Auth: auth}).Resolve(t.Context(), git.Ref{})
			if tt.trusted {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, git.ErrHostKey)
			require.True(t, terminal(t, err))
			var host *git.HostKeyError
			require.ErrorAs(t, err, &host)
			require.Equal(t, name, host.Host)
			require.Equal(t, tt.mismatch, host.Mismatch)
			require.Equal(t, tt.revoked, host.Revoked)
			if host.Fingerprint != "" {
				require.Contains(t, host.Fingerprint, ssh.FingerprintSHA256(key))
			}
		})
	}
}

func keyText(key ssh.PublicKey) string { return string(ssh.MarshalAuthorizedKey(key)) }

// A server with several keys shows the one that we know.
func TestKnownHostsSeveralAlgorithms(t *testing.T) {
	f := newFixture(t)
	f.commit("main", files("a", "1"), nil)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	server, err := gitserver.ServeSSH(t.Context(), f.root, gitserver.SSHOptions{
		Keys: []ssh.PublicKey{f.user.Key()}, HostKeys: []crypto.Signer{ed, ec, rs},
	})
	require.NoError(t, err)
	defer server.Close()
	auth := f.sshAuth()
	lines := bytes.SplitAfter(bytes.TrimSpace(server.KnownHosts), []byte("\n"))
	require.Len(t, lines, 3)
	for _, line := range lines {
		auth.KnownHosts = line
		_, err := open(t, server.URL+"/repo.git", git.Options{Auth: auth}).Resolve(t.Context(), git.Ref{})
		require.NoError(t, err, string(line))
	}
}

func TestKnownHostsCertificateAuthority(t *testing.T) {
	f := newFixture(t)
	f.commit("main", files("a", "1"), nil)
	_, authority, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	ca, err := ssh.NewSignerFromSigner(authority)
	require.NoError(t, err)
	auth := f.sshAuth()

	for what, tt := range map[string]struct {
		principal string
		kind      uint32
		expired   bool
		trusted   bool
	}{
		"right":       {"127.0.0.1", ssh.HostCert, false, true},
		"other host":  {"example.com", ssh.HostCert, false, false},
		"user's":      {"127.0.0.1", ssh.UserCert, false, false},
		"out of date": {"127.0.0.1", ssh.HostCert, true, false},
	} {
		t.Run(what, func(t *testing.T) {
			_, private, err := ed25519.GenerateKey(rand.Reader)
			require.NoError(t, err)
			signer, err := ssh.NewSignerFromSigner(private)
			require.NoError(t, err)
			cert := &ssh.Certificate{
				Key: signer.PublicKey(), CertType: tt.kind, ValidPrincipals: []string{tt.principal}, ValidBefore: ssh.CertTimeInfinity,
			}
			if tt.expired {
				cert.ValidBefore = 1_000_000
			}
			require.NoError(t, cert.SignCert(rand.Reader, ca))
			certified, err := ssh.NewCertSigner(cert, signer)
			require.NoError(t, err)
			addr := stuckSSH(t, certified)
			auth.KnownHosts = []byte("@cert-authority [127.0.0.1]:* " + keyText(ca.PublicKey()))
			_, err = open(t, "ssh://"+addr+"/repo.git", git.Options{Auth: auth}).Resolve(t.Context(), git.Ref{})
			require.Error(t, err)
			// The server lets nobody in, so that who trusts it gets that far.
			if tt.trusted {
				require.ErrorIs(t, err, git.ErrAuthRefused)
			} else {
				require.ErrorIs(t, err, git.ErrHostKey)
			}
		})
	}
}

// stuckSSH is an SSH server that lets nobody in.
func stuckSSH(t *testing.T, key ssh.Signer) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	config := &ssh.ServerConfig{
		PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
			return nil, net.ErrClosed
		},
	}
	config.AddHostKey(key)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _, _, _ = ssh.NewServerConn(conn, config)
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}
