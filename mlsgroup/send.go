package mlsgroup

import (
	"bytes"
	"fmt"

	"github.com/conclave-mls/conclave/internal/secret"
)

// Application messages and proposals that we send.

// Encrypt makes an application message (RFC 9420 section 6.3). The transition
// has to be written before the message leaves. Errors a caller may want to tell
// apart: ErrPendingProposals, ErrInactive, *Need.
func (g *Group) Encrypt(in Input, plaintext, authenticatedData []byte) (*Transition, error) {
	if err := g.head.active(); err != nil {
		return nil, err
	}
	if err := checkMessageSize(len(plaintext), len(authenticatedData)); err != nil {
		return nil, err
	}
	signer, err := g.signer(&in)
	if err != nil {
		return nil, err
	}
	_, secretErr := g.secrets.generation(g.head.own, applicationRatchet)
	if err := needBoth(g.need(partProposals), secretError(secretErr, g.Epoch())); err != nil {
		return nil, err
	}
	if n := len(g.proposals.list); n > 0 {
		return nil, fmt.Errorf("%w: %w", ErrPendingProposals, CheckProposalsPending.Errorf("%d proposals", n))
	}
	c := g.content(ContentTypeApplication, authenticatedData)
	c.Application = plaintext
	ac := &AuthenticatedContent{WireFormat: WireFormatPrivateMessage, Content: c}
	if err := ac.sign(g.s, signer.Private, g.head.encodedContext); err != nil {
		return nil, err
	}
	return g.sealPrivate(&in, ac)
}

// content begins a FramedContent of ours.
func (g *Group) content(t ContentType, authenticatedData []byte) FramedContent {
	return FramedContent{
		GroupID: g.GroupID(), Epoch: g.Epoch(), Sender: Sender{Type: SenderTypeMember, LeafIndex: g.head.own},
		AuthenticatedData: authenticatedData, ContentType: t,
	}
}

// sealPrivate encrypts signed content with the next key of the own ratchet.
func (g *Group) sealPrivate(in *Input, ac *AuthenticatedContent) (*Transition, error) {
	kind := ratchetOf(ac.Content.ContentType)
	st, err := g.secrets.send(g.s, g.head.own, kind)
	if err != nil {
		return nil, secretError(err, g.Epoch())
	}
	random, err := in.random(4)
	if err != nil {
		return nil, err
	}
	message, err := sealPrivateMessage(g.s, ac, st.key, [4]byte(random), g.head.secrets.senderData, g.head.profile.rules().padTo)
	if err != nil {
		return nil, err
	}
	return &Transition{
		Next:     g.withSecrets(g.Epoch(), st.next),
		Changes:  secretChanges(g.Epoch(), st.changed),
		Outbound: &Outbound{Message: message, Encrypted: true, Handshake: kind == handshakeRatchet, Generation: st.key.generation},
		Consumed: st.consumed,
	}, nil
}

// seal protects signed handshake content in the wire format it was signed for.
func (g *Group) seal(in *Input, ac *AuthenticatedContent) (*Transition, error) {
	if ac.WireFormat == WireFormatPrivateMessage {
		return g.sealPrivate(in, ac)
	}
	m := MLSMessage{Version: ProtocolVersionMLS10, WireFormat: WireFormatPublicMessage}
	var err error
	m.PublicMessage, err = sealPublicMessage(g.s, ac, g.head.secrets.membership, g.head.encodedContext)
	if err != nil {
		return nil, err
	}
	return &Transition{Next: g, Outbound: &Outbound{Message: m.Marshal()}}, nil
}

// handshakeFormat returns the wire format of an own handshake message: what the
// caller asks for, or the profile's where that is 0.
func (g *Group) handshakeFormat(asked WireFormat) (WireFormat, error) {
	switch {
	case asked == 0:
		return g.head.handshakeFormat(), nil
	case asked != WireFormatPublicMessage && asked != WireFormatPrivateMessage:
		return 0, fmt.Errorf("%w: wire format %d of a handshake message", ErrWireFormat, asked)
	case !g.head.takesHandshake(asked):
		return 0, fmt.Errorf("%w: handshake message of wire format %d in profile %v", ErrWireFormat, asked, g.head.profile)
	}
	return asked, nil
}

// ProposalOptions says what to propose.
type ProposalOptions struct {
	// Proposal of any type but Update and ExternalInit. The nonce of a
	// PreSharedKey may be left out.
	Proposal *Proposal
	// Update of the own leaf, where Proposal is nil.
	Update *LeafChange
	// AuthenticatedData that goes with the message, readable by all.
	AuthenticatedData []byte
	// WireFormat of the message; 0 for the profile's.
	WireFormat WireFormat
}

// LeafChange is what becomes different in the own leaf, beside its encryption
// key. The zero value changes nothing.
type LeafChange struct {
	// Signer has the new credential and signature key, nil to keep them.
	Signer *Signer
	// Capabilities and Extensions, nil to keep them.
	Capabilities *Capabilities
	Extensions   *Extensions
}

// apply returns a copy of the own leaf with the change and an encryption key,
// not signed yet, and who signs it.
func (c *LeafChange) apply(old *LeafNode, own *Signer, encryptionKey []byte) (*LeafNode, *Signer, error) {
	l := *old
	l.EncryptionKey, l.Lifetime, l.ParentHash, l.Signature = encryptionKey, Lifetime{}, nil, nil
	if c == nil {
		return &l, own, nil
	}
	if c.Capabilities != nil {
		if err := c.Capabilities.checkOwn(); err != nil {
			return nil, nil, err
		}
		l.Capabilities = *c.Capabilities
	}
	if c.Extensions != nil {
		if err := c.Extensions.checkOwn(false); err != nil {
			return nil, nil, err
		}
		l.Extensions = *c.Extensions
	}
	if c.Signer == nil {
		return &l, own, nil
	}
	if c.Signer.CipherSuite != own.CipherSuite {
		return nil, nil, fmt.Errorf("mlsgroup: signature key of suite %v used in suite %v", c.Signer.CipherSuite, own.CipherSuite)
	}
	if greaseValue(uint16(c.Signer.Credential.Type)) {
		return nil, nil, CheckGREASE.Errorf("credential type 0x%04x", uint16(c.Signer.Credential.Type))
	}
	l.SignatureKey, l.Credential = c.Signer.Public, c.Signer.Credential
	return &l, c.Signer, nil
}

// Propose makes a proposal and keeps it, like those of others, until a commit.
// Outbound has the message. Errors: *CheckError, ErrInactive, *Need.
func (g *Group) Propose(in Input, o ProposalOptions) (*Transition, error) {
	if err := g.head.active(); err != nil {
		return nil, err
	}
	signer, err := g.signer(&in)
	if err != nil {
		return nil, err
	}
	format, err := g.handshakeFormat(o.WireFormat)
	if err != nil {
		return nil, err
	}
	if err := g.need(partProposals); err != nil {
		return nil, err
	}
	pending := &pendingProposal{sender: Sender{Type: SenderTypeMember, LeafIndex: g.head.own}}
	if o.Proposal == nil {
		pending.proposal, pending.leafPrivate, err = g.newUpdate(&in, signer, o.Update)
	} else {
		pending.proposal, err = g.newProposal(&in, o.Proposal)
	}
	if err != nil {
		return nil, err
	}
	c := g.content(ContentTypeProposal, o.AuthenticatedData)
	c.Proposal = pending.proposal
	ac := &AuthenticatedContent{WireFormat: format, Content: c}
	if err := ac.sign(g.s, signer.Private, g.head.encodedContext); err != nil {
		return nil, err
	}
	t, err := g.seal(&in, ac)
	if err != nil {
		return nil, err
	}
	pending.ref = ac.proposalRef(g.s)
	next, changes, err := t.Next.storeProposal(pending)
	if err != nil {
		return nil, err
	}
	t.Next, t.Changes = next, append(t.Changes, changes...)
	t.Outbound.ProposalRef = pending.ref
	return t, nil
}

// newUpdate makes an Update proposal of the own leaf and its private key.
func (g *Group) newUpdate(in *Input, signer *Signer, change *LeafChange) (*Proposal, secret.Bytes, error) {
	old, err := g.Member(g.head.own)
	if err != nil {
		return nil, nil, err
	}
	if old == nil {
		return nil, nil, recordError("the own leaf is blank")
	}
	priv, pub, err := in.newKeyPair(g.s)
	if err != nil {
		return nil, nil, err
	}
	leaf, leafSigner, err := change.apply(old, signer, pub)
	if err != nil {
		return nil, nil, err
	}
	leaf.Source = LeafNodeSourceUpdate
	if err := leaf.sign(g.s, leafSigner, g.GroupID(), g.head.own); err != nil {
		return nil, nil, err
	}
	rules, err := leafRulesOf(g.s, &g.head.context)
	if err != nil {
		return nil, nil, err
	}
	if err := rules.check(leaf, g.head.own); err != nil {
		return nil, nil, err
	}
	if err := in.authenticate(leaf, old); err != nil {
		return nil, nil, err
	}
	return &Proposal{Type: ProposalTypeUpdate, Update: &Update{LeafNode: leaf}}, priv, nil
}

// newProposal completes and checks a proposal of ours, by itself and against
// the current epoch.
func (g *Group) newProposal(in *Input, given *Proposal) (*Proposal, error) {
	p, err := in.complete(g.s, given)
	if err != nil {
		return nil, err
	}
	switch p.Type {
	case ProposalTypeUpdate:
		return nil, CheckUpdateByCommitter.Errorf("an Update whose private key is not here")
	case ProposalTypeExternalInit:
		return nil, CheckExternalInitByMember.Errorf("an ExternalInit by a member")
	case ProposalTypeAdd:
		rules, err := leafRulesOf(g.s, &g.head.context)
		if err != nil {
			return nil, err
		}
		return p, checkAdd(in, rules, p.Add.KeyPackage)
	case ProposalTypeRemove:
		leaf, err := g.Member(p.Remove.Removed)
		if err != nil {
			return nil, err
		}
		if leaf == nil {
			return nil, CheckRemoveLeaf.Errorf("leaf %d is blank", p.Remove.Removed)
		}
	case ProposalTypeReInit:
		if p.ReInit.Version < g.head.context.Version {
			return nil, CheckReInitVersion.Errorf("version %d", p.ReInit.Version)
		}
	case ProposalTypeGroupContextExtensions:
		if _, err := p.GroupContextExtensions.Extensions.requiredCapabilities(); err != nil {
			return nil, err
		}
		return p, in.authenticateSenders(g.s, g.head.context.Extensions, p.GroupContextExtensions.Extensions)
	}
	return p, nil
}

// checkAdd verifies a key package that we are about to add.
func checkAdd(in *Input, rules *leafRules, kp *KeyPackage) error {
	if err := kp.LeafNode.checkLifetime(in); err != nil {
		return err
	}
	if err := kp.checkFor(rules); err != nil {
		return err
	}
	if err := verifySignatures(rules.s, kp.signatures()); err != nil {
		return err
	}
	return in.authenticate(kp.LeafNode, nil)
}

// ExternalProposalOptions says what to propose to a group from outside.
type ExternalProposalOptions struct {
	CipherSuite CipherSuite
	GroupID     []byte
	Epoch       uint64
	// Index of the sender in the group's external_senders.
	Index uint32
	// Proposal. The nonce of a PreSharedKey may be left out.
	Proposal *Proposal
}

// NewExternalProposal makes the proposal of an external sender (RFC 9420
// section 12.1.8), an encoded MLSMessage signed with Input.Signer.
func NewExternalProposal(in Input, o ExternalProposalOptions) ([]byte, error) {
	if o.Proposal == nil {
		return nil, fmt.Errorf("mlsgroup: no proposal")
	}
	return newOutsideProposal(&in, o.CipherSuite, FramedContent{
		GroupID: o.GroupID, Epoch: o.Epoch, Sender: Sender{Type: SenderTypeExternal, Index: o.Index},
		ContentType: ContentTypeProposal, Proposal: o.Proposal,
	})
}

// NewMemberProposal makes the proposal of a client to add itself (RFC 9420
// section 12.1.8), an encoded MLSMessage signed with Input.Signer, which is the
// key package's.
func NewMemberProposal(in Input, groupID []byte, epoch uint64, kp *KeyPackage) ([]byte, error) {
	if in.Signer == nil {
		return nil, errNoSigner
	}
	if !bytes.Equal(kp.LeafNode.SignatureKey, in.Signer.Public) {
		return nil, errWrongKey
	}
	return newOutsideProposal(&in, kp.CipherSuite, FramedContent{
		GroupID: groupID, Epoch: epoch, Sender: Sender{Type: SenderTypeNewMemberProposal},
		ContentType: ContentTypeProposal, Proposal: &Proposal{Type: ProposalTypeAdd, Add: &Add{KeyPackage: kp}},
	})
}

func newOutsideProposal(in *Input, cs CipherSuite, c FramedContent) ([]byte, error) {
	s, err := cs.suite()
	if err != nil {
		return nil, err
	}
	signer, err := in.signer(cs)
	if err != nil {
		return nil, err
	}
	if c.Proposal, err = in.complete(s, c.Proposal); err != nil {
		return nil, err
	}
	ac := &AuthenticatedContent{WireFormat: WireFormatPublicMessage, Content: c}
	if err := ac.sign(s, signer.Private, nil); err != nil {
		return nil, err
	}
	m := MLSMessage{Version: ProtocolVersionMLS10, WireFormat: WireFormatPublicMessage}
	if m.PublicMessage, err = sealPublicMessage(s, ac, nil, nil); err != nil {
		return nil, err
	}
	return m.Marshal(), nil
}
