// Command bench measures gitopskit beside its peers: for each pair, our code and
// the peer's do the same work on the same server, in rounds that alternate.
//
//	go -C bench run . -list
//	go -C bench run . -run kustomize -rounds 9
//	go -C bench run . -json
//
// Each side is a program of its own (kustomize/ours, kustomize/peer and so on),
// which is built first, static as in a controller's image, and which links nothing
// of the other side. Therefore the go command and the repository are needed, with
// the bench module as the working directory.
//
// Figures are medians of the rounds; the ratio is the peer's seconds over ours. CPU
// is the time on a processor of the whole process, for itself and in the system.
// The peak is its largest resident set, the Go runtime and the program's own code
// included, from the end of the setup to the last round. Of a side that runs a
// command, the command's time and peak are in the figures. Where the seconds are of
// a part of the work, whole_seconds are of all of it.
//
// The benchmarks of git need the git command, which makes the repositories once,
// in .cache/bench of the repository, and serves them from a process that belongs
// to neither side.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
)

// minRounds is the least from which a median says something.
const minRounds = 5

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	list := flags.Bool("list", false, "print the names of the benchmarks and end")
	pattern := flags.String("run", "", "measure only benchmarks whose name matches this regular expression")
	asJSON := flags.Bool("json", false, "print one JSON object per line instead of a table")
	rounds := flags.Int("rounds", 7, "rounds of each side, at least 5; heavy benchmarks have 5 in any case")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q is not an option; see -help", flags.Arg(0))
	}
	if *rounds < minRounds {
		return fmt.Errorf("-rounds %d is too few for a median; use %d or more", *rounds, minRounds)
	}
	chosen, err := choose(pairs(), *pattern)
	if err != nil {
		return err
	}
	if *list {
		for _, p := range chosen {
			fmt.Fprintln(stdout, p.Name)
		}
		return nil
	}
	var report reporter = &tableReporter{out: stdout}
	if *asJSON {
		report = &jsonReporter{out: stdout}
	}
	return measureAll(ctx, chosen, *rounds, report, stderr)
}

func choose(all []Pair, pattern string) ([]Pair, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("-run: %w", err)
	}
	var chosen []Pair
	for _, p := range all {
		if re.MatchString(p.Name) {
			chosen = append(chosen, p)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no benchmark matches %q; see -list", pattern)
	}
	return chosen, nil
}
