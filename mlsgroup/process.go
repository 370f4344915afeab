package mlsgroup

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// ErrDecrypt reports a PrivateMessage that does not open under the keys of its
// epoch: it was not made by a member, or it was changed on the way.
var ErrDecrypt = errors.New("mlsgroup: message does not decrypt")

// Process takes one received message, an encoded MLSMessage, to the group's
// next state: application data is decrypted, a proposal is kept for a later
// commit, a commit begins the next epoch. The group itself does not change,
// and after an error there is no next state: whatever was wrong, the message
// has left no trace.
//
// Errors a caller may want to tell apart: ErrDecode, ErrWrongGroup,
// *EpochError, ErrEpochTooOld, ErrDuplicate, ErrOwnCommit,
// *UnknownProposalError, ErrWireFormat, *CheckError, *Need, *PSKError,
// ErrInactive, ErrDecrypt.
func (g *Group) Process(in Input, message []byte) (*Transition, error) {
	var m MLSMessage
	if len(message) <= maxMessageLen {
		message = bytes.Clone(message) // what is kept of it is kept for long
	}
	if err := parse(message, m.read); err != nil {
		return nil, err
	}
	id, _, framed := m.GroupIDAndEpoch()
	if !framed {
		return nil, fmt.Errorf("%w: wire format %d", ErrWireFormat, m.WireFormat)
	}
	if !bytes.Equal(id, g.GroupID()) {
		return nil, ErrWrongGroup
	}
	if g.head.membership == membershipRemoved {
		return nil, ErrInactive
	}
	if m.PrivateMessage != nil {
		return g.processPrivate(in, m.PrivateMessage)
	}
	return g.processPublic(in, m.PublicMessage)
}

// processPrivate opens a PrivateMessage in the three steps that OpenSenderData,
// TakeMessageKey and MessageKey.Open are, one after the other.
func (g *Group) processPrivate(in Input, m *PrivateMessage) (*Transition, error) {
	sm, err := g.openSealed(m)
	if err != nil {
		return nil, err
	}
	key, t, err := g.takeMessageKey(sm)
	if err != nil {
		return nil, err
	}
	if m.ContentType == ContentTypeApplication {
		if t.Received, err = key.Open(); err != nil {
			t.Wipe(g)
			return nil, err
		}
		return t, nil
	}
	um, err := key.Decrypt()
	if err != nil {
		t.Wipe(g)
		return nil, err
	}
	who, err := g.signerOf(&um.ac.Content, key.leaf)
	if err != nil {
		return nil, err
	}
	if err := um.ac.verify(g.s, who.SignatureKey, key.context); err != nil {
		return nil, err
	}
	// The handshake message is handled by the group that has its key consumed,
	// and both count as one step.
	next, err := t.Next.handshake(in, um.ac, who)
	if err != nil {
		return nil, err
	}
	next.Changes = append(t.Changes, next.Changes...)
	next.Consumed = append(t.Consumed, next.Consumed...)
	return next, nil
}

// secretError gives a refusal of the secret tree its exported form.
func secretError(err error, epoch uint64) error {
	switch e := err.(type) {
	case nil:
		return nil
	case *missingSecret:
		return &Need{Parts: []Part{e.part(epoch)}}
	}
	if err == ErrKeyConsumed || err == ErrGenerationTooFar {
		return fmt.Errorf("%w: %w", ErrDuplicate, err)
	}
	return err
}

// needBoth returns the first error that is not a *Need, or one *Need for the
// parts of both.
func needBoth(a, b error) error {
	needA, okA := a.(*Need)
	needB, okB := b.(*Need)
	switch {
	case a != nil && !okA:
		return a
	case b != nil && !okB:
		return b
	case okA && okB:
		parts := slices.Clone(needA.Parts)
		for _, p := range needB.Parts {
			if !slices.Contains(parts, p) {
				parts = append(parts, p)
			}
		}
		return &Need{Parts: parts}
	case okA:
		return a
	default:
		return b
	}
}

func receivedFrom(ac *AuthenticatedContent, leaf *LeafNode) *Received {
	return &Received{
		ContentType: ac.Content.ContentType, Epoch: ac.Content.Epoch, Sender: ac.Content.Sender,
		Credential: leaf.Credential, SignatureKey: leaf.SignatureKey, AuthenticatedData: ac.Content.AuthenticatedData,
	}
}

// processPublic handles a PublicMessage: a proposal or a commit of this epoch.
func (g *Group) processPublic(in Input, m *PublicMessage) (*Transition, error) {
	c := &m.Content
	if c.ContentType == ContentTypeApplication {
		return nil, CheckApplicationPrivate.Errorf("application data in a PublicMessage")
	}
	if err := c.checkSender(); err != nil {
		return nil, err
	}
	if c.Sender.Type == SenderTypeMember && !g.head.takesHandshake(WireFormatPublicMessage) {
		return nil, fmt.Errorf("%w: public handshake message", ErrWireFormat)
	}
	if c.Epoch != g.Epoch() {
		return nil, &EpochError{Got: c.Epoch, Want: g.Epoch()}
	}
	if err := g.needForHandshake(c); err != nil {
		return nil, err
	}
	who, err := g.sender(c)
	if err != nil {
		return nil, err
	}
	ac, err := openPublicMessage(&in, g.s, m, g.head.secrets.membership, who.SignatureKey, g.head.encodedContext)
	if err != nil {
		return nil, err
	}
	return g.handshake(in, ac, who)
}

// needForHandshake asks at once for all parts that a handshake message takes.
func (g *Group) needForHandshake(c *FramedContent) error {
	if c.ContentType == ContentTypeCommit {
		return g.need(partTree, partPath, partProposals)
	}
	err := g.need(partProposals)
	if c.Sender.Type == SenderTypeMember {
		_, leafErr := g.Member(c.Sender.LeafIndex)
		err = needBoth(err, leafErr)
	}
	return err
}

// sender returns who signed content, as a leaf: the one in the tree, in the
// path, in the key package, or one made of an external sender's entry.
func (g *Group) sender(c *FramedContent) (*LeafNode, error) {
	switch c.Sender.Type {
	case SenderTypeExternal:
		senders, err := g.ExternalSenders()
		if err != nil {
			return nil, err
		}
		if uint64(c.Sender.Index) >= uint64(len(senders)) {
			return nil, CheckExternalSender.Errorf("sender %d of %d", c.Sender.Index, len(senders))
		}
		es := &senders[c.Sender.Index]
		return &LeafNode{SignatureKey: es.SignatureKey, Credential: es.Credential}, nil
	case SenderTypeNewMemberProposal:
		return c.Proposal.Add.KeyPackage.LeafNode, nil
	case SenderTypeNewMemberCommit:
		if c.Commit.Path == nil {
			return nil, CheckExternalCommitPath.Errorf("no path")
		}
		return c.Commit.Path.LeafNode, nil
	}
	leaf, err := g.Member(c.Sender.LeafIndex)
	if err != nil {
		return nil, err
	}
	if leaf == nil {
		return nil, CheckSenderLeaf.Errorf("leaf %d is blank", c.Sender.LeafIndex)
	}
	return g.signerOf(c, leaf)
}

// signerOf returns who signed a member's content: the member's leaf, or in the
// Wire profile the leaf of the path.
func (g *Group) signerOf(c *FramedContent, leaf *LeafNode) (*LeafNode, error) {
	if c.ContentType != ContentTypeCommit || c.Commit.Path == nil || !g.head.profile.rules().pathKeySigns {
		return leaf, nil
	}
	// Profile Wire: the path's leaf signs. A changed key proves nothing by
	// itself, since whoever knows the group's secrets could have made it up: it
	// counts only if a credential vouches for it.
	next := c.Commit.Path.LeafNode
	if !bytes.Equal(next.SignatureKey, leaf.SignatureKey) {
		vouched := next.Credential.Type == CredentialTypeX509
		accepted := g.head.basicKeyChange && next.Credential.Type == CredentialTypeBasic && next.Credential.Equal(&leaf.Credential)
		if !vouched && !accepted {
			return nil, CheckCredentialSuccessor.Errorf("leaf %d changes its signature key without a certificate", c.Sender.LeafIndex)
		}
	}
	return next, nil
}

// handshake handles a proposal or commit whose signature and MAC are verified.
func (g *Group) handshake(in Input, ac *AuthenticatedContent, who *LeafNode) (*Transition, error) {
	if err := g.needForHandshake(&ac.Content); err != nil {
		return nil, err
	}
	if ac.Content.ContentType == ContentTypeCommit {
		return g.processCommit(&in, ac, who)
	}
	p := ac.Content.Proposal
	if g.head.profile.rules().externalRemoveOnly && ac.Content.Sender.Type == SenderTypeExternal && p.Type != ProposalTypeRemove {
		return nil, CheckExternalProposalType.Errorf("proposal type %d of an external sender", p.Type)
	}
	ref := ac.proposalRef(g.s)
	next, changes, err := g.storeProposal(&pendingProposal{ref: ref, sender: ac.Content.Sender, proposal: p})
	if err != nil {
		return nil, err
	}
	r := receivedFrom(ac, who)
	r.Proposal, r.ProposalRef = p, ref
	return &Transition{Next: next, Changes: changes, Received: r}, nil
}
