package main

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// A row is one thing the engine has to reach.
type row struct {
	work   string
	value  value
	format string  // of the value; it begins with %.0f to %.9f
	scale  float64 // what a value is multiplied with before it is shown and compared; 0 is 1
	// bar is what it has to reach now and next what is aimed at. 0 is none. Less is better, unless least says that the bar is the least.
	bar, next float64
	least     bool
	// perCore multiplies bar and next by the number of cores, and leaves a single core out.
	perCore bool
	// several says that the bar is not for one core.
	several bool
	// clock says that bar and next are times on the machine they were set on, so that on a slower one they are held against its speed too.
	clock bool
}

// setOn is the floor of joining 1,000 on one core, in nanoseconds, of the machine on which bars in milliseconds were set.
const setOn = 33e6

// slowness is how much longer this machine takes for that floor, 0 if it was not measured.
func (fs figures) slowness() float64 {
	v, _, ok := of(joinFloor, "ns/op")(fs, 1)
	if !ok {
		return 0
	}
	return v / setOn
}

// value computes a row's value on a number of cores, with how many runs it rests on.
type value func(fs figures, cores int) (v float64, runs int, ok bool)

// of is the median of one figure.
func of(cell, unit string) value {
	return func(fs figures, cores int) (float64, int, bool) {
		all := fs[figure{cell, cores, unit}]
		v, ok := median(all)
		return v, len(all), ok
	}
}

// against divides the floors that one cell takes by those of another, whose floors are the same.
func against(cell, by string) value {
	return func(fs figures, cores int) (float64, int, bool) {
		a, n, ok := of(cell, "x-floor")(fs, cores)
		b, m, also := of(by, "x-floor")(fs, cores)
		return a / b, min(n, m), ok && also && b != 0
	}
}

// speedUp is how many times as fast a cell is on several cores as on one. The two were not measured at the same time, so both are taken in floors of one
// goroutine alone.
func speedUp(cell string) value {
	return func(fs figures, cores int) (float64, int, bool) {
		a, n, ok := of(cell, "x-floor")(fs, 1)
		b, m, also := of(cell, "x-floor-alone")(fs, cores)
		return a / b, min(n, m), ok && also && b != 0 && cores > 1
	}
}

// share divides the floors that a cell takes on one core by those it takes on several: 1 if it gains as much by more cores as the bare primitives do.
func share(cell string) value {
	return func(fs figures, cores int) (float64, int, bool) {
		a, n, ok := of(cell, "x-floor")(fs, 1)
		b, m, also := of(cell, "x-floor")(fs, cores)
		return a / b, min(n, m), ok && also && b != 0 && cores > 1
	}
}

const (
	busy     = "/suite=1/conversations=64/members=2/size=1KiB/store=durable"
	busyLots = "/suite=1/conversations=64/members=1000/size=1KiB/store=durable"
	inMemory = "/suite=1/conversations=64/members=2/size=1KiB/store=memory"
	alone    = "/suite=1/conversations=1/members=2/size=1KiB/store=durable"
	group    = "/suite=1/members=1000/store=durable"

	joinFloor = "Floor/suite=1/work=join/size=1KiB"

	milliseconds = 1e-6
	seconds      = 1e-9
	mebibytes    = 1.0 / (1 << 20)
)

func coldMessage(members int) string {
	return fmt.Sprintf("Decrypt/suite=1/conversations=1/members=%d/size=1KiB/store=durable/state=cold", members)
}

var rows = []row{
	{work: "decrypt 1 KiB, 64 busy conversations of 2, durable", value: of("Decrypt"+busy, "x-floor"), format: "%.2f × floor", bar: 1.6},
	{work: "the same, messages a second", value: of("Decrypt"+busy, "msg/s"), format: "%.0f/s"},
	{work: "the same through DecryptAll", value: of("DecryptAll"+busy, "x-floor"), format: "%.2f × floor", bar: 1.0, next: 0.75},
	{work: "the same, messages a second", value: of("DecryptAll"+busy, "msg/s"), format: "%.0f/s", next: 60_000, least: true, several: true},
	{work: "decrypt in conversations of 1,000, against 2", value: against("Decrypt"+busyLots, "Decrypt"+busy), format: "%.2f ×", bar: 1.2},
	{work: "the same, written", value: of("Decrypt"+busyLots, "written-B/msg"), format: "%.0f B", bar: 512, next: 256},
	{work: "decrypt cold at 10,000, against cold at 2", value: against(coldMessage(10_000), coldMessage(2)), format: "%.2f ×", next: 1.2},
	{work: "encrypt 1 KiB, 64 busy, durable", value: of("Encrypt"+busy, "x-floor"), format: "%.2f × floor", bar: 2, next: 1.5},
	{work: "the same, eight callers at each conversation", value: of("Encrypt"+busy+"/callers=8", "x-floor"), format: "%.2f × floor", next: 1.5},
	{work: "the same, one caller, generations leased", value: of("Encrypt"+busy+"/generations=leased", "x-floor"), format: "%.2f × floor"},
	{work: "parallel decrypt, in memory, 1 → n cores", value: speedUp("Decrypt" + inMemory), format: "%.2f ×", bar: 0.9, next: 0.95, least: true, perCore: true},
	{work: "the same, as a share of what the bare primitives gain", value: share("Decrypt" + inMemory), format: "%.2f"},
	{work: "the same through DecryptAll, 1 → n cores", value: speedUp("DecryptAll" + inMemory), format: "%.2f ×", bar: 0.9, next: 0.95, least: true, perCore: true},
	{work: "one caller decrypts, durable", value: of("Decrypt"+alone, "x-sync-floor"), format: "%.2f × (sync + floor)", bar: 1.3},
	{work: "one caller encrypts, durable", value: of("Encrypt"+alone, "x-sync-floor"), format: "%.2f × (sync + floor)", bar: 1.3},
	{work: "one caller encrypts, generations leased", value: of("Encrypt"+alone+"/generations=leased", "x-floor"), format: "%.2f × floor"},
	{work: "floor of a join of 1,000, one core; 33 ms where bars in ms were set", value: of(joinFloor, "ns/op"), format: "%.1f ms", scale: milliseconds},
	{work: "join 1,000 members, durable", value: of("Join"+group, "ns/op"), format: "%.1f ms", scale: milliseconds, bar: 30, next: 22, several: true, clock: true},
	{work: "the same, against the floor", value: of("Join"+group, "x-floor"), format: "%.2f × floor"},
	{work: "the same, grown tree", value: of("Join"+group+"/tree=grown", "ns/op"), format: "%.1f ms", scale: milliseconds},
	{work: "add 999 in one commit, durable", value: of("AddCreate"+group, "ns/op"), format: "%.0f ms", scale: milliseconds, bar: 200, next: 100, several: true, clock: true},
	{work: "the same, against the floor", value: of("AddCreate"+group, "x-floor"), format: "%.2f × floor"},
	{work: "create an update at 1,000, durable", value: of("UpdateCreate"+group, "ns/op"), format: "%.1f ms", scale: milliseconds, bar: 60, next: 40, several: true, clock: true},
	{work: "the same, grown tree", value: of("UpdateCreate"+group+"/tree=grown", "ns/op"), format: "%.1f ms", scale: milliseconds},
	{work: "process an update at 1,000, hot", value: of("UpdateProcess"+group, "ns/op"), format: "%.2f ms", scale: milliseconds, bar: 2, next: 0.5, several: true, clock: true},
	{work: "the same, cold", value: of("UpdateProcess"+group+"/state=cold", "ns/op"), format: "%.2f ms", scale: milliseconds, bar: 8, several: true, clock: true},
	{work: "the same, grown tree, hot", value: of("UpdateProcess"+group+"/tree=grown", "ns/op"), format: "%.2f ms", scale: milliseconds},
	{work: "the same, grown tree, cold", value: of("UpdateProcess"+group+"/tree=grown/state=cold", "ns/op"), format: "%.2f ms", scale: milliseconds},
	{work: "open 100,000 conversations after Close", value: of("Open/conversations=100000", "ns/op"), format: "%.3f s", scale: seconds, bar: 0.3, several: true},
	{work: "the same after SIGKILL", value: of("Open/conversations=100000/after=kill", "ns/op"), format: "%.2f s", scale: seconds, bar: 2.5, several: true},
	{work: "the same, resident with 1% hot", value: of("Open/conversations=100000", "resident-B"), format: "%.0f MiB", scale: mebibytes, bar: 512, several: true},
	{work: "open 1,000,000 conversations after Close", value: of("Open/conversations=1000000", "ns/op"), format: "%.3f s", scale: seconds, next: 0.3, several: true},
	{work: "the same after SIGKILL", value: of("Open/conversations=1000000/after=kill", "ns/op"), format: "%.2f s", scale: seconds, next: 2.5, several: true},
	{work: "the same, resident with 1% hot", value: of("Open/conversations=1000000", "resident-B"), format: "%.0f MiB", scale: mebibytes, next: 512, several: true},
}

func (r row) multiply(v float64) float64 {
	if r.scale != 0 {
		return v * r.scale
	}
	return v
}

// limit returns bar or next as it stands for a number of cores.
func (r row) limit(of float64, cores int) float64 {
	if r.perCore {
		return of * float64(cores)
	}
	return of
}

// reaches compares a value as it is shown, so that the table never says that 30.0 misses 30.0.
func (r row) reaches(v, limit float64) bool {
	factor := math.Pow(10, float64(r.format[len("%.")]-'0'))
	v, limit = math.Round(v*factor), math.Round(limit*factor)
	if r.least {
		return v >= limit
	}
	return v <= limit
}

// verdict says whether a value reaches the bar, and the one after it. A time that misses is held against what the bar is at the speed of this machine.
func (r row) verdict(v float64, cores int, slowness float64) string {
	switch {
	case r.several && cores == 1 || r.bar == 0 && r.next == 0:
		return ""
	case r.next != 0 && r.reaches(v, r.limit(r.next, cores)):
		if r.bar == 0 {
			return "next reached"
		}
		return "reached, and the next"
	case r.bar == 0:
		return "next missed"
	case r.reaches(v, r.limit(r.bar, cores)):
		return "reached"
	case r.clock && r.reaches(v, r.bar*slowness):
		return "MISSED; at this machine's speed " + r.shown(r.bar*slowness, cores) + ", reached"
	}
	return "MISSED"
}

// shown writes a bar.
func (r row) shown(limit float64, cores int) string {
	if limit == 0 {
		return ""
	}
	sign := "≤ "
	if r.least {
		sign = "≥ "
	}
	return sign + fmt.Sprintf(r.format, r.limit(limit, cores))
}

// print writes the table: a line for each row and number of cores it was measured on. What was not measured says so.
func (fs figures) print(w io.Writer, before figures) error {
	head := []string{"work", "cores", "measured", "runs", "bar now", "next", ""}
	if before != nil {
		head = append(head[:2], append([]string{"before"}, head[2:]...)...)
	}
	lines := [][]string{head, nil}
	for range head {
		lines[1] = append(lines[1], "---")
	}
	for _, r := range rows {
		measured := false
		for _, cores := range fs.cores() {
			v, runs, ok := r.value(fs, cores)
			if !ok {
				continue
			}
			measured = true
			v = r.multiply(v)
			line := []string{r.work, fmt.Sprint(cores)}
			if before != nil {
				was := ""
				if b, _, ok := r.value(before, cores); ok {
					was = fmt.Sprintf(r.format, r.multiply(b))
				}
				line = append(line, was)
			}
			lines = append(lines, append(line, fmt.Sprintf(r.format, v), fmt.Sprint(runs), r.shown(r.bar, cores), r.shown(r.next, cores), r.verdict(v, cores, fs.slowness())))
		}
		if !measured {
			line := make([]string, len(head))
			line[0], line[len(line)-1] = r.work, "not measured"
			lines = append(lines, line)
		}
	}
	for _, line := range lines {
		if _, err := fmt.Fprintf(w, "| %s |\n", strings.Join(line, " | ")); err != nil {
			return err
		}
	}
	return nil
}
