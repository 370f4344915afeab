package mlsgroup

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
)

// The record forms of a secret tree. They are our own, so they are packed
// tighter than the presentation language: sizes that the suite fixes are not
// written.
//
//	cover    version level secret[Nh]
//	ratchet  version generation:4 secret[Nh]
//	         count:1 {generation:4 key[Nk] nonce[Nn]}  ascending, at most 8
//	         count:2 {first:4 mask:2}                  ascending; the chunks there are
//	skip     version mask:2 {key[Nk] nonce[Nn]}        one a bit of the mask

// secretRecordVersion is the first byte of each of these records.
const secretRecordVersion = 1

// maxChunks bounds the chunks of a ratchet: each spill ends at most one that is
// not full and moves more than maxInlineKeys keys of the window.
const maxChunks = maxOutOfOrder/skipChunkSpan + maxOutOfOrder/maxInlineKeys + 2

// ErrRecord reports a stored record that this package cannot have written: the
// store is damaged, or newer than this program.
var ErrRecord = errors.New("mlsgroup: malformed record")

func recordError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRecord, fmt.Sprintf(format, args...))
}

func (c *cover) record() secret.Bytes {
	b := make(secret.Bytes, 0, 2+len(c.secret))
	return append(append(b, secretRecordVersion, c.level), c.secret...)
}

func parseCover(s *primitive.Suite, b []byte) (*cover, error) {
	if len(b) != 2+s.HashSize() || b[0] != secretRecordVersion || b[1] > 32 {
		return nil, recordError("subtree secret of %d bytes", len(b))
	}
	return &cover{level: b[1], secret: secret.Bytes(b[2:]).Clone()}, nil
}

func (r *ratchet) record() secret.Bytes {
	n := 1 + 4 + len(r.secret) + 1 + 2 + 6*len(r.chunks)
	for i := range r.skipped {
		n += 4 + len(r.skipped[i].key) + len(r.skipped[i].nonce)
	}
	b := append(make([]byte, 0, n), secretRecordVersion)
	b = appendUint32(b, r.generation)
	b = append(b, r.secret...)
	b = append(b, byte(len(r.skipped)))
	for i := range r.skipped {
		b = appendUint32(b, r.skipped[i].generation)
		b = append(append(b, r.skipped[i].key...), r.skipped[i].nonce...)
	}
	b = appendUint16(b, uint16(len(r.chunks)))
	for i := range r.chunks {
		b = appendUint32(b, r.chunks[i].first)
		b = appendUint16(b, r.chunks[i].mask)
	}
	return b
}

// parseRatchet reads what record wrote. The keys of its chunks stay absent.
func parseRatchet(s *primitive.Suite, b []byte) (*ratchet, error) {
	rd := reader{b: b}
	if v := rd.uint8(); rd.err == nil && v != secretRecordVersion {
		return nil, recordError("ratchet of version %d", v)
	}
	r := &ratchet{generation: rd.uint32(), secret: secret.Bytes(rd.take(s.HashSize())).Clone()}
	n := int(rd.uint8())
	if n > maxInlineKeys {
		return nil, recordError("%d inline keys", n)
	}
	next := uint64(0) // the least generation that may come
	for range n {
		k := messageKey{generation: rd.uint32()}
		k.key, k.nonce = readKey(s, &rd)
		if rd.err == nil && (uint64(k.generation) < next || k.generation >= r.generation) {
			return nil, recordError("skipped key %d of a ratchet at %d", k.generation, r.generation)
		}
		next = uint64(k.generation) + 1
		r.skipped = append(r.skipped, k)
	}
	if n = int(rd.uint16()); n > maxChunks {
		return nil, recordError("%d chunks", n)
	}
	next = 0
	for range n {
		c := skipChunk{first: rd.uint32(), mask: rd.uint16()}
		if rd.err != nil {
			break
		}
		newest := uint64(r.generation)
		if len(r.skipped) > 0 {
			newest = uint64(r.skipped[0].generation)
		}
		if uint64(c.first) < next || c.mask == 0 || uint64(c.first)+uint64(bits.Len16(c.mask)) > newest {
			return nil, recordError("chunk %d of a ratchet at %d", c.first, r.generation)
		}
		next = uint64(c.last()) + 1
		r.chunks = append(r.chunks, c)
	}
	if err := rd.done(); err != nil {
		return nil, recordError("ratchet of %d bytes", len(b))
	}
	return r, nil
}

func readKey(s *primitive.Suite, rd *reader) (key, nonce secret.Bytes) {
	return secret.Bytes(rd.take(s.KeySize())).Clone(), secret.Bytes(rd.take(s.NonceSize())).Clone()
}

func (c *skipChunk) record() secret.Bytes {
	b := make([]byte, 0, 3+len(c.keys)*(len(c.keys[0].key)+len(c.keys[0].nonce)))
	b = appendUint16(append(b, secretRecordVersion), c.mask)
	for i := range c.keys {
		b = append(append(b, c.keys[i].key...), c.keys[i].nonce...)
	}
	return b
}

// withRecord returns the chunk with the keys of its record, whose mask must be
// the one that the ratchet's record has.
func (c skipChunk) withRecord(s *primitive.Suite, b []byte) (skipChunk, error) {
	rd := reader{b: b}
	if v, mask := rd.uint8(), rd.uint16(); rd.err == nil && (v != secretRecordVersion || mask != c.mask) {
		return skipChunk{}, recordError("chunk of version %d with mask %x, not %x", v, mask, c.mask)
	}
	c.keys = make([]messageKey, 0, skipChunkSpan)
	for bit := range uint32(skipChunkSpan) {
		if c.mask>>bit&1 != 0 {
			k := messageKey{generation: c.first + bit}
			k.key, k.nonce = readKey(s, &rd)
			c.keys = append(c.keys, k)
		}
	}
	if err := rd.done(); err != nil {
		return skipChunk{}, recordError("chunk of %d bytes", len(b))
	}
	return c, nil
}

// withCover returns the tree with the cover of a leaf loaded from the store,
// where it stands under its first leaf. A cover of other leaves is refused: it
// means that the leaf's secrets are lost.
func (t secretTree) withCover(s *primitive.Suite, leaf, first LeafIndex, record []byte) (secretTree, error) {
	c, err := parseCover(s, record)
	if err != nil {
		return t, err
	}
	if end := uint64(first) + 1<<c.level; end > uint64(t.leaves) || uint64(first)&(1<<c.level-1) != 0 || !c.holds(first, leaf) {
		return t, recordError("subtree secret of leaves %d to %d for leaf %d", first, end-1, leaf)
	}
	t.covers = t.covers.set(uint32(first), c)
	return t, nil
}

// withRatchet returns the tree with a ratchet loaded from the store.
func (t secretTree) withRatchet(s *primitive.Suite, leaf LeafIndex, kind ratchetKind, record []byte) (secretTree, error) {
	if uint64(leaf) >= uint64(t.leaves) || kind >= ratchetKinds {
		return t, recordError("ratchet of leaf %d", leaf)
	}
	r, err := parseRatchet(s, record)
	if err != nil {
		return t, err
	}
	t.ratchets[kind] = t.ratchets[kind].set(uint32(leaf), r)
	return t, nil
}

// withChunk returns the tree with the keys of a chunk loaded from the store.
// The ratchet must be in memory.
func (t secretTree) withChunk(s *primitive.Suite, leaf LeafIndex, kind ratchetKind, first uint32, record []byte) (secretTree, error) {
	if kind >= ratchetKinds {
		return t, recordError("chunk %d of leaf %d", first, leaf)
	}
	r := t.ratchets[kind].get(uint32(leaf))
	if r == nil {
		return t, recordError("chunk %d of leaf %d, which has no ratchet", first, leaf)
	}
	for i := range r.chunks {
		if r.chunks[i].first != first {
			continue
		}
		c, err := r.chunks[i].withRecord(s, record)
		if err != nil {
			return t, err
		}
		n := *r
		n.chunks = append([]skipChunk(nil), r.chunks...)
		n.chunks[i] = c
		t.ratchets[kind] = t.ratchets[kind].set(uint32(leaf), &n)
		return t, nil
	}
	return t, recordError("chunk %d of leaf %d, which its ratchet does not have", first, leaf)
}
