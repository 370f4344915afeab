package mlsgroup

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// senders is an external_senders extension with one sender, whose key is the
// same for the same name and forger.
func (f *forger) senders(name string) Extension {
	f.t.Helper()
	c := f.client(name)
	return ExternalSendersExtension([]ExternalSender{{SignatureKey: c.signatureKey, Credential: c.credential}})
}

// reInit makes a ReInit to a group of the same kind.
func (g *forgedGroup) reInit(edit func(*ReInit)) *Proposal {
	r := &ReInit{GroupID: []byte("next room"), Version: g.context.Version, CipherSuite: g.context.CipherSuite}
	if edit != nil {
		edit(r)
	}
	return &Proposal{Type: ProposalTypeReInit, ReInit: r}
}

// resumption makes a proposal of a resumption PSK of this epoch.
func (g *forgedGroup) resumption(usage ResumptionPSKUsage) *Proposal {
	return g.psk("", func(id *PreSharedKeyID) {
		id.Type, id.ExternalID = PSKTypeResumption, nil
		id.Usage, id.GroupID, id.Epoch = usage, g.context.GroupID, g.context.Epoch
	})
}

// erin makes a key package of a client that fits any group of these cases.
func (g *forgedGroup) erin() *KeyPackage {
	g.t.Helper()
	return g.keyPackage(g.client("erin"), func(l *LeafNode) { supportsAll(0, l) }, nil)
}

// externally is what we make of erin's external commit with the proposals
// beside its ExternalInit.
func (g *forgedGroup) externally(c forgedCommit, ps ...*Proposal) error {
	g.t.Helper()
	p, init := g.externalInit()
	if c.external == nil {
		c.external = g.client("erin")
	}
	c.init = init
	c.proposals = append(byValue(append([]*Proposal{p}, ps...)...), c.proposals...)
	m, _ := g.commit(c)
	return g.process(m)
}

var proposalRefused = []checkCase{
	{"12.1-1/proposal", func(t *testing.T) error {
		g := groupOf(t)
		return g.process(g.signedBy(g.members[1], Sender{Type: SenderTypeMember, LeafIndex: 1}, func(ac *AuthenticatedContent) {
			ac.Content.Epoch, ac.Content.Proposal = g.context.Epoch+1, g.remove(0)
		}))
	}},
	{"12.1-1/private", func(t *testing.T) error {
		// Encrypted in the epoch that has just ended and is still kept.
		g := groupOf(t)
		ac := g.content(1, WireFormatPrivateMessage, ContentTypeProposal)
		ac.Content.Proposal = g.remove(0)
		g.must(ac.sign(g.s, g.members[1].signPriv, g.encoded))
		late := g.privateMessage(ac, forgedPrivate{})
		return g.follow(forgedCommit{}).process(late)
	}},
	{"12.1-1/commit", func(t *testing.T) error {
		g := groupOf(t)
		m, _ := g.commit(forgedCommit{content: func(c *FramedContent) { c.Epoch-- }})
		return g.process(m)
	}},
	{"12.1.3-1/blank", func(t *testing.T) error {
		g := withoutCarol(t)
		return g.commits(g.remove(2))
	}},
	{"12.1.3-1/outside", func(t *testing.T) error {
		g := groupOf(t)
		return g.commits(g.remove(4))
	}},
	{"12.1.4-1", func(t *testing.T) error {
		g := groupOf(t)
		return g.commits(g.resumption(ResumptionPSKUsageReInit))
	}},
	{"12.1.4-2", func(t *testing.T) error {
		g := groupOf(t)
		return g.commits(g.resumption(ResumptionPSKUsageBranch))
	}},
	{"12.1.4-3", func(t *testing.T) error {
		g := groupOf(t)
		return g.commits(g.psk("key", func(id *PreSharedKeyID) { id.Nonce = id.Nonce[1:] }))
	}},
	{"12.1.5-1/received", func(t *testing.T) error {
		g := groupOf(t)
		return g.commits(g.reInit(func(r *ReInit) { r.Version = 0 }))
	}},
	{"12.1.7-1", func(t *testing.T) error {
		g := newForger(t).group(forgedOptions{leaf: func(i LeafIndex, l *LeafNode) {
			if supportsAll(i, l); i == 2 {
				noOtherExtension(l)
			}
		}})
		return g.commits(g.extensions(requires(RequiredCapabilities{Extensions: []ExtensionType{otherExtension}})))
	}},
	{"12.1.8-2/absent", func(t *testing.T) error {
		g := groupOf(t)
		return g.process(g.signedBy(g.client("server"), Sender{Type: SenderTypeExternal}, proposes(g.remove(1))))
	}},
	{"12.1.8-2/index", func(t *testing.T) error {
		g, server := forgedSenders(t)
		return g.process(g.signedBy(server, Sender{Type: SenderTypeExternal, Index: 1}, proposes(g.remove(1))))
	}},
	{"13.4-7", func(t *testing.T) error {
		g := newForger(t).group(forgedOptions{leaf: func(i LeafIndex, l *LeafNode) {
			if supportsAll(i, l); i == 2 {
				noOtherExtension(l)
			}
		}})
		return g.commits(g.extensions(Extension{Type: otherExtension}))
	}},
}

var proposalListRefused = []checkCase{
	{"12.2-1/by-reference", func(t *testing.T) error {
		g := groupOf(t)
		return g.committedBy(1, 1, g.update(1, nil))
	}},
	{"12.2-1/by-value", func(t *testing.T) error {
		g := groupOf(t)
		return g.commits(g.update(0, nil))
	}},
	{"12.2-2/received", func(t *testing.T) error {
		g := groupOf(t)
		return g.committedBy(0, 1, g.remove(0))
	}},
	{"12.2-3/removes", func(t *testing.T) error {
		g := groupOf(t)
		return g.commits(g.remove(1), g.remove(1))
	}},
	{"12.2-3/update-remove", func(t *testing.T) error {
		g := groupOf(t)
		m, ref := g.proposeBy(1, g.update(1, nil))
		c, _ := g.commit(forgedCommit{proposals: append(byValue(g.remove(1)), ref)})
		return g.process(m, c)
	}},
	{"12.2-4", func(t *testing.T) error {
		// Two key packages of one client, with keys of their own.
		g := groupOf(t)
		erin := g.client("erin")
		first := g.keyPackage(erin, func(l *LeafNode) { supportsAll(0, l) }, nil)
		return g.commits(g.add(first), g.add(g.keyPackage(erin, func(l *LeafNode) { supportsAll(0, l) }, nil)))
	}},
	{"12.2-5", func(t *testing.T) error {
		g := groupOf(t)
		return g.commits(g.add(g.keyPackage(g.members[2], func(l *LeafNode) { supportsAll(0, l) }, nil)))
	}},
	{"12.2-6", func(t *testing.T) error {
		g := groupOf(t)
		p := g.psk("key", nil)
		return g.commits(p, p)
	}},
	{"12.2-7", func(t *testing.T) error {
		g := groupOf(t)
		return g.commits(g.extensions(Extension{Type: otherExtension}), g.extensions(Extension{Type: otherExtension}))
	}},
	{"12.2-8", func(t *testing.T) error {
		g := groupOf(t)
		return g.commits(g.reInit(nil), g.remove(1))
	}},
	{"12.2-9/received", func(t *testing.T) error {
		g := groupOf(t)
		p, _ := g.externalInit()
		return g.commits(p)
	}},
	{"12.2-10/sent", func(t *testing.T) error {
		g := groupOf(t)
		_, err := g.our().Propose(g.ourInput(), ProposalOptions{Proposal: &Proposal{Type: otherProposal}})
		return err
	}},
	{"12.2-10/received", func(t *testing.T) error {
		// A type that all members list and this package does not implement.
		g := groupOf(t)
		return g.commits(&Proposal{Type: otherProposal})
	}},
	{"12.2-12/none", func(t *testing.T) error {
		g := groupOf(t)
		m, _ := g.commit(forgedCommit{external: g.client("erin")})
		return g.process(m)
	}},
	{"12.2-12/two", func(t *testing.T) error {
		g := groupOf(t)
		first, _ := g.externalInit()
		second, init := g.externalInit()
		m, _ := g.commit(forgedCommit{external: g.client("erin"), proposals: byValue(first, second), init: init})
		return g.process(m)
	}},
	{"12.2-13", func(t *testing.T) error {
		g := groupOf(t)
		bob := g.client("bob, again")
		return g.externally(forgedCommit{external: bob}, g.remove(1), g.remove(2))
	}},
	{"12.2-14/identity", func(t *testing.T) error {
		g := groupOf(t)
		return g.externally(forgedCommit{}, g.remove(1))
	}},
	{"12.2-14/encryption-key", func(t *testing.T) error {
		g := groupOf(t)
		return g.externally(forgedCommit{
			external: g.client("bob"),
			leaf:     func(l *LeafNode) { l.EncryptionKey = g.tree.Leaf(1).EncryptionKey },
		}, g.remove(1))
	}},
	{"12.2-15", func(t *testing.T) error {
		g := groupOf(t)
		return g.externally(forgedCommit{}, g.add(g.keyPackage(g.client("frank"), func(l *LeafNode) { supportsAll(0, l) }, nil)))
	}},
	{"12.4.3.2-1", func(t *testing.T) error {
		g := groupOf(t)
		return g.externally(forgedCommit{noPath: true})
	}},
	{"12.4.3.2-2", func(t *testing.T) error {
		g := groupOf(t)
		psk := g.psk("key", nil)
		m, ref := g.proposeBy(2, psk)
		p, init := g.externalInit()
		c, _ := g.commit(forgedCommit{
			external: g.client("erin"), proposals: append(byValue(p), ref), init: init, psks: []preSharedKey{g.keyOf(psk)},
		})
		return g.process(m, c)
	}},
}

var proposalConstructed = []checkCase{
	{"12.3-1", func(t *testing.T) error {
		// Listed the other way round: the two Adds, then the Remove of carol,
		// bob's Update and the extensions that the added ones must support. The
		// first added takes carol's place.
		g := groupOf(t)
		kp := func(name string) *KeyPackage {
			return g.keyPackage(g.client(name), func(l *LeafNode) { supportsAll(0, l) }, nil)
		}
		erin, frank := kp("erin"), kp("frank")
		m, ref := g.proposeBy(1, g.update(1, nil))
		psk := []*Proposal{g.psk("second", nil), g.psk("first", nil)}
		c, next := g.commit(forgedCommit{
			proposals: append(append(byValue(psk[0], g.add(erin), g.add(frank), psk[1], g.remove(2)), ref),
				byValue(g.extensions(Extension{Type: otherExtension}))...),
			psks: []preSharedKey{g.keyOf(psk[0]), g.keyOf(psk[1])},
		})
		if err := g.process(m, c); err != nil {
			return err
		}
		after := g.now
		for i, want := range map[LeafIndex][]byte{2: erin.LeafNode.SignatureKey, 4: frank.LeafNode.SignatureKey, 1: g.members[1].signatureKey} {
			l, err := after.Member(i)
			if err != nil {
				return err
			}
			if l == nil || !bytes.Equal(l.SignatureKey, want) {
				return fmt.Errorf("leaf %d is another client", i)
			}
		}
		gc := after.GroupContext()
		if !gc.Extensions.equal(next.context.Extensions) || !bytes.Equal(gc.TreeHash, next.context.TreeHash) {
			return errors.New("another group context")
		}
		return nil
	}},
	{"12.3-2", func(t *testing.T) error {
		// Erin does not meet what the group requires now, and does what it will
		// require; then the other way round.
		other := requires(RequiredCapabilities{Credentials: []CredentialType{otherCredential}})
		without := func(l *LeafNode) { l.Capabilities.Credentials = []CredentialType{CredentialTypeBasic} }
		g := groupOf(t, other)
		if err := g.commits(g.add(g.keyPackage(g.client("erin"), without, nil)), g.extensions()); err != nil {
			return fmt.Errorf("judged by the extensions that go: %w", err)
		}
		g = groupOf(t)
		err := g.commits(g.add(g.keyPackage(g.client("erin"), without, nil)), g.extensions(other))
		if !errors.Is(err, CheckRequiredCapabilities) {
			return fmt.Errorf("not judged by the extensions that come: %v", err)
		}
		return nil
	}},
}
