package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/conclave-mls/conclave/internal/crashfs"
)

// within fails the test, with all stacks, if do hangs.
func within(t *testing.T, what string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		buf := make([]byte, 1<<20)
		t.Fatalf("%s hangs\n%s", what, buf[:runtime.Stack(buf, true)])
	}
}

// settled waits until no more than n goroutines are left.
func settled(t *testing.T, n int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > n; runtime.Gosched() {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, want %d\n%s", runtime.NumGoroutine(), n, buf[:runtime.Stack(buf, true)])
		}
	}
}

// fault lets the operations for which match says yes fail from the at'th on, for
// good or once.
type fault struct {
	match   func(errorfs.Op) bool
	at      int64
	forever bool
	count   atomic.Int64
	armed   atomic.Bool
	struck  atomic.Bool
	harmed  atomic.Bool // by more than a file that was not removed
}

// String names the injector.
func (f *fault) String() string { return "fault" }

// MaybeError implements errorfs.Injector.
func (f *fault) MaybeError(op errorfs.Op) error {
	if !f.armed.Load() || !f.match(op) {
		return nil
	}
	n := f.count.Add(1) - 1
	if n == f.at || f.forever && n > f.at {
		f.struck.Store(true)
		if op.Kind != errorfs.OpRemove && op.Kind != errorfs.OpRemoveAll {
			f.harmed.Store(true)
		}
		return syscall.ENOSPC
	}
	return nil
}

func anyWrite(op errorfs.Op) bool {
	return op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpFilePreallocate
}

// outcome is what one Apply of one applier answered.
type outcome struct {
	key string
	err error
}

// applyUntilError has many appliers in two groups, small and large values, apply
// until they are refused, and once more.
func applyUntilError(s *Store, each int) []outcome {
	var mu sync.Mutex
	var all []outcome
	var wg sync.WaitGroup
	for n := range 12 {
		size, group := 100, "small"
		if n%3 == 0 {
			size, group = 9000, "large"
		}
		wg.Go(func() {
			for i, refused := 0, 0; i < each && refused < 2; i++ {
				key := fmt.Sprintf("%s/%d/%d", group, n, i)
				c := put(key+"/x", strings.Repeat("x", size))
				c.Put([]byte(key+"/y"), []byte("y"))
				err := s.Apply(c)
				if err != nil {
					refused++
				}
				mu.Lock()
				all = append(all, outcome{key, err})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return all
}

// checkOutcomes compares the answers with what is there after reopening.
func checkOutcomes(t *testing.T, what string, fs vfs.FS, all []outcome) {
	t.Helper()
	s, err := Open("d/s", testOptions(fs))
	if err != nil {
		t.Fatalf("%s: reopen: %v", what, err)
	}
	defer s.Close()
	for _, o := range all {
		v, err := s.GetMany([]byte(o.key+"/x"), []byte(o.key+"/y"))
		if err != nil {
			t.Fatalf("%s: %s: %v", what, o.key, err)
		}
		x, y := v[0] != nil, v[1] != nil
		switch {
		case x != y:
			t.Errorf("%s: half of %s is there (%v)", what, o.key, o.err)
		case o.err == nil && !x:
			t.Errorf("%s: %s was answered and is gone", what, o.key)
		case errors.Is(o.err, ErrFailed) && x:
			t.Errorf("%s: %s was refused and is there", what, o.key)
		}
	}
	mustApply(t, s, put("again", "yes"))
}

// failureRun breaks the disk once while appliers are at work. It tells whether the
// fault was met at all.
func failureRun(t *testing.T, what string, f *fault, each int) bool {
	t.Helper()
	before := runtime.NumGoroutine()
	mem := crashfs.New()
	o := testOptions(errorfs.Wrap(mem, f))
	o.MemTableBytes = 64 << 10
	var failures atomic.Int64
	o.Events.Failed = func(error) { failures.Add(1) }
	s, err := Open("d/s", o)
	if err != nil {
		t.Fatal(err)
	}
	f.armed.Store(true)
	var all []outcome
	within(t, what+": Apply", func() { all = applyUntilError(s, each) })
	failed := s.disk.dead()
	unknown := make(map[string]int)
	for _, o := range all {
		switch applier := o.key[:strings.LastIndexByte(o.key, '/')]; {
		case o.err == nil:
		case !errors.Is(o.err, syscall.ENOSPC):
			t.Errorf("%s: %s: %v hides the cause", what, o.key, o.err)
		case errors.Is(o.err, ErrOutcomeUnknown):
			if unknown[applier]++; unknown[applier] > 1 {
				t.Errorf("%s: %s heard twice that the outcome is unknown", what, applier)
			}
		case !errors.Is(o.err, ErrFailed):
			t.Errorf("%s: %s: %v", what, o.key, o.err)
		}
	}
	if failed {
		if _, err := s.GetMany([]byte("a")); !errors.Is(err, ErrFailed) {
			t.Errorf("%s: GetMany: %v", what, err)
		}
		if _, err := s.Range(Range{}); !errors.Is(err, ErrFailed) {
			t.Errorf("%s: Range: %v", what, err)
		}
		if err := s.RotateKey(testKey(3)); !errors.Is(err, ErrFailed) {
			t.Errorf("%s: RotateKey: %v", what, err)
		}
		s.Metrics()
	}
	var closeErr error
	within(t, what+": Close", func() { closeErr = s.Close() })
	if failed && closeErr != nil {
		t.Errorf("%s: Close of a failed store: %v", what, closeErr)
	}
	if want := int64(0); s.disk.dead() {
		if want = 1; failures.Load() != want {
			t.Errorf("%s: failure reported %d times", what, failures.Load())
		}
	} else if f.harmed.Load() && f.forever {
		t.Errorf("%s: the disk broke for good and nobody noticed", what)
	}
	settled(t, before)
	rng := rand.New(rand.NewPCG(uint64(f.at), 2))
	checkOutcomes(t, what+": power cut", mem.CrashClone(vfs.CrashCloneCfg{}), all)
	checkOutcomes(t, what+": half a power cut", mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng}), all)
	checkOutcomes(t, what+": restart", mem, all)
	return f.struck.Load()
}

func TestFailureAtEveryWrite(t *testing.T) {
	dense := int64(25) // so many writes are broken one by one before the steps grow
	if testing.Short() {
		dense = 5
	}
	for _, forever := range []bool{false, true} {
		n := int64(0)
		for ; n < 3000; n += 1 + n/dense {
			f := &fault{match: anyWrite, at: n, forever: forever}
			if !failureRun(t, fmt.Sprintf("write %d, forever %v", n, forever), f, 10) {
				break
			}
		}
		if n < 40 {
			t.Errorf("only %d writes were broken", n)
		}
	}
}

// TestFailureByFile breaks what is rare in the order of things.
func TestFailureByFile(t *testing.T) {
	times := int64(4)
	if testing.Short() {
		times = 1
	}
	isLog := func(op errorfs.Op) bool { return strings.HasSuffix(op.Path, ".log") }
	isManifest := func(op errorfs.Op) bool { return strings.Contains(op.Path, "MANIFEST") }
	for name, match := range map[string]func(errorfs.Op) bool{
		"log write":      func(op errorfs.Op) bool { return isLog(op) && op.Kind == errorfs.OpFileWrite },
		"log sync":       func(op errorfs.Op) bool { return isLog(op) && op.Kind == errorfs.OpFileSyncData },
		"log create":     func(op errorfs.Op) bool { return isLog(op) && op.Kind == errorfs.OpCreate },
		"log reuse":      func(op errorfs.Op) bool { return isLog(op) && op.Kind == errorfs.OpReuseForWrite },
		"table create":   func(op errorfs.Op) bool { return isTable(op.Path) && op.Kind == errorfs.OpCreate },
		"table write":    func(op errorfs.Op) bool { return isTable(op.Path) && op.Kind == errorfs.OpFileWrite },
		"table sync":     func(op errorfs.Op) bool { return isTable(op.Path) && anySync(op) },
		"manifest write": func(op errorfs.Op) bool { return isManifest(op) && op.Kind == errorfs.OpFileWrite },
		"manifest sync":  func(op errorfs.Op) bool { return isManifest(op) && anySync(op) },
		"directory sync": func(op errorfs.Op) bool { return strings.HasSuffix(op.Path, dirRecords) && anySync(op) },
	} {
		for n := range times {
			for _, forever := range []bool{false, true} {
				f := &fault{match: match, at: n, forever: forever}
				if struck := failureRun(t, fmt.Sprintf("%s %d, forever %v", name, n, forever), f, 40); n == 0 && !struck {
					t.Errorf("%s was never met", name)
				}
			}
		}
	}
}

func anySync(op errorfs.Op) bool {
	return op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData
}

// TestRemoveFailureIsHarmless: what cannot be removed is in nobody's way.
func TestRemoveFailureIsHarmless(t *testing.T) {
	f := &fault{match: func(op errorfs.Op) bool { return op.Kind == errorfs.OpRemove }, forever: true}
	mem := vfs.NewMem()
	o := testOptions(errorfs.Wrap(mem, f))
	o.MemTableBytes = 64 << 10
	s := mustOpen(t, "d/s", o)
	f.armed.Store(true)
	all := applyUntilError(s, 60)
	if err := s.Close(); err != nil || s.disk.dead() || !f.struck.Load() {
		t.Fatalf("Close: %v, dead %v, struck %v", err, s.disk.dead(), f.struck.Load())
	}
	checkOutcomes(t, "removals refused", mem, all)
}

// TestOpenFailure breaks every write of an Open: of one that creates, and of one
// that replays a log full enough to be flushed.
func TestOpenFailure(t *testing.T) {
	crashed := func() vfs.FS {
		mem := crashfs.New()
		o := testOptions(mem)
		o.MemTableBytes = 1 << 20
		s := mustOpen(t, "d/s", o)
		for i := range 60 {
			mustApply(t, s, historySet(i))
		}
		return mem.CrashClone(vfs.CrashCloneCfg{})
	}()
	want := historyStates(60)[60]
	for name, fresh := range map[string]func() vfs.FS{
		"create": func() vfs.FS { return vfs.NewMem() },
		"replay": func() vfs.FS {
			mem := vfs.NewMem()
			if ok, err := vfs.Clone(crashed, mem, "d", "d"); !ok || err != nil {
				t.Fatal(ok, err)
			}
			return mem
		},
	} {
		for _, forever := range []bool{false, true} {
			for n := int64(0); ; n++ {
				what := fmt.Sprintf("%s, write %d, forever %v", name, n, forever)
				before := runtime.NumGoroutine()
				mem := fresh()
				f := &fault{match: anyWrite, at: n, forever: forever}
				f.armed.Store(true)
				o := testOptions(errorfs.Wrap(mem, f))
				o.MemTableBytes = 64 << 10
				var s *Store
				var err error
				within(t, what, func() { s, err = Open("d/s", o) })
				f.armed.Store(false)
				if err == nil {
					_ = s.Close()
				}
				settled(t, before)
				again, openErr := Open("d/s", testOptions(mem))
				if openErr != nil {
					t.Fatalf("%s: reopen after %v: %v", what, err, openErr)
				}
				if got := contents(t, again); name == "replay" && got["sequence"] != want["sequence"] {
					t.Errorf("%s: sequence is %q", what, got["sequence"])
				}
				_ = again.Close()
				if !f.struck.Load() {
					if n < 10 {
						t.Errorf("%s: an Open with %d writes only", name, n)
					}
					break
				}
			}
		}
	}
}

// TestRotateKeyFailure: whatever breaks, one of the two keys opens the store.
func TestRotateKeyFailure(t *testing.T) {
	for n := int64(0); ; n++ {
		mem := crashfs.New()
		f := &fault{match: anyWrite, at: n}
		s, err := Open("d/s", testOptions(errorfs.Wrap(mem, f)))
		if err != nil {
			t.Fatal(err)
		}
		mustApply(t, s, put("a", "b"))
		f.armed.Store(true)
		err = s.RotateKey(testKey(2))
		f.armed.Store(false)
		struck := f.struck.Load()
		if struck != errors.Is(err, ErrOutcomeUnknown) || !struck && err != nil {
			t.Errorf("write %d: %v", n, err)
		}
		if closeErr := s.Close(); closeErr != nil {
			t.Errorf("write %d: close: %v", n, closeErr)
		}
		for _, fs := range []vfs.FS{mem.CrashClone(vfs.CrashCloneCfg{}), mem} {
			opened := 0
			for k := byte(1); k <= 2; k++ {
				o := testOptions(fs)
				o.Key = testKey(k)
				s, err := Open("d/s", o)
				if errors.Is(err, ErrWrongKey) {
					continue
				}
				if err != nil {
					t.Fatalf("write %d: key %d: %v", n, k, err)
				}
				if got := get(t, s, "a"); got != "b" {
					t.Errorf("write %d: got %q", n, got)
				}
				opened++
				_ = s.Close()
			}
			if opened != 1 {
				t.Errorf("write %d: %d keys open the store", n, opened)
			}
		}
		if !struck {
			if n < 4 {
				t.Errorf("a rotation of %d writes", n)
			}
			return
		}
	}
}
