// Command table measures what the engine has to reach and says row by row whether it does. With files, which hold what "go test -bench" printed, it reads
// instead of measuring.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const about = `usage: go run ./bench/table [flags] [FILE...]

Runs the benchmarks that the table needs, all of them in each round, and prints the table of their medians.
Needs a quiet machine, the go command, and about twelve minutes for five rounds. With files it only reads them.

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
	cpu := set.String("cpu", "1,2", "numbers of cores, with commas between them")
	if err := set.Parse(args); err != nil {
		return err
	}
	files := set.Args()
	if len(files) == 0 {
		if err := measureAll(*rounds, *cpu, *out, stderr); err != nil {
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
	return now.print(stdout, earlier)
}

// A batch is one run of the benchmark program. Cells that share a costly fixture are in one batch.
type batch struct {
	name, bench, skip, benchtime string
	// once is for a fixture too costly to make in every round: its runs follow each other in one process.
	once bool
}

// Fixed numbers of operations spare the search for the right number and make all runs alike.
var batches = []batch{
	{name: "64 conversations", bench: "^Benchmark(Decrypt|DecryptAll|Encrypt)$/suite=1$/conversations=64$/members=2$/size=1KiB$/store=", skip: "//////(checkpoint|profile)", benchtime: "20000x"},
	{name: "one caller", bench: "^Benchmark(Decrypt|Encrypt)$/suite=1$/conversations=1$/members=2$/size=1KiB$/store=durable$", skip: "//////(checkpoint|profile|state)", benchtime: "2000x"},
	{name: "1,000 members", bench: "^BenchmarkDecrypt$/suite=1$/conversations=64$/members=1000$/size=1KiB$/store=durable$", skip: "//////(checkpoint|profile)", benchtime: "10000x"},
	{name: "groups", bench: "^Benchmark(Join|AddCreate|UpdateCreate|UpdateProcess)$/suite=1$/members=1000$/store=durable$", skip: "////profile", benchtime: "10x"},
	{name: "cold messages", bench: "^BenchmarkDecrypt$/suite=1$/conversations=1$/members=/size=1KiB$/store=durable$/state=cold$", benchtime: "20x"},
	{name: "opening", bench: "^BenchmarkOpen$/conversations=100000$", benchtime: "1x", once: true},
}

// measureAll runs all batches in every round and keeps what they print.
func measureAll(rounds int, cpu, out string, progress io.Writer) (err error) {
	if rounds < 1 {
		return errors.New("-rounds is less than 1; choose 5, or more on a restless machine")
	}
	dir, err := os.MkdirTemp("", "conclave-table-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program := filepath.Join(dir, "bench.test")
	build := exec.Command("go", "test", "-c", "-o", program, "github.com/conclave-mls/conclave/bench")
	build.Stderr = progress
	if err := build.Run(); err != nil {
		return fmt.Errorf("building the benchmarks: %w; start this from the module's directory", err)
	}
	f, err := os.Create(out)
	if err != nil {
		return fmt.Errorf("%w; name another file with -out", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	began := time.Now()
	for round := range rounds {
		for _, b := range batches {
			count := 1
			if b.once {
				if round > 0 {
					continue
				}
				count = rounds
			}
			fmt.Fprintf(progress, "%6.0fs  round %d of %d: %s\n", time.Since(began).Seconds(), round+1, rounds, b.name)
			if err := b.run(program, cpu, count, f, progress); err != nil {
				return fmt.Errorf("%s: %w", b.name, err)
			}
		}
	}
	return nil
}

func (b batch) run(program, cpu string, count int, out, progress io.Writer) error {
	args := []string{"-test.run", "^$", "-test.bench", b.bench, "-test.benchtime", b.benchtime, "-test.cpu", cpu, "-test.count", fmt.Sprint(count), "-test.timeout", "0"}
	if b.skip != "" {
		args = append(args, "-test.skip", b.skip)
	}
	if b.once { // is a process of its own, which has all cores
		args[7] = cpu[strings.LastIndex(cpu, ",")+1:]
	}
	w := bufio.NewWriter(out)
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = w, progress
	return errors.Join(cmd.Run(), w.Flush())
}
