package actors

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/pki"
	"github.com/conclave-mls/conclave/store"
)

// transaction is the handle of an open transaction, shared by the steps under way,
// the participants and the coordinator. Only its atomics change.
type transaction struct {
	id     messages.TransactionID
	client *client
	actor  ref // nil for the send of a single call
	// steps counts the steps under way; the high bits say that no more may begin.
	steps atomic.Uint64
	// sent tells that a commit has left on its behalf: a bad victim.
	sent atomic.Bool
	// applying tells that the store has been given all that was staged, and has not
	// refused it: the store may be ahead of the participants' memory.
	applying atomic.Bool
	// decided tells that it is durable. Some participants may have been told, others not.
	decided atomic.Bool
	// trusted is whom the client trusts by what the transaction has staged, nil where it
	// has staged nothing of that.
	trusted atomic.Pointer[pki.Snapshot]
	// points are the distribution points that its steps have noted.
	points pointChanges
	// transport is what the client gets with a first credential that the transaction has
	// staged, nil without one.
	transport atomic.Pointer[messages.Transport]
	// ended is closed when the actor answers nobody any more; nil without an actor.
	ended chan struct{}
}

const (
	stepsClosed uint64 = 1 << 63
	stepsDoomed uint64 = 1 << 62
	stepsCount         = stepsDoomed - 1
)

// enter begins a step.
func (tx *transaction) enter() error {
	for {
		n := tx.steps.Load()
		switch {
		case n&stepsDoomed != 0 && tx.client.sys.gate.closed.Load():
			return messages.ErrClosed
		case n&stepsDoomed != 0:
			return messages.ErrConflict
		case n&stepsClosed != 0:
			return messages.ErrInvalidTransaction
		}
		if tx.steps.CompareAndSwap(n, n+1) {
			return nil
		}
	}
}

// end hands Finish or Abort to the actor and waits. An actor that has ended, because
// somebody else came first or the engine closes, may never see the letter.
func (tx *transaction) end(t *task) (messages.Reply, error) {
	tx.actor.send(t)
	cancelled := t.ctx.Done()
	for {
		select {
		case r := <-t.result:
			return r.reply, r.err
		case <-cancelled:
			cancelled = nil
			tx.actor.send(cancelTask{t})
		case <-tx.ended:
			select {
			case r := <-t.result:
				return r.reply, r.err
			default:
				return nil, messages.ErrInvalidTransaction
			}
		}
	}
}

// leave ends a step. The last one of a transaction that is ending tells its actor.
func (tx *transaction) leave() {
	n := tx.steps.Add(^uint64(0))
	if n&stepsCount == 0 && n&(stepsClosed|stepsDoomed) != 0 {
		tx.actor.send(drained{})
	}
}

// shut lets no further step begin and tells whether none is under way.
func (tx *transaction) shut(flag uint64) (idle bool) {
	return tx.steps.Or(flag)&stepsCount == 0
}

func (tx *transaction) idle() bool { return tx.steps.Load()&stepsCount == 0 }

// Letters of a transaction. A participant enlists itself at its first touch, before
// it answers the step that touched it.
type (
	enlisted struct{ participant ref }
	drained  struct{} // the last step under way has ended
	vote     struct {
		participant ref
		changes     *store.ChangeSet
		news        []news // to publish when they are durable
		final       []messages.FinalConversation
		err         error
	}
	settled struct {
		participant ref
		final       []messages.FinalConversation // since the vote, if there was one
	}
	doom struct{ cause error } // give way: a deadlock's victim, or the engine closes
)

func (enlisted) letter() {}
func (drained) letter()  {}
func (vote) letter()     {}
func (settled) letter()  {}
func (doom) letter()     {}

// Letters to a participant.
type (
	prepare struct{ tx *transaction }
	// settle: the transaction's changes are durable; swap and release.
	settle struct{ tx *transaction }
	// abort: drop what it staged.
	abort struct{ tx *transaction }
)

func (prepare) letter() {}
func (settle) letter()  {}
func (abort) letter()   {}

// transactionActor runs one transaction: it gathers participants, and carries out
// what its twoPhase orders. It is a child of the coordinator in all but protoactor's
// terms: the coordinator spawns it and hears of its end.
type transactionActor struct {
	sys     *System
	tx      *transaction
	machine twoPhase
	ending  *task  // Finish or Abort that waits for the end
	begun   bool   // the machine has been told to finish or abort
	news    []news // of all votes
	final   []messages.FinalConversation
	ended   bool
}

func (a *transactionActor) receive(l letter) {
	err := safely(a.sys.log, "transaction", func() error { a.handle(l); return nil })
	if err != nil {
		a.abort(err)
		a.conclude()
	}
}

func (a *transactionActor) handle(l letter) {
	switch l := l.(type) {
	case *task:
		a.end(l)
	case cancelTask:
		// Finish: a request to abort, unless the decision has begun. Abort: nothing
		// to take back.
		if l.task == a.ending {
			if _, finishing := l.task.request.(messages.Finish); finishing {
				a.abort(l.task.ctx.Err())
			}
		}
	case enlisted:
		if a.machine.enlist(l.participant) == orderAbort {
			l.participant.send(abort{a.tx})
		}
	case drained:
		a.start()
	case vote:
		a.news, a.final = append(a.news, l.news...), named(a.final, l.final...)
		a.carryOut(a.machine.vote(l.participant, l.changes, l.err))
	case settled:
		a.final = named(a.final, l.final...)
		a.carryOut(a.machine.settled(l.participant))
	case doom:
		a.tx.shut(stepsDoomed)
		a.abort(l.cause)
	}
	a.conclude()
}

// end takes Finish and Abort. Only one of them is served.
func (a *transactionActor) end(t *task) {
	if a.ending != nil {
		t.answer(nil, messages.ErrInvalidTransaction)
		return
	}
	a.ending = t
	a.tx.shut(stepsClosed)
	if a.sys.failed.Load() {
		a.abort(messages.ErrStoreFailed) // also an Abort hears of it, with what stands
		return
	}
	if _, ok := t.request.(messages.Abort); ok {
		a.abort(nil)
		return
	}
	if err := t.ctx.Err(); err != nil {
		a.abort(err)
		return
	}
	a.start()
}

// start begins the two phases, once no step is under way. A victim's doom may come behind
// the application's Finish, as its step hears of it first: then that waits for it.
func (a *transactionActor) start() {
	if a.ending == nil || a.begun || !a.tx.idle() || a.tx.steps.Load()&stepsDoomed != 0 {
		return
	}
	a.begun = true
	a.carryOut(a.machine.finish())
}

func (a *transactionActor) abort(cause error) {
	a.begun = true
	a.carryOut(a.machine.abort(cause))
}

func (a *transactionActor) carryOut(o order) {
	for {
		switch o {
		case orderPrepare:
			a.tell(prepare{a.tx})
		case orderSettle:
			a.tell(settle{a.tx})
		case orderAbort:
			a.tell(abort{a.tx})
		case orderApply:
			a.tx.applying.Store(true)
			err := safely(a.sys.log, "apply", func() error { return a.sys.apply(a.machine.changes()...) })
			if errors.Is(err, messages.ErrInternal) {
				a.sys.fail() // nobody knows what the store did
				err = fmt.Errorf("%w: %w", messages.ErrOutcomeUnknown, err)
			}
			unknown := errors.Is(err, messages.ErrOutcomeUnknown)
			switch {
			case err == nil:
				a.decided()
			case !unknown:
				a.tx.applying.Store(false)
			}
			o = a.machine.applied(err, unknown)
			continue
		}
		return
	}
}

// decided makes known that the transaction is durable, before any participant is told.
// Those who have seen what is published find none that still shows what was before.
func (a *transactionActor) decided() {
	if t := a.tx.transport.Load(); t != nil {
		a.tx.client.setTransport(*t) // before the credential it is for is seen
	}
	a.tx.decided.Store(true)
	a.tx.client.publish(a.news...)
}

func (a *transactionActor) tell(l letter) {
	for _, p := range a.machine.participants {
		p.ref.send(l)
	}
}

// conclude answers and leaves when the machine has ended, no step is under way and
// the application has asked for the end. A victim stays until then, so that the
// application hears why.
func (a *transactionActor) conclude() {
	if a.ended || a.machine.phase != phaseEnded || a.ending == nil || !a.tx.idle() {
		return
	}
	a.ended = true
	a.sys.transactions.delete(a.tx.id)
	a.tx.client.coordinator.send(transactionEnded{a.tx})
	_, aborting := a.ending.request.(messages.Abort)
	switch {
	case aborting && !errors.Is(a.machine.cause, messages.ErrStoreFailed):
		a.ending.answer(messages.Aborted{Final: a.final}, nil)
	case a.machine.cause != nil:
		a.ending.answer(nil, &messages.TransactionFailed{Final: a.final, Err: a.machine.cause})
	default:
		a.ending.answer(messages.Finished{Final: a.final}, nil)
	}
	close(a.tx.ended)
}

func (a *transactionActor) stopped() {
	if a.ended {
		return
	}
	if a.ending != nil {
		a.ending.answer(nil, &messages.TransactionFailed{Final: a.final, Err: messages.ErrClosed})
	}
	close(a.tx.ended)
}

// String shortens the handle for logs.
func (tx *transaction) String() string { return fmt.Sprintf("transaction %d", tx.id) }
