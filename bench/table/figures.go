package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// figures are the values that benchmarks printed, in the order of the runs.
type figures map[figure][]float64

// figure names what was measured: a cell without "Benchmark", the number of cores, and the unit.
type figure struct {
	cell  string
	cores int
	unit  string
}

func readFiles(names ...string) (figures, error) {
	all := make(figures)
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		err = all.read(f)
		_ = f.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return all, nil
}

// read takes the lines of benchmarks from what "go test -bench" printed, those of writeSteal, and passes over all others.
func (fs figures) read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		fs.readSteal(fields)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") || len(fields)%2 != 0 {
			continue
		}
		cell, cores := strings.TrimPrefix(fields[0], "Benchmark"), 1
		if i := strings.LastIndexByte(cell, '-'); i >= 0 {
			if n, err := strconv.Atoi(cell[i+1:]); err == nil {
				cell, cores = cell[:i], n
			}
		}
		for i := 2; i < len(fields); i += 2 {
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return fmt.Errorf("%s has the value %q", fields[0], fields[i])
			}
			k := figure{cell, cores, fields[i+1]}
			fs[k] = append(fs[k], v)
		}
	}
	return lines.Err()
}

// cores are the numbers of cores that anything was measured on, ascending.
func (fs figures) cores() []int {
	var out []int
	for k := range fs {
		if k.cell != "" {
			out = append(out, k.cores)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// median of an even number of values is the mean of the two in the middle; of none there is no median.
func median(values []float64) (v float64, ok bool) {
	if len(values) == 0 {
		return 0, false
	}
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2, true
}
