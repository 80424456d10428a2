package gitserver

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strconv"
	"sync"
	"time"
)

// ProxyOptions say who may use a proxy. The zero value lets everyone in.
type ProxyOptions struct {
	Username, Password string
	TLS                *tls.Config // talks to its clients over TLS, if set
}

// Proxy is a proxy on loopback that knows both HTTP, with and without CONNECT,
// and SOCKS5.
type Proxy struct {
	// Addr is host:port. It takes both protocols.
	Addr string

	opts     ProxyOptions
	listener net.Listener
	web      *http.Server
	handed   chan net.Conn // connections that speak HTTP
	closing  chan struct{}
	running  sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	conns   map[net.Conn]bool
	targets []string
}

// ServeProxy starts a proxy on a free port of the loopback interface.
func ServeProxy(opts ProxyOptions) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{Addr: l.Addr().String(), opts: opts, listener: l, handed: make(chan net.Conn), closing: make(chan struct{}), conns: map[net.Conn]bool{}}
	if opts.TLS != nil {
		p.listener = tls.NewListener(l, opts.TLS)
	}
	p.web = &http.Server{Handler: http.HandlerFunc(p.serveHTTP), ReadHeaderTimeout: 30 * time.Second}
	p.running.Go(func() { _ = p.web.Serve(handedOver{p}) }) // ends with the proxy
	p.running.Go(p.accept)
	return p, nil
}

// Targets are the hosts and ports that clients asked for, in order.
func (p *Proxy) Targets() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.targets)
}

// Close ends the proxy and every connection through it. It is called once.
func (p *Proxy) Close() error {
	close(p.closing)
	p.mu.Lock()
	p.closed = true
	err := p.listener.Close()
	for conn := range p.conns {
		conn.Close()
	}
	p.mu.Unlock()
	err = errors.Join(err, p.web.Close())
	p.running.Wait()
	return err
}

// keep remembers a connection, to be able to close it; false if it is too late.
func (p *Proxy) keep(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		conn.Close()
		return false
	}
	p.conns[conn] = true
	return true
}

func (p *Proxy) drop(conn net.Conn) {
	conn.Close()
	p.mu.Lock()
	delete(p.conns, conn)
	p.mu.Unlock()
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		if !p.keep(conn) {
			return
		}
		p.running.Go(func() { p.serve(conn) })
	}
}

// serve tells the protocols apart by their first byte.
func (p *Proxy) serve(conn net.Conn) {
	var first [1]byte
	if _, err := io.ReadFull(conn, first[:]); err != nil {
		p.drop(conn)
		return
	}
	if first[0] == 5 {
		_ = p.socks(conn) // the client sees the end
		p.drop(conn)
		return
	}
	select {
	case p.handed <- &unread{conn, first[:]}:
	case <-p.closing:
		p.drop(conn)
	}
}

// unread is a connection with a byte that was read too early.
type unread struct {
	net.Conn
	early []byte
}

func (u *unread) Read(b []byte) (int, error) {
	if len(u.early) > 0 {
		n := copy(b, u.early)
		u.early = u.early[n:]
		return n, nil
	}
	return u.Conn.Read(b)
}

// handedOver is the listener of the HTTP server.
type handedOver struct{ p *Proxy }

func (h handedOver) Accept() (net.Conn, error) {
	select {
	case conn := <-h.p.handed:
		return conn, nil
	case <-h.p.closing:
		return nil, net.ErrClosed
	}
}

func (h handedOver) Close() error   { return nil }
func (h handedOver) Addr() net.Addr { return h.p.listener.Addr() }

func (p *Proxy) serveHTTP(w http.ResponseWriter, req *http.Request) {
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(p.opts.Username+":"+p.opts.Password))
	if p.opts.Password != "" && !equal(req.Header.Get("Proxy-Authorization"), want) {
		w.Header().Set("Proxy-Authenticate", `Basic realm="proxy"`)
		http.Error(w, "who are you? not "+req.Header.Get("Proxy-Authorization"), http.StatusProxyAuthRequired)
		return
	}
	p.note(req.Host)
	if req.Method != http.MethodConnect {
		if !req.URL.IsAbs() {
			http.Error(w, "this is a proxy", http.StatusBadRequest)
			return
		}
		(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.Header.Del("Proxy-Authorization") }}).ServeHTTP(w, req)
		return
	}
	target, err := net.DialTimeout("tcp", req.Host, 10*time.Second)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		target.Close()
		return
	}
	// Together with the first bytes of a server that speaks first, as SSH does.
	early := make([]byte, 64)
	n := 0
	if target.SetReadDeadline(time.Now().Add(50*time.Millisecond)) == nil {
		n, _ = target.Read(early)
	}
	_ = target.SetReadDeadline(time.Time{})
	_, err = conn.Write(append([]byte("HTTP/1.1 200 Connection established\r\n\r\n"), early[:n]...))
	if err == nil {
		p.join(conn, buffered, target)
	}
	conn.Close()
	target.Close()
}

func (p *Proxy) note(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.targets = append(p.targets, target)
}

// join copies in both directions until one side ends.
func (p *Proxy) join(client net.Conn, from io.Reader, target net.Conn) {
	if !p.keep(target) {
		return
	}
	defer p.drop(target)
	var copying sync.WaitGroup
	copying.Go(func() {
		_, _ = io.Copy(target, from)
		target.Close()
	})
	_, _ = io.Copy(client, target)
	client.Close()
	copying.Wait()
}

// socks serves a SOCKS5 client, after the version byte.
func (p *Proxy) socks(conn net.Conn) error {
	if err := p.greet(conn); err != nil {
		return err
	}
	var head [4]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return err
	}
	host, err := readHost(conn, head[3])
	if err != nil {
		return err
	}
	var port [2]byte
	if _, err := io.ReadFull(conn, port[:]); err != nil {
		return err
	}
	addr := net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(port[:]))))
	p.note(addr)
	target, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		_, err = conn.Write([]byte{5, 4, 0, 1, 0, 0, 0, 0, 0, 0}) // host unreachable
		return err
	}
	defer target.Close()
	if _, err := conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}); err != nil {
		return err
	}
	p.join(conn, conn, target)
	return nil
}

// greet agrees on a method, and asks for user and password if they are needed.
func (p *Proxy) greet(conn net.Conn) error {
	methods, err := readShort(conn)
	if err != nil {
		return err
	}
	if p.opts.Password == "" {
		_, err := conn.Write([]byte{5, 0})
		return err
	}
	if !slices.Contains(methods, 2) {
		_, err := conn.Write([]byte{5, 0xff})
		return errors.Join(err, errors.New("no password"))
	}
	if _, err := conn.Write([]byte{5, 2}); err != nil {
		return err
	}
	var version [1]byte
	if _, err := io.ReadFull(conn, version[:]); err != nil {
		return err
	}
	user, err := readShort(conn)
	if err != nil {
		return err
	}
	password, err := readShort(conn)
	if err != nil {
		return err
	}
	if !equal(string(user), p.opts.Username) || !equal(string(password), p.opts.Password) {
		_, err := conn.Write([]byte{1, 1})
		return errors.Join(err, errors.New("wrong password"))
	}
	_, err = conn.Write([]byte{1, 0})
	return err
}

// readShort reads a string with its length, in one byte, before it.
func readShort(r io.Reader) ([]byte, error) {
	var n [1]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return nil, err
	}
	text := make([]byte, n[0])
	_, err := io.ReadFull(r, text)
	return text, err
}

func readHost(r io.Reader, kind byte) (string, error) {
	switch kind {
	case 1, 4:
		ip := make(net.IP, 4*kind) // of 4 or 16 bytes
		_, err := io.ReadFull(r, ip)
		return ip.String(), err
	case 3:
		name, err := readShort(r)
		return string(name), err
	}
	return "", errors.New("unknown kind of address")
}
