package store

import (
	"errors"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/conclave-mls/conclave/internal/crashfs"
)

// cut is the disk after a power cut.
type cut struct {
	fs          *vfs.MemFS
	first, last int // the states it may be in: everything answered is there, nothing not begun
	op          errorfs.Op
}

// crashRun plays the history and cuts the power before every single change of the
// file system.
func crashRun(t *testing.T, steps, unsyncedPercent int, noSync bool) []cut {
	t.Helper()
	mem := crashfs.New()
	rng := rand.New(rand.NewPCG(1, uint64(unsyncedPercent)))
	var mu sync.Mutex
	var cuts []cut
	var begun, answered atomic.Int64
	inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			mu.Lock()
			defer mu.Unlock()
			c := cut{first: int(answered.Load()), op: op}
			c.fs = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsyncedPercent, RNG: rng})
			c.last = int(begun.Load())
			cuts = append(cuts, c)
		}
		return nil
	})
	o := testOptions(errorfs.Wrap(mem, inject))
	o.MemTableBytes = 64 << 10
	o.NoSync = noSync
	s := mustOpen(t, "d/s", o)
	for i := range steps {
		begun.Add(1)
		mustApply(t, s, historySet(i))
		answered.Add(1)
		if i == steps/2 {
			if err := s.RotateKey(testKey(2)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return cuts
}

// reopen opens what the power cut left, with the key before or after the rotation.
func (c cut) reopen(t *testing.T) *Store {
	t.Helper()
	o := testOptions(c.fs)
	s, err := Open("d/s", o)
	if errors.Is(err, ErrWrongKey) {
		o.Key = testKey(2)
		s, err = Open("d/s", o)
	}
	if err != nil {
		t.Fatalf("open after a cut before %v of %s (step %d): %v", c.op.Kind, c.op.Path, c.first, err)
	}
	return s
}

func TestCrash(t *testing.T) {
	const steps = 60
	states := historyStates(steps)
	for _, percent := range []int{0, 50} {
		cuts := crashRun(t, steps, percent, false)
		if len(cuts) < 3*steps {
			t.Fatalf("only %d cuts", len(cuts))
		}
		for i, c := range cuts {
			if testing.Short() && i%5 > 0 {
				continue
			}
			s := c.reopen(t)
			got := contents(t, s)
			whole := false
			for _, want := range states[c.first : c.last+1] {
				whole = whole || maps.Equal(got, want)
			}
			if !whole {
				t.Errorf("%d%%: cut before %v of %s: the store is in none of states %d to %d (sequence %q)",
					percent, c.op.Kind, c.op.Path, c.first, c.last, got["sequence"])
			}
			// The survivor is a store like any other.
			mustApply(t, s, put("again", "yes"))
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestCrashNoSync shows what NoSync gives up and what it keeps, and that TestCrash
// would notice: cuts lose answered batches, but from the end and whole ones only.
func TestCrashNoSync(t *testing.T) {
	const steps = 60
	states := historyStates(steps)
	lost := 0
	for i, c := range crashRun(t, steps, 0, true) {
		if testing.Short() && i%5 > 0 {
			continue
		}
		s := c.reopen(t)
		got := contents(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		at := -1
		for i, want := range states[:c.last+1] {
			if maps.Equal(got, want) {
				at = i
			}
		}
		if at < 0 {
			t.Errorf("cut before %v of %s: the store is in no state", c.op.Kind, c.op.Path)
		}
		if at < c.first {
			lost++
		}
	}
	if lost == 0 {
		t.Error("no cut lost anything: the crash tests cannot fail")
	}
}

// TestCrashWhileOpening cuts the power within the first two Opens, each cut with
// many outcomes of what was not synced.
func TestCrashWhileOpening(t *testing.T) {
	outcomes := 40
	if testing.Short() {
		outcomes = 4
	}
	mem := crashfs.New()
	rng := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex
	var cuts []cut
	step := 0
	inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if step >= 0 && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			for range outcomes {
				fs := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng})
				cuts = append(cuts, cut{fs: fs, first: step, op: op})
			}
		}
		return nil
	})
	pause := func(at int) {
		mu.Lock()
		defer mu.Unlock()
		step = at
	}
	for i := range 2 {
		pause(i)
		s := mustOpen(t, "d/s", testOptions(errorfs.Wrap(mem, inject)))
		pause(-1)
		if i == 0 {
			mustApply(t, s, put("first", "kept"))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range cuts {
		s := c.reopen(t)
		if kept := contents(t, s)["first"] == "kept"; kept != (c.first == 1) {
			t.Fatalf("a cut of Open %d before %v of %s: the record is there: %t", c.first, c.op.Kind, c.op.Path, kept)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d cuts", len(cuts))
}
