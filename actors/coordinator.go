package actors

import (
	"slices"

	"go.uber.org/zap"

	"github.com/conclave-mls/conclave/messages"
)

// coordinator knows the open transactions of one client and who waits for whom. It
// spawns a child for each, which decides it; so transactions never queue here
// behind each other's disk.
type coordinator struct {
	sys    *System
	client *client
	open   map[*transaction]bool
	graph  waitGraph
	// closing tells that the engine closes: nothing begins any more.
	closing bool
	closed  chan<- struct{} // told once no transaction is open
}

// Letters of the coordinator.
type (
	transactionEnded struct{ tx *transaction }
	// contention replaces what is known of one guard: who waits there for whom. It
	// comes whenever that changes while a transaction waits, and once more, without
	// edges, when none does any longer.
	contention struct {
		resource resource
		edges    []edge
	}
	// coordinatorClose aborts all transactions and reports when they have ended.
	coordinatorClose struct{ closed chan<- struct{} }
)

func (transactionEnded) letter() {}
func (contention) letter()       {}
func (coordinatorClose) letter() {}

// resource names a guard: the actor it belongs to, and its name there.
type resource struct {
	owner ref
	name  string
}

// evict tells the owner of a guard to answer the claims of a transaction that wait
// there with an error.
type evict struct {
	tx   *transaction
	name string
	err  error
}

func (evict) letter() {}

func (c *coordinator) receive(l letter) {
	_ = safely(c.sys.log, "coordinator", func() error { c.handle(l); return nil })
}

func (c *coordinator) handle(l letter) {
	switch l := l.(type) {
	case *task:
		c.begin(l)
	case transactionEnded:
		delete(c.open, l.tx)
		c.graph.forget(l.tx)
		l.tx.actor.stop()
		c.report()
	case contention:
		c.contend(l)
	case coordinatorClose:
		c.closing, c.closed = true, l.closed
		for tx := range c.open {
			tx.actor.send(doom{messages.ErrClosed})
			// Nobody may ever ask for its end; the engine does it.
			tx.actor.send(newTask(c.sys.background, messages.Abort{}))
		}
		c.report()
	}
}

// begin opens a transaction.
func (c *coordinator) begin(t *task) {
	switch {
	case c.closing:
		t.answer(nil, messages.ErrClosed)
		return
	case t.ctx.Err() != nil:
		t.answer(nil, t.ctx.Err())
		return
	}
	tx := &transaction{id: messages.TransactionID(c.sys.ids.Add(1)), client: c.client, ended: make(chan struct{})}
	tx.actor = c.sys.host.spawn(&transactionActor{sys: c.sys, tx: tx})
	c.open[tx] = true
	c.sys.transactions.store(tx.id, tx)
	t.answer(messages.TransactionBegun{Transaction: tx.id}, nil)
}

// contend notes who waits at a guard, and breaks the cycle that this may have closed.
// One victim is enough for each: before this letter there was no cycle, and every
// cycle runs through one of its edges; so look until none is left.
func (c *coordinator) contend(l contention) {
	// A guard's word may be older than the end of those it names.
	c.graph.note(l.resource, slices.DeleteFunc(l.edges, func(e edge) bool { return !c.alive(e.waits) || !c.alive(e.holds) }))
	for {
		cycle := c.graph.cycle()
		if cycle == nil {
			return
		}
		victim := pickVictim(cycle)
		c.sys.log.Debug("deadlock", zap.Uint64("victim", uint64(victim.id)), zap.Int("transactions", len(cycle)))
		victim.shut(stepsDoomed)
		for _, r := range c.graph.waitsAt(victim) {
			r.owner.send(evict{victim, r.name, messages.ErrConflict})
		}
		c.graph.forget(victim)
		victim.actor.send(doom{messages.ErrConflict})
	}
}

func (c *coordinator) alive(tx *transaction) bool {
	return c.open[tx] && tx.steps.Load()&stepsDoomed == 0
}

// pickVictim chooses who gives way: one that has sent nothing, as what has left
// cannot be taken back; among those, and if there is none, the youngest, as it has
// likely done least.
func pickVictim(cycle []*transaction) *transaction {
	return slices.MaxFunc(cycle, func(a, b *transaction) int {
		if sa, sb := a.sent.Load(), b.sent.Load(); sa != sb {
			if sa {
				return -1
			}
			return 1
		}
		if a.id < b.id {
			return -1
		}
		return 1
	})
}

func (c *coordinator) report() {
	if c.closed != nil && len(c.open) == 0 {
		close(c.closed)
		c.closed = nil
	}
}

func (c *coordinator) stopped() {}

// waitGraph holds, for each contended guard, the latest word of its owner.
type waitGraph struct{ at map[resource][]edge }

func (g *waitGraph) note(r resource, edges []edge) {
	if g.at == nil {
		g.at = make(map[resource][]edge)
	}
	if len(edges) == 0 {
		delete(g.at, r)
		return
	}
	g.at[r] = edges
}

// forget drops a transaction that has ended or is about to.
func (g *waitGraph) forget(tx *transaction) {
	for r, edges := range g.at {
		g.note(r, slices.DeleteFunc(slices.Clone(edges), func(e edge) bool { return e.waits == tx || e.holds == tx }))
	}
}

func (g *waitGraph) waitsAt(tx *transaction) []resource {
	var rs []resource
	for r, edges := range g.at {
		if slices.ContainsFunc(edges, func(e edge) bool { return e.waits == tx }) {
			rs = append(rs, r)
		}
	}
	return rs
}

// cycle returns the transactions of a cycle, nil where there is none.
func (g *waitGraph) cycle() []*transaction {
	next := make(map[*transaction][]*transaction)
	for _, edges := range g.at {
		for _, e := range edges {
			next[e.waits] = append(next[e.waits], e.holds)
		}
	}
	done := make(map[*transaction]bool)
	var path []*transaction
	var visit func(tx *transaction) []*transaction
	visit = func(tx *transaction) []*transaction {
		if i := slices.Index(path, tx); i >= 0 {
			return slices.Clone(path[i:])
		}
		if done[tx] {
			return nil
		}
		done[tx] = true
		path = append(path, tx)
		for _, to := range next[tx] {
			if cycle := visit(to); cycle != nil {
				return cycle
			}
		}
		path = path[:len(path)-1]
		return nil
	}
	for tx := range next {
		if cycle := visit(tx); cycle != nil {
			return cycle
		}
	}
	return nil
}
