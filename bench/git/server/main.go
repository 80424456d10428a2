// Command server serves the repositories in a folder to the benchmarks of git. It
// prints its addresses as JSON and ends with its standard input.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/gitopskit/gitopskit/bench/git/host"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) != 1 {
		return errors.New("this is the Git server of the benchmarks, started by the program in bench with a folder of repositories")
	}
	server, err := host.Serve(ctx, args[0])
	if err != nil {
		return err
	}
	err = json.NewEncoder(out).Encode(server)
	if err == nil {
		_, err = io.Copy(io.Discard, in)
	}
	return errors.Join(err, server.Close())
}
