// Command ensure builds the S3 gateway of the tests, so that their first run does
// not seem to hang.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/gitopskit/gitopskit/internal/s3gateway"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	_, err := s3gateway.Ensure(ctx)
	return err
}
