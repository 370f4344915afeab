package actors

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/internal/pkitest"
	"github.com/conclave-mls/conclave/messages"
)

// post sends a request to an actor, which has dealt with it when post returns.
func (p *peer) post(to ref, tx messages.TransactionID, r messages.Request) *task {
	p.t.Helper()
	t := newTask(context.Background(), r)
	if tx != 0 {
		t.tx = p.transaction(tx)
	}
	to.send(t)
	pass(to)
	return t
}

// pass waits until an actor has dealt with all that was sent to it.
func pass(to ref) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	last := newTask(ended, messages.ReadConversation{})
	to.send(last)
	<-last.result // which no actor keeps
}

// transaction returns an open transaction.
func (p *peer) transaction(id messages.TransactionID) *transaction {
	p.t.Helper()
	tx, ok := p.sys.transactions.load(id)
	if !ok {
		p.t.Fatal("no such transaction")
	}
	return tx
}

// client returns the peer's row.
func (p *peer) client() *client {
	p.t.Helper()
	c, ok := p.sys.clients.load(p.instance)
	if !ok {
		p.t.Fatal("the client is not open")
	}
	return c
}

// within fails where an answer takes so long that nobody can be about to give it.
func within[T any](t *testing.T, what string, answer <-chan T) (got T) {
	t.Helper()
	select {
	case got = <-answer:
	case <-time.After(time.Minute):
		t.Errorf("%s: nobody answers", what)
	}
	return got
}

// TestDeadStoreAnswersWhoWaits: when the store fails, whoever waits for a transaction that
// may never be decided, or for the delivery service, is answered then, and not by Close.
func TestDeadStoreAnswersWhoWaits(t *testing.T) {
	var f *flaky
	w := newWorld(t, func(o *Options) {
		o.RetryPause = maxResendPause
		f = &flaky{store: o.Store, left: 1 << 30}
		o.apply = f.apply
	})
	alice, bob := w.proteusPeer("alice"), w.proteusPeer("bob")
	const doubtful, sending = messages.ConversationID("doubtful"), messages.ConversationID("sending")
	for _, id := range []messages.ConversationID{conv, doubtful, sending} {
		alice.create(id)
		alice.add(id, bob)
	}
	alice.meet("session", bob, "session")
	w.service.set(w.lost(false))
	wantErrorAs[*messages.CommitInDoubt](t, alice.update(alice.at(doubtful)))

	holder, step, blind := alice.begin(), alice.begin(), alice.begin()
	alice.encrypt(alice.in(conv, holder), "held")
	alice.seal(alice.in("", holder), "session", "held")
	anchor := messages.RegisterTrustAnchor{Certificate: pkitest.New(t, 1, "first.example", time.Now()).Root}
	ask[messages.TrustAnchorRegistered](t, w.sys, alice.in("", holder), anchor)
	ask[messages.DataRead](t, w.sys, alice.in("", holder), messages.ReadData{})
	ask[messages.PSKPut](t, w.sys, alice.in("", holder), messages.PutPSK{ID: []byte("psk"), PSK: []byte("held")})
	ask[messages.DataSet](t, w.sys, alice.in("", blind), messages.SetData{Data: []byte("blind")})

	arrived := make(chan struct{}, 2)
	w.service.set(func(ctx context.Context, _ string, _ messages.CommitBundle) (messages.Verdict, error) {
		arrived <- struct{}{}
		<-ctx.Done()
		return messages.Verdict{}, ctx.Err()
	})
	sent := make(chan error, 1)
	go func() { sent <- alice.update(alice.at(sending)) }()
	<-arrived

	client := alice.client()
	session, ok := w.sys.conversations.load(entryKey{alice.instance, "session", entrySession})
	if !ok {
		t.Fatal("the session has no actor")
	}
	seal := encryptStep{local: client.proteus.Load(), plaintext: []byte("x")}
	psk := messages.PutPSK{ID: []byte("psk"), PSK: []byte("waits")}
	waiting := map[string]*task{
		"a conversation":                         alice.post(alice.row(conv).actor, 0, messages.EncryptMessage{}),
		"a conversation, in a transaction":       alice.post(alice.row(conv).actor, step, messages.EncryptMessage{}),
		"a conversation that sends":              alice.post(alice.row(sending).actor, 0, messages.EncryptMessage{}),
		"a commit in doubt":                      alice.post(alice.row(doubtful).actor, 0, messages.EncryptMessage{}),
		"a session":                              alice.post(session.actor, 0, seal),
		"a session, in a transaction":            alice.post(session.actor, step, seal),
		"a pre-shared key":                       alice.post(client.actor, 0, psk),
		"a pre-shared key, in a transaction":     alice.post(client.actor, step, psk),
		"the registrations":                      alice.post(client.pki, 0, anchor),
		"the registrations, in a transaction":    alice.post(client.pki, step, anchor),
		"the data, which another has read":       alice.post(client.actor, 0, messages.SetData{}),
		"the data, in a transaction, to be read": alice.post(client.actor, step, messages.ReadData{}),
	}
	<-arrived // of the commit in doubt
	blindly := make(chan error, 1)
	go func() { blindly <- alice.try(alice.in("", blind), messages.Finish{}) }()
	for alice.transaction(blind).steps.Load()&stepsClosed == 0 {
		runtime.Gosched()
	}
	for what, task := range waiting {
		if len(task.result) != 0 {
			t.Fatalf("%s: answered %v before the store fails", what, (<-task.result).err)
		}
	}

	f.fail()
	wantError(t, bob.try(bob.at(""), messages.SetData{}), messages.ErrOutcomeUnknown)

	for what, task := range waiting {
		if err := within(t, what, task.result).err; !errors.Is(err, messages.ErrStoreFailed) {
			t.Errorf("%s: answered %v", what, err)
		}
	}
	if err := within(t, "a transaction that waits to vote", blindly); !errors.Is(err, messages.ErrStoreFailed) {
		t.Errorf("a transaction that waits to vote: %v", err)
	}
	if err := within(t, "a commit that has left", sent); !errors.Is(err, messages.ErrStoreFailed) {
		t.Errorf("a commit that has left: %v", err)
	}
	// One that had been let in when the store failed.
	for what, task := range map[string]*task{
		"a conversation": alice.post(alice.row(conv).actor, 0, messages.EncryptMessage{}),
		"a session":      alice.post(session.actor, 0, seal),
		"the client":     alice.post(client.actor, 0, psk),
	} {
		if err := within(t, what, task.result).err; !errors.Is(err, messages.ErrStoreFailed) {
			t.Errorf("%s, later: answered %v", what, err)
		}
	}
}

// TestDeadStoreBeforeTheVote: a transaction that is asked for its vote when the store has
// failed does not wait for one that is never decided.
func TestDeadStoreBeforeTheVote(t *testing.T) {
	l := new(latch)
	var f *flaky
	w := newWorld(t, func(o *Options) {
		f = &flaky{store: o.Store, left: 1 << 30}
		o.apply = f.apply
		o.host = func() host {
			return &sendHost{newProtoHost(), func(to messages.ConversationID, sent letter) {
				if _, ok := sent.(prepare); ok && to == "" {
					l.pass()
				}
			}}
		}
	})
	alice := w.peer("alice")
	reader, blind := alice.begin(), alice.begin()
	ask[messages.DataRead](t, w.sys, alice.in("", reader), messages.ReadData{})
	ask[messages.DataSet](t, w.sys, alice.in("", blind), messages.SetData{Data: []byte("blind")})
	l.arm()
	finished := make(chan error, 1)
	go func() { finished <- alice.try(alice.in("", blind), messages.Finish{}) }()
	<-l.reached
	f.fail()
	wantError(t, alice.try(alice.at(""), messages.AddCredential{CipherSuite: 1}), messages.ErrOutcomeUnknown)
	close(l.open)
	if err := within(t, "the vote", finished); !errors.Is(err, messages.ErrStoreFailed) {
		t.Errorf("finished: %v", err)
	}
}

// TestDeadStoreNamesCommits: a transaction that the death of the store ends names the
// commits that have left, those with a verdict and those without.
func TestDeadStoreNamesCommits(t *testing.T) {
	for _, merged := range []bool{true, false} {
		var f *flaky
		w := newWorld(t, func(o *Options) {
			f = &flaky{store: o.Store, left: 1 << 30}
			o.apply = f.apply
		})
		alice, bob := w.peer("alice"), w.peer("bob")
		alice.create(conv)
		tx := alice.begin()
		arrived, updated := make(chan struct{}), make(chan error, 1)
		w.service.set(func(ctx context.Context, _ string, _ messages.CommitBundle) (messages.Verdict, error) {
			close(arrived)
			if !merged {
				<-ctx.Done()
			}
			return messages.Verdict{}, ctx.Err()
		})
		go func() { updated <- alice.update(alice.in(conv, tx)) }()
		<-arrived
		if merged {
			if err := <-updated; err != nil {
				t.Fatal(err)
			}
			ask[messages.ProposalCreated](t, w.sys, alice.in(conv, tx), messages.ProposeUpdate{})
			f.fail()
		}
		finished := make(chan error, 1)
		transaction := alice.transaction(tx)
		go func() { finished <- alice.try(alice.in("", tx), messages.Finish{}) }()
		if !merged {
			for transaction.steps.Load()&stepsClosed == 0 {
				runtime.Gosched()
			}
			f.fail()
			wantError(t, bob.try(bob.at(""), messages.SetData{}), messages.ErrOutcomeUnknown)
			wantError(t, <-updated, messages.ErrStoreFailed)
		}
		failed := wantErrorAs[*messages.TransactionFailed](t, within(t, "the end", finished))
		want := messages.FinalConversation{Conversation: conv, Merged: merged, Hash: w.service.lastSent().Hash}
		if failed != nil && !slices.Equal(failed.Final, []messages.FinalConversation{want}) {
			t.Errorf("merged %v: final %+v, want %+v", merged, failed.Final, want)
		}
	}
}

// TestDeadStoreEndsTransactions: a transaction that is ended after the store has failed
// names its commits all the same.
func TestDeadStoreEndsTransactions(t *testing.T) {
	for _, end := range []messages.Request{messages.Finish{}, messages.Abort{}} {
		for _, left := range []string{"nothing", "merged", "in doubt", "on its way"} {
			var f *flaky
			w := newWorld(t, func(o *Options) {
				f = &flaky{store: o.Store, left: 1 << 30}
				o.apply = f.apply
				o.RetryPause = maxResendPause
			})
			alice, bob := w.peer("alice"), w.peer("bob")
			alice.create(conv)
			tx := alice.begin()
			ask[messages.Touched](t, w.sys, alice.in("", tx), messages.Touch{Conversations: []messages.ConversationID{conv}})
			arrived, updated := make(chan struct{}), make(chan error, 1)
			w.service.set(func(ctx context.Context, _ string, _ messages.CommitBundle) (messages.Verdict, error) {
				close(arrived)
				switch left {
				case "in doubt":
					return messages.Verdict{}, errLost
				case "on its way":
					<-ctx.Done()
				}
				return messages.Verdict{}, nil
			})
			if left != "nothing" {
				go func() { updated <- alice.update(alice.in(conv, tx)) }()
				<-arrived
			}
			if left == "merged" || left == "in doubt" {
				<-updated
			}
			f.fail()
			wantError(t, bob.try(bob.at(""), messages.SetData{}), messages.ErrOutcomeUnknown)
			if left == "on its way" {
				wantError(t, <-updated, messages.ErrStoreFailed)
			}
			ended := make(chan error, 1)
			go func() { ended <- alice.try(alice.in("", tx), end) }()
			err := within(t, "the end", ended)
			wantError(t, err, messages.ErrStoreFailed)
			failed := wantErrorAs[*messages.TransactionFailed](t, err)
			var want []messages.FinalConversation
			if left != "nothing" {
				want = []messages.FinalConversation{{Conversation: conv, Merged: left == "merged", Hash: w.service.lastSent().Hash}}
			}
			if failed != nil && !slices.Equal(failed.Final, want) {
				t.Errorf("%T, %s: final %+v, want %+v", end, left, failed.Final, want)
			}
		}
	}
}
