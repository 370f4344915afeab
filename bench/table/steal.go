package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// ticks are the time of all processors since the system started: busy, the time they have worked, and stolen, the time they had work and the host of the
// virtual machine let others run.
type ticks struct{ busy, stolen float64 }

// readTicks answers false where the system does not say. Linux does.
func readTicks() (ticks, bool) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return ticks{}, false
	}
	return parseTicks(string(b))
}

// parseTicks reads the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal.
func parseTicks(stat string) (t ticks, ok bool) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return t, false
	}
	for i, field := range fields[1:9] {
		v, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return ticks{}, false
		}
		switch i {
		case 3, 4: // idle
		case 7:
			t.stolen = v
		default:
			t.busy += v
		}
	}
	return t, true
}

// since returns which share of the time that the processors had work was stolen.
func (t ticks) since(before ticks) float64 {
	busy, stolen := t.busy-before.busy, t.stolen-before.stolen
	if stolen <= 0 {
		return 0
	}
	return stolen / (busy + stolen)
}

// leastStolen calls run until no more than limit was stolen while it ran, so often at most, and returns what it has returned where that was least. The
// shares are in order, that one's is the first; where none is known there are none.
func leastStolen(tries int, limit float64, read func() (ticks, bool), run func() ([]byte, error)) (kept []byte, shares []float64, err error) {
	for range tries {
		before, _ := read()
		out, err := run()
		after, known := read()
		if err != nil || !known {
			return out, shares, err
		}
		share := after.since(before)
		if len(shares) == 0 || share < shares[0] {
			kept = out
		}
		shares = append(shares, share)
		slices.Sort(shares)
		if share <= limit {
			break
		}
	}
	return kept, shares, nil
}

// Figures of runs rather than cells: the share that was stolen, of those that count and of those that were measured again for it.
var (
	stolen   = figure{unit: "stolen"}
	repeated = figure{unit: "repeated"}
)

// writeSteal notes the share of a run in a line that no other tool reads.
func writeSteal(w io.Writer, k figure, share float64) error {
	_, err := fmt.Fprintf(w, "# %s %.4f\n", k.unit, share)
	return err
}

// readSteal takes what writeSteal has written and passes over all else.
func (fs figures) readSteal(fields []string) {
	for _, k := range []figure{stolen, repeated} {
		if len(fields) == 3 && fields[0] == "#" && fields[1] == k.unit {
			if v, err := strconv.ParseFloat(fields[2], 64); err == nil {
				fs[k] = append(fs[k], v)
			}
		}
	}
}

// printSteal says what the figures are worth.
func (fs figures) printSteal(w io.Writer, which string) error {
	shares := fs[stolen]
	middle, ok := median(shares)
	if !ok {
		return nil
	}
	_, err := fmt.Fprintf(w, "\nOf the time that processors had work, the host gave %.0f%% to others while %s was measured (median of %d runs, %.0f%% to %.0f%%). Runs measured again for that: %d.\n",
		100*middle, which, len(shares), 100*slices.Min(shares), 100*slices.Max(shares), len(fs[repeated]))
	return err
}
