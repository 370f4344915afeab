package actors

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/messages"
)

// proteusPeer opens a client that speaks Proteus.
func (w *world) proteusPeer(name string) *peer {
	w.t.Helper()
	p := w.peer(name)
	ask[messages.ProteusReady](w.t, w.sys, p.at(""), messages.InitProteus{})
	return p
}

// meet begins a session of p with another, which answers.
func (p *peer) meet(session messages.SessionID, other *peer, back messages.SessionID) {
	p.t.Helper()
	made := ask[messages.PreKeyCreated](p.t, p.sys, other.at(""), messages.CreatePreKey{Auto: true})
	ask[messages.SessionBegun](p.t, p.sys, p.at(""), messages.BeginSession{Session: session, Bundle: made.Bundle})
	other.opens(back, p.seal(p.at(""), session, "first"), "first")
	p.opens(session, other.seal(other.at(""), back, "answer"), "answer")
}

func (p *peer) seal(to messages.Address, session messages.SessionID, text string) []byte {
	p.t.Helper()
	r := messages.EncryptProteus{Sessions: []messages.SessionID{session}, Plaintext: []byte(text)}
	return ask[messages.ProteusEncrypted](p.t, p.sys, to, r).Envelopes[session]
}

func (p *peer) opens(session messages.SessionID, envelope []byte, want string) {
	p.t.Helper()
	r := messages.DecryptProteus{Session: session, Message: envelope, Reach: messages.ReachBoth}
	if got := ask[messages.ProteusDecrypted](p.t, p.sys, p.at(""), r).Plaintext; string(got) != want {
		p.t.Errorf("%s read %q in session %s, want %q", p.name, []byte(got), session, want)
	}
}

// TestStateBytesHoldSessions uses many sessions under a bound and waits for the memory
// of those that are left. All of them go on.
func TestStateBytesHoldSessions(t *testing.T) {
	const limit = 20 * restBytes
	w := newWorld(t, func(o *Options) { o.IdleAfter, o.StateBytes = -1, limit })
	alice, bob := w.proteusPeer("alice"), w.proteusPeer("bob")
	name := func(i int) messages.SessionID { return messages.SessionID(fmt.Sprint(i)) }
	for i := range 60 {
		alice.meet(name(i), bob, name(i))
	}
	for round := range 2 {
		for i := range 60 {
			bob.opens(name(i), alice.seal(alice.at(""), name(i), fmt.Sprint(round)), fmt.Sprint(round))
		}
	}
	for until := time.Now().Add(time.Minute); w.sys.resident.Load() > limit; runtime.Gosched() {
		if time.Now().After(until) {
			t.Fatalf("%d bytes are in memory, want at most %d", w.sys.resident.Load(), limit)
		}
	}
	if w.sys.resident.Load() == 0 {
		t.Error("sessions weigh nothing")
	}
	w.emptyMemory()
}

// TestSessionReadWaitsForNobody reads a session that a transaction holds: others see
// what is committed.
func TestSessionReadWaitsForNobody(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.proteusPeer("alice"), w.proteusPeer("bob")
	alice.meet("bob", bob, "alice")
	tx := alice.begin()
	ask[messages.SessionDeleted](t, w.sys, alice.in("", tx), messages.DeleteSession{Session: "bob"})
	exists := func(to messages.Address) bool {
		t.Helper()
		return ask[messages.SessionRead](t, w.sys, to, messages.ReadSession{Session: "bob"}).Exists
	}
	if exists(alice.in("", tx)) || !exists(alice.at("")) {
		t.Error("a deletion is not seen in its transaction, or is seen outside of it")
	}
	alice.finish(tx)
	if exists(alice.at("")) {
		t.Error("the session exists after the transaction")
	}
}

// TestSessionWaits has single calls wait for a transaction: one gives up, one goes on.
func TestSessionWaits(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.proteusPeer("alice"), w.proteusPeer("bob")
	alice.meet("bob", bob, "alice")
	tx := alice.begin()
	alice.seal(alice.in("", tx), "bob", "held")
	type answer struct {
		reply messages.Reply
		err   error
	}
	call := func(ctx context.Context) <-chan answer {
		answered := make(chan answer, 1)
		go func() {
			reply, err := w.sys.Ask(ctx, alice.at(""), messages.EncryptProteus{Sessions: []messages.SessionID{"bob"}, Plaintext: []byte("single")})
			answered <- answer{reply, err}
		}()
		return answered
	}
	ctx, cancel := context.WithCancel(t.Context())
	first, second := call(ctx), call(t.Context())
	cancel()
	wantError(t, (<-first).err, context.Canceled)
	alice.finish(tx)
	made := <-second
	if made.err != nil {
		t.Fatal(made.err)
	}
	bob.opens("alice", made.reply.(messages.ProteusEncrypted).Envelopes["bob"], "single")
}

// TestSessionPanic costs a call its answer, and a transaction its end; the session goes
// on from what is stored.
func TestSessionPanic(t *testing.T) {
	random := new(brittle)
	w := newWorld(t, func(o *Options) { o.Rand = random })
	alice, bob := w.proteusPeer("alice"), w.proteusPeer("bob")
	alice.meet("bob", bob, "alice")
	// An answer brings a new ratchet key, for which alice draws one.
	bob.opens("alice", alice.seal(alice.at(""), "bob", "text"), "text")
	envelope := bob.seal(bob.at(""), "alice", "answer")
	decrypt := messages.DecryptProteus{Session: "bob", Message: envelope, Reach: messages.ReachExisting}

	random.breaks.Store(true)
	wantError(t, alice.try(alice.at(""), decrypt), messages.ErrInternal)
	tx := alice.begin()
	random.breaks.Store(true)
	wantError(t, alice.try(alice.in("", tx), decrypt), messages.ErrInternal)
	wantError(t, alice.try(alice.in("", tx), messages.Finish{}), messages.ErrTransactionFailed)
	alice.opens("bob", envelope, "answer")
	bob.opens("alice", alice.seal(alice.at(""), "bob", "on"), "on")
}
