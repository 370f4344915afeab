package conclave_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

// Past bugs of CoreCrypto in commits, groups and trees, as tests; docs/corecrypto.md lists them.

// TestPitfallG1TreesAgree lets a group live through random commits, external joins among them. All members share each epoch's secrets, and so its tree, and
// every one who joins has verified it. TestTreeGroup does the same for trees alone, TestSelfInterop for all suites.
func TestPitfallG1TreesAgree(t *testing.T) {
	for seed := range uint64(3) {
		random := mathrand.New(mathrand.NewPCG(seed, 1))
		names := make([]conclave.ClientID, 12)
		for i := range names {
			names[i] = conclave.ClientID(fmt.Sprintf("client-%02d", i))
		}
		w := newWorld(t, names...)
		w.group("room", names[:3]...)
		for step := range 40 {
			in := w.ds.Members("room")
			out := slices.DeleteFunc(slices.Clone(names), func(id conclave.ClientID) bool { return slices.Contains(in, id) })
			by := w.devices[in[random.IntN(len(in))]]
			var err error
			switch kind := random.IntN(5); {
			case kind == 0 && len(out) > 0:
				random.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
				out = out[:1+random.IntN(len(out))]
				for _, id := range out {
					w.publish(id)
				}
				err = by.Add(t.Context(), "room", out...)
			case kind == 1 && len(out) > 0:
				_, err = w.devices[out[0]].JoinByExternalCommit(t.Context(), w.ds.GroupInfo("room"), conclave.JoinOptions{})
			case kind == 2 && len(in) > 2:
				others := slices.DeleteFunc(in, func(id conclave.ClientID) bool { return id == by.ID() })
				_, err = by.RemoveMembers(t.Context(), "room", others[:1+random.IntN(len(others)-1)]...)
			default:
				_, err = by.UpdateKeyMaterial(t.Context(), "room")
			}
			if err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
			w.settle()
			if w.agree("room"); t.Failed() {
				t.Fatalf("seed %d, step %d", seed, step)
			}
		}
	}
}

// publish offers a key package of a device.
func (w *world) publish(id conclave.ClientID) {
	w.t.Helper()
	if err := w.devices[id].Publish(w.t.Context(), 1); err != nil {
		w.t.Fatal(err)
	}
}

// TestPitfallG2RetryEnds: a delivery service that asks for the same commit for ever is obeyed a few times; and a caller need not wait for that.
func TestPitfallG2RetryEnds(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	r.pause = 1
	r.reopen()
	r.verdict = func(context.Context, conclave.CommitBundle) (conclave.Verdict, error) {
		return conclave.Verdict{Kind: conclave.VerdictRetry}, nil
	}
	_, err := r.bob.UpdateKeyMaterial(t.Context(), "room")
	wantCode(t, err, conclave.CodeMessageRejected)
	if len(r.sent) < 2 || len(r.sent) > 100 {
		t.Errorf("sent %d times", len(r.sent))
	}
	if slices.ContainsFunc(r.sent, func(b conclave.CommitBundle) bool { return b.Hash != r.sent[0].Hash }) {
		t.Error("a repetition has other bytes")
	}

	r.pause = time.Hour
	r.reopen()
	ctx, cancel := context.WithCancel(t.Context())
	r.verdict = func(context.Context, conclave.CommitBundle) (conclave.Verdict, error) {
		cancel()
		return conclave.Verdict{Kind: conclave.VerdictRetry}, nil
	}
	_, err = r.bob.UpdateKeyMaterial(ctx, "room")
	wantCode(t, err, conclave.CodeCommitInDoubt)
}

// TestPitfallG3RejectedJoinIsForgotten: after an external join that was refused the client can be invited, can join, and can create.
func TestPitfallG3RejectedJoinIsForgotten(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	ctx := t.Context()
	if err := r.bob.WipeConversation(ctx, "room"); err != nil {
		t.Fatal(err)
	}
	join := func() error {
		_, err := r.bob.JoinByExternalCommit(ctx, r.ada.groupInfo().Marshal(), conclave.JoinOptions{})
		return err
	}
	r.verdict = refusedVerdict
	for range 2 {
		wantCode(t, join(), conclave.CodeMessageRejected)
		wantCode(t, r.bob.Transaction(ctx, func(*conclave.Tx) error { return join() }), conclave.CodeMessageRejected)
	}
	r.verdict = nil
	b := r.ada.commit(removeOf(bobsLeaf), addOf(r.bobsKeyPackage()))
	if _, err := r.bob.ProcessWelcome(ctx, b.Welcome, conclave.JoinOptions{}); err != nil {
		t.Fatalf("a Welcome: %v", err)
	}
	r.agree()
	if err := r.bob.WipeConversation(ctx, "room"); err != nil {
		t.Fatal(err)
	}
	r.verdict = refusedVerdict
	wantCode(t, join(), conclave.CodeMessageRejected)
	if err := r.bob.CreateConversation(ctx, "room", conclave.ConversationOptions{}); err != nil {
		t.Errorf("creating: %v", err)
	}
}

// TestPitfallG4RotationBetweenBasicCredentials: a rotation from one Basic credential to another of the same client signs with the key that is in the new
// leaf. By default it is refused; where all have chosen to allow it, others verify it.
func TestPitfallG4RotationBetweenBasicCredentials(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		r := &room{t: t, ada: newCoreMember(t, "ada"), tom: newCoreMember(t, "tom")}
		r.ada.profile, r.tom.profile = mlsgroup.ProfileWire, mlsgroup.ProfileWire
		r.start(conclave.ClientOptions{BasicKeyChange: allowed})
		second, err := r.bob.AddCredential(t.Context(), conclave.NewCredential{CipherSuite: 1})
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.bob.SetCredential(t.Context(), "room", second.Ref)
		if !allowed {
			wantCode(t, err, conclave.CodeInvalidArgument)
			r.update() // nothing is left of it
			r.agree()
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		r.ada.read(r.last().Commit)
		r.tom.read(r.last().Commit)
		r.agree()
		leaf, err := r.ada.g.Member(bobsLeaf)
		if err != nil || !bytes.Equal(leaf.SignatureKey, second.SignatureKey) {
			t.Errorf("bob's leaf has another key, %v", err)
		}
		m, err := r.bob.EncryptMessage(t.Context(), "room", []byte("by the new key"))
		if err != nil {
			t.Fatal(err)
		}
		r.tom.read(m)
	}
}

// TestPitfallG5RotationChecksCredential: a credential of another suite's scheme, or of another identity, gets into no leaf.
func TestPitfallG5RotationChecksCredential(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{BasicKeyChange: true})
	p256, err := r.bob.AddCredential(t.Context(), conclave.NewCredential{CipherSuite: 2})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.bob.SetCredential(t.Context(), "room", p256.Ref)
	wantCode(t, err, conclave.CodeWrongCredential)
	_, err = r.bob.AddCredential(t.Context(), conclave.NewCredential{CipherSuite: 1, Credential: mlsgroup.BasicCredential([]byte("ada"))})
	wantCode(t, err, conclave.CodeWrongCredential)
	r.update()
	r.agree()
}

// TestPitfallG6RemoveWins: an Update that comes after a Remove of the same leaf does not take its place.
func TestPitfallG6RemoveWins(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	for _, p := range [][]byte{r.fromBackend(0, removeOf(tomsLeaf)), r.tom.propose(nil, public)} {
		r.decrypt(p)
		r.ada.read(p)
	}
	if _, err := r.bob.CommitPendingProposals(t.Context(), "room"); err != nil {
		t.Fatal(err)
	}
	r.ada.read(r.last().Commit)
	r.agree()
	if leaf, err := r.ada.g.Member(tomsLeaf); err != nil || leaf != nil {
		t.Errorf("tom is still a member, %v", err)
	}
}

// TestPitfallG7OwnUpdateBesideOthers: a commit takes the Updates of others by reference, and its own path in the place of an own Update.
func TestPitfallG7OwnUpdateBesideOthers(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	key := func(i mlsgroup.LeafIndex) []byte {
		t.Helper()
		leaf, err := r.ada.g.Member(i)
		if err != nil || leaf == nil {
			t.Fatal(err)
		}
		return leaf.EncryptionKey
	}
	before := [][]byte{key(bobsLeaf), key(tomsLeaf)}
	foreign := r.tom.propose(nil, public)
	r.decrypt(foreign)
	r.ada.read(foreign)
	own, err := r.bob.Conversation("room").ProposeUpdate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.ada.read(own.Message)
	r.tom.read(own.Message)
	if _, err := r.bob.CommitPendingProposals(t.Context(), "room"); err != nil {
		t.Fatal(err)
	}
	r.ada.read(r.last().Commit)
	r.tom.read(r.last().Commit)
	r.agree()
	if bytes.Equal(before[0], key(bobsLeaf)) || bytes.Equal(before[1], key(tomsLeaf)) {
		t.Error("a key was not updated")
	}
}

// TestPitfallG8FailedWelcomeKeepsItsKeyPackage: a Welcome that fails can be processed when its obstacle is gone.
func TestPitfallG8FailedWelcomeKeepsItsKeyPackage(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	ctx := t.Context()
	kp := r.bobsKeyPackage()
	b := r.ada.commit(removeOf(bobsLeaf), addOf(kp))
	for range 2 {
		_, err := r.bob.ProcessWelcome(ctx, b.Welcome, conclave.JoinOptions{})
		wantCode(t, err, conclave.CodeConversationAlreadyExists)
	}
	if err := r.bob.WipeConversation(ctx, "room"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.bob.ProcessWelcome(ctx, b.Welcome, conclave.JoinOptions{}); err != nil {
		t.Fatal(err)
	}
	r.agree()
	if err := r.bob.WipeConversation(ctx, "room"); err != nil {
		t.Fatal(err)
	}
	_, err := r.bob.ProcessWelcome(ctx, b.Welcome, conclave.JoinOptions{})
	wantCode(t, err, conclave.CodeOrphanWelcome) // and it is used up by one that succeeds
}

// TestPitfallG9JoiningAnewWithAnotherKey: a client that joins again with a fresh key takes its old leaf out.
func TestPitfallG9JoiningAnewWithAnotherKey(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	second, err := r.bob.AddCredential(t.Context(), conclave.NewCredential{CipherSuite: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.bob.JoinByExternalCommit(t.Context(), r.ada.groupInfo().Marshal(), conclave.JoinOptions{Credential: second.Ref}); err != nil {
		t.Fatal(err)
	}
	r.ada.read(r.last().Commit)
	r.agree()
	if n := r.ada.g.MemberCount(); n != 3 {
		t.Errorf("%d members, want 3", n)
	}
	if leaf, err := r.ada.g.Member(bobsLeaf); err != nil || !bytes.Equal(leaf.SignatureKey, second.SignatureKey) {
		t.Errorf("bob's leaf is not the new one, %v", err)
	}
}

// TestPitfallG10SameClientTwice: one client may be in a group by two leaves with different keys. Both are listed, and removing the client removes both.
func TestPitfallG10SameClientTwice(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	ctx := t.Context()
	r.decrypt(r.ada.commit(addOf(newCoreMember(t, "tom").bundle.KeyPackage)).Commit)
	if ids, err := r.bob.ClientIDs(ctx, "room"); err != nil || !slices.Equal(ids, []conclave.ClientID{"ada", "bob", "tom", "tom"}) {
		t.Errorf("members %q, %v", ids, err)
	}
	if _, err := r.bob.RemoveMembers(ctx, "room", "tom"); err != nil {
		t.Fatal(err)
	}
	r.ada.read(r.last().Commit)
	r.agree()
	if ids, err := r.bob.ClientIDs(ctx, "room"); err != nil || !slices.Equal(ids, []conclave.ClientID{"ada", "bob"}) {
		t.Errorf("members %q, %v", ids, err)
	}
}

// TestPitfallG11EpochZeroIsNormal: a conversation that has had no commit exists, and goes on existing.
func TestPitfallG11EpochZeroIsNormal(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	ctx := t.Context()
	if err := r.bob.CreateConversation(ctx, "side", conclave.ConversationOptions{}); err != nil {
		t.Fatal(err)
	}
	r.reopen()
	if ok, err := r.bob.ConversationExists(ctx, "side"); err != nil || !ok {
		t.Errorf("exists %t, %v", ok, err)
	}
	if epoch, err := r.bob.ConversationEpoch(ctx, "side"); err != nil || epoch != 0 {
		t.Errorf("epoch %d, %v", epoch, err)
	}
	if _, err := r.bob.EncryptMessage(ctx, "side", []byte("to nobody")); err != nil {
		t.Error(err)
	}
}

// TestPitfallG12WelcomeGoesWithItsCommit: a Welcome is in the bundle of its commit and nowhere else; of a commit that was refused nothing comes again.
func TestPitfallG12WelcomeGoesWithItsCommit(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	ctx := t.Context()
	eve := newCoreMember(t, "eve")
	r.verdict = refusedVerdict
	_, err := r.bob.AddMembers(ctx, "room", eve.bundle.KeyPackage.Marshal())
	wantCode(t, err, conclave.CodeMessageRejected)
	refused := r.last()
	r.verdict = nil
	r.update()
	if r.last().Welcome != nil {
		t.Error("the next commit has a Welcome")
	}
	if ids, err := r.bob.ClientIDs(ctx, "room"); err != nil || len(ids) != 3 {
		t.Errorf("members %q, %v", ids, err)
	}
	if _, err := r.bob.AddMembers(ctx, "room", eve.bundle.KeyPackage.Marshal()); err != nil {
		t.Fatal(err)
	}
	b := r.last()
	if bytes.Equal(b.Welcome, refused.Welcome) || b.Welcome == nil || b.GroupInfo == nil {
		t.Error("the bundle is not whole, or not its own")
	}
	eve.join(b.Welcome)
	r.ada.read(b.Commit)
	r.agree()
	if !eve.g.EpochAuthenticator().Equal(r.ada.g.EpochAuthenticator()) {
		t.Error("eve joined something else")
	}
}

// TestPitfallG13Race lets all members commit at once, round after round. One wins, the others are told, follow it, and commit after it.
func TestPitfallG13Race(t *testing.T) {
	names := make([]conclave.ClientID, 20)
	for i := range names {
		names[i] = conclave.ClientID(fmt.Sprintf("client-%02d", i))
	}
	w := newWorld(t, names...)
	w.group("room", names...)
	for round := range 3 {
		var mu sync.Mutex
		won := 0
		var all sync.WaitGroup
		for _, d := range w.devices {
			all.Go(func() {
				_, err := d.UpdateKeyMaterial(t.Context(), "room")
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won++
				} else if rejected, ok := errors.AsType[*conclave.MessageRejected](err); !ok || rejected.Reason != enginetest.Refused {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		all.Wait()
		if won != 1 {
			t.Fatalf("round %d: %d commits won", round, won)
		}
		w.settle()
		w.agree("room")
	}
}

// TestPitfallG15AddsHaveNoPath: a commit of Adds alone changes no keys of its sender, in Wire's profile; UpdateKeyMaterial does.
func TestPitfallG15AddsHaveNoPath(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	hasPath := func() bool {
		t.Helper()
		m, err := mlsgroup.ParseMLSMessage(r.last().Commit)
		if err != nil || m.PublicMessage == nil {
			t.Fatalf("no public commit: %v", err)
		}
		return m.PublicMessage.Content.Commit.Path != nil
	}
	if _, err := r.bob.AddMembers(t.Context(), "room", newCoreMember(t, "eve").bundle.KeyPackage.Marshal()); err != nil {
		t.Fatal(err)
	}
	if hasPath() {
		t.Error("the commit of an Add has a path")
	}
	r.ada.read(r.last().Commit)
	if _, err := r.bob.UpdateKeyMaterial(t.Context(), "room"); err != nil {
		t.Fatal(err)
	}
	if !hasPath() {
		t.Error("the update has no path")
	}
	r.ada.read(r.last().Commit)
	r.agree()
}

// TestPitfallG16CertificatesNeedAnAuthority: without anybody to vouch for certificates, a group with such members is not joined, and they are not let in;
// the error says why.
func TestPitfallG16CertificatesNeedAnAuthority(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	ctx := t.Context()
	zoe := newCoreMember(t, "zoe")
	zoe.in.Signer = certifiedSigner(t, "zoe")
	zoe.in.Auth, r.ada.in.Auth = trusting{}, trusting{}
	zoe.bundle = zoe.keyPackage()
	says := func(what string, err error) {
		t.Helper()
		wantCode(t, err, conclave.CodeInvalidMessage)
		if err != nil && !strings.Contains(err.Error(), "credential") {
			t.Errorf("%s: the error does not say what is wrong: %v", what, err)
		}
	}
	_, err := r.bob.DecryptMessage(ctx, "room", r.ada.commit(addOf(zoe.bundle.KeyPackage)).Commit)
	says("an Add", err)
	if err := r.bob.WipeConversation(ctx, "room"); err != nil {
		t.Fatal(err)
	}
	_, err = r.bob.JoinByExternalCommit(ctx, r.ada.groupInfo().Marshal(), conclave.JoinOptions{})
	says("an external join", err)
	_, err = r.bob.ProcessWelcome(ctx, r.ada.commit(removeOf(bobsLeaf), addOf(r.bobsKeyPackage())).Welcome, conclave.JoinOptions{})
	says("a Welcome", err)
}

// trusting takes every credential.
type trusting struct{}

// ValidateCredential implements mlsgroup.AuthenticationService.
func (trusting) ValidateCredential(*mlsgroup.Credential, []byte) error { return nil }

// ValidSuccessor implements mlsgroup.AuthenticationService.
func (trusting) ValidSuccessor(*mlsgroup.Credential, *mlsgroup.Credential) error { return nil }

// certifiedSigner makes a signature key with a certificate that it has signed itself.
func certifiedSigner(t *testing.T, name string) *mlsgroup.Signer {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, pub, priv)
	if err != nil {
		t.Fatal(err)
	}
	return &mlsgroup.Signer{CipherSuite: 1, Credential: mlsgroup.X509Credential([][]byte{der}), Private: priv.Seed(), Public: pub}
}

// TestPitfallG17ExternalSenderFitsTheSuite: a key that the group's suite cannot verify with becomes no external sender.
func TestPitfallG17ExternalSenderFitsTheSuite(t *testing.T) {
	r := newRoom(t, conclave.ClientOptions{})
	p256, err := mlsgroup.NewSigner(rand.Reader, 2, mlsgroup.BasicCredential([]byte("wire-server")))
	if err != nil {
		t.Fatal(err)
	}
	sender := conclave.ExternalSender{SignatureKey: p256.Public, Credential: p256.Credential}
	err = r.bob.CreateConversation(t.Context(), "side", conclave.ConversationOptions{ExternalSenders: []conclave.ExternalSender{sender}})
	wantCode(t, err, conclave.CodeInvalidArgument)
	if ok, err := r.bob.ConversationExists(t.Context(), "side"); err != nil || ok {
		t.Errorf("exists %t, %v", ok, err)
	}
	sender.SignatureKey = r.backend.Public
	if err := r.bob.CreateConversation(t.Context(), "side", conclave.ConversationOptions{ExternalSenders: []conclave.ExternalSender{sender}}); err != nil {
		t.Errorf("a key that fits: %v", err)
	}
}
