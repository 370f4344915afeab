package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/conclave-mls/conclave"
)

// results are all that a load has found.
type results struct {
	options       loadOptions
	setUp         *measurement
	conversations []stretch // one for each number of conversations, on all cores
	cores         []stretch // one for each number of cores, with all conversations
	steady        stretch
	windows       []window      // of the steady phase, in order
	sync          time.Duration // of one small write alone; the median of some
	total         time.Duration
}

// stretch is a time in which the load stayed the same.
type stretch struct {
	conversations, cores int
	took                 time.Duration
	calls                *measurement
	written              uint64 // bytes handed to the log
	syncs                uint64
	memory               memory // after it
}

// rate returns calls of the given kinds a second; of all kinds if none is given.
func (s stretch) rate(ops ...operation) float64 {
	var n uint64
	for op := range operations {
		if len(ops) == 0 || slices.Contains(ops, op) {
			n += s.calls.ops[op].count()
		}
	}
	return float64(n) / s.took.Seconds()
}

func (s stretch) calledTimes() float64 { return s.rate() * s.took.Seconds() }

// window is a piece of the steady phase: what is drawn over time.
type window struct {
	at            time.Duration // its middle, from the beginning of the phase
	rate          float64       // calls a second
	p50, p90, p99 time.Duration // of the main kind of call
}

// memory is what the process holds once garbage has been collected and returned.
type memory struct {
	heap     uint64 // live objects, by the Go runtime
	resident uint64 // by the operating system; 0 where it does not tell
}

func memoryNow() memory {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return memory{heap: m.HeapAlloc, resident: residentBytes()}
}

// residentBytes reads what Linux tells of this process; elsewhere it is 0.
func residentBytes() uint64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		if rest, ok := strings.CutPrefix(string(line), "VmRSS:"); ok {
			var kib uint64
			if _, err := fmt.Sscan(rest, &kib); err == nil {
				return kib << 10
			}
		}
	}
	return 0
}

// run goes through all phases and closes the engine.
func (l *load) run(ctx context.Context, dir string, key conclave.Secret) (r *results, err error) {
	cores := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(cores)
	defer func() {
		if l.engine != nil {
			err = errors.Join(err, l.engine.Close())
		}
	}()
	if err := l.open(ctx, dir, key); err != nil {
		return nil, err
	}
	r = &results{options: l.options, setUp: &measurement{}}
	if r.sync, err = l.syncAlone(ctx); err != nil {
		return nil, err
	}
	most := slices.Max(l.options.cores)
	each := l.options.length / 2 / time.Duration(len(l.options.conversations)+len(l.options.cores))
	runtime.GOMAXPROCS(most)
	for _, n := range l.options.conversations {
		l.enter(fmt.Sprintf("making %d conversations", n))
		l.measured.Store(r.setUp)
		if err := l.grow(ctx, n); err != nil {
			return nil, err
		}
		l.enter(fmt.Sprintf("%d conversations at work", n))
		s, err := l.stretch(ctx, each)
		if err != nil {
			return nil, err
		}
		r.conversations = append(r.conversations, s)
	}
	for _, n := range l.options.cores {
		runtime.GOMAXPROCS(n)
		l.enter(fmt.Sprintf("on %d cores", n))
		s, err := l.stretch(ctx, each)
		if err != nil {
			return nil, err
		}
		r.cores = append(r.cores, s)
	}
	runtime.GOMAXPROCS(most)
	l.enter("steady")
	stop := l.watch(l.options.length / 2)
	r.steady, err = l.stretch(ctx, l.options.length/2)
	r.windows = stop()
	if err != nil {
		return nil, err
	}
	l.enter("comparing")
	err = parallel(ctx, len(l.rooms), func(i int) error { return l.rooms[i].agree(ctx) })
	r.total = time.Since(l.began)
	return r, err
}

// syncAlone returns the median duration of a small write with nothing beside it.
func (l *load) syncAlone(ctx context.Context) (time.Duration, error) {
	took := make([]time.Duration, 25)
	for i := range took {
		began := time.Now()
		if err := l.clients[0].SetData(ctx, []byte{byte(i)}); err != nil {
			return 0, err
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// stretch keeps all conversations at work for a time. Each makes at least one step.
func (l *load) stretch(ctx context.Context, length time.Duration) (stretch, error) {
	m, before := newMeasurement(), l.engine.Metrics()
	l.measured.Store(m)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for _, r := range l.rooms {
		all.Go(func() {
			for {
				if err := l.step(ctx, r); err != nil {
					cancel(err) // the first one counts
					return
				}
				if ctx.Err() != nil || time.Since(m.began) >= length {
					return
				}
			}
		})
	}
	all.Wait()
	took, after := time.Since(m.began), l.engine.Metrics()
	l.measured.Store(nil)
	return stretch{
		conversations: len(l.rooms), cores: runtime.GOMAXPROCS(0), took: took, calls: m,
		written: after.LogBytes - before.LogBytes, syncs: after.Syncs - before.Syncs, memory: memoryNow(),
	}, context.Cause(ctx)
}

// watch cuts the time from now on into windows until the returned function is called.
func (l *load) watch(length time.Duration) (stop func() []window) {
	width := length / time.Duration(math.Max(8, math.Min(60, float64(length/(250*time.Millisecond)))))
	var windows []window
	done, stopped := make(chan struct{}), make(chan struct{})
	began := time.Now()
	l.window.Store(newMeasurement())
	cut := func(next *measurement) {
		m, now := l.window.Swap(next), time.Now()
		var calls uint64
		for op := range m.ops {
			calls += m.ops[op].count()
		}
		took, drawn := now.Sub(m.began), &m.ops[l.options.mix.main()]
		if took < width/2 && len(windows) > 0 {
			return // the rest behind the last whole window says little
		}
		windows = append(windows, window{
			at: m.began.Add(took / 2).Sub(began), rate: float64(calls) / took.Seconds(),
			p50: drawn.quantile(0.5), p90: drawn.quantile(0.9), p99: drawn.quantile(0.99),
		})
	}
	go func() {
		defer close(stopped)
		tick := time.NewTicker(width)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				cut(newMeasurement())
			case <-done:
				cut(nil)
				return
			}
		}
	}()
	return func() []window {
		close(done)
		<-stopped
		return windows
	}
}
