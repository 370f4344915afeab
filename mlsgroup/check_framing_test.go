package mlsgroup

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// forgedSenders is a group with one external sender, the client returned.
func forgedSenders(t *testing.T) (*forgedGroup, *forgedClient) {
	f := newForger(t)
	server := f.client("server")
	return f.group(forgedOptions{context: func(gc *GroupContext) {
		gc.Extensions = append(gc.Extensions, ExternalSendersExtension([]ExternalSender{{
			SignatureKey: server.signatureKey, Credential: server.credential,
		}}))
	}}), server
}

// signedBy frames content of any sender, signed by the client.
func (g *forgedGroup) signedBy(c *forgedClient, sender Sender, edit func(*AuthenticatedContent)) []byte {
	g.t.Helper()
	ac := g.content(0, WireFormatPublicMessage, ContentTypeProposal)
	ac.Content.Sender = sender
	edit(ac)
	g.must(ac.sign(g.s, c.signPriv, g.encoded))
	return g.publicMessage(ac, nil)
}

// proposes makes p the content.
func proposes(p *Proposal) func(*AuthenticatedContent) {
	return func(ac *AuthenticatedContent) { ac.Content.Proposal = p }
}

// commits makes a commit without anything the content.
func commits(ac *AuthenticatedContent) {
	ac.Content.ContentType, ac.Content.Commit = ContentTypeCommit, &Commit{}
	ac.Auth.ConfirmationTag = make([]byte, 32)
}

// withoutCarol is a group whose leaf 2 is blank.
func withoutCarol(t *testing.T) *forgedGroup {
	return newForger(t).group(forgedOptions{before: func(e *treeEdit) { e.remove(2) }})
}

var framingRefused = []checkCase{
	{"6-1", func(t *testing.T) error {
		g := newForger(t).group(forgedOptions{})
		return g.process(g.signedBy(g.members[1], Sender{Type: SenderTypeMember, LeafIndex: 1}, func(ac *AuthenticatedContent) {
			ac.Content.ContentType, ac.Content.Application = ContentTypeApplication, []byte("hello")
		}))
	}},
	{"6.1-2", func(t *testing.T) error {
		g, server := forgedSenders(t)
		return g.process(g.signedBy(server, Sender{Type: SenderTypeExternal}, commits))
	}},
	{"6.1-3/rfc", func(t *testing.T) error {
		g, server := forgedSenders(t)
		return g.process(g.signedBy(server, Sender{Type: SenderTypeExternal}, proposes(g.update(1, nil))))
	}},
	{"6.1-3/wire", func(t *testing.T) error {
		g, server := forgedSenders(t)
		g.profile = ProfileWire
		return g.process(g.signedBy(server, Sender{Type: SenderTypeExternal}, proposes(g.add(g.erin()))))
	}},
	{"6.1-4", func(t *testing.T) error {
		g := newForger(t).group(forgedOptions{})
		c := g.client("erin")
		return g.process(g.signedBy(c, Sender{Type: SenderTypeNewMemberCommit}, proposes(g.add(g.keyPackage(c, nil, nil)))))
	}},
	{"6.1-5", func(t *testing.T) error {
		g := newForger(t).group(forgedOptions{})
		return g.process(g.signedBy(g.client("erin"), Sender{Type: SenderTypeNewMemberProposal}, commits))
	}},
	{"6.1-6", func(t *testing.T) error {
		g := newForger(t).group(forgedOptions{})
		return g.process(g.signedBy(g.client("erin"), Sender{Type: SenderTypeNewMemberProposal}, proposes(g.remove(1))))
	}},
	{"6.1-7/member-public", func(t *testing.T) error {
		g := newForger(t).group(forgedOptions{})
		return g.process(g.signedBy(g.members[2], Sender{Type: SenderTypeMember, LeafIndex: 1}, proposes(g.remove(0))))
	}},
	{"6.1-7/member-private", func(t *testing.T) error {
		g := newForger(t).group(forgedOptions{})
		ac := g.content(1, WireFormatPrivateMessage, ContentTypeApplication)
		ac.Content.Application = []byte("hello")
		g.must(ac.sign(g.s, g.members[2].signPriv, g.encoded))
		return g.process(g.privateMessage(ac, forgedPrivate{}))
	}},
	{"6.1-7/external", func(t *testing.T) error {
		g, _ := forgedSenders(t)
		return g.process(g.signedBy(g.members[0], Sender{Type: SenderTypeExternal}, proposes(g.remove(1))))
	}},
	{"6.1-7/new-member-commit", func(t *testing.T) error {
		g := newForger(t).group(forgedOptions{})
		p, init := g.externalInit()
		m, _ := g.commit(forgedCommit{external: g.client("erin"), proposals: byValue(p), init: init, signer: g.members[0]})
		return g.process(m)
	}},
	{"6.1-7/new-member-proposal", func(t *testing.T) error {
		g := newForger(t).group(forgedOptions{})
		kp := g.keyPackage(g.client("erin"), nil, nil)
		return g.process(g.signedBy(g.members[0], Sender{Type: SenderTypeNewMemberProposal}, proposes(g.add(kp))))
	}},
	{"6.2-2", func(t *testing.T) error {
		g := newForger(t).group(forgedOptions{})
		ac := g.content(1, WireFormatPublicMessage, ContentTypeProposal)
		ac.Content.Proposal = g.remove(0)
		g.must(ac.sign(g.s, g.members[1].signPriv, g.encoded))
		return g.process(g.publicMessage(ac, func(m *PublicMessage) { m.MembershipTag[0] ^= 1 }))
	}},
	{"6.3.1-2", func(t *testing.T) error {
		g := newForger(t).group(forgedOptions{})
		ac := g.content(1, WireFormatPrivateMessage, ContentTypeApplication)
		ac.Content.Application = []byte("hello")
		g.must(ac.sign(g.s, g.members[1].signPriv, g.encoded))
		return g.process(g.privateMessage(ac, forgedPrivate{padding: append(make([]byte, 40), 1)}))
	}},
	{"6.3.2-2/private", func(t *testing.T) error {
		g := withoutCarol(t)
		return g.process(g.application(2, "hello"))
	}},
	{"6.3.2-2/outside", func(t *testing.T) error {
		g := groupOf(t)
		m, err := ParseMLSMessage(g.application(1, "hello"))
		g.must(err)
		g.must(sealSenderData(g.s, g.epoch.senderData, m.PrivateMessage, senderData{leaf: 4}))
		return g.process(m.Marshal())
	}},
	{"6.3.2-2/public", func(t *testing.T) error {
		g := withoutCarol(t)
		m, _ := g.proposeBy(2, g.remove(1))
		return g.process(m)
	}},
}

// openSealed decrypts a message of a member down to its plaintext.
func (g *forgedGroup) openSealed(message []byte) (d senderData, plain []byte, err error) {
	m, err := ParseMLSMessage(message)
	if err != nil {
		return d, nil, err
	}
	if m.PrivateMessage == nil {
		return d, nil, errors.New("no private message")
	}
	if d, err = openSenderData(g.s, g.epoch.senderData, m.PrivateMessage); err != nil {
		return d, nil, err
	}
	tree, _ := newSecretTree(g.epoch.encryption.Clone(), g.tree.LeafCount())
	st, err := tree.take(g.s, d.leaf, ratchetOf(m.PrivateMessage.ContentType), d.generation, ReceiveConfig{}.withDefaults())
	if err != nil {
		return d, nil, err
	}
	plain, err = g.s.OpenAEAD(nil, st.key.key, guardedNonce(&st.key, d.reuseGuard), contentAAD(m.PrivateMessage), m.PrivateMessage.Ciphertext)
	return d, plain, err
}

// sealed makes bob's message with the package's own code.
func (g *forgedGroup) sealed(guard [4]byte, padTo int) []byte {
	g.t.Helper()
	ac := g.content(1, WireFormatPrivateMessage, ContentTypeApplication)
	ac.Content.Application = []byte("hello")
	g.must(ac.sign(g.s, g.members[1].signPriv, g.encoded))
	st, err := g.secrets.send(g.s, 1, applicationRatchet)
	g.must(err)
	g.secrets = st.next
	m, err := sealPrivateMessage(g.s, ac, st.key, guard, g.epoch.senderData, padTo)
	g.must(err)
	return m
}

var framingConstructed = []checkCase{
	{"6.3.1-1", func(t *testing.T) error {
		g := newForger(t).group(forgedOptions{})
		_, plain, err := g.openSealed(g.sealed([4]byte{}, 512))
		if err != nil {
			return err
		}
		r := reader{b: plain}
		_, _ = r.opaque(), r.opaque() // text and signature
		if r.err != nil || len(plain)+16 != 512 || !bytes.Equal(r.b, make([]byte, len(r.b))) {
			return fmt.Errorf("plaintext of %d bytes with %d of padding, not all zero (%v)", len(plain), len(r.b), r.err)
		}
		return nil
	}},
	{"6.3.1-5", func(t *testing.T) error {
		g := newForger(t).group(forgedOptions{})
		guard := [4]byte{1, 2, 3, 4}
		d, _, err := g.openSealed(g.sealed(guard, 0))
		if err == nil && d.reuseGuard != guard {
			err = errors.New("another reuse guard")
		}
		return err
	}},
	{"6.3.2-1", func(t *testing.T) error {
		g := newForger(t).group(forgedOptions{})
		d, _, err := g.openSealed(g.sealed([4]byte{}, 0))
		if err != nil {
			return err
		}
		if d.leaf != 1 {
			return fmt.Errorf("leaf %d", d.leaf)
		}
		// A sender that is no member gets no sender data.
		ac := g.content(0, WireFormatPrivateMessage, ContentTypeProposal)
		ac.Content.Sender, ac.Content.Proposal = Sender{Type: SenderTypeExternal}, g.remove(1)
		st, err := g.secrets.send(g.s, 0, handshakeRatchet)
		g.must(err)
		if _, err := sealPrivateMessage(g.s, ac, st.key, [4]byte{}, g.epoch.senderData, 0); err == nil {
			return errors.New("sealed for an external sender")
		}
		return nil
	}},
}
