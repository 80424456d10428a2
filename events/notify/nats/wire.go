package nats

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
)

// maxRead is how much a server may write between two events, in bytes. To a publisher it
// has nothing to say but who it is, that it is there, and what it refuses.
const maxRead = 1 << 20

var errTooMuch = errors.New("too much was read")

// wire is a connection from which only so much is read: the client itself keeps whatever
// comes in a line.
type wire struct {
	net.Conn
	left atomic.Int64
}

func (w *wire) allow() { w.left.Store(maxRead) }

func (w *wire) Read(p []byte) (int, error) {
	left := w.left.Load()
	if left <= 0 {
		return 0, errTooMuch
	}
	n, err := w.Conn.Read(p[:min(int64(len(p)), left)])
	w.left.Add(-int64(n))
	return n, err
}

// dialFunc is a function as the client's dialer.
type dialFunc func(network, address string) (net.Conn, error)

func (f dialFunc) Dial(network, address string) (net.Conn, error) { return f(network, address) }

// connect makes the connection. It ends with ctx, although the client knows none.
func (s *Sink) connect(ctx context.Context) error {
	o := s.options
	stop := func() bool { return true }
	o.CustomDialer = dialFunc(func(network, address string) (net.Conn, error) {
		conn, err := s.dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		s.wire = &wire{Conn: conn}
		s.wire.allow()
		stop = context.AfterFunc(ctx, func() { conn.Close() })
		return s.wire, nil
	})
	conn, err := o.Connect()
	if ended := !stop(); err == nil && ended {
		conn.Close()
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	s.conn = conn
	return nil
}
