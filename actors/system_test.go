package actors

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/messages"
)

func TestTwoClientsTalk(t *testing.T) {
	for name, h := range hosts {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(o *Options) { o.host = h })
			alice, bob, carol := w.peer("alice"), w.peer("bob"), w.peer("carol")
			alice.create(conv)
			alice.add(conv, bob)
			agree(t, conv, alice, bob)
			bob.expectText(conv, alice.encrypt(alice.at(conv), "hello"), "hello")
			alice.expectText(conv, bob.encrypt(bob.at(conv), "hello yourself"), "hello yourself")
			bob.add(conv, carol)
			alice.sync(conv)
			agree(t, conv, alice, bob, carol)
			carol.expectText(conv, alice.encrypt(alice.at(conv), "welcome"), "welcome")
			ask[messages.CommitMerged](t, w.sys, carol.at(conv), messages.UpdateKeyMaterial{})
			carol.read[conv]++
			alice.sync(conv)
			bob.sync(conv)
			agree(t, conv, alice, bob, carol)
			ask[messages.CommitMerged](t, w.sys, alice.at(conv), messages.RemoveMembers{ClientIDs: []messages.ClientID{"bob"}})
			carol.sync(conv)
			agree(t, conv, alice, carol)
			bob.sync(conv)
			if bob.state(conv).Exists {
				t.Error("bob was removed and still has the conversation")
			}
			members := ask[messages.MembersListed](t, w.sys, alice.at(conv), messages.ListMembers{}).Members
			if len(members) != 2 || members[0].ClientID != "alice" || members[1].ClientID != "carol" {
				t.Errorf("members are %v", members)
			}
		})
	}
}

func TestReopenBetweenSteps(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.peer("alice"), w.peer("bob")
	alice.create(conv)
	w.reopen()
	alice.add(conv, bob)
	w.reopen()
	agree(t, conv, alice, bob)
	for range 3 {
		m := alice.encrypt(alice.at(conv), "one")
		w.reopen()
		bob.expectText(conv, m, "one")
		w.reopen()
		wantError(t, bob.try(bob.at(conv), messages.DecryptMessage{Message: m}), messages.ErrDuplicateMessage)
	}
	ask[messages.CommitMerged](t, w.sys, bob.at(conv), messages.UpdateKeyMaterial{})
	w.reopen()
	alice.sync(conv)
	agree(t, conv, alice, bob)
}

func TestPassivation(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.IdleAfter = -1 })
	alice, bob := w.peer("alice"), w.peer("bob")
	alice.create(conv)
	alice.add(conv, bob)
	bob.expectText(conv, alice.encrypt(alice.at(conv), "before"), "before")
	for until := time.Now().Add(time.Minute); len(w.sys.conversations.all()) > 0; runtime.Gosched() {
		if time.Now().After(until) {
			t.Fatal("a conversation is in memory after a sweep")
		}
		w.sys.passivate(0) // its actor may hold it for a moment after it has answered
	}
	bob.expectText(conv, alice.encrypt(alice.at(conv), "after"), "after")
	// A transaction keeps its conversation in memory.
	tx := alice.begin()
	alice.encrypt(alice.in(conv, tx), "staged")
	w.sys.passivate(0)
	if n := len(w.sys.conversations.all()); n != 1 {
		t.Errorf("%d conversations are in memory beside a transaction, want 1", n)
	}
	alice.finish(tx)
}

func TestClosedAnswers(t *testing.T) {
	w := newWorld(t)
	alice := w.peer("alice")
	alice.create(conv)
	w.stop()
	wantError(t, alice.try(alice.at(conv), messages.EncryptMessage{Plaintext: []byte("late")}), messages.ErrClosed)
	if err := w.sys.Close(context.Background()); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

func TestUnknownAddresses(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.peer("alice"), w.peer("bob")
	wantError(t, alice.try(messages.Address{Instance: 12345}, messages.ListCredentials{}), messages.ErrClientNotFound)
	wantError(t, alice.try(alice.in(conv, 99), messages.WipeConversation{}), messages.ErrInvalidTransaction)
	tx := bob.begin()
	wantError(t, alice.try(alice.in(conv, tx), messages.WipeConversation{}), messages.ErrInvalidTransaction)
	wantError(t, bob.try(bob.in("", tx), messages.Begin{}), messages.ErrTransactionOpen)
	bob.finish(tx)
	wantError(t, bob.try(bob.in("", tx), messages.Finish{}), messages.ErrInvalidTransaction)
	wantError(t, alice.try(alice.at(conv), messages.SetData{}), messages.ErrInvalidArgument)
	wantError(t, alice.try(alice.at(""), messages.EncryptMessage{}), messages.ErrInvalidArgument)
	wantError(t, alice.try(messages.Address{}, messages.EncryptMessage{}), messages.ErrInvalidArgument)
	wantError(t, alice.try(alice.at(""), messages.Finish{}), messages.ErrInvalidTransaction)
}
