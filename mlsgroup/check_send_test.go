package mlsgroup

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"
)

// publicCommit makes our commit as a PublicMessage and reads it.
func (g *forgedGroup) publicCommit(o CommitOptions) (*OwnCommit, *PublicMessage, error) {
	o.WireFormat = WireFormatPublicMessage
	oc, err := g.our().Commit(g.ourInput(), o)
	if err != nil {
		return nil, nil, err
	}
	m, err := readPublic(oc.Bundle.Commit)
	return oc, m, err
}

// publicProposal makes our proposal as a PublicMessage and reads it.
func (g *forgedGroup) publicProposal(o ProposalOptions) (*PublicMessage, error) {
	o.WireFormat = WireFormatPublicMessage
	t, err := g.our().Propose(g.ourInput(), o)
	if err != nil {
		return nil, err
	}
	return readPublic(t.Outbound.Message)
}

func readPublic(message []byte) (*PublicMessage, error) {
	m, err := ParseMLSMessage(message)
	if err != nil {
		return nil, err
	}
	if m.PublicMessage == nil {
		return nil, errors.New("no PublicMessage")
	}
	return m.PublicMessage, nil
}

// joinable is a GroupInfo of the epoch to join by external commit, by alice.
func (g *forgedGroup) joinable(w forgedWelcome) *GroupInfo {
	g.t.Helper()
	_, pub, err := g.epoch.externalKeyPair(g.s)
	g.must(err)
	edit := w.info
	w.info = func(gi *GroupInfo) {
		gi.Extensions = append(gi.Extensions, Extension{Type: ExtensionTypeExternalPub, Body: appendOpaque(nil, pub)})
		if edit != nil {
			edit(gi)
		}
	}
	return g.groupInfo(w)
}

// joinsExternally is what erin makes of a GroupInfo.
func (g *forgedGroup) joinsExternally(gi *GroupInfo) (*OwnCommit, error) {
	c := Capabilities{
		Versions: []ProtocolVersion{ProtocolVersionMLS10}, CipherSuites: []CipherSuite{CipherSuite(g.s.ID())},
		Credentials: []CredentialType{CredentialTypeBasic, CredentialTypeX509, otherCredential},
	}
	return JoinByExternalCommit(g.inputOf(g.client("erin")), gi, ExternalJoinOptions{Profile: g.profile, Leaf: KeyPackageOptions{Capabilities: &c}})
}

func externally(t *testing.T, w forgedWelcome, es ...Extension) error {
	g := groupOf(t, es...)
	_, err := g.joinsExternally(g.joinable(w))
	return err
}

// newKeyPackage makes a key package with the package's own code.
func newKeyPackage(t *testing.T, credential Credential, o KeyPackageOptions) error {
	f := newForger(t)
	c := f.client("alice")
	c.credential = credential
	o.Profile = ProfileRFC
	_, err := NewKeyPackage(f.inputOf(c), o)
	return err
}

// nobodyChanges takes every credential for everybody's.
type nobodyChanges struct{ forgedAuth }

func (nobodyChanges) ValidSuccessor(_, _ *Credential) error { return nil }

var alice = BasicCredential([]byte("alice"))

var sendRefused = []checkCase{
	{"5.3.1-3/own", func(t *testing.T) error {
		// In the Wire profile nobody would take our new key without a certificate.
		g := groupOf(t)
		g.profile = ProfileWire
		other := g.client("dave")
		signer := g.inputOf(other).Signer
		_, err := g.our().Commit(g.ourInput(), CommitOptions{Leaf: &LeafChange{Signer: signer}})
		return err
	}},
	{"6.3.1-6", func(t *testing.T) error {
		g := groupOf(t)
		_, err := g.our().Encrypt(g.ourInput(), []byte("hello"), make([]byte, maxMessageLen))
		return err
	}},
	{"7.3-6/commit", func(t *testing.T) error {
		g := groupOf(t)
		kp := g.erin()
		in := g.ourInput()
		in.Now = in.Now.Add(2 * time.Hour)
		_, err := g.our().Commit(in, CommitOptions{Proposals: []Proposal{*g.add(kp)}})
		return err
	}},
	{"7.3-6/proposal", func(t *testing.T) error {
		g := groupOf(t)
		kp := g.erin()
		in := g.ourInput()
		in.Now = in.Now.Add(-2 * time.Hour)
		_, err := g.our().Propose(in, ProposalOptions{Proposal: g.add(kp)})
		return err
	}},
	{"11.2-1/own", func(t *testing.T) error {
		// The ReInit is to another suite than our signature key's.
		g := groupOf(t)
		g = g.follow(forgedCommit{noPath: true, proposals: byValue(g.reInit(func(r *ReInit) { r.CipherSuite = CipherSuiteX25519ChaChaEd25519 }))})
		_, err := g.our().ReInitialize(g.ourInput(), SuccessorOptions{})
		return err
	}},
	{"11.3-1/own", func(t *testing.T) error {
		g := groupOf(t)
		in := g.ourInput()
		in.Signer.CipherSuite = CipherSuiteX25519ChaChaEd25519
		_, err := g.our().Branch(in, SuccessorOptions{GroupID: []byte("next room")})
		return err
	}},
	{"11.3-2/own", func(t *testing.T) error {
		g := groupOf(t)
		_, err := g.our().Branch(g.ourInput(), SuccessorOptions{GroupID: []byte("next room"), KeyPackages: []*KeyPackage{g.erin()}})
		return err
	}},
	{"12.1.3-1/own", func(t *testing.T) error {
		g := withoutCarol(t)
		_, err := g.our().Propose(g.ourInput(), ProposalOptions{Proposal: g.remove(2)})
		return err
	}},
	{"12.1.5-1/own", func(t *testing.T) error {
		g := groupOf(t)
		_, err := g.our().Propose(g.ourInput(), ProposalOptions{Proposal: g.reInit(func(r *ReInit) { r.Version = 0 })})
		return err
	}},
	{"12.2-1/own", func(t *testing.T) error {
		g := groupOf(t)
		_, err := g.our().Propose(g.ourInput(), ProposalOptions{Proposal: g.update(us, nil)})
		return err
	}},
	{"12.2-2/own", func(t *testing.T) error {
		// Alice has proposed to remove us: somebody else has to commit it.
		g := groupOf(t)
		m, _ := g.proposeBy(0, g.remove(us))
		g.must(g.process(m))
		_, err := g.our().Commit(g.ourInput(), CommitOptions{})
		return err
	}},
	{"12.2-9/own", func(t *testing.T) error {
		g := groupOf(t)
		p, _ := g.externalInit()
		_, err := g.our().Propose(g.ourInput(), ProposalOptions{Proposal: p})
		return err
	}},
	{"12.4-1", func(t *testing.T) error {
		g := groupOf(t)
		m, _ := g.proposeBy(1, g.update(1, nil))
		g.must(g.process(m))
		_, err := g.our().Encrypt(g.ourInput(), []byte("hello"), nil)
		return err
	}},
	{"12.4.2-5/application", func(t *testing.T) error {
		g := reInited(t)
		_, err := g.our().Encrypt(g.ourInput(), []byte("hello"), nil)
		return err
	}},
	{"12.4.2-5/proposal", func(t *testing.T) error {
		g := reInited(t)
		_, err := g.our().Propose(g.ourInput(), ProposalOptions{Proposal: g.remove(1)})
		return err
	}},
	{"12.4.2-5/commit", func(t *testing.T) error {
		g := reInited(t)
		_, err := g.our().Commit(g.ourInput(), CommitOptions{})
		return err
	}},
	{"12.4.3-4/external", func(t *testing.T) error {
		g := groupOf(t)
		_, err := g.joinsExternally(g.joinable(forgedWelcome{signer: g.members[1]}))
		return err
	}},
	{"12.4.3.1-7/external", func(t *testing.T) error {
		return externally(t, forgedWelcome{info: func(gi *GroupInfo) { gi.GroupContext.TreeHash = damage(gi.GroupContext.TreeHash) }})
	}},
	{"12.4.3.1-15/own", func(t *testing.T) error {
		g := groupOf(t)
		_, err := g.our().ReInitialize(g.ourInput(), SuccessorOptions{})
		return err
	}},
	{"12.4.3.1-16/own", func(t *testing.T) error {
		g := reInited(t)
		_, err := g.our().ReInitialize(g.ourInput(), SuccessorOptions{KeyPackages: []*KeyPackage{g.keyPackage(g.members[0], nil, nil)}})
		return err
	}},
	{"12.4.3.2-6/absent", func(t *testing.T) error {
		return externally(t, forgedWelcome{info: func(gi *GroupInfo) { gi.Extensions = gi.Extensions[:1] }})
	}},
	{"12.4.3.2-6/malformed", func(t *testing.T) error {
		return externally(t, forgedWelcome{info: func(gi *GroupInfo) { gi.Extensions[1].Body = appendOpaque(nil, make([]byte, 31)) }})
	}},
	{"13.4-4/sent", func(t *testing.T) error {
		c := ProfileRFC.capabilities()
		c.Extensions = append(c.Extensions, otherExtension)
		twice := Extensions{{Type: otherExtension}, {Type: otherExtension, Body: []byte("x")}}
		return newKeyPackage(t, alice, KeyPackageOptions{Capabilities: &c, Extensions: twice})
	}},
	{"13.4-6/external", func(t *testing.T) error { return externally(t, forgedWelcome{}, Extension{Type: otherExtension}) }},
	{"13.5-1/proposal", func(t *testing.T) error {
		g := groupOf(t)
		_, err := g.our().Propose(g.ourInput(), ProposalOptions{Proposal: &Proposal{Type: 0x0a0a}})
		return err
	}},
	{"13.5-1/credential", func(t *testing.T) error {
		c := ProfileRFC.capabilities()
		c.Credentials = append(c.Credentials, 0x0a0a)
		return newKeyPackage(t, Credential{Type: 0x0a0a, Opaque: []byte("alice")}, KeyPackageOptions{Capabilities: &c})
	}},
	{"13.5-1/external", func(t *testing.T) error {
		// All members list it.
		c := ProfileRFC.capabilities()
		c.Credentials = append(c.Credentials, 0x0a0a)
		g := newForger(t).group(forgedOptions{leaf: func(_ LeafIndex, l *LeafNode) { l.Capabilities.Credentials = c.Credentials }})
		erin := g.client("erin")
		erin.credential = Credential{Type: 0x0a0a, Opaque: []byte("erin")}
		_, err := JoinByExternalCommit(g.inputOf(erin), g.joinable(forgedWelcome{}), ExternalJoinOptions{
			Profile: ProfileRFC, Leaf: KeyPackageOptions{Capabilities: &c},
		})
		return err
	}},
	{"13.5-1/change", func(t *testing.T) error {
		g := groupOf(t)
		c := g.client("dave")
		c.credential = Credential{Type: 0x0a0a, Opaque: []byte("dave")}
		lists := ProfileRFC.capabilities()
		lists.Credentials = append(lists.Credentials, 0x0a0a)
		in := g.ourInput()
		in.Auth = nobodyChanges{}
		_, err := g.our().Propose(in, ProposalOptions{Update: &LeafChange{Signer: g.inputOf(c).Signer, Capabilities: &lists}})
		return err
	}},
	{"13.5-1/group", func(t *testing.T) error {
		f := newForger(t)
		c := ProfileRFC.capabilities()
		c.Extensions = append(c.Extensions, 0x0a0a)
		_, err := NewGroup(f.inputOf(f.client("alice")), GroupOptions{
			GroupID: []byte("room"), Profile: ProfileRFC, Extensions: Extensions{{Type: 0x0a0a}}, Leaf: KeyPackageOptions{Capabilities: &c},
		})
		return err
	}},
	{"13.5-1/extensions", func(t *testing.T) error {
		// All members list it.
		g := newForger(t).group(forgedOptions{leaf: func(_ LeafIndex, l *LeafNode) { l.Capabilities.Extensions = []ExtensionType{0x0a0a} }})
		_, err := g.our().Commit(g.ourInput(), CommitOptions{Proposals: []Proposal{*g.extensions(Extension{Type: 0x0a0a})}})
		return err
	}},
}

var sendConstructed = []checkCase{
	{"6.1-1", func(t *testing.T) error {
		// The keys that receivers take by the sender's type.
		g, server := forgedSenders(t)
		oc, m, err := g.publicCommit(CommitOptions{})
		if err != nil {
			return err
		}
		if _, err := openPublicMessage(new(Input), g.s, m, g.epoch.membership, g.tree.Leaf(us).SignatureKey, g.encoded); err != nil {
			return fmt.Errorf("member: %w", err)
		}
		if oc.External() {
			return errors.New("an own commit is external")
		}
		p, err := NewExternalProposal(g.inputOf(server), ExternalProposalOptions{
			CipherSuite: CipherSuite(g.s.ID()), GroupID: g.context.GroupID, Epoch: g.context.Epoch, Proposal: g.remove(1),
		})
		if err != nil {
			return err
		}
		if err := g.process(p); err != nil {
			return fmt.Errorf("external sender: %w", err)
		}
		kp := g.erin()
		if p, err = NewMemberProposal(g.inputOf(g.known[string(kp.LeafNode.SignatureKey)]), g.context.GroupID, g.context.Epoch, kp); err != nil {
			return err
		}
		if err := g.process(p); err != nil {
			return fmt.Errorf("new member's proposal: %w", err)
		}
		if oc, err = g.joinsExternally(g.joinable(forgedWelcome{})); err != nil {
			return err
		}
		if err := g.process(oc.Bundle.Commit); err != nil {
			return fmt.Errorf("new member's commit: %w", err)
		}
		return nil
	}},
	{"6.2-1", func(t *testing.T) error {
		g := groupOf(t)
		_, m, err := g.publicCommit(CommitOptions{})
		if err != nil {
			return err
		}
		tbm := appendUint16(appendUint16(nil, 1), uint16(WireFormatPublicMessage))
		tbm = append(m.Content.append(tbm), g.encoded...)
		tbm = m.Auth.append(tbm, ContentTypeCommit)
		if !bytes.Equal(m.MembershipTag, g.s.MAC(nil, g.epoch.membership, tbm)) {
			return errors.New("another membership tag")
		}
		return nil
	}},
	{"6.3.1-3", func(t *testing.T) error {
		// Each message's records lead to the next generation, also where all
		// that is left of the group is its records.
		g := groupOf(t)
		tr, err := Join(g.input(), g.welcome(forgedWelcome{}), g.joinOptions())
		if err != nil {
			return err
		}
		h := &holder{store: newRecords(), g: tr.Next}
		h.store.apply(tr.Changes)
		for i := range uint32(4) {
			h.cold = i >= 2
			tr, err := h.step(func(group *Group) (*Transition, error) { return group.Encrypt(g.ourInput(), []byte("hello"), nil) })
			if err != nil {
				return err
			}
			if tr.Outbound.Generation != i {
				return fmt.Errorf("message %d has generation %d", i, tr.Outbound.Generation)
			}
		}
		return nil
	}},
	{"6.3.1-4", func(t *testing.T) error {
		g := groupOf(t)
		in := g.ourInput()
		in.Rand = bytes.NewReader([]byte{1, 2, 3, 4, 5, 6, 7, 8})
		for _, want := range [][4]byte{{1, 2, 3, 4}, {5, 6, 7, 8}} {
			tr, err := g.our().Encrypt(in, []byte("hello"), nil)
			if err != nil {
				return err
			}
			d, plain, err := g.openSealed(tr.Outbound.Message) // with the guard in the nonce
			if err != nil {
				return err
			}
			if d.reuseGuard != want || !bytes.HasPrefix(plain, []byte("\x05hello")) {
				return fmt.Errorf("reuse guard %x, want %x", d.reuseGuard, want)
			}
		}
		return nil
	}},
	{"7.2-7", func(t *testing.T) error {
		// Our leaf in our Update and after our path.
		g := groupOf(t)
		m, err := g.publicProposal(ProposalOptions{})
		if err != nil {
			return err
		}
		oc, _, err := g.publicCommit(CommitOptions{ForcePath: true})
		if err != nil {
			return err
		}
		merged, err := g.our().Merge(oc)
		if err != nil {
			return err
		}
		after, err := merged.Next.Member(us)
		if err != nil {
			return err
		}
		for _, l := range []*LeafNode{m.Content.Proposal.Update.LeafNode, after} {
			if bytes.Equal(l.EncryptionKey, g.tree.Leaf(us).EncryptionKey) {
				return errors.New("the leaf has not changed")
			}
			if err := verifySignatures(g.s, []leafSignature{l.signature(g.context.GroupID, us)}); err != nil {
				return err
			}
		}
		return nil
	}},
	{"8.4-1", func(t *testing.T) error {
		g := groupOf(t)
		kp := g.erin()
		oc, m, err := g.publicCommit(CommitOptions{Proposals: []Proposal{*g.psk("b", nil), *g.add(kp), *g.psk("a", nil), *g.psk("c", nil)}})
		if err != nil {
			return err
		}
		gs, err := g.groupSecrets(oc.Bundle.Welcome, kp)
		if err != nil {
			return err
		}
		var psks []PreSharedKeyID
		for _, p := range m.Content.Commit.Proposals {
			if p.Proposal.PreSharedKey != nil {
				psks = append(psks, p.Proposal.PreSharedKey.PSK)
			}
		}
		if len(psks) != 3 || len(gs.PSKs) != 3 {
			return fmt.Errorf("%d PSKs in the commit, %d in the Welcome", len(psks), len(gs.PSKs))
		}
		for i := range psks {
			if !psks[i].equal(&gs.PSKs[i]) {
				return fmt.Errorf("PSK %d is %q in the commit, %q in the Welcome", i, psks[i].ExternalID, gs.PSKs[i].ExternalID)
			}
		}
		return nil
	}},
	{"8.4-2", func(t *testing.T) error {
		// The same PSK proposed once more, and committed.
		g := groupOf(t)
		unnumbered := g.psk("key", func(id *PreSharedKeyID) { id.Nonce = nil })
		seen := map[string]bool{}
		for range 2 {
			p, err := g.publicProposal(ProposalOptions{Proposal: unnumbered})
			if err != nil {
				return err
			}
			_, c, err := g.publicCommit(CommitOptions{Proposals: []Proposal{*unnumbered}})
			if err != nil {
				return err
			}
			for _, id := range []PreSharedKeyID{p.Content.Proposal.PreSharedKey.PSK, c.Content.Commit.Proposals[0].Proposal.PreSharedKey.PSK} {
				if len(id.Nonce) != g.s.HashSize() || seen[string(id.Nonce)] {
					return fmt.Errorf("nonce %x", id.Nonce)
				}
				seen[string(id.Nonce)] = true
			}
		}
		return nil
	}},
	{"11-2", func(t *testing.T) error {
		f := newForger(t)
		in := f.inputOf(f.client("alice"))
		var authenticators [][]byte
		for range 2 {
			tr, err := NewGroup(in, GroupOptions{GroupID: []byte("room"), Profile: ProfileRFC})
			if err != nil {
				return err
			}
			g := tr.Next
			gc := g.GroupContext()
			if gc.Epoch != 0 || len(gc.ConfirmedTranscriptHash) != 0 || g.MemberCount() != 1 || g.OwnLeaf() != 0 {
				return fmt.Errorf("%d members, context %+v", g.MemberCount(), gc)
			}
			tag := g.head.secrets.confirmationTag(f.s, nil)
			if !bytes.Equal(tag, g.ConfirmationTag()) || !bytes.Equal(g.head.interim, f.s.Hash(nil, appendOpaque(nil, tag))) {
				return errors.New("another interim transcript hash")
			}
			authenticators = append(authenticators, g.EpochAuthenticator().Clone())
		}
		if bytes.Equal(authenticators[0], authenticators[1]) {
			return errors.New("the epoch secret is not random")
		}
		return nil
	}},
	{"12.1.8-1", func(t *testing.T) error {
		g, server := forgedSenders(t)
		p, err := NewExternalProposal(g.inputOf(server), ExternalProposalOptions{
			CipherSuite: CipherSuite(g.s.ID()), GroupID: g.context.GroupID, Epoch: g.context.Epoch, Proposal: g.remove(1),
		})
		if err != nil {
			return err
		}
		if _, err := readPublic(p); err != nil {
			return err
		}
		kp := g.erin()
		if p, err = NewMemberProposal(g.inputOf(g.known[string(kp.LeafNode.SignatureKey)]), g.context.GroupID, g.context.Epoch, kp); err != nil {
			return err
		}
		_, err = readPublic(p)
		return err
	}},
	{"12.4.1-2", func(t *testing.T) error {
		g := groupOf(t)
		frank := g.keyPackage(g.client("frank"), func(l *LeafNode) { supportsAll(0, l) }, nil)
		erin := g.erin()
		// One by value, one that frank has proposed.
		m, err := NewMemberProposal(g.inputOf(g.known[string(frank.LeafNode.SignatureKey)]), g.context.GroupID, g.context.Epoch, frank)
		if err != nil {
			return err
		}
		g.must(g.process(m))
		oc, _, err := g.publicCommit(CommitOptions{Proposals: []Proposal{*g.add(erin)}})
		if err != nil {
			return err
		}
		for _, kp := range []*KeyPackage{erin, frank} {
			if _, err := g.groupSecrets(oc.Bundle.Welcome, kp); err != nil {
				return err
			}
		}
		return nil
	}},
	{"12.4.1-4", func(t *testing.T) error {
		g := reInited(t)
		o := SuccessorOptions{}
		for i := range us {
			o.KeyPackages = append(o.KeyPackages, g.keyPackage(g.members[i], nil, nil))
		}
		n, err := g.our().ReInitialize(g.ourInput(), o)
		if err != nil {
			return err
		}
		for _, kp := range o.KeyPackages {
			gs, err := g.groupSecrets(n.Welcome, kp)
			if err != nil {
				return err
			}
			if len(gs.PSKs) != 1 {
				return fmt.Errorf("%d PSKs", len(gs.PSKs))
			}
			id := gs.PSKs[0]
			if id.Type != PSKTypeResumption || id.Usage != ResumptionPSKUsageReInit || !bytes.Equal(id.GroupID, g.context.GroupID) || id.Epoch != g.context.Epoch {
				return fmt.Errorf("PSK %+v", id)
			}
		}
		return nil
	}},
	{"13.5-2", func(t *testing.T) error {
		// Listed or not, a GREASE value is treated as any other.
		for _, grease := range []ExtensionType{0x0a0a, 0x7777} {
			list := func(l *LeafNode) { l.Capabilities.Extensions = append(l.Capabilities.Extensions, grease) }
			extend := func(kp *KeyPackage) { kp.Extensions = Extensions{{Type: grease}} }
			if err := groupOf(t).adds(list, extend); err != nil {
				return fmt.Errorf("0x%04x listed: %w", uint16(grease), err)
			}
			if err := groupOf(t).adds(nil, extend); !errors.Is(err, CheckKeyPackageExtensions) {
				return fmt.Errorf("0x%04x not listed: %v", uint16(grease), err)
			}
			g := groupOf(t)
			if err := g.commits(g.extensions(Extension{Type: grease})); !errors.Is(err, CheckLeafGroupExtensions) {
				return fmt.Errorf("0x%04x in the group: %v", uint16(grease), err)
			}
		}
		return nil
	}},
	{"13.5-3", func(t *testing.T) error {
		// All members list GREASE values, erin and frank none or others. All
		// get along, whoever adds whom.
		grease := func(_ LeafIndex, l *LeafNode) {
			c := &l.Capabilities
			c.CipherSuites = append(c.CipherSuites, 0x1a1a)
			c.Extensions = append(c.Extensions, 0x2a2a)
			c.Proposals = append(c.Proposals, 0x3a3a)
			c.Credentials = append(c.Credentials, 0x4a4a)
		}
		g := newForger(t).group(forgedOptions{leaf: grease})
		erin := g.keyPackage(g.client("erin"), nil, nil)
		if err := g.commits(g.add(erin)); err != nil {
			return err
		}
		g = newForger(t).group(forgedOptions{leaf: grease})
		frank := g.keyPackage(g.client("frank"), func(l *LeafNode) { l.Capabilities.Credentials = append(l.Capabilities.Credentials, 0x5a5a) }, nil)
		_, _, err := g.publicCommit(CommitOptions{Proposals: []Proposal{*g.add(frank), *g.extensions()}})
		return err
	}},
	{"14-3", func(t *testing.T) error {
		g := groupOf(t)
		before := *g.our()
		oc, m, err := g.publicCommit(CommitOptions{Proposals: []Proposal{*g.remove(1)}})
		if err != nil {
			return err
		}
		if oc.Before != nil || m.Content.Epoch != g.context.Epoch {
			return errors.New("a commit in the open uses up something")
		}
		if before.head != g.our().head || before.tree != g.our().tree || before.path != g.our().path || g.our().Epoch() != g.context.Epoch {
			return errors.New("the state has changed")
		}
		// Bob is still heard, and alice's commit for the same epoch still counts.
		if err := g.process(g.application(1, "hello")); err != nil {
			return err
		}
		c, _ := g.commit(forgedCommit{})
		return g.process(c)
	}},
}

// groupSecrets are what our Welcome tells the owner of a key package.
func (g *forgedGroup) groupSecrets(welcome []byte, kp *KeyPackage) (*GroupSecrets, error) {
	m, err := ParseMLSMessage(welcome)
	if err != nil {
		return nil, err
	}
	_, gs, err := openWelcome(m.Welcome, g.bundles[kp])
	return gs, err
}
