package mlsgroup

import (
	"errors"
	"testing"

	"github.com/conclave-mls/conclave/internal/secret"
)

// successorOf makes the successor group at one member and lets all others join
// it by its Welcome; the order is that of w.members.
func (w *world) successorOf(c *client, cs CipherSuite, make func(in Input, g *Group, o SuccessorOptions) (*Successor, error), o SuccessorOptions, members []*client) *world {
	w.t.Helper()
	next := &world{t: w.t, cs: cs, profile: w.profile, rand: w.rand, seed: w.seed + 1<<20, options: w.options, server: w.server}
	again := func(m *client) *client {
		n := &client{holder: &holder{store: newRecords(), cold: m.cold}, t: w.t, name: m.name, signer: m.signer, rand: m.rand, psks: m.psks}
		if m.signer.CipherSuite != cs {
			signer, err := NewSigner(m.rand, cs, m.signer.Credential)
			w.must(err)
			n.signer = signer
		}
		return n
	}
	bundles := map[*client]*KeyPackageBundle{}
	var joiners []*client
	origins := map[*client]*client{}
	for _, m := range members {
		if m == c {
			continue
		}
		n := again(m)
		bundles[n] = n.keyPackage(w.profile)
		origins[n] = m
		joiners = append(joiners, n)
		o.KeyPackages = append(o.KeyPackages, bundles[n].KeyPackage)
	}
	creator := again(c)
	var successor *Successor
	w.must(c.try(func(g *Group) error {
		var err error
		successor, err = make(creator.in(), g, o)
		return err
	}))
	w.must(creator.carryOut(successor.Transition))
	next.members = []*client{creator}
	next.groupInfo = successor.GroupInfo
	for _, n := range joiners {
		m, err := ParseMLSMessage(successor.Welcome)
		w.must(err)
		var tr *Transition
		id, ok, err := WelcomeOrigin(m.Welcome, bundles[n])
		if err != nil || !ok || string(id) != string(c.g.GroupID()) {
			w.t.Fatalf("the Welcome continues group %q: %v", id, err)
		}
		w.must(origins[n].try(func(g *Group) error {
			var err error
			tr, err = Join(n.in(), m.Welcome, JoinOptions{KeyPackage: bundles[n], Profile: w.profile, Origin: g, BasicKeyChange: true})
			return err
		}))
		w.must(n.carryOut(tr))
		next.members = append(next.members, n)
	}
	next.agree()
	return next
}

func TestReInit(t *testing.T) {
	for _, p := range []Profile{ProfileRFC, ProfileWire} {
		t.Run(p.String(), func(t *testing.T) {
			w := newWorld(t, 1, p, 77)
			w.add(w.members[0], 4, CommitOptions{})
			ri := &ReInit{GroupID: []byte("next group"), Version: ProtocolVersionMLS10, CipherSuite: 3, Extensions: w.members[0].g.GroupContext().Extensions}
			w.commit(w.any(), CommitOptions{Proposals: []Proposal{{Type: ProposalTypeReInit, ReInit: ri}}})
			for _, m := range w.members {
				if m.g.Active() || m.g.ReInit() == nil {
					t.Fatalf("%s can still send", m.name)
				}
				_, err := m.step(func(g *Group) (*Transition, error) { return g.Encrypt(m.in(), []byte("x"), nil) })
				if !errors.Is(err, ErrInactive) || !errors.Is(err, CheckReInitCommitted) {
					t.Fatalf("encrypting after a ReInit: %v", err)
				}
			}
			next := w.successorOf(w.any(), 3, func(in Input, g *Group, o SuccessorOptions) (*Successor, error) { return g.ReInitialize(in, o) },
				SuccessorOptions{}, w.members)
			if g := next.members[0].g; g.Epoch() != 1 || string(g.GroupID()) != "next group" || g.CipherSuite() != 3 {
				t.Errorf("epoch %d of group %q, suite %v", g.Epoch(), g.GroupID(), g.CipherSuite())
			}
			for step := range 6 {
				next.randomStep(step)
				next.say(next.any(), "hello")
			}
		})
	}
}

func TestBranch(t *testing.T) {
	for _, p := range []Profile{ProfileRFC, ProfileWire} {
		t.Run(p.String(), func(t *testing.T) {
			w := newWorld(t, 1, p, 78)
			w.add(w.members[0], 5, CommitOptions{})
			next := w.successorOf(w.members[1], 1, func(in Input, g *Group, o SuccessorOptions) (*Successor, error) { return g.Branch(in, o) },
				SuccessorOptions{GroupID: []byte("some of us")}, w.members[1:4])
			if len(next.members) != 3 {
				t.Fatalf("%d members", len(next.members))
			}
			next.say(next.any(), "hello")
			w.say(w.any(), "the old group lives on")
		})
	}
}

// A stranger is not branched in, and nobody is left behind by a ReInit.
func TestSuccessorMembers(t *testing.T) {
	w := newWorld(t, 1, ProfileRFC, 79)
	w.add(w.members[0], 2, CommitOptions{})
	stranger := w.newClient()
	c := w.members[0]
	err := c.try(func(g *Group) error {
		_, err := g.Branch(c.in(), SuccessorOptions{GroupID: []byte("b"), KeyPackages: []*KeyPackage{stranger.keyPackage(ProfileRFC).KeyPackage}})
		return err
	})
	if !errors.Is(err, CheckBranchMembers) {
		t.Errorf("branch with a stranger: %v", err)
	}
	ri := &ReInit{GroupID: []byte("next"), Version: ProtocolVersionMLS10, CipherSuite: 1}
	w.commit(c, CommitOptions{Proposals: []Proposal{{Type: ProposalTypeReInit, ReInit: ri}}})
	err = c.try(func(g *Group) error {
		_, err := g.ReInitialize(c.in(), SuccessorOptions{KeyPackages: []*KeyPackage{w.members[1].keyPackage(ProfileRFC).KeyPackage}})
		return err
	})
	if !errors.Is(err, CheckReInitMembers) {
		t.Errorf("ReInit without a member: %v", err)
	}
}

// A successor's first commit may go without a path, and its Welcome without
// the tree.
func TestSuccessorOptions(t *testing.T) {
	w := newWorld(t, 1, ProfileRFC, 80)
	w.add(w.members[0], 1, CommitOptions{})
	c, j := w.members[0], w.members[1]
	bundle := j.keyPackage(ProfileRFC)
	o := SuccessorOptions{GroupID: []byte("b"), KeyPackages: []*KeyPackage{bundle.KeyPackage}, OmitPath: true, WithoutRatchetTree: true}
	var s *Successor
	w.must(c.try(func(g *Group) error {
		var err error
		s, err = g.Branch(c.in(), o)
		return err
	}))
	tree := s.Transition.Next.tree
	for x := range tree.parents() {
		t.Errorf("parent %d is of a path", x)
	}
	m, err := ParseMLSMessage(s.Welcome)
	w.must(err)
	join := func(tree *RatchetTree) error {
		return j.try(func(g *Group) error {
			_, err := Join(j.in(), m.Welcome, JoinOptions{KeyPackage: bundle, Profile: ProfileRFC, Origin: g, RatchetTree: tree})
			return err
		})
	}
	if err := join(nil); err == nil {
		t.Error("the Welcome has a tree")
	}
	w.must(join(tree))
}

// An external sender's PSK gets its nonce.
func TestExternalPSKProposal(t *testing.T) {
	w := newWorld(t, 1, ProfileRFC, 81)
	c := w.members[0]
	c.psks["psk"] = secret.Bytes("key")
	psk := &Proposal{Type: ProposalTypePreSharedKey, PreSharedKey: &PreSharedKey{PSK: PreSharedKeyID{Type: PSKTypeExternal, ExternalID: []byte("psk")}}}
	p, err := NewExternalProposal(Input{Rand: c.rand, Signer: w.server}, ExternalProposalOptions{CipherSuite: 1, GroupID: c.g.GroupID(), Epoch: c.g.Epoch(), Proposal: psk})
	w.must(err)
	w.deliver(nil, p)
	if e := w.commit(c, CommitOptions{}); len(e.Committed) != 1 {
		t.Errorf("%d proposals committed", len(e.Committed))
	}
}
