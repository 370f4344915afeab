package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// TestDeleteRange deletes ranges of some records and of many, stored before and put by
// the batch itself, and looks which of them become ranges of Pebble.
func TestDeleteRange(t *testing.T) {
	for _, tt := range []struct {
		stored, put, others int
		ranged              bool
	}{
		{0, 0, 0, false}, {1, 0, 0, false}, {0, 1, 0, false}, {maxRangeKeys, 0, 0, false}, {maxRangeKeys - 1, 1, 0, false},
		{maxRangeKeys, 1, 0, true}, {maxRangeKeys + 1, 0, 0, true}, {0, maxRangeKeys + 1, 0, true}, {300, 300, 0, true},
		{1, 1, maxRangeBefore - 1, false}, {1, 1, maxRangeBefore, true},
	} {
		t.Run(fmt.Sprintf("stored=%d,put=%d,others=%d", tt.stored, tt.put, tt.others), func(t *testing.T) {
			s := mustOpen(t, "", Options{Key: testKey(1), InMemory: true})
			first, before, last := new(ChangeSet), new(ChangeSet), new(ChangeSet)
			first.Put([]byte("l"), []byte("below"))
			first.Put([]byte("n"), []byte("above"))
			for i := range tt.stored {
				first.Put(fmt.Appendf(nil, "m%04d", i), []byte("stored"))
			}
			if err := s.Apply(first); err != nil {
				t.Fatal(err)
			}
			for i := range tt.put {
				before.Put(fmt.Appendf(nil, "m+%04d", i), []byte("put"))
			}
			for i := range tt.others {
				last.Put(fmt.Appendf(nil, "o%04d", i), []byte("other"))
			}
			last.DeleteRange([]byte("m"), []byte("n"))
			last.Put([]byte("m after"), []byte("stays"))
			sets := []*ChangeSet{nil, before, last}

			b := s.db.NewBatch()
			if err := s.fill(b, sets); err != nil {
				t.Fatal(err)
			}
			ranged := false
			for r := b.Reader(); ; {
				kind, _, _, more, err := r.Next()
				if err != nil {
					t.Fatal(err)
				}
				if !more {
					break
				}
				ranged = ranged || kind == pebble.InternalKeyKindRangeDelete
			}
			if ranged != tt.ranged {
				t.Errorf("a range in the batch: %v, want %v", ranged, tt.ranged)
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}

			want := contents(t, s)
			for _, c := range sets {
				want.apply(c)
			}
			if err := s.Apply(sets...); err != nil {
				t.Fatal(err)
			}
			if got := contents(t, s); !maps.Equal(got, want) {
				t.Errorf("%d records left, want %d", len(got), len(want))
			}
		})
	}
}

// TestDeleteRangesTwin applies sets that put and delete the same few keys in any order.
func TestDeleteRangesTwin(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	s, want := mustOpen(t, "", Options{Key: testKey(1), InMemory: true}), oracle{}
	for step := range 300 {
		sets := make([]*ChangeSet, 1+rng.IntN(3))
		for i := range sets {
			sets[i] = new(ChangeSet)
			for range rng.IntN(12) {
				randomChange(rng, sets[i])
			}
			want.apply(sets[i])
		}
		if err := s.Apply(sets...); err != nil {
			t.Fatal(err)
		}
		if got := contents(t, s); !maps.Equal(got, want) {
			t.Fatalf("after step %d: %q, want %q", step, got, want)
		}
	}
}
