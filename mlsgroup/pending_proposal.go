package mlsgroup

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/conclave-mls/conclave/internal/secret"
)

// maxPendingProposals bounds the proposals that wait for a commit.
const maxPendingProposals = 1 << 13

// pendingProposal is a received or own proposal of the epoch, its signature
// verified. Whether it may be committed is decided then.
type pendingProposal struct {
	ref      ProposalRef
	order    uint32 // of arrival
	sender   Sender
	proposal *Proposal
	// leafPrivate is the key of an own Update, nil otherwise.
	leafPrivate secret.Bytes
}

// proposalCache is all proposals of the epoch, in the order of arrival. It
// never changes.
type proposalCache struct{ list []*pendingProposal }

func (c *proposalCache) find(ref ProposalRef) *pendingProposal {
	for _, p := range c.list {
		if bytes.Equal(p.ref, ref) {
			return p
		}
	}
	return nil
}

func (c *proposalCache) nextOrder() uint32 {
	if n := len(c.list); n > 0 {
		return c.list[n-1].order + 1
	}
	return 0
}

func (c *proposalCache) with(p *pendingProposal) *proposalCache {
	return &proposalCache{append(c.list[:len(c.list):len(c.list)], p)}
}

func (c *proposalCache) without(ref ProposalRef) *proposalCache {
	return &proposalCache{slices.DeleteFunc(slices.Clone(c.list), func(p *pendingProposal) bool { return bytes.Equal(p.ref, ref) })}
}

// withoutKeys returns the proposals without the keys of own Updates.
func (c *proposalCache) withoutKeys() *proposalCache {
	next := &proposalCache{slices.Clone(c.list)}
	for i, p := range next.list {
		if p.leafPrivate != nil {
			public := *p
			public.leafPrivate = nil
			next.list[i] = &public
		}
	}
	return next
}

// public returns the exported form.
func (p *pendingProposal) public(own LeafIndex) PendingProposal {
	return PendingProposal{
		Ref: p.ref, Sender: p.sender, Proposal: p.proposal,
		Own: p.sender.Type == SenderTypeMember && p.sender.LeafIndex == own,
	}
}

// proposalRecordVersion is the first byte of a proposal record.
const proposalRecordVersion = 1

func (p *pendingProposal) record() secret.Bytes {
	b := append(make([]byte, 0, 512), proposalRecordVersion)
	b = appendUint32(b, p.order)
	b = p.sender.append(b)
	b = p.proposal.append(b)
	return appendOpaque(b, p.leafPrivate)
}

func (p *pendingProposal) read(r *reader) {
	if v := r.uint8(); r.err == nil && v != proposalRecordVersion {
		r.fail("version %d", v)
	}
	p.order = r.uint32()
	p.sender.read(r)
	p.proposal = new(Proposal)
	p.proposal.read(r)
	if p.leafPrivate = r.opaque(); len(p.leafPrivate) == 0 {
		p.leafPrivate = nil
	}
}

// loadProposals makes a cache of all proposal records.
func loadProposals(records []Record) (*proposalCache, error) {
	c := new(proposalCache)
	for _, rec := range records {
		if len(rec.Key) < 2 || rec.Key[0] != byte(recordProposal) {
			return nil, recordError("proposal under another key")
		}
		p, err := parseClone(rec.Value, (*pendingProposal).read)
		if err != nil {
			return nil, recordError("proposal: %v", err)
		}
		p.ref = bytes.Clone(rec.Key[1:])
		c.list = append(c.list, p)
	}
	slices.SortStableFunc(c.list, func(a, b *pendingProposal) int { return cmp.Compare(a.order, b.order) })
	return c, nil
}

// storeProposal keeps a verified proposal until a commit.
func (g *Group) storeProposal(p *pendingProposal) (*Group, []Change, error) {
	if g.proposals.find(p.ref) != nil {
		return nil, nil, ErrDuplicate
	}
	if len(g.proposals.list) >= maxPendingProposals {
		return nil, nil, ErrTooManyProposals
	}
	p.order = g.proposals.nextOrder()
	next := *g
	next.proposals = g.proposals.with(p)
	return &next, []Change{{Op: Put, Key: proposalRecordKey(p.ref), Value: p.record()}}, nil
}

// DropProposal forgets one pending proposal, own or foreign. Errors:
// ErrUnknownProposal, *Need.
func (g *Group) DropProposal(ref ProposalRef) (*Transition, error) {
	if err := g.need(partProposals); err != nil {
		return nil, err
	}
	p := g.proposals.find(ref)
	if p == nil {
		return nil, ErrUnknownProposal
	}
	next := *g
	next.proposals = g.proposals.without(ref)
	t := &Transition{Next: &next, Changes: []Change{{Op: Delete, Key: proposalRecordKey(p.ref)}}}
	if p.leafPrivate != nil {
		t.Consumed = append(t.Consumed, p.leafPrivate)
	}
	return t, nil
}
