package actors

import (
	"errors"
	"fmt"
	"slices"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/store"
)

// conversation owns one conversation of one client: its committed group, what the
// transaction that holds its guard has staged, the requests that wait, and its own
// commits on their way.
type conversation struct {
	queue
	sys *System
	id  messages.ConversationID
	key store.ConversationKey

	current []*task // the batch that runs now
	serving *task   // whose step runs now: a panic costs it its answer
	apart   int     // messages to be opened apart from other conversations', see openApart

	state   *state // committed; nil: not loaded
	shown   *state // what the published view was made of, or reads like; nil: there is none, see view.go
	stage   *stage // of the transaction that holds the guard; nil: nobody does
	sending *sending
	resend  *resend
	closed  bool
}

// wake tells a conversation to load and to settle what is in doubt. It carries a
// hold on the entry.
type wake struct{}

func (wake) letter() {}

func newConversation(s *System, c *client, e *entry) *conversation {
	made := &conversation{sys: s, id: e.key.id, key: s.keys.Conversation(c.keys, []byte(e.key.id))}
	made.queue = queue{client: c, entry: e, granted: made.begin, most: int(s.options.Step)}
	return made
}

func (c *conversation) receive(l letter) {
	c.turn(l, func(l letter) {
		if err := safely(c.sys.log, "conversation", func() error { c.handle(l); return nil }); err != nil {
			c.broken(l, err)
		}
	})
	c.entry.weigh(c.memory())
}

// memory estimates what the conversation holds, in bytes.
func (c *conversation) memory() int64 {
	if c.state == nil || c.state.group == nil {
		return restBytes
	}
	return restBytes + int64(c.state.group.MemoryBytes())
}

// broken deals with a panic: whoever was being served is answered, what is in memory
// is dropped and will be read back from the store, and the rest goes on.
func (c *conversation) broken(l letter, err error) {
	c.lose()
	tx := (*transaction)(nil)
	switch l := l.(type) {
	case *task:
		l.answer(nil, err)
		tx = l.tx
	case prepare:
		l.tx.actor.send(vote{participant: c.entry.actor, err: err})
	case settle:
		c.leave(l.tx)
	case abort:
		c.leave(l.tx)
	case sendResult:
		c.endSend(l.sending, nil, err)
	}
	// Those that were answered before the panic are not answered again.
	for _, t := range c.current {
		t.answer(nil, err)
	}
	c.current = nil
	if c.stage != nil {
		// What was staged rests on what is gone. Its transaction cannot finish.
		c.stage.err = err
	} else if tx != nil {
		tx.actor.send(doom{err})
	}
	c.kick()
}

func (c *conversation) handle(l letter) {
	switch l := l.(type) {
	case *task:
		c.take(l)
	case run:
		c.runBatch()
	case cancelTask:
		c.cancel(l.task)
	case evict:
		c.drop(func(w claim) bool { return w.tx == l.tx }, l.err)
	case prepare:
		c.prepare(l.tx)
	case settle:
		c.settle(l.tx)
	case abort:
		c.abort(l.tx)
	case storeFailed:
		c.storeFailed()
	case sendResult:
		c.sent(l)
	case resendDue:
		c.resendNow(l)
	case resendResult:
		c.resent(l)
	case wake:
		defer c.entry.release()
		if err := c.load(); err != nil {
			c.sys.log.Error("conversation does not load", logID(c.id), logError(err))
			return
		}
		c.scheduleResend()
	case closeActor:
		if l.closed != nil {
			defer close(l.closed)
		}
		c.closed = true
		c.stopResend()
		c.close()
	}
}

func (c *conversation) stopped() {
	c.stopResend()
	c.close()
	c.forgetKeys()
	c.entry.weigh(0)
}

// lose drops what is in memory. It is read back from the store.
func (c *conversation) lose() {
	c.state = nil
	c.withdraw()
}

// forgetKeys overwrites the keys that are in memory, once nothing is asked of the
// conversation any more. Goroutines that still wait for the delivery service read a
// bundle, and nothing of this.
func (c *conversation) forgetKeys() {
	c.state.wipe()
	if c.stage != nil {
		c.stage.state.wipe()
	}
	c.lose()
}

// take accepts a request. Reads are served at once, save while a decision is carried
// out, see view.go. Everything else needs the guard;
// but while it is held only because a commit is on its way, messages can still be
// decrypted in the epoch that commit would end.
func (c *conversation) take(t *task) {
	if c.sys.turnAway(t) {
		return
	}
	if c.closed && t.tx == nil {
		t.answer(nil, messages.ErrClosed)
		return
	}
	if isRead(t.request) && (t.tx == nil || !c.guard.holds(t.tx)) {
		c.readCommitted(t)
		return
	}
	if s := c.sending; s != nil && t.send != 0 && t.send == s.id && !isDecrypt(t.request) {
		t.answer(nil, messages.ErrSending)
		return
	}
	if t.tx == nil && isDecrypt(t.request) && c.openWhileSending() {
		c.gather(t)
		return
	}
	if !c.guard.claim(claim{t.tx, true, t}) {
		c.waits(t)
		return
	}
	c.granted(t)
}

// waits says of a task that it has to wait for the guard.
func (c *conversation) waits(t *task) {
	switch r := t.request.(type) {
	case messages.DecryptMessage:
		if r.Waits != nil {
			r.Waits()
		}
	case messages.DecryptMessages:
		if r.Waits != nil {
			r.Waits()
		}
	}
	c.report()
}

// openWhileSending tells whether messages of single calls may be decrypted although
// the guard is held: a commit is on its way, and nothing else is staged.
func (c *conversation) openWhileSending() bool {
	return c.sending != nil && (c.stage == nil || c.stage.clean())
}

// letIn gathers the messages that wait for the guard and can now be decrypted without
// it.
func (c *conversation) letIn() {
	if !c.openWhileSending() {
		return
	}
	for _, w := range c.guard.drop(func(w claim) bool { return w.tx == nil && isDecrypt(w.task.request) }) {
		c.gather(w.task)
	}
}

// begin serves a request that has the guard.
func (c *conversation) begin(t *task) {
	if t.tx == nil {
		c.gather(t)
		return
	}
	if c.stage == nil || c.stage.tx != t.tx {
		c.stage = &stage{tx: t.tx}
		c.entry.hold()
		t.tx.actor.send(enlisted{c.entry.actor})
	}
	c.step(t)
}

// runBatch stages all gathered calls, applies once, and answers.
func (c *conversation) runBatch() {
	batch := c.gathered()
	if len(batch) == 0 {
		c.serve()
		return
	}
	if err := c.load(); err != nil {
		for _, t := range batch {
			t.answer(nil, err)
		}
		c.serve()
		return
	}
	// After a panic they are still there to be answered.
	c.current = batch
	c.stageBatch(batch)
	c.current, c.serving = nil, nil
}

// stageBatch is the path of single calls: stage each, apply once, swap, answer.
func (c *conversation) stageBatch(batch []*task) {
	replies := make([]result, len(batch))
	st := &stage{state: c.state}
	done := 0
	err := safely(c.sys.log, "batch", func() error {
		for done < len(batch) {
			// Who took the guard meanwhile goes first; and a commit ends the batch,
			// as what comes behind it has to wait for the delivery service.
			t := batch[done]
			if c.held(t) || c.sending != nil && !isDecrypt(t.request) || done > 0 && sends(t.request) {
				break
			}
			c.serving = t
			if isDecrypt(t.request) {
				done += c.decryptBatch(st, batch[done:], replies[done:])
				continue
			}
			if replies[done].err = c.unwanted(t); replies[done].err == nil {
				replies[done].reply, replies[done].err = c.perform(st, t)
			}
			done++
			if errors.Is(replies[done-1].err, errAnswerLater) {
				break
			}
		}
		return nil
	})
	if err != nil {
		// A panic costs the call it came from its answer; those before it are staged
		// again, from what is stored.
		c.serving.answer(nil, err)
		c.lose()
		for _, t := range batch {
			if t != c.serving {
				c.requeue(t)
			}
		}
		c.serve()
		return
	}
	if err = c.persist(st); err != nil {
		c.lose()
	}
	for i, t := range batch[:done] {
		r := replies[i]
		switch {
		case errors.Is(r.err, errAnswerLater):
			if err != nil {
				t.answer(nil, err)
			}
		case r.err == nil && err != nil:
			t.answer(nil, err)
		default:
			t.answer(r.reply, r.err)
		}
	}
	for _, t := range batch[done:] {
		c.requeue(t)
	}
	c.serve()
}

// decryptBatch stages the calls that decrypt which a batch begins with, as one list of
// messages. It tells how many calls it has dealt with.
func (c *conversation) decryptBatch(st *stage, batch []*task, replies []result) int {
	var list []inbound
	n := 0
	for ; n < len(batch) && isDecrypt(batch[n].request); n++ {
		if replies[n].err = c.unwanted(batch[n]); replies[n].err == nil {
			list = inboundOf(list, batch[n])
		}
	}
	list = list[:c.decryptMany(st, list)]
	for i, t := range batch[:n] {
		switch {
		case replies[i].err != nil:
		case len(list) == 0 && messagesIn(t) > 0:
			return i // it has to wait
		default:
			replies[i].reply, list, replies[i].err = decrypted(t, list)
		}
	}
	return n
}

// unwanted tells why a task is not to be run: it has been answered, by a panic
// elsewhere, or its caller has given up.
func (c *conversation) unwanted(t *task) error {
	if t.answered.Load() {
		return messages.ErrInternal
	}
	return t.ctx.Err()
}

// errAnswerLater is the result of a step whose answer comes with the delivery
// service's verdict.
var errAnswerLater = errors.New("actors: answered later")

// held tells whether a transaction has the guard, and so goes before a single call.
func (c *conversation) held(t *task) bool {
	return len(c.guard.holders) > 0 && !(isDecrypt(t.request) && c.openWhileSending())
}

// requeue puts a gathered call back that could not be run.
func (c *conversation) requeue(t *task) {
	if t.tx == nil && isDecrypt(t.request) && c.openWhileSending() || c.guard.claim(claim{nil, true, t}) {
		c.gather(t)
		return
	}
	c.waits(t)
}

// persist makes a stage durable, and current. The law is here: stage, persist, swap,
// release.
func (c *conversation) persist(st *stage) error {
	if st.changes.Len() > 0 {
		marked := c.unsettle(st)
		if err := c.sys.apply(&st.changes); err != nil {
			// Once the store has failed the mark stays: what the list finds may not be durable.
			if marked && !c.sys.failed.Load() {
				c.settleListing()
			}
			return err
		}
		if marked {
			defer c.settleListing()
		}
	}
	c.swap(st)
	return nil
}

// swap makes a durable stage the current state and what others read, wipes what it has
// consumed and tells of its events.
func (c *conversation) swap(st *stage) {
	if st.state != nil {
		c.state = st.state
	}
	c.publish()
	st.changes.Wipe()
	for _, b := range st.consumed {
		b.Wipe()
	}
	c.client.publish(st.news...)
	for _, e := range st.events {
		c.sys.events.send(e)
	}
	after := st.after
	st.consumed, st.events, st.after, st.news = nil, nil, nil, nil
	for _, f := range after {
		f()
	}
	c.endResend()
}

// step runs a step of the transaction that holds the guard.
func (c *conversation) step(t *task) {
	if err := c.load(); err != nil {
		t.answer(nil, err)
		return
	}
	if t.answered.Load() {
		return // by a panic elsewhere
	}
	if c.stage.err != nil {
		t.answer(nil, c.stage.err)
		return
	}
	if c.stage.state == nil || c.stage.clean() {
		c.stage.state = c.state
	}
	var reply messages.Reply
	err := safely(c.sys.log, "step", func() (err error) {
		reply, err = c.perform(c.stage, t)
		return err
	})
	if errors.Is(err, messages.ErrInternal) {
		// What is staged may be half of a step: the transaction cannot finish.
		c.stage.err = err
		c.lose()
	}
	if !errors.Is(err, errAnswerLater) {
		t.answer(reply, err)
	}
}

// storeFailed answers whoever waits. A commit that has left is in doubt, as the store says
// when it is opened again: no verdict could be written down any more.
func (c *conversation) storeFailed() {
	c.queue.storeFailed()
	if s := c.sending; s != nil {
		c.endSend(s, nil, messages.ErrStoreFailed)
	}
	if r := c.resend; r != nil {
		for _, t := range r.waiters {
			t.answer(nil, messages.ErrStoreFailed)
		}
		c.stopResend()
	}
}

// cancel answers a request that still waits; one whose commit is on its way gives up
// waiting, and the commit stays in doubt.
func (c *conversation) cancel(t *task) {
	c.queue.cancel(t)
	if s := c.sending; s != nil && s.task == t {
		s.cancel(t.ctx.Err())
	}
	if r := c.resend; r != nil {
		for i, w := range r.waiters {
			if w == t {
				r.waiters = append(r.waiters[:i:i], r.waiters[i+1:]...)
				t.answer(nil, t.ctx.Err())
				break
			}
		}
	}
}

// prepare votes with what is staged.
func (c *conversation) prepare(tx *transaction) {
	v := vote{participant: c.entry.actor}
	switch {
	case c.stage == nil || c.stage.tx != tx:
		v.err = messages.ErrInternal
	case c.stage.err != nil:
		v.err = c.stage.err
	default:
		v.err = c.closeDoubt(c.stage)
		v.changes = &c.stage.changes
		v.news, c.stage.news = c.stage.news, nil
		if v.err == nil && !c.stage.clean() {
			c.stage.voted = true
			c.withdraw()
			c.stage.unsettled = c.unsettle(c.stage)
		}
		v.final = c.stage.named(c.stage.state) // if the outcome is unknown, nobody asks again
	}
	tx.actor.send(v)
}

// settle makes what the transaction has staged current: its batch is durable.
func (c *conversation) settle(tx *transaction) {
	if st := c.stage; st != nil && st.tx == tx {
		if st.clean() {
			st.state = nil // it may be older than what single calls have made of it
		}
		c.swap(st)
	}
	c.leave(tx)
}

// abort drops what the transaction has staged, but not what has left: generations
// handed out are burnt, and what preceded a commit in doubt is applied.
func (c *conversation) abort(tx *transaction) {
	c.drop(func(w claim) bool { return w.tx == tx }, messages.ErrInvalidTransaction)
	if s := c.sending; s != nil && s.tx == tx {
		c.giveUp(s)
	}
	if r := c.resend; r != nil {
		r.waiters = slices.DeleteFunc(r.waiters, func(t *task) bool {
			if t.tx != tx {
				return false
			}
			t.answer(nil, messages.ErrInvalidTransaction)
			return true
		})
	}
	if st := c.stage; st != nil && st.tx == tx {
		if err := c.keepHanded(st); err != nil {
			c.sys.log.Error("abort", logID(c.id), logError(err))
			c.lose()
		}
		c.discard(st)
	}
	c.leave(tx)
}

// leave ends a transaction here and lets the next in.
func (c *conversation) leave(tx *transaction) {
	var final []messages.FinalConversation
	if st := c.stage; st != nil && st.tx == tx {
		final = st.named(c.state)
		c.stage = nil
		c.publish() // it may have voted
		if st.unsettled {
			c.settleListing()
		}
		c.guard.release(tx)
		defer c.entry.release() // once the resend of what is in doubt holds it
	}
	tx.actor.send(settled{c.entry.actor, final})
	c.unpark()
	c.scheduleResend()
	c.serve()
}

// perform carries out one request on a stage: the table of doc.go. An error has
// staged nothing.
func (c *conversation) perform(st *stage, t *task) (messages.Reply, error) {
	if _, touch := t.request.(touchConversation); touch {
		return stepDone{}, nil
	}
	if isRead(t.request) {
		return c.read(st, t.request)
	}
	if c.sending != nil && st.tx != nil && !isDecrypt(t.request) {
		return nil, messages.ErrSending
	}
	switch r := t.request.(type) {
	case messages.DecryptMessage, messages.DecryptMessages:
		list := inboundOf(nil, t)
		c.decryptMany(st, list)
		reply, _, err := decrypted(t, list)
		return reply, err
	case requireAbsent:
		return stepDone{}, c.requireAbsent(st, true)
	case requireParent:
		if st.state.group == nil {
			return nil, messages.ErrParentGroupNotFound
		}
		return stepDone{}, nil
	case messages.MarkAsChildOf:
		return c.markAsChildOf(st, r)
	case adopt:
		return c.adopt(st, r)
	case join:
		return c.joinExternally(st, t, r)
	case messages.WipeConversation:
		return c.wipe(st)
	case messages.DropInDoubt:
		return c.dropInDoubt(st)
	case settleCommit:
		return stepDone{}, c.settleVerdict(st, r.hash, r.verdict)
	}
	if !needsSettled(t.request) {
		return nil, fmt.Errorf("%w: %T is no request of a conversation", messages.ErrInvalidArgument, t.request)
	}
	if err := c.requireGroup(st); err != nil {
		return nil, err
	}
	if f := c.doubt(st); f != nil {
		return nil, c.settleFirst(st, t, f)
	}
	switch r := t.request.(type) {
	case messages.EncryptMessage:
		return c.encrypt(st, r)
	case messages.ProposeAdd, messages.ProposeRemove, messages.ProposeUpdate, messages.ProposePSK:
		return c.propose(st, t, r)
	case messages.ClearPendingProposal:
		return c.clearProposal(st, r)
	}
	return c.commitGroup(st, t)
}

// requireGroup fails where there is no group to work on.
func (c *conversation) requireGroup(st *stage) error {
	if st.state.group != nil {
		return nil
	}
	if f := st.state.joining(); f != nil {
		doubt := f.doubt()
		return &doubt
	}
	return messages.ErrConversationNotFound
}

// requireAbsent fails where there is a group already. A join on its way counts if
// pending does: a Welcome may take its place, a creation not.
func (c *conversation) requireAbsent(st *stage, pending bool) error {
	if st.state.group != nil || pending && st.state.joining() != nil {
		return messages.ErrConversationAlreadyExists
	}
	return nil
}

// Kinds of requests.

func isRead(r messages.Request) bool {
	switch r.(type) {
	case messages.ReadConversation, messages.ListMembers, messages.ExportSecret, messages.ExportGroupInfo:
		return true
	}
	return false
}

func isDecrypt(r messages.Request) bool {
	switch r.(type) {
	case messages.DecryptMessage, messages.DecryptMessages:
		return true
	}
	return false
}

// sends tells whether a request may send a commit and so wait for a verdict.
func sends(r messages.Request) bool {
	switch r.(type) {
	case messages.AddMembers, messages.RemoveMembers, messages.UpdateKeyMaterial, messages.CommitPendingProposals,
		messages.EnableHistorySharing, messages.DisableHistorySharing, rotate, join:
		return true
	}
	return false
}

// needsSettled tells whether a request has to wait until no commit is in doubt (RFC
// 9420 15.2: a member sends nothing in an epoch that it may have ended).
func needsSettled(r messages.Request) bool {
	switch r.(type) {
	case messages.EncryptMessage, messages.ProposeAdd, messages.ProposeRemove, messages.ProposeUpdate, messages.ProposePSK, messages.ClearPendingProposal:
		return true
	}
	return sends(r)
}
