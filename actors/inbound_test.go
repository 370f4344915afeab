package actors

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"reflect"
	"testing"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
)

func TestFutureMessagesAreKept(t *testing.T) {
	for _, reopened := range []bool{false, true} {
		w, alice, bob := pair(t)
		carol := w.peer("carol")
		alice.add(conv, carol)
		bob.sync(conv)
		if err := alice.update(alice.at(conv)); err != nil {
			t.Fatal(err)
		}
		commit := w.service.last(conv).Commit
		carol.sync(conv)
		text := alice.encrypt(alice.at(conv), "early")
		garbage := bytes.Clone(alice.encrypt(alice.at(conv), "broken"))
		garbage[len(garbage)-1] ^= 1
		proposal := ask[messages.ProposalCreated](t, w.sys, carol.at(conv), messages.ProposeUpdate{})
		for _, m := range [][]byte{proposal.Message, garbage, text} {
			got := bob.decrypt(bob.at(conv), m)
			if got.Outcome != messages.OutcomeBufferedFutureMessage || got.Epoch != 2 || got.MessageEpoch != 3 {
				t.Errorf("got %v of epoch %d in %d", got.Outcome, got.MessageEpoch, got.Epoch)
			}
			wantError(t, bob.try(bob.at(conv), messages.DecryptMessage{Message: m}), messages.ErrDuplicateMessage)
		}
		if reopened {
			w.reopen()
		}
		got := bob.decrypt(bob.at(conv), commit)
		if got.Outcome != messages.OutcomeCommit || len(got.Released) != 3 {
			t.Fatalf("got %v with %d released, want 3", got.Outcome, len(got.Released))
		}
		// Application messages first, then proposals; what fails, fails alone.
		failed, read := 0, 0
		for i, r := range got.Released {
			switch {
			case r.Err != nil:
				wantError(t, r.Err, messages.ErrInvalidMessage)
				failed++
			case r.Message.Outcome == messages.OutcomeText && string(r.Message.Plaintext) == "early":
				read++
			case r.Message.Outcome == messages.OutcomeProposal && i == 2:
				read++
			default:
				t.Errorf("released %d: %v", i, r.Message.Outcome)
			}
		}
		if failed != 1 || read != 2 {
			t.Errorf("%d failed, %d were read", failed, read)
		}
		wantError(t, bob.try(bob.at(conv), messages.DecryptMessage{Message: text}), messages.ErrDuplicateMessage)
		if n := len(bob.state(conv).PendingProposals); n != 1 {
			t.Errorf("%d proposals are pending, want 1", n)
		}
	}
}

func TestFarMessageIsRefused(t *testing.T) {
	w, alice, bob := pair(t)
	for range 2 {
		if err := alice.update(alice.at(conv)); err != nil {
			t.Fatal(err)
		}
	}
	wantError(t, bob.try(bob.at(conv), messages.DecryptMessage{Message: alice.encrypt(alice.at(conv), "far")}), messages.ErrWrongEpoch)
	wantError(t, bob.try(bob.at(conv), messages.DecryptMessage{Message: w.service.last(conv).Commit[:20]}), messages.ErrInvalidMessage)
	bob.sync(conv)
	agree(t, conv, alice, bob)
}

// TestReplay delivers everything of several epochs twice: nothing but errors that
// can be ignored.
func TestReplay(t *testing.T) {
	w, alice, bob := pair(t)
	var all [][]byte
	for i := range 6 {
		text := alice.encrypt(alice.at(conv), fmt.Sprint(i))
		p := ask[messages.ProposalCreated](t, w.sys, alice.at(conv), messages.ProposeUpdate{})
		bob.expectText(conv, text, fmt.Sprint(i))
		bob.decrypt(bob.at(conv), p.Message)
		wantError(t, bob.try(bob.at(conv), messages.DecryptMessage{Message: p.Message}), messages.ErrDuplicateMessage)
		ask[messages.CommitMerged](t, w.sys, bob.at(conv), messages.CommitPendingProposals{})
		bob.read[conv]++
		alice.sync(conv)
		all = append(all, text, p.Message, w.service.last(conv).Commit)
	}
	agree(t, conv, alice, bob)
	for i, m := range all {
		for _, p := range []*peer{alice, bob} {
			err := p.try(p.at(conv), messages.DecryptMessage{Message: m})
			if !messages.Ignorable(err) {
				t.Errorf("%s: message %d again: %v", p.name, i, err)
			}
		}
	}
	agree(t, conv, alice, bob)
}

func TestCommitBeforeItsProposals(t *testing.T) {
	for _, reopened := range []bool{false, true} {
		w, alice, bob := pair(t)
		carol := w.peer("carol")
		alice.add(conv, carol)
		bob.sync(conv)
		one := ask[messages.ProposalCreated](t, w.sys, carol.at(conv), messages.ProposeUpdate{})
		two := ask[messages.ProposalCreated](t, w.sys, alice.at(conv), messages.ProposeAdd{KeyPackage: w.peer("dave").keyPackage()})
		alice.decrypt(alice.at(conv), one.Message)
		ask[messages.CommitMerged](t, w.sys, alice.at(conv), messages.CommitPendingProposals{})
		commit := w.service.last(conv).Commit
		if got := bob.decrypt(bob.at(conv), commit); got.Outcome != messages.OutcomeBufferedCommit {
			t.Fatalf("got %v", got.Outcome)
		}
		if reopened {
			w.reopen()
		}
		if got := bob.decrypt(bob.at(conv), two.Message); got.Outcome != messages.OutcomeProposal || got.Released != nil || !got.HasCommitDelay {
			t.Errorf("the first proposal: %v, released %d", got.Outcome, len(got.Released))
		}
		got := bob.decrypt(bob.at(conv), one.Message)
		if len(got.Released) != 1 || got.Released[0].Message.Outcome != messages.OutcomeCommit {
			t.Fatalf("the second proposal released %d", len(got.Released))
		}
		agree(t, conv, alice, bob)
		if err := bob.try(bob.at(conv), messages.DecryptMessage{Message: commit}); !messages.Ignorable(err) {
			t.Errorf("the commit again: %v", err)
		}
	}
}

// TestBufferedCommitGoesWithItsEpoch: a commit that never finds its proposals makes
// no trouble later.
func TestBufferedCommitGoesWithItsEpoch(t *testing.T) {
	w, alice, bob := pair(t)
	carol := w.peer("carol")
	alice.add(conv, carol)
	bob.sync(conv)
	unseen := ask[messages.ProposalCreated](t, w.sys, carol.at(conv), messages.ProposeUpdate{})
	alice.decrypt(alice.at(conv), unseen.Message)
	w.service.set(refused)
	wantErrorAs[*messages.MessageRejected](t, alice.update(alice.at(conv)))
	lost := w.service.lastSent().Commit
	w.service.set(nil)
	if got := bob.decrypt(bob.at(conv), lost); got.Outcome != messages.OutcomeBufferedCommit {
		t.Fatalf("got %v", got.Outcome)
	}
	if err := carol.update(carol.at(conv)); err != nil {
		t.Fatal(err)
	}
	got := bob.decrypt(bob.at(conv), w.service.last(conv).Commit)
	if got.Outcome != messages.OutcomeCommit || len(got.Released) != 0 {
		t.Errorf("got %v with %d released", got.Outcome, len(got.Released))
	}
	alice.sync(conv)
	p := ask[messages.ProposalCreated](t, w.sys, alice.at(conv), messages.ProposeUpdate{})
	if got := bob.decrypt(bob.at(conv), p.Message); got.Outcome != messages.OutcomeProposal {
		t.Errorf("the next proposal: %v", got.Outcome)
	}
}

// TestKeepingIsBounded fills the buffer with more than it holds: the oldest gives way.
func TestKeepingIsBounded(t *testing.T) {
	w, alice, bob := pair(t)
	if err := alice.update(alice.at(conv)); err != nil {
		t.Fatal(err)
	}
	big := bytes.Repeat([]byte("x"), 1<<20)
	dropped := 0
	for i := range 6 {
		m := alice.encrypt(alice.at(conv), fmt.Sprint(i)+string(big))
		dropped += bob.decrypt(bob.at(conv), m).Dropped
	}
	if dropped < 2 {
		t.Errorf("%d messages gave way, want at least 2 of 6 MiB in 4", dropped)
	}
	got := bob.decrypt(bob.at(conv), w.service.last(conv).Commit)
	if len(got.Released) != 6-dropped {
		t.Fatalf("%d released, want %d", len(got.Released), 6-dropped)
	}
	for i, r := range got.Released {
		if r.Err != nil || r.Message.Plaintext[0] != byte('0'+dropped+i) {
			t.Errorf("released %d: %v", i, r.Err)
		}
	}
}

func TestOwnProposalsAreDiscarded(t *testing.T) {
	w, alice, bob := pair(t)
	p := ask[messages.ProposalCreated](t, w.sys, alice.at(conv), messages.ProposeUpdate{})
	wantError(t, alice.try(alice.at(conv), messages.EncryptMessage{}), messages.ErrPendingProposals)
	if err := bob.update(bob.at(conv)); err != nil {
		t.Fatal(err)
	}
	got := alice.decrypt(alice.at(conv), w.service.last(conv).Commit)
	if len(got.Discarded) != 1 || !bytes.Equal(got.Discarded[0], p.Ref) {
		t.Errorf("discarded %v, want %x", got.Discarded, p.Ref)
	}
	agree(t, conv, alice, bob)
	wantError(t, alice.try(alice.at(conv), messages.ClearPendingProposal{Ref: p.Ref}), messages.ErrPendingProposalNotFound)
}

func TestOrphanWelcome(t *testing.T) {
	w, alice, _ := pair(t)
	carol, dave := w.peer("carol"), w.peer("dave")
	ask[messages.CommitMerged](t, w.sys, alice.at(conv), messages.AddMembers{KeyPackages: [][]byte{carol.keyPackage()}})
	welcome := w.service.last(conv).Welcome
	wantError(t, dave.try(dave.at(""), messages.ProcessWelcome{Message: welcome}), messages.ErrOrphanWelcome)
	wantError(t, dave.try(dave.at(""), messages.ProcessWelcome{Message: welcome[:50]}), messages.ErrInvalidMessage)
	// A Welcome that comes to nothing leaves its key package.
	carol.create(conv)
	for range 2 {
		wantError(t, carol.try(carol.at(""), messages.ProcessWelcome{Message: welcome}), messages.ErrConversationAlreadyExists)
	}
	ask[messages.ConversationWiped](t, w.sys, carol.at(conv), messages.WipeConversation{})
	ask[messages.ConversationJoined](t, w.sys, carol.at(""), messages.ProcessWelcome{Message: welcome})
	agree(t, conv, alice, carol)
	ask[messages.ConversationWiped](t, w.sys, carol.at(conv), messages.WipeConversation{})
	wantError(t, carol.try(carol.at(""), messages.ProcessWelcome{Message: welcome}), messages.ErrOrphanWelcome)
}

func TestDelaySeconds(t *testing.T) {
	for i, want := range []uint64{15, 30, 60, 87, 109, 127, 143, 157, 170, 0, 15} {
		if got := delaySeconds(1, 10, uint64(i)); got != want {
			t.Errorf("epoch 1, 10 members, index %d: %d s, want %d", i, got, want)
		}
	}
	for _, tc := range []struct{ epoch, n, own, want uint64 }{
		{0, 1, 0, 0}, {0, 0, 0, 0}, {math.MaxUint64, math.MaxUint64, math.MaxUint64, 0},
		{49, 10000, 0, 363}, {99, 10000, 0, 446}, {999, 10000, 0, 722}, {9999, 10000, 0, 999}, {199, 10000, 0, 529},
	} {
		if got := delaySeconds(tc.epoch, tc.n, tc.own); got != tc.want {
			t.Errorf("epoch %d, %d members, index %d: %d s, want %d", tc.epoch, tc.n, tc.own, got, tc.want)
		}
	}
}

func TestCredentials(t *testing.T) {
	w, alice, bob := pair(t)
	list := func() []messages.CredentialEntry {
		return ask[messages.CredentialsListed](t, w.sys, alice.at(""), messages.ListCredentials{}).Credentials
	}
	first := list()[0]
	inUse := wantErrorAs[*messages.CredentialInUse](t, alice.try(alice.at(""), messages.RemoveCredential{Ref: first.Ref}))
	if inUse != nil && inUse.Conversation != conv {
		t.Errorf("in use by %q", inUse.Conversation)
	}
	wantError(t, alice.try(alice.at(""), messages.AddCredential{CipherSuite: 1, Credential: mlsgroup.BasicCredential([]byte("bob"))}), messages.ErrWrongCredential)
	wantError(t, alice.try(alice.at(conv), messages.SetCredential{Credential: messages.CredentialRef{1}}), messages.ErrCredentialNotFound)
	p256 := ask[messages.CredentialAdded](t, w.sys, alice.at(""), messages.AddCredential{CipherSuite: 2}).Credential
	wantError(t, alice.try(alice.at(conv), messages.SetCredential{Credential: p256.Ref}), messages.ErrWrongCredential)
	kp := ask[messages.KeyPackagesGenerated](t, w.sys, alice.at(""), messages.GenerateKeyPackages{CipherSuite: 2, Count: 3})
	if kp.KeyPackages[0].Credential != p256.Ref {
		t.Error("key packages of suite 2 were made with another credential")
	}
	wantError(t, alice.try(alice.at(""), messages.GenerateKeyPackages{CipherSuite: 5, Count: 1}), messages.ErrCredentialNotFound)
	ask[messages.CredentialRemoved](t, w.sys, alice.at(""), messages.RemoveCredential{Ref: p256.Ref})
	if n := ask[messages.KeyPackagesCounted](t, w.sys, alice.at(""), messages.CountKeyPackages{CipherSuite: 2}).Count; n != 0 {
		t.Errorf("%d key packages outlive their credential", n)
	}
	ask[messages.CredentialRemoved](t, w.sys, alice.at(""), messages.RemoveCredential{Ref: messages.CredentialRef{9}})
	if len(list()) != 1 {
		t.Errorf("%d credentials are left, want 1", len(list()))
	}
	// A conversation that is gone uses nothing.
	ask[messages.ConversationWiped](t, w.sys, alice.at(conv), messages.WipeConversation{})
	ask[messages.CredentialRemoved](t, w.sys, alice.at(""), messages.RemoveCredential{Ref: first.Ref})
	_ = bob
}

// TestRemovalWaitsForUse: a credential cannot be removed while a transaction is
// about to use it.
func TestRemovalWaitsForUse(t *testing.T) {
	w := newWorld(t)
	alice := w.peer("alice")
	ref := ask[messages.CredentialsListed](t, w.sys, alice.at(""), messages.ListCredentials{}).Credentials[0].Ref
	tx := alice.begin()
	ask[messages.ConversationCreated](t, w.sys, alice.in(conv, tx), messages.CreateConversation{Credential: ref})
	result := make(chan error, 1)
	go func() { result <- alice.try(alice.at(""), messages.RemoveCredential{Ref: ref}) }()
	alice.finish(tx)
	wantErrorAs[*messages.CredentialInUse](t, <-result)
}

func TestImportedKeyPackage(t *testing.T) {
	w, alice, _ := pair(t)
	carol := w.peer("carol")
	signer, err := mlsgroup.NewSigner(w.options.Rand, 1, mlsgroup.BasicCredential([]byte("carol")))
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := mlsgroup.NewKeyPackage(w.sys.input(signer), mlsgroup.KeyPackageOptions{Profile: mlsgroup.ProfileWire})
	if err != nil {
		t.Fatal(err)
	}
	r := messages.ImportKeyPackage{
		KeyPackage: bundle.KeyPackage.Marshal(), InitPrivate: bundle.InitPrivate, LeafPrivate: bundle.LeafPrivate, SignaturePrivate: signer.Private,
	}
	wrong := r
	wrong.InitPrivate = r.LeafPrivate
	wantError(t, carol.try(carol.at(""), wrong), messages.ErrInvalidArgument)
	wrong = r
	wrong.SignaturePrivate = r.LeafPrivate
	wantError(t, carol.try(carol.at(""), wrong), messages.ErrWrongCredential)
	ask[messages.KeyPackageImported](t, w.sys, carol.at(""), r)
	// Another of the same key, which comes without it and with another credential: neither is lost.
	before := ask[messages.CredentialsListed](t, w.sys, carol.at(""), messages.ListCredentials{}).Credentials
	signer.Credential = mlsgroup.BasicCredential([]byte("somebody"))
	bundle, err = mlsgroup.NewKeyPackage(w.sys.input(signer), mlsgroup.KeyPackageOptions{Profile: mlsgroup.ProfileWire})
	if err != nil {
		t.Fatal(err)
	}
	ask[messages.KeyPackageImported](t, w.sys, carol.at(""), messages.ImportKeyPackage{
		KeyPackage: bundle.KeyPackage.Marshal(), InitPrivate: bundle.InitPrivate, LeafPrivate: bundle.LeafPrivate,
	})
	if after := ask[messages.CredentialsListed](t, w.sys, carol.at(""), messages.ListCredentials{}).Credentials; !reflect.DeepEqual(after, before) {
		t.Errorf("credentials %+v, before %+v", after, before)
	}
	ask[messages.CommitMerged](t, w.sys, alice.at(conv), messages.AddMembers{KeyPackages: [][]byte{r.KeyPackage}})
	ask[messages.ConversationJoined](t, w.sys, carol.at(""), messages.ProcessWelcome{Message: w.service.last(conv).Welcome})
	w.reopen()
	agree(t, conv, alice, carol)
	alice.expectText(conv, carol.encrypt(carol.at(conv), "hello"), "hello")
}

func TestDataBlob(t *testing.T) {
	w := newWorld(t)
	alice := w.peer("alice")
	read := func(to messages.Address) string {
		return string(ask[messages.DataRead](t, w.sys, to, messages.ReadData{}).Data)
	}
	ask[messages.DataSet](t, w.sys, alice.at(""), messages.SetData{Data: []byte("one")})
	w.reopen()
	if got := read(alice.at("")); got != "one" {
		t.Errorf("data %q", got)
	}
	wantError(t, alice.try(alice.at(""), messages.SetData{Data: make([]byte, maxData+1)}), messages.ErrInvalidArgument)
	// Blind writers do not wait for each other.
	a, b := alice.begin(), alice.begin()
	ask[messages.DataSet](t, w.sys, alice.in("", a), messages.SetData{Data: []byte("a")})
	ask[messages.DataSet](t, w.sys, alice.in("", b), messages.SetData{Data: []byte("b")})
	alice.finish(b)
	alice.finish(a)
	if got := read(alice.at("")); got != "a" {
		t.Errorf("data %q, want what was decided last", got)
	}
	// Who has read it and writes is not overwritten unseen: counting is exact.
	done := make(chan error, 10)
	ask[messages.DataSet](t, w.sys, alice.at(""), messages.SetData{Data: []byte("0")})
	for range cap(done) {
		go func() { done <- count(w, alice) }()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := read(alice.at("")); got != fmt.Sprint(cap(done)) {
		t.Errorf("counted to %s, want %d", got, cap(done))
	}
}

// count adds one to the blob, in a transaction.
func count(w *world, p *peer) error {
	ctx := context.Background()
	begun, err := w.sys.Ask(ctx, p.at(""), messages.Begin{})
	if err != nil {
		return err
	}
	tx := begun.(messages.TransactionBegun).Transaction
	got, err := w.sys.Ask(ctx, p.in("", tx), messages.ReadData{})
	if err != nil {
		return err
	}
	var n int
	if _, err := fmt.Sscan(string(got.(messages.DataRead).Data), &n); err != nil {
		return err
	}
	if err := p.try(p.in("", tx), messages.SetData{Data: fmt.Append(nil, n+1)}); err != nil {
		return err
	}
	return p.try(p.in("", tx), messages.Finish{})
}

func TestConversationsAreListed(t *testing.T) {
	w := newWorld(t)
	alice := w.peer("alice")
	w.peer("bob")
	for i := range 5 {
		alice.create(messages.ConversationID(fmt.Sprint("c", i)))
	}
	ask[messages.ConversationWiped](t, w.sys, alice.at("c3"), messages.WipeConversation{})
	if got := ask[messages.ConversationsListed](t, w.sys, alice.at(""), messages.ListConversations{}).Conversations; len(got) != 4 {
		t.Errorf("listed %v, want 4", got)
	}
	clients := ask[messages.ClientsListed](t, w.sys, messages.Address{}, messages.ListClients{}).Clients
	if len(clients) != 2 || clients[0].ClientID != "alice" || clients[0].Instance != alice.instance || clients[1].ClientID != "bob" {
		t.Errorf("clients %v", clients)
	}
}
