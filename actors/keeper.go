package actors

import (
	"context"
	"slices"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/store"
)

// keeper is what the actors that keep a client's records have in common: the guards of
// those records, what transactions have staged on them, and the requests that wait.
// It keeps no record in memory: what it reads, it reads through an overlay of the
// store and of what the transaction has staged.
type keeper struct {
	duty   duty
	sys    *System
	client *client
	guards map[string]*namedGuard
	stages map[*transaction]*keeperStage
	works  map[*task]*work
	held   []*heldAnswer
	closed bool
}

// duty is what makes a keeper the actor of certain records.
type duty interface {
	// address returns the actor.
	address() ref
	// plan says which guards a request needs and what to do once it has them.
	plan(t *task) (*work, error)
	// news are to be published when what the transaction has staged is durable.
	news(tx *transaction) []news
}

// keeperStage is what one transaction has staged. The overlay sees the changes as they
// are added.
type keeperStage struct {
	changes *store.ChangeSet
	reader  store.Reader
	// late are guards that the transaction takes before it votes, and not sooner.
	late []need
}

// work is a task that has not all the guards it needs.
type work struct {
	task  *task
	needs []need
	got   int
	// unguarded tells that it reads what no guard of its own keeps from changing.
	unguarded bool
	// run is what to do once it has them.
	run func() (messages.Reply, error)
}

// heldAnswer is the answer to an unguarded read. The store shows a batch to others before
// it is durable, so what was read may be of transactions that are being applied: it leaves
// when they have been decided and everybody knows.
type heldAnswer struct {
	task  *task
	reply messages.Reply
	err   error
	of    []*transaction
}

// need is a guard that a request takes.
type need struct {
	name      string
	exclusive bool
}

// namedGuard is a guard and whether the coordinator knows of waits at it.
type namedGuard struct {
	guard
	reported bool
}

// report tells the coordinator who waits, if that may have changed.
func (g *namedGuard) report(to ref, r resource) {
	switch {
	case g.contended():
		to.send(contention{r, g.edges()})
		g.reported = true
	case g.reported:
		to.send(contention{r, nil})
		g.reported = false
	}
}

// voting is the task of a transaction that waits for late guards before it votes.
type voting struct{ messages.Step }

func newKeeper(c *client, d duty) keeper {
	return keeper{
		duty: d, sys: c.sys, client: c,
		guards: make(map[string]*namedGuard), stages: make(map[*transaction]*keeperStage), works: make(map[*task]*work),
	}
}

func (k *keeper) receive(l letter) {
	err := safely(k.sys.log, "keeper", func() error { k.handle(l); return nil })
	if t, ok := l.(*task); ok && err != nil {
		delete(k.works, t)
		t.answer(nil, err)
	}
}

func (k *keeper) handle(l letter) {
	switch l := l.(type) {
	case *task:
		k.take(l)
	case cancelTask:
		k.drop(func(c claim) bool { return c.task == l.task }, l.task.ctx.Err())
		k.dropHeld(func(t *task) bool { return t == l.task }, l.task.ctx.Err())
	case evict:
		k.drop(func(c claim) bool { return c.tx == l.tx }, l.err)
	case prepare:
		k.prepare(l.tx)
	case settle:
		k.end(l.tx)
	case abort:
		k.drop(func(c claim) bool { return c.tx == l.tx }, messages.ErrInvalidTransaction)
		k.end(l.tx)
	case storeFailed:
		k.dropAll(messages.ErrStoreFailed)
	case closeActor:
		k.closed = true
		k.dropAll(messages.ErrClosed)
	}
}

func (k *keeper) stopped() { k.dropAll(messages.ErrClosed) }

// dropAll answers all who wait.
func (k *keeper) dropAll(err error) {
	k.drop(func(claim) bool { return true }, err)
	k.dropHeld(func(*task) bool { return true }, err)
}

// take begins a request: it finds the guards it needs, and waits or runs.
func (k *keeper) take(t *task) {
	if k.sys.turnAway(t) {
		return
	}
	w, err := k.duty.plan(t)
	if err != nil {
		k.answerUnguarded(t, nil, err) // it may have looked for something
		return
	}
	if k.closed && t.tx == nil {
		t.answer(nil, messages.ErrClosed)
		return
	}
	if t.tx != nil {
		k.stage(t.tx)
	}
	k.advance(w, false)
}

// stage returns what the transaction has staged, enlisting at the first touch.
func (k *keeper) stage(tx *transaction) *keeperStage {
	s := k.stages[tx]
	if s == nil {
		s = &keeperStage{changes: new(store.ChangeSet)}
		s.reader = store.Overlay(k.sys.store, s.changes)
		k.stages[tx] = s
		tx.actor.send(enlisted{k.duty.address()})
	}
	return s
}

// advance takes one guard after another; granted tells that the one it has waited for
// is its own now. A single call keeps none while it waits for the next, so it begins
// again at the first each time. But it does not ask again for what it has just been
// granted: it would wait behind those that came later, and these behind it.
func (k *keeper) advance(w *work, granted bool) {
	var had need
	if granted {
		had = w.needs[w.got]
	}
	if w.task.tx == nil {
		w.got = 0
	}
	for ; w.got < len(w.needs); w.got++ {
		n := w.needs[w.got]
		if granted && n.name == had.name && (had.exclusive || !n.exclusive) {
			continue
		}
		g := k.guards[n.name]
		if g == nil {
			g = new(namedGuard)
			k.guards[n.name] = g
		}
		if !g.claim(claim{w.task.tx, n.exclusive, w.task}) {
			k.works[w.task] = w
			g.report(k.client.coordinator, resource{k.duty.address(), n.name})
			return
		}
		if g.idle() {
			delete(k.guards, n.name)
		}
	}
	delete(k.works, w.task)
	reply, err := w.run()
	if w.unguarded {
		k.answerUnguarded(w.task, reply, err)
		return
	}
	w.task.answer(reply, err)
}

// answerUnguarded answers an unguarded read that has just been done, or holds its answer.
func (k *keeper) answerUnguarded(t *task, reply messages.Reply, err error) {
	if of := k.applying(); len(of) > 0 {
		k.held = append(k.held, &heldAnswer{t, reply, err, of})
		return
	}
	t.answer(reply, err)
}

// applying returns the transactions whose changes here the store may have been given,
// and which have not been settled here.
func (k *keeper) applying() []*transaction {
	var all []*transaction
	for tx, s := range k.stages {
		if s.changes.Len() > 0 && tx.applying.Load() {
			all = append(all, tx)
		}
	}
	return all
}

// unhold lets the answers go that were held for a transaction alone.
func (k *keeper) unhold(tx *transaction) {
	k.held = slices.DeleteFunc(k.held, func(h *heldAnswer) bool {
		h.of = slices.DeleteFunc(h.of, func(x *transaction) bool { return x == tx })
		if len(h.of) > 0 {
			return false
		}
		h.task.answer(h.reply, h.err)
		return true
	})
}

// dropHeld answers held reads that match with an error.
func (k *keeper) dropHeld(match func(*task) bool, err error) {
	k.held = slices.DeleteFunc(k.held, func(h *heldAnswer) bool {
		if !match(h.task) {
			return false
		}
		h.task.answer(nil, err)
		return true
	})
}

// wake serves those who wait at a guard, as far as they can be served now.
func (k *keeper) wake(name string) {
	for {
		g := k.guards[name]
		if g == nil {
			return
		}
		c, ok := g.next()
		if !ok {
			g.report(k.client.coordinator, resource{k.duty.address(), name})
			if g.idle() {
				delete(k.guards, name)
			}
			return
		}
		w := k.works[c.task]
		if w == nil {
			continue
		}
		if err := safely(k.sys.log, "keeper", func() error { k.advance(w, true); return nil }); err != nil {
			delete(k.works, c.task)
			c.task.answer(nil, err)
		}
	}
}

// drop answers waiting claims that match with an error.
func (k *keeper) drop(match func(claim) bool, err error) {
	for _, name := range k.guardNames() {
		g := k.guards[name]
		if g == nil {
			continue
		}
		dropped := g.drop(match)
		for _, c := range dropped {
			w := k.works[c.task]
			delete(k.works, c.task)
			if _, votes := c.task.request.(voting); votes && w != nil {
				c.tx.actor.send(vote{participant: k.duty.address(), err: err})
			}
			c.task.answer(nil, err)
		}
		if len(dropped) > 0 {
			k.wake(name)
		}
	}
}

func (k *keeper) guardNames() []string {
	names := make([]string, 0, len(k.guards))
	for name := range k.guards {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// prepare votes: yes, with the changes, once the transaction has its late guards.
func (k *keeper) prepare(tx *transaction) {
	s := k.stages[tx]
	if s == nil {
		tx.actor.send(vote{participant: k.duty.address(), err: messages.ErrInternal})
		return
	}
	yes := func() (messages.Reply, error) {
		tx.actor.send(vote{participant: k.duty.address(), changes: s.changes, news: k.duty.news(tx)})
		return nil, nil
	}
	if len(s.late) == 0 {
		_, _ = yes()
		return
	}
	if k.sys.failed.Load() { // who holds them may never let them go
		tx.actor.send(vote{participant: k.duty.address(), err: messages.ErrStoreFailed})
		return
	}
	t := newTask(context.Background(), voting{})
	t.tx = tx
	k.advance(&work{task: t, needs: s.late, run: yes}, false)
}

// end forgets what a transaction has staged, its changes being durable or void, and
// frees its guards.
func (k *keeper) end(tx *transaction) {
	if s := k.stages[tx]; s != nil {
		delete(k.stages, tx)
		s.changes.Wipe()
		k.unhold(tx)
	}
	for _, name := range k.guardNames() {
		if g := k.guards[name]; g != nil && g.holds(tx) {
			g.release(tx)
			k.wake(name)
		}
	}
	tx.actor.send(settled{participant: k.duty.address()})
}

// keep is how a request's changes end: staged where it is a step of a
// transaction, else applied at once.
func (k *keeper) keep(tx *transaction, changes *store.ChangeSet) error {
	if tx != nil {
		k.stage(tx).changes.Append(changes)
		changes.Wipe()
		return nil
	}
	defer changes.Wipe()
	return k.sys.apply(changes)
}

// reader shows the store as the transaction sees it.
func (k *keeper) reader(tx *transaction) store.Reader {
	if tx != nil {
		return k.stage(tx).reader
	}
	return k.sys.store
}

func (k *keeper) get(tx *transaction, key []byte) ([]byte, error) {
	values, err := k.reader(tx).GetMany(key)
	if err != nil {
		return nil, k.sys.storeError(err)
	}
	return values[0], nil
}

func (k *keeper) list(tx *transaction, prefix []byte) ([]store.Record, error) {
	records, err := readAll(k.reader(tx), store.PrefixRange(prefix))
	if err != nil {
		return nil, k.sys.storeError(err)
	}
	return records, nil
}
