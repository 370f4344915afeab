package conclave_test

import (
	"testing"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

// TestMarkAsChildOf: a parent is there after a restart and after joining anew, and goes with the conversation.
func TestMarkAsChildOf(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	ds := enginetest.NewDeliveryService()
	open := func() *enginetest.Device {
		e, err := conclave.Open(ctx, dir, conclave.Options{Key: testKey})
		if err != nil {
			t.Fatal(err)
		}
		d, err := enginetest.Open(ctx, e, ds, "alice", conclave.ClientOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	want := func(d *enginetest.Device, parent conclave.ConversationID) {
		t.Helper()
		if s, err := d.Conversation("child").State(ctx); err != nil || s.Parent != parent {
			t.Errorf("parent %q, %v; want %q", s.Parent, err, parent)
		}
	}
	d := open()
	for _, id := range []conclave.ConversationID{"parent", "child"} {
		if err := d.CreateConversation(ctx, id, conclave.ConversationOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, d.MarkConversationAsChildOf(ctx, "child", "nobody"), conclave.CodeParentGroupNotFound)
	wantCode(t, d.MarkConversationAsChildOf(ctx, "nobody", "parent"), conclave.CodeConversationNotFound)
	wantCode(t, d.MarkConversationAsChildOf(ctx, "child", "child"), conclave.CodeInvalidArgument)
	want(d, "")
	tx, err := d.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.MarkConversationAsChildOf(ctx, "child", "parent"); err != nil {
		t.Fatal(err)
	}
	want(d, "")
	if _, err := tx.Abort(ctx); err != nil {
		t.Fatal(err)
	}
	want(d, "")
	if err := d.MarkConversationAsChildOf(ctx, "child", "parent"); err != nil {
		t.Fatal(err)
	}
	want(d, "parent")
	if err := d.Engine().Close(); err != nil {
		t.Fatal(err)
	}

	d = open()
	defer func() { _ = d.Engine().Close() }()
	want(d, "parent")
	if _, err := d.UpdateKeyMaterial(ctx, "child"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.JoinByExternalCommit(ctx, ds.GroupInfo("child"), conclave.JoinOptions{}); err != nil {
		t.Fatal(err)
	}
	want(d, "parent")
	if err := d.WipeConversation(ctx, "child"); err != nil {
		t.Fatal(err)
	}
	want(d, "")
	if err := d.CreateConversation(ctx, "child", conclave.ConversationOptions{}); err != nil {
		t.Fatal(err)
	}
	want(d, "")
}
