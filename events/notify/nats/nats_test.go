package nats_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/notify"
	"github.com/gitopskit/gitopskit/events/notify/nats"
	"github.com/gitopskit/gitopskit/internal/hooktest"
)

const canary = hooktest.Canary

// start starts a real server.
func start(t *testing.T, o *server.Options) *server.Server {
	t.Helper()
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	o.NoSigs, o.NoLog = true, true
	s, err := server.NewServer(o)
	require.NoError(t, err)
	s.Start()
	t.Cleanup(s.Shutdown)
	require.True(t, s.ReadyForConnections(10*time.Second))
	return s
}

func address(s *server.Server) string { return "nats://" + s.Addr().String() }

func sinkFor(t *testing.T, o nats.Options) *nats.Sink {
	t.Helper()
	if o.Subject == "" {
		o.Subject = "gitops.events"
	}
	o.AllowPlainText = true
	sink, err := nats.New(o)
	require.NoError(t, err)
	t.Cleanup(sink.CloseIdleConnections)
	return sink
}

// failed checks an error as each provider should return it.
func failed(t *testing.T, err error) *events.SendError {
	t.Helper()
	var fail *events.SendError
	require.ErrorAs(t, err, &fail)
	for ; err != nil; err = errors.Unwrap(err) {
		require.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), canary)
	}
	return fail
}

// listener subscribes as somebody who wants to know.
func listener(t *testing.T, url string, opts ...client.Option) *client.Subscription {
	t.Helper()
	conn, err := client.Connect(url, opts...)
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	sub, err := conn.SubscribeSync("gitops.>")
	require.NoError(t, err)
	require.NoError(t, conn.Flush())
	return sub
}

func received(t *testing.T, sub *client.Subscription) {
	t.Helper()
	msg, err := sub.NextMsg(10 * time.Second)
	require.NoError(t, err)
	require.Equal(t, "gitops.events", msg.Subject)
	want, err := json.Marshal(notify.Clean(hooktest.Event()))
	require.NoError(t, err)
	require.JSONEq(t, string(want), string(msg.Data))
	require.NotContains(t, string(msg.Data), "internal")
}

func TestSend(t *testing.T) {
	s := start(t, &server.Options{})
	sub := listener(t, address(s))
	sink := sinkFor(t, nats.Options{Address: address(s)})
	for range 3 {
		require.NoError(t, sink.Send(t.Context(), hooktest.Event()))
		received(t, sub)
	}
	require.Equal(t, 2, s.NumClients(), "one connection is kept")
	update := hooktest.Event()
	update.Metadata[notify.MetaCommitStatus] = notify.CommitStatusUpdate
	require.False(t, sink.Takes(update))
	require.NoError(t, sink.Send(t.Context(), update))
	n, _, err := sub.Pending()
	require.NoError(t, err)
	require.Zero(t, n)
	require.Equal(t, "NATS at "+address(s), sink.String())
}

func TestCredentials(t *testing.T) {
	key, err := nkeys.CreateUser()
	require.NoError(t, err)
	public, err := key.PublicKey()
	require.NoError(t, err)
	seed, err := key.Seed()
	require.NoError(t, err)
	other, err := nkeys.CreateUser()
	require.NoError(t, err)
	otherSeed, err := other.Seed()
	require.NoError(t, err)
	for name, c := range map[string]struct {
		server server.Options
		good   nats.Options
		bad    nats.Options
	}{
		"password": {server.Options{Username: "bob", Password: canary}, nats.Options{Username: "bob", Password: canary}, nats.Options{Username: "bob", Password: "not-" + canary}},
		"token":    {server.Options{Authorization: canary}, nats.Options{Token: canary}, nats.Options{}},
		"NKey": {
			server.Options{Nkeys: []*server.NkeyUser{{Nkey: public}}},
			nats.Options{NKeySeed: append(seed, '\n')}, nats.Options{NKeySeed: otherSeed},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, &c.server)
			c.good.Address, c.bad.Address = address(s), address(s)
			require.NoError(t, sinkFor(t, c.good).Send(t.Context(), hooktest.Event()))
			require.True(t, failed(t, sinkFor(t, c.bad).Send(t.Context(), hooktest.Event())).Terminal())
		})
	}
}

func TestRefusedSubject(t *testing.T) {
	s := start(t, &server.Options{Users: []*server.User{{
		Username: "bob", Password: canary,
		Permissions: &server.Permissions{Publish: &server.SubjectPermission{Allow: []string{"gitops.events"}}},
	}}})
	allowed := nats.Options{Address: address(s), Username: "bob", Password: canary}
	forbidden := allowed
	forbidden.Subject = "other." + canary
	sink := sinkFor(t, forbidden)
	for range 2 { // the failure is not remembered, but comes anew
		require.True(t, failed(t, sink.Send(t.Context(), hooktest.Event())).Terminal())
	}
	require.NoError(t, sinkFor(t, allowed).Send(t.Context(), hooktest.Event()))
}

func TestTooLargeForTheServer(t *testing.T) {
	s := start(t, &server.Options{MaxPayload: 100})
	require.True(t, failed(t, sinkFor(t, nats.Options{Address: address(s)}).Send(t.Context(), hooktest.Event())).Terminal())
}

// The next event connects anew.
func TestServerComesBack(t *testing.T) {
	first := start(t, &server.Options{})
	port := first.Addr().(*net.TCPAddr).Port
	sink := sinkFor(t, nats.Options{Address: address(first)})
	require.NoError(t, sink.Send(t.Context(), hooktest.Event()))
	first.Shutdown()
	first.WaitForShutdown()
	require.Eventually(t, func() bool {
		err := sink.Send(t.Context(), hooktest.Event())
		return err != nil && !failed(t, err).Terminal()
	}, 10*time.Second, time.Millisecond)
	second := start(t, &server.Options{Port: port})
	sub := listener(t, address(second))
	require.NoError(t, sink.Send(t.Context(), hooktest.Event()))
	received(t, sub)
}

// certificate is one for 127.0.0.1 that signs itself.
func certificate(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestTLS(t *testing.T) {
	cert, ca := certificate(t)
	s := start(t, &server.Options{Username: "bob", Password: canary, TLS: true, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, TLSTimeout: 5})
	o := nats.Options{Address: "tls://" + s.Addr().String(), Subject: "gitops.events", Username: "bob", Password: canary, CA: ca}
	sink, err := nats.New(o)
	require.NoError(t, err)
	defer sink.CloseIdleConnections()
	require.NoError(t, sink.Send(t.Context(), hooktest.Event()))
	o.CA = nil
	stranger, err := nats.New(o)
	require.NoError(t, err)
	require.ErrorContains(t, failed(t, stranger.Send(t.Context(), hooktest.Event())), "unknown authority")
	plain := start(t, &server.Options{})
	o.Address = "tls://" + plain.Addr().String()
	downgraded, err := nats.New(o)
	require.NoError(t, err)
	require.True(t, failed(t, downgraded.Send(t.Context(), hooktest.Event())).Terminal())
}

// hostile is a server that talks as it likes to whoever connects.
func hostile(t *testing.T, talk func(conn net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				talk(conn)
			}()
		}
	}()
	return "nats://" + listener.Addr().String()
}

const info = `INFO {"server_id":"x","version":"2.11.0","proto":1,"max_payload":1048576,"headers":true%s}` + "\r\n"

// greet says hello and waits for the publisher's own.
func greet(conn net.Conn, more string) *bufio.Reader {
	fmt.Fprintf(conn, info, more)
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil || strings.HasPrefix(line, "PING") {
			_, _ = io.WriteString(conn, "PONG\r\n")
			return r
		}
	}
}

func endless(conn net.Conn, start string) {
	_, _ = io.WriteString(conn, start)
	chunk := strings.Repeat("x", 64<<10)
	for {
		if _, err := io.WriteString(conn, chunk); err != nil {
			return
		}
	}
}

func TestAttackEndlessServer(t *testing.T) {
	for name, talk := range map[string]func(net.Conn){
		"hello":   func(c net.Conn) { endless(c, "INFO {") },
		"refusal": func(c net.Conn) { greet(c, ""); endless(c, "-ERR '") },
		"pings": func(c net.Conn) {
			greet(c, "")
			for {
				if _, err := io.WriteString(c, "PING\r\n"); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			sink := sinkFor(t, nats.Options{Address: hostile(t, talk), Token: canary})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			failed(t, sink.Send(t.Context(), hooktest.Event()))
			runtime.ReadMemStats(&after)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<20))
		})
	}
}

// A server that names others does not get the credential sent there.
func TestAttackOtherServers(t *testing.T) {
	connected := make(chan struct{}, 10)
	thief := hostile(t, func(net.Conn) { connected <- struct{}{} })
	first := hostile(t, func(c net.Conn) {
		greet(c, `,"connect_urls":["`+strings.TrimPrefix(thief, "nats://")+`"],"ldm":true`)
	})
	sink := sinkFor(t, nats.Options{Address: first, Token: canary})
	for range 3 {
		failed(t, sink.Send(t.Context(), hooktest.Event()))
	}
	require.Empty(t, connected)
}

// A failure does not stay with the sink: the next event connects anew.
func TestFailureIsNotRemembered(t *testing.T) {
	var connections atomic.Int32
	sink := sinkFor(t, nats.Options{Address: hostile(t, func(c net.Conn) {
		first := connections.Add(1) == 1
		r := greet(c, "")
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if !strings.HasPrefix(line, "PING") {
				continue
			}
			if first {
				_, _ = io.WriteString(c, "-ERR 'Permissions Violation for Publish to \"x\"'\r\n")
			}
			_, _ = io.WriteString(c, "PONG\r\n")
		}
	})})
	require.True(t, failed(t, sink.Send(t.Context(), hooktest.Event())).Terminal())
	require.NoError(t, sink.Send(t.Context(), hooktest.Event()))
	require.Equal(t, int32(2), connections.Load())
}

// What a server writes is in no error.
func TestAttackServersWords(t *testing.T) {
	for _, words := range []string{
		"-ERR 'Authorization Violation " + canary + "'\r\n", "-ERR '" + canary + "'\r\n", canary + "\r\n",
		"INFO {" + canary + "\r\n", "MSG " + canary + " 1 2\r\n", "-ERR 'Permissions Violation for Publish to \"" + canary + "\"'\r\n",
	} {
		sink := sinkFor(t, nats.Options{Address: hostile(t, func(c net.Conn) {
			greet(c, "")
			_, _ = io.WriteString(c, words)
		}), Token: canary})
		failed(t, sink.Send(t.Context(), hooktest.Event()))
		bare := sinkFor(t, nats.Options{Address: hostile(t, func(c net.Conn) { _, _ = io.WriteString(c, words) }), Token: canary})
		failed(t, bare.Send(t.Context(), hooktest.Event()))
	}
}

func TestAttackSilentServer(t *testing.T) {
	for name, talk := range map[string]func(net.Conn, chan<- struct{}, <-chan struct{}){
		"no hello": func(_ net.Conn, reached chan<- struct{}, hold <-chan struct{}) {
			reached <- struct{}{}
			<-hold
		},
		"no confirmation": func(c net.Conn, reached chan<- struct{}, hold <-chan struct{}) {
			r := greet(c, "")
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if strings.HasPrefix(line, "PING") {
					reached <- struct{}{}
					<-hold
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			reached, hold := make(chan struct{}, 1), make(chan struct{})
			t.Cleanup(func() { close(hold) })
			sink := sinkFor(t, nats.Options{Address: hostile(t, func(c net.Conn) { talk(c, reached, hold) })})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				<-reached
				cancel()
			}()
			err := sink.Send(ctx, hooktest.Event())
			require.ErrorIs(t, err, context.Canceled)
			require.False(t, failed(t, err).Terminal())
		})
	}
}

func TestAttackLinkLocal(t *testing.T) {
	for _, address := range []string{"nats://169.254.169.254", "nats://[fe80::1]:4222", "nats://[::ffff:169.254.169.254]"} {
		fail := failed(t, sinkFor(t, nats.Options{Address: address}).Send(t.Context(), hooktest.Event()))
		require.True(t, fail.Terminal())
		require.Contains(t, fail.Reason, "link-local")
	}
}

func TestNobodyListens(t *testing.T) {
	sink := sinkFor(t, nats.Options{Address: "nats://127.0.0.1:1", Token: canary})
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		require.NotContains(t, fmt.Sprintf(verb, sink), canary)
	}
	require.False(t, failed(t, sink.Send(t.Context(), hooktest.Event())).Terminal())
}

func TestOptions(t *testing.T) {
	const good = "tls://nats.example.com"
	for name, o := range map[string]nats.Options{
		"no address":       {Subject: "s"},
		"other scheme":     {Address: "https://h", Subject: "s"},
		"password inside":  {Address: "nats://bob:" + canary + "@h", Subject: "s"},
		"several servers":  {Address: "nats://h1,nats://h2", Subject: "s"},
		"no subject":       {Address: good},
		"wildcard":         {Address: good, Subject: "gitops.>"},
		"two subjects":     {Address: good, Subject: "a b"},
		"command":          {Address: good, Subject: "a\r\nPUB b 0"},
		"empty word":       {Address: good, Subject: "a..b"},
		"system":           {Address: good, Subject: "$SYS.x"},
		"plain credential": {Address: "nats://h", Subject: "s", Token: canary},
		"two credentials":  {Address: good, Subject: "s", Token: canary, NKeySeed: []byte(canary)},
		"no seed":          {Address: good, Subject: "s", NKeySeed: []byte(canary)},
		"no creds":         {Address: good, Subject: "s", Credentials: []byte(canary)},
		"no CA":            {Address: good, Subject: "s", CA: []byte(canary)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := nats.New(o)
			var wrong *notify.OptionError
			require.ErrorAs(t, err, &wrong)
			require.NotContains(t, err.Error(), canary)
		})
	}
}
