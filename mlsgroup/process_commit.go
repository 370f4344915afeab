package mlsgroup

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/conclave-mls/conclave/internal/secret"
)

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
	applied, psks, err := g.applyCommit(in, c, sender)
	if err != nil {
		return nil, err
	}

	list, path, committer := applied.list, c.Path.detach(), sender.LeafIndex
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
	keys, err := g.updatedKeys(list)
	if err != nil {
		return nil, err
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

	nh := h.next()
	nh.setContext(&gc)
	es, err := g.openEpoch(nh, list, commitSecret, psks, ac.Auth.ConfirmationTag)
	if err != nil {
		return nil, err
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

// applyCommit resolves the proposals of a received commit and applies them, and finds
// the keys of its PSKs.
func (g *Group) applyCommit(in *Input, c *Commit, sender Sender) (*appliedProposals, []preSharedKey, error) {
	listed, err := g.resolve(c, sender)
	if err != nil {
		return nil, nil, err
	}
	rules := &listRules{
		gc: &g.head.context, tree: g.tree, nonceSize: g.s.HashSize(), committer: sender.LeafIndex,
		external: sender.Type == SenderTypeNewMemberCommit,
	}
	list, err := rules.sort(listed)
	if err != nil {
		return nil, nil, err
	}
	if c.Path == nil && list.pathRequired() {
		return nil, nil, CheckPathRequired.Errorf("no path")
	}
	psks, err := g.psks(in, list.psks)
	if err != nil {
		return nil, nil, err
	}
	applied, err := list.apply(in, rules, g.tree, false)
	return applied, psks, err
}

// updatedKeys returns the own private keys with that of an own Update among the
// proposals.
func (g *Group) updatedKeys(list *proposalList) (pathKeys, error) {
	keys, own := *g.path, g.head.own
	for _, u := range list.updates {
		if u.i != own {
			continue
		}
		if u.private == nil {
			return keys, fmt.Errorf("mlsgroup: an own Update whose private key is not here")
		}
		keys = keys.with(own.Node(), u.private)
	}
	return keys, nil
}

// openEpoch derives the secrets of the epoch that a received commit begins, of which h
// has the context, and holds the commit's confirmation tag against them.
func (g *Group) openEpoch(h *head, list *proposalList, commitSecret secret.Bytes, psks []preSharedKey, tag []byte) (*epochSecrets, error) {
	initSecret := g.head.secrets.init
	if list.external != nil {
		var err error
		if initSecret, err = g.head.secrets.openExternalInit(g.s, list.external.KEMOutput); err != nil {
			return nil, fmt.Errorf("mlsgroup: opening an ExternalInit: %w", err)
		}
		defer initSecret.Wipe()
	}
	pskSecret, err := newPSKSecret(g.s, psks)
	if err != nil {
		return nil, err
	}
	defer pskSecret.Wipe()
	es, joiner := newEpochSecrets(g.s, initSecret, commitSecret, pskSecret, h.encodedContext)
	joiner.Wipe()
	if !es.verifyConfirmationTag(g.s, h.context.ConfirmedTranscriptHash, tag) {
		es.wipe()
		return nil, CheckConfirmationTag.Errorf("another confirmation tag than that of epoch %d", h.context.Epoch)
	}
	return es, nil
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
