// Command quickstart walks a change from a Git reference to a healthy cluster,
// on real parts: git's own HTTP server, a Kubernetes control plane, and the eight
// packages of gitopskit in between.
//
// Without --url it tells a story on a sample repository: a signed release, a
// second one, a change by hand, a run with nothing to do, and a forged tag. Each
// act states what must hold, and the exit code is 0 only if all of it did.
//
// With --url it walks the road once for any repository, and once more to show
// what a run with nothing to do costs.
//
// The cluster is an embedded one, or the one that KUBECONFIG or --kubeconfig
// names. There everything happens in a new namespace, which is removed at the end.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"k8s.io/klog/v2"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/meter"
)

type config struct {
	url        string
	ref        git.Ref
	path       string
	chart      string
	keys       stringList
	sshKey     string
	knownHosts string
	username   string
	password   string // file
	caBundle   string
	kubeconfig string
	output     string
	timeout    time.Duration
	keep       bool
}

type stringList []string

func (l *stringList) String() string     { return strings.Join(*l, ",") }
func (l *stringList) Set(s string) error { *l = append(*l, s); return nil }

func main() {
	klog.SetOutput(io.Discard) // client-go's own remarks; what matters comes back as errors
	klog.LogToStderr(false)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main without the process around it. It returns the exit code: 0 if
// everything held, 1 if something did not, 2 for a wrong use.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "quickstart:", err)
		return 2
	}
	out := &printer{out: stdout, err: stderr, json: cfg.output == "json", meter: &meter.Meter{}}
	if f, ok := stderr.(*os.File); ok {
		out.terminal = onTerminal(f)
	}
	err = demo(ctx, cfg, out)
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "quickstart: interrupted; everything that was started is gone")
	default:
		fmt.Fprintln(stderr, "quickstart:", err)
	}
	return 1
}

func parse(args []string, stderr io.Writer) (*config, error) {
	cfg := &config{}
	f := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&cfg.url, "url", "", "repository to walk instead of the sample: https://, http:// or ssh://")
	f.StringVar(&cfg.ref.Branch, "branch", "", "branch to follow; default: the remote's HEAD")
	f.StringVar(&cfg.ref.Tag, "tag", "", "tag to deploy")
	f.StringVar(&cfg.ref.SemVer, "semver", "", "range of versions, of which the highest tag is deployed: \">=1.0.0 <2.0.0\"")
	f.StringVar(&cfg.ref.Commit, "commit", "", "commit to deploy, as a full hash")
	f.StringVar(&cfg.path, "path", ".", "directory of the overlay in the repository")
	f.StringVar(&cfg.chart, "chart", "", "directory of a Helm chart in the repository, to be applied as well")
	f.Var(&cfg.keys, "key", "file with trusted public keys, OpenPGP (armored) or SSH; may be repeated; without it signatures are not verified")
	f.StringVar(&cfg.sshKey, "ssh-key", "", "file with the private key for an ssh:// address")
	f.StringVar(&cfg.knownHosts, "known-hosts", "", "file with the known hosts for an ssh:// address")
	f.StringVar(&cfg.username, "username", "", "user name for the repository")
	f.StringVar(&cfg.password, "password-file", "", "file with the password or token for the repository")
	f.StringVar(&cfg.caBundle, "ca-file", "", "file with certificates in PEM to trust for https:// as well")
	f.StringVar(&cfg.kubeconfig, "kubeconfig", "", "cluster to use; default: $KUBECONFIG, else an embedded control plane")
	f.StringVar(&cfg.output, "o", "text", "output: text, or json (one object per line)")
	f.DurationVar(&cfg.timeout, "timeout", 2*time.Minute, "how long to wait for objects to be ready")
	f.BoolVar(&cfg.keep, "keep", false, "leave the namespace in the cluster (with --kubeconfig)")
	f.Usage = func() {
		fmt.Fprintln(stderr, "usage: quickstart [flags]\n\nWalks a change from a signed Git tag to a healthy cluster.")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	return cfg, cfg.check(f)
}

func (c *config) check(f *flag.FlagSet) error {
	refs := 0
	for _, r := range []string{c.ref.Branch, c.ref.Tag, c.ref.SemVer, c.ref.Commit} {
		if r != "" {
			refs++
		}
	}
	switch {
	case f.NArg() > 0:
		return fmt.Errorf("unexpected argument %q; see -h", f.Arg(0))
	case c.output != "text" && c.output != "json":
		return fmt.Errorf("-o %q is unknown; use text or json", c.output)
	case refs > 1:
		return errors.New("give one of --branch, --tag, --semver and --commit")
	case c.url == "" && (refs > 0 || c.path != "." || c.chart != "" || len(c.keys) > 0):
		return errors.New("--branch, --tag, --semver, --commit, --path, --chart and --key need --url; without it the sample's own are used")
	}
	return nil
}
