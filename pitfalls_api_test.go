package conclave_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/conclave-mls/conclave"
)

// Past bugs of CoreCrypto at the surface of its API, as tests; docs/corecrypto.md lists them.

// TestPitfallA1ObserverFromTheStart: an observer is there before anything can happen, since it comes with the client.
func TestPitfallA1ObserverFromTheStart(t *testing.T) {
	events := make(chan uint64, 8)
	r := newRoom(t, conclave.ClientOptions{Observer: conclave.Observer{EpochChanged: func(e conclave.EpochChanged) { events <- e.Epoch }}})
	r.update()
	r.reopen() // all events are told
	if got := drain(events); !slices.Equal(got, []uint64{1, 2}) {
		t.Errorf("events of epochs %v, want those of joining and of the first commit", got)
	}
}

// TestPitfallA2SecondObserver: opening a client again replaces its observer; no event goes to both, or to none.
func TestPitfallA2SecondObserver(t *testing.T) {
	first, second := make(chan uint64, 8), make(chan uint64, 8)
	r := newRoom(t, conclave.ClientOptions{Observer: conclave.Observer{EpochChanged: func(e conclave.EpochChanged) { first <- e.Epoch }}})
	if got := <-first; got != 1 {
		t.Errorf("event of epoch %d", got)
	}
	if _, err := r.engine.Client(t.Context(), "bob", conclave.ClientOptions{
		Transport: r, Observer: conclave.Observer{EpochChanged: func(e conclave.EpochChanged) { second <- e.Epoch }},
	}); err != nil {
		t.Fatal(err)
	}
	r.update()
	r.options.Observer = conclave.Observer{}
	r.reopen()
	if a, b := drain(first), drain(second); len(a) != 0 || !slices.Equal(b, []uint64{2}) {
		t.Errorf("the first was told of %v, the second of %v", a, b)
	}
}

// TestPitfallA3ObserverMayBlockAndCall: an observer may call the engine, for the same conversation too, and while it does not return only later events wait.
func TestPitfallA3ObserverMayBlockAndCall(t *testing.T) {
	var bob *conclave.Client
	called, goOn := make(chan error, 8), make(chan struct{})
	r := newRoom(t, conclave.ClientOptions{Observer: conclave.Observer{EpochChanged: func(e conclave.EpochChanged) {
		if e.Epoch < 2 {
			return
		}
		_, err := bob.EncryptMessage(context.Background(), "room", []byte("from the observer"))
		called <- err
		<-goOn
	}}})
	bob = r.bob
	r.update()
	if err := <-called; err != nil {
		t.Error(err)
	}
	r.update() // it still blocks
	textOf("meanwhile")(t, r.decrypt(r.ada.say("meanwhile")))
	close(goOn)
	if err := <-called; err != nil {
		t.Error(err)
	}
}

// TestPitfallA4TransactionInObserver: a transaction that an observer begins waits its turn like any other.
func TestPitfallA4TransactionInObserver(t *testing.T) {
	var bob *conclave.Client
	ended, release := make(chan error, 1), make(chan struct{})
	r := newRoom(t, conclave.ClientOptions{Observer: conclave.Observer{EpochChanged: func(e conclave.EpochChanged) {
		if e.Epoch != 2 {
			return
		}
		<-release // until another transaction holds the conversation
		ended <- bob.Transaction(context.Background(), func(tx *conclave.Tx) error {
			_, err := tx.EncryptMessage(context.Background(), "room", []byte("from the observer"))
			return err
		})
	}}})
	bob = r.bob
	r.update()
	if err := bob.Transaction(t.Context(), func(tx *conclave.Tx) error {
		if _, err := tx.Conversation(t.Context(), "room"); err != nil {
			return err
		}
		close(release)
		_, err := tx.EncryptMessage(t.Context(), "room", []byte("first"))
		if len(ended) != 0 {
			t.Error("it did not wait")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestPitfallA5EndedTransaction: every call of a transaction that has ended says so.
func TestPitfallA5EndedTransaction(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	ctx := t.Context()
	for how, end := range map[string]func(tx *conclave.Tx) error{
		"finished": func(tx *conclave.Tx) error { _, err := tx.Finish(ctx); return err },
		"aborted":  func(tx *conclave.Tx) error { _, err := tx.Abort(ctx); return err },
	} {
		tx, err := r.bob.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		guard, err := tx.Conversation(ctx, "room")
		if err != nil {
			t.Fatal(err)
		}
		if err := end(tx); err != nil {
			t.Fatal(err)
		}
		calls := map[string]error{}
		_, calls["Finish"] = tx.Finish(ctx)
		_, calls["Abort"] = tx.Abort(ctx)
		_, calls["EncryptMessage"] = guard.EncryptMessage(ctx, []byte("x"))
		_, calls["DecryptMessage"] = guard.DecryptMessage(ctx, r.ada.say("x"))
		_, calls["UpdateKeyMaterial"] = tx.UpdateKeyMaterial(ctx, "room")
		_, calls["GenerateKeyPackages"] = tx.GenerateKeyPackages(ctx, conclave.KeyPackageOptions{Count: 1})
		_, calls["AddCredential"] = tx.AddCredential(ctx, conclave.NewCredential{CipherSuite: 1})
		_, calls["Data"] = tx.Data(ctx)
		_, calls["Epoch"] = guard.Epoch(ctx)
		calls["SetData"] = tx.SetData(ctx, []byte("x"))
		calls["CreateConversation"] = tx.CreateConversation(ctx, "side", conclave.ConversationOptions{})
		for name, err := range calls {
			if !errors.Is(err, conclave.CodeInvalidTransaction) {
				t.Errorf("%s, of a transaction that was %s: %v", name, how, err)
			}
		}
	}
}

// TestPitfallA6ClientOpenedTwice: opening a client that is open is no error, and both are the same client; the transport of the last one counts.
func TestPitfallA6ClientOpenedTwice(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	again, err := r.engine.Client(t.Context(), "bob", conclave.ClientOptions{})
	if err != nil || again.Created() {
		t.Fatalf("created %t, %v", again.Created(), err)
	}
	if epoch, err := again.ConversationEpoch(t.Context(), "room"); err != nil || epoch != 1 {
		t.Errorf("epoch %d, %v", epoch, err)
	}
	_, err = r.bob.UpdateKeyMaterial(t.Context(), "room")
	wantCode(t, err, conclave.CodeTransportNotProvided)
}

// TestPitfallA7NoTransport: calls that have to send say that there is no transport, before they have changed anything.
func TestPitfallA7NoTransport(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	ctx := t.Context()
	c, err := r.engine.Client(ctx, "bob", conclave.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.decrypt(r.ada.propose(removeOf(tomsLeaf), public))
	calls := map[string]func() error{
		"AddMembers": func() error {
			_, err := c.AddMembers(ctx, "room", newCoreMember(t, "eve").bundle.KeyPackage.Marshal())
			return err
		},
		"RemoveMembers":          func() error { _, err := c.RemoveMembers(ctx, "room", "tom"); return err },
		"UpdateKeyMaterial":      func() error { _, err := c.UpdateKeyMaterial(ctx, "room"); return err },
		"CommitPendingProposals": func() error { _, err := c.CommitPendingProposals(ctx, "room"); return err },
		"JoinByExternalCommit": func() error {
			_, err := c.JoinByExternalCommit(ctx, r.ada.groupInfo().Marshal(), conclave.JoinOptions{})
			return err
		},
	}
	before := r.dump()
	for name, call := range calls {
		if err := call(); !errors.Is(err, conclave.CodeTransportNotProvided) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := r.dump(); !maps.Equal(before, after) {
		t.Errorf("they have left a trace: %s", differences(before, after))
	}
}

// TestPitfallA8ReasonIsTold: what the delivery service says about a commit it refuses is told as it is.
func TestPitfallA8ReasonIsTold(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	const reason = "mls-missing-group-info: ünïcode and \"quotes\""
	r.verdict = func(context.Context, conclave.CommitBundle) (conclave.Verdict, error) {
		return conclave.Verdict{Kind: conclave.VerdictRefused, Reason: reason}, nil
	}
	for _, call := range []func() error{
		func() error { _, err := r.bob.UpdateKeyMaterial(t.Context(), "room"); return err },
		func() error {
			return r.bob.Transaction(t.Context(), func(tx *conclave.Tx) error { _, err := tx.UpdateKeyMaterial(t.Context(), "room"); return err })
		},
	} {
		if rejected, ok := errors.AsType[*conclave.MessageRejected](call()); !ok || rejected.Reason != reason {
			t.Errorf("rejected %+v", rejected)
		}
	}
}

// TestPitfallA9EmptyInputs: nothing to add, nobody to remove, no key packages and no key are answered with what is wrong.
func TestPitfallA9EmptyInputs(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	ctx := t.Context()
	_, err := r.bob.AddMembers(ctx, "room")
	wantCode(t, err, conclave.CodeInvalidArgument)
	_, err = r.bob.AddMembers(ctx, "room", nil)
	wantCode(t, err, conclave.CodeInvalidMessage)
	_, err = r.bob.RemoveMembers(ctx, "room")
	wantCode(t, err, conclave.CodeMemberNotFound)
	_, err = r.bob.RemoveMembers(ctx, "room", "nobody")
	wantCode(t, err, conclave.CodeMemberNotFound)
	_, err = r.bob.DecryptMessage(ctx, "room", nil)
	wantCode(t, err, conclave.CodeInvalidMessage)
	_, err = r.bob.ProcessWelcome(ctx, nil, conclave.JoinOptions{})
	wantCode(t, err, conclave.CodeInvalidMessage)
	_, err = r.bob.JoinByExternalCommit(ctx, nil, conclave.JoinOptions{})
	wantCode(t, err, conclave.CodeInvalidMessage)
	if merged, err := r.bob.CommitPendingProposals(ctx, "room"); err != nil || merged.Sent {
		t.Errorf("nothing pending: sent %t, %v", merged.Sent, err)
	}
	if len(r.sent) != 0 {
		t.Errorf("%d commits were sent", len(r.sent))
	}
}

// TestPitfallA10IDsAreBytes: ids of clients and conversations may be any bytes.
func TestPitfallA10IDsAreBytes(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	ctx := t.Context()
	const odd = conclave.ClientID("\xff\x00\xfe odd")
	const side = conclave.ConversationID("\x80\x00\xff")
	eve := newCoreMember(t, string(odd))
	if err := r.bob.CreateConversation(ctx, side, conclave.ConversationOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.bob.AddMembers(ctx, side, eve.bundle.KeyPackage.Marshal()); err != nil {
		t.Fatal(err)
	}
	eve.join(r.last().Welcome)
	r.reopen()
	got, err := r.bob.DecryptMessage(ctx, side, eve.say("hello"))
	if err != nil || got.Sender.ClientID != odd {
		t.Errorf("from %q, %v", got.Sender.ClientID, err)
	}
	if ids, err := r.bob.ClientIDs(ctx, side); err != nil || !slices.Equal(ids, []conclave.ClientID{"bob", odd}) {
		t.Errorf("members %q, %v", ids, err)
	}
	if all, err := r.bob.Conversations(ctx); err != nil || !slices.Contains(all, side) {
		t.Errorf("conversations %q, %v", all, err)
	}
	if _, err := r.bob.RemoveMembers(ctx, side, odd); err != nil {
		t.Error(err)
	}
	if c, err := r.engine.Client(ctx, odd, conclave.ClientOptions{}); err != nil || c.ID() != odd {
		t.Errorf("a client of that id: %v", err)
	}
}
