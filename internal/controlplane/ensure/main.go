// Command ensure builds the binaries of the test control plane, and shows how
// far it is, so that a first run of the tests does not seem to hang.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/gitopskit/gitopskit/internal/controlplane"
)

func main() {
	workloads := flag.Bool("workloads", false, "also build kube-controller-manager, kube-scheduler and kwok")
	flag.Parse()
	if err := run(controlplane.Options{Workloads: *workloads}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(opts controlplane.Options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	report, done := controlplane.Printer(os.Stderr)
	defer done()
	opts.Progress = report
	_, err := controlplane.Ensure(ctx, opts)
	return err
}
