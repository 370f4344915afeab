package mlsgroup

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/conclave-mls/conclave/internal/secret"
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

// processCommit is RFC 9420 section 12.4.2 from the proposals on.
func (g *Group) processCommit(in *Input, ac *AuthenticatedContent, who *LeafNode) (*Transition, error) {
	s, h, c := g.s, g.head, ac.Content.Commit
	sender := ac.Content.Sender
	external := sender.Type == SenderTypeNewMemberCommit
	if !external && sender.LeafIndex == h.own {
		return nil, ErrOwnCommit
	}
	if h.membership == membershipEnded {
		return nil, ErrInactive
	}
	if h.context.Epoch >= maxEpoch {
		return nil, fmt.Errorf("mlsgroup: no epoch after %d", h.context.Epoch)
	}
	listed, err := g.resolve(c, sender)
	if err != nil {
		return nil, err
	}
	rules := &listRules{
		gc: &h.context, tree: g.tree, nonceSize: s.HashSize(), committer: sender.LeafIndex, external: external,
	}
	list, err := rules.sort(listed)
	if err != nil {
		return nil, err
	}
	if c.Path == nil && list.pathRequired() {
		return nil, CheckPathRequired.Errorf("no path")
	}
	psks, err := g.psks(in, list.psks)
	if err != nil {
		return nil, err
	}
	applied, err := list.apply(in, rules, g.tree, false)
	if err != nil {
		return nil, err
	}

	path, committer := c.Path.detach(), sender.LeafIndex
	var replaced *LeafNode // the leaf that the path's leaf stands for
	if external {
		if committer, err = applied.edit.blankLeaf(); err != nil {
			return nil, err
		}
		if len(list.removes) == 1 {
			replaced = g.tree.Leaf(list.removes[0])
			if err := in.checkResync(path.LeafNode, replaced); err != nil {
				return nil, err
			}
		}
	} else {
		replaced = g.tree.Leaf(committer)
	}
	tree, fresh, err := applied.mergeCommitPath(in, committer, path, replaced)
	if err != nil {
		return nil, err
	}
	if err := applied.checkTree(tree, fresh); err != nil {
		return nil, err
	}
	effect := g.effect(applied, committer, external, path)
	if effect.SelfRemoved {
		return g.leave(ac, who, effect), nil
	}

	gc := h.context
	gc.Epoch++
	gc.TreeHash = tree.rootHash()
	gc.Extensions = applied.extensions
	keys := *g.path
	for _, u := range list.updates {
		if u.i != h.own {
			continue
		}
		if u.private == nil {
			return nil, fmt.Errorf("mlsgroup: an own Update whose private key is not here")
		}
		keys = keys.with(h.own.Node(), u.private)
	}
	var commitSecret secret.Bytes
	context := gc.append(nil) // provisional: with the transcript hash of this epoch
	in.both(len(ac.Content.commit), func() {
		if path == nil {
			keys = keys.prune(tree)
		} else {
			commitSecret, keys, err = tree.decryptPath(s, h.own, keys, committer, path, applied.added, context)
		}
	}, func() { gc.ConfirmedTranscriptHash = confirmedTranscriptHash(s, h.interim, ac) })
	if err != nil {
		return nil, err
	}
	defer commitSecret.Wipe()

	initSecret := h.secrets.init
	if external {
		if initSecret, err = h.secrets.openExternalInit(s, list.external.KEMOutput); err != nil {
			return nil, fmt.Errorf("mlsgroup: opening an ExternalInit: %w", err)
		}
		defer initSecret.Wipe()
	}
	pskSecret, err := newPSKSecret(s, psks)
	if err != nil {
		return nil, err
	}
	defer pskSecret.Wipe()
	nh := h.next()
	nh.setContext(&gc)
	es, joiner := newEpochSecrets(s, initSecret, commitSecret, pskSecret, nh.encodedContext)
	joiner.Wipe()
	if !es.verifyConfirmationTag(s, gc.ConfirmedTranscriptHash, ac.Auth.ConfirmationTag) {
		es.wipe()
		return nil, CheckConfirmationTag.Errorf("another confirmation tag than that of epoch %d", gc.Epoch)
	}
	nh.confirmationTag = bytes.Clone(ac.Auth.ConfirmationTag)
	nh.interim = interimTranscriptHash(s, gc.ConfirmedTranscriptHash, nh.confirmationTag)
	nh.signatureKey = tree.Leaf(h.own).SignatureKey
	if list.reInit != nil {
		nh.membership, nh.reInit = membershipEnded, list.reInit
	}

	begun, begin := beginEpoch(s, nh, tree, keys, es)
	next, end, consumed := g.endEpoch(begun, g.newPastEpoch(tree))
	r := receivedFrom(ac, who)
	r.Commit = effect
	t := &Transition{Next: next, Received: r, Consumed: consumed}
	t.Changes = append(end, begin...)
	t.Changes = append(t.Changes, epochRecords(g.tree, tree, *g.path, keys)...)
	return t, nil
}

// checkResync verifies that the leaf of an external commit could be an Update
// of the leaf that it removes (RFC 9420 section 12.2).
func (in *Input) checkResync(leaf, removed *LeafNode) error {
	if bytes.Equal(leaf.EncryptionKey, removed.EncryptionKey) {
		return CheckExternalRemoveSuccessor.Errorf("the encryption key is that of the removed leaf")
	}
	if leaf.Credential.Equal(&removed.Credential) {
		return nil
	}
	if err := in.auth().ValidSuccessor(&removed.Credential, &leaf.Credential); err != nil {
		return CheckExternalRemoveSuccessor.Errorf("%v", err)
	}
	return nil
}

// mergeCommitPath validates a path and applies it; without one it only ends the
// edit. It returns the new tree and all leaves that are new in it.
func (a *appliedProposals) mergeCommitPath(in *Input, committer LeafIndex, path *UpdatePath, replaced *LeafNode) (*RatchetTree, []newLeaf, error) {
	if path == nil {
		return a.edit.finish(in.Do), a.fresh, nil
	}
	leaf := path.LeafNode
	if leaf.Source != LeafNodeSourceCommit {
		return nil, nil, CheckLeafSourceCommit.Errorf("source %d", leaf.Source)
	}
	if err := a.rules.check(leaf, committer); err != nil {
		return nil, nil, err
	}
	if err := in.authenticate(leaf, replaced); err != nil {
		return nil, nil, err
	}
	tree, err := a.edit.mergePath(committer, path, in.Do)
	if err != nil {
		return nil, nil, err
	}
	return tree, append(a.fresh[:len(a.fresh):len(a.fresh)], newLeaf{committer, leaf}), nil
}

// effect describes what a commit does to g.
func (g *Group) effect(a *appliedProposals, committer LeafIndex, external bool, path *UpdatePath) *CommitEffect {
	l := a.list
	e := &CommitEffect{
		Epoch: g.Epoch() + 1, Committer: committer, External: external,
		ReInit: l.reInit, ContextExtensions: l.extensions != nil, Committed: l.refs,
	}
	for k, i := range a.added {
		e.Added = append(e.Added, Member{i, l.adds[k].LeafNode})
	}
	for _, u := range l.updates {
		e.Updated = append(e.Updated, Member{u.i, u.leaf})
	}
	if path != nil {
		if external {
			e.Added = append(e.Added, Member{committer, path.LeafNode})
		} else {
			e.Updated = append(e.Updated, Member{committer, path.LeafNode})
		}
	}
	for _, i := range l.removes {
		e.Removed = append(e.Removed, Member{i, g.tree.Leaf(i)})
		if i == g.head.own {
			e.SelfRemoved = true
		}
	}
	for _, p := range g.proposals.list {
		if !slices.ContainsFunc(l.refs, func(ref ProposalRef) bool { return bytes.Equal(ref, p.ref) }) {
			e.Dropped = append(e.Dropped, p.public(g.head.own))
		}
	}
	return e
}

// leave is the state of a member whom a commit removed. The commit's
// confirmation tag cannot be verified any more, its signature and MAC were.
// Every secret goes; the head stays and says so.
func (g *Group) leave(ac *AuthenticatedContent, who *LeafNode, effect *CommitEffect) *Transition {
	h := *g.head
	h.membership = membershipRemoved
	h.secrets = new(epochSecrets)
	h.oldestPast, h.oldestResumption = h.context.Epoch, h.context.Epoch
	next := &Group{
		s: g.s, head: &h, tree: g.tree, leaves: g.leaves, path: new(pathKeys), secrets: coldSecretTree(h.leafCount),
		proposals: new(proposalCache),
	}
	t := &Transition{Next: next, Changes: []Change{{Op: Put, Key: HeadKey(), Value: h.record()}}}
	for _, k := range []recordKind{recordPath, recordSecret, recordRatchet, recordSkip, recordReserve, recordPast, recordResumption, recordProposal} {
		r := recordPrefix(k)
		t.Changes = append(t.Changes, Change{Op: DeleteRange, Key: r.Low, High: r.High})
	}
	t.Consumed = g.material()
	t.Received = receivedFrom(ac, who)
	t.Received.Commit = effect
	return t
}
