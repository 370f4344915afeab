package mlsgroup

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
)

// The secret tree of RFC 9420 section 9, as the parts of it that are not
// consumed: covers, which are the topmost secrets of subtrees no sender of
// which has been heard, and the ratchets of those that have. A secretTree never
// changes; a step returns another one that shares what stayed.
//
// Any part may be absent from memory. Covers never overlap each other or a leaf
// with ratchets, so a cover found in memory is always the right one, and a leaf
// with neither cover nor ratchet in memory has one of them in the store: the
// step answers with a missingSecret.

// Refusals of the secret tree. A replayed message and one that is too old are
// the same to it: the key is gone.
var (
	// ErrKeyConsumed: the message's key was used before, or is older than the
	// window (RFC 9420 section 9.2).
	ErrKeyConsumed = errors.New("mlsgroup: message key consumed")
	// ErrGenerationTooFar: the message is further ahead of its sender's last
	// one than ReceiveConfig.MaxForward (RFC 9420 section 15.3).
	ErrGenerationTooFar = errors.New("mlsgroup: message generation too far ahead")
)

// missingSecret says what a step lacks in memory. It is an error that the
// group turns into a Need.
type missingSecret struct {
	leaf LeafIndex
	kind ratchetKind
	// chunk: the ratchet is there, but not the chunk of skipped keys that
	// begins at generation first. Otherwise the ratchet is missing: its record
	// is to be loaded, or if the store has none, the cover with the largest
	// first leaf up to leaf.
	chunk bool
	first uint32
}

func (m *missingSecret) Error() string {
	if m.chunk {
		return fmt.Sprintf("mlsgroup: skipped %v keys of leaf %d not loaded", m.kind, m.leaf)
	}
	return fmt.Sprintf("mlsgroup: %v ratchet of leaf %d not loaded", m.kind, m.leaf)
}

// cover is the secret of a subtree's root: of the 1<<level leaves from the one
// it is kept under.
type cover struct {
	level  uint8
	secret secret.Bytes
}

type secretTree struct {
	leaves   LeafCount
	covers   vec[cover] // by first leaf
	ratchets [ratchetKinds]vec[ratchet]
}

// secretRecordKind names the records of a secret tree.
type secretRecordKind uint8

const (
	secretRecordCover   secretRecordKind = iota // secret/epoch/leaf
	secretRecordRatchet                         // ratchet/epoch/leaf/kind
	secretRecordSkip                            // skip/epoch/leaf/kind/first
)

// secretChange is one record that a step changed, below the epoch it is of.
type secretChange struct {
	record secretRecordKind
	leaf   LeafIndex    // for a cover its first leaf
	kind   ratchetKind  // not for a cover
	first  uint32       // first generation of a chunk
	value  secret.Bytes // nil: deleted
}

// secretStep is the result of a step. The tree it was made from is unchanged
// and, until the caller wipes consumed, still works: so the caller wipes only
// after the next state has taken the place of the old one. The key is among
// what is consumed.
type secretStep struct {
	key      messageKey
	next     secretTree
	changed  []secretChange
	consumed []secret.Bytes
}

// newSecretTree makes the tree of an epoch and the record of its one cover. It
// takes over the encryption secret.
func newSecretTree(encryptionSecret secret.Bytes, leaves LeafCount) (secretTree, secretChange) {
	root := &cover{level: uint8(bits.Len32(uint32(leaves) - 1)), secret: encryptionSecret}
	t := secretTree{leaves: leaves}
	t.covers = t.covers.set(0, root)
	return t, secretChange{record: secretRecordCover, value: root.record()}
}

// coldSecretTree is a tree none of which is in memory.
func coldSecretTree(leaves LeafCount) secretTree { return secretTree{leaves: leaves} }

// take finds the key of a received message. Errors: ErrKeyConsumed,
// ErrGenerationTooFar, *missingSecret, CheckSenderLeaf for a leaf outside the
// tree. It cannot know blank leaves; the group checks those.
func (t secretTree) take(s *primitive.Suite, leaf LeafIndex, kind ratchetKind, generation uint32, c ReceiveConfig) (secretStep, error) {
	return t.step(s, leaf, kind, func(r *ratchet) (ratchetStep, error) { return r.take(s, generation, c) })
}

// send takes the next key of the own ratchet; its generation is in the key.
func (t secretTree) send(s *primitive.Suite, own LeafIndex, kind ratchetKind) (secretStep, error) {
	return t.step(s, own, kind, func(r *ratchet) (ratchetStep, error) { return r.send(s) })
}

// skip moves the own ratchet on so that no generation below to is ever used.
// The step has no key.
func (t secretTree) skip(s *primitive.Suite, own LeafIndex, kind ratchetKind, to uint32) (secretStep, error) {
	return t.step(s, own, kind, func(r *ratchet) (ratchetStep, error) { return r.skip(s, to) })
}

// generation returns the next generation of a leaf's ratchet.
func (t secretTree) generation(leaf LeafIndex, kind ratchetKind) (uint32, error) {
	if r := t.ratchets[kind].get(uint32(leaf)); r != nil {
		return r.generation, nil
	}
	if _, c := t.coverOf(leaf); c != nil {
		return 0, nil
	}
	return 0, &missingSecret{leaf: leaf, kind: kind}
}

// step finds the ratchet, splitting the cover if this is the leaf's first use,
// moves it and writes down what became of the records.
func (t secretTree) step(s *primitive.Suite, leaf LeafIndex, kind ratchetKind, move func(*ratchet) (ratchetStep, error)) (secretStep, error) {
	if uint64(leaf) >= uint64(t.leaves) {
		return secretStep{}, CheckSenderLeaf.Errorf("leaf %d of %d", leaf, t.leaves)
	}
	st := secretStep{next: t}
	r := t.ratchets[kind].get(uint32(leaf))
	if r == nil {
		first, c := t.coverOf(leaf)
		if c == nil {
			return secretStep{}, &missingSecret{leaf: leaf, kind: kind}
		}
		r = st.split(s, leaf, first, c, kind)
	}
	m, err := move(r)
	if err != nil {
		if missing, ok := err.(*errMissingChunk); ok {
			err = &missingSecret{leaf: leaf, kind: kind, chunk: true, first: missing.first}
		}
		return secretStep{}, err
	}
	if m.next == r && t.ratchets[kind].get(uint32(leaf)) == r {
		return st, nil // nothing to skip
	}
	st.key = m.key
	st.next.ratchets[kind] = st.next.ratchets[kind].set(uint32(leaf), m.next)
	if st.consumed == nil {
		st.consumed = m.expired // an ordinary message allocates no second list
	} else {
		st.consumed = append(st.consumed, m.expired...)
	}
	st.changed = append(st.changed, secretChange{record: secretRecordRatchet, leaf: leaf, kind: kind, value: m.next.record()})
	for i := range m.chunks {
		ch := secretChange{record: secretRecordSkip, leaf: leaf, kind: kind, first: m.chunks[i].first}
		if m.chunks[i].mask != 0 {
			ch.value = m.chunks[i].record()
		}
		st.changed = append(st.changed, ch)
	}
	return st, nil
}

// coverOf returns the cover in memory that the leaf lies under, and its first
// leaf.
func (t secretTree) coverOf(leaf LeafIndex) (LeafIndex, *cover) {
	for level := range uint8(33) {
		first := LeafIndex(uint64(leaf) >> level << level)
		if c := t.covers.get(uint32(first)); c != nil && c.holds(first, leaf) {
			return first, c
		}
		if uint64(1)<<level >= uint64(t.leaves) {
			break
		}
	}
	return 0, nil
}

// holds tells whether leaf lies under a cover whose first leaf is first.
func (c *cover) holds(first, leaf LeafIndex) bool {
	return leaf >= first && uint64(leaf) < uint64(first)+1<<c.level
}

// split consumes the cover above a leaf: the siblings of the path down to the
// leaf become covers and the leaf gets its ratchets. The one of the given kind
// is returned and not yet part of st, because the step is about to move it.
func (st *secretStep) split(s *primitive.Suite, leaf, first LeafIndex, c *cover, kind ratchetKind) *ratchet {
	covers := st.next.covers.edit()
	put := func(at LeafIndex, x *cover) {
		covers.set(uint32(at), x)
		st.changed = append(st.changed, secretChange{record: secretRecordCover, leaf: at, value: x.record()})
	}
	// The old cover's secret is still part of the tree before; those derived
	// from it on the way down were never part of any.
	spent := func(sec secret.Bytes, level int) {
		if level == int(c.level) {
			st.consumed = append(st.consumed, sec)
		} else {
			sec.Wipe()
		}
	}
	top, cur, level := first, c.secret, int(c.level)
	st.changed = make([]secretChange, 0, level+4)
	st.consumed = make([]secret.Bytes, 0, 4)
	covers.set(uint32(top), nil)
	for ; level > 0; level-- {
		left := mustExpand(s, cur, "tree", []byte("left"), s.HashSize())
		right := mustExpand(s, cur, "tree", []byte("right"), s.HashSize())
		spent(cur, level)
		if middle := first + 1<<(level-1); leaf < middle {
			put(middle, &cover{level: uint8(level - 1), secret: right})
			cur = left
		} else {
			put(first, &cover{level: uint8(level - 1), secret: left})
			first, cur = middle, right
		}
	}
	if leaf == top {
		// No cover begins at the old one's key any more.
		st.changed = append(st.changed, secretChange{record: secretRecordCover, leaf: top})
	}
	st.next.covers = covers.done()

	var own *ratchet
	for k, label := range [ratchetKinds]string{handshakeRatchet: "handshake", applicationRatchet: "application"} {
		r := &ratchet{secret: mustExpand(s, cur, label, nil, s.HashSize())}
		if ratchetKind(k) == kind {
			own = r
			continue
		}
		st.next.ratchets[k] = st.next.ratchets[k].set(uint32(leaf), r)
		st.changed = append(st.changed, secretChange{record: secretRecordRatchet, leaf: leaf, kind: ratchetKind(k), value: r.record()})
	}
	spent(cur, level)
	return own
}
