package actors

import (
	"bytes"
	"context"
	"testing"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/store"
)

// staged returns what the transaction that holds a conversation has staged. Nothing
// else may be under way there.
func (p *peer) staged(id messages.ConversationID) *stage {
	p.t.Helper()
	e, ok := p.sys.conversations.load(entryKey{instance: p.instance, id: id})
	if !ok {
		p.t.Fatal("the conversation has no actor")
	}
	st := e.actor.(*protoRef).receiver.(*conversation).stage
	if st == nil {
		p.t.Fatal("nothing is staged")
	}
	return st
}

// material is the memory of what a stage would write and of the keys that it makes
// useless.
type material struct{ written, consumed [][]byte }

func (st *stage) material() (m material) {
	for op := range st.changes.All() {
		if op.Kind == store.OpPut && len(op.Value) > 0 {
			m.written = append(m.written, op.Value)
		}
	}
	for _, b := range st.consumed {
		if len(b) > 0 {
			m.consumed = append(m.consumed, b)
		}
	}
	return m
}

// wiped counts those that hold nothing but zeros.
func wiped(all [][]byte) (n int) {
	for _, b := range all {
		if bytes.Count(b, []byte{0}) == len(b) {
			n++
		}
	}
	return n
}

// keysOf returns memory of the keys of a conversation, as far as the core shows it: of
// each kind that has an end of its own. The engine must be still.
func (p *peer) keysOf(id messages.ConversationID) [][]byte {
	p.t.Helper()
	e, ok := p.sys.conversations.load(entryKey{instance: p.instance, id: id})
	if !ok {
		p.t.Fatal("the conversation has no actor")
	}
	s := e.actor.(*protoRef).receiver.(*conversation).state
	psk, err := s.group.ResumptionPSK(s.group.Epoch())
	if err != nil {
		p.t.Fatal(err)
	}
	keys := [][]byte{s.group.EpochAuthenticator(), psk}
	for _, signer := range []*mlsgroup.Signer{s.signer, s.adopted} {
		if signer != nil {
			keys = append(keys, signer.Private)
		}
	}
	for _, f := range s.inflight {
		for _, change := range f.own.After {
			if len(change.Value) > 0 {
				keys = append(keys, change.Value)
			}
		}
	}
	return keys
}

// TestKeysGoWithTheConversation drops conversations from memory, by making room and by
// closing, and looks at the memory that their keys were in. What is stored works on.
func TestKeysGoWithTheConversation(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.IdleAfter, o.StateBytes = -1, -1 })
	alice, bob := w.peer("alice"), w.peer("bob")
	alice.create(conv)
	alice.add(conv, bob)
	first, second := alice.encrypt(alice.at(conv), "first"), alice.encrypt(alice.at(conv), "second")
	bob.expectText(conv, second, "second") // and keeps the key of the first
	keys := append(alice.keysOf(conv), bob.keysOf(conv)...)
	if len(keys) != 6 || wiped(keys) != 0 {
		t.Fatalf("of %d keys %d are zero while they are in use", len(keys), wiped(keys))
	}
	w.emptyMemory()
	if wiped(keys) != len(keys) {
		t.Errorf("of %d keys %d are zero after passivation", len(keys), wiped(keys))
	}
	bob.expectText(conv, first, "first")
	alice.expectText(conv, bob.encrypt(bob.at(conv), "answer"), "answer")
	keys = append(alice.keysOf(conv), bob.keysOf(conv)...)
	if wiped(keys) != 0 {
		t.Fatalf("of %d keys %d are zero while they are in use", len(keys), wiped(keys))
	}
	if err := w.sys.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if wiped(keys) != len(keys) {
		t.Errorf("of %d keys %d are zero after Close", len(keys), wiped(keys))
	}
}

// TestStagedKeysAreWiped looks at the memory of a transaction's keys before and after
// its end: what it wrote is wiped either way, what it consumed only once the next
// state has taken the place of the one that needs it.
func TestStagedKeysAreWiped(t *testing.T) {
	for _, finish := range []bool{true, false} {
		w := newWorld(t)
		alice, bob := w.peer("alice"), w.peer("bob")
		alice.create(conv)
		alice.add(conv, bob)
		sealed := bob.encrypt(bob.at(conv), "to be read in a transaction")
		tx := alice.begin()
		alice.decrypt(alice.in(conv, tx), sealed)
		alice.encrypt(alice.in(conv, tx), "to be sent by it")
		m := alice.staged(conv).material()
		if len(m.written) == 0 || len(m.consumed) == 0 || wiped(m.written) != 0 || wiped(m.consumed) != 0 {
			t.Fatalf("of %d values written %d are zero before the end, of %d keys consumed %d",
				len(m.written), wiped(m.written), len(m.consumed), wiped(m.consumed))
		}
		if finish {
			alice.finish(tx)
		} else {
			alice.abort(tx)
		}
		alice.state(conv) // the conversation has settled once it answers
		if wiped(m.written) != len(m.written) {
			t.Errorf("finish=%v: %d of %d values written are wiped", finish, wiped(m.written), len(m.written))
		}
		// After an abort those go that the state which stays has never had.
		if n := wiped(m.consumed); n == 0 || (n == len(m.consumed)) != finish {
			t.Errorf("finish=%v: %d of %d keys consumed are wiped", finish, n, len(m.consumed))
		}
		if finish {
			if err := alice.try(alice.at(conv), messages.DecryptMessage{Message: sealed}); err == nil {
				t.Error("a message was read twice")
			}
		} else {
			alice.expectText(conv, sealed, "to be read in a transaction")
		}
	}
}
