package actors

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/internal/pkitest"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/store"
)

// unguardedReads are the requests that read a client's records without a guard, each with
// what a transaction stages that changes the answer, and the count that the answer comes to.
var unguardedReads = map[string]struct {
	stage  func(p *peer, tx messages.TransactionID)
	read   messages.Request
	count  func(messages.Reply) int
	change int
}{
	"data": {
		func(p *peer, tx messages.TransactionID) {
			ask[messages.DataSet](p.t, p.sys, p.in("", tx), messages.SetData{Data: []byte("x")})
		},
		messages.ReadData{}, func(r messages.Reply) int { return len(r.(messages.DataRead).Data) }, 1,
	},
	"credentials": {
		func(p *peer, tx messages.TransactionID) {
			ask[messages.CredentialAdded](p.t, p.sys, p.in("", tx), messages.AddCredential{CipherSuite: 1})
		},
		messages.ListCredentials{}, func(r messages.Reply) int { return len(r.(messages.CredentialsListed).Credentials) }, 1,
	},
	"key packages": {
		func(p *peer, tx messages.TransactionID) {
			ask[messages.KeyPackagesGenerated](p.t, p.sys, p.in("", tx), messages.GenerateKeyPackages{Count: 2})
		},
		messages.ListKeyPackages{}, func(r messages.Reply) int { return len(r.(messages.KeyPackagesListed).KeyPackages) }, 2,
	},
	"how many key packages": {
		func(p *peer, tx messages.TransactionID) {
			ask[messages.KeyPackagesGenerated](p.t, p.sys, p.in("", tx), messages.GenerateKeyPackages{Count: 2})
		},
		messages.CountKeyPackages{CipherSuite: 1}, func(r messages.Reply) int { return r.(messages.KeyPackagesCounted).Count }, 2,
	},
	"rotation": {
		func(p *peer, tx messages.TransactionID) {
			ask[messages.RotationPut](p.t, p.sys, p.in("", tx), messages.PutRotation{Rotation: &messages.Rotation{}})
		},
		messages.ReadRotation{}, func(r messages.Reply) int {
			if r.(messages.RotationRead).Rotation == nil {
				return 0
			}
			return 1
		}, 1,
	},
	"identity": {
		func(p *peer, tx messages.TransactionID) {
			ask[messages.ProteusReady](p.t, p.sys, p.in("", tx), messages.InitProteus{})
		},
		readIdentity{}, func(r messages.Reply) int {
			if r.(identityRead).identity == nil {
				return 0
			}
			return 1
		}, 1,
	},
	"existing credential": {
		func(p *peer, tx messages.TransactionID) {
			ask[messages.CredentialAdded](p.t, p.sys, p.in("", tx), messages.AddCredential{CipherSuite: 3})
		},
		readExisting{suite: 1, typ: mlsgroup.CredentialTypeBasic}, func(r messages.Reply) int {
			if r.(credentialUsed).record.entry.CipherSuite == 3 {
				return 1
			}
			return 0
		}, 1,
	},
	"conversations, created": {
		func(p *peer, tx messages.TransactionID) {
			ask[messages.ConversationCreated](p.t, p.sys, p.in(other, tx), messages.CreateConversation{})
		},
		messages.ListConversations{}, func(r messages.Reply) int { return len(r.(messages.ConversationsListed).Conversations) }, 1,
	},
	"conversations, wiped": {
		func(p *peer, tx messages.TransactionID) {
			ask[messages.ConversationWiped](p.t, p.sys, p.in(conv, tx), messages.WipeConversation{})
		},
		messages.ListConversations{}, func(r messages.Reply) int { return len(r.(messages.ConversationsListed).Conversations) }, -1,
	},
	"session": {
		func(p *peer, tx messages.TransactionID) {
			ask[messages.SessionDeleted](p.t, p.sys, p.in("", tx), messages.DeleteSession{Session: "session"})
		},
		messages.ReadSession{Session: "session"}, func(r messages.Reply) int {
			if r.(messages.SessionRead).Exists {
				return 1
			}
			return 0
		}, -1,
	},
}

// put returns how a read is put to an actor, for post.
func (p *peer) put(r messages.Request) (to ref, tx messages.TransactionID, read messages.Request) {
	p.t.Helper()
	if r, ok := r.(messages.ReadSession); ok {
		e := p.sys.acquire(p.client(), entryKey{p.instance, messages.ConversationID(r.Session), entrySession})
		defer e.release() // the transaction holds it
		return e.actor, 0, readStep{local: p.client().proteus.Load()}
	}
	return p.client().actor, 0, r
}

// TestNothingIsReadTooSoon reads what a transaction changes while the store has its changes
// and they are not known to be durable: nobody hears of them before that, and if it never
// comes, never.
func TestNothingIsReadTooSoon(t *testing.T) {
	for outcome, after := range map[string]error{"durable": nil, "refused": store.ErrTooLarge, "unknown": store.ErrOutcomeUnknown} {
		for what, c := range unguardedReads {
			t.Run(outcome+", "+what, func(t *testing.T) {
				l := new(latch)
				w := newWorld(t, func(o *Options) {
					o.IdleAfter, o.StateBytes = -1, -1
					s := o.Store
					o.apply = func(sets ...*store.ChangeSet) error {
						if l.armed.Load() && after == store.ErrOutcomeUnknown {
							if err := s.Apply(sets...); err != nil {
								return err
							}
						}
						return l.apply(s, after, sets...)
					}
				})
				alice := w.peer("alice")
				alice.create(conv)
				if what == "session" {
					ask[messages.ProteusReady](t, w.sys, alice.at(""), messages.InitProteus{})
					alice.meet("session", w.proteusPeer("bob"), "session")
				}
				count := func() int {
					reply, err := w.sys.Ask(t.Context(), alice.at(""), c.read)
					if err != nil {
						t.Fatal(err)
					}
					return c.count(reply)
				}
				before := count()
				if what == "session" {
					w.emptyMemory() // what is in memory need not wait
				}
				tx := alice.begin()
				c.stage(alice, tx)
				l.arm()
				finished := make(chan error, 1)
				go func() { finished <- alice.try(alice.in("", tx), messages.Finish{}) }()
				<-l.reached
				var held *task
				if _, list := c.read.(messages.ListConversations); list {
					if got := count(); got != before {
						t.Errorf("%d are read before the decision, want %d", got, before)
					}
				} else if held = alice.post(alice.put(c.read)); after != store.ErrTooLarge && len(held.result) != 0 {
					t.Error("a read is answered before the decision")
				}
				close(l.open)
				if err := <-finished; (err != nil) != (after != nil) {
					t.Fatal(err)
				}
				want := before
				if after == nil {
					want += c.change
				}
				if held != nil {
					switch r := within(t, what, held.result); {
					case after == store.ErrOutcomeUnknown:
						wantError(t, r.err, messages.ErrStoreFailed)
					case r.err != nil:
						t.Error(r.err)
					case c.count(r.reply) != want:
						t.Errorf("%d were read during the decision, want %d", c.count(r.reply), want)
					}
				}
				if after == store.ErrOutcomeUnknown {
					return
				}
				if got := count(); got != want {
					t.Errorf("%d are read after the decision, want %d", got, want)
				}
			})
		}
	}
}

// TestHeldReadEnds: who gives up a read that is held is answered, and so is everybody when
// the engine closes.
func TestHeldReadEnds(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(p *peer, cancel context.CancelFunc, t *task)
		want error
	}{
		"given up": {func(p *peer, cancel context.CancelFunc, t *task) { cancel(); p.client().actor.send(cancelTask{t}) }, context.Canceled},
		"closed":   {func(p *peer, _ context.CancelFunc, _ *task) { p.client().actor.send(closeActor{}) }, messages.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			l := new(latch)
			w := newWorld(t, func(o *Options) {
				s := o.Store
				o.apply = func(sets ...*store.ChangeSet) error { return l.apply(s, nil, sets...) }
			})
			alice := w.peer("alice")
			tx := alice.begin()
			ask[messages.DataSet](t, w.sys, alice.in("", tx), messages.SetData{Data: []byte("x")})
			l.arm()
			finished := make(chan error, 1)
			go func() { finished <- alice.try(alice.in("", tx), messages.Finish{}) }()
			<-l.reached
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			read := newTask(ctx, messages.ReadData{})
			alice.client().actor.send(read)
			pass(alice.client().actor)
			c.end(alice, cancel, read)
			wantError(t, within(t, "the read", read.result).err, c.want)
			close(l.open)
			if err := <-finished; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSingleCallsAreNotListedTooSoon lists conversations while one is being wiped or made
// by a single call, and the store has that.
func TestSingleCallsAreNotListedTooSoon(t *testing.T) {
	for name, call := range map[string]func(p *peer) error{
		"wiped":   func(p *peer) error { return p.try(p.at(conv), messages.WipeConversation{}) },
		"created": func(p *peer) error { return p.try(p.at(other), messages.CreateConversation{}) },
	} {
		t.Run(name, func(t *testing.T) {
			l := new(latch)
			w := newWorld(t, func(o *Options) {
				s := o.Store
				o.apply = func(sets ...*store.ChangeSet) error { return l.apply(s, nil, sets...) }
			})
			alice := w.peer("alice")
			alice.create(conv)
			list := func() []messages.ConversationID {
				return ask[messages.ConversationsListed](t, w.sys, alice.at(""), messages.ListConversations{}).Conversations
			}
			l.arm()
			done := make(chan error, 1)
			go func() { done <- call(alice) }()
			<-l.reached
			if got := list(); !slices.Equal(got, []messages.ConversationID{conv}) {
				t.Errorf("listed before it is durable: %q", got)
			}
			close(l.open)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if got := len(list()); got != map[string]int{"wiped": 0, "created": 2}[name] {
				t.Errorf("%d are listed after it", got)
			}
			if ids := alice.client().unsettled.Load(); ids != nil {
				t.Errorf("still unsettled: %q", *ids)
			}
		})
	}
}

// TestListPassesAFullGate lists conversations while one is unsettled of which no more
// requests are let in.
func TestListPassesAFullGate(t *testing.T) {
	l := new(latch)
	w := newWorld(t, func(o *Options) {
		o.MaxConversationRequests = 1
		s := o.Store
		o.apply = func(sets ...*store.ChangeSet) error { return l.apply(s, nil, sets...) }
	})
	alice := w.peer("alice")
	alice.create(conv)
	tx := alice.begin()
	ask[messages.ConversationWiped](t, w.sys, alice.in(conv, tx), messages.WipeConversation{})
	if err := alice.row(conv).gate.enter(0); err != nil {
		t.Fatal(err)
	}
	l.arm()
	finished := make(chan error, 1)
	go func() { finished <- alice.try(alice.in("", tx), messages.Finish{}) }()
	<-l.reached
	wantError(t, alice.try(alice.at(conv), messages.ReadConversation{}), messages.ErrBusy)
	reply, err := w.sys.Ask(t.Context(), alice.at(""), messages.ListConversations{})
	alice.row(conv).gate.leave(0)
	close(l.open)
	if err != nil {
		t.Errorf("the list: %v", err)
	} else if got := reply.(messages.ConversationsListed).Conversations; !slices.Equal(got, []messages.ConversationID{conv}) {
		t.Errorf("listed before it is durable: %q", got)
	}
	if err := <-finished; err != nil {
		t.Fatal(err)
	}
}

// seen is a transaction of alice's, of a conversation that shows what was decided and of
// others that have not been told.
func (p *peer) seen(l *latch, tx messages.TransactionID) (finished chan error) {
	p.t.Helper()
	l.arm()
	finished = make(chan error, 1)
	go func() { finished <- p.try(p.in("", tx), messages.Finish{}) }()
	<-l.reached
	if n := len(p.state(conv).PendingProposals); n != 1 {
		p.t.Fatalf("%d proposals are pending at the first, want 1", n)
	}
	return finished
}

// TestWhoHasSeenADecision reads what else a transaction has changed when a conversation
// shows that it is decided, and the others of its participants have not been told.
func TestWhoHasSeenADecision(t *testing.T) {
	start := func(t *testing.T, last messages.ConversationID) (*latch, *peer, messages.TransactionID) {
		l := new(latch)
		w := newWorld(t, func(o *Options) {
			o.host = func() host {
				return &sendHost{newProtoHost(), func(to messages.ConversationID, sent letter) {
					if _, ok := sent.(settle); ok && to == last {
						l.pass()
					}
				}}
			}
		})
		alice, bob := w.proteusPeer("alice"), w.proteusPeer("bob")
		for _, id := range []messages.ConversationID{conv, other} {
			alice.create(id)
			alice.add(id, bob)
		}
		alice.meet("session", bob, "session")
		tx := alice.begin()
		ask[messages.ProposalCreated](t, w.sys, alice.in(conv, tx), messages.ProposeUpdate{})
		return l, alice, tx
	}
	end := func(t *testing.T, l *latch, finished chan error) {
		t.Helper()
		close(l.open)
		if err := <-finished; err != nil {
			t.Error(err)
		}
	}
	t.Run("registrations", func(t *testing.T) {
		l, alice, tx := start(t, "")
		r := messages.RegisterTrustAnchor{Certificate: pkitest.New(t, 1, "first.example", time.Now()).Root}
		ask[messages.TrustAnchorRegistered](t, alice.sys, alice.in("", tx), r)
		finished := alice.seen(l, tx)
		if n := len(ask[messages.PKIRead](t, alice.sys, alice.at(""), messages.ReadPKI{}).TrustAnchors); n != 1 {
			t.Errorf("%d trust anchors, want 1", n)
		}
		end(t, l, finished)
	})
	t.Run("distribution points", func(t *testing.T) {
		l, alice, tx := start(t, other)
		ask[messages.ProposalCreated](t, alice.sys, alice.in(other, tx), messages.ProposeUpdate{})
		alice.notePoint(other, tx, "http://crl.example/list")
		finished := alice.seen(l, tx)
		points := ask[messages.DistributionPointsListed](t, alice.sys, alice.at(""), messages.ListDistributionPoints{}).DistributionPoints
		if !slices.Equal(points, []string{"http://crl.example/list"}) {
			t.Errorf("points %q", points)
		}
		end(t, l, finished)
	})
	t.Run("session", func(t *testing.T) {
		l, alice, tx := start(t, "session")
		unguardedReads["session"].stage(alice, tx)
		finished := alice.seen(l, tx)
		read := alice.post(alice.put(messages.ReadSession{Session: "session"}))
		end(t, l, finished)
		r := within(t, "the session", read.result)
		if r.err != nil {
			t.Fatal(r.err)
		}
		if r.reply.(messages.SessionRead).Exists {
			t.Error("the session is as it was before")
		}
	})
	t.Run("conversations", func(t *testing.T) {
		l, alice, tx := start(t, other)
		ask[messages.ConversationWiped](t, alice.sys, alice.in(other, tx), messages.WipeConversation{})
		finished := alice.seen(l, tx)
		answer := make(chan messages.Reply, 1)
		go func() {
			reply, err := alice.sys.Ask(context.Background(), alice.at(""), messages.ListConversations{})
			if err != nil {
				t.Error(err)
			}
			answer <- reply
		}()
		for i := 0; i < 100 && len(answer) == 0; i++ { // it has its chance to be wrong
			pass(alice.client().actor)
		}
		end(t, l, finished)
		reply, _ := within(t, "the list", answer).(messages.ConversationsListed)
		if !slices.Equal(reply.Conversations, []messages.ConversationID{conv}) {
			t.Errorf("listed: %q", reply.Conversations)
		}
	})
}

// notePoint stages a distribution point, as a step does that brings a certificate in.
// Nothing else is asked of the conversation meanwhile.
func (p *peer) notePoint(id messages.ConversationID, tx messages.TransactionID, point string) {
	p.t.Helper()
	c := p.row(id).actor.(*sendRef).receiver.(*conversation)
	pass(p.row(id).actor)
	if c.stage == nil || c.stage.tx != p.transaction(tx) {
		p.t.Fatal("the transaction has staged nothing")
	}
	c.stagePoints(c.stage, []string{point})
}
