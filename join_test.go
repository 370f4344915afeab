package conclave_test

import (
	"context"
	"errors"
	"testing"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

func TestJoinByExternalCommit(t *testing.T) {
	w := newWorld(t, "alice", "bob", "carol")
	ctx := t.Context()
	w.group("room", "alice", "bob")
	carol := w.devices["carol"]
	joined, err := carol.JoinByExternalCommit(ctx, w.ds.GroupInfo("room"), conclave.JoinOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if joined.Conversation != "room" || joined.Epoch != 2 {
		t.Errorf("joined %+v", joined)
	}
	w.settle()
	w.agree("room")

	// bob, who has lost nothing, joins anew over the group he has.
	if _, err := w.devices["bob"].JoinByExternalCommit(ctx, w.ds.GroupInfo("room"), conclave.JoinOptions{}); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.agree("room")
	if ids, err := carol.ClientIDs(ctx, "room"); err != nil || len(ids) != 3 {
		t.Errorf("members %q, %v; want 3", ids, err)
	}
	_, err = carol.JoinByExternalCommit(ctx, []byte{1, 2, 3}, conclave.JoinOptions{})
	wantCode(t, err, conclave.CodeInvalidMessage)
}

// TestJoinExistingConversation refuses a Welcome for a conversation the client is in.
func TestJoinExistingConversation(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	ctx := t.Context()
	w.group("room", "bob")
	alice := w.devices["alice"]
	if err := alice.CreateConversation(ctx, "room", conclave.ConversationOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := w.devices["bob"].Add(ctx, "room", "alice"); err != nil {
		t.Fatal(err)
	}
	events, err := alice.Receive(ctx)
	if err != nil || len(events) != 1 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	wantCode(t, events[0].Err, conclave.CodeConversationAlreadyExists)
	wantEpoch(t, alice, "room", 0)
}

func TestOrphanWelcome(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	ctx := t.Context()
	bob := w.devices["bob"]
	w.group("room", "alice")
	stored, err := bob.KeyPackages(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range stored {
		if err := bob.DeleteKeyPackages(ctx, k.Ref); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.devices["alice"].Add(ctx, "room", "bob"); err != nil {
		t.Fatal(err)
	}
	events, err := bob.Receive(ctx)
	if err != nil || len(events) != 1 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	wantCode(t, events[0].Err, conclave.CodeOrphanWelcome)
	if _, err := bob.JoinByExternalCommit(ctx, w.ds.GroupInfo("room"), conclave.JoinOptions{}); err != nil {
		t.Fatalf("the way out: %v", err)
	}
	w.settle()
	w.agree("room")
}

func TestDropInDoubt(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	ctx := t.Context()
	alice := w.group("room", "alice", "bob")[0]
	alice.Transport.Before = func(context.Context, conclave.CommitBundle) enginetest.Fault { return enginetest.FaultLoseRequest }
	_, err := alice.UpdateKeyMaterial(ctx, "room")
	wantCode(t, err, conclave.CodeCommitInDoubt)
	doubt, ok := errors.AsType[*conclave.CommitInDoubt](err)
	if !ok || doubt.Epoch != 1 || doubt.Conversation != "room" {
		t.Errorf("in doubt %+v", doubt)
	}
	wantEpoch(t, alice, "room", 1)
	_, err = alice.EncryptMessage(ctx, "room", []byte("not while in doubt"))
	wantCode(t, err, conclave.CodeCommitInDoubt)
	if n, err := alice.DropInDoubt(ctx, "room"); err != nil || n != 1 {
		t.Errorf("dropped %d, %v", n, err)
	}
	if n, err := alice.DropInDoubt(ctx, "room"); err != nil || n != 0 {
		t.Errorf("dropped %d more, %v", n, err)
	}
	alice.Transport.Before = nil
	if err := alice.Say(ctx, "room", []byte("free again")); err != nil {
		t.Fatal(err)
	}
	if got := w.settle()["bob"]; len(got) != 1 || got[0] != "free again" {
		t.Errorf("bob read %q", got)
	}
	w.agree("room")
}
