package mlsgroup

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/conclave-mls/conclave/internal/secret"
)

// The three steps that open a message, apart from each other and in another
// order than they came.
func TestOpenInThreeSteps(t *testing.T) {
	w := newWorld(t, 1, ProfileRFC, 400)
	w.add(w.members[0], 2, CommitOptions{})
	c, reader := w.members[0], w.members[1]
	var keys []*MessageKey
	for i := range 5 {
		message := w.encrypt(c, fmt.Sprint(i))
		var key *MessageKey
		_, err := reader.holder.stepKeeping(func(g *Group) (*Transition, error) {
			sm, err := g.OpenSenderData(message)
			if err != nil {
				return nil, err
			}
			if sm.Sender() != c.g.OwnLeaf() || sm.Epoch() != g.Epoch() {
				t.Errorf("sender %d, epoch %d", sm.Sender(), sm.Epoch())
			}
			var tr *Transition
			key, tr, err = g.TakeMessageKey(sm)
			return tr, err
		})
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	again := make([]MessageKey, len(keys))
	for i, key := range keys {
		again[i] = *key
		again[i].m = unopened(key.m)
	}
	bad := again[1]
	bad.m = unopened(bad.m)
	bad.leaf = reader.testLeaf()
	bad.signer = bad.s.VerificationKey(bad.leaf.SignatureKey)
	all, errs := OpenAll(append(keys, &bad), goDo)
	for i := range keys {
		if errs[i] != nil || string(all[i].Application) != fmt.Sprint(i) {
			t.Errorf("message %d of a batch: got %v, %v", i, all[i], errs[i])
		}
	}
	if err := errs[len(keys)]; !errors.Is(err, CheckMessageSignature) || all[len(keys)] != nil {
		t.Errorf("a message of another signer: %v", err)
	}
	for i := len(keys) - 1; i >= 0; i-- {
		r, err := again[i].Open()
		if err != nil || string(r.Application) != fmt.Sprint(i) {
			t.Errorf("message %d: got %v, %v", i, r, err)
		}
	}
}

// testLeaf is a leaf with the client's own signature key.
func (c *client) testLeaf() *LeafNode {
	return &LeafNode{SignatureKey: c.signer.Public, Credential: c.signer.Credential}
}

// stepKeeping is step, but nothing is wiped.
func (h *holder) stepKeeping(f func(g *Group) (*Transition, error)) (*Transition, error) {
	return h.step(func(g *Group) (*Transition, error) {
		tr, err := f(g)
		if tr != nil {
			tr.Consumed = nil
		}
		return tr, err
	})
}

// Generations that were handed out in a step that is dropped are never used
// again once they are burnt.
func TestReserveAndBurn(t *testing.T) {
	for _, cold := range []bool{false, true} {
		w := newWorld(t, 1, ProfileRFC, 410)
		w.add(w.members[0], 2, CommitOptions{})
		c := w.members[0]
		c.cold = cold
		w.say(c, "first")
		c.store.apply(c.g.Reserve(8, 2))
		first, err := c.holder.clone().stepKeeping(func(g *Group) (*Transition, error) { return g.Encrypt(c.in(), []byte("dropped"), nil) })
		if err != nil {
			t.Fatal(err)
		}
		application, handshake, err := ParseReserve(c.store.m[string(ReserveKey(c.g.Epoch()))])
		if err != nil || application != 8 || handshake != 2 {
			t.Fatalf("reserved %d and %d: %v", application, handshake, err)
		}
		if _, err := c.step(func(g *Group) (*Transition, error) { return g.Burn(application, handshake) }); err != nil {
			t.Fatal(err)
		}
		err = c.try(func(g *Group) error {
			a, h, err := g.Generations()
			if err == nil && (a != 8 || h != 2) {
				t.Errorf("next generations %d and %d", a, h)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		second, err := c.step(func(g *Group) (*Transition, error) { return g.Encrypt(c.in(), []byte("kept"), nil) })
		if err != nil {
			t.Fatal(err)
		}
		if first.Outbound.Generation >= 8 || second.Outbound.Generation != 8 {
			t.Errorf("generations %d and %d", first.Outbound.Generation, second.Outbound.Generation)
		}
		for _, r := range w.deliver(c, second.Outbound.Message) {
			if string(r.Application) != "kept" {
				t.Errorf("got %q", r.Application)
			}
		}
		for _, r := range w.deliver(c, first.Outbound.Message) {
			if string(r.Application) != "dropped" {
				t.Errorf("got %q", r.Application)
			}
		}
	}
}

func (h *holder) clone() *holder { return &holder{g: h.g, store: h.store.clone(), cold: h.cold} }

// A commit brings the first message of its epoch along: whoever follows it, or is added by it, reads the message once, and the sender goes on behind it, also
// after a restart between the two.
func TestCommitWithMessage(t *testing.T) {
	for _, p := range []Profile{ProfileRFC, ProfileWire} {
		for n := range 6 {
			w := newWorld(t, 1, p, uint64(900+n)) // every second sender is cold
			if n > 0 {
				w.add(w.members[0], n, CommitOptions{})
			}
			c, joiner := w.members[n], w.newClient()
			b := joiner.keyPackage(p)
			own := w.commitOf(c, CommitOptions{
				Proposals: []Proposal{{Type: ProposalTypeAdd, Add: &Add{KeyPackage: b.KeyPackage}}}, Message: []byte("first"),
			})
			again, err := ParseOwnCommit(own.Marshal())
			w.must(err)
			if !bytes.Equal(again.Marshal(), own.Marshal()) || !bytes.Equal(again.Bundle.Message, own.Bundle.Message) {
				t.Error("another commit is read than was written")
			}
			before := c.g.Epoch()
			w.accept(c, own, map[*client]*KeyPackageBundle{joiner: b})
			for _, m := range w.others(c) {
				tr, err := m.process(m.in(), own.Bundle.Message)
				if err != nil {
					t.Fatalf("%s: %v", m.name, err)
				}
				if string(tr.Received.Application) != "first" || tr.Received.Epoch != before+1 || tr.Received.Sender.LeafIndex != c.g.OwnLeaf() {
					t.Errorf("received %+v", tr.Received)
				}
				if _, err := m.process(m.in(), own.Bundle.Message); !errors.Is(err, ErrDuplicate) {
					t.Errorf("read twice: %v", err)
				}
			}
			for _, m := range slices.Clone(w.members) {
				w.say(m, "second")
			}
		}
	}
}

// A commit in doubt: messages of the next epoch open under the provisional
// state, before and after a restart, and messages of the old epoch that arrive
// meanwhile are not forgotten by the merge.
func TestProvisionalAndMerge(t *testing.T) {
	for _, p := range []Profile{ProfileRFC, ProfileWire} {
		for x := range 4 {
			restart := x%2 == 1
			var first secret.Bytes
			if x > 1 {
				first = []byte("first") // which splits the secret tree that is not there yet
			}
			w := newWorld(t, 1, p, 420)
			w.add(w.members[0], 3, CommitOptions{})
			c, other := w.members[0], w.members[1]
			c.cold = restart
			late, later := w.encrypt(other, "late"), w.encrypt(other, "later")
			own := w.commitOf(c, CommitOptions{Message: first})
			if restart {
				var err error
				if own, err = ParseOwnCommit(own.Marshal()); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := c.process(c.in(), late); err != nil { // in doubt, yet it goes on
				t.Fatal(err)
			}
			if _, err := other.process(other.in(), own.Bundle.Commit); err != nil {
				t.Fatal(err)
			}
			message := w.encrypt(other, "of the next epoch")

			before := c.store.clone()
			var received *Received
			err := c.try(func(g *Group) error {
				next, err := own.Provisional(g)
				if err != nil {
					return err
				}
				tr, err := next.Process(c.in(), message)
				if err == nil {
					received = tr.Received
				}
				return err
			})
			if err != nil || string(received.Application) != "of the next epoch" {
				t.Fatalf("%v restart=%v: got %v, %v", p, restart, received, err)
			}
			if !c.store.equal(before) {
				t.Fatal("a provisional state was written")
			}
			if _, err := c.step(func(g *Group) (*Transition, error) { return g.Merge(own) }); err != nil {
				t.Fatal(err)
			}
			if _, err := c.process(c.in(), message); err != nil {
				t.Error(err)
			}
			if _, err := c.process(c.in(), late); !errors.Is(err, ErrDuplicate) {
				t.Errorf("a message read while in doubt is read again: %v", err)
			}
			if tr, err := c.process(c.in(), later); err != nil || string(tr.Received.Application) != "later" {
				t.Errorf("a late message after the merge: %v", err)
			}
			if _, err := c.step(func(g *Group) (*Transition, error) { return g.Merge(own) }); !errors.Is(err, ErrStaleCommit) {
				t.Errorf("merging twice: %v", err)
			}
			if _, err := c.process(c.in(), own.Bundle.Commit); !errors.Is(err, CheckEpoch) {
				t.Errorf("own commit after its merge: %v", err)
			}
		}
	}
}

func TestOwnCommitComesBack(t *testing.T) {
	for _, p := range []Profile{ProfileRFC, ProfileWire} {
		w := newWorld(t, 1, p, 430)
		w.add(w.members[0], 2, CommitOptions{})
		c := w.members[0]
		own := w.commitOf(c, CommitOptions{WireFormat: WireFormatPublicMessage})
		if _, err := c.process(c.in(), own.Bundle.Commit); !errors.Is(err, ErrOwnCommit) {
			t.Errorf("%v: %v", p, err)
		}
		// Another's commit wins: ours is stale.
		w.commit(w.members[1], CommitOptions{})
		if _, err := c.step(func(g *Group) (*Transition, error) { return g.Merge(own) }); !errors.Is(err, ErrStaleCommit) {
			t.Errorf("%v: %v", p, err)
		}
	}
}

func TestProposalsWait(t *testing.T) {
	w := newWorld(t, 1, ProfileRFC, 440)
	w.add(w.members[0], 3, CommitOptions{})
	c, other := w.members[0], w.members[1]
	ref := w.propose(other, ProposalOptions{Update: &LeafChange{}})
	_, err := c.step(func(g *Group) (*Transition, error) { return g.Encrypt(c.in(), nil, nil) })
	if !errors.Is(err, ErrPendingProposals) || !errors.Is(err, CheckProposalsPending) {
		t.Errorf("encrypting while a proposal waits: %v", err)
	}
	var pending []PendingProposal
	err = c.try(func(g *Group) error {
		var err error
		pending, err = g.PendingProposals()
		return err
	})
	if err != nil || len(pending) != 1 || !bytes.Equal(pending[0].Ref, ref) || pending[0].Own {
		t.Fatalf("pending: %+v, %v", pending, err)
	}
	if _, err := c.step(func(g *Group) (*Transition, error) { return g.DropProposal(ref) }); err != nil {
		t.Fatal(err)
	}
	if _, err := c.step(func(g *Group) (*Transition, error) { return g.DropProposal(ref) }); !errors.Is(err, ErrUnknownProposal) {
		t.Errorf("dropping twice: %v", err)
	}
	if _, err := c.step(func(g *Group) (*Transition, error) { return g.Encrypt(c.in(), nil, nil) }); err != nil {
		t.Error(err)
	}
	// A commit that refers to what c has dropped cannot be processed, and says
	// what is missing.
	own := w.commitOf(w.members[2], CommitOptions{})
	_, err = c.process(c.in(), own.Bundle.Commit)
	unknown, ok := errors.AsType[*UnknownProposalError](err)
	if !ok || len(unknown.Refs) != 1 || !bytes.Equal(unknown.Refs[0], ref) {
		t.Errorf("commit of an unknown proposal: %v", err)
	}
}

// Past epochs are kept as long as the window says, with the leaves they had.
func TestPastEpochs(t *testing.T) {
	for _, cold := range []bool{false, true} {
		w := newWorld(t, 1, ProfileRFC, 450)
		w.add(w.members[0], 3, CommitOptions{})
		reader, sender, gone := w.members[0], w.members[1], w.members[2]
		reader.cold = cold
		oldKey := sender.signer.Public
		fromGone := w.encrypt(gone, "from one who left")
		var old [][]byte
		for i := range 4 {
			old = append(old, w.encrypt(sender, fmt.Sprint(i)), w.encrypt(sender, "again"))
			switch i {
			case 0: // the sender's key changes
				signer, err := NewSigner(sender.rand, 1, sender.signer.Credential)
				w.must(err)
				own := w.commitOf(sender, CommitOptions{Leaf: &LeafChange{Signer: signer}})
				sender.signer = signer
				w.accept(sender, own, nil)
			case 1:
				w.commit(reader, CommitOptions{Proposals: []Proposal{{Type: ProposalTypeRemove, Remove: &Remove{Removed: gone.g.OwnLeaf()}}}})
				w.add(reader, 1, CommitOptions{}) // takes its place
			case 2:
				// no epoch ends here: messages 2 and 3 are of one epoch
			}
		}
		// Epochs: 0 and 1 were encrypted in n, n+1; the current one is n+3.
		for i, want := range map[int]string{0: "0", 2: "1", 4: "2", 6: "3"} {
			tr, err := reader.process(reader.in(), old[i])
			if err != nil || string(tr.Received.Application) != want {
				t.Fatalf("cold=%v message %d: %v", cold, i, err)
			}
			if i == 0 && !bytes.Equal(tr.Received.SignatureKey, oldKey) {
				t.Error("verified with the sender's present key")
			}
		}
		if tr, err := reader.process(reader.in(), fromGone); err != nil || string(tr.Received.Application) != "from one who left" {
			t.Errorf("cold=%v: %v", cold, err)
		}
		w.commit(reader, CommitOptions{})
		if _, err := reader.process(reader.in(), old[1]); !errors.Is(err, ErrEpochTooOld) {
			t.Errorf("cold=%v, four epochs back: %v", cold, err)
		}
		// Nothing of it is left in the store.
		for _, k := range []recordKind{recordPast, recordSecret, recordRatchet, recordSkip} {
			if left := reader.store.read(epochPrefix(k, reader.g.Epoch()-4)); len(left) > 0 {
				t.Errorf("%d records %c of an epoch that is not kept", len(left), k)
			}
		}
		if _, err := reader.process(reader.in(), old[3]); err != nil {
			t.Errorf("three epochs back: %v", err)
		}
	}
}

// A group whose only member lost everything is taken over by that member's new
// self, and nobody else is left.
func TestResyncOfTheOnlyMember(t *testing.T) {
	for _, p := range []Profile{ProfileRFC, ProfileWire} {
		w := newWorld(t, 1, p, 460)
		old := w.members[0]
		var err error
		w.must(old.try(func(g *Group) error {
			w.groupInfo, err = g.NewGroupInfo(old.in(), false, nil)
			return err
		}))
		again := w.newClient()
		again.signer = old.signer
		e := w.externalJoin(again, ExternalJoinOptions{})
		if len(w.members) != 1 || w.members[0] != again || len(e.Removed) != 1 || again.g.MemberCount() != 1 || again.g.OwnLeaf() != 0 {
			t.Fatalf("%v: %d members, leaf %d", p, again.g.MemberCount(), again.g.OwnLeaf())
		}
		if !old.g.Removed() || old.g.Active() || old.g.EpochAuthenticator() != nil {
			t.Errorf("%v: the old self is still there", p)
		}
		if _, err := old.process(old.in(), w.encrypt(again, "x")); !errors.Is(err, ErrInactive) {
			t.Errorf("%v: reading after removal: %v", p, err)
		}
		for _, k := range []recordKind{recordPath, recordSecret, recordRatchet, recordPast, recordResumption, recordProposal} {
			if left := old.store.read(recordPrefix(k)); len(left) > 0 {
				t.Errorf("%v: %d records %c of a group that was left", p, len(left), k)
			}
		}
		w.add(again, 2, CommitOptions{})
		w.say(again, "hello")
	}
}

// A Reader shows what its group shows, outlives the group's keys and has none but those
// it reads.
func TestReader(t *testing.T) {
	w := newWorld(t, 1, ProfileRFC, 433)
	w.add(w.members[0], 3, CommitOptions{})
	c := w.members[1]
	c.cold = false
	g := loaded(c)
	sent, err := g.Encrypt(c.in(), []byte("text"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !g.ReadsLike(sent.Next) {
		t.Error("a message of one's own changes what is read")
	}
	if _, err := g.Reader().Encrypt(c.in(), []byte("text"), nil); !errors.As(err, new(*Need)) {
		t.Errorf("a reader encrypts: %v", err)
	}
	if _, err := c.step(func(g *Group) (*Transition, error) {
		return g.Propose(c.in(), ProposalOptions{Update: new(LeafChange)})
	}); err != nil {
		t.Fatal(err)
	}
	g = loaded(c)
	r := g.Reader()
	if _, left := wiped(r.material()); left != 2 {
		t.Errorf("a reader has %d secrets, want the exporter's and the epoch authenticator", left)
	}
	exported, err := g.Export("label", []byte("context"), 32)
	if err != nil {
		t.Fatal(err)
	}
	authenticator := g.EpochAuthenticator().Clone()
	dropped, err := g.DropProposal(g.proposals.list[0].ref)
	if err != nil {
		t.Fatal(err)
	}
	if g.ReadsLike(dropped.Next) {
		t.Error("a proposal changes nothing that is read")
	}
	g.Wipe()
	got, err := r.Export("label", []byte("context"), 32)
	if err != nil || !got.Equal(exported) || !r.EpochAuthenticator().Equal(authenticator) {
		t.Errorf("what a reader reads has gone with the group: %v", err)
	}
	pending, err := r.PendingProposals()
	if err != nil || len(pending) != 1 || !pending[0].Own || r.Epoch() != g.Epoch() || r.OwnLeaf() != g.OwnLeaf() || r.MemberCount() != 4 {
		t.Errorf("a reader shows %v, %v", pending, err)
	}
	members, err := r.Members()
	if err != nil {
		t.Fatal(err)
	}
	for i, leaf := range members {
		if leaf != g.tree.Leaf(i) {
			t.Errorf("another leaf %d", i)
		}
	}
	r.Wipe()
	if _, left := wiped(r.material()); left != 0 {
		t.Errorf("%d secrets are left", left)
	}
	if cold, err := LoadGroup(g.head.record()); err != nil {
		t.Error(err)
	} else if _, err := cold.Reader().Members(); !errors.As(err, new(*Need)) {
		t.Errorf("members without a tree: %v", err)
	}
}
