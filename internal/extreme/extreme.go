// Package extreme lists the settings of an engine at the ends of what they can be: how much is taken together, and what stays in memory. None of them may
// make a difference to what comes out, so tests of correctness run over them.
package extreme

import (
	"context"
	"os"
	"testing"

	"github.com/conclave-mls/conclave/internal/step"
)

// Setting is how an engine is set.
type Setting struct {
	Name             string
	Step             step.Bound // how many messages are taken together
	StateBytes       int64      // of memory for conversations at rest: 1 drops each as soon as it rests, -1 none ever
	CacheBytes       int64      // of the cache of records: 1 is none, 0 the engine's own
	LeaseGenerations bool
}

// product has, with any three of the four, each combination of their ends. Each four of it that begin at a multiple of four are two and their opposites, the
// first with the last: so they have both ends of everything, and of every pair but two the four combinations. Those two, steps with the cache and states with
// leases, go together in the first four and against each other in the last.
var product = [...]Setting{
	{"one at a time, nothing stays, cached", step.One, 1, 0, false},
	{"all at once, nothing stays", step.All, 1, 1, false},
	{"one at a time, all stays, cached, leased", step.One, -1, 0, true},
	{"all at once, all stays, leased", step.All, -1, 1, true},
	{"one at a time, nothing stays, leased", step.One, 1, 1, true},
	{"all at once, nothing stays, cached, leased", step.All, 1, 0, true},
	{"one at a time, all stays", step.One, -1, 1, false},
	{"all at once, all stays, cached", step.All, -1, 0, false},
}

// Of returns the setting of the nth of some runs that share them out. Any four in a row from a multiple of four meet both ends of everything, and so do the
// first and the last of them.
func Of(n uint64) Setting { return product[n%uint64(len(product))] }

// Whole tells whether the settings are not shared out, but every run is to be made in each: where the environment has CONCLAVE_EXTREMES set.
func Whole() bool { return os.Getenv("CONCLAVE_EXTREMES") != "" }

// Over returns the settings that the nth of some runs is made in: its own, or the whole product.
func Over(n uint64) []Setting {
	if Whole() {
		return product[:]
	}
	return []Setting{Of(n)}
}

// Run runs a test in the settings that are Over(n).
func Run(t *testing.T, n uint64, f func(t *testing.T, s Setting)) {
	t.Helper()
	for _, s := range Over(n) {
		t.Run(s.Name, func(t *testing.T) { f(t, s) })
	}
}

// Open returns the context to open an engine with.
func (s Setting) Open(ctx context.Context) context.Context { return step.With(ctx, s.Step) }
