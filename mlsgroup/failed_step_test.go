package mlsgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
)

// dump returns everything that a group holds in memory, as records.
func dump(g *Group) *records {
	r := newRecords()
	put := func(key, value []byte) { r.m[string(key)] = bytes.Clone(value) }
	put(HeadKey(), g.head.record())
	if g.tree != nil && g.path != nil {
		r.apply(epochRecords(new(RatchetTree), g.tree, pathKeys{}, *g.path))
	}
	if g.proposals != nil {
		for _, p := range g.proposals.list {
			put(proposalRecordKey(p.ref), p.record())
		}
	}
	secrets := func(epoch uint64, t secretTree) {
		for i, c := range t.covers.all() {
			put(coverRecordKey(epoch, LeafIndex(i)), c.record())
		}
		for kind := range ratchetKind(ratchetKinds) {
			for i, x := range t.ratchets[kind].all() {
				put(ratchetRecordKey(epoch, LeafIndex(i), kind), x.record())
				for k := range x.chunks {
					if x.chunks[k].keys != nil {
						put(skipRecordKey(epoch, LeafIndex(i), kind, x.chunks[k].first), x.chunks[k].record())
					}
				}
			}
		}
	}
	secrets(g.Epoch(), g.secrets)
	for i, p := range g.past {
		if p != nil {
			put(epochRecordKey(recordPast, g.head.oldestPast+uint64(i)), p.record())
			secrets(g.head.oldestPast+uint64(i), p.secrets)
		}
	}
	for i, psk := range g.resumption {
		if psk != nil {
			put(epochRecordKey(recordResumption, g.head.oldestResumption+uint64(i)), psk)
		}
	}
	return r
}

// A warm group in memory and its records never drift apart.
func TestMemoryEqualsRecords(t *testing.T) {
	for _, p := range []Profile{ProfileRFC, ProfileWire} {
		w := newWorld(t, 1, p, 900+uint64(p))
		warm := w.members[0]
		warm.cold = false
		for step := range 60 {
			did := w.randomStep(step)
			w.say(w.any(), did)
			for _, m := range w.members {
				if m.cold {
					continue
				}
				// Parts that a step loaded or split are in both; those never
				// asked for may be in the store alone.
				for k, v := range dump(m.g).m {
					if k[0] == byte(recordResumption) {
						continue // dumped without its version
					}
					if !bytes.Equal(m.store.m[k], v) {
						t.Fatalf("%v: after step %d (%s) record %q of %s differs from memory", p, step, did, k, m.name)
					}
				}
			}
		}
	}
}

// messageKinds makes one message of each kind in the current state of a world
// for its last member.
func messageKinds(w *world) map[string][]byte {
	w.t.Helper()
	c, reader := w.members[0], w.members[len(w.members)-1]
	kinds := map[string][]byte{"application": w.encrypt(c, "hello")}
	for _, format := range []WireFormat{WireFormatPublicMessage, WireFormatPrivateMessage} {
		if format == WireFormatPrivateMessage && w.profile == ProfileWire {
			continue
		}
		name := map[WireFormat]string{WireFormatPublicMessage: "public ", WireFormatPrivateMessage: "private "}[format]
		var tr *Transition
		w.must(c.try(func(g *Group) error {
			var err error
			tr, err = g.Propose(c.in(), ProposalOptions{Update: &LeafChange{}, WireFormat: format})
			return err
		}))
		kinds[name+"proposal"] = tr.Outbound.Message
		var own *OwnCommit
		w.must(c.try(func(g *Group) error {
			var err error
			own, err = g.Commit(c.in(), CommitOptions{WireFormat: format})
			return err
		}))
		kinds[name+"commit"] = own.Bundle.Commit
		kp := w.newClient().keyPackage(w.profile)
		w.must(c.try(func(g *Group) error {
			var err error
			own, err = g.Commit(c.in(), CommitOptions{WireFormat: format, OmitPath: true,
				Proposals: []Proposal{{Type: ProposalTypeAdd, Add: &Add{KeyPackage: kp.KeyPackage}}}})
			return err
		}))
		kinds[name+"commit without path"] = own.Bundle.Commit
	}
	remove := &Proposal{Type: ProposalTypeRemove, Remove: &Remove{Removed: reader.g.OwnLeaf()}}
	external, err := NewExternalProposal(Input{Signer: w.server}, ExternalProposalOptions{
		CipherSuite: w.cs, GroupID: c.g.GroupID(), Epoch: c.g.Epoch(), Proposal: remove})
	w.must(err)
	kinds["external proposal"] = external
	j := w.newClient()
	kinds["new member proposal"], err = NewMemberProposal(j.in(), c.g.GroupID(), c.g.Epoch(), j.keyPackage(w.profile).KeyPackage)
	w.must(err)
	gi, err := ParseMLSMessage(w.groupInfo)
	w.must(err)
	own, err := JoinByExternalCommit(w.newClient().in(), gi.GroupInfo, ExternalJoinOptions{Profile: w.profile})
	w.must(err)
	kinds["external commit"] = own.Bundle.Commit
	return kinds
}

// Whatever byte of a message is changed, it is refused, and the group is what
// it was: in memory and, having nothing to write, in its records.
func TestChangedMessagesAreRefused(t *testing.T) {
	for _, p := range []Profile{ProfileRFC, ProfileWire} {
		w := newWorld(t, 1, p, 910)
		w.members[0].cold = false
		w.add(w.members[0], 5, CommitOptions{})
		reader := w.members[len(w.members)-1]
		reader.cold = false
		reader.g = loaded(reader)
		for name, message := range messageKinds(w) {
			t.Run(fmt.Sprintf("%v/%s", p, name), func(t *testing.T) {
				// Load everything first, so that loading does not count as change.
				if err := reader.try(func(g *Group) error {
					_, err := g.Process(reader.in(), message)
					if err == nil {
						reader.g = g
					}
					return err
				}); err != nil {
					t.Fatalf("unchanged: %v", err)
				}
				before := dump(reader.g)
				step := max(1, len(message)/150)
				for at := 0; at < len(message); at += step {
					changed := bytes.Clone(message)
					changed[at] ^= 1 << (at % 8)
					tr, err := reader.g.Process(reader.in(), changed)
					if err == nil {
						t.Fatalf("byte %d of %d changed: accepted as %+v", at, len(message), tr.Received)
					}
				}
				for n := range len(message) {
					if _, err := reader.g.Process(reader.in(), message[:n]); err == nil {
						t.Fatalf("cut to %d bytes: accepted", n)
					}
				}
				if !dump(reader.g).equal(before) {
					t.Fatal("refused messages changed the group")
				}
				if _, err := reader.g.Process(reader.in(), message); err != nil {
					t.Fatalf("unchanged, after all: %v", err)
				}
				if !dump(reader.g).equal(before) {
					t.Fatal("a step changed its receiver")
				}
			})
		}
	}
}

// Changed Welcomes and GroupInfos let nobody in.
func TestChangedInvitationsAreRefused(t *testing.T) {
	w := newWorld(t, 1, ProfileRFC, 920)
	w.add(w.members[0], 3, CommitOptions{})
	j := w.newClient()
	b := j.keyPackage(w.profile)
	own := w.commitOf(w.members[0], CommitOptions{Proposals: []Proposal{{Type: ProposalTypeAdd, Add: &Add{KeyPackage: b.KeyPackage}}}})
	join := func(message []byte) error {
		m, err := ParseMLSMessage(message)
		if err != nil {
			return err
		}
		if m.Welcome == nil {
			return ErrDecode
		}
		_, err = Join(j.in(), m.Welcome, JoinOptions{KeyPackage: b, Profile: w.profile})
		return err
	}
	external := func(message []byte) error {
		m, err := ParseMLSMessage(message)
		if err != nil {
			return err
		}
		if m.GroupInfo == nil {
			return ErrDecode
		}
		_, err = JoinByExternalCommit(j.in(), m.GroupInfo, ExternalJoinOptions{Profile: w.profile})
		return err
	}
	for name, tt := range map[string]struct {
		message []byte
		use     func([]byte) error
	}{"welcome": {own.Bundle.Welcome, join}, "group info": {own.Bundle.GroupInfo, external}} {
		if err := tt.use(tt.message); err != nil {
			t.Fatalf("%s, unchanged: %v", name, err)
		}
		for at := 0; at < len(tt.message); at += max(1, len(tt.message)/300) {
			changed := bytes.Clone(tt.message)
			changed[at] ^= 1 << (at % 8)
			if tt.use(changed) == nil {
				t.Errorf("%s with byte %d of %d changed is accepted", name, at, len(tt.message))
			}
		}
	}
	if err := join(own.Bundle.Welcome); err != nil {
		t.Errorf("the key package is used up by failures: %v", err)
	}
}

// Steps that run out of randomness fail, and leave the group as it was.
func TestStepsWithoutRandomness(t *testing.T) {
	w := newWorld(t, 1, ProfileRFC, 930)
	w.add(w.members[0], 3, CommitOptions{})
	c := w.members[1]
	c.cold = false
	c.g = loaded(c)
	if _, err := c.step(func(g *Group) (*Transition, error) { return g.Encrypt(c.in(), nil, nil) }); err != nil {
		t.Fatal(err)
	}
	steps := map[string]func(g *Group, in Input) error{
		"encrypt": func(g *Group, in Input) error { _, err := g.Encrypt(in, []byte("x"), nil); return err },
		"update": func(g *Group, in Input) error {
			_, err := g.Propose(in, ProposalOptions{Update: &LeafChange{}})
			return err
		},
		"commit": func(g *Group, in Input) error { _, err := g.Commit(in, CommitOptions{}); return err },
	}
	for name, step := range steps {
		var loadedGroup *Group
		need := 0
		if err := c.try(func(g *Group) error {
			counter := &countingReader{r: seeded(1)}
			in := c.in()
			in.Rand = counter
			err := step(g, in)
			if err == nil {
				loadedGroup, need = g, counter.n
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		before := dump(loadedGroup)
		for n := range need {
			in := c.in()
			in.Rand = io.LimitReader(seeded(1), int64(n))
			err := step(loadedGroup, in)
			if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
				t.Fatalf("%s with %d of %d random bytes: %v", name, n, need, err)
			}
		}
		if !dump(loadedGroup).equal(before) {
			t.Errorf("%s changed the group", name)
		}
	}
}
