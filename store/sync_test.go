package store

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/conclave-mls/conclave/internal/crashfs"
)

// gate holds up syncs of the log from when it is armed until it is opened.
type gate struct {
	armed   atomic.Bool
	entered chan struct{} // closed when the first waits
	once    sync.Once
	opened  chan struct{}
}

// String names the injector.
func (g *gate) String() string { return "gate" }

// MaybeError implements errorfs.Injector.
func (g *gate) MaybeError(op errorfs.Op) error {
	if op.Kind == errorfs.OpFileSyncData && g.armed.Load() {
		g.once.Do(func() { close(g.entered) })
		<-g.opened
	}
	return nil
}

// TestSyncsAreShared writes many batches while a sync is under way: one more sync makes
// all of them durable.
func TestSyncsAreShared(t *testing.T) {
	g := &gate{entered: make(chan struct{}), opened: make(chan struct{})}
	s := mustOpen(t, "d/s", testOptions(errorfs.Wrap(vfs.NewMem(), g)))
	before := s.Metrics()
	g.armed.Store(true)
	var wg sync.WaitGroup
	apply := func(key string) {
		wg.Go(func() {
			b := hold(t, s, key)
			write(t, s, b)
			if b.err != nil {
				t.Error(b.err)
			}
		})
		// What can be read has been handed to the log.
		for get(t, s, key) == "<none>" {
			runtime.Gosched()
		}
	}
	apply("first")
	<-g.entered
	const batches = 20
	for n := range batches {
		apply(fmt.Sprint(n))
	}
	close(g.opened)
	wg.Wait()
	after := s.Metrics()
	if applies, syncs := after.Applies-before.Applies, after.Syncs-before.Syncs; applies != 1+batches || syncs != 2 {
		t.Errorf("%d batches in %d syncs, want %d in 2", applies, syncs, 1+batches)
	}
}

// TestLogIsPlacedAhead: the file of a new log grows seldom, by zeros, and what was
// written to it is there.
func TestLogIsPlacedAhead(t *testing.T) {
	mem := crashfs.New()
	o := testOptions(mem)
	o.MemTableBytes = 4 << 20
	s := mustOpen(t, "d/s", o)
	logs := func() (size int64) {
		names, err := mem.List("d/s/records")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, ".log") {
				info, err := mem.Stat("d/s/records/" + name)
				if err != nil {
					t.Fatal(err)
				}
				size += info.Size()
			}
		}
		return size
	}
	const records, each = 400, 1000
	grown, size := 0, logs()
	before := s.Metrics()
	for n := range records {
		mustApply(t, s, put(fmt.Sprint(n), strings.Repeat("x", each)))
		if now := logs(); now != size {
			grown, size = grown+1, now
		}
	}
	written := int64(s.Metrics().LogFileBytes - before.LogFileBytes)
	if most := records*(each+200)/logAhead + 1; grown == 0 || grown > most {
		t.Errorf("the log has grown %d times, want 1 to %d", grown, most)
	}
	if written < size+records*each {
		t.Errorf("%d bytes written to a log of %d and %d of values", written, size, records*each)
	}
	again := mustOpen(t, "d/s", testOptions(mem.CrashClone(vfs.CrashCloneCfg{})))
	for n := range records {
		if got := get(t, again, fmt.Sprint(n)); len(got) != each {
			t.Fatalf("record %d after a power cut: %d bytes", n, len(got))
		}
	}
}

// TestRecycledLogIsNotZeroed: what has its place on the disk is written once.
func TestRecycledLogIsNotZeroed(t *testing.T) {
	mem := vfs.NewMem()
	old, err := mem.Create("old", logCategory)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Write([]byte("older than this")); err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	d := newDisk(mem, nil)
	f, err := d.ReuseForWrite("old", "new", logCategory)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("newer")); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := mem.Open("new")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	got, err := io.ReadAll(file)
	if err != nil || string(got) != "newer than this" || d.logBytes.Load() != 5 {
		t.Errorf("%q, %v, %d bytes written", got, err, d.logBytes.Load())
	}
}
