package mlsgroup

import (
	"cmp"
	"slices"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
)

// pastEpoch is what is left of an epoch that has ended: enough to read its late
// application messages. It never changes but for its message keys, a step of
// which makes another.
type pastEpoch struct {
	context    []byte // encoded GroupContext
	senderData secret.Bytes
	leafCount  LeafCount
	// leaves holds, ascending, what stood at those leaves that the commit which
	// ended the epoch changed. All others are as in the epoch after.
	leaves  []pastLeaf
	secrets secretTree
}

type pastLeaf struct {
	i    LeafIndex
	leaf *LeafNode // nil where it was blank
}

// leafAt returns what stood at leaf i; ok is false if that is as in the epoch
// after.
func (p *pastEpoch) leafAt(i LeafIndex) (leaf *LeafNode, ok bool) {
	at, ok := slices.BinarySearchFunc(p.leaves, i, func(l pastLeaf, i LeafIndex) int { return cmp.Compare(l.i, i) })
	if !ok {
		return nil, false
	}
	return p.leaves[at].leaf, true
}

// pastRecordVersion is the first byte of a past record.
const pastRecordVersion = 1

// sizeHint is no less than the size of the past record.
func (p *pastEpoch) sizeHint() int {
	n := 32 + len(p.context) + len(p.senderData)
	for _, l := range p.leaves {
		n += 5
		if l.leaf != nil {
			n += l.leaf.sizeHint()
		}
	}
	return n
}

// record returns the past record; message keys have records of their own.
func (p *pastEpoch) record() secret.Bytes {
	b := append(make([]byte, 0, p.sizeHint()), pastRecordVersion)
	b = appendOpaque(b, p.context)
	b = appendOpaque(b, p.senderData)
	b = appendUint32(b, uint32(p.leafCount))
	return appendVector(b, func(b []byte) []byte {
		for _, l := range p.leaves {
			b = appendUint32(b, uint32(l.i))
			if l.leaf == nil {
				b = append(b, 0)
			} else {
				b = l.leaf.append(append(b, 1))
			}
		}
		return b
	})
}

func parsePastEpoch(record []byte) (*pastEpoch, error) {
	p, err := parseClone(record, (*pastEpoch).read)
	if err != nil {
		return nil, recordError("past epoch: %v", err)
	}
	p.secrets = coldSecretTree(p.leafCount)
	return p, nil
}

func (p *pastEpoch) read(r *reader) {
	if v := r.uint8(); r.err == nil && v != pastRecordVersion {
		r.fail("version %d", v)
	}
	p.context = r.opaque()
	p.senderData = r.opaque()
	p.leafCount = LeafCount(r.uint32())
	r.vector(maxTreeNodes, func(r *reader) {
		l := pastLeaf{i: LeafIndex(r.uint32())}
		if n := len(p.leaves); n > 0 && p.leaves[n-1].i >= l.i {
			r.fail("leaf %d after leaf %d", l.i, p.leaves[n-1].i)
		}
		if r.optional() {
			l.leaf = new(LeafNode)
			l.leaf.read(r)
		}
		p.leaves = append(p.leaves, l)
	})
}

// changedLeaves returns the leaves of old that differ in next.
func changedLeaves(old, next *RatchetTree) []pastLeaf {
	var list []pastLeaf
	for x := range next.nodes.changed(old.nodes) {
		if x := NodeIndex(x); x.isLeaf() {
			if was := old.Leaf(x.leaf()); was != next.Leaf(x.leaf()) {
				list = append(list, pastLeaf{x.leaf(), was})
			}
		}
	}
	return list
}

// newPastEpoch makes the past form of g's epoch, which ends with tree next.
func (g *Group) newPastEpoch(next *RatchetTree) *pastEpoch {
	return &pastEpoch{
		context: g.head.encodedContext, senderData: g.head.secrets.senderData, leafCount: g.head.leafCount,
		leaves: changedLeaves(g.tree, next), secrets: g.secrets,
	}
}

// epochView is what a message of one epoch is opened with.
type epochView struct {
	epoch      uint64
	past       *pastEpoch // nil for the current epoch
	context    []byte
	senderData secret.Bytes
	secrets    secretTree
}

// view returns the keys of an epoch, current or past. Errors: *EpochError for a
// later one, ErrEpochTooOld, *Need.
func (g *Group) view(epoch uint64) (v epochView, err error) {
	h := g.head
	switch {
	case epoch > h.context.Epoch:
		return v, &EpochError{Got: epoch, Want: h.context.Epoch}
	case epoch == h.context.Epoch:
		return epochView{epoch: epoch, context: h.encodedContext, senderData: h.secrets.senderData, secrets: g.secrets}, nil
	case epoch < h.oldestPast:
		return v, ErrEpochTooOld
	}
	p := g.past[epoch-h.oldestPast]
	if p == nil {
		return v, &Need{Parts: []Part{{kind: partPast, epoch: epoch}}}
	}
	return epochView{epoch: epoch, past: p, context: p.context, senderData: p.senderData, secrets: p.secrets}, nil
}

// leafIn returns leaf i of an epoch, nil if it was blank. It goes forward
// through the epochs that ended since until one has changed the leaf.
func (g *Group) leafIn(epoch uint64, i LeafIndex) (*LeafNode, error) {
	for e := epoch; e < g.head.context.Epoch; e++ {
		p := g.past[e-g.head.oldestPast]
		if p == nil {
			return nil, &Need{Parts: []Part{{kind: partPast, epoch: e}}}
		}
		if l, ok := p.leafAt(i); ok {
			return l, nil
		}
	}
	return g.Member(i)
}

// withSecrets returns g with the message keys of an epoch replaced.
func (g *Group) withSecrets(epoch uint64, st secretTree) *Group {
	next := *g
	if epoch == g.head.context.Epoch {
		next.secrets = st
		return &next
	}
	next.past = slices.Clone(g.past)
	p := *next.past[epoch-g.head.oldestPast]
	p.secrets = st
	next.past[epoch-g.head.oldestPast] = &p
	return &next
}

// material appends all secrets of the tree that are in memory, to be wiped.
func (t secretTree) material(to []secret.Bytes) []secret.Bytes {
	keys := func(list []messageKey) {
		for i := range list {
			to = append(to, list[i].key, list[i].nonce)
		}
	}
	for _, c := range t.covers.all() {
		to = append(to, c.secret)
	}
	for kind := range t.ratchets {
		for _, r := range t.ratchets[kind].all() {
			to = append(to, r.secret)
			keys(r.skipped)
			for i := range r.chunks {
				keys(r.chunks[i].keys)
			}
		}
	}
	return to
}

// secretChanges turns what a step of the secret tree changed into changes of
// records.
func secretChanges(epoch uint64, changed []secretChange) []Change {
	out := make([]Change, 0, len(changed))
	for i := range changed {
		c := &changed[i]
		var key []byte
		switch c.record {
		case secretRecordCover:
			key = coverRecordKey(epoch, c.leaf)
		case secretRecordRatchet:
			key = ratchetRecordKey(epoch, c.leaf, c.kind)
		case secretRecordSkip:
			key = skipRecordKey(epoch, c.leaf, c.kind, c.first)
		}
		if c.value == nil {
			out = append(out, Change{Op: Delete, Key: key})
		} else {
			out = append(out, Change{Op: Put, Key: key, Value: c.value})
		}
	}
	return out
}

// part returns the part that a missingSecret stands for.
func (m *missingSecret) part(epoch uint64) Part {
	if m.chunk {
		return Part{kind: partSkip, epoch: epoch, leaf: m.leaf, ratchet: m.kind, first: m.first}
	}
	return Part{kind: partRatchet, epoch: epoch, leaf: m.leaf, ratchet: m.kind}
}

// withPart returns the secret tree with a part from the store.
func (t secretTree) withPart(s *primitive.Suite, l *Loaded) (secretTree, error) {
	p := l.Part
	if p.kind == partSkip {
		if len(l.Records) != 1 {
			return t, recordError("%v: not there", p)
		}
		return t.withChunk(s, p.leaf, p.ratchet, p.first, l.Records[0].Value)
	}
	ratchetKey := ratchetRecordKey(p.epoch, p.leaf, p.ratchet)
	for _, r := range l.Records {
		if slices.Equal(r.Key, ratchetKey) {
			return t.withRatchet(s, p.leaf, p.ratchet, r.Value)
		}
	}
	for _, r := range l.Records {
		if len(r.Key) != 13 || r.Key[0] != byte(recordSecret) {
			continue
		}
		first := LeafIndex(uint32(r.Key[9])<<24 | uint32(r.Key[10])<<16 | uint32(r.Key[11])<<8 | uint32(r.Key[12]))
		return t.withCover(s, p.leaf, first, r.Value)
	}
	// Every leaf has either a ratchet or a cover in the store.
	return t, recordError("%v: not there", p)
}
