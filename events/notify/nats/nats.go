package nats

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"strings"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/internal/post"
	"github.com/gitopskit/gitopskit/events/notify"
)

const platform = "NATS"

// Options configures [New].
type Options struct {
	// Address of a server, nats://host:port or tls://host:port. Without a port it is
	// 4222. With tls, a server that does not speak it is refused. Required.
	Address string
	// Subject to publish to, without wildcards. Required.
	Subject string
	// Credentials are a .creds file: a JWT and the seed of its key.
	Credentials []byte
	// NKeySeed is the seed of a user's NKey.
	NKeySeed []byte
	// Token, or Username and Password. At most one kind of credential may be set.
	Token, Username, Password string
	// CA holds certificates in PEM that sign the server's. Empty means the system's.
	CA []byte
	// ClientCert and ClientKey, in PEM, tell the server who publishes.
	ClientCert, ClientKey []byte
	// Timeout bounds one event. Zero means 10 s.
	Timeout time.Duration
	// AllowLinkLocal lets the connection go to link-local addresses and to those where
	// cloud providers keep credentials.
	AllowLinkLocal bool
	// AllowPlainText lets a credential go without TLS, where everybody on the way can
	// read it.
	AllowPlainText bool
}

// Sink publishes events to one subject. It is safe for concurrent use. It tries once;
// trying again is the work of an [events.Recorder].
type Sink struct {
	subject string
	url     string // scheme and host
	timeout time.Duration
	options client.Options
	dialer  *net.Dialer

	// turn is held by who uses what follows. It is a channel so that who waits for it
	// can stop waiting.
	turn chan struct{}
	conn *client.Conn
	wire *wire
}

var _ events.Sink = (*Sink)(nil)

// New checks the options. It does not connect yet. The error is a [*notify.OptionError]
// and holds no secret.
func New(o Options) (*Sink, error) {
	address, problem := parseAddress(o.Address)
	if problem == "" {
		problem = o.problem(strings.HasPrefix(address, "tls://"))
	}
	if problem != "" {
		return nil, &notify.OptionError{Provider: platform, Problem: problem}
	}
	dialer, config, err := post.Stream(post.Options{
		CA: o.CA, ClientCert: o.ClientCert, ClientKey: o.ClientKey, AllowLinkLocal: o.AllowLinkLocal,
	})
	if err != nil {
		return nil, &notify.OptionError{Provider: platform, Problem: err.Error()}
	}
	s := &Sink{subject: o.Subject, url: address, timeout: o.Timeout, dialer: dialer, turn: make(chan struct{}, 1)}
	if s.timeout <= 0 {
		s.timeout = post.DefaultTimeout
	}
	s.options = client.GetDefaultOptions()
	s.options.Url, s.options.Name, s.options.Timeout = address, "gitopskit", s.timeout
	s.options.Secure, s.options.TLSConfig = strings.HasPrefix(address, "tls://"), config
	s.options.AllowReconnect, s.options.IgnoreDiscoveredServers, s.options.SkipHostLookup = false, true, true
	s.options.AsyncErrorCB = func(*client.Conn, *client.Subscription, error) {} // the client's own writes to stderr
	if problem := o.authenticate(&s.options); problem != "" {
		return nil, &notify.OptionError{Provider: platform, Problem: problem}
	}
	return s, nil
}

func parseAddress(address string) (parsed, problem string) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return "", "the address cannot be parsed"
	case u.Scheme != "nats" && u.Scheme != "tls" || u.Hostname() == "":
		return "", "the address must start with nats:// or tls:// and name a host"
	case u.User != nil:
		return "", "the address holds a user or a password, which belong into options of their own"
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return "", "the address must be of one server, with nothing after its port"
	}
	port := u.Port()
	if port == "" {
		port = "4222"
	}
	return u.Scheme + "://" + net.JoinHostPort(u.Hostname(), port), ""
}

// problem says what is wrong with the other options.
func (o Options) problem(secure bool) string {
	kinds := 0
	for _, set := range []bool{len(o.Credentials) > 0, len(o.NKeySeed) > 0, o.Token != "", o.Username != "" || o.Password != ""} {
		if set {
			kinds++
		}
	}
	switch {
	case !validSubject(o.Subject):
		return "the subject must be words of printable characters with dots between them, without wildcards"
	case kinds > 1:
		return "there is more than one kind of credential"
	case kinds > 0 && !secure && !o.AllowPlainText:
		return "a credential would go without TLS: use tls://, or set AllowPlainText"
	}
	return ""
}

func validSubject(s string) bool {
	if len(s) > 1024 || strings.HasPrefix(s, "$") {
		return false
	}
	for _, word := range strings.Split(s, ".") {
		if word == "" || word == "*" || word == ">" || strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return false
		}
	}
	return true
}

// authenticate sets how the server learns who publishes.
func (o Options) authenticate(to *client.Options) (problem string) {
	switch {
	case len(o.Credentials) > 0:
		creds := bytes.Clone(o.Credentials)
		_, errJWT := nkeys.ParseDecoratedJWT(creds)
		if _, err := nkeys.ParseDecoratedUserNKey(creds); err != nil || errJWT != nil {
			return "the credentials are no .creds file with a JWT and the seed of a user"
		}
		if client.UserCredentialBytes(creds)(to) != nil {
			return "the credentials cannot be used"
		}
	case len(o.NKeySeed) > 0:
		key, err := nkeys.FromSeed(bytes.TrimSpace(bytes.Clone(o.NKeySeed)))
		if err != nil {
			return "the NKey is no seed"
		}
		if to.Nkey, err = key.PublicKey(); err != nil {
			return "the NKey is no seed"
		}
		to.SignatureCB = key.Sign
	default:
		to.Token, to.User, to.Password = o.Token, o.Username, o.Password
	}
	return ""
}

// Takes reports whether the event is published: all are but those that are there to
// update a commit's status.
func (s *Sink) Takes(e events.Event) bool {
	return notify.Metadata(e, notify.MetaCommitStatus) != notify.CommitStatusUpdate
}

// String names the platform and its host.
func (s *Sink) String() string { return platform + " at " + s.url }

// GoString is String: printing a sink shows no secret.
func (s *Sink) GoString() string { return "nats.Sink(" + s.String() + ")" }

// Send publishes the JSON of an event, without internal metadata, and waits until the
// server has seen it. The error is an [*events.SendError].
func (s *Sink) Send(ctx context.Context, e events.Event) error {
	if !s.Takes(e) {
		return nil
	}
	body, err := json.Marshal(notify.Clean(e))
	if err != nil {
		return &events.SendError{Target: s.String(), Reason: "the event cannot be written as JSON", Final: true}
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return s.failed(ctx, ctx.Err())
	}
	if err := s.publish(ctx, body); err != nil {
		s.drop()
		return s.failed(ctx, err)
	}
	return nil
}

// CloseIdleConnections closes the connection, unless an event is on its way. The next
// event opens it anew.
func (s *Sink) CloseIdleConnections() {
	select {
	case s.turn <- struct{}{}:
		s.drop()
		<-s.turn
	default:
	}
}

func (s *Sink) drop() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}

func (s *Sink) publish(ctx context.Context, body []byte) error {
	if s.conn != nil && s.conn.IsClosed() {
		s.conn = nil
	}
	if s.conn == nil {
		if err := s.connect(ctx); err != nil {
			return err
		}
	}
	s.wire.allow()
	if err := s.conn.Publish(s.subject, body); err != nil {
		return err
	}
	// A server that refuses says so before it answers the ping of the flush.
	if err := s.conn.FlushWithContext(ctx); err != nil {
		return errors.Join(err, s.conn.LastError())
	}
	return s.conn.LastError()
}

// failed says what went wrong. The client's errors repeat what the server wrote.
func (s *Sink) failed(ctx context.Context, err error) error {
	fail := &events.SendError{Target: s.String()}
	for _, known := range []struct {
		err    error
		reason string
		final  bool
	}{
		{errTooMuch, "wrote more than a publisher has to read", false},
		{client.ErrMaxPayload, "takes no message of this size", true},
		{client.ErrPermissionViolation, "does not let this user publish to the subject", true},
		{client.ErrAuthorization, "refuses the credential", true},
		{client.ErrAuthExpired, "says that the credential has expired", true},
		{client.ErrAuthRevoked, "says that the credential was revoked", true},
		{client.ErrAccountAuthExpired, "says that the account has expired", true},
		{client.ErrSecureConnWanted, "does not speak TLS", true},
		{client.ErrNkeysNotSupported, "knows no NKeys", true},
		{client.ErrMaxConnectionsExceeded, "has too many connections", false},
		{client.ErrMaxAccountConnectionsExceeded, "has too many connections of this account", false},
		{client.ErrNoInfoReceived, "does not speak NATS", false},
	} {
		if ctx.Err() == nil && errors.Is(err, known.err) {
			fail.Reason, fail.Final = known.reason, known.final
			return fail
		}
	}
	fail.Reason, fail.Final = post.Explain(ctx, err)
	fail.Err = ctx.Err()
	return fail
}
