package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/gitopskit/gitopskit/artifact"
	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/ssa"
)

// demo sets the stage, tells the story or walks the user's road, and clears up.
func demo(ctx context.Context, cfg *config, out *printer) (err error) {
	dir, err := os.MkdirTemp("", "gitopskit-quickstart-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	// The repository first: a wrong address must not cost the start of a cluster.
	out.begin("The stage")
	stage := &stage{cfg: cfg, out: out, dir: dir}
	if err := stage.openRepository(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.closeRepository()) }()

	stage.cluster, err = newCluster(ctx, cfg.kubeconfig, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.cluster.close(out, cfg.keep)) }()

	if err := stage.buildRoad(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.news.Close()) }()
	if stage.sample == nil {
		return stage.walkTwice(ctx)
	}
	return stage.tell(ctx)
}

type stage struct {
	cfg     *config
	out     *printer
	dir     string
	sample  *sample // nil with --url
	remote  *git.Remote
	keys    *git.Keys
	cluster *cluster
	road    *road
	news    *news
	failed  bool
}

// openRepository makes the sample, or finds the user's repository. A wrong address
// must not cost the start of a cluster, so it is asked for the reference at once.
func (s *stage) openRepository(ctx context.Context) error {
	auth, err := s.cfg.auth()
	if err != nil {
		return err
	}
	ca, err := readOptional("--ca-file", s.cfg.caBundle)
	if err != nil {
		return err
	}
	if s.cfg.url == "" {
		if err := s.makeSample(ctx); err != nil {
			return err
		}
	}
	if err := s.readKeys(); err != nil {
		return err
	}
	s.remote, err = git.Open(s.cfg.url, git.Options{Auth: auth, CABundle: ca, WrapTransport: s.out.meter.Wrap})
	if err != nil || s.sample != nil {
		return err
	}
	return s.out.steps(ctx, step{"repository", func(ctx context.Context) (string, error) {
		rev, err := s.remote.Resolve(ctx, s.cfg.ref)
		return fmt.Sprintf("%s, %s is %s", s.remote.URL(), s.cfg.ref, rev), err
	}})
}

// makeSample sets the configuration to what the story needs.
func (s *stage) makeSample(ctx context.Context) error {
	return s.out.steps(ctx, step{"repository", func(ctx context.Context) (note string, err error) {
		if s.sample, err = newSample(ctx, s.dir); err != nil {
			return "", err
		}
		s.cfg.url = s.sample.url()
		s.cfg.ref = git.Ref{SemVer: ">=1.0.0 <2.0.0"}
		s.cfg.path, s.cfg.chart = "deploy/production", "chart"
		return "tag v1.0.0 signed with OpenPGP, commit signed with SSH, served by git http-backend at " + s.cfg.url, nil
	}})
}

// readKeys reads what is trusted to sign. Without any, nothing is verified.
func (s *stage) readKeys() (err error) {
	var files [][]byte
	if s.sample != nil {
		files = s.sample.keys()
	}
	for _, name := range s.cfg.keys {
		data, err := readOptional("--key", name)
		if err != nil {
			return err
		}
		files = append(files, data)
	}
	if len(files) > 0 {
		s.keys, err = git.ParseKeys(files...)
	}
	return err
}

func (s *stage) closeRepository() error {
	err := s.remote.Close()
	if s.sample != nil {
		err = errors.Join(err, s.sample.server.Close())
	}
	return err
}

func (s *stage) buildRoad() error {
	s.cluster.cfg.Wrap(s.out.meter.Wrap)
	mode := git.ModeHead
	if s.cfg.ref.Tag != "" || s.cfg.ref.SemVer != "" {
		mode = git.ModeTagAndHead
	}
	applier, err := ssa.New(s.cluster.cfg, ssa.Options{Manager: "gitopskit-quickstart"})
	if err != nil {
		return err
	}
	pruner, err := gc.NewPruner(s.cluster.cfg)
	if err != nil {
		return err
	}
	inventory, err := gc.NewConfigMapStore(s.cluster.cfg, s.cluster.namespace, inventoryName, gc.StoreOptions{})
	if err != nil {
		return err
	}
	store, err := artifact.NewStore(s.dir+"/artifacts", artifact.StoreOptions{})
	if err != nil {
		return err
	}
	if s.news, err = newNews(); err != nil {
		return err
	}
	s.road = &road{
		remote: s.remote, ref: s.cfg.ref, keys: s.keys, mode: mode,
		store: store, path: s.cfg.path, chart: s.cfg.chart,
		namespace: s.cluster.namespace, owner: owner,
		applier: applier, pruner: pruner, inventory: inventory,
		news: s.news.recorder, timeout: s.cfg.timeout, out: s.out,
	}
	return nil
}

func (c *config) auth() (git.Auth, error) {
	password, err1 := readOptional("--password-file", c.password)
	key, err2 := readOptional("--ssh-key", c.sshKey)
	hosts, err3 := readOptional("--known-hosts", c.knownHosts)
	return git.Auth{
		Username: c.username, Password: strings.TrimSpace(string(password)),
		SSHKey: key, KnownHosts: hosts,
	}, errors.Join(err1, err2, err3)
}

func readOptional(flag, name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", flag, err)
	}
	return data, nil
}
