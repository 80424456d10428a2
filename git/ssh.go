package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// sshTransport runs git-upload-pack on one server. It reads neither the user's
// SSH configuration nor an agent.
type sshTransport struct {
	way     *way
	addr    string // host:port
	name    string // of the host in known_hosts
	user    string
	command string
	signer  ssh.Signer
	known   knownHosts
}

func newSSHTransport(u *url.URL, opts Options, way *way) (*sshTransport, error) {
	auth := opts.Auth
	if _, err := clientCertificate(opts, u.Scheme); err != nil {
		return nil, err
	}
	signer, err := auth.signer()
	if err != nil {
		return nil, err
	}
	known, err := parseKnownHosts(auth.KnownHosts)
	if err != nil {
		return nil, err
	}
	t := &sshTransport{way: way, user: u.User.Username(), signer: signer, known: known}
	if t.user == "" {
		t.user = auth.Username
	}
	if t.user == "" {
		t.user = "git"
	}
	t.addr, t.name = sshAddress(u.Hostname(), u.Port())
	path := u.Path
	if strings.HasPrefix(path, "/~") { // a path in a home directory
		path = path[1:]
	}
	t.command = service + " " + quote(path)
	return t, nil
}

// quote quotes a word for the shell that may run the command, as git does it.
func quote(s string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(s) + "'"
}

func (t *sshTransport) close() {}

// sshSession is one run of git-upload-pack.
type sshSession struct {
	client  *ssh.Client
	session *ssh.Session
	cuts    []func() bool // each takes back that the end of a context ends this
	stdin   io.WriteCloser
	packets *packetReader
	stderr  tail
}

// connect dials and starts the command.
func (t *sshTransport) connect(ctx context.Context, protocol string, metered func(io.Reader) io.Reader) (session, error) {
	client, stop, err := t.dial(ctx)
	if err != nil {
		return nil, err
	}
	s := &sshSession{client: client, cuts: []func() bool{stop}}
	if err := s.start(t.command, protocol, metered); err != nil {
		s.close(false)
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return s, nil
}

// dial connects to the server. The end of ctx closes the connection, whatever it
// is doing: the handshake of x/crypto/ssh knows no context. After stop it does
// so no more.
func (t *sshTransport) dial(ctx context.Context) (client *ssh.Client, stop func() bool, err error) {
	conn, err := t.way.dial(ctx, "tcp", t.addr)
	if err != nil {
		return nil, nil, unreachable(err)
	}
	stop = context.AfterFunc(ctx, func() { conn.Close() })
	if client, err = t.handshake(conn); err != nil {
		stop()
		conn.Close()
		return nil, nil, err
	}
	return client, stop, nil
}

// handshake agrees on keys and logs in, within a time and a number of bytes: a
// server may send banners for as long as it likes.
func (t *sshTransport) handshake(conn net.Conn) (*ssh.Client, error) {
	const most = 1 << 20
	bounded := &boundedConn{Conn: conn}
	bounded.left.Store(most)
	if err := conn.SetDeadline(time.Now().Add(connecting)); err != nil {
		return nil, unreachable(err)
	}
	client, err := t.login(bounded)
	if err != nil {
		return nil, err
	}
	bounded.left.Store(math.MaxInt64) // what follows is metered
	if err := conn.SetDeadline(time.Time{}); err != nil {
		client.Close()
		return nil, unreachable(err)
	}
	return client, nil
}

// boundedConn is a connection from which only so many bytes can be read.
type boundedConn struct {
	net.Conn
	left atomic.Int64
}

func (b *boundedConn) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	if b.left.Add(-int64(n)) < 0 {
		return 0, errors.New("the server says too much before it lets anyone in")
	}
	return n, err
}

func (t *sshTransport) login(conn net.Conn) (*ssh.Client, error) {
	var verdict error
	config := &ssh.ClientConfig{
		User:              t.user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(t.signer)},
		HostKeyAlgorithms: t.known.algorithms(t.name),
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			verdict = t.known.check(t.name, key)
			return verdict
		},
		ClientVersion: "SSH-2.0-gitopskit",
	}
	c, channels, requests, err := ssh.NewClientConn(conn, t.addr, config)
	if err == nil {
		return ssh.NewClient(c, channels, requests), nil
	}
	var algorithms *ssh.AlgorithmNegotiationError
	switch {
	case verdict != nil:
		return nil, verdict
	case errors.As(err, &algorithms) && strings.Contains(algorithms.What, "host key"):
		return nil, &HostKeyError{Host: t.name, Mismatch: true}
	case strings.Contains(err.Error(), "unable to authenticate"):
		return nil, fmt.Errorf("%w: %s does not let user %q in with the key %s", ErrAuthRefused,
			t.name, clip(t.user), ssh.FingerprintSHA256(t.signer.PublicKey()))
	}
	return nil, fmt.Errorf("%w: the SSH handshake: %s", ErrUnreachable, clip(err.Error()))
}

func (s *sshSession) start(command, protocol string, metered func(io.Reader) io.Reader) (err error) {
	if s.session, err = s.client.NewSession(); err != nil {
		return err
	}
	if s.stdin, err = s.session.StdinPipe(); err != nil {
		return err
	}
	stdout, err := s.session.StdoutPipe()
	if err != nil {
		return err
	}
	s.session.Stderr = &s.stderr
	if protocol != "" {
		// A server that does not take it answers in version 0.
		_ = s.session.Setenv("GIT_PROTOCOL", protocol)
	}
	s.packets = newPacketReader(metered(stdout))
	return s.session.Start(command)
}

func (s *sshSession) stateless() bool { return false }

func (s *sshSession) advertise(context.Context) (*packetReader, error) {
	// A server that refuses says nothing here and gives its reason elsewhere.
	if _, err := s.packets.r.Peek(1); errors.Is(err, io.EOF) {
		_ = s.session.Wait() // its error is less than what stderr says
		if text := s.stderr.String(); text != "" {
			return nil, serverError(text)
		}
		return nil, fmt.Errorf("%w: the server ended the session without an answer", ErrProtocol)
	}
	return s.packets, nil
}

func (s *sshSession) request(ctx context.Context, body []byte) (*packetReader, error) {
	s.cuts = append(s.cuts, context.AfterFunc(ctx, func() { s.client.Close() }))
	if _, err := s.stdin.Write(body); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return s.packets, nil
}

func (s *sshSession) close(bool) {
	if s.stdin != nil {
		s.stdin.Close()
	}
	s.client.Close()
	for _, stop := range s.cuts {
		stop()
	}
}

// tail keeps the end of what is written to it, for a message.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	const kept = 1024
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p[max(0, len(p)-kept):]...)
	t.buf = t.buf[max(0, len(t.buf)-kept):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return clip(string(t.buf))
}
