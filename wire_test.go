package conclave_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// TestCiphertextPolicy: under Wire's ciphertext policy proposals and commits are private both ways, one that changes the signature key among them, also
// after a restart.
func TestCiphertextPolicy(t *testing.T) {
	r := &room{t: t, ada: newCoreMember(t, "ada"), tom: newCoreMember(t, "tom"), policy: conclave.WirePolicyCiphertext}
	for _, m := range []*coreMember{r.ada, r.tom} {
		m.profile, m.private = mlsgroup.ProfileWire, true
	}
	r.start(conclave.ClientOptions{BasicKeyChange: true})
	ctx := t.Context()
	isPrivate := func(message []byte) {
		t.Helper()
		if m, err := mlsgroup.ParseMLSMessage(message); err != nil || m.PrivateMessage == nil || len(m.PrivateMessage.Ciphertext)%128 != 0 {
			t.Errorf("not a padded private message: %v", err)
		}
	}
	r.update()
	isPrivate(r.last().Commit)
	r.reopen()
	p, err := r.bob.Conversation("room").ProposeUpdate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	isPrivate(p.Message)
	r.ada.read(p.Message)
	r.tom.read(p.Message)

	next := newSigner(t, "ada")
	b := r.ada.commitAs(mlsgroup.CommitOptions{Leaf: &mlsgroup.LeafChange{Signer: next}})
	isPrivate(b.Commit)
	r.ada.in.Signer = next
	r.decrypt(b.Commit)
	r.tom.read(b.Commit)
	r.agree()
	textOf("by the new key")(t, r.decrypt(r.ada.say("by the new key")))

	second, err := r.bob.AddCredential(ctx, conclave.NewCredential{CipherSuite: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.bob.SetCredential(ctx, "room", second.Ref); err != nil {
		t.Fatal(err)
	}
	isPrivate(r.last().Commit)
	r.ada.read(r.last().Commit)
	r.tom.read(r.last().Commit)
	r.agree()
	err = r.bob.CreateConversation(ctx, "side", conclave.ConversationOptions{WirePolicy: 7})
	wantCode(t, err, conclave.CodeInvalidArgument)

	// A conversation that the client creates or joins from outside keeps to it as well.
	if err := r.bob.CreateConversation(ctx, "side", conclave.ConversationOptions{WirePolicy: conclave.WirePolicyCiphertext}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.bob.UpdateKeyMaterial(ctx, "side"); err != nil {
		t.Fatal(err)
	}
	isPrivate(r.last().Commit)
	if _, err := r.bob.JoinByExternalCommit(ctx, r.ada.groupInfo().Marshal(), conclave.JoinOptions{WirePolicy: conclave.WirePolicyCiphertext}); err != nil {
		t.Fatal(err)
	}
	r.ada.read(r.last().Commit)
	r.tom.read(r.last().Commit)
	r.update()
	isPrivate(r.last().Commit)
	r.agree()
}

// TestWireKeyPackage: a key package is as Wire's clients make theirs.
func TestWireKeyPackage(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	kp := r.bobsKeyPackage()
	leaf := kp.LeafNode
	c := leaf.Capabilities
	if kp.Version != mlsgroup.ProtocolVersionMLS10 || leaf.Source != mlsgroup.LeafNodeSourceKeyPackage || bytes.Equal(kp.InitKey, leaf.EncryptionKey) {
		t.Errorf("version %d, source %d, or one key twice", kp.Version, leaf.Source)
	}
	if !slices.Equal(c.Versions, []mlsgroup.ProtocolVersion{1}) || !slices.Equal(c.CipherSuites, []mlsgroup.CipherSuite{1, 2, 3, 7, 5}) ||
		!slices.Equal(c.Credentials, []mlsgroup.CredentialType{1, 2}) || len(c.Extensions)+len(c.Proposals) != 0 {
		t.Errorf("capabilities %+v", c)
	}
	if len(kp.Extensions)+len(leaf.Extensions) != 0 {
		t.Errorf("extensions %v, %v", kp.Extensions, leaf.Extensions)
	}
	if got := time.Duration(leaf.Lifetime.NotAfter-leaf.Lifetime.NotBefore) * time.Second; got != 84*24*time.Hour+time.Hour {
		t.Errorf("lifetime %v, margin included", got)
	}
}

// TestExtension000A: what the RFC calls last_resort_key_package means something else to Wire's clients. It is never sent to them, and of others it is taken
// as bytes that say nothing.
func TestExtension000A(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	_, err := r.bob.GenerateKeyPackages(t.Context(), conclave.KeyPackageOptions{Count: 1, LastResort: true})
	wantCode(t, err, conclave.CodeInvalidArgument)
	eve := newCoreMember(t, "eve")
	b, err := mlsgroup.NewKeyPackage(eve.in, mlsgroup.KeyPackageOptions{Profile: mlsgroup.ProfileRFC, LastResort: true})
	eve.must(err)
	if _, err := r.bob.AddMembers(t.Context(), "room", b.KeyPackage.Marshal()); err != nil {
		t.Fatal(err)
	}
	r.ada.read(r.last().Commit)
	r.agree()
	zoe := newCoreMember(t, "zoe")
	b, err = mlsgroup.NewKeyPackage(zoe.in, mlsgroup.KeyPackageOptions{
		Profile:      mlsgroup.ProfileRFC,
		Capabilities: &mlsgroup.Capabilities{Versions: []mlsgroup.ProtocolVersion{1}, CipherSuites: []mlsgroup.CipherSuite{1}, Credentials: []mlsgroup.CredentialType{1, 2}, Extensions: []mlsgroup.ExtensionType{0x000A}},
		Extensions:   mlsgroup.Extensions{{Type: 0x000A, Body: []byte("per-domain trust anchors")}},
	})
	zoe.must(err)
	r.decrypt(r.ada.commit(addOf(b.KeyPackage)).Commit)
	r.agree()
}
