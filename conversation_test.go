package conclave_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/conclave-mls/conclave"
)

func TestCreateConversation(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	alice := w.open("alice", conclave.ClientOptions{CipherSuites: []conclave.CipherSuite{1, 2, 7}})
	if ok, err := alice.ConversationExists(ctx, "room"); err != nil || ok {
		t.Errorf("exists %t, %v before it is created", ok, err)
	}
	_, err := alice.ConversationEpoch(ctx, "room")
	wantCode(t, err, conclave.CodeConversationNotFound)
	if err := alice.CreateConversation(ctx, "room", conclave.ConversationOptions{CipherSuite: 2}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, alice.CreateConversation(ctx, "room", conclave.ConversationOptions{}), conclave.CodeConversationAlreadyExists)
	if ok, err := alice.ConversationExists(ctx, "room"); err != nil || !ok {
		t.Errorf("exists %t, %v after it was created", ok, err)
	}
	wantEpoch(t, alice, "room", 0)
	if suite, err := alice.ConversationCipherSuite(ctx, "room"); err != nil || suite != 2 {
		t.Errorf("suite %v, %v; want 2", suite, err)
	}
	if ids, err := alice.ClientIDs(ctx, "room"); err != nil || !slices.Equal(ids, []conclave.ClientID{"alice"}) {
		t.Errorf("members %q, %v", ids, err)
	}
	if all, err := alice.Conversations(ctx); err != nil || !slices.Equal(all, []conclave.ConversationID{"room"}) {
		t.Errorf("conversations %q, %v", all, err)
	}
}

func TestAddMembers(t *testing.T) {
	w := newWorld(t, "alice", "bob", "carol")
	ctx := t.Context()
	list := w.group("room", "alice", "bob", "carol")
	w.agree("room")
	for _, d := range list {
		wantEpoch(t, d, "room", 1)
		if ids, err := d.ClientIDs(ctx, "room"); err != nil || !slices.Equal(ids, []conclave.ClientID{"alice", "bob", "carol"}) {
			t.Errorf("%s sees members %q, %v", d.ID(), ids, err)
		}
	}
	sealed, err := list[0].EncryptMessage(ctx, "room", []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, list[1], "room", sealed, "hello")
	wantText(t, list[2], "room", sealed, "hello")
	_, err = list[1].DecryptMessage(ctx, "room", sealed)
	wantCode(t, err, conclave.CodeDuplicateMessage)
	_, err = list[0].DecryptMessage(ctx, "room", sealed)
	wantCode(t, err, conclave.CodeDuplicateMessage)
	got, err := list[2].DecryptMessage(ctx, "room", []byte("not a message"))
	wantCode(t, err, conclave.CodeInvalidMessage)
	if got.Outcome != 0 {
		t.Errorf("an error with outcome %v", got.Outcome)
	}
	_, err = list[0].AddMembers(ctx, "room")
	wantCode(t, err, conclave.CodeInvalidArgument)
}

func TestRemoveMembers(t *testing.T) {
	w := newWorld(t, "alice", "bob", "carol")
	ctx := t.Context()
	list := w.group("room", "alice", "bob", "carol")
	if _, err := list[0].RemoveMembers(ctx, "room", "bob"); err != nil {
		t.Fatal(err)
	}
	events, err := list[1].Receive(ctx)
	if err != nil || len(events) != 1 || events[0].Err != nil {
		t.Fatalf("bob received %+v, %v", events, err)
	}
	if e := events[0].Message; e.Outcome != conclave.OutcomeCommit || e.IsActive {
		t.Errorf("bob's removal came as %v, active %t", e.Outcome, e.IsActive)
	}
	if ok, err := list[1].ConversationExists(ctx, "room"); err != nil || ok {
		t.Errorf("the conversation exists %t, %v for the removed", ok, err)
	}
	w.settle()
	w.agree("room")
	if ids, err := list[2].ClientIDs(ctx, "room"); err != nil || !slices.Equal(ids, []conclave.ClientID{"alice", "carol"}) {
		t.Errorf("members %q, %v", ids, err)
	}
	_, err = list[0].RemoveMembers(ctx, "room", "bob")
	wantCode(t, err, conclave.CodeMemberNotFound)
}

func TestUpdateKeyMaterial(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	ctx := t.Context()
	list := w.group("room", "alice", "bob")
	merged, err := list[1].UpdateKeyMaterial(ctx, "room")
	if err != nil {
		t.Fatal(err)
	}
	if merged.Epoch != 2 || !merged.Sent {
		t.Errorf("merged %+v, want epoch 2", merged)
	}
	w.settle()
	w.agree("room")
	wantEpoch(t, list[0], "room", 2)
}

func TestSetCredential(t *testing.T) {
	w := newWorld(t, "alice")
	ctx := t.Context()
	alice := w.devices["alice"]
	for id, profile := range map[conclave.ConversationID]conclave.Profile{"room": conclave.ProfileRFC9420, "wire": conclave.ProfileWire} {
		if err := alice.CreateConversation(ctx, id, conclave.ConversationOptions{Profile: profile}); err != nil {
			t.Fatal(err)
		}
	}
	second, err := alice.AddCredential(ctx, conclave.NewCredential{CipherSuite: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alice.SetCredential(ctx, "room", second.Ref); err != nil {
		t.Fatal(err)
	}
	state, err := alice.Conversation("room").State(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(state.SignatureKey, second.SignatureKey) || state.Epoch != 1 {
		t.Errorf("epoch %d with the old key", state.Epoch)
	}
	// SECURITY.md says why Wire's profile refuses a new key for a Basic credential.
	_, err = alice.SetCredential(ctx, "wire", second.Ref)
	wantCode(t, err, conclave.CodeInvalidArgument)
	wantEpoch(t, alice, "wire", 0)
	_, err = alice.SetCredential(ctx, "room", conclave.CredentialRef{1})
	wantCode(t, err, conclave.CodeCredentialNotFound)
}

// TestBasicKeyChange lets a member with a Basic credential change its key in Wire's profile, where all have chosen to allow that.
func TestBasicKeyChange(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	for _, name := range []conclave.ClientID{"alice", "bob"} {
		w.open(name, conclave.ClientOptions{BasicKeyChange: true})
	}
	w.open("carol", conclave.ClientOptions{})
	alice := w.group("room", "alice", "bob", "carol")[0]
	second, err := alice.AddCredential(ctx, conclave.NewCredential{CipherSuite: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alice.SetCredential(ctx, "room", second.Ref); err != nil {
		t.Fatal(err)
	}
	if events, err := w.devices["bob"].Receive(ctx); err != nil || len(events) != 1 || events[0].Err != nil {
		t.Errorf("bob received %+v, %v", events, err)
	}
	wantEpoch(t, w.devices["bob"], "room", 2)
	events, err := w.devices["carol"].Receive(ctx)
	if err != nil || len(events) != 1 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	wantCode(t, events[0].Err, conclave.CodeInvalidMessage)
	wantEpoch(t, w.devices["carol"], "room", 1)
}

func TestProposals(t *testing.T) {
	w := newWorld(t, "alice", "bob", "carol")
	ctx := t.Context()
	list := w.group("room", "alice", "bob")
	alice, bob := list[0], list[1]
	keyPackages, err := w.ds.Claim("carol")
	if err != nil {
		t.Fatal(err)
	}
	add, err := alice.ProposeAdd(ctx, "room", keyPackages[0])
	if err != nil {
		t.Fatal(err)
	}
	remove, err := alice.ProposeRemove(ctx, "room", "bob")
	if err != nil {
		t.Fatal(err)
	}
	_, err = alice.ProposeRemove(ctx, "room", "nobody")
	wantCode(t, err, conclave.CodeMemberNotFound)
	_, err = alice.EncryptMessage(ctx, "room", []byte("not now"))
	wantCode(t, err, conclave.CodePendingProposals)

	if err := alice.ClearPendingProposal(ctx, "room", remove.Ref); err != nil {
		t.Fatal(err)
	}
	wantCode(t, alice.ClearPendingProposal(ctx, "room", remove.Ref), conclave.CodePendingProposalNotFound)

	w.ds.Send("alice", "room", add.Message)
	events, err := bob.Receive(ctx)
	if err != nil || len(events) != 1 || events[0].Err != nil {
		t.Fatalf("bob received %+v, %v", events, err)
	}
	if m := events[0].Message; m.Outcome != conclave.OutcomeProposal || !slices.Equal(m.Proposal, add.Ref) || m.Sender.ClientID != "alice" {
		t.Errorf("bob received %v of %q", m.Outcome, m.Sender.ClientID)
	}
	update, err := bob.ProposeUpdate(ctx, "room")
	if err != nil {
		t.Fatal(err)
	}
	w.ds.Send("bob", "room", update.Message)
	w.settle()
	merged, err := alice.CommitPendingProposals(ctx, "room")
	if err != nil {
		t.Fatal(err)
	}
	if merged.Epoch != 2 || !merged.Sent {
		t.Errorf("merged %+v", merged)
	}
	w.settle()
	w.agree("room")
	if ids, err := w.devices["carol"].ClientIDs(ctx, "room"); err != nil || len(ids) != 3 {
		t.Errorf("carol sees %q, %v", ids, err)
	}
	merged, err = alice.CommitPendingProposals(ctx, "room")
	if err != nil || merged.Sent {
		t.Errorf("nothing pending: %+v, %v", merged, err)
	}
	wantEpoch(t, alice, "room", 2)
}

func TestExportSecretKey(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	ctx := t.Context()
	list := w.group("room", "alice", "bob")
	first, err := list[0].ExportSecretKey(ctx, "room", 48)
	if err != nil {
		t.Fatal(err)
	}
	second, err := list[1].ExportSecretKey(ctx, "room", 48)
	if err != nil {
		t.Fatal(err)
	}
	if len(first) != 48 || !first.Equal(second) {
		t.Error("two members export different keys")
	}
	other, err := list[0].Conversation("room").ExportSecret(ctx, "label", []byte("context"), 48)
	if err != nil {
		t.Fatal(err)
	}
	if other.Equal(first) {
		t.Error("another label exports the same key")
	}
	if _, err := list[0].UpdateKeyMaterial(ctx, "room"); err != nil {
		t.Fatal(err)
	}
	if next, err := list[0].ExportSecretKey(ctx, "room", 48); err != nil || next.Equal(first) {
		t.Errorf("the next epoch exports the same key, %v", err)
	}
	for _, length := range []int{-1, 255*32 + 1, 1 << 16} {
		_, err = list[0].ExportSecretKey(ctx, "room", length)
		wantCode(t, err, conclave.CodeInvalidArgument)
	}
}

func TestWipe(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	ctx := t.Context()
	list := w.group("room", "alice", "bob")
	if err := list[1].Conversation("room").Wipe(ctx); err != nil {
		t.Fatal(err)
	}
	if ok, err := list[1].ConversationExists(ctx, "room"); err != nil || ok {
		t.Errorf("exists %t, %v", ok, err)
	}
	wantCode(t, list[1].WipeConversation(ctx, "room"), conclave.CodeConversationNotFound)
	if ids, err := list[0].ClientIDs(ctx, "room"); err != nil || len(ids) != 2 {
		t.Errorf("alice sees %q, %v", ids, err)
	}
}

func TestTransportNotProvided(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	c, err := w.engine.Client(ctx, "alice", conclave.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.CreateConversation(ctx, "room", conclave.ConversationOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = c.UpdateKeyMaterial(ctx, "room")
	wantCode(t, err, conclave.CodeTransportNotProvided)
	if epoch, err := c.ConversationEpoch(ctx, "room"); err != nil || epoch != 0 {
		t.Errorf("epoch %d, %v", epoch, err)
	}
	if errors.Is(err, conclave.CodeOther) {
		t.Error("an error of no kind")
	}
}
