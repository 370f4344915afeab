// Command table measures what the engine has to reach and says row by row whether it does. With files, which hold what "go test -bench" printed, it reads
// instead of measuring.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
)

const about = `usage: go run ./bench/table [flags] [FILE...]

Runs the benchmarks that the table needs, all of them in each round, and prints the table of their medians.
Needs a quiet machine, the go command, and about twenty minutes for five rounds. With files it only reads them.

`

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "table:", err)
		}
		os.Exit(1)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	set := flag.NewFlagSet("table", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.Usage = func() {
		fmt.Fprint(stderr, about)
		set.PrintDefaults()
	}
	rounds := set.Int("rounds", 5, "runs of each benchmark, interleaved")
	out := set.String("out", "bench.txt", "file to keep what the benchmarks print, for benchstat and to read again; it is overwritten")
	before := set.String("before", "", "file of an earlier commit, whose medians get a column")
	against := set.String("against", "", "program of an earlier commit's benchmarks, from go test -c; it runs in turn with this one's, and what it prints is kept in the file of -before")
	only := set.String("only", "", "runs only batches whose name matches")
	steal := set.Float64("steal", 100, "percent; on Linux, runs in which the host took more than that of the time of busy processors are measured again, at most twice")
	cpu := set.String("cpu", "1,2", "numbers of cores, with commas between them")
	if err := set.Parse(args); err != nil {
		return err
	}
	chosen, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	files := set.Args()
	switch {
	case len(files) > 0 && *against != "":
		return errors.New("-against measures, and files are read; leave one out")
	case *against != "" && *before == "":
		return errors.New("-against needs -before, the file to keep what it prints")
	case len(files) == 0:
		m := &measurement{rounds: *rounds, cpu: *cpu, steal: *steal / 100, only: chosen, progress: stderr}
		if err := m.run(*out, *against, *before); err != nil {
			return err
		}
		files = []string{*out}
	}
	now, err := readFiles(files...)
	if err != nil {
		return err
	}
	var earlier figures
	if *before != "" {
		if earlier, err = readFiles(*before); err != nil {
			return err
		}
	}
	return errors.Join(now.print(stdout, earlier), now.printSteal(stdout, "this"), earlier.printSteal(stdout, "the earlier commit"))
}
