package git_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/gitopskit/gitopskit/git"
)

const canary = `c4n4ry"\ü/+=%`

// everySecret are options with a canary in every field that is secret, for each
// way to log in.
func everySecret(t *testing.T, g *github) map[string]git.Options {
	t.Helper()
	a := authority(t)
	base := client(t, a)
	base.InsecureCredentials = true
	options := map[string]git.Options{}
	for name, auth := range map[string]git.Auth{
		"password": {Username: "u", Password: canary},
		"bearer":   {BearerToken: canary},
		"token": {Token: func(context.Context) (git.Token, error) {
			return git.Token{Username: "u", Password: canary, Expires: time.Now().Add(time.Hour)}, nil
		}},
		"a broken hook": {Token: func(context.Context) (git.Token, error) {
			return git.Token{Password: canary}, nil
		}},
		"app": {GitHubApp: g.app()},
	} {
		opts := base
		opts.Auth = auth
		options[name] = opts
	}
	return options
}

// Whatever goes wrong, and whoever repeats what it was sent: no error holds a
// part of a secret.
func TestAttackCanary(t *testing.T) {
	g := newGitHub(t)
	basic := base64.StdEncoding.EncodeToString([]byte("u:" + canary))
	echo := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, words, _ := strings.Cut(req.Header.Get("Authorization"), " ")
		_, password, _ := req.BasicAuth()
		sent := req.Header.Get("Authorization") + " " + password
		switch req.URL.Path {
		case "/org/message/info/refs":
			w.Header().Set("Content-Type", advertised)
			io.WriteString(w, pkt("# service=git-upload-pack\n")+"0000"+pkt("ERR "+sent))
		case "/org/cut/info/refs": // so that an error of 200 bytes ends inside of it
			w.Header().Set("Content-Type", advertised)
			io.WriteString(w, pkt("# service=git-upload-pack\n")+"0000"+pkt("ERR "+strings.Repeat("x", 190)+words))
		case "/org/quoted/info/refs":
			w.Header().Set("Content-Type", password+" "+words)
		case "/org/moved/info/refs":
			w.Header().Set("Location", "https://"+words+"/x?"+words)
			w.WriteHeader(http.StatusFound)
		default:
			http.Error(w, sent, http.StatusUnauthorized)
		}
	}))
	defer echo.Close()
	for name, opts := range everySecret(t, g) {
		opts.CABundle = certificate(echo)
		for _, path := range []string{"/org/message", "/org/cut", "/org/quoted", "/org/moved", "/org/refused"} {
			for _, proxied := range []bool{false, true} {
				t.Run(fmt.Sprint(name, path, proxied), func(t *testing.T) {
					opts := opts
					if proxied {
						addr := listen(t, func(conn net.Conn) {
							io.WriteString(conn, "HTTP/1.1 407 "+canary+"\r\n\r\n"+basic)
							_, _ = conn.Read(make([]byte, 4096))
						})
						opts.Proxy = git.Proxy{URL: "http://" + addr, Username: "u", Password: canary}
					}
					r := open(t, echo.URL+path, opts)
					_, err := r.Resolve(t.Context(), git.Ref{Branch: "main"})
					requireNoSecret(t, err, g)
					ctx, cancel := context.WithCancelCause(t.Context())
					cancel(errors.New("stopped"))
					_, err = r.Resolve(ctx, git.Ref{Branch: "main"})
					requireNoSecret(t, err, g)
				})
			}
		}
	}
}

func requireNoSecret(t *testing.T, err error, g *github) {
	t.Helper()
	require.Error(t, err)
	g.mu.Lock()
	defer g.mu.Unlock()
	secrets := []string{"c4n4ry", "4ry", base64.StdEncoding.EncodeToString([]byte("u:c4n4ry"))[:8], "ghs_", "PRIVATE KEY"}
	for _, token := range append(g.jwts, base64.StdEncoding.EncodeToString([]byte("x-access-token:"))[:12]) {
		secrets = append(secrets, token[:min(len(token), 12)])
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		for _, secret := range secrets {
			for _, text := range []string{e.Error(), fmt.Sprintf("%+v", e), fmt.Sprintf("%q", e)} {
				require.NotContains(t, text, secret)
			}
		}
	}
}

// The address is split into a user, a host, a port and a path, none of which is
// ever an option or more than one word for a shell.
func TestAttackSSHInjection(t *testing.T) {
	key, err := sshSigner(t).PrivateKey()
	require.NoError(t, err)
	for _, url := range []string{
		"ssh://-oProxyCommand=touch%20x/y", "ssh://-oProxyCommand=x@host/y", "ssh://%2doProxyCommand@host/y",
		"ssh://git@host:-1/y", "ssh://git@host:0/y", "ssh://git@host:70000/y", "ssh://git@host:22x/y",
		"ssh://git@host/a%0ab", "ssh://git@host/a%0db", "ssh://git@host/a%1bb", "ssh://git@host/a%00b", "ssh://gi%0at@host/y",
		"ssh://git@ho%0ast/y", "ssh://git@host'/y", "https://example.com:0/x", "https://example.com/a%0d%0aHost:%20x",
	} {
		_, err := git.Open(url, git.Options{Auth: git.Auth{SSHKey: key}})
		require.ErrorIs(t, err, git.ErrInvalidURL, url)
	}
	_, host := sshKey(t, keyPairs(t)["Ed25519"])
	commands := make(chan string, 1)
	addr := listen(t, func(conn net.Conn) { record(conn, host, commands) })
	for path, want := range map[string]string{
		"/-oProxyCommand=x":         `git-upload-pack '/-oProxyCommand=x'`,
		"/it's":                     `git-upload-pack '/it'\''s'`,
		"/'%3btouch%20x%3b'":        `git-upload-pack '/'\'';touch x;'\'''`,
		"/a!b":                      `git-upload-pack '/a'\!'b'`,
		"/$(x)%60x%60%22":           "git-upload-pack '/$(x)`x`\"'",
		"/~git/x":                   `git-upload-pack '~git/x'`,
		"//--upload-pack=x":         `git-upload-pack '//--upload-pack=x'`,
		"/a%20--exec=b%20%26%20%7c": `git-upload-pack '/a --exec=b & |'`,
	} {
		opts := git.Options{Engine: git.EngineFast, Auth: git.Auth{SSHKey: key, KnownHosts: []byte("[127.0.0.1]:* " + keyText(host.PublicKey()))}}
		_, err := open(t, "ssh://"+addr+path, opts).Resolve(t.Context(), git.Ref{})
		require.Error(t, err)
		require.Equal(t, want, <-commands)
	}
}

// record is an SSH server that notes the command and ends.
func record(conn net.Conn, host ssh.Signer, commands chan<- string) {
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(host)
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		for req := range requests {
			_ = req.Reply(true, nil)
			var exec struct{ Command string }
			if req.Type == "exec" && ssh.Unmarshal(req.Payload, &exec) == nil {
				commands <- exec.Command
				channel.Close()
			}
		}
	}
}

// A server that is stuck before anything else holds nobody up either.
func TestAttackStuckConnection(t *testing.T) {
	key, err := sshSigner(t).PrivateKey()
	require.NoError(t, err)
	silent := listen(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	t.Run("in TLS", func(t *testing.T) { requireCancelled(t, open(t, "https://"+silent+"/x", git.Options{})) })
	// The first connection of the proxy is what is stuck.
	for _, scheme := range []string{"http", "socks5"} {
		for _, url := range []string{"https://example.com/x", "ssh://example.com/x"} {
			t.Run("connecting to a "+scheme+" proxy for "+url[:5], func(t *testing.T) {
				opts := git.Options{Proxy: git.Proxy{URL: scheme + "://" + full(t)}}
				if strings.HasPrefix(url, "ssh") {
					opts.Auth.SSHKey = key
				}
				requireCancelled(t, open(t, url, opts))
			})
		}
	}
	t.Run("connecting with HTTP", func(t *testing.T) { requireCancelled(t, open(t, "http://"+full(t)+"/x", git.Options{})) })
	t.Run("connecting with SSH", func(t *testing.T) {
		requireCancelled(t, open(t, "ssh://"+full(t)+"/x", git.Options{Auth: git.Auth{SSHKey: key}}))
	})
}
