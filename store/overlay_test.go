package store

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// randomKey is one of few, so that changes meet.
func randomKey(rng *rand.Rand) []byte {
	key := make([]byte, 1+rng.IntN(3))
	for i := range key {
		key[i] = "abcd"[rng.IntN(4)]
	}
	return key
}

func randomChange(rng *rand.Rand, c *ChangeSet) {
	switch rng.IntN(10) {
	case 0, 1, 2:
		c.Delete(randomKey(rng))
	case 3:
		c.DeleteRange(randomKey(rng), randomKey(rng))
	case 4:
		c.Put(randomKey(rng), nil)
	default:
		c.Put(randomKey(rng), fmt.Append(nil, rng.Uint64()))
	}
}

// answer is what a Range over the map should return.
func (o oracle) answer(r Range) []Record {
	var out []Record
	for _, k := range slices.Sorted(maps.Keys(o)) {
		if r.holds([]byte(k)) {
			out = append(out, Record{[]byte(k), []byte(o[k])})
		}
	}
	if r.Reverse {
		slices.Reverse(out)
	}
	return out[:min(len(out), r.limit())]
}

func sameRecords(a, b []Record) bool {
	return slices.EqualFunc(a, b, func(x, y Record) bool {
		return bytes.Equal(x.Key, y.Key) && bytes.Equal(x.Value, y.Value)
	})
}

// checkReader compares reads of every kind with the map's.
func checkReader(t *testing.T, what string, rng *rand.Rand, r Reader, want oracle) {
	t.Helper()
	for range 6 {
		keys := make([][]byte, 1+rng.IntN(5))
		for i := range keys {
			keys[i] = randomKey(rng)
		}
		got, err := r.GetMany(keys...)
		if err != nil {
			t.Fatal(err)
		}
		for i, key := range keys {
			value, ok := want[string(key)]
			if ok != (got[i] != nil) || string(got[i]) != value {
				t.Fatalf("%s: %s is %q, want %q (%v)", what, key, got[i], value, ok)
			}
		}
		q := Range{Low: randomKey(rng), High: randomKey(rng), Limit: rng.IntN(6), Reverse: rng.IntN(2) == 0}
		switch rng.IntN(5) {
		case 0:
			q.Low = nil
		case 1:
			q.High = nil
		}
		records, err := r.Range(q)
		if err != nil {
			t.Fatal(err)
		}
		if expect := want.answer(q); !sameRecords(records, expect) {
			t.Fatalf("%s: range %v is %q, want %q", what, q, records, expect)
		}
	}
}

// TestOverlay plays random changes three ways: into a map, over a store, and into
// the store. All of them always read the same.
func TestOverlay(t *testing.T) {
	var s *Store
	all := PrefixRange([]byte("")) // the whole store
	seeds := uint64(300)
	if testing.Short() {
		seeds = 60
	}
	for seed := range seeds {
		if seed%20 == 0 { // reads become slower with every range that has been deleted
			s = mustOpen(t, "", Options{Key: testKey(1), InMemory: true})
		}
		rng := rand.New(rand.NewPCG(seed, 1))
		clearAll := new(ChangeSet)
		clearAll.DeleteRange(all.Low, []byte{0xff})
		base := new(ChangeSet)
		for range rng.IntN(40) {
			randomChange(rng, base)
		}
		mustApply(t, s, clearAll, base)
		want := oracle{}
		want.apply(base)
		checkReader(t, fmt.Sprintf("seed %d, store", seed), rng, s, want)

		sets := []*ChangeSet{new(ChangeSet), nil, new(ChangeSet)}
		view := Overlay(s, sets...)
		nested := Overlay(Overlay(s, sets[0]), sets[2])
		// Changes go to the first set, then to both in turn; the later set wins.
		for range 6 {
			for range rng.IntN(8) {
				randomChange(rng, sets[2*rng.IntN(2)])
			}
			over := maps.Clone(want)
			over.apply(sets[0])
			over.apply(sets[2])
			checkReader(t, fmt.Sprintf("seed %d, overlay", seed), rng, view, over)
			checkReader(t, fmt.Sprintf("seed %d, nested", seed), rng, nested, over)
		}
		mustApply(t, s, sets...)
		want.apply(sets[0])
		want.apply(sets[2])
		checkReader(t, fmt.Sprintf("seed %d, applied", seed), rng, s, want)
		checkReader(t, fmt.Sprintf("seed %d, overlay of what is applied", seed), rng, Overlay(s, sets...), want)
	}
}

// TestOverlayPages reads more records than one Range of the base returns.
func TestOverlayPages(t *testing.T) {
	s := mustOpen(t, "", Options{Key: testKey(1), InMemory: true})
	want := oracle{}
	base, over := new(ChangeSet), new(ChangeSet)
	for i := range 300 {
		base.Put(fmt.Appendf(nil, "%04d", i), []byte("base"))
	}
	over.DeleteRange([]byte("0010"), []byte("0280"))
	for i := range 5 {
		over.Put(fmt.Appendf(nil, "0%d50", i), []byte("over"))
	}
	mustApply(t, s, base)
	want.apply(base)
	want.apply(over)
	for _, reverse := range []bool{false, true} {
		for _, limit := range []int{1, 2, 11, 15, 34, 35, 36, 1000} {
			q := Range{Limit: limit, Reverse: reverse}
			got, err := Overlay(s, over).Range(q)
			if err != nil {
				t.Fatal(err)
			}
			if expect := want.answer(q); !sameRecords(got, expect) {
				t.Errorf("limit %d, reverse %v: %d records, want %d", limit, reverse, len(got), len(expect))
			}
		}
	}
}

// TestReadsAreOwned: what a read returned can be written without harm.
func TestReadsAreOwned(t *testing.T) {
	s := mustOpen(t, "", Options{Key: testKey(1), InMemory: true})
	mustApply(t, s, put("a", "stored"))
	over := put("b", "staged")
	for range 2 {
		r := Overlay(s, over)
		if got := get(t, r, "a") + get(t, r, "b"); got != "storedstaged" {
			t.Fatalf("got %q", got)
		}
		values, err := r.GetMany([]byte("a"), []byte("b"))
		if err != nil {
			t.Fatal(err)
		}
		records, err := r.Range(Range{})
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range records {
			values = append(values, rec.Key, rec.Value)
		}
		for _, v := range values {
			clear(v[:cap(v)])
		}
	}
}
