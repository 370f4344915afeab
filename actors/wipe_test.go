package actors

import (
	"bytes"
	"testing"

	"github.com/conclave-mls/conclave/messages"
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
		consumed := 0
		if finish {
			alice.finish(tx)
			consumed = len(m.consumed)
		} else {
			alice.abort(tx)
		}
		alice.state(conv) // the conversation has settled once it answers
		if wiped(m.written) != len(m.written) {
			t.Errorf("finish=%v: %d of %d values written are wiped", finish, wiped(m.written), len(m.written))
		}
		if wiped(m.consumed) != consumed {
			t.Errorf("finish=%v: %d of %d keys consumed are wiped, want %d", finish, wiped(m.consumed), len(m.consumed), consumed)
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
