package actors

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// oracle is the guard as one would say it: everybody in one line, in order of
// arrival; one may go if it gets along with all that hold and all that stand before
// it; who holds already passes the line.
type oracle struct {
	holding map[*transaction]bool // exclusive
	line    []claim
}

func (o *oracle) may(c claim, before []claim) bool {
	exclusive, held := o.holding[c.tx]
	if c.tx != nil && held && exclusive {
		return true
	}
	for tx, x := range o.holding {
		if (c.tx == nil || tx != c.tx) && (x || c.exclusive) {
			return false
		}
	}
	if c.tx != nil && held {
		return true
	}
	for _, b := range before {
		if b.exclusive || c.exclusive {
			return false
		}
	}
	return true
}

func (o *oracle) grant(c claim) {
	if c.tx != nil {
		o.holding[c.tx] = o.holding[c.tx] || c.exclusive
	}
}

// next lets in everybody who may go, one after the other from the front.
func (o *oracle) next() (claim, bool) {
	for i, c := range o.line {
		if o.may(c, o.line[:i]) {
			o.line = slices.Delete(slices.Clone(o.line), i, i+1)
			o.grant(c)
			return c, true
		}
	}
	return claim{}, false
}

func TestGuardAgainstOracle(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var g guard
		o := &oracle{holding: make(map[*transaction]bool)}
		txs := make([]*transaction, 5)
		for i := range txs {
			txs[i] = new(transaction)
		}
		for step := range 200 {
			switch rng.IntN(4) {
			case 0, 1:
				c := claim{exclusive: rng.IntN(2) == 0, task: new(task)}
				if n := rng.IntN(len(txs) + 1); n < len(txs) {
					c.tx = txs[n]
				}
				want := o.may(c, o.line)
				if want {
					o.grant(c)
				} else {
					o.line = append(o.line, c)
				}
				if got := g.claim(c); got != want {
					t.Fatalf("seed %d step %d: claim = %v, want %v", seed, step, got, want)
				}
			case 2:
				tx := txs[rng.IntN(len(txs))]
				mine := func(c claim) bool { return c.tx == tx }
				o.line = slices.DeleteFunc(slices.Clone(o.line), mine)
				delete(o.holding, tx)
				g.drop(mine)
				g.release(tx)
			case 3:
				if len(o.line) == 0 {
					continue
				}
				gone := o.line[rng.IntN(len(o.line))].task
				match := func(c claim) bool { return c.task == gone }
				o.line = slices.DeleteFunc(slices.Clone(o.line), match)
				if got := len(g.drop(match)); got != 1 {
					t.Fatalf("seed %d step %d: dropped %d claims, want 1", seed, step, got)
				}
			}
			for {
				want, wantOK := o.next()
				got, ok := g.next()
				if ok != wantOK || got != want {
					t.Fatalf("seed %d step %d: next = %v, %v; want %v, %v", seed, step, got, ok, want, wantOK)
				}
				if !ok {
					break
				}
			}
			exclusive := 0
			for _, h := range g.holders {
				if h.exclusive {
					exclusive++
				}
			}
			if exclusive > 1 || exclusive == 1 && len(g.holders) > 1 {
				t.Fatalf("seed %d step %d: an exclusive holder is not alone", seed, step)
			}
		}
	}
}

func TestGuardIsFair(t *testing.T) {
	var g guard
	a, b, c := new(transaction), new(transaction), new(transaction)
	if !g.claim(claim{tx: a, task: new(task)}) {
		t.Fatal("a free guard was refused")
	}
	if g.claim(claim{tx: b, exclusive: true, task: new(task)}) {
		t.Fatal("an exclusive claim went past a shared holder")
	}
	if g.claim(claim{tx: c, task: new(task)}) {
		t.Fatal("a shared claim overtook an exclusive one that waits")
	}
	g.release(a)
	if got, _ := g.next(); got.tx != b {
		t.Error("the first in the line was not the first served")
	}
	if _, ok := g.next(); ok {
		t.Error("a shared claim was granted beside an exclusive holder")
	}
	edges := g.edges()
	if len(edges) != 1 || edges[0] != (edge{c, b}) {
		t.Errorf("edges %v, want one from c to b", edges)
	}
}
