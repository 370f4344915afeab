package actors

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/store"
)

// sendHost is a host that calls held in the sender, before it sends a letter to a
// conversation, a session or, with no id, an actor that keeps a client's records.
type sendHost struct {
	host
	held func(to messages.ConversationID, l letter)
}

type sendRef struct {
	ref
	receiver
	to   messages.ConversationID
	held func(to messages.ConversationID, l letter)
}

func (h *sendHost) spawn(r receiver) ref {
	spawned := h.host.spawn(r)
	switch r := r.(type) {
	case *conversation:
		return &sendRef{spawned, r, r.id, h.held}
	case *session:
		return &sendRef{spawned, r, messages.ConversationID(r.id), h.held}
	case *clientActor, *pkiActor:
		return &sendRef{spawned, r, "", h.held}
	}
	return spawned
}

func (r *sendRef) send(l letter) {
	r.held(r.to, l)
	r.ref.send(l)
}

// row returns the row of a conversation that is in memory.
func (p *peer) row(id messages.ConversationID) *entry {
	p.t.Helper()
	e, ok := p.sys.conversations.load(entryKey{instance: p.instance, id: id})
	if !ok {
		p.t.Fatal("the conversation has no actor")
	}
	return e
}

// sendReads sends reads to a conversation's actor, which has dealt with them when it
// returns: they are answered, or wait.
func (p *peer) sendReads(ctx context.Context, id messages.ConversationID, requests ...messages.Request) []*task {
	p.t.Helper()
	e := p.row(id)
	tasks := make([]*task, len(requests))
	for i, r := range requests {
		tasks[i] = newTask(ctx, r)
		e.actor.send(tasks[i])
	}
	p.pass(id)
	return tasks
}

// pass waits until the conversation's actor has dealt with all that was sent to it.
func (p *peer) pass(id messages.ConversationID) {
	pass(p.row(id).actor)
}

// coldReads are those that lack something in a conversation of which only the head is in
// memory.
func coldReads() []messages.Request {
	return []messages.Request{messages.ReadConversation{}, messages.ListMembers{}, messages.ExportGroupInfo{}}
}

// decision is a transaction of bob's that is being decided: it has opened a text and what
// alice sent, in a conversation that was not in memory.
type decision struct {
	*world
	bob      *peer
	ctx      context.Context
	finished chan error
	l        *latch
}

// apply is Store.Apply, and once the latch is armed it answers with after instead: the
// store has taken the changes before the latch if that is nil, else it never takes them.
func (l *latch) apply(s *store.Store, after error, sets ...*store.ChangeSet) error {
	if !l.armed.Load() {
		return s.Apply(sets...)
	}
	var err error
	if after == nil {
		err = s.Apply(sets...)
	}
	l.pass()
	return errors.Join(err, after)
}

// decide brings a transaction to where its changes are given to the store. The store
// answers with after, and has taken them before the latch if that is nil.
func decide(t *testing.T, commit bool, after error) *decision {
	l := new(latch)
	w := newWorld(t, func(o *Options) {
		o.IdleAfter, o.StateBytes = -1, -1
		s := o.Store
		o.apply = func(sets ...*store.ChangeSet) error {
			return l.apply(s, after, sets...)
		}
	})
	alice, bob := w.peer("alice"), w.peer("bob")
	alice.create(conv)
	alice.add(conv, bob)
	text := alice.encrypt(alice.at(conv), "text")
	var message []byte
	if commit {
		alice.add(conv, w.peer("carol"))
		message = w.service.last(conv).Commit
	} else {
		message = ask[messages.ProposalCreated](t, w.sys, alice.at(conv), messages.ProposeUpdate{}).Message
	}
	w.emptyMemory()
	tx := bob.begin()
	bob.decrypt(bob.in(conv, tx), text)
	bob.decrypt(bob.in(conv, tx), message)
	d := &decision{world: w, bob: bob, ctx: context.Background(), finished: make(chan error, 1), l: l}
	l.arm()
	go func() { d.finished <- bob.try(bob.in("", tx), messages.Finish{}) }()
	<-l.reached
	return d
}

// wantParked fails where a task is answered already.
func (d *decision) wantParked(tasks []*task) {
	d.t.Helper()
	for _, task := range tasks {
		if len(task.result) != 0 {
			r := <-task.result
			d.t.Errorf("%T is answered before the decision: %v, %v", task.request, r.reply, r.err)
			task.result <- r
		}
	}
}

// wantAnswers fails unless every task is answered as the conversation reads now. A GroupInfo is never the same twice.
func (d *decision) wantAnswers(tasks []*task) {
	d.t.Helper()
	for _, task := range tasks {
		got := <-task.result
		if got.err != nil {
			d.t.Errorf("%T: %v", task.request, got.err)
			continue
		}
		if _, signed := got.reply.(messages.GroupInfoExported); signed {
			continue
		}
		want, err := d.sys.Ask(d.ctx, d.bob.at(conv), task.request)
		if err != nil || !reflect.DeepEqual(got.reply, want) {
			d.t.Errorf("%T is answered with %v, want %v, %v", task.request, got.reply, want, err)
		}
	}
}

// TestReadsWhileApplying reads a conversation of which little is in memory while the store
// already has what a transaction has done to it.
func TestReadsWhileApplying(t *testing.T) {
	for name, commit := range map[string]bool{"a commit": true, "a proposal": false} {
		t.Run(name, func(t *testing.T) {
			d := decide(t, commit, nil)
			secret := d.bob.sendReads(d.ctx, conv, messages.ExportSecret{Label: "x", Length: 16})[0]
			select {
			case <-secret.result:
			default:
				t.Error("a read of what is in memory waits")
			}
			reads := d.bob.sendReads(d.ctx, conv, coldReads()...)
			d.wantParked(reads)
			close(d.l.open)
			if err := <-d.finished; err != nil {
				t.Fatal(err)
			}
			d.wantAnswers(reads)
			if c := d.bob.state(conv); commit && c.Epoch != 2 || !commit && len(c.PendingProposals) != 1 {
				t.Errorf("after the decision: %+v", c)
			}
		})
	}
	t.Run("after a panic", func(t *testing.T) {
		d := decide(t, true, nil)
		d.bob.row(conv).actor.send(resendResult{}) // no actor sends one without a resend
		reads := d.bob.sendReads(d.ctx, conv, coldReads()...)
		d.wantParked(reads)
		close(d.l.open)
		if err := <-d.finished; err != nil {
			t.Fatal(err)
		}
		d.wantAnswers(reads)
	})
	t.Run("the store refuses", func(t *testing.T) {
		d := decide(t, true, store.ErrTooLarge)
		reads := d.bob.sendReads(d.ctx, conv, coldReads()...)
		close(d.l.open)
		if err := <-d.finished; err == nil {
			t.Fatal("it was not refused")
		}
		d.wantAnswers(reads)
		if got := d.bob.state(conv).Epoch; got != 1 {
			t.Errorf("epoch %d, want 1", got)
		}
	})
	for name, c := range map[string]struct {
		after error
		end   func(d *decision, cancel context.CancelFunc, reads []*task)
		want  error
	}{
		"its outcome is unknown": {
			store.ErrOutcomeUnknown, func(d *decision, _ context.CancelFunc, _ []*task) { close(d.l.open) }, messages.ErrStoreFailed,
		},
		"who asks gives up": {
			nil,
			func(d *decision, cancel context.CancelFunc, reads []*task) {
				cancel()
				for _, task := range reads {
					d.bob.row(conv).actor.send(cancelTask{task})
				}
			},
			context.Canceled,
		},
		"it closes": {
			nil, func(d *decision, _ context.CancelFunc, _ []*task) { d.bob.row(conv).actor.send(closeActor{}) }, messages.ErrClosed,
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := decide(t, true, c.after)
			ctx, cancel := context.WithCancel(d.ctx)
			defer cancel()
			reads := d.bob.sendReads(ctx, conv, coldReads()...)
			c.end(d, cancel, reads)
			for _, task := range reads {
				wantError(t, (<-task.result).err, c.want)
			}
			if c.after == nil {
				close(d.l.open)
			}
			if err := <-d.finished; (err != nil) != (c.after != nil) {
				t.Errorf("the transaction: %v", err)
			}
			if c.after != nil {
				// One that was on its way when the store failed.
				wantError(t, (<-d.bob.sendReads(d.ctx, conv, messages.ListMembers{})[0].result).err, messages.ErrStoreFailed)
			}
		})
	}
}

// TestReadsBeforeTheVote reads a conversation of which little is in memory when its
// transaction has its vote, and not yet that of another: that may wait for who reads.
func TestReadsBeforeTheVote(t *testing.T) {
	l := new(latch)
	w := newWorld(t, func(o *Options) {
		o.IdleAfter, o.StateBytes = -1, -1
		o.host = func() host {
			return &sendHost{newProtoHost(), func(to messages.ConversationID, sent letter) {
				if _, ok := sent.(prepare); ok && to == other {
					l.pass()
				}
			}}
		}
	})
	alice, bob := w.peer("alice"), w.peer("bob")
	for _, id := range []messages.ConversationID{conv, other} {
		alice.create(id)
		alice.add(id, bob)
	}
	text := alice.encrypt(alice.at(conv), "text")
	alice.add(conv, w.peer("carol"))
	w.emptyMemory()
	tx := bob.begin()
	bob.decrypt(bob.in(conv, tx), text)
	bob.decrypt(bob.in(conv, tx), w.service.last(conv).Commit)
	ask[messages.ProposalCreated](t, w.sys, bob.in(other, tx), messages.ProposeUpdate{})
	l.arm()
	finished := make(chan error, 1)
	go func() { finished <- bob.try(bob.in("", tx), messages.Finish{}) }()
	<-l.reached
	if got := len(bob.promptly(conv)[1].(messages.MembersListed).Members); got != 2 {
		t.Errorf("%d members before the decision, want 2", got)
	}
	if _, err := w.sys.Ask(context.Background(), bob.at(conv), messages.ExportGroupInfo{}); err != nil {
		t.Error(err)
	}
	close(l.open)
	if err := <-finished; err != nil {
		t.Fatal(err)
	}
	if got := len(bob.readAllOf(conv)[1].(messages.MembersListed).Members); got != 3 {
		t.Errorf("%d members after the decision, want 3", got)
	}
}

// TestReadsAfterTheDecision reads a conversation that has not been told of a decision,
// when another shows what was decided.
func TestReadsAfterTheDecision(t *testing.T) {
	l := new(latch)
	w := newWorld(t, func(o *Options) {
		o.host = func() host {
			return &sendHost{newProtoHost(), func(to messages.ConversationID, sent letter) {
				if _, ok := sent.(settle); ok && to == other {
					l.pass()
				}
			}}
		}
	})
	alice, bob := w.peer("alice"), w.peer("bob")
	for _, id := range []messages.ConversationID{conv, other} {
		alice.create(id)
		alice.add(id, bob)
	}
	tx := alice.begin()
	for _, id := range []messages.ConversationID{conv, other} {
		ask[messages.ProposalCreated](t, w.sys, alice.in(id, tx), messages.ProposeUpdate{})
	}
	l.arm()
	finished := make(chan error, 1)
	go func() { finished <- alice.try(alice.in("", tx), messages.Finish{}) }()
	<-l.reached
	if n := len(alice.state(conv).PendingProposals); n != 1 {
		t.Fatalf("%d proposals are pending at the first, want 1", n)
	}
	read := alice.sendReads(context.Background(), other, messages.ReadConversation{})[0]
	close(l.open)
	r := <-read.result
	if err := <-finished; err != nil {
		t.Fatal(err)
	}
	if r.err != nil {
		t.Fatal(r.err)
	}
	if n := len(r.reply.(messages.ConversationRead).PendingProposals); n != 1 {
		t.Errorf("%d proposals are pending at the other, want 1", n)
	}
}
