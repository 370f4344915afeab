package mlsgroup

import (
	"bytes"
	"testing"
)

// Records are sealed where they are stored, so nobody but us should have made
// them. Damaged ones are refused all the same, and never panic.

func fuzzRecord(f *testing.F, seed []byte, again func([]byte) ([]byte, error)) {
	f.Add(seed)
	if out, err := again(seed); err != nil || !bytes.Equal(out, seed) {
		f.Fatalf("seed: %v", err)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := again(in)
		if err == nil && !bytes.Equal(in, out) {
			t.Errorf("read %x, wrote %x", in, out)
		}
	})
}

func fuzzGroup(f *testing.F) (*world, *Group) {
	w := newWorld(f, 1, ProfileRFC, 1)
	w.add(w.members[0], 3, CommitOptions{})
	w.commit(w.members[1], CommitOptions{})
	w.propose(w.members[0], ProposalOptions{Update: &LeafChange{}})
	return w, loaded(w.members[0])
}

func FuzzHeadRecord(f *testing.F) {
	_, g := fuzzGroup(f)
	fuzzRecord(f, g.head.record(), func(b []byte) ([]byte, error) {
		g, err := LoadGroup(b)
		if err != nil {
			return nil, err
		}
		return g.head.record(), nil
	})
}

func FuzzProposalRecord(f *testing.F) {
	_, g := fuzzGroup(f)
	fuzzRecord(f, g.proposals.list[0].record(), func(b []byte) ([]byte, error) {
		c, err := loadProposals([]Record{{Key: proposalRecordKey([]byte("ref")), Value: b}})
		if err != nil {
			return nil, err
		}
		return c.list[0].record(), nil
	})
}

func FuzzPastRecord(f *testing.F) {
	w, _ := fuzzGroup(f)
	past := w.members[0].store.read(recordPrefix(recordPast))
	fuzzRecord(f, past[0].Value, func(b []byte) ([]byte, error) {
		p, err := parsePastEpoch(b)
		if err != nil {
			return nil, err
		}
		return p.record(), nil
	})
}

func FuzzOwnCommitRecord(f *testing.F) {
	w, _ := fuzzGroup(f)
	own := w.commitOf(w.members[1], CommitOptions{})
	fuzzRecord(f, own.Marshal(), func(b []byte) ([]byte, error) {
		c, err := ParseOwnCommit(b)
		if err != nil {
			return nil, err
		}
		return c.Marshal(), nil
	})
}

func FuzzKeyPackageBundle(f *testing.F) {
	b := newClient(f, "a", 1, 1).keyPackage(ProfileRFC)
	fuzzRecord(f, b.Marshal(), func(b []byte) ([]byte, error) {
		kb, err := ParseKeyPackageBundle(b)
		if err != nil {
			return nil, err
		}
		return kb.Marshal(), nil
	})
}

// No message makes a group panic, whatever it says of itself.
func FuzzProcess(f *testing.F) {
	w := newWorld(f, 1, ProfileRFC, 2)
	w.add(w.members[0], 3, CommitOptions{})
	for _, m := range messageKinds(w) {
		f.Add(m)
	}
	reader := w.members[len(w.members)-1]
	reader.g = loaded(reader)
	before := dump(reader.g)
	f.Fuzz(func(t *testing.T, message []byte) {
		_ = reader.try(func(g *Group) error { _, err := g.Process(reader.in(), message); return err })
		if !dump(reader.g).equal(before) {
			t.Fatal("the group has changed")
		}
	})
}
