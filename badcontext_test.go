package conclave_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
)

// TestCancelledBefore makes every kind of call with a context that has ended: nothing is done.
func TestCancelledBefore(t *testing.T) {
	w := newBadWorld(t)
	alice, dave := w.devices["alice"].Client, w.devices["dave"].Client
	ctx, cancel := context.WithCancel(t.Context())
	tx, err := alice.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	before := w.dump()
	for name, call := range map[string]func() error{
		"Client":      func() error { _, err := w.engine.Client(ctx, "new", conclave.ClientOptions{}); return err },
		"Clients":     func() error { _, err := w.engine.Clients(ctx); return err },
		"Begin":       func() error { _, err := alice.Begin(ctx); return err },
		"Transaction": func() error { return alice.Transaction(ctx, func(*conclave.Tx) error { return nil }) },
		"Touch":       func() error { return tx.Touch(ctx, "room") },
		"SetData":     func() error { return alice.SetData(ctx, []byte("x")) },
		"Create":      func() error { return alice.CreateConversation(ctx, "new", conclave.ConversationOptions{}) },
		"Encrypt":     func() error { _, err := alice.EncryptMessage(ctx, "room", nil); return err },
		"Decrypt": func() error {
			_, err := alice.DecryptMessage(ctx, "room", w.samples["application message"])
			return err
		},
		"Add":     func() error { _, err := alice.AddMembers(ctx, "room", w.samples["key package"]); return err },
		"Remove":  func() error { _, err := alice.RemoveMembers(ctx, "room", "bob"); return err },
		"Update":  func() error { _, err := alice.UpdateKeyMaterial(ctx, "room"); return err },
		"Propose": func() error { _, err := alice.ProposeUpdate(ctx, "room"); return err },
		"Wipe":    func() error { return alice.WipeConversation(ctx, "room") },
		"Welcome": func() error {
			_, err := dave.ProcessWelcome(ctx, w.samples["Welcome"], conclave.JoinOptions{})
			return err
		},
		"Join": func() error {
			_, err := dave.JoinByExternalCommit(ctx, w.samples["GroupInfo"], conclave.JoinOptions{})
			return err
		},
		"Generate": func() error {
			_, err := alice.GenerateKeyPackages(ctx, conclave.KeyPackageOptions{Count: 1})
			return err
		},
		"AddCredential": func() error {
			_, err := alice.AddCredential(ctx, conclave.NewCredential{CipherSuite: 1})
			return err
		},
		"PutPSK": func() error { return alice.PutPSK(ctx, []byte("id"), conclave.Secret{1}) },
	} {
		wantCodeOf(t, name, call(), conclave.CodeCanceled)
	}
	if _, err := tx.Finish(ctx); !errors.Is(err, conclave.CodeTransactionFailed) || !errors.Is(err, context.Canceled) {
		t.Errorf("finish: %v", err)
	}
	if _, err := tx.Abort(ctx); !errors.Is(err, conclave.CodeInvalidTransaction) {
		t.Errorf("a transaction whose finish was cancelled is still open: %v", err)
	}
	if after := w.dump(); !maps.Equal(before, after) {
		t.Errorf("cancelled calls have changed records: %s", differences(before, after))
	}
	if w.sends != 0 {
		t.Errorf("%d commits have left", w.sends)
	}
}

// TestCancelledWaiting gives up calls that wait for a conversation which a transaction holds, one of them another transaction.
func TestCancelledWaiting(t *testing.T) {
	w := newBadWorld(t)
	alice := w.devices["alice"].Client
	before := w.dump()
	tx, err := alice.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Touch(t.Context(), "room"); err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func(ctx context.Context) error{
		"Encrypt": func(ctx context.Context) error { _, err := alice.EncryptMessage(ctx, "room", nil); return err },
		"Decrypt": func(ctx context.Context) error {
			_, err := alice.DecryptMessage(ctx, "room", w.samples["application message"])
			return err
		},
		"Update": func(ctx context.Context) error { _, err := alice.UpdateKeyMaterial(ctx, "room"); return err },
		"Wipe":   func(ctx context.Context) error { return alice.WipeConversation(ctx, "room") },
		"Transaction": func(ctx context.Context) error {
			return alice.Transaction(ctx, func(tx *conclave.Tx) error {
				if err := tx.SetData(ctx, []byte("x")); err != nil {
					return err
				}
				return tx.Touch(ctx, "room")
			})
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		wantCodeOf(t, name, call(ctx), conclave.CodeCanceled)
		cancel()
	}
	if after := w.dump(); !maps.Equal(before, after) {
		t.Errorf("calls given up have changed records: %s", differences(before, after))
	}
	if _, err := tx.DecryptMessage(t.Context(), "room", w.samples["application message"]); err != nil {
		t.Errorf("the transaction that held it: %v", err)
	}
	if _, err := tx.Finish(t.Context()); err != nil {
		t.Errorf("the transaction that held it: %v", err)
	}
	w.settle()
	w.agree("room")
}

// TestCancelledFinish ends the context of a transaction between its last step and its end: nothing of it happens.
func TestCancelledFinish(t *testing.T) {
	w := newBadWorld(t)
	alice := w.devices["alice"].Client
	before := w.dump()
	ctx, cancel := context.WithCancel(t.Context())
	err := alice.Transaction(ctx, func(tx *conclave.Tx) error {
		if _, err := tx.DecryptMessage(ctx, "room", w.samples["application message"]); err != nil {
			return err
		}
		err := errors.Join(tx.SetData(ctx, []byte("x")), tx.CreateConversation(ctx, "new", conclave.ConversationOptions{}))
		cancel()
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if after := w.dump(); !maps.Equal(before, after) {
		t.Errorf("the transaction has changed records: %s", differences(before, after))
	}
	wantText(t, w.devices["alice"], "room", w.samples["application message"], "good")
}

// TestCancelledAnywhere ends contexts after times that grow from nothing, so that some call is caught in each of its phases. A call that answers that it
// was cancelled has done nothing; any other has done all.
func TestCancelledAnywhere(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	list := w.group("room", "alice", "bob")
	alice, bob := list[0], list[1]
	rounds := 200
	if testing.Short() {
		rounds = 50
	}
	cancelled, done := 0, 0
	for i := range rounds {
		sealed, err := bob.EncryptMessage(t.Context(), "room", fmt.Append(nil, i))
		if err != nil {
			t.Fatal(err)
		}
		data := fmt.Sprint("data ", i)
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*5*time.Microsecond)
		err = alice.Transaction(ctx, func(tx *conclave.Tx) error {
			if _, err := tx.DecryptMessage(ctx, "room", sealed); err != nil {
				return err
			}
			return tx.SetData(ctx, []byte(data))
		})
		cancel()
		got, dataErr := alice.Data(t.Context())
		if dataErr != nil {
			t.Fatal(dataErr)
		}
		happened := string(got) == data
		if happened != (err == nil) {
			t.Errorf("round %d: answered %v, and has happened: %t", i, err, happened)
		}
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("round %d: %v", i, err)
		}
		if happened {
			done++
			_, err := alice.DecryptMessage(t.Context(), "room", sealed)
			wantCode(t, err, conclave.CodeDuplicateMessage)
			continue
		}
		cancelled++
		ctx, cancel = context.WithTimeout(t.Context(), time.Duration(i)*2*time.Microsecond)
		single, err := alice.DecryptMessage(ctx, "room", sealed)
		cancel()
		if err == nil && string(single.Plaintext) == fmt.Sprint(i) {
			continue
		}
		wantCode(t, err, conclave.CodeCanceled)
		wantText(t, alice, "room", sealed, fmt.Sprint(i))
	}
	t.Logf("%d transactions cancelled, %d done", cancelled, done)
}

// TestCancelledDecryptAll ends a stream in the middle.
func TestCancelledDecryptAll(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	list := w.group("room", "alice", "bob")
	alice, bob := list[0], list[1]
	var stream []conclave.Incoming
	for range 40 {
		sealed, err := bob.EncryptMessage(t.Context(), "room", []byte("text"))
		if err != nil {
			t.Fatal(err)
		}
		stream = append(stream, conclave.Incoming{Conversation: "room", Message: sealed})
	}
	ctx, cancel := context.WithCancel(t.Context())
	read := make(map[int]bool)
	for got, err := range alice.DecryptAll(ctx, slices.Values(stream)) {
		if err == nil {
			read[got.Index] = true
		} else {
			wantCode(t, err, conclave.CodeCanceled)
		}
		if len(read) == 10 {
			cancel()
		}
	}
	cancel()
	for i, in := range stream {
		_, err := alice.DecryptMessage(t.Context(), "room", in.Message)
		if read[i] {
			wantCode(t, err, conclave.CodeDuplicateMessage)
		} else if err != nil {
			t.Errorf("message %d was not read and cannot be read: %v", i, err)
		}
	}
}
