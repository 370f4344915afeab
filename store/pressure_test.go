package store

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// TestPressure stops all flushes until writers are held back, and then lets them
// go on, breaks the disk, or closes the store. Nobody is left waiting, and who was
// held back wrote nothing.
func TestPressure(t *testing.T) {
	for name, end := range map[string]struct {
		flush error // what the flush gets to hear
		close bool
		want  error // what those held back hear
	}{
		"go on": {nil, false, nil},
		"break": {syscall.ENOSPC, false, ErrFailed},
		"close": {nil, true, ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			release := make(chan struct{})
			inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind == errorfs.OpCreate && isTable(op.Path) {
					<-release
					return end.flush
				}
				return nil
			})
			mem := vfs.NewMem()
			o := testOptions(errorfs.Wrap(mem, inject))
			o.MemTableBytes = 64 << 10
			s, err := Open("d/s", o)
			if err != nil {
				t.Fatal(err)
			}
			const appliers = 8
			var all []outcome
			var mu sync.Mutex
			var wg sync.WaitGroup
			for n := range appliers {
				wg.Go(func() {
					for i, err := 0, error(nil); i < 30 && err == nil; i++ {
						key := fmt.Sprint(n, "/", i)
						c := put(key+"/x", string(make([]byte, 4000)))
						c.Put([]byte(key+"/y"), nil)
						err = s.Apply(c)
						mu.Lock()
						all = append(all, outcome{key, err})
						mu.Unlock()
					}
				})
			}
			within(t, "stall", func() {
				for !s.pressure.high(s.db.Metrics()) {
					runtime.Gosched()
				}
			})
			done := make(chan error, 1)
			if end.close {
				go func() { done <- s.Close() }()
				within(t, "those held back", wg.Wait)
			}
			close(release)
			within(t, "appliers", wg.Wait)
			if !end.close {
				go func() { done <- s.Close() }()
			}
			within(t, "Close", func() {
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
			for _, o := range all {
				if o.err != nil && !errors.Is(o.err, end.want) && !(end.want == ErrFailed && errors.Is(o.err, ErrOutcomeUnknown)) {
					t.Errorf("%s: %v, want %v", o.key, o.err, end.want)
				}
			}
			if end.want == nil && len(all) != appliers*30 {
				t.Errorf("%d of %d applied", len(all), appliers*30)
			}
			settled(t, before)
			checkOutcomes(t, name, mem, all)
		})
	}
}
