package store

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/conclave-mls/conclave/internal/crashfs"
)

// hold begins a share as a call would that puts key, and does not write it yet.
func hold(t *testing.T, s *Store, key string) *share {
	t.Helper()
	c := put(key, "value")
	b, began, filled := s.join([]*ChangeSet{c}, c.Len(), c.Size())
	if !began || filled {
		t.Fatalf("the first call of a share: began %v, filled %v", began, filled)
	}
	return b
}

// follow applies sets from goroutines of their own, and returns when all have joined b.
func follow(s *Store, b *share, sets ...*ChangeSet) (answers func() []error) {
	errs, done := make([]error, len(sets)), make(chan struct{}, len(sets))
	calls := func() int {
		s.sharing.Lock()
		defer s.sharing.Unlock()
		return b.calls
	}
	want := calls() + len(sets)
	for i, c := range sets {
		go func() {
			errs[i] = s.Apply(c)
			done <- struct{}{}
		}()
	}
	for calls() < want {
		runtime.Gosched()
	}
	return func() []error {
		for range sets {
			<-done
		}
		return errs
	}
}

// write is what who has begun a share does with it.
func write(t *testing.T, s *Store, b *share) {
	t.Helper()
	if !s.take(b) {
		t.Error("the share was taken by another")
		return
	}
	s.writeShare(b)
}

func TestShareIsOneBatch(t *testing.T) {
	mem := crashfs.New()
	s := mustOpen(t, "d/s", testOptions(mem))
	before := s.Metrics()
	b := hold(t, s, "a")
	answers := follow(s, b, put("b", "value"), put("c", "value"))
	if get(t, s, "a") != "<none>" || get(t, s, "b") != "<none>" {
		t.Error("a share is visible before it is written")
	}
	write(t, s, b)
	if b.err != nil {
		t.Fatal(b.err)
	}
	for i, err := range answers() {
		if err != nil {
			t.Errorf("call %d: %v", i, err)
		}
	}
	after := s.Metrics()
	if applies, syncs := after.Applies-before.Applies, after.Syncs-before.Syncs; applies != 3 || syncs != 1 {
		t.Errorf("%d calls in %d syncs, want 3 in 1", applies, syncs)
	}
	again := mustOpen(t, "d/s", testOptions(mem.CrashClone(vfs.CrashCloneCfg{})))
	for _, key := range []string{"a", "b", "c"} {
		if got := get(t, again, key); got != "value" {
			t.Errorf("%s is %q after a power cut", key, got)
		}
	}
}

// TestShareBounds fills a share by calls and by bytes: who comes behind begins another,
// and a full one is written by whoever filled it.
func TestShareBounds(t *testing.T) {
	s := mustOpen(t, "d/s", testOptions(vfs.NewMem()))
	b := hold(t, s, "first")
	var sets []*ChangeSet
	for n := range maxShareCalls - 1 {
		sets = append(sets, put(fmt.Sprint(n), "value"))
	}
	for i, err := range follow(s, b, sets...)() {
		if err != nil {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if s.take(b) {
		t.Error("a share that was written can be taken")
	}
	if b.err != nil || get(t, s, "first") != "value" || s.open != nil {
		t.Errorf("%v, %q, open %v", b.err, get(t, s, "first"), s.open != nil)
	}

	b = hold(t, s, "small")
	if err := s.Apply(put("large", strings.Repeat("x", maxShareBytes))); err != nil {
		t.Fatal(err)
	}
	if get(t, s, "small") != "<none>" || len(get(t, s, "large")) != maxShareBytes {
		t.Error("a large call has waited for others")
	}
	write(t, s, b)
	if b.calls != 1 || b.err != nil || get(t, s, "small") != "value" {
		t.Errorf("%d calls, %v", b.calls, b.err)
	}
	// What one Apply refuses does not reach the share it would be in.
	b = hold(t, s, "well")
	if err := s.Apply(put(strings.Repeat("k", MaxKey+1), "")); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a key too long: %v", err)
	}
	write(t, s, b)
	if b.calls != 1 || b.err != nil || get(t, s, "well") != "value" {
		t.Errorf("%d calls, %v", b.calls, b.err)
	}
}

// TestShareFails: when the disk breaks everybody hears that the outcome is unknown, and
// all of the share or nothing of it is there.
func TestShareFails(t *testing.T) {
	mem := crashfs.New()
	f := &fault{match: func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileSyncData }, forever: true}
	s := mustOpen(t, "d/s", testOptions(errorfs.Wrap(mem, f)))
	b := hold(t, s, "a/x")
	answers := follow(s, b, put("b/x", "value"), put("c/x", "value"))
	f.armed.Store(true)
	within(t, "a share", func() { write(t, s, b) })
	for i, err := range append(answers(), b.err) {
		if !errors.Is(err, ErrOutcomeUnknown) || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if err := s.Apply(put("d/x", "value")); !errors.Is(err, ErrFailed) {
		t.Errorf("a call of a failed store: %v", err)
	}
	cut := mem.CrashClone(vfs.CrashCloneCfg{})
	_ = s.Close()
	for _, fs := range []vfs.FS{cut, mem} {
		again := mustOpen(t, "d/s", testOptions(fs))
		if a, b, c := get(t, again, "a/x"), get(t, again, "b/x"), get(t, again, "c/x"); a != b || b != c {
			t.Errorf("half a share: %q, %q, %q", a, b, c)
		}
	}
}

// panicReader panics when somebody wants randomness.
type panicReader struct{}

func (panicReader) Read([]byte) (int, error) { panic("test") }

// TestSharePanics: a panic goes to the call it happens in, the others are answered, and
// the store goes on.
func TestSharePanics(t *testing.T) {
	s := mustOpen(t, "d/s", testOptions(vfs.NewMem()))
	rand := s.sealer.rand
	b := hold(t, s, "a")
	answers := follow(s, b, put("b", "value"), put("c", "value"))
	s.sealer.rand = panicReader{}
	s.sealer.current.Load().next.Store(startLimit) // so that the next value needs randomness
	recovered := func() (v any) {
		defer func() { v = recover() }()
		write(t, s, b)
		return nil
	}()
	if recovered != "test" {
		t.Errorf("panic of %v", recovered)
	}
	for i, err := range append(answers(), b.err) {
		if err != errShared {
			t.Errorf("call %d: %v", i, err)
		}
	}
	s.sealer.rand = rand
	mustApply(t, s, put("d", "value"))
	if get(t, s, "a") != "<none>" || get(t, s, "b") != "<none>" || get(t, s, "d") != "value" {
		t.Errorf("%q, %q, %q", get(t, s, "a"), get(t, s, "b"), get(t, s, "d"))
	}
}

// TestCloseWaitsForShare closes while a share is open: who is in it is answered.
func TestCloseWaitsForShare(t *testing.T) {
	mem := vfs.NewMem()
	s := mustOpen(t, "d/s", testOptions(mem))
	b := hold(t, s, "a")
	answers := follow(s, b, put("b", "value"))
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	<-s.disk.closing
	if err := s.Apply(put("c", "value")); !errors.Is(err, ErrClosed) {
		t.Errorf("a call that comes late: %v", err)
	}
	select {
	case err := <-closed:
		t.Fatalf("Close did not wait: %v", err)
	default:
	}
	write(t, s, b)
	if err := errors.Join(append(answers(), b.err, <-closed)...); err != nil {
		t.Error(err)
	}
	again := mustOpen(t, "d/s", testOptions(mem))
	if a, b, c := get(t, again, "a"), get(t, again, "b"), get(t, again, "c"); a != "value" || b != "value" || c != "<none>" {
		t.Errorf("%q, %q, %q", a, b, c)
	}
}
