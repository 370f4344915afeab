package conclave_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

func TestTransaction(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	ctx := t.Context()
	alice, bob := w.devices["alice"], w.devices["bob"]
	w.group("room", "alice", "bob")

	tx, err := alice.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if tx.Client() != alice.Client || tx.String() == "" {
		t.Errorf("transaction %v of another client", tx)
	}
	if err := tx.CreateConversation(ctx, "side", conclave.ConversationOptions{}); err != nil {
		t.Fatal(err)
	}
	if ok, err := tx.ConversationExists(ctx, "side"); err != nil || !ok {
		t.Errorf("the transaction sees its own conversation: %t, %v", ok, err)
	}
	if ok, err := alice.ConversationExists(ctx, "side"); err != nil || ok {
		t.Errorf("others see it before it is finished: %t, %v", ok, err)
	}
	room, err := tx.Conversation(ctx, "room")
	if err != nil {
		t.Fatal(err)
	}
	if room.ID() != "room" {
		t.Errorf("guard of %q", room.ID())
	}
	_, err = tx.Conversation(ctx, "nowhere")
	wantCode(t, err, conclave.CodeConversationNotFound)
	sealed, err := room.EncryptMessage(ctx, []byte("in a transaction"))
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.SetData(ctx, []byte("checkpoint")); err != nil {
		t.Fatal(err)
	}
	if final, err := tx.Finish(ctx); err != nil || len(final) != 0 {
		t.Fatalf("finish: %v, %v", final, err)
	}
	wantText(t, bob, "room", sealed, "in a transaction")
	if ok, err := alice.ConversationExists(ctx, "side"); err != nil || !ok {
		t.Errorf("after finish: %t, %v", ok, err)
	}
	if data, err := alice.Data(ctx); err != nil || string(data) != "checkpoint" {
		t.Errorf("data %q, %v", data, err)
	}
	_, err = tx.Finish(ctx)
	wantCode(t, err, conclave.CodeInvalidTransaction)
	_, err = tx.EncryptMessage(ctx, "room", nil)
	wantCode(t, err, conclave.CodeInvalidTransaction)

	// What an aborted transaction decrypted can be decrypted again; what it encrypted has used its generation.
	sealed, err = alice.EncryptMessage(ctx, "room", []byte("again"))
	if err != nil {
		t.Fatal(err)
	}
	errStop := errors.New("stop")
	var lost []byte
	err = bob.Transaction(ctx, func(tx *conclave.Tx) error {
		got, err := tx.DecryptMessage(ctx, "room", sealed)
		if err != nil || string(got.Plaintext) != "again" {
			t.Errorf("decrypted %q, %v", []byte(got.Plaintext), err)
		}
		if lost, err = tx.EncryptMessage(ctx, "room", []byte("never sent")); err != nil {
			t.Error(err)
		}
		return errStop
	})
	if !errors.Is(err, errStop) {
		t.Errorf("error %v, want the callback's", err)
	}
	wantText(t, bob, "room", sealed, "again")
	next, err := bob.EncryptMessage(ctx, "room", []byte("never sent"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(lost, next) {
		t.Error("the same ciphertext twice")
	}
	wantText(t, alice, "room", next, "never sent")
}

func TestData(t *testing.T) {
	w := newWorld(t, "alice")
	ctx := t.Context()
	alice := w.devices["alice"]
	if data, err := alice.Data(ctx); err != nil || data != nil {
		t.Errorf("data %q, %v before any was set", data, err)
	}
	if err := alice.SetData(ctx, []byte("one")); err != nil {
		t.Fatal(err)
	}
	tx, err := alice.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.SetData(ctx, []byte("two")); err != nil {
		t.Fatal(err)
	}
	if data, err := tx.Data(ctx); err != nil || string(data) != "two" {
		t.Errorf("inside: %q, %v", data, err)
	}
	if data, err := alice.Data(ctx); err != nil || string(data) != "one" {
		t.Errorf("outside: %q, %v", data, err)
	}
	if _, err := tx.Abort(ctx); err != nil {
		t.Fatal(err)
	}
	if data, err := alice.Data(ctx); err != nil || string(data) != "one" {
		t.Errorf("after the abort: %q, %v", data, err)
	}
	wantCode(t, alice.SetData(ctx, make([]byte, 16<<20+1)), conclave.CodeInvalidArgument)
}

// TestTransactionPanic aborts and lets the panic go on.
func TestTransactionPanic(t *testing.T) {
	w := newWorld(t, "alice")
	ctx := t.Context()
	alice := w.devices["alice"]
	func() {
		defer func() {
			if recover() != "ouch" {
				t.Error("the panic was swallowed")
			}
		}()
		_ = alice.Transaction(ctx, func(tx *conclave.Tx) error {
			if err := tx.CreateConversation(ctx, "room", conclave.ConversationOptions{}); err != nil {
				t.Error(err)
			}
			panic("ouch")
		})
	}()
	if ok, err := alice.ConversationExists(ctx, "room"); err != nil || ok {
		t.Errorf("exists %t, %v", ok, err)
	}
	if err := alice.CreateConversation(ctx, "room", conclave.ConversationOptions{}); err != nil {
		t.Errorf("its guard is still held: %v", err)
	}
}

// TestTransactionConflict makes two transactions want each other's conversations. One gives way, is run again, and both finish.
func TestTransactionConflict(t *testing.T) {
	w := newWorld(t, "alice")
	ctx := t.Context()
	alice := w.devices["alice"]
	w.group("one", "alice")
	w.group("two", "alice")
	both := make(chan struct{})
	var arrived sync.WaitGroup
	arrived.Add(2)
	go func() { arrived.Wait(); close(both) }()
	runs := make([]int, 2)
	var all sync.WaitGroup
	for i, order := range [][]conclave.ConversationID{{"one", "two"}, {"two", "one"}} {
		all.Go(func() {
			err := alice.Transaction(ctx, func(tx *conclave.Tx) error {
				runs[i]++
				if _, err := tx.EncryptMessage(ctx, order[0], []byte("first")); err != nil {
					return err
				}
				if runs[i] == 1 {
					arrived.Done()
				}
				<-both
				_, err := tx.EncryptMessage(ctx, order[1], []byte("second"))
				return err
			})
			if err != nil {
				t.Errorf("transaction %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if runs[0]+runs[1] != 3 {
		t.Errorf("the transactions ran %d and %d times, want one of them twice", runs[0], runs[1])
	}
}

// TestTransactionFinal names a commit that has left, whatever becomes of the transaction.
func TestTransactionFinal(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	ctx := t.Context()
	alice := w.group("room", "alice", "bob")[0]
	errStop := errors.New("stop")
	err := alice.Transaction(ctx, func(tx *conclave.Tx) error {
		if err := tx.SetData(ctx, []byte("dropped")); err != nil {
			return err
		}
		if _, err := tx.UpdateKeyMaterial(ctx, "room"); err != nil {
			return err
		}
		return errStop
	})
	wantCode(t, err, conclave.CodeTransactionFailed)
	if !errors.Is(err, errStop) {
		t.Errorf("error %v has lost its cause", err)
	}
	failed, ok := errors.AsType[*conclave.TransactionFailed](err)
	if !ok || len(failed.Final) != 1 || failed.Final[0].Conversation != "room" || !failed.Final[0].Merged || failed.Final[0].Epoch != 1 {
		t.Fatalf("final %+v", failed)
	}
	wantEpoch(t, alice, "room", 2)
	if data, err := alice.Data(ctx); err != nil || data != nil {
		t.Errorf("data %q, %v: the rest was not dropped", data, err)
	}
	w.settle()
	w.agree("room")
}

// TestTransportCallback reads, decrypts and is refused the rest from inside the transport.
func TestTransportCallback(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	ctx := t.Context()
	list := w.group("room", "alice", "bob")
	alice, bob := list[0], list[1]
	sealed, err := bob.EncryptMessage(ctx, "room", []byte("while you send"))
	if err != nil {
		t.Fatal(err)
	}
	called := false
	alice.Transport.Before = func(ctx context.Context, b conclave.CommitBundle) enginetest.Fault {
		called = true
		wantEpoch(t, alice, "room", 1)
		if got, err := alice.DecryptMessage(ctx, "room", sealed); err != nil || string(got.Plaintext) != "while you send" {
			t.Errorf("decrypted %q, %v", []byte(got.Plaintext), err)
		}
		_, err := alice.EncryptMessage(ctx, "room", []byte("no"))
		wantCode(t, err, conclave.CodeSending)
		_, err = alice.UpdateKeyMaterial(ctx, "room")
		wantCode(t, err, conclave.CodeSending)
		_, err = alice.Begin(ctx)
		wantCode(t, err, conclave.CodeTransactionOpen)
		return enginetest.FaultNone
	}
	if err := alice.Transaction(ctx, func(tx *conclave.Tx) error {
		_, err := tx.UpdateKeyMaterial(ctx, "room")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if !called {
		t.Error("the transport was not called")
	}
	_, err = alice.DecryptMessage(ctx, "room", sealed)
	wantCode(t, err, conclave.CodeDuplicateMessage)
	w.settle()
	w.agree("room")
}

// TestCommitConflict lets two members commit at once: the delivery service takes one, the other is told and goes on from the winner's epoch.
func TestCommitConflict(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	ctx := t.Context()
	list := w.group("room", "alice", "bob")
	if _, err := list[0].UpdateKeyMaterial(ctx, "room"); err != nil {
		t.Fatal(err)
	}
	_, err := list[1].UpdateKeyMaterial(ctx, "room")
	wantCode(t, err, conclave.CodeMessageRejected)
	if rejected, ok := errors.AsType[*conclave.MessageRejected](err); !ok || rejected.Reason != enginetest.Refused {
		t.Errorf("rejected %+v", rejected)
	}
	w.settle()
	w.agree("room")
	if _, err := list[1].UpdateKeyMaterial(ctx, "room"); err != nil {
		t.Errorf("after the winner's: %v", err)
	}
	w.settle()
	w.agree("room")
	if got := w.ds.Totals(); got.Conflicts != 1 {
		t.Errorf("%d conflicts, want 1", got.Conflicts)
	}
}
