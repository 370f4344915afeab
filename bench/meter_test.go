package bench

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A meter times the work of a cell in stretches, and its floors for a moment before
// and after each. A machine that is not ours alone is now fast and now slow, so only
// what ran next to each other is compared.
type meter struct {
	b      *testing.B
	used   time.Duration // processor time of the work
	scales []*scale
	last   func() // done before each stretch, after its floors; nil for nothing
}

// A scale is what a stretch is divided by: the sum of its floors, all of as many
// goroutines.
type scale struct {
	unit, cpuUnit string // of the ratios; an empty one is not reported
	floors        []floorKey
	wall, cpu     []float64 // the ratios of each stretch, in time and in processor time
}

// floorScale compares with the primitives of one operation on all processors.
func floorScale(suite uint16, work string, size int) *scale {
	return &scale{unit: "x-floor", cpuUnit: "x-floor-cpu", floors: []floorKey{{suite, work, size, runtime.GOMAXPROCS(0)}}}
}

// stretch times n operations, which find no garbage of what was done before.
func (m *meter) stretch(n int, work func() error) {
	m.b.Helper()
	before := m.measure()
	if m.last != nil {
		m.last()
	}
	runtime.GC()
	took, used := m.b.Elapsed(), cpuTime()
	m.b.StartTimer()
	err := work()
	m.b.StopTimer()
	took, used = m.b.Elapsed()-took, cpuTime()-used
	if err != nil {
		m.b.Fatal(err)
	}
	m.used += used
	for i, after := range m.measure() {
		s := m.scales[i]
		wall := (before[i].nanos + after.nanos) / 2 * float64(n) / float64(s.floors[0].procs)
		s.wall = append(s.wall, float64(took.Nanoseconds())/wall)
		if cpu := (before[i].cpu + after.cpu) / 2 * float64(n); cpu > 0 {
			s.cpu = append(s.cpu, float64(used.Nanoseconds())/cpu)
		}
	}
}

// measure takes a slice of each floor.
func (m *meter) measure() []timing {
	m.b.Helper()
	atLeast := 50 * time.Millisecond
	if testing.Short() {
		atLeast = time.Millisecond
	}
	sums := make([]timing, len(m.scales))
	for i, s := range m.scales {
		for _, k := range s.floors {
			ops := floorOf(m.b, k)
			runtime.GC() // is not the floor's
			t := slice(m.b, ops, atLeast)
			sums[i].nanos += t.nanos
			sums[i].cpu += t.cpu
		}
	}
	return sums
}

// report adds the medians over the stretches.
func (m *meter) report() {
	add := func(ratios []float64, unit string) {
		if len(ratios) > 0 && unit != "" {
			m.b.ReportMetric(median(ratios), unit)
		}
	}
	for _, s := range m.scales {
		add(s.wall, s.unit)
		add(s.cpu, s.cpuUnit)
	}
}

// median of an even number of values is the mean of the two in the middle.
func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func nanosPerOp(b *testing.B) float64 { return float64(b.Elapsed().Nanoseconds()) / float64(b.N) }

// timing is what a floor takes an operation, in nanoseconds of one processor. cpu is
// processor time, 0 where that is not known.
type timing struct{ nanos, cpu float64 }

// slice runs each op in a goroutine of its own for at least d. One that is done while
// others are not counts no more.
func slice(b *testing.B, ops []func() error, d time.Duration) timing {
	b.Helper()
	var wg sync.WaitGroup
	var count, took atomic.Int64
	errs := make([]error, len(ops))
	start, used := time.Now(), cpuTime()
	for i, op := range ops {
		wg.Go(func() {
			n := int64(0)
			for ; errs[i] == nil && (time.Since(start) < d || n == 0); n++ {
				errs[i] = op()
			}
			count.Add(n)
			took.Add(time.Since(start).Nanoseconds())
		})
	}
	wg.Wait()
	spent := cpuTime() - used
	if err := errors.Join(errs...); err != nil {
		b.Fatal(err)
	}
	n := float64(count.Load())
	return timing{nanos: float64(took.Load()) / n, cpu: float64(spent.Nanoseconds()) / n}
}
