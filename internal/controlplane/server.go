package controlplane

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// Every path and socket in the arguments below is relative to the plane's
// directory, in which the components run: a socket's full path may be longer
// than the 104 bytes that macOS allows.

func (p *Plane) startEtcd() (err error) {
	const client, peer = "unix://etcd.sock", "unix://peer.sock"
	p.etcd, err = p.run(binEtcd,
		"--name=default",
		"--data-dir=etcd",
		"--listen-client-urls="+client,
		"--advertise-client-urls="+client,
		"--listen-peer-urls="+peer,
		"--initial-advertise-peer-urls="+peer,
		"--initial-cluster=default="+peer,
		"--unsafe-no-fsync",
		// A member that is alone need not wait a second for other votes.
		"--heartbeat-interval=10",
		"--election-timeout=100",
		"--log-level=warn",
	)
	return err
}

// serverArgs are the arguments of kube-apiserver but for its port. What is
// switched off is of no use without kubelets and pod networks.
func serverArgs() []string {
	return []string{
		"--etcd-servers=unix://etcd.sock",
		"--etcd-count-metric-poll-period=0",
		"--etcd-db-metric-poll-interval=0",
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		"--endpoint-reconciler-type=none",
		"--tls-cert-file=" + fileServerCert,
		"--tls-private-key-file=" + fileServerKey,
		"--client-ca-file=" + fileCA,
		"--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + fileServiceAccountKey,
		"--service-account-signing-key-file=" + fileServiceAccountKey,
		"--service-cluster-ip-range=" + serviceRange,
		"--allow-privileged",
		"--profiling=false",
	}
}

const serviceRange = "10.96.0.0/16"

// portAttempts bounds how often another port is tried.
const portAttempts = 5

// startServer starts kube-apiserver and waits until it is ready. The first
// start finds a port; a later one must use it again, because clients know it.
func (p *Plane) startServer(ctx context.Context) error {
	if p.port != 0 {
		return p.startServerAt(ctx, p.port)
	}
	var err error
	for range portAttempts {
		var port int
		if port, err = freePort(); err != nil {
			return err
		}
		if err = p.startServerAt(ctx, port); err == nil {
			p.port = port
			return nil
		}
		// Another process may have taken the port since it was found free.
		if !portTaken(err) {
			return err
		}
	}
	return err
}

func (p *Plane) startServerAt(ctx context.Context, port int) (err error) {
	args := append(serverArgs(), "--secure-port="+strconv.Itoa(port))
	if !p.workloads {
		// Nobody creates the service accounts that this plugin asks for.
		args = append(args, "--disable-admission-plugins=ServiceAccount")
	}
	if p.server, err = p.run(binServer, args...); err != nil {
		return err
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs:      p.ca.pool(),
		Certificates: []tls.Certificate{p.admin.pair},
	}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	err = p.await(ctx, p.server, func(ctx context.Context) error {
		return get(ctx, client, address(port)+"/readyz")
	})
	if err != nil {
		p.server.kill()
	}
	return err
}

func get(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	// Read to the end, so that the connection is used again.
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}

// The range lies below the ports that Linux and macOS give to outgoing
// connections, so that a port stays free while the server is stopped.
const firstPort, lastPort = 20000, 29999

// freePort returns a loopback port that was free a moment ago.
func freePort() (int, error) {
	var last error
	for range 100 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		l, err := net.Listen("tcp4", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			last = err
			continue
		}
		return port, l.Close()
	}
	return 0, fmt.Errorf("no free port between %d and %d: %w", firstPort, lastPort, last)
}

// portTaken tells whether a component ended because another process has its
// port.
func portTaken(err error) bool {
	var failed *componentError
	return errors.As(err, &failed) && strings.Contains(failed.log, "address already in use")
}
