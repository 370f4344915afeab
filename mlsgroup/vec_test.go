package mlsgroup

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestVecOracle holds a vec against a map through random edits, and checks that
// no edit shows in a vec made before it.
func TestVecOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	type state struct {
		v vec[int]
		m map[uint32]*int
	}
	check := func(s state) {
		t.Helper()
		var keys []uint32
		for i, x := range s.v.all() {
			if s.m[i] != x {
				t.Fatalf("entry %d differs", i)
			}
			keys = append(keys, i)
		}
		if !slices.IsSorted(keys) || len(keys) != len(s.m) {
			t.Fatalf("%d of %d entries, sorted %v", len(keys), len(s.m), slices.IsSorted(keys))
		}
	}
	var past []state
	now := state{m: map[uint32]*int{}}
	for range 200 {
		before := now
		now.m = maps.Clone(now.m)
		e := now.v.edit()
		for range r.IntN(8) {
			i := r.Uint32N(600)
			switch r.IntN(10) {
			case 0:
				e.truncate(i)
				maps.DeleteFunc(now.m, func(k uint32, _ *int) bool { return k >= i })
			case 1, 2, 3:
				e.set(i, nil)
				delete(now.m, i)
			default:
				x := new(int)
				e.set(i, x)
				now.m[i] = x
			}
			if e.get(i) != now.m[i] {
				t.Fatalf("entry %d under edit differs", i)
			}
		}
		now.v = e.done()
		var changed []uint32
		for i := range uint32(700) {
			if now.m[i] != before.m[i] {
				changed = append(changed, i)
			}
		}
		if got := slices.Collect(now.v.changed(before.v)); !slices.Equal(got, changed) {
			t.Fatalf("changed: got %v, want %v", got, changed)
		}
		past = append(past, now)
	}
	for _, s := range past {
		check(s)
	}
}

func TestVecSet(t *testing.T) {
	var v vec[int]
	x := new(int)
	w := v.set(100, x)
	if v.get(100) != nil || w.get(100) != x || w.get(99) != nil || w.get(1<<30) != nil {
		t.Error("set changed its receiver or lost the entry")
	}
}
