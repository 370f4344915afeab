package actors

import (
	"context"
	"slices"
	"time"

	"github.com/conclave-mls/conclave/messages"
)

// resend is the work on a commit in doubt: the same bytes go out again, after a
// pause that doubles, until the epoch has ended one way or the other. Only a yes
// settles it: a delivery service that has accepted the first copy may call the
// second one stale. A no counts where the delivery service was asked about the
// commit itself, by CommitStatus.
//
// Several may be in doubt, a commit of the group and a join beside it; they take
// turns, and one that a step waits for goes first.
type resend struct {
	f       *inflight
	wanted  *inflight // what the waiters wait for
	pause   time.Duration
	timer   func() bool // stops it, unless it has gone off; nil: a call is under way
	call    int         // counts them; a transport that overstays its time is not waited for
	cancel  context.CancelFunc
	waiters []*task // steps that were asked for while it is in doubt
}

// resendDue is the resend's timer.
type resendDue struct{ resend *resend }

// resendResult is what came of one resend.
type resendResult struct {
	resend  *resend
	f       *inflight // that was sent: by now it may be another one's turn
	call    int
	verdict messages.Verdict // zero: nothing new
}

func (resendDue) letter()    {}
func (resendResult) letter() {}

// unsettled returns the commits to send again: of the committed state's epoch, and
// joins.
func (c *conversation) unsettled() []*inflight {
	if c.state == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(c.state.inflight), func(f *inflight) bool {
		return f.status != statusSent || !f.isJoin && !c.based(&stage{state: c.state}, f)
	})
}

// scheduleResend begins to work on a commit in doubt, if there is one and nothing is
// being done about it. The actor stays in memory meanwhile.
func (c *conversation) scheduleResend() {
	if c.closed || c.sys.failed.Load() || c.sending != nil || c.resend != nil {
		return
	}
	all := c.unsettled()
	if len(all) == 0 || c.client.config.Load().transport == nil {
		return
	}
	c.resend = &resend{f: all[0], pause: c.sys.options.RetryPause}
	c.entry.hold()
	c.startTimer(c.resend)
}

func (c *conversation) startTimer(r *resend) {
	r.timer = c.sys.afterPause(r.pause, func() { c.entry.actor.send(resendDue{r}) })
	r.pause = min(2*r.pause, maxResendPause)
}

// stopResend ends the work; those who waited for it are answered with the doubt.
func (c *conversation) stopResend() {
	r := c.resend
	if r == nil {
		return
	}
	c.resend = nil
	if r.timer != nil {
		r.timer()
	}
	if r.cancel != nil {
		r.cancel()
	}
	for _, t := range r.waiters {
		doubt := r.wanted.doubt()
		t.answer(nil, &doubt)
	}
	c.entry.release()
}

// endResend ends the work on a commit that the committed state no longer has: its
// epoch is over. Those who waited for that go on, and so does what else is in doubt.
func (c *conversation) endResend() {
	r := c.resend
	if r == nil {
		c.scheduleResend() // one may be left, whose turn has not come
		return
	}
	if c.state == nil || c.state.find(r.f.hash) != nil && (r.wanted == nil || c.state.find(r.wanted.hash) != nil) {
		return
	}
	waiters := r.waiters
	r.waiters = nil
	c.stopResend()
	for _, t := range waiters {
		c.entry.actor.send(t)
	}
	c.scheduleResend()
}

// settleFirst lets a step wait for one resend of the commit in doubt, which begins
// now.
func (c *conversation) settleFirst(st *stage, t *task, f *inflight) error {
	c.scheduleResend()
	r := c.resend
	if r == nil {
		doubt := f.doubt()
		return &doubt
	}
	r.wanted = f
	r.waiters = append(r.waiters, t)
	if r.timer != nil && r.timer() {
		r.f = f
		c.resendNow(resendDue{r})
	}
	return errAnswerLater
}

// resendNow asks the delivery service once more, on a goroutine of the System.
func (c *conversation) resendNow(l resendDue) {
	r := l.resend
	if r != c.resend {
		return
	}
	transport := c.client.config.Load().transport
	if transport == nil {
		c.stopResend()
		return
	}
	r.timer = nil
	var ctx context.Context
	ctx, r.cancel = context.WithTimeout(c.sys.background, c.sys.options.SendTimeout)
	r.call++
	f, cancel, call := r.f, r.cancel, r.call
	expired := c.sys.afterDone(ctx, func() { c.entry.actor.send(resendResult{resend: r, f: f, call: call}) })
	c.sys.goroutines.Add(1)
	go func() {
		defer c.sys.goroutines.Done()
		defer cancel()
		verdict := c.ask(ctx, transport, f)
		expired()
		c.entry.actor.send(resendResult{r, f, call, verdict})
	}()
}

// ask asks what became of a commit, and sends it again where that is not known. It
// returns a verdict that settles, or none.
func (c *conversation) ask(ctx context.Context, transport messages.Transport, f *inflight) messages.Verdict {
	if status, ok := transport.(messages.CommitStatusReader); ok {
		verdict, err := callTransport(c.sys, func() (messages.Verdict, error) {
			return status.CommitStatus(ctx, f.conversation, f.epoch, f.hash)
		})
		if err == nil && (verdict.Kind == messages.VerdictAccepted || verdict.Kind == messages.VerdictRefused) {
			return verdict
		}
		if ctx.Err() != nil {
			return messages.Verdict{}
		}
	}
	verdict, err := callTransport(c.sys, func() (messages.Verdict, error) {
		return transport.SendCommitBundle(ctx, f.bundle(true))
	})
	if err == nil && verdict.Kind == messages.VerdictAccepted {
		return verdict
	}
	return messages.Verdict{}
}

// resent takes what came of a resend.
func (c *conversation) resent(l resendResult) {
	r := l.resend
	if c.resend != r || l.call != r.call {
		if l.verdict.Kind != 0 { // late, but it says something
			c.settleLater(l.f.hash, l.verdict)
		}
		return
	}
	r.call++ // what the transport still says of this call is late
	if len(r.waiters) > 0 && l.verdict.Kind == 0 && l.f.hash != r.wanted.hash {
		r.f = r.wanted // that was another one's turn
		c.resendNow(resendDue{r})
		return
	}
	waiters := r.waiters
	r.waiters = nil
	if l.verdict.Kind == 0 {
		for _, t := range waiters {
			doubt := l.f.doubt()
			t.answer(nil, &doubt)
		}
		c.takeTurns(r)
		c.startTimer(r)
		return
	}
	c.entry.hold() // or the end of the resend lets it go before the settling has begun
	defer c.entry.release()
	c.stopResend()
	defer c.kick()
	// A transaction that waits for this holds the guard: it is settled on what it
	// has staged. Otherwise it is a step like any other, in its turn.
	if st := c.stage; st != nil && len(waiters) > 0 && waiters[0].tx == st.tx {
		if st.state == nil || st.clean() {
			st.state = c.state
		}
		if err := c.settleVerdict(st, l.f.hash, l.verdict); err != nil {
			c.sys.log.Error("settling a commit", logID(c.id), logError(err))
		}
	} else {
		c.settleLater(l.f.hash, l.verdict)
	}
	for _, t := range waiters {
		c.entry.actor.send(t) // behind the settling, if that is a step of its own
	}
}

// takeTurns chooses the next commit to send again.
func (c *conversation) takeTurns(r *resend) {
	all := c.unsettled()
	i := slices.IndexFunc(all, func(f *inflight) bool { return f.hash == r.f.hash })
	if len(all) > 0 {
		r.f = all[(i+1)%len(all)]
	}
}

// settleCommit is a verdict that came when nobody waited for it: a step of the
// conversation's own, which takes its turn like others.
type settleCommit struct {
	messages.Step
	hash    [32]byte
	verdict messages.Verdict
}

// Nobody asks for it, so it keeps the conversation in memory itself; who calls
// settleLater holds it until then.
func (c *conversation) settleLater(hash [32]byte, v messages.Verdict) {
	t := newTask(context.Background(), settleCommit{hash: hash, verdict: v})
	t.held = c.entry
	t.held.hold()
	c.take(t)
}

// settleVerdict carries out a verdict on a commit in doubt.
func (c *conversation) settleVerdict(st *stage, hash [32]byte, v messages.Verdict) error {
	f := st.state.find(hash)
	if f == nil {
		return nil // settled meanwhile
	}
	if v.Kind == messages.VerdictRefused {
		if f.status == statusRefused {
			return nil
		}
		err := c.refuse(st, f)
		if err == nil {
			c.sys.events.send(c.settledEvent(f, false)) // durable, whatever becomes of the stage
		}
		c.stopResend()
		return err
	}
	_, err := c.accept(st, f, false)
	if err == nil {
		c.stopResend()
	}
	return err
}
