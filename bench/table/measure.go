package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// A batch is one run of the benchmark program. Cells that share a costly fixture are in one batch.
type batch struct {
	name, bench, skip, benchtime string
	// once is for a fixture too costly to make in every round: its runs follow each other in one process.
	once bool
}

// Fixed numbers of operations spare the search for the right number and make all runs alike.
var batches = []batch{
	{name: "floors", bench: "^BenchmarkFloor$/suite=1$/work=join$", benchtime: "10x"},
	{name: "64 conversations", bench: "^Benchmark(Decrypt|DecryptAll|Encrypt)$/suite=1$/conversations=64$/members=2$/size=1KiB$/store=", skip: "//////(checkpoint|profile)", benchtime: "20000x"},
	{name: "one caller", bench: "^Benchmark(Decrypt|Encrypt)$/suite=1$/conversations=1$/members=2$/size=1KiB$/store=durable$", skip: "//////(checkpoint|profile|state)", benchtime: "2000x"},
	{name: "1,000 members", bench: "^BenchmarkDecrypt$/suite=1$/conversations=64$/members=1000$/size=1KiB$/store=durable$", skip: "//////(checkpoint|profile)", benchtime: "10000x"},
	{name: "groups", bench: "^Benchmark(Join|AddCreate|UpdateCreate|UpdateProcess)$/suite=1$/members=1000$/store=durable$", skip: "////profile", benchtime: "10x"},
	{name: "cold messages", bench: "^BenchmarkDecrypt$/suite=1$/conversations=1$/members=/size=1KiB$/store=durable$/state=cold$", benchtime: "20x"},
	{name: "opening", bench: "^BenchmarkOpen$/conversations=(100000|1000000)$", benchtime: "1x", once: true},
}

// measurement runs the batches in rounds, all of them in each.
type measurement struct {
	rounds   int
	cpu      string  // numbers of cores, as -test.cpu has them
	steal    float64 // share that may be stolen of a run that counts
	only     *regexp.Regexp
	progress io.Writer
}

// program is a built benchmark program and where what it prints is kept.
type program struct {
	path string
	out  *os.File
}

// run builds the benchmarks of this module and keeps in out what they print. Another program, which may be none, runs each batch in turn with it, so that
// what slows the machine down for a while slows both, and what it prints is kept in otherOut.
func (m *measurement) run(out, other, otherOut string) (err error) {
	if m.rounds < 1 {
		return errors.New("-rounds is less than 1; choose 5, or more on a restless machine")
	}
	dir, err := os.MkdirTemp("", "conclave-table-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	built := filepath.Join(dir, "bench.test")
	build := exec.Command("go", "test", "-c", "-o", built, "github.com/conclave-mls/conclave/bench")
	build.Stderr = m.progress
	if err := build.Run(); err != nil {
		return fmt.Errorf("building the benchmarks: %w; start this from the module's directory", err)
	}
	var programs []program
	defer func() {
		for _, p := range programs {
			err = errors.Join(err, p.out.Close())
		}
	}()
	add := func(path, out string) error {
		f, err := os.Create(out)
		if err != nil {
			return fmt.Errorf("%w; name another file with -out or -before", err)
		}
		programs = append(programs, program{path, f})
		return nil
	}
	if err := add(built, out); err != nil {
		return err
	}
	if other != "" {
		if other, err = filepath.Abs(other); err != nil {
			return err
		}
		if err := add(other, otherOut); err != nil {
			return err
		}
	}
	began := time.Now()
	for round := range m.rounds {
		for _, b := range batches {
			if !m.only.MatchString(b.name) || b.once && round > 0 {
				continue
			}
			count := 1
			if b.once {
				count = m.rounds
			}
			for i := range programs {
				// Neither is always the first.
				p := programs[(i+round)%len(programs)]
				fmt.Fprintf(m.progress, "%6.0fs  round %d of %d: %s, %s\n", time.Since(began).Seconds(), round+1, m.rounds, b.name, filepath.Base(p.out.Name()))
				if err := m.runBatch(b, p, count); err != nil {
					return fmt.Errorf("%s: %w", b.name, err)
				}
			}
		}
	}
	return nil
}

// maxTries bounds how often a run is measured of which too much was stolen.
const maxTries = 3

// runBatch keeps what a run of a batch prints, and which share of the runs was stolen.
func (m *measurement) runBatch(b batch, p program, count int) error {
	tries := maxTries
	if b.once { // takes too long
		tries = 1
	}
	kept, shares, failed := leastStolen(tries, m.steal, readTicks, func() ([]byte, error) { return b.run(p, m.cpu, count, m.progress) })
	_, err := p.out.Write(kept)
	err = errors.Join(failed, err)
	for i, share := range shares {
		k := repeated
		if i == 0 {
			k = stolen
		}
		fmt.Fprintf(m.progress, "         %s %.0f%%\n", k.unit, 100*share)
		err = errors.Join(err, writeSteal(p.out, k, share))
	}
	return err
}

// run returns what the program prints.
func (b batch) run(p program, cpu string, count int, progress io.Writer) ([]byte, error) {
	if b.once { // is a process of its own, which has all cores
		cpu = cpu[strings.LastIndex(cpu, ",")+1:]
	}
	args := []string{"-test.run", "^$", "-test.bench", b.bench, "-test.benchtime", b.benchtime, "-test.cpu", cpu, "-test.count", fmt.Sprint(count), "-test.timeout", "0"}
	if b.skip != "" {
		args = append(args, "-test.skip", b.skip)
	}
	cmd := exec.Command(p.path, args...)
	cmd.Stderr = progress
	return cmd.Output()
}
