package store

import (
	"encoding/binary"
	"sync"
	"testing"

	"github.com/conclave-mls/conclave/internal/secret"
)

func TestSyncPause(t *testing.T) {
	for _, alone := range []int32{0, 1, 2, 3} {
		if got := syncPause(alone); got != 0 {
			t.Errorf("%d that apply are held up for %v", alone, got)
		}
	}
	if syncPause(64) == 0 {
		t.Error("64 that apply sync as often as one")
	}
}

// TestSyncsAreShared applies from many goroutines: far fewer syncs than batches, and
// every batch is there.
func TestSyncsAreShared(t *testing.T) {
	s, err := Open(t.TempDir(), Options{Key: make(secret.Bytes, KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const callers, each = 64, 20
	key := func(i, n int) []byte {
		return Client(1).Data(nil, binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, uint16(i)), uint16(n)))
	}
	before := s.Metrics()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for n := range each {
				var c ChangeSet
				c.Put(key(i, n), []byte("value"))
				if err := s.Apply(&c); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	after := s.Metrics()
	if applies, syncs := after.Applies-before.Applies, after.Syncs-before.Syncs; applies != callers*each || syncs == 0 || syncs > applies/4 {
		t.Errorf("%d batches in %d syncs", applies, syncs)
	}
	for i := range callers {
		for n := range each {
			if values, err := s.GetMany(key(i, n)); err != nil || string(values[0]) != "value" {
				t.Fatalf("record %d of %d: %q, %v", n, i, values, err)
			}
		}
	}
}
