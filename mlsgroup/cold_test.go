package mlsgroup

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"
)

// bigWorld makes a group of n members, two of whom are real: the creator and
// the last one added.
func bigWorld(t testing.TB, n int) (creator, reader *client) {
	t.Helper()
	w := newWorld(t, 1, ProfileWire, 5000)
	w.members[0].cold = false
	o := CommitOptions{}
	for range n - 2 {
		j := w.newClient()
		o.Proposals = append(o.Proposals, Proposal{Type: ProposalTypeAdd, Add: &Add{KeyPackage: j.keyPackage(ProfileWire).KeyPackage}})
	}
	own := w.commitOf(w.members[0], o)
	tr, err := w.members[0].step(func(g *Group) (*Transition, error) { return g.Merge(own) })
	w.must(err)
	w.must(nil)
	if tr.Next.MemberCount() != n-1 {
		t.Fatalf("%d members", tr.Next.MemberCount())
	}
	j := w.newClient()
	b := j.keyPackage(ProfileWire)
	own = w.commitOf(w.members[0], CommitOptions{Proposals: []Proposal{{Type: ProposalTypeAdd, Add: &Add{KeyPackage: b.KeyPackage}}}})
	_, err = w.members[0].step(func(g *Group) (*Transition, error) { return g.Merge(own) })
	w.must(err)
	w.welcome(j, b, own.Bundle.Welcome)
	return w.members[0], j
}

func changedBytes(changes []Change) int {
	n := 0
	for _, c := range changes {
		n += len(c.Key) + len(c.High) + len(c.Value)
	}
	return n
}

// An application message of a large group is read by one who has nothing but
// records: the tree stays where it is, and what is read and written is small.
func TestColdMessageInLargeGroup(t *testing.T) {
	const members = 1000
	creator, reader := bigWorld(t, members)
	reader.cold = true
	var err error
	if reader.g, err = LoadGroup(reader.store.m[string(HeadKey())]); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		sent, err := creator.step(func(g *Group) (*Transition, error) { return g.Encrypt(creator.in(), []byte("hello"), nil) })
		if err != nil {
			t.Fatal(err)
		}
		tr, err := reader.process(reader.in(), sent.Outbound.Message)
		if err != nil {
			t.Fatal(err)
		}
		if string(tr.Received.Application) != "hello" {
			t.Fatalf("got %q", tr.Received.Application)
		}
		for _, p := range reader.needs {
			if p.kind == partTree || p.kind == partPath {
				t.Fatalf("message %d needs %v", i, p)
			}
		}
		if len(reader.needs) != 2 {
			t.Errorf("message %d needs %v", i, reader.needs)
		}
		limit := 512
		if i == 0 { // the sender's first: the way down from the root is written
			limit += 150 * 10
		}
		if n := changedBytes(tr.Changes); n > limit {
			t.Errorf("message %d changes %d bytes, want at most %d", i, n, limit)
		}
		if n := changedBytes(sent.Changes); n > limit {
			t.Errorf("sending message %d changes %d bytes, want at most %d", i, n, limit)
		}
	}
	// The other direction: encrypting needs the own ratchet and to know that no
	// proposal waits.
	sent, err := reader.step(func(g *Group) (*Transition, error) { return g.Encrypt(reader.in(), []byte("back"), nil) })
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(reader.needs, func(p Part) bool { return p.kind == partTree || p.kind == partLeaf }) {
		t.Errorf("encrypting needs %v", reader.needs)
	}
	if tr, err := creator.process(creator.in(), sent.Outbound.Message); err != nil || string(tr.Received.Application) != "back" {
		t.Errorf("got %v", err)
	}
	// A commit needs the tree, and writes what it changes.
	own := ownCommitOf(t, creator)
	tr, err := reader.process(reader.in(), own.Bundle.Commit)
	if err != nil {
		t.Fatal(err)
	}
	if n := changedBytes(tr.Changes); n > 16<<10 {
		t.Errorf("a commit changes %d bytes", n)
	}
}

func ownCommitOf(t testing.TB, c *client) *OwnCommit {
	t.Helper()
	var own *OwnCommit
	err := c.try(func(g *Group) error {
		var err error
		own, err = g.Commit(c.in(), CommitOptions{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return own
}

// TestLargeCommit processes a commit that is long enough for its hashes to be
// computed at once, as it is and changed in one byte at many places.
func TestLargeCommit(t *testing.T) {
	creator, reader := bigWorld(t, 200)
	commit := ownCommitOf(t, creator).Bundle.Commit
	if len(commit) < bothBytes {
		t.Fatalf("a commit of %d bytes", len(commit))
	}
	g := loaded(reader)
	alone, err := g.Process(reader.in(), commit)
	if err != nil {
		t.Fatal(err)
	}
	in, calls := reader.in(), 0
	in.Do = func(n int, f func(int)) {
		calls++
		inParallel(n, f)
	}
	both, err := g.Process(in, commit)
	if err != nil || calls == 0 {
		t.Fatalf("%v after %d calls of Do", err, calls)
	}
	if !reflect.DeepEqual(both.Changes, alone.Changes) {
		t.Error("Do makes other changes")
	}
	for at := 40; at < len(commit); at += 1009 {
		changed := bytes.Clone(commit)
		changed[at] ^= 1
		if _, err := g.Process(in, changed); err == nil {
			t.Errorf("byte %d changed: accepted", at)
		}
	}
	var m MLSMessage
	if err := parse(commit, m.read); err != nil {
		t.Fatal(err)
	}
	p := m.PublicMessage
	for _, field := range []struct {
		name string
		at   []byte
		want error
	}{{"signature", p.Auth.Signature, CheckMembershipTag}, {"membership tag", p.MembershipTag, CheckMembershipTag}} {
		changed := bytes.Clone(commit)
		changed[bytes.Index(commit, field.at)] ^= 1
		if _, err := g.Process(in, changed); !errors.Is(err, field.want) {
			t.Errorf("another %s: %v, want %v", field.name, err, field.want)
		}
	}
	// The tag is right and only the signature is not.
	ac := &AuthenticatedContent{WireFormat: WireFormatPublicMessage, Content: p.Content, Auth: p.Auth}
	ac.Auth.Signature = bytes.Clone(ac.Auth.Signature)
	ac.Auth.Signature[0] ^= 1
	if m.PublicMessage, err = sealPublicMessage(g.s, ac, g.head.secrets.membership, g.head.encodedContext); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Process(in, m.Marshal()); !errors.Is(err, CheckMessageSignature) {
		t.Errorf("another signature under the right tag: %v, want %v", err, CheckMessageSignature)
	}
}
