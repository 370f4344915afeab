package actors

// guard orders those who want one resource: a conversation, a key package, a
// credential, the data blob. It belongs to the resource's actor and is touched in
// its receive only. A transaction takes it at first touch and keeps it until it
// ends. A single call asks in the same order, but holds nothing afterwards: it is
// done when the actor's turn is.
//
// Claims are granted in the order in which they came. Shared ones share, and none
// overtakes an exclusive one that waits. Only who holds the guard already is served
// at once, whoever waits; and a holder that turns its shared claim into an exclusive
// one waits for the other holders only.
type guard struct {
	holders []holder
	waiting []claim
}

type holder struct {
	tx        *transaction
	exclusive bool
}

// claim is a request for a guard, on behalf of a task. tx is nil for a single call.
type claim struct {
	tx        *transaction
	exclusive bool
	task      *task
}

// claim grants a claim now, or lets it wait and answers false.
func (g *guard) claim(c claim) bool {
	if g.grantable(c, len(g.waiting)) {
		g.grant(c)
		return true
	}
	g.waiting = append(g.waiting, c)
	return false
}

// next grants the first waiting claim that can be granted now and takes it from the
// queue.
func (g *guard) next() (claim, bool) {
	for i, c := range g.waiting {
		if g.grantable(c, i) {
			g.remove(i)
			g.grant(c)
			return c, true
		}
	}
	return claim{}, false
}

// release ends what tx holds. Its claims that wait must have been dropped.
func (g *guard) release(tx *transaction) {
	for i, h := range g.holders {
		if h.tx == tx {
			g.holders = append(g.holders[:i], g.holders[i+1:]...)
			return
		}
	}
}

// drop takes the claims from the queue that match and returns them, in order.
func (g *guard) drop(match func(claim) bool) []claim {
	var dropped []claim
	for i := 0; i < len(g.waiting); {
		if c := g.waiting[i]; match(c) {
			dropped = append(dropped, c)
			g.remove(i)
			continue
		}
		i++
	}
	return dropped
}

// holds tells whether tx holds the guard, shared or not.
func (g *guard) holds(tx *transaction) bool {
	for _, h := range g.holders {
		if h.tx == tx {
			return true
		}
	}
	return false
}

// idle tells whether nobody holds or wants the guard.
func (g *guard) idle() bool { return len(g.holders) == 0 && len(g.waiting) == 0 }

// contended tells whether a transaction waits, which the coordinator has to know.
func (g *guard) contended() bool {
	for _, c := range g.waiting {
		if c.tx != nil {
			return true
		}
	}
	return false
}

// edges lists, for each transaction that waits, the transactions it waits for: the
// holders, and who asked before it.
func (g *guard) edges() []edge {
	var edges []edge
	for i, c := range g.waiting {
		if c.tx == nil {
			continue
		}
		held := g.holds(c.tx)
		for _, h := range g.holders {
			if h.tx != c.tx && (h.exclusive || c.exclusive) {
				edges = append(edges, edge{c.tx, h.tx})
			}
		}
		for _, before := range g.waiting[:i] {
			if !held && before.tx != nil && before.tx != c.tx && (before.exclusive || c.exclusive) {
				edges = append(edges, edge{c.tx, before.tx})
			}
		}
	}
	return edges
}

// edge says that one transaction waits for another.
type edge struct{ waits, holds *transaction }

// grantable tells whether c can have the guard when the claims before position ahead
// of the queue go first.
func (g *guard) grantable(c claim, ahead int) bool {
	held := false
	for _, h := range g.holders {
		switch {
		case c.tx != nil && h.tx == c.tx:
			held = true
			if h.exclusive {
				return true
			}
		case h.exclusive || c.exclusive:
			return false
		}
	}
	if held {
		return true // alone, or both shared
	}
	for _, before := range g.waiting[:ahead] {
		if before.exclusive || c.exclusive {
			return false
		}
	}
	return true
}

func (g *guard) grant(c claim) {
	if c.tx == nil {
		return
	}
	for i := range g.holders {
		if g.holders[i].tx == c.tx {
			g.holders[i].exclusive = g.holders[i].exclusive || c.exclusive
			return
		}
	}
	g.holders = append(g.holders, holder{c.tx, c.exclusive})
}

func (g *guard) remove(i int) {
	if i == 0 {
		g.waiting[0] = claim{}
		g.waiting = g.waiting[1:]
	} else {
		g.waiting = append(g.waiting[:i], g.waiting[i+1:]...)
	}
	if len(g.waiting) == 0 {
		g.waiting = nil
	}
}
