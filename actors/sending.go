package actors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/store"
)

// sending is a commit with the delivery service and the operation that waits for the
// verdict.
type sending struct {
	id     messages.TransactionID // that the callback's context carries
	f      *inflight
	task   *task
	tx     *transaction // that holds the guard; of a single call, a stand-in
	single bool
	cancel context.CancelCauseFunc
}

// sendResult is what the transport said. An error is an unknown outcome.
type sendResult struct {
	sending *sending
	verdict messages.Verdict
	err     error
	expired bool // the wait is over, the transport is not
}

func (sendResult) letter() {}

// errNoVerdict is the outcome of a transport that answers nothing it may answer.
var errNoVerdict = errors.New("actors: no verdict")

// send writes an own commit down and gives it to the transport. credential is what
// the commit brings in, nil for none. It answers errAnswerLater.
//
// The own generation that a private commit has used is used for good: for a single
// call the ratchet goes to disk with the record; a transaction stages it and reserves
// it, so that an abort burns it.
func (c *conversation) send(st *stage, t *task, f *inflight, credential *credentialRecord) error {
	transport := c.client.transport(st.tx)
	if transport == nil {
		return messages.ErrNoTransport
	}
	used := f.own.Before
	if used != nil && st.tx != nil {
		c.advance(st, used)
	}
	if st.tx != nil && !st.clean() {
		f.before = new(store.ChangeSet)
		f.before.Append(&st.changes)
		for _, other := range c.state.inflight {
			if other.before != nil {
				f.order = max(f.order, other.order+1)
			}
		}
	}
	set := new(store.ChangeSet)
	defer set.Wipe()
	if credential != nil {
		f.credential = credential.entry.Ref
		putSecret(set, c.client.credentialKey(f.credential), credential.marshal())
	}
	if err := c.putInflight(set, f); err != nil {
		return err
	}
	was := c.state
	if used != nil {
		if st.tx == nil {
			// What is staged, generations burnt before this one, is older: it goes first.
			set.Append(&st.changes)
			st.changes.Wipe()
			c.stageChanges(set, st.state.incarnation, used.Changes)
			c.both(st, func(next *state) { next.group = used.Next })
		} else {
			c.stageReserve(st, set, usedBy(used.Outbound))
		}
	}
	if err := c.sys.apply(set); err != nil {
		c.state = was
		return err
	}
	st.name(f, false)
	c.replace(st, nil, f)
	if used != nil && st.tx != nil {
		c.spend(usedBy(used.Outbound), st.state.group.Epoch())
	}
	s := &sending{f: f, task: t, tx: st.tx}
	if s.tx == nil {
		s.single = true
		s.tx = &transaction{id: messages.SendID(c.sys.ids.Add(1)), client: c.client}
		c.guard.grant(claim{s.tx, true, t})
	}
	s.id = s.tx.id
	s.tx.sent.Store(true)
	c.sending = s
	c.stopResend()
	c.letIn()
	c.entry.hold()
	var ctx context.Context
	ctx, s.cancel = context.WithCancelCause(messages.WithTransaction(context.WithoutCancel(t.ctx), s.id))
	stop := context.AfterFunc(c.sys.background, func() { s.cancel(messages.ErrClosed) })
	c.sys.goroutines.Add(1)
	go func() {
		defer c.sys.goroutines.Done()
		defer stop()
		c.carry(ctx, transport, s)
	}()
	return errAnswerLater
}

// carry calls the transport until it has a verdict, and says so to the actor. When
// the wait is over first, the actor hears of that, and of the verdict when it comes.
func (c *conversation) carry(ctx context.Context, transport messages.Transport, s *sending) {
	ctx, cancel := context.WithTimeout(ctx, c.sys.options.SendTimeout)
	defer cancel()
	defer c.sys.afterDone(ctx, func() { c.entry.actor.send(sendResult{sending: s, expired: true}) })()
	pause := c.sys.options.RetryPause
	for try := 0; ; try++ {
		verdict, err := callTransport(c.sys, func() (messages.Verdict, error) {
			return transport.SendCommitBundle(ctx, s.f.bundle(try > 0))
		})
		switch {
		case err == nil && verdict.Kind == messages.VerdictRetry && try < maxRetries:
			if sleep(ctx, pause) {
				pause = min(2*pause, maxResendPause)
				continue
			}
			err = context.Cause(ctx) // the wait is over, and that is an unknown outcome
		case err == nil && verdict.Kind == messages.VerdictRetry:
			verdict = messages.Verdict{Kind: messages.VerdictRefused, Reason: fmt.Sprintf("the delivery service asked to try again %d times", maxRetries+1)}
		}
		c.entry.actor.send(sendResult{sending: s, verdict: verdict, err: err})
		return
	}
}

// callTransport calls the host's code: a panic in it is an unknown outcome.
func callTransport(s *System, f func() (messages.Verdict, error)) (messages.Verdict, error) {
	var verdict messages.Verdict
	err := safely(s.log, "transport", func() (err error) {
		verdict, err = f()
		return err
	})
	if err == nil && (verdict.Kind < messages.VerdictAccepted || verdict.Kind > messages.VerdictRetry) {
		err = errNoVerdict
	}
	return verdict, err
}

// sleep waits, and tells whether it waited to the end and the context has not ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil // both may have come
	case <-ctx.Done():
		return false
	}
}

// sent takes the transport's word.
func (c *conversation) sent(r sendResult) {
	s := r.sending
	if r.expired {
		if c.sending == s {
			c.giveUp(s)
		}
		return
	}
	defer c.entry.release()
	if c.sending != s {
		// Settled another way meanwhile, or given up. Only a yes can still matter.
		if r.err == nil && r.verdict.Kind == messages.VerdictAccepted {
			c.settleLater(s.f.hash, r.verdict)
		}
		return
	}
	if err := c.load(); err != nil {
		c.endSend(s, nil, err)
		return
	}
	st := c.stage
	if s.single || st == nil {
		st = &stage{state: c.state}
	} else if st.state == nil || st.clean() {
		st.state = c.state
	}
	switch {
	case r.err != nil:
		c.giveUp(s)
	case r.verdict.Kind == messages.VerdictAccepted:
		c.acceptVerdict(st, s)
	case r.verdict.Kind == messages.VerdictRefused:
		err := c.refuse(st, s.f)
		if err == nil {
			err = &messages.MessageRejected{Reason: r.verdict.Reason}
		}
		c.endSend(s, nil, err)
	default: // NotSent
		err := c.forget(st, s.f)
		if err == nil {
			err = fmt.Errorf("%w: %s", messages.ErrNotSent, r.verdict.Reason)
		}
		c.endSend(s, nil, err)
	}
}

// acceptVerdict merges and answers the operation that has waited.
func (c *conversation) acceptVerdict(st *stage, s *sending) {
	c.sending, st.answering = nil, s // the answer is given here, not by leaveEpoch
	released, err := c.accept(st, s.f, true)
	if err == nil && st.tx == nil {
		err = c.persist(st)
	}
	if err != nil {
		c.lose()
		c.endSend(s, nil, err)
		return
	}
	c.endSend(s, c.mergedReply(s, released), nil)
}

// mergedReply is the answer of an operation whose commit was accepted, and is current.
func (c *conversation) mergedReply(s *sending, released []messages.Released) messages.Reply {
	epoch := s.f.epoch + 1
	if c.state != nil && c.state.group != nil {
		epoch = c.state.group.Epoch() // what was released may have gone further
	}
	if s.f.isJoin {
		return messages.ConversationJoined{Conversation: c.id, Epoch: epoch, Released: released, NewDistributionPoints: s.task.points}
	}
	return messages.CommitMerged{Epoch: epoch, Sent: true, Released: released, NewDistributionPoints: s.task.points}
}

// refuse notes that a first send was refused. A join that was refused is forgotten;
// another commit is kept until its epoch ends.
func (c *conversation) refuse(st *stage, f *inflight) error {
	if f.isJoin {
		return c.forget(st, f)
	}
	refused := *f
	refused.status, refused.before = statusRefused, nil
	set := new(store.ChangeSet)
	defer set.Wipe()
	if err := c.putInflight(set, &refused); err != nil {
		return err
	}
	if err := c.sys.apply(set); err != nil {
		return err
	}
	c.replace(st, f, &refused)
	return nil
}

// forget deletes the record of a commit that cannot come back.
func (c *conversation) forget(st *stage, f *inflight) error {
	set := new(store.ChangeSet)
	set.Delete(c.client.inflightKey(c.key, f.hash))
	c.endUse(set, st.state.with(func(next *state) {
		next.inflight = st.state.without(func(x *inflight) bool { return x.hash == f.hash })
	}), f.credential)
	early := st.state.early
	if f.isJoin {
		low := c.client.keys.Conversation(nil, c.key, f.incarnation)
		set.DeleteRange(low, store.PrefixEnd(nil, low))
		if st.state.group == nil {
			early = nil
		}
	}
	if err := c.sys.apply(set); err != nil {
		return err
	}
	c.replace(st, f, nil)
	if st.state.group == nil {
		clean := st.state == c.state
		st.state = st.state.with(func(next *state) { next.early = early })
		if clean {
			c.state = st.state
		}
	}
	return nil
}

// giveUp ends the wait for a verdict: the commit is in doubt.
func (c *conversation) giveUp(s *sending) {
	doubt := s.f.doubt()
	c.endSend(s, nil, &doubt)
}

// endSend answers the operation and opens the conversation to others.
func (c *conversation) endSend(s *sending, reply messages.Reply, err error) {
	if c.sending == s {
		c.sending = nil
	}
	s.cancel(nil)
	s.task.answer(reply, err)
	if s.single {
		c.guard.release(s.tx)
	}
	if err != nil && c.stage != nil && c.stage.tx == s.tx && (errors.Is(err, messages.ErrOutcomeUnknown) || errors.Is(err, messages.ErrStoreFailed)) {
		c.stage.err = err
	}
	c.scheduleResend()
	c.kick()
}

// newInflight describes an own commit.
func (c *conversation) newInflight(own *mlsgroup.OwnCommit, epoch, incarnation uint64, join bool) *inflight {
	return &inflight{
		conversation: c.id, hash: own.Hash, status: statusSent, isJoin: join, incarnation: incarnation, epoch: epoch, own: own,
	}
}
