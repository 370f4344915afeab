package mlsgroup

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/conclave-mls/conclave/internal/secret"
)

// The proposals of one commit (RFC 9420 sections 12.2 and 12.3): resolved to
// what they say and who said it, sorted by kind with the rules that need no
// tree, then applied to a tree with the rules that do.

// listedProposal is one proposal of a commit, in the commit's order.
type listedProposal struct {
	proposal    *Proposal
	sender      Sender
	ref         ProposalRef  // nil where the commit has it by value
	leafPrivate secret.Bytes // of an own Update
}

// proposalList is the proposals of a commit by kind.
type proposalList struct {
	count      int
	adds       []*KeyPackage // in the commit's order
	updates    []listedUpdate
	removes    []LeafIndex
	psks       []PreSharedKeyID // in the commit's order
	extensions *GroupContextExtensions
	reInit     *ReInit
	external   *ExternalInit
	refs       []ProposalRef
}

type listedUpdate struct {
	i       LeafIndex
	leaf    *LeafNode
	private secret.Bytes // own Update
}

// pathRequired tells whether the commit must have a path (RFC 9420 section
// 12.4).
func (l *proposalList) pathRequired() bool {
	return l.count == 0 || len(l.updates) > 0 || len(l.removes) > 0 || l.extensions != nil || l.external != nil
}

// resolve finds the proposals that a commit names. Errors:
// *UnknownProposalError.
func (g *Group) resolve(c *Commit, committer Sender) ([]listedProposal, error) {
	list := make([]listedProposal, 0, len(c.Proposals))
	var unknown []ProposalRef
	for _, p := range c.Proposals {
		if p.Proposal != nil {
			list = append(list, listedProposal{proposal: p.Proposal, sender: committer})
			continue
		}
		if committer.Type == SenderTypeNewMemberCommit {
			return nil, CheckExternalCommitByValue.Errorf("a proposal by reference")
		}
		pending := g.proposals.find(p.Reference)
		if pending == nil {
			unknown = append(unknown, p.Reference)
			continue
		}
		list = append(list, listedProposal{
			proposal: pending.proposal, sender: pending.sender, ref: pending.ref, leafPrivate: pending.leafPrivate,
		})
	}
	if unknown != nil {
		return nil, &UnknownProposalError{Refs: unknown}
	}
	return list, nil
}

// listRules is what the rules for a list depend on beside the list.
type listRules struct {
	gc        *GroupContext
	tree      *RatchetTree
	nonceSize int
	// committer is the leaf of a member's commit.
	committer LeafIndex
	external  bool
	// usage is the usage of resumption PSKs that the commit may have beside
	// application: that of the reinit or branch it is part of, or 0.
	usage ResumptionPSKUsage
}

// sort applies the rules of RFC 9420 section 12.2 that need no application of
// the list.
func (r *listRules) sort(listed []listedProposal) (*proposalList, error) {
	l := &proposalList{count: len(listed)}
	changed := make(map[LeafIndex]struct{}) // leaves with an Update or Remove
	for i := range listed {
		p := &listed[i]
		if p.ref != nil {
			l.refs = append(l.refs, p.ref)
		}
		if err := r.kind(p); err != nil {
			return nil, err
		}
		var leaf LeafIndex
		switch p.proposal.Type {
		case ProposalTypeAdd:
			l.adds = append(l.adds, p.proposal.Add.KeyPackage)
			continue
		case ProposalTypeUpdate:
			leaf = p.sender.LeafIndex
			if p.sender.Type != SenderTypeMember || r.tree.Leaf(leaf) == nil {
				return nil, CheckSenderLeaf.Errorf("an Update by no member")
			}
			if leaf == r.committer {
				return nil, CheckUpdateByCommitter.Errorf("an Update of leaf %d", leaf)
			}
			l.updates = append(l.updates, listedUpdate{leaf, p.proposal.Update.LeafNode, p.leafPrivate})
		case ProposalTypeRemove:
			leaf = p.proposal.Remove.Removed
			if r.tree.Leaf(leaf) == nil {
				return nil, CheckRemoveLeaf.Errorf("leaf %d is blank", leaf)
			}
			if !r.external && leaf == r.committer {
				return nil, CheckRemoveCommitter.Errorf("a Remove of leaf %d, which made the commit", leaf)
			}
			l.removes = append(l.removes, leaf)
		case ProposalTypePreSharedKey:
			if err := r.psk(l.psks, &p.proposal.PreSharedKey.PSK); err != nil {
				return nil, err
			}
			l.psks = append(l.psks, p.proposal.PreSharedKey.PSK)
			continue
		case ProposalTypeReInit:
			if p.proposal.ReInit.Version < r.gc.Version {
				return nil, CheckReInitVersion.Errorf("version %d", p.proposal.ReInit.Version)
			}
			l.reInit = p.proposal.ReInit
			continue
		case ProposalTypeExternalInit:
			if l.external != nil {
				return nil, CheckExternalInitOnce.Errorf("more than one ExternalInit")
			}
			l.external = p.proposal.ExternalInit
			continue
		case ProposalTypeGroupContextExtensions:
			if l.extensions != nil {
				return nil, CheckGroupContextExtensionsTwice.Errorf("more than one GroupContextExtensions")
			}
			l.extensions = p.proposal.GroupContextExtensions
			continue
		}
		if _, twice := changed[leaf]; twice {
			return nil, CheckProposalsPerLeaf.Errorf("more than one Update or Remove of leaf %d", leaf)
		}
		changed[leaf] = struct{}{}
	}
	if l.reInit != nil && l.count > 1 {
		return nil, CheckReInitAlone.Errorf("a ReInit among %d proposals", l.count)
	}
	if r.external {
		if l.external == nil {
			return nil, CheckExternalInitOnce.Errorf("no ExternalInit")
		}
		if len(l.removes) > 1 {
			return nil, CheckExternalRemoveOnce.Errorf("%d Removes", len(l.removes))
		}
	}
	return l, r.clients(l)
}

// kind refuses proposals that the kind of commit may not have.
func (r *listRules) kind(p *listedProposal) error {
	t := p.proposal.Type
	switch {
	case !defaultProposal(t):
		return CheckProposalTypeSupported.Errorf("proposal type 0x%04x", uint16(t))
	case r.external && t != ProposalTypeExternalInit && t != ProposalTypeRemove && t != ProposalTypePreSharedKey:
		return CheckExternalProposals.Errorf("proposal type %d in an external commit", t)
	case !r.external && t == ProposalTypeExternalInit:
		return CheckExternalInitByMember.Errorf("an ExternalInit in a member's commit")
	}
	return nil
}

// psk checks one PreSharedKey against those before it.
func (r *listRules) psk(before []PreSharedKeyID, id *PreSharedKeyID) error {
	if id.Type == PSKTypeResumption && id.Usage != r.usage {
		switch id.Usage {
		case ResumptionPSKUsageReInit:
			return CheckPSKUsageReInit.Errorf("a PSK of usage reinit")
		case ResumptionPSKUsageBranch:
			return CheckPSKUsageBranch.Errorf("a PSK of usage branch")
		}
	}
	if len(id.Nonce) != r.nonceSize {
		return CheckPSKNonceLength.Errorf("%d bytes", len(id.Nonce))
	}
	if len(before) >= maxPSKs {
		return fmt.Errorf("mlsgroup: more than %d PSKs", maxPSKs)
	}
	for i := range before {
		if before[i].equal(id) {
			return CheckPSKTwice.Errorf("one PSK twice")
		}
	}
	return nil
}

// clients refuses Adds of the same client, and of members that stay: those
// with the same signature key.
func (r *listRules) clients(l *proposalList) error {
	if len(l.adds) == 0 {
		return nil
	}
	added := make(map[string]struct{}, len(l.adds))
	keys := make([][]byte, 0, len(l.adds))
	for _, kp := range l.adds {
		key := kp.LeafNode.SignatureKey
		if _, twice := added[string(key)]; twice {
			return CheckAddTwice.Errorf("two Adds of one signature key")
		}
		added[string(key)] = struct{}{}
		keys = append(keys, key)
	}
	if k := r.tree.keys; k != nil && !slices.ContainsFunc(keys, func(key []byte) bool { return k.among(signatureKeyTag(key)) > 0 }) {
		return nil
	}
	set := newKeySet(keys...)
	for i, leaf := range r.tree.Members() {
		if set.has(leaf.SignatureKey) && !slices.Contains(l.removes, i) {
			return CheckAddMember.Errorf("an Add of member %d", i)
		}
	}
	return nil
}

// checkWellFormed refuses a Proposal built by the caller whose field is not
// set or that could not be read again.
func (p *Proposal) checkWellFormed() error {
	ok := false
	switch p.Type {
	case ProposalTypeAdd:
		ok = p.Add != nil && p.Add.KeyPackage != nil && p.Add.KeyPackage.LeafNode != nil
	case ProposalTypeUpdate:
		ok = p.Update != nil && p.Update.LeafNode != nil
	case ProposalTypeRemove:
		ok = p.Remove != nil
	case ProposalTypePreSharedKey:
		ok = p.PreSharedKey != nil
	case ProposalTypeReInit:
		if ok = p.ReInit != nil; ok {
			if err := p.ReInit.Extensions.checkOwn(true); err != nil {
				return err
			}
		}
	case ProposalTypeExternalInit:
		ok = p.ExternalInit != nil
	case ProposalTypeGroupContextExtensions:
		if ok = p.GroupContextExtensions != nil; ok {
			if err := p.GroupContextExtensions.Extensions.checkOwn(true); err != nil {
				return err
			}
		}
	default:
		if greaseValue(uint16(p.Type)) {
			return CheckGREASE.Errorf("proposal type 0x%04x", uint16(p.Type))
		}
		return CheckProposalTypeSupported.Errorf("proposal type 0x%04x", uint16(p.Type))
	}
	if !ok {
		return fmt.Errorf("mlsgroup: proposal of type %d without content", p.Type)
	}
	var again Proposal
	return parse(p.append(nil), again.read)
}

// appliedProposals is a list after its application.
type appliedProposals struct {
	list       *proposalList
	edit       *treeEdit
	extensions Extensions
	rules      *leafRules  // of the group context to come
	added      []LeafIndex // ascending, of list.adds
	fresh      []newLeaf   // leaves of Adds and Updates
}

// apply applies a list to the group context and a copy of the tree in the
// order of RFC 9420 section 12.3 and verifies what each proposal brings. own
// tells that we are about to send the commit.
func (l *proposalList) apply(in *Input, r *listRules, tree *RatchetTree, own bool) (*appliedProposals, error) {
	s, err := r.gc.CipherSuite.suite()
	if err != nil {
		return nil, err
	}
	a := &appliedProposals{list: l, extensions: r.gc.Extensions}
	if l.extensions != nil {
		a.extensions = l.extensions.Extensions
		if err := in.authenticateSenders(s, r.gc.Extensions, a.extensions); err != nil {
			return nil, err
		}
	}
	next := *r.gc
	next.Extensions = a.extensions
	if a.rules, err = leafRulesOf(s, &next); err != nil {
		return nil, err
	}
	err = in.verifyLeaves(s, len(l.updates)+len(l.adds), func(i int) ([]leafSignature, error) {
		if i < len(l.updates) {
			u := &l.updates[i]
			return a.checkUpdate(u, tree.Leaf(u.i))
		}
		kp := l.adds[i-len(l.updates)]
		lifetime := kp.LeafNode.checkLifetimeTotal
		if own {
			lifetime = kp.LeafNode.checkLifetime
		}
		if err := lifetime(in); err != nil {
			return nil, err
		}
		if err := kp.checkFor(a.rules); err != nil {
			return nil, err
		}
		return kp.signatures(), nil
	}, func(i int) error {
		if i < len(l.updates) {
			u := &l.updates[i]
			return in.authenticate(u.leaf, tree.Leaf(u.i))
		}
		return in.authenticate(l.adds[i-len(l.updates)].LeafNode, nil)
	})
	if err != nil {
		return nil, err
	}

	a.edit = tree.edit(s)
	for _, u := range l.updates {
		a.edit.update(u.i, u.leaf)
		a.fresh = append(a.fresh, newLeaf{u.i, u.leaf})
	}
	for _, i := range l.removes {
		a.edit.remove(i)
	}
	for _, kp := range l.adds {
		leaf := kp.LeafNode.detach()
		i, err := a.edit.add(leaf)
		if err != nil {
			return nil, err
		}
		a.added = append(a.added, i)
		a.fresh = append(a.fresh, newLeaf{i, leaf})
	}
	return a, nil
}

// checkUpdate verifies an Update but for its signature, which it returns, and its
// credential.
func (a *appliedProposals) checkUpdate(u *listedUpdate, old *LeafNode) ([]leafSignature, error) {
	if u.leaf.Source != LeafNodeSourceUpdate {
		return nil, CheckLeafSourceUpdate.Errorf("source %d", u.leaf.Source)
	}
	if bytes.Equal(u.leaf.EncryptionKey, old.EncryptionKey) {
		return nil, CheckUpdateEncryptionKey.Errorf("leaf %d keeps its encryption key", u.i)
	}
	return a.rules.checkForm(u.leaf, u.i)
}

// checkTree verifies what a new tree has to fulfil after the list and the path,
// whose leaf is among fresh, were applied to it.
func (a *appliedProposals) checkTree(tree *RatchetTree, fresh []newLeaf) error {
	if !a.edit.base.keys.accept(a.edit.base, fresh) {
		if err := checkAmong(tree, fresh); err != nil {
			return err
		}
	}
	if a.list.extensions == nil {
		return nil
	}
	for i, l := range tree.Members() {
		if !l.Capabilities.meets(a.rules.required) {
			return CheckExtensionsRequiredCapabilities.Errorf("leaf %d does not list a required capability", i)
		}
		if t, missing := l.Capabilities.unsupported(a.extensions); missing {
			return CheckGroupExtensionsSupported.Errorf("leaf %d does not list extension type 0x%04x", i, uint16(t))
		}
	}
	return nil
}

// psks finds the keys of PreSharedKey proposals. Errors: *PSKError, *Need.
func (g *Group) psks(in *Input, ids []PreSharedKeyID) ([]preSharedKey, error) {
	keys := make([]preSharedKey, 0, len(ids))
	for _, id := range ids {
		var key secret.Bytes
		if id.Type == PSKTypeResumption && g != nil && bytes.Equal(id.GroupID, g.GroupID()) {
			own, err := g.ResumptionPSK(id.Epoch)
			if _, missing := err.(*PSKError); err != nil && !missing {
				return nil, err
			}
			key = own
		}
		if key == nil && in.PSK != nil {
			if found, ok := in.PSK(id); ok {
				key = found
			}
		}
		if key == nil {
			return nil, &PSKError{ID: id}
		}
		keys = append(keys, preSharedKey{id: id, key: key})
	}
	return keys, nil
}
