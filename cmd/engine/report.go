package main

import (
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

//go:embed report.html
var reportHTML string

var reportTemplate = template.Must(template.New("report").Parse(reportHTML))

// reportFile is a report that does not exist yet. Its place is tried before the load begins, and a report of an earlier load stays until this one is complete.
type reportFile struct {
	name string // "" is none
	part *os.File
}

func newReportFile(name string) (*reportFile, error) {
	if name == "" {
		return &reportFile{}, nil
	}
	part, err := os.Create(name + ".part")
	if err != nil {
		return nil, fmt.Errorf("no report can be written: %w; name a file in a directory that exists with -report", err)
	}
	return &reportFile{name, part}, nil
}

func (f *reportFile) write(r *results) error {
	err := errors.Join(r.render(f.part), f.part.Close())
	if err == nil {
		err = os.Rename(f.name+".part", f.name)
	}
	if err != nil {
		return fmt.Errorf("the report was not written: %w", err)
	}
	f.part = nil
	return nil
}

// discard removes what has not become a report.
func (f *reportFile) discard() {
	if f.part != nil {
		_ = f.part.Close()
		_ = os.Remove(f.name + ".part")
	}
}

// page is what the template gets.
type page struct {
	When       string
	Headline   [][2]string
	Parameters [][]string
	Machine    [][]string
	Sections   []section
}

// section is a plot with what it shows as a table, and how to read it.
type section struct {
	Drawing drawing
	Text    string
	Table   tableOf
}

type tableOf struct {
	Head []string
	Rows [][]string
}

func (r *results) render(w io.Writer) error {
	p := page{
		When: time.Now().Format("2 January 2006, 15:04"), Headline: r.headline(), Parameters: r.parameters(), Machine: r.machine(),
		Sections: []section{
			{r.overConversations(), "All cores are at work. Each conversation has one call under way at a time, so few conversations wait for the disk and many share its syncs.", r.conversationTable()},
			{r.overCores(), "The greatest number of conversations is at work. The dashed line is what the smallest number of cores reached, multiplied.", r.coreTable()},
			{r.latencyOverTime(), "The steady phase, cut into short windows. The table has every kind of call of that phase, and of the making of the conversations.", r.operationTable()},
			{r.memoryOverConversations(), "The whole process, this load generator included, after a collection of garbage. " + r.residence(), r.memoryTable()},
		},
	}
	return reportTemplate.Execute(w, p)
}

// main is the kind of call whose latency is drawn.
func (r *results) main() operation { return r.options.mix.main() }

// main is decrypting, unless nobody does.
func (m *mix) main() operation {
	if m.readers() == 0 {
		return opEncrypt
	}
	return opDecrypt
}

func (r *results) headline() [][2]string {
	h := &r.steady.calls.ops[r.main()]
	rows := [][2]string{
		{short(r.steady.rate(r.main())), r.main().String() + " calls a second"},
		{duration(h.quantile(0.5)), r.main().String() + ", median"},
		{duration(h.quantile(0.99)), r.main().String() + ", 99th percentile"},
	}
	if r.options.store != storeMemory {
		rows = append(rows, [2]string{short(float64(r.steady.written)/r.steady.calledTimes()) + " B", "written to the log, a call"})
	}
	return rows
}

func (r *results) parameters() [][]string {
	o := &r.options
	return [][]string{
		{"measured time", o.length.String()},
		{"clients", fmt.Sprint(o.clients)},
		{"conversations", spaced(o.conversations)},
		{"members of a conversation", spaced(o.members)},
		{"of them at work in the engine", fmt.Sprint(o.mix.readers() + 1)},
		{"bytes of a text", spaced(o.sizes)},
		{"mix of encrypt/decrypt/commit", o.mix.String()},
		{"cipher suite", fmt.Sprint(o.suite)},
		{"store", o.store},
		{"memory for conversations at rest", budget(o.state)},
		{"seed", fmt.Sprint(o.seed)},
	}
}

// budget writes the bound of -state.
func budget(mebibytes int) string {
	if mebibytes == 0 {
		return "no bound"
	}
	return fmt.Sprintf("%d MiB", mebibytes)
}

func spaced(c counts) string { return strings.ReplaceAll(c.String(), ",", ", ") }

// machine says where it ran, without names of hosts or directories.
func (r *results) machine() [][]string {
	rows := [][]string{
		{"cores", fmt.Sprint(runtime.NumCPU())},
		{"system", runtime.GOOS + "/" + runtime.GOARCH},
		{"Go", runtime.Version()},
	}
	if name := processor(); name != "" {
		rows = append(rows, []string{"processor", name})
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				rows = append(rows, []string{"engine", s.Value[:12]})
			}
		}
	}
	if r.options.store == storeDurable {
		rows = append(rows, []string{"one synced write, alone", duration(r.sync)})
	}
	return rows
}

// processor reads the processor's name where Linux tells it.
func processor() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// summary has what stands in no other table on the terminal.
func (r *results) summary() [][]string {
	rows := [][]string{
		{"calls in the steady phase", fmt.Sprintf("%.0f, %.0f a second", r.steady.calledTimes(), r.steady.rate())},
	}
	if r.options.store != storeMemory {
		rows = append(rows,
			[]string{"bytes written", fmt.Sprintf("%d, %.0f a call", r.steady.written, float64(r.steady.written)/r.steady.calledTimes())},
			[]string{"disk syncs", fmt.Sprintf("%d, %.1f calls each", r.steady.syncs, r.steady.calledTimes()/math.Max(1, float64(r.steady.syncs)))})
	}
	if r.options.store == storeDurable {
		rows = append(rows, []string{"one synced write, alone", duration(r.sync)})
	}
	rows = append(rows,
		[]string{"memory: live heap", mebibytes(r.steady.memory.heap)},
		[]string{"memory: resident", mebibytes(r.steady.memory.resident)},
		[]string{"time in all", r.total.Round(100 * time.Millisecond).String()})
	return rows
}

// operationTable has latencies of all kinds of calls: of the steady phase, and of the making for those that happen only there.
func (r *results) operationTable() tableOf {
	t := tableOf{Head: []string{"call", "count", "a second", "p50", "p90", "p99", "p99.9", "max"}}
	for op := range operations {
		h, rate := &r.steady.calls.ops[op], short(r.steady.rate(op))
		if op >= opCreate {
			h, rate = &r.setUp.ops[op], "–"
		}
		if h.count() == 0 {
			continue
		}
		row := []string{op.String(), fmt.Sprint(h.count()), rate}
		for _, q := range []float64{0.5, 0.9, 0.99, 0.999, 1} {
			row = append(row, duration(h.quantile(q)))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func (r *results) conversationTable() tableOf {
	op := r.main()
	t := tableOf{Head: []string{"conversations", "calls a second", op.String() + " a second", "p50", "p99", "calls a sync"}}
	for _, s := range r.conversations {
		h, perSync := &s.calls.ops[op], "–"
		if s.syncs > 0 {
			perSync = fmt.Sprintf("%.1f", s.calledTimes()/float64(s.syncs))
		}
		t.Rows = append(t.Rows, []string{fmt.Sprint(s.conversations), fmt.Sprintf("%.0f", s.rate()), fmt.Sprintf("%.0f", s.rate(op)), duration(h.quantile(0.5)), duration(h.quantile(0.99)), perSync})
	}
	return t
}

func (r *results) coreTable() tableOf {
	op := r.main()
	t := tableOf{Head: []string{"cores", "calls a second", op.String() + " a second", "speed-up", "p50", "p99"}}
	for _, s := range r.cores {
		h := &s.calls.ops[op]
		t.Rows = append(t.Rows, []string{
			fmt.Sprint(s.cores), fmt.Sprintf("%.0f", s.rate()), fmt.Sprintf("%.0f", s.rate(op)), fmt.Sprintf("%.2f", s.rate()/r.cores[0].rate()), duration(h.quantile(0.5)), duration(h.quantile(0.99)),
		})
	}
	return t
}

func (r *results) memoryTable() tableOf {
	t := tableOf{Head: []string{"conversations", "states in the engine", "live heap", "resident"}}
	for _, s := range r.conversations {
		t.Rows = append(t.Rows, []string{fmt.Sprint(s.conversations), fmt.Sprint(s.conversations * (r.options.mix.readers() + 1)), mebibytes(s.memory.heap), mebibytes(s.memory.resident)})
	}
	return t
}

// residence says which conversations may be in memory.
func (r *results) residence() string {
	if n := r.options.state; n > 0 {
		return fmt.Sprintf("Conversations at rest may take %d MiB, by the engine's estimate; the others are read when they are used.", n)
	}
	return "All conversations stay in memory."
}

// over draws values of stretches.
func over(name string, stretches []stretch, x, y func(stretch) float64) series {
	s := series{Name: name}
	for _, at := range stretches {
		s.Points = append(s.Points, xy{x(at), y(at)})
	}
	return s
}

func conversationsOf(s stretch) float64 { return float64(s.conversations) }
func coresOf(s stretch) float64         { return float64(s.cores) }
func allCalls(s stretch) float64        { return s.rate() }

func (r *results) mainCalls(s stretch) float64 { return s.rate(r.main()) }

func (r *results) overConversations() drawing {
	return plot{
		Title: "Throughput over conversations", XLabel: "conversations at work", YLabel: "calls a second", LogX: true,
		Series: []series{over("all calls", r.conversations, conversationsOf, allCalls), over(r.main().String(), r.conversations, conversationsOf, r.mainCalls)},
	}.draw()
}

func (r *results) overCores() drawing {
	linear := func(s stretch) float64 { return r.cores[0].rate() * float64(s.cores) / float64(r.cores[0].cores) }
	reference := over("linear", r.cores, coresOf, linear)
	reference.Dashed = true
	return plot{
		Title: "Throughput over cores", XLabel: "cores (GOMAXPROCS)", YLabel: "calls a second", LogX: true,
		Series: []series{over("all calls", r.cores, coresOf, allCalls), over(r.main().String(), r.cores, coresOf, r.mainCalls), reference},
	}.draw()
}

func (r *results) latencyOverTime() drawing {
	p50, p90, p99 := series{Name: "p50"}, series{Name: "p90"}, series{Name: "p99"}
	for _, w := range r.windows {
		for _, of := range []struct {
			s *series
			d time.Duration
		}{{&p50, w.p50}, {&p90, w.p90}, {&p99, w.p99}} {
			of.s.Points = append(of.s.Points, xy{w.at.Seconds(), of.d.Seconds() * 1000})
		}
	}
	return plot{
		Title: "Latency over time: " + r.main().String(), XLabel: "time in the steady phase, s", YLabel: "latency, ms", LogY: true, Series: []series{p99, p90, p50},
	}.draw()
}

func (r *results) memoryOverConversations() drawing {
	const mebibyte = 1 << 20
	p := plot{
		Title: "Memory over conversations", XLabel: "conversations", YLabel: "memory, MiB",
		Series: []series{over("live heap", r.conversations, conversationsOf, func(s stretch) float64 { return float64(s.memory.heap) / mebibyte })},
	}
	if r.steady.memory.resident > 0 {
		p.Series = append(p.Series, over("resident", r.conversations, conversationsOf, func(s stretch) float64 { return float64(s.memory.resident) / mebibyte }))
	}
	return p.draw()
}

// duration writes three digits and the unit.
func duration(d time.Duration) string {
	switch {
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d.Nanoseconds())
	case d < time.Millisecond:
		return short(float64(d)/1e3) + " µs"
	case d < time.Second:
		return short(float64(d)/1e6) + " ms"
	}
	return short(d.Seconds()) + " s"
}

// mebibytes writes a size; 0 is one that is not known.
func mebibytes(n uint64) string {
	if n == 0 {
		return "not told here"
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
