package extreme

import (
	"testing"

	"github.com/conclave-mls/conclave/internal/step"
)

// ends are at which end each factor of a setting is.
func (s Setting) ends() [4]bool {
	return [4]bool{s.Step == step.All, s.StateBytes < 0, s.CacheBytes == 0, s.LeaseGenerations}
}

// TestPairs looks for each combination of the ends of any two factors, and of any three.
func TestPairs(t *testing.T) {
	for i := range 4 {
		for j := range i {
			for k := range j + 1 { // k == j: of two
				met := make(map[[3]bool]int)
				for _, s := range product {
					e := s.ends()
					met[[3]bool{e[i], e[j], e[k]}]++
				}
				want := 8
				if k == j {
					want = 4
				}
				if len(met) != want {
					t.Errorf("factors %d, %d and %d: %d combinations, want %d: %v", i, j, k, len(met), want, met)
				}
			}
		}
	}
}

// TestFours looks for both ends of every factor in each four, and that its first and last are opposites, and for the pairs that are all there.
func TestFours(t *testing.T) {
	for at := uint64(0); at < uint64(len(product)); at += 4 {
		first, last := Of(at).ends(), Of(at+3).ends()
		for i := range 4 {
			if first[i] == last[i] {
				t.Errorf("factor %d of %q and %q has one end", i, Of(at).Name, Of(at+3).Name)
			}
			for j := range i {
				if i == 2 && j == 0 || i == 3 && j == 1 {
					continue // go together
				}
				met := make(map[[2]bool]bool)
				for n := range uint64(4) {
					e := Of(at + n).ends()
					met[[2]bool{e[i], e[j]}] = true
				}
				if len(met) != 4 {
					t.Errorf("factors %d and %d from %d: %v", i, j, at, met)
				}
			}
		}
	}
}
