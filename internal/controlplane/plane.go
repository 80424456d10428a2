package controlplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Options says what to start. The zero value is the small pair: etcd and
// kube-apiserver.
type Options struct {
	// Workloads also starts kube-controller-manager, kube-scheduler and kwok,
	// so that pods are made, scheduled and reported ready, claims are bound to
	// one of ten volumes, namespaces are deleted, and owner references are
	// followed.
	Workloads bool

	// Nodes is the number of simulated nodes with Workloads, all ready when
	// Start returns. 0 means 2.
	Nodes int

	// Progress, if set, is told what is being done, and how far it is. It is
	// called from one goroutine at a time and must return quickly.
	Progress func(Progress)
}

func (o Options) report(p Progress) {
	if o.Progress != nil {
		o.Progress(p)
	}
}

func (o Options) nodes() int {
	if o.Nodes == 0 {
		return 2
	}
	return o.Nodes
}

// How long things may take before they are called broken: many times
// what a busy machine with two cores needs, as one that swaps needs more.
const (
	startTimeout = 4 * time.Minute
	stopTimeout  = 5 * time.Second
	pollInterval = 50 * time.Millisecond
)

// Plane is a running control plane. Its methods are safe for concurrent use.
type Plane struct {
	binaries  string // folder of the binaries
	workloads bool
	dir       string // data, certificates, sockets and logs; the components' working directory
	ca        *authority
	admin     identity
	port      int // found by the first start of kube-apiserver, then fixed
	reaper    *reaper

	kubeconfig []byte

	mu     sync.Mutex
	etcd   *component
	server *component
	others []*component // the workload components, in start order
	closed bool
}

// Start builds the binaries if need be (see [Ensure]), starts a control plane
// and returns when it is ready. ctx bounds the start only; the plane runs
// until [Plane.Close] or until this process ends, in whatever way.
func Start(ctx context.Context, opts Options) (*Plane, error) {
	if opts.Nodes < 0 {
		return nil, fmt.Errorf("controlplane: %d nodes asked for", opts.Nodes)
	}
	binaries, err := Ensure(ctx, opts)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout,
		fmt.Errorf("not ready after %s", startTimeout))
	defer cancel()

	p, err := newPlane(binaries, opts.Workloads)
	if err != nil {
		return nil, fmt.Errorf("controlplane: %w", err)
	}
	if err := p.start(ctx, opts); err != nil {
		return nil, fmt.Errorf("controlplane: %w", errors.Join(err, p.Close()))
	}
	return p, nil
}

// newPlane makes the data directory with its certificates, and the reaper that
// will remove it.
func newPlane(binaries string, workloads bool) (*Plane, error) {
	binaries, err := filepath.Abs(binaries)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "gitopskit-controlplane-")
	if err != nil {
		return nil, err
	}
	reaper, err := startReaper(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	p := &Plane{binaries: binaries, workloads: workloads, dir: dir, reaper: reaper}
	if err := p.writeCertificates(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *Plane) start(ctx context.Context, opts Options) error {
	p.mu.Lock()
	defer p.mu.Unlock()

	opts.report(Progress{Stage: Starting, Name: binEtcd})
	if err := p.startEtcd(); err != nil {
		return err
	}
	opts.report(Progress{Stage: Starting, Name: binServer})
	// kube-apiserver keeps trying to reach etcd, so the two come up together.
	if err := p.startServer(ctx); err != nil {
		return err
	}
	var err error
	if p.kubeconfig, err = kubeconfig(p.Config()); err != nil {
		return err
	}
	if !opts.Workloads {
		return nil
	}
	return p.startWorkloads(ctx, opts)
}

// StopServer kills kube-apiserver, as if the cluster had gone away: requests
// under way are cut off, and connections are refused until
// [Plane.StartServer]. etcd keeps the data. Stopping a stopped server does
// nothing.
func (p *Plane) StopServer() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errClosed
	}
	p.server.kill()
	return nil
}

// StartServer starts kube-apiserver again at its old address and returns when
// it is ready. ctx bounds the start only. Starting a running server does
// nothing.
func (p *Plane) StartServer(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errClosed
	}
	if p.server.running() {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout,
		fmt.Errorf("not ready after %s", startTimeout))
	defer cancel()
	if err := p.startServer(ctx); err != nil {
		return fmt.Errorf("controlplane: %w", err)
	}
	return nil
}

// Workloads tells whether the plane was started with [Options].Workloads.
func (p *Plane) Workloads() bool { return p.workloads }

var errClosed = errors.New("controlplane: the plane is closed")

// Close stops every component, clients before servers, and removes the data.
// Closing a closed plane does nothing.
func (p *Plane) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true

	var wg sync.WaitGroup
	for _, c := range p.others {
		wg.Go(func() { c.stop(stopTimeout) })
	}
	wg.Wait()
	p.server.stop(stopTimeout)
	p.etcd.stop(stopTimeout)

	if err := errors.Join(p.reaper.close(), os.RemoveAll(p.dir)); err != nil {
		return fmt.Errorf("controlplane: %w", err)
	}
	return nil
}
