package mlsgroup

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/conclave-mls/conclave/internal/secret"
)

// CommitBundle is what goes to the delivery service as one unit. Each is an
// encoded MLSMessage.
type CommitBundle struct {
	Commit    []byte
	Welcome   []byte // nil if the commit adds nobody
	GroupInfo []byte // of the epoch that the commit begins
	// Message is the first application message of that epoch, nil where
	// CommitOptions.Message was.
	Message []byte
}

// OwnCommit is a commit of ours that nobody has accepted yet, with all that
// follows from it. It holds key material. It never changes, and it outlives a
// restart by Marshal and ParseOwnCommit.
type OwnCommit struct {
	Bundle CommitBundle
	// Hash is SHA-256 of Bundle.Commit: how the commit is recognized.
	Hash    [32]byte
	GroupID []byte
	// Epoch that the commit begins, and its confirmation tag.
	Epoch           uint64
	ConfirmationTag []byte
	// Base is the state that the commit is for, zero for an external join.
	Base Lineage
	// Before uses up the generation that encrypted the commit; nil for a
	// PublicMessage, and after ParseOwnCommit, since it was written before the
	// commit left.
	Before *Transition
	// After is the records of the new epoch. None of them is a record of the
	// epoch that ends, but for tree nodes and path keys, which have one state.
	After []Change

	past   *pastEpoch // of the epoch that ends, without its message keys
	effect *CommitEffect
	next   *Group // nil after ParseOwnCommit
}

func hashCommit(message []byte) [32]byte { return sha256.Sum256(message) }

// External tells whether the commit is one to join.
func (c *OwnCommit) External() bool { return c.past == nil }

// Effect returns what the commit changes; its Dropped is as of its making. It
// is not to be changed.
func (c *OwnCommit) Effect() *CommitEffect { return c.effect }

// Group returns the group of the new epoch without its past.
func (c *OwnCommit) group() (*Group, error) {
	if c.next != nil {
		return c.next, nil
	}
	for _, ch := range c.After {
		if ch.Op == Put && bytes.Equal(ch.Key, HeadKey()) {
			return LoadGroup(ch.Value)
		}
	}
	return nil, recordError("own commit without a head")
}

// Merge carries out an accepted commit. g is the state that the commit was made
// for as it is now, messages received meanwhile included, or nil for an
// external join. The changes retire the old epoch and put the new one in its
// place. Errors: ErrStaleCommit, *Need.
func (g *Group) Merge(c *OwnCommit) (*Transition, error) {
	begun, err := c.group()
	if err != nil {
		return nil, err
	}
	t := &Transition{Next: begun}
	effect := *c.effect
	if g == nil || c.past == nil {
		if g != nil || c.past != nil {
			return nil, ErrStaleCommit
		}
		t.Changes = c.After
	} else {
		if !c.Base.Equal(g.Lineage()) {
			return nil, ErrStaleCommit
		}
		if err := g.need(partProposals); err != nil {
			return nil, err
		}
		effect.Dropped = nil
		for _, p := range g.proposals.list {
			if !slices.ContainsFunc(effect.Committed, func(ref ProposalRef) bool { return bytes.Equal(ref, p.ref) }) {
				effect.Dropped = append(effect.Dropped, p.public(g.head.own))
			}
		}
		var end []Change
		t.Next, end, t.Consumed = g.endEpoch(begun, c.past)
		t.Changes = append(end, c.After...)
	}
	t.Received = &Received{
		ContentType: ContentTypeCommit, Epoch: c.Epoch - 1, SignatureKey: t.Next.head.signatureKey, Commit: &effect,
		Sender: Sender{Type: SenderTypeMember, LeafIndex: effect.Committer},
	}
	if leaf := effect.committer(g); leaf != nil {
		t.Received.Credential, t.Received.SignatureKey = leaf.Credential, leaf.SignatureKey
	}
	if effect.External {
		t.Received.Sender = Sender{Type: SenderTypeNewMemberCommit}
	}
	return t, nil
}

// Provisional returns the state that Merge would lead to, to see whether a
// message of the new epoch opens under it. Nothing of it is to be written.
// After ParseOwnCommit it needs the old tree and path keys in memory. Errors:
// ErrStaleCommit, *Need.
func (c *OwnCommit) Provisional(g *Group) (*Group, error) {
	if c.next == nil && g != nil {
		if err := g.need(partTree, partPath, partProposals); err != nil {
			return nil, err
		}
	}
	t, err := g.Merge(c)
	if err != nil || c.next != nil {
		return t.nextGroup(), err
	}
	// The records of the new epoch are those of the old one in memory, with
	// the changes on top of them.
	over := make(map[string][]byte)
	if g != nil {
		for _, ch := range epochRecords(new(RatchetTree), g.tree, pathKeys{}, *g.path) {
			over[string(ch.Key)] = ch.Value
		}
	}
	for _, ch := range c.After {
		if ch.Op == Put {
			over[string(ch.Key)] = ch.Value
		} else {
			delete(over, string(ch.Key))
		}
	}
	tree, path := Loaded{Part: Part{kind: partTree}}, Loaded{Part: Part{kind: partPath}}
	parts := []Loaded{{Part: Part{kind: partProposals}}}
	keys := make([]string, 0, len(over))
	for k := range over {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		rec := Record{Key: []byte(k), Value: over[k]}
		switch recordKind(k[0]) {
		case recordNode, recordUnmerged:
			tree.Records = append(tree.Records, rec)
		case recordPath:
			path.Records = append(path.Records, rec)
		case recordSecret, recordRatchet:
			parts = append(parts, Loaded{Part: ratchetPart(c.Epoch, rec.Key), Records: []Record{rec}})
		}
	}
	return t.Next.WithParts(append(parts, tree, path)...)
}

// committer returns the leaf of who made the commit, after it, nil where it is
// neither part of the commit nor in memory.
func (e *CommitEffect) committer(g *Group) *LeafNode {
	for _, list := range [...][]Member{e.Updated, e.Added} {
		for _, m := range list {
			if m.Index == e.Committer {
				return m.Leaf
			}
		}
	}
	if g == nil {
		return nil
	}
	leaf, err := g.Member(e.Committer)
	if err != nil {
		return nil
	}
	return leaf
}

func (t *Transition) nextGroup() *Group {
	if t == nil {
		return nil
	}
	return t.Next
}

// The first byte of a stored OwnCommit: of one without Bundle.Message, as all were
// once, and of one with it.
const (
	ownCommitVersion        = 1
	ownCommitMessageVersion = 2
)

// SizeHint is no less than what Append appends, in bytes: with that much room, key
// material does not stay behind in memory that was too small.
func (c *OwnCommit) SizeHint() int {
	n := 128 + len(c.Bundle.Commit) + len(c.Bundle.Welcome) + len(c.Bundle.GroupInfo) + len(c.Bundle.Message)
	n += len(c.GroupID) + len(c.ConfirmationTag) + len(c.Base.ConfirmedTranscriptHash)
	for _, ch := range c.After {
		n += len(ch.Key) + len(ch.High) + len(ch.Value) + 16
	}
	if c.past != nil {
		n += c.past.sizeHint()
	}
	return n + c.effect.sizeHint()
}

// Marshal returns the stored form, which holds key material.
func (c *OwnCommit) Marshal() secret.Bytes { return c.Append(make([]byte, 0, c.SizeHint())) }

// Append appends the stored form.
func (c *OwnCommit) Append(b []byte) []byte {
	if c.Bundle.Message == nil {
		b = append(b, ownCommitVersion)
	} else {
		b = appendLong(append(b, ownCommitMessageVersion), c.Bundle.Message)
	}
	b = appendLong(b, c.Bundle.Commit)
	b = appendLong(b, c.Bundle.Welcome)
	b = appendLong(b, c.Bundle.GroupInfo)
	b = appendOpaque(b, c.GroupID)
	b = appendUint64(b, c.Epoch)
	b = appendOpaque(b, c.ConfirmationTag)
	if c.past == nil {
		b = append(b, 0)
	} else {
		b = append(b, 1)
		b = appendUint64(b, c.Base.Epoch)
		b = appendOpaque(b, c.Base.ConfirmedTranscriptHash)
		past := c.past.record()
		b = appendLong(b, past)
		past.Wipe()
	}
	b = c.effect.append(b)
	b = appendUint32(b, uint32(len(c.After)))
	for _, ch := range c.After {
		b = appendOpaque(append(b, byte(ch.Op)), ch.Key)
		b = appendLong(appendOpaque(b, ch.High), ch.Value)
	}
	return b
}

// ParseOwnCommit reads what Marshal wrote. It keeps no part of b and fails with
// ErrRecord.
func ParseOwnCommit(b []byte) (*OwnCommit, error) {
	c, err := parseClone(b, (*OwnCommit).read)
	if err != nil {
		return nil, recordError("own commit: %v", err)
	}
	return c, nil
}

func (c *OwnCommit) read(r *reader) {
	switch v := r.uint8(); {
	case v == ownCommitMessageVersion:
		c.Bundle.Message = r.long()
	case r.err == nil && v != ownCommitVersion:
		r.fail("version %d", v)
	}
	c.Bundle.Commit = r.long()
	if c.Bundle.Welcome = r.long(); len(c.Bundle.Welcome) == 0 {
		c.Bundle.Welcome = nil
	}
	c.Bundle.GroupInfo = r.long()
	c.Hash = hashCommit(c.Bundle.Commit)
	c.GroupID = r.opaque()
	c.Epoch = r.uint64()
	c.ConfirmationTag = r.opaque()
	if r.optional() {
		c.Base.Epoch = r.uint64()
		c.Base.ConfirmedTranscriptHash = r.opaque()
		past, err := parsePastEpoch(r.long())
		if r.err == nil && err != nil {
			r.fail("%v", err)
		}
		c.past = past
	}
	c.effect = new(CommitEffect)
	c.effect.read(r)
	for range r.uint32() {
		if r.err != nil {
			return
		}
		ch := Change{Op: ChangeOp(r.uint8()), Key: r.opaque(), High: r.opaque(), Value: r.long()}
		if r.err == nil && (ch.Op < Put || ch.Op > DeleteRange) {
			r.fail("change %d", ch.Op)
		}
		c.After = append(c.After, ch)
	}
}

// appendLong appends data with a length of four bytes: bundles and records may
// be longer than a vector of the presentation language.
func appendLong(b, data []byte) []byte {
	return append(appendUint32(b, uint32(len(data))), data...)
}

func (r *reader) long() []byte {
	n := r.uint32()
	if uint64(n) > uint64(len(r.b)) {
		r.fail("%d bytes wanted, %d left", n, len(r.b))
		return nil
	}
	return r.take(int(n))
}

// effect flags.
const (
	effectExternal   = 1
	effectExtensions = 2
)

// sizeHint is no less than the encoded size.
func (e *CommitEffect) sizeHint() int {
	n := 64
	for _, list := range [...][]Member{e.Added, e.Updated, e.Removed} {
		for _, m := range list {
			n += 4 + m.Leaf.sizeHint()
		}
	}
	for _, ref := range e.Committed {
		n += 4 + len(ref)
	}
	if e.ReInit != nil {
		n += 8 + len(e.ReInit.GroupID) + e.ReInit.Extensions.sizeHint()
	}
	return n
}

// append writes an effect without what a merge finds out again: SelfRemoved is
// never true of an own commit.
func (e *CommitEffect) append(b []byte) []byte {
	b = appendUint64(b, e.Epoch)
	b = appendUint32(b, uint32(e.Committer))
	var flags byte
	if e.External {
		flags |= effectExternal
	}
	if e.ContextExtensions {
		flags |= effectExtensions
	}
	b = append(b, flags)
	for _, list := range [...][]Member{e.Added, e.Updated, e.Removed} {
		b = appendUint32(b, uint32(len(list)))
		for _, m := range list {
			b = m.Leaf.append(appendUint32(b, uint32(m.Index)))
		}
	}
	b = appendUint32(b, uint32(len(e.Committed)))
	for _, ref := range e.Committed {
		b = appendOpaque(b, ref)
	}
	if e.ReInit == nil {
		return append(b, 0)
	}
	return e.ReInit.append(append(b, 1))
}

func (e *CommitEffect) read(r *reader) {
	e.Epoch = r.uint64()
	e.Committer = LeafIndex(r.uint32())
	flags := r.uint8()
	if flags&^(effectExternal|effectExtensions) != 0 {
		r.fail("flags %x", flags)
	}
	e.External, e.ContextExtensions = flags&effectExternal != 0, flags&effectExtensions != 0
	for _, list := range [...]*[]Member{&e.Added, &e.Updated, &e.Removed} {
		for range r.uint32() {
			if r.err != nil {
				return
			}
			m := Member{Index: LeafIndex(r.uint32()), Leaf: new(LeafNode)}
			m.Leaf.read(r)
			*list = append(*list, m)
		}
	}
	for range r.uint32() {
		if r.err != nil {
			return
		}
		e.Committed = append(e.Committed, r.opaque())
	}
	if r.optional() {
		e.ReInit = new(ReInit)
		e.ReInit.read(r)
	}
}

// String says which commit it is, and nothing it holds.
func (c *OwnCommit) String() string {
	return fmt.Sprintf("own commit %x of epoch %d", c.Hash[:4], c.Epoch)
}
