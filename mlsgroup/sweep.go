package mlsgroup

import (
	"bytes"
	"slices"

	"github.com/conclave-mls/conclave/internal/primitive"
)

// sweptProposals is the content of a commit of ours: pending proposals by
// reference and given ones by value, in the order they are sent.
type sweptProposals struct {
	entries []ProposalOrRef
	listed  []listedProposal
	// ownUpdate: an own Update waited. It cannot be committed by us; a path
	// does in its place.
	ownUpdate bool
}

// sweep chooses what to commit (RFC 9420 sections 12.2 and 12.4). Proposals
// given by the caller are all taken, and whatever is wrong with them comes out
// when the list is checked. Of those that wait it takes as many as make a valid
// list: Removes before Updates, the last Update of a leaf, the first Add of a
// client. The order is that of Wire's clients: Adds, then PSKs and extensions,
// then Updates and Removes.
func (g *Group) sweep(in *Input, o *CommitOptions) (*sweptProposals, error) {
	given := make([]listedProposal, 0, len(o.Proposals))
	sender := Sender{Type: SenderTypeMember, LeafIndex: g.head.own}
	for i := range o.Proposals {
		p, err := in.complete(g.s, &o.Proposals[i])
		if err != nil {
			return nil, err
		}
		given = append(given, listedProposal{proposal: p, sender: sender})
	}
	out := new(sweptProposals)
	all := given
	if !o.WithoutPending {
		pending, err := g.sweepPending(in, out, given, o.Leaf != nil)
		if err != nil {
			return nil, err
		}
		all = append(pending, given...)
	}
	place := func(p *listedProposal) int {
		switch p.proposal.Type {
		case ProposalTypeAdd:
			return 0
		case ProposalTypeUpdate, ProposalTypeRemove:
			return 2
		default:
			return 1
		}
	}
	slices.SortStableFunc(all, func(a, b listedProposal) int { return place(&a) - place(&b) })
	out.listed = all
	for i := range all {
		if all[i].ref != nil {
			out.entries = append(out.entries, ProposalOrRef{Reference: all[i].ref})
		} else {
			out.entries = append(out.entries, ProposalOrRef{Proposal: all[i].proposal})
		}
	}
	return out, nil
}

// complete gives a proposal of ours the nonce that it may lack, and checks its
// form. Whether a group takes it is checked with the whole list of a commit.
func (in *Input) complete(s *primitive.Suite, given *Proposal) (*Proposal, error) {
	p := *given
	if p.Type == ProposalTypePreSharedKey && p.PreSharedKey != nil && len(p.PreSharedKey.PSK.Nonce) == 0 {
		nonce, err := in.random(s.HashSize())
		if err != nil {
			return nil, err
		}
		psk := *p.PreSharedKey
		psk.PSK.Nonce = nonce
		p.PreSharedKey = &psk
	}
	return &p, p.checkWellFormed()
}

// sweepPending returns those pending proposals that can be committed together
// with the given ones.
func (g *Group) sweepPending(in *Input, out *sweptProposals, given []listedProposal, leafChange bool) ([]listedProposal, error) {
	w := &sweeper{g: g, in: in, removed: map[LeafIndex]bool{}, added: map[string]bool{}, updates: map[LeafIndex]*pendingProposal{}}
	for i := range given {
		w.given(given[i].proposal)
	}
	// Removes first: they decide about Adds and Updates.
	for _, p := range g.proposals.list {
		if p.proposal.Type != ProposalTypeRemove {
			continue
		}
		i := p.proposal.Remove.Removed
		if i == g.head.own {
			return nil, CheckRemoveCommitter.Errorf("a Remove of ourselves waits for another member's commit")
		}
		if g.tree.Leaf(i) != nil && !w.removed[i] {
			w.removed[i] = true
			w.take(p)
		}
	}
	var reInit *pendingProposal
	for _, p := range g.proposals.list {
		switch p.proposal.Type {
		case ProposalTypeAdd:
			w.add(p)
		case ProposalTypeUpdate:
			if p.sender.Type == SenderTypeMember && p.sender.LeafIndex == g.head.own {
				out.ownUpdate = true
			} else {
				w.updates[p.sender.LeafIndex] = p // the last one stays
			}
		case ProposalTypePreSharedKey:
			w.psk(p)
		case ProposalTypeGroupContextExtensions:
			w.contextExtensions(p)
		case ProposalTypeReInit:
			reInit = p
		}
	}
	for _, p := range g.proposals.list {
		if p.proposal.Type == ProposalTypeUpdate && w.updates[p.sender.LeafIndex] == p {
			w.update(p)
		}
	}
	// A ReInit stands alone: all others go first.
	if reInit != nil && len(given) == 0 && len(w.taken) == 0 && !out.ownUpdate && !leafChange && !g.head.profile.rules().omitPath &&
		reInit.proposal.ReInit.Version >= g.head.context.Version {
		w.take(reInit)
	}
	return w.taken, nil
}

// sweeper gathers pending proposals that do not contradict each other.
type sweeper struct {
	g       *Group
	in      *Input
	taken   []listedProposal
	removed map[LeafIndex]bool
	added   map[string]bool // signature keys
	updates map[LeafIndex]*pendingProposal
	// extensions: a GroupContextExtensions is taken or given.
	extensions bool
	psks       []*PreSharedKeyID
	reInit     bool // given by the caller, who wants nothing else
	rules      *leafRules
}

func (w *sweeper) take(p *pendingProposal) {
	if w.reInit {
		return
	}
	w.taken = append(w.taken, listedProposal{proposal: p.proposal, sender: p.sender, ref: p.ref, leafPrivate: p.leafPrivate})
}

// given notes a proposal that the caller commits by value.
func (w *sweeper) given(p *Proposal) {
	switch p.Type {
	case ProposalTypeAdd:
		w.added[string(p.Add.KeyPackage.LeafNode.SignatureKey)] = true
	case ProposalTypeRemove:
		w.removed[p.Remove.Removed] = true
	case ProposalTypeGroupContextExtensions:
		w.extensions = true
	case ProposalTypePreSharedKey:
		w.psks = append(w.psks, &p.PreSharedKey.PSK)
	case ProposalTypeReInit:
		w.reInit = true
	}
}

// leafRules are the rules of the current group context; new extensions among
// the proposals are measured when the list is applied.
func (w *sweeper) leafRules() *leafRules {
	if w.rules == nil {
		var err error
		if w.rules, err = leafRulesOf(w.g.s, &w.g.head.context); err != nil {
			return nil
		}
	}
	return w.rules
}

func (w *sweeper) add(p *pendingProposal) {
	kp := p.proposal.Add.KeyPackage
	key := kp.LeafNode.SignatureKey
	rules := w.leafRules()
	if w.added[string(key)] || rules == nil || checkAdd(w.in, rules, kp) != nil {
		return
	}
	for i, l := range w.g.tree.Members() {
		if !w.removed[i] && (bytes.Equal(l.SignatureKey, key) || bytes.Equal(l.EncryptionKey, kp.LeafNode.EncryptionKey)) {
			return
		}
	}
	w.added[string(key)] = true
	w.take(p)
}

func (w *sweeper) update(p *pendingProposal) {
	i, leaf := p.sender.LeafIndex, p.proposal.Update.LeafNode
	old, rules := w.g.tree.Leaf(i), w.leafRules()
	if old == nil || w.removed[i] || rules == nil {
		return
	}
	a := appliedProposals{rules: rules}
	signatures, err := a.checkUpdate(&listedUpdate{i: i, leaf: leaf}, old)
	if err != nil || verifySignatures(w.g.s, signatures) != nil || w.in.authenticate(leaf, old) != nil {
		return
	}
	w.take(p)
}

func (w *sweeper) psk(p *pendingProposal) {
	id := &p.proposal.PreSharedKey.PSK
	for _, other := range w.psks {
		if other.equal(id) {
			return
		}
	}
	r := listRules{nonceSize: w.g.s.HashSize()}
	if r.psk(nil, id) != nil {
		return
	}
	if _, err := w.g.psks(w.in, []PreSharedKeyID{*id}); err != nil {
		if _, need := err.(*Need); !need {
			return
		}
	}
	w.psks = append(w.psks, id)
	w.take(p)
}

func (w *sweeper) contextExtensions(p *pendingProposal) {
	next := p.proposal.GroupContextExtensions.Extensions
	if w.extensions || w.in.authenticateSenders(w.g.s, w.g.head.context.Extensions, next) != nil {
		return
	}
	required, err := next.requiredCapabilities()
	if err != nil {
		return
	}
	for i, l := range w.g.tree.Members() {
		if _, missing := l.Capabilities.unsupported(next); !w.removed[i] && (missing || !l.Capabilities.meets(required)) {
			return
		}
	}
	w.extensions = true
	w.take(p)
}
