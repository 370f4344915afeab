package actors

import (
	"math/rand/v2"
	"testing"
)

func TestVictimHasSentNothing(t *testing.T) {
	old, young, sent := &transaction{id: 1}, &transaction{id: 2}, &transaction{id: 3}
	sent.sent.Store(true)
	if got := pickVictim([]*transaction{sent, old, young}); got != young {
		t.Errorf("victim is %v, want the youngest that has sent nothing", got)
	}
	old.sent.Store(true)
	young.sent.Store(true)
	if got := pickVictim([]*transaction{young, sent, old}); got != sent {
		t.Errorf("victim is %v, want the youngest where all have sent", got)
	}
}

// TestCycleAgainstReachability holds the search for cycles against the definition: a
// transaction that can reach itself.
func TestCycleAgainstReachability(t *testing.T) {
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 2))
		const n = 6
		txs := make([]*transaction, n)
		for i := range txs {
			txs[i] = new(transaction)
		}
		var g waitGraph
		var reach [n][n]bool
		for i := range rng.IntN(9) {
			x, y := rng.IntN(n), rng.IntN(n)
			if x == y {
				continue
			}
			reach[x][y] = true
			g.note(resource{owner: &dot{byte(i + 1)}, name: string(rune('a' + i))}, []edge{{txs[x], txs[y]}})
		}
		for k := range n {
			for i := range n {
				for j := range n {
					reach[i][j] = reach[i][j] || reach[i][k] && reach[k][j]
				}
			}
		}
		want := false
		for i := range n {
			want = want || reach[i][i]
		}
		cycle := g.cycle()
		if (cycle != nil) != want {
			t.Fatalf("seed %d: cycle %v, want one: %v", seed, cycle, want)
		}
		for _, tx := range cycle {
			g.forget(tx)
		}
	}
}
