package actors

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/store"
)

// latch stops the first who passes it once it is armed, until it is opened.
type latch struct {
	armed         atomic.Bool
	reached, open chan struct{}
}

func (l *latch) arm() {
	l.reached, l.open = make(chan struct{}), make(chan struct{})
	l.armed.Store(true)
}

func (l *latch) pass() {
	if l.armed.Swap(false) {
		close(l.reached)
		<-l.open
	}
}

// slowAuth is an authentication service that takes its time.
type slowAuth struct {
	acceptAll
	*latch
}

func (a slowAuth) ValidateCredential(*mlsgroup.Credential, []byte) error {
	a.pass()
	return nil
}

// reads are all that a view answers.
func reads() []messages.Request {
	return []messages.Request{
		messages.ReadConversation{}, messages.ListMembers{}, messages.ExportSecret{Label: "x", Context: []byte("y"), Length: 16},
		messages.ReadE2EIState{}, messages.ReadIdentities{Clients: []messages.ClientID{"alice", "bob"}},
	}
}

// readAllOf asks for all that a view answers.
func (p *peer) readAllOf(id messages.ConversationID) []messages.Reply {
	p.t.Helper()
	var replies []messages.Reply
	for _, r := range reads() {
		reply, err := p.sys.Ask(context.Background(), p.at(id), r)
		if err != nil {
			p.t.Errorf("%T: %v", r, err)
		}
		replies = append(replies, reply)
	}
	return replies
}

// promptly is readAllOf, which fails if it has to wait for something.
func (p *peer) promptly(id messages.ConversationID) []messages.Reply {
	p.t.Helper()
	replies := make(chan []messages.Reply, 1)
	go func() { replies <- p.readAllOf(id) }()
	select {
	case r := <-replies:
		return r
	case <-time.After(time.Minute):
		p.t.Error("a read waits")
		return nil
	}
}

// TestReadsDoNotWait reads while the conversation's actor is in the middle of a step,
// or waits for the disk, or its commit for the delivery service.
func TestReadsDoNotWait(t *testing.T) {
	l := new(latch)
	for name, c := range map[string]struct {
		change func(*Options)
		call   func(bob *peer, commit []byte) error
	}{
		"a sync": {
			func(o *Options) {
				s := o.Store
				o.apply = func(sets ...*store.ChangeSet) error { l.pass(); return s.Apply(sets...) }
			},
			func(bob *peer, commit []byte) error {
				return bob.try(bob.at(conv), messages.DecryptMessage{Message: commit})
			},
		},
		"a long step": {
			func(o *Options) { o.Auth = slowAuth{latch: l} },
			func(bob *peer, commit []byte) error {
				return bob.try(bob.at(conv), messages.DecryptMessage{Message: commit})
			},
		},
		"a transaction's sync": {
			func(o *Options) {
				s := o.Store
				o.apply = func(sets ...*store.ChangeSet) error { l.pass(); return s.Apply(sets...) }
			},
			func(bob *peer, commit []byte) error {
				tx := bob.begin()
				return errors.Join(
					bob.try(bob.in(conv, tx), messages.DecryptMessage{Message: commit}), bob.try(bob.in("", tx), messages.Finish{}))
			},
		},
	} {
		for _, cold := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, cold=%v", name, cold), func(t *testing.T) {
				w := newWorld(t, func(o *Options) { o.IdleAfter, o.StateBytes = -1, -1 }, c.change)
				alice, bob, carol := w.peer("alice"), w.peer("bob"), w.peer("carol")
				alice.create(conv)
				alice.add(conv, bob)
				text := alice.encrypt(alice.at(conv), "text")
				alice.add(conv, carol)
				if cold {
					w.emptyMemory()
				}
				bob.expectText(conv, text, "text")
				before := bob.readAllOf(conv) // in memory is now what they need
				l.arm()
				done := make(chan error, 1)
				go func() { done <- c.call(bob, w.service.last(conv).Commit) }()
				<-l.reached
				if during := bob.promptly(conv); !reflect.DeepEqual(during, before) {
					t.Errorf("read %v, want what was there before: %v", during, before)
				}
				close(l.open)
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				if got := len(bob.readAllOf(conv)[1].(messages.MembersListed).Members); got != 3 {
					t.Errorf("%d members after the commit, want 3", got)
				}
				agree(t, conv, alice, bob)
			})
		}
	}
	t.Run("the delivery service", func(t *testing.T) {
		w, alice, _ := pair(t)
		before := alice.readAllOf(conv)
		l.arm()
		w.service.set(func(context.Context, string, messages.CommitBundle) (messages.Verdict, error) {
			l.pass()
			return messages.Verdict{}, nil
		})
		done := make(chan error, 1)
		go func() { done <- alice.update(alice.at(conv)) }()
		<-l.reached
		during := alice.promptly(conv)
		state := during[0].(messages.ConversationRead)
		if len(state.InDoubt) != 1 {
			t.Errorf("%d commits on their way, want 1", len(state.InDoubt))
		}
		state.InDoubt = nil
		if during[0] = state; !reflect.DeepEqual(during, before) {
			t.Errorf("read %v, want what was there before: %v", during, before)
		}
		close(l.open)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if got := alice.state(conv); got.Epoch != state.Epoch+1 || len(got.InDoubt) != 0 {
			t.Errorf("epoch %d with %d in doubt after the commit", got.Epoch, len(got.InDoubt))
		}
	})
}

// TestReadYourWrite reads after each answer and each event, while others read too.
func TestReadYourWrite(t *testing.T) {
	w, alice, bob := pair(t)
	stop := make(chan struct{})
	heard := make(chan error, 1)
	go func() {
		for e := range alice.events {
			if reply, err := w.sys.Ask(context.Background(), alice.at(conv), messages.ReadConversation{}); err != nil {
				heard <- err
				return
			} else if got := reply.(messages.ConversationRead).Epoch; got < e.Epoch {
				heard <- fmt.Errorf("epoch %d after the event of epoch %d", got, e.Epoch)
				return
			} else if e.Epoch == 21 {
				heard <- nil
				return
			}
		}
	}()
	readers := make(chan error, 2)
	for range cap(readers) {
		go func() {
			var last messages.ConversationRead
			for {
				select {
				case <-stop:
					readers <- nil
					return
				default:
				}
				reply, err := w.sys.Ask(context.Background(), alice.at(conv), messages.ReadConversation{})
				if err != nil {
					readers <- err
					return
				}
				now := reply.(messages.ConversationRead)
				if now.Epoch < last.Epoch || now.Epoch == last.Epoch && last.Exists && !now.EpochAuthenticator.Equal(last.EpochAuthenticator) {
					readers <- fmt.Errorf("epoch %d after epoch %d, or another one of the same number", now.Epoch, last.Epoch)
					return
				}
				last = now
				runtime.Gosched()
			}
		}()
	}
	for range 20 {
		merged := ask[messages.CommitMerged](t, w.sys, alice.at(conv), messages.UpdateKeyMaterial{})
		if got := alice.state(conv).Epoch; got != merged.Epoch {
			t.Fatalf("epoch %d after a commit that began epoch %d", got, merged.Epoch)
		}
		bob.sync(conv)
		if got := bob.state(conv).Epoch; got != merged.Epoch {
			t.Fatalf("epoch %d after a message that began epoch %d", got, merged.Epoch)
		}
		made := ask[messages.ProposalCreated](t, w.sys, alice.at(conv), messages.ProposeUpdate{})
		if got := alice.state(conv).PendingProposals; len(got) != 1 || !reflect.DeepEqual(got[0], made.Ref) {
			t.Fatalf("%v pending after a proposal", got)
		}
		ask[messages.PendingProposalCleared](t, w.sys, alice.at(conv), messages.ClearPendingProposal{Ref: made.Ref})
		if got := alice.state(conv).PendingProposals; len(got) != 0 {
			t.Fatalf("%v pending after it was cleared", got)
		}
		tx := alice.begin()
		made = ask[messages.ProposalCreated](t, w.sys, alice.in(conv, tx), messages.ProposeUpdate{})
		if got := alice.state(conv).PendingProposals; len(got) != 0 {
			t.Fatalf("%v pending outside of the transaction", got)
		}
		if got := ask[messages.ConversationRead](t, w.sys, alice.in(conv, tx), messages.ReadConversation{}); len(got.PendingProposals) != 1 {
			t.Fatalf("%v pending inside of the transaction", got.PendingProposals)
		}
		alice.finish(tx)
		if got := alice.state(conv).PendingProposals; len(got) != 1 {
			t.Fatalf("%v pending after the transaction", got)
		}
		ask[messages.PendingProposalCleared](t, w.sys, alice.at(conv), messages.ClearPendingProposal{Ref: made.Ref})
	}
	w.service.set(w.lost(false))
	wantErrorAs[*messages.CommitInDoubt](t, alice.update(alice.at(conv)))
	if got := alice.state(conv).InDoubt; len(got) != 1 {
		t.Errorf("%v in doubt, want 1", got)
	}
	ask[messages.InDoubtDropped](t, w.sys, alice.at(conv), messages.DropInDoubt{})
	if got := alice.state(conv).InDoubt; len(got) != 0 {
		t.Errorf("%v in doubt after they were dropped", got)
	}
	if err := <-heard; err != nil {
		t.Error(err)
	}
	close(stop)
	for range cap(readers) {
		if err := <-readers; err != nil {
			t.Error(err)
		}
	}
	ask[messages.ConversationWiped](t, w.sys, alice.at(conv), messages.WipeConversation{})
	if alice.state(conv).Exists {
		t.Error("it is there after it was wiped")
	}
	wantError(t, alice.try(alice.at(conv), messages.ExportSecret{Length: 16}), messages.ErrConversationNotFound)
	alice.create(conv)
	if got := alice.state(conv); !got.Exists || got.Epoch != 0 {
		t.Errorf("after it was created: %v", got)
	}
}

// TestReadsOfADecision reads two conversations while a transaction of both is being
// decided, and when it has been, one way or the other.
func TestReadsOfADecision(t *testing.T) {
	for name, refusal := range map[string]error{"it happens": nil, "the store refuses": store.ErrTooLarge} {
		t.Run(name, func(t *testing.T) {
			l := new(latch)
			var deciding atomic.Bool
			w := newWorld(t, func(o *Options) {
				s := o.Store
				o.apply = func(sets ...*store.ChangeSet) error {
					if deciding.Swap(false) {
						l.pass()
						if refusal != nil {
							return refusal
						}
					}
					return s.Apply(sets...)
				}
			})
			alice, bob := w.peer("alice"), w.peer("bob")
			ids := []messages.ConversationID{conv, other}
			for _, id := range ids {
				alice.create(id)
				alice.add(id, bob)
			}
			tx := alice.begin()
			for _, id := range ids {
				ask[messages.ProposalCreated](t, w.sys, alice.in(id, tx), messages.ProposeUpdate{})
			}
			before := [][]messages.Reply{alice.readAllOf(conv), alice.readAllOf(other)}
			l.arm()
			deciding.Store(true)
			done := make(chan error, 1)
			go func() { done <- alice.try(alice.in("", tx), messages.Finish{}) }()
			<-l.reached
			for i, id := range ids {
				if during := alice.promptly(id); !reflect.DeepEqual(during, before[i]) {
					t.Errorf("%s: read %v before the decision, want %v", id, during, before[i])
				}
			}
			close(l.open)
			if err := <-done; (err != nil) != (refusal != nil) {
				t.Fatal(err)
			}
			for _, id := range ids {
				if n := len(alice.state(id).PendingProposals); (n == 1) != (refusal == nil) {
					t.Errorf("%s: %d proposals are pending after the decision", id, n)
				}
			}
		})
	}
}

// viewedHost is a host that looks, after every letter to a conversation, whether its
// view is what is committed.
type viewedHost struct {
	host
	t *testing.T
}

type viewed struct {
	*conversation
	t *testing.T
}

func (h *viewedHost) spawn(r receiver) ref {
	if c, ok := r.(*conversation); ok {
		return h.host.spawn(viewed{c, h.t})
	}
	return h.host.spawn(r)
}

func (v viewed) receive(l letter) {
	v.conversation.receive(l)
	c, shown := v.conversation, v.entry.view.Load()
	switch {
	case shown == nil && c.state != nil && !(c.stage != nil && c.stage.voted):
		v.t.Errorf("after %T there is no view", l)
	case shown != nil && c.state == nil:
		v.t.Errorf("after %T there is a view of what is not in memory", l)
	case shown != nil:
		for _, r := range reads()[:3] {
			want, wantErr := c.state.read(c.client, r)
			got, err := shown.state.read(c.client, r)
			if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(err, wantErr) {
				v.t.Errorf("after %T a read is answered with %v, %v, want %v, %v", l, got, err, want, wantErr)
			}
		}
	}
}

// view returns the view of a conversation, nil if there is none.
func (p *peer) view(id messages.ConversationID) *view {
	p.t.Helper()
	e, ok := p.sys.conversations.load(entryKey{instance: p.instance, id: id})
	if !ok {
		p.t.Fatal("the conversation has no actor")
	}
	return e.view.Load()
}

// TestViewsAreWiped looks at the memory of the secrets in a view when another has
// taken its place, which whoever reads it still needs, and when the conversation has left memory.
func TestViewsAreWiped(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.IdleAfter, o.StateBytes = -1, -1 })
	alice, bob := w.peer("alice"), w.peer("bob")
	alice.create(conv)
	alice.add(conv, bob)
	old := alice.view(conv)
	key := [][]byte{old.state.group.EpochAuthenticator()}
	if !old.enter() {
		t.Fatal("the published view cannot be read")
	}
	if err := alice.update(alice.at(conv)); err != nil {
		t.Fatal(err)
	}
	now := alice.view(conv)
	if now == old || wiped(key) != 0 || !bob.state(conv).EpochAuthenticator.Equal(key[0]) {
		t.Error("a view that is read has gone, or has stayed for others")
	}
	old.leave()
	if wiped(key) != 1 || old.enter() {
		t.Error("a view that nobody reads any more has its secrets")
	}
	key = [][]byte{now.state.group.EpochAuthenticator()}
	bob.sync(conv)
	bob.expectText(conv, alice.encrypt(alice.at(conv), "no epoch"), "no epoch")
	if alice.view(conv) != now || wiped(key) != 0 {
		t.Error("a message has made another view")
	}
	w.emptyMemory()
	if wiped(key) != 1 || now.enter() {
		t.Error("a conversation that is not in memory has a view")
	}
	agree(t, conv, alice)
}

// TestReadingIsUse makes room and looks whether a conversation that is only read has
// been used.
func TestReadingIsUse(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.IdleAfter, o.StateBytes = -1, -1 })
	alice, bob := w.peer("alice"), w.peer("bob")
	ids := []messages.ConversationID{"a", "b", "c"}
	for _, id := range ids {
		alice.create(id)
		alice.add(id, bob)
	}
	w.emptyMemory()
	for _, id := range ids {
		alice.encrypt(alice.at(id), "used")
	}
	const each = restBytes + 8<<10 // without the tree
	w.rests(3 * each)
	alice.state("a")
	w.sys.makeRoom(2*each + each/2)
	if got, want := alice.inMemory(), []messages.ConversationID{"a", "c"}; !slices.Equal(got, want) {
		t.Errorf("%v are in memory, want %v", got, want)
	}
}

// TestPanicBehindTheStore lets a step panic when what it did is durable: what is read
// then is what is stored.
func TestPanicBehindTheStore(t *testing.T) {
	var breaks atomic.Bool
	_, alice, _ := pair(t, func(o *Options) {
		s := o.Store
		o.apply = func(sets ...*store.ChangeSet) error {
			err := s.Apply(sets...)
			if breaks.Swap(false) {
				panic(confidential)
			}
			return err
		}
	})
	if n := len(alice.state(conv).PendingProposals); n != 0 {
		t.Fatalf("%d proposals are pending", n)
	}
	breaks.Store(true)
	wantError(t, alice.try(alice.at(conv), messages.ProposeUpdate{}), messages.ErrInternal)
	if n := len(alice.state(conv).PendingProposals); n != 1 {
		t.Errorf("%d proposals are pending, want the one that was stored", n)
	}
}
