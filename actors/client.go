package actors

import (
	"context"
	"fmt"
	"slices"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/store"
)

// clientActor owns what a client has beside its conversations: credentials, key
// packages, external pre-shared keys, the data blob; and the guards of each of them.
// It keeps none of them in memory: what it reads, it reads through an overlay of the
// store and of what the transaction has staged.
type clientActor struct {
	sys    *System
	client *client
	guards map[string]*namedGuard
	stages map[*transaction]*clientStage
	works  map[*task]*work
	closed bool
}

// clientStage is what one transaction has staged here. The overlay sees the changes
// as they are added.
type clientStage struct {
	changes *store.ChangeSet
	reader  store.Reader
	// blind tells that the data blob was set without having been read.
	blind bool
}

// work is a task that has not all the guards it needs.
type work struct {
	task  *task
	needs []need
	got   int
	// run is what to do once it has them.
	run func() (messages.Reply, error)
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

// Names of guards.
func credentialGuard(ref messages.CredentialRef) string { return "credential " + string(ref[:]) }
func keyPackageGuard(ref []byte) string                 { return "key package " + string(ref) }
func pskGuard(id []byte) string                         { return "psk " + string(id) }

const dataGuard = "data"

// dataWrite is what a transaction that has set the blob blindly waits for before it
// votes: nobody who has read the blob may be undecided then. Blind writers do not
// wait for each other; whose batch the store applies last has the last word.
type dataWrite struct{ messages.Step }

func newClientActor(c *client) *clientActor {
	return &clientActor{
		sys: c.sys, client: c,
		guards: make(map[string]*namedGuard), stages: make(map[*transaction]*clientStage), works: make(map[*task]*work),
	}
}

func (a *clientActor) receive(l letter) {
	err := safely(a.sys.log, "client", func() error { a.handle(l); return nil })
	if t, ok := l.(*task); ok && err != nil {
		delete(a.works, t)
		t.answer(nil, err)
	}
}

func (a *clientActor) handle(l letter) {
	switch l := l.(type) {
	case *task:
		a.take(l)
	case cancelTask:
		a.drop(func(c claim) bool { return c.task == l.task }, l.task.ctx.Err())
	case evict:
		a.drop(func(c claim) bool { return c.tx == l.tx }, l.err)
	case prepare:
		a.prepare(l.tx)
	case settle:
		a.end(l.tx)
	case abort:
		a.drop(func(c claim) bool { return c.tx == l.tx }, messages.ErrInvalidTransaction)
		a.end(l.tx)
	case closeActor:
		a.closed = true
		a.drop(func(c claim) bool { return true }, messages.ErrClosed)
	}
}

func (a *clientActor) stopped() {
	a.drop(func(c claim) bool { return true }, messages.ErrClosed)
}

// take begins a request: it finds the guards it needs, and waits or runs.
func (a *clientActor) take(t *task) {
	if err := t.ctx.Err(); err != nil {
		t.answer(nil, err)
		return
	}
	w, err := a.plan(t)
	if err != nil {
		t.answer(nil, err)
		return
	}
	if a.closed && t.tx == nil {
		t.answer(nil, messages.ErrClosed)
		return
	}
	if t.tx != nil {
		a.stage(t.tx)
	}
	a.advance(w)
}

// stage returns what the transaction has staged, enlisting at the first touch.
func (a *clientActor) stage(tx *transaction) *clientStage {
	s := a.stages[tx]
	if s == nil {
		s = &clientStage{changes: new(store.ChangeSet)}
		s.reader = store.Overlay(a.sys.store, s.changes)
		a.stages[tx] = s
		tx.actor.send(enlisted{a.client.actor})
	}
	return s
}

// advance takes one guard after another. A single call keeps none while it waits for
// the next, so it begins again at the first each time.
func (a *clientActor) advance(w *work) {
	if w.task.tx == nil {
		w.got = 0
	}
	for w.got < len(w.needs) {
		n := w.needs[w.got]
		g := a.guards[n.name]
		if g == nil {
			g = new(namedGuard)
			a.guards[n.name] = g
		}
		if !g.admit(claim{w.task.tx, n.exclusive, w.task}) {
			a.works[w.task] = w
			g.report(a.client.coordinator, resource{a.client.actor, n.name})
			return
		}
		if g.idle() {
			delete(a.guards, n.name)
		}
		w.got++
	}
	delete(a.works, w.task)
	reply, err := w.run()
	w.task.answer(reply, err)
}

// wake serves those who wait at a guard, as far as they can be served now.
func (a *clientActor) wake(name string) {
	for {
		g := a.guards[name]
		if g == nil {
			return
		}
		c, ok := g.next()
		if !ok {
			g.report(a.client.coordinator, resource{a.client.actor, name})
			if g.idle() {
				delete(a.guards, name)
			}
			return
		}
		w := a.works[c.task]
		if w == nil {
			continue
		}
		w.got++
		if err := safely(a.sys.log, "client", func() error { a.advance(w); return nil }); err != nil {
			delete(a.works, c.task)
			c.task.answer(nil, err)
		}
	}
}

// drop answers waiting claims that match with an error.
func (a *clientActor) drop(match func(claim) bool, err error) {
	for _, name := range a.guardNames() {
		g := a.guards[name]
		if g == nil {
			continue
		}
		dropped := g.drop(match)
		for _, c := range dropped {
			w := a.works[c.task]
			delete(a.works, c.task)
			if _, voting := c.task.request.(dataWrite); voting && w != nil {
				c.tx.actor.send(vote{participant: a.client.actor, err: err})
			}
			c.task.answer(nil, err)
		}
		if len(dropped) > 0 {
			a.wake(name)
		}
	}
}

func (a *clientActor) guardNames() []string {
	names := make([]string, 0, len(a.guards))
	for name := range a.guards {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// prepare votes: yes, with the changes, once a blind write of the blob is in order.
func (a *clientActor) prepare(tx *transaction) {
	s := a.stages[tx]
	if s == nil {
		tx.actor.send(vote{participant: a.client.actor, err: messages.ErrInternal})
		return
	}
	yes := func() (messages.Reply, error) {
		tx.actor.send(vote{participant: a.client.actor, changes: s.changes})
		return nil, nil
	}
	if !s.blind {
		_, _ = yes()
		return
	}
	t := newTask(context.Background(), dataWrite{})
	t.tx = tx
	a.advance(&work{task: t, needs: []need{{dataGuard, false}}, run: yes})
}

// end forgets what a transaction has staged, its changes being durable or void, and
// frees its guards.
func (a *clientActor) end(tx *transaction) {
	if s := a.stages[tx]; s != nil {
		delete(a.stages, tx)
		s.changes.Wipe()
	}
	for _, name := range a.guardNames() {
		if g := a.guards[name]; g != nil && g.holds(tx) {
			g.release(tx)
			a.wake(name)
		}
	}
	tx.actor.send(settled{participant: a.client.actor})
}

// commit is how a request's changes end: staged where it is a step of a
// transaction, else applied at once.
func (a *clientActor) commit(tx *transaction, changes *store.ChangeSet) error {
	if tx != nil {
		a.stage(tx).changes.Append(changes)
		changes.Wipe()
		return nil
	}
	defer changes.Wipe()
	return a.sys.apply(changes)
}

// reader shows the store as the transaction sees it.
func (a *clientActor) reader(tx *transaction) store.Reader {
	if tx != nil {
		return a.stage(tx).reader
	}
	return a.sys.store
}

func (a *clientActor) get(tx *transaction, key []byte) ([]byte, error) {
	values, err := a.reader(tx).GetMany(key)
	if err != nil {
		return nil, a.sys.storeError(err)
	}
	return values[0], nil
}

func (a *clientActor) list(tx *transaction, prefix []byte) ([]store.Record, error) {
	records, err := readAll(a.reader(tx), store.PrefixRange(prefix))
	if err != nil {
		return nil, a.sys.storeError(err)
	}
	return records, nil
}

// plan says which guards a request needs and what it does then.
func (a *clientActor) plan(t *task) (*work, error) {
	w := &work{task: t}
	var ok bool
	if w.needs, w.run, ok = a.planProteus(t); ok {
		return w, nil
	}
	if w.needs, w.run, ok = a.planEnrollment(t); ok {
		return w, nil
	}
	switch r := t.request.(type) {
	case messages.AddCredential:
		w.run = func() (messages.Reply, error) { return a.addCredential(t.tx, r) }
		if len(r.SignatureKey) > 0 {
			w.needs = []need{{credentialGuard(refOf(r.SignatureKey)), true}}
		}
	case messages.RemoveCredential:
		w.needs = []need{{credentialGuard(r.Ref), true}}
		w.run = func() (messages.Reply, error) { return a.removeCredential(t.tx, r) }
	case messages.ListCredentials:
		w.run = func() (messages.Reply, error) { return a.listCredentials(t.tx) }
	case useCredential:
		record, err := a.credential(t.tx, r.suite, r.ref)
		if err != nil {
			return nil, err
		}
		w.needs = []need{{credentialGuard(record.entry.Ref), false}}
		w.run = func() (messages.Reply, error) {
			record, err := a.credential(t.tx, r.suite, record.entry.Ref)
			return credentialUsed{record: record}, err
		}
	case messages.GenerateKeyPackages:
		if r.CipherSuite == 0 {
			r.CipherSuite = a.client.config.Load().suites[0]
		}
		record, err := a.credential(t.tx, r.CipherSuite, r.Credential)
		if err != nil {
			return nil, err
		}
		w.needs = []need{{credentialGuard(record.entry.Ref), false}}
		r.Credential = record.entry.Ref
		w.run = func() (messages.Reply, error) { return a.generateKeyPackages(t.tx, r) }
	case messages.ProposeJoin:
		if r.CipherSuite == 0 {
			r.CipherSuite = a.client.config.Load().suites[0]
		}
		record, err := a.credential(t.tx, r.CipherSuite, r.Credential)
		if err != nil {
			return nil, err
		}
		w.needs = []need{{credentialGuard(record.entry.Ref), false}}
		r.Credential = record.entry.Ref
		w.run = func() (messages.Reply, error) { return a.proposeJoin(t.tx, r) }
	case messages.ImportKeyPackage:
		w.run = func() (messages.Reply, error) { return a.importKeyPackage(t.tx, r) }
	case messages.ListKeyPackages:
		w.run = func() (messages.Reply, error) { return a.listKeyPackages(t.tx) }
	case messages.CountKeyPackages:
		w.run = func() (messages.Reply, error) { return a.countKeyPackages(t.tx, r) }
	case messages.DeleteKeyPackages:
		for _, ref := range r.Refs {
			w.needs = append(w.needs, need{keyPackageGuard(ref), true})
		}
		w.run = func() (messages.Reply, error) { return a.deleteKeyPackages(t.tx, r.Refs) }
	case messages.DeleteStaleKeyPackages:
		refs, err := a.staleKeyPackages(t.tx, r.CipherSuite)
		if err != nil {
			return nil, err
		}
		for _, ref := range refs {
			w.needs = append(w.needs, need{keyPackageGuard(ref), true})
		}
		w.run = func() (messages.Reply, error) { return a.deleteKeyPackages(t.tx, refs) }
	case takeKeyPackage:
		record, err := a.findKeyPackage(t.tx, r.refs)
		if err != nil {
			return nil, err
		}
		w.needs = []need{{keyPackageGuard(record.ref), true}, {credentialGuard(record.credential), false}}
		w.run = func() (messages.Reply, error) { return a.takeKeyPackage(t.tx, record.ref) }
	case spendKeyPackage:
		w.run = func() (messages.Reply, error) {
			_, err := a.deleteKeyPackages(t.tx, []keyPackageRef{r.ref})
			return stepDone{}, err
		}
	case messages.PutPSK:
		if len(r.ID) == 0 || len(r.ID) > maxName || len(r.PSK) > maxPSK {
			return nil, fmt.Errorf("%w: pre-shared key of %d bytes, id of %d", messages.ErrInvalidArgument, len(r.PSK), len(r.ID))
		}
		w.needs = []need{{pskGuard(r.ID), true}}
		w.run = func() (messages.Reply, error) {
			changes := new(store.ChangeSet)
			changes.Put(a.client.pskKey(r.ID), (&pskValue{r.ID, r.PSK}).marshal())
			return messages.PSKPut{}, a.commit(t.tx, changes)
		}
	case messages.DeletePSK:
		w.needs = []need{{pskGuard(r.ID), true}}
		w.run = func() (messages.Reply, error) {
			changes := new(store.ChangeSet)
			changes.Delete(a.client.pskKey(r.ID))
			return messages.PSKDeleted{}, a.commit(t.tx, changes)
		}
	case readPSK:
		w.needs = []need{{pskGuard(r.id), false}}
		w.run = func() (messages.Reply, error) { return a.readPSK(t.tx, r.id) }
	case messages.SetData:
		if len(r.Data) > maxData {
			return nil, fmt.Errorf("%w: data of %d bytes", messages.ErrInvalidArgument, len(r.Data))
		}
		if t.tx == nil {
			w.needs = []need{{dataGuard, false}}
		}
		w.run = func() (messages.Reply, error) { return a.setData(t.tx, r) }
	case messages.ReadData:
		if t.tx != nil {
			w.needs = []need{{dataGuard, true}}
		}
		w.run = func() (messages.Reply, error) { return a.readData(t.tx) }
	case messages.ListConversations:
		w.run = func() (messages.Reply, error) { return a.listConversations() }
	default:
		return nil, fmt.Errorf("%w: %T needs a conversation", messages.ErrInvalidArgument, t.request)
	}
	return w, nil
}

func (a *clientActor) setData(tx *transaction, r messages.SetData) (messages.Reply, error) {
	w := newWriter(len(r.Data))
	w.bytes(r.Data)
	changes := new(store.ChangeSet)
	changes.Put(a.client.dataKey(), w.b)
	if tx != nil {
		a.stage(tx).blind = true
	}
	return messages.DataSet{}, a.commit(tx, changes)
}

func (a *clientActor) readData(tx *transaction) (messages.Reply, error) {
	value, err := a.get(tx, a.client.dataKey())
	if err != nil || value == nil {
		return messages.DataRead{}, err
	}
	r := readRecord(value)
	data := r.bytes()
	return messages.DataRead{Data: data}, r.end("data")
}

func (a *clientActor) readPSK(tx *transaction, id []byte) (messages.Reply, error) {
	value, err := a.get(tx, a.client.pskKey(id))
	if err != nil || value == nil {
		return pskRead{}, err
	}
	p, err := parsePSKRecord(value)
	return pskRead{psk: p}, err
}

func (a *clientActor) listConversations() (messages.Reply, error) {
	records, err := a.list(nil, a.client.keys.Pointers(nil))
	if err != nil {
		return nil, err
	}
	ids := make([]messages.ConversationID, len(records))
	for i, rec := range records {
		p, err := parsePointer(rec.Value)
		if err != nil {
			return nil, err
		}
		ids[i] = p.id
	}
	return messages.ConversationsListed{Conversations: ids}, nil
}
