package post

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"
)

// Stream is for protocols other than HTTP: a dialer that refuses the addresses that no
// notification has to go to, and how TLS is to be spoken. Options about HTTP mean nothing
// here.
func Stream(o Options) (*net.Dialer, *tls.Config, error) {
	config, err := tlsConfig(o)
	if err != nil {
		return nil, nil, err
	}
	g := guard{open: o.AllowLinkLocal}
	return &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second, Control: g.control}, config, nil
}

// Explain says in words of our own why there was no answer, and whether trying again is
// useless.
func Explain(ctx context.Context, err error) (reason string, final bool) {
	err = failure(ctx, err)
	var t interface{ Terminal() bool }
	return err.Error(), errors.As(err, &t) && t.Terminal()
}
