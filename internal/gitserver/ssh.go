package gitserver

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// SSHOptions say who may read.
type SSHOptions struct {
	// Keys are the public keys of those who may read. Nobody else may.
	Keys []ssh.PublicKey
	// Authorities sign certificates of users who may read, as user git.
	Authorities []ssh.PublicKey
	// HostKeys of the server; none: one new Ed25519 key.
	HostKeys []crypto.Signer
	// Version0 makes a server that takes no environment, as many do, and so
	// knows no other version of the protocol.
	Version0 bool
	// LFS answers git-lfs-authenticate for a repository, in JSON. Nil: there is
	// no such command.
	LFS func(repo string) (string, error)
}

// ServeSSH serves the repositories below dir over SSH on a free port of the
// loopback interface: git-upload-pack and nothing else.
func ServeSSH(ctx context.Context, dir string, opts SSHOptions) (*Server, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	config := &ssh.ServerConfig{
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if cert, ok := key.(*ssh.Certificate); ok && cert.CertType == ssh.UserCert && among(opts.Authorities, cert.SignatureKey) {
				return nil, new(ssh.CertChecker).CheckCert("git", cert)
			}
			if among(opts.Keys, key) {
				return nil, nil
			}
			return nil, errors.New("this key may not read")
		},
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	known, err := addHostKeys(config, opts.HostKeys, l.Addr().String())
	if err != nil {
		l.Close()
		return nil, err
	}
	s := &sshServer{root: root, config: config, lfs: opts.LFS, listener: l, version0: opts.Version0, conns: map[net.Conn]bool{}}
	s.running.Go(func() { s.accept(ctx) })
	return &Server{URL: "ssh://git@" + l.Addr().String(), KnownHosts: known, close: s.close}, nil
}

func among(keys []ssh.PublicKey, key ssh.PublicKey) bool {
	return slices.ContainsFunc(keys, func(k ssh.PublicKey) bool { return equal(string(k.Marshal()), string(key.Marshal())) })
}

func addHostKeys(config *ssh.ServerConfig, keys []crypto.Signer, addr string) ([]byte, error) {
	if len(keys) == 0 {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		keys = []crypto.Signer{private}
	}
	var known []byte
	for _, key := range keys {
		signer, err := ssh.NewSignerFromSigner(key)
		if err != nil {
			return nil, err
		}
		config.AddHostKey(signer)
		line := knownhosts.Line([]string{knownhosts.Normalize(addr)}, signer.PublicKey())
		known = append(known, line+"\n"...)
	}
	return known, nil
}

type sshServer struct {
	root     string
	config   *ssh.ServerConfig
	lfs      func(repo string) (string, error)
	listener net.Listener
	version0 bool
	running  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]bool
}

func (s *sshServer) close() error {
	s.mu.Lock()
	s.closed = true
	err := s.listener.Close()
	for conn := range s.conns {
		conn.Close()
	}
	s.mu.Unlock()
	s.running.Wait()
	return err
}

func (s *sshServer) accept(ctx context.Context) {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			conn.Close()
			return
		}
		s.conns[conn] = true
		s.mu.Unlock()
		s.running.Go(func() {
			s.serve(ctx, conn)
			conn.Close()
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
		})
	}
}

func (s *sshServer) serve(ctx context.Context, conn net.Conn) {
	_, channels, requests, err := ssh.NewServerConn(conn, s.config)
	if err != nil {
		return // the client hears of it
	}
	var sessions sync.WaitGroup
	defer sessions.Wait()
	// Ends with the connection, and takes the processes with it.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sessions.Go(func() { ssh.DiscardRequests(requests) })
	for request := range channels {
		if request.ChannelType() != "session" {
			_ = request.Reject(ssh.UnknownChannelType, "sessions only") // as in reply
			continue
		}
		channel, requests, err := request.Accept()
		if err != nil {
			return
		}
		sessions.Go(func() { s.session(ctx, channel, requests) })
	}
}

// session serves one channel: any number of env requests and one exec request.
func (s *sshServer) session(ctx context.Context, channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	protocol := ""
	for req := range requests {
		switch req.Type {
		case "env":
			var env struct{ Name, Value string }
			ok := !s.version0 && ssh.Unmarshal(req.Payload, &env) == nil && env.Name == "GIT_PROTOCOL"
			if ok {
				protocol = env.Value
			}
			reply(req, ok)
		case "exec":
			var exec struct{ Command string }
			err := ssh.Unmarshal(req.Payload, &exec)
			reply(req, err == nil)
			if err != nil {
				return
			}
			go ssh.DiscardRequests(requests)
			s.exec(ctx, channel, exec.Command, protocol)
			return
		default:
			reply(req, false)
		}
	}
}

func reply(req *ssh.Request, ok bool) {
	if req.WantReply {
		_ = req.Reply(ok, nil) // fails if the client is gone, which the next read shows
	}
}

func (s *sshServer) exec(ctx context.Context, channel ssh.Channel, command, protocol string) {
	status, err := s.run(ctx, channel, command, protocol)
	if err != nil {
		fmt.Fprintln(channel.Stderr(), err)
	}
	// A client that is gone needs no status.
	_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
}

func (s *sshServer) run(ctx context.Context, channel ssh.Channel, command, protocol string) (status uint32, err error) {
	const failed = 128
	if words, ok := strings.CutPrefix(command, "git-lfs-authenticate "); ok && s.lfs != nil {
		return s.authenticate(channel, words)
	}
	dir, err := s.repository(command)
	if err != nil {
		return failed, err
	}
	cmd := exec.CommandContext(ctx, "git", "upload-pack", "--strict", dir)
	cmd.Env = append(Environ(), "GIT_PROTOCOL="+protocol)
	cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return failed, err
	}
	// Not cmd.Stdin: Wait would then wait for a client that says nothing.
	go func() {
		_, _ = io.Copy(stdin, channel) // git notices what is missing
		stdin.Close()
	}()
	if cmd.Wait() == nil {
		return 0, nil
	}
	return failed, nil // git has said why
}

// authenticate answers git-lfs-authenticate '/name.git' download.
func (s *sshServer) authenticate(channel ssh.Channel, words string) (status uint32, err error) {
	word, ok := strings.CutSuffix(words, " download")
	name, err := unquote(word)
	if err != nil || !ok {
		return 1, fmt.Errorf("git-lfs-authenticate %s: not understood", words)
	}
	answer, err := s.lfs(name)
	if err == nil {
		_, err = io.WriteString(channel, answer)
	}
	if err != nil {
		status = 1
	}
	return status, err
}

// repository returns the directory that a command of the form
// git-upload-pack '/name.git' is about.
func (s *sshServer) repository(command string) (string, error) {
	name, ok := strings.CutPrefix(command, "git-upload-pack ")
	if !ok {
		return "", errors.New("git-upload-pack is the only command here")
	}
	name, err := unquote(name)
	if err != nil {
		return "", err
	}
	return filepath.Join(s.root, filepath.FromSlash(path.Clean("/"+name))), nil
}

// unquote undoes the quoting of a word for a shell, as git does it: in single
// quotes, with \' and \! outside of them.
func unquote(s string) (string, error) {
	var b strings.Builder
	for s != "" {
		switch {
		case s[0] == '\'':
			word, rest, ok := strings.Cut(s[1:], "'")
			if !ok {
				return "", errors.New("a quote is left open")
			}
			b.WriteString(word)
			s = rest
		case s[0] == '\\' && len(s) > 1:
			b.WriteByte(s[1])
			s = s[2:]
		default:
			return "", errors.New("the repository is not quoted")
		}
	}
	return b.String(), nil
}
