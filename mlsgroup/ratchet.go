package mlsgroup

import (
	"fmt"
	"math"
	"math/bits"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
)

// ratchetKind tells the two ratchets of a leaf apart (RFC 9420 section 9.1).
// The numbers stand in records.
type ratchetKind uint8

const (
	handshakeRatchet   ratchetKind = 0
	applicationRatchet ratchetKind = 1
	ratchetKinds                   = 2
)

// ratchetOf returns the ratchet that keys content of type t.
func ratchetOf(t ContentType) ratchetKind {
	if t == ContentTypeApplication {
		return applicationRatchet
	}
	return handshakeRatchet
}

func (k ratchetKind) String() string {
	if k == applicationRatchet {
		return "application"
	}
	return "handshake"
}

const (
	// maxInlineKeys is how many skipped keys a ratchet's own record holds. One
	// more and all of them move to chunks, so that messages after a gap write
	// a small record again.
	maxInlineKeys = 8
	// skipChunkSpan is the number of generations that one chunk spans, and so
	// the most keys it holds: a bit each in its mask. A chunk is deleted when
	// its last key leaves the window, so a key is kept at most one span less
	// one longer than it can be used.
	skipChunkSpan = 16
	// maxSkip bounds the generations that one step of the own ratchet burns.
	maxSkip = 1 << 16
)

// ratchet is one sender ratchet (RFC 9420 section 9.1). It never changes: a
// step makes another, which shares the skipped keys that stay.
type ratchet struct {
	generation uint32       // of secret: the next generation expected
	secret     secret.Bytes // ratchet_secret_[generation]
	skipped    []messageKey // ascending, at most maxInlineKeys, newer than any chunk's
	chunks     []skipChunk  // ascending and disjoint
}

// skipChunk is older skipped keys, in a record of their own.
type skipChunk struct {
	first uint32       // the generation of bit 0
	mask  uint16       // bit i set: first+i is kept
	keys  []messageKey // ascending, one a bit; nil while only the store has them
}

// last is the newest generation that the chunk holds.
func (c *skipChunk) last() uint32 {
	return c.first + uint32(bits.Len16(c.mask)) - 1
}

// has tells whether the chunk holds the generation.
func (c *skipChunk) has(generation uint32) bool {
	return generation >= c.first && generation-c.first < skipChunkSpan && c.mask>>(generation-c.first)&1 != 0
}

// ratchetStep is what a step of a ratchet did.
type ratchetStep struct {
	key     messageKey
	next    *ratchet
	chunks  []skipChunk    // written; a zero mask means deleted
	expired []secret.Bytes // no longer part of next: to be wiped after the swap
}

// errMissingChunk is the missing answer of a ratchet that does not know where
// it stands in the tree; the secret tree adds that.
type errMissingChunk struct{ first uint32 }

func (e *errMissingChunk) Error() string { return "mlsgroup: skipped keys not loaded" }

// advance derives the keys from r.generation up to and including to, keeping
// those from keepFrom on as skipped. It returns the last, the secret after it
// and the keys to keep. Secrets in between are wiped at once.
func (r *ratchet) advance(s *primitive.Suite, to, keepFrom uint32) (messageKey, secret.Bytes, []messageKey) {
	var (
		kept []messageKey
		cur  = r.secret
	)
	if first := max(keepFrom, r.generation); first < to {
		kept = make([]messageKey, 0, to-first)
	}
	for g := r.generation; g < to; g++ {
		if g >= keepFrom {
			kept = append(kept, generationKey(s, cur, g))
		}
		cur = r.following(s, cur, g)
	}
	key := generationKey(s, cur, to)
	return key, r.following(s, cur, to), kept
}

// following derives the secret after that of generation g, which it wipes
// unless r itself holds it: the state before the step stays usable.
func (r *ratchet) following(s *primitive.Suite, cur secret.Bytes, g uint32) secret.Bytes {
	next := mustDeriveTreeSecret(s, cur, "secret", g, s.HashSize())
	if g != r.generation {
		cur.Wipe()
	}
	return next
}

// generationKey derives the key of a generation from its ratchet secret.
func generationKey(s *primitive.Suite, ratchetSecret secret.Bytes, generation uint32) messageKey {
	var context [4]byte
	k := newMessageKey(s, ratchetSecret, appendUint32(context[:0], generation))
	k.generation = generation
	return k
}

// take finds the key of a received message.
func (r *ratchet) take(s *primitive.Suite, generation uint32, c ReceiveConfig) (ratchetStep, error) {
	if generation < r.generation {
		return r.takeSkipped(generation, c)
	}
	// The last generation is never used, so that the one after it always has
	// a number.
	if generation-r.generation > c.MaxForward || generation == math.MaxUint32 {
		return ratchetStep{}, ErrGenerationTooFar
	}
	keepFrom := oldest(generation+1, c)
	key, next, kept := r.advance(s, generation, keepFrom)
	st := ratchetStep{
		key:     key,
		next:    &ratchet{generation: generation + 1, secret: next, skipped: r.skipped, chunks: r.chunks},
		expired: make([]secret.Bytes, 0, 4),
	}
	st.expired = append(st.expired, r.secret, key.key, key.nonce)
	st.expire(keepFrom)
	if len(kept) > 0 {
		n := st.next
		n.skipped = append(n.skipped[:len(n.skipped):len(n.skipped)], kept...)
		if len(n.skipped) > maxInlineKeys {
			st.spill()
		}
	}
	return st, nil
}

// oldest is the oldest generation inside the window of a ratchet whose next
// generation is head. A generation g is inside while head-g <= OutOfOrder.
func oldest(head uint32, c ReceiveConfig) uint32 {
	if head <= c.OutOfOrder {
		return 0
	}
	return head - c.OutOfOrder
}

// takeSkipped takes a key from those kept for late messages.
func (r *ratchet) takeSkipped(generation uint32, c ReceiveConfig) (ratchetStep, error) {
	if generation < oldest(r.generation, c) {
		return ratchetStep{}, ErrKeyConsumed
	}
	for i := range r.skipped {
		if r.skipped[i].generation != generation {
			continue
		}
		k := r.skipped[i]
		n := *r
		n.skipped = without(r.skipped, i)
		return ratchetStep{key: k, next: &n, expired: []secret.Bytes{k.key, k.nonce}}, nil
	}
	for i := range r.chunks {
		old := &r.chunks[i]
		if !old.has(generation) {
			continue
		}
		if old.keys == nil {
			return ratchetStep{}, &errMissingChunk{old.first}
		}
		bit := generation - old.first
		at := bits.OnesCount16(old.mask & (1<<bit - 1))
		k := old.keys[at]
		left := skipChunk{first: old.first, mask: old.mask &^ (1 << bit), keys: without(old.keys, at)}
		n := *r
		if left.mask == 0 {
			n.chunks = without(r.chunks, i)
		} else {
			n.chunks = append([]skipChunk(nil), r.chunks...)
			n.chunks[i] = left
		}
		return ratchetStep{
			key: k, next: &n,
			chunks:  []skipChunk{left},
			expired: []secret.Bytes{k.key, k.nonce},
		}, nil
	}
	return ratchetStep{}, ErrKeyConsumed
}

// expire drops the skipped keys older than the window.
func (st *ratchetStep) expire(oldest uint32) {
	n := st.next
	for len(n.skipped) > 0 && n.skipped[0].generation < oldest {
		st.expired = append(st.expired, n.skipped[0].key, n.skipped[0].nonce)
		n.skipped = n.skipped[1:]
	}
	for len(n.chunks) > 0 && n.chunks[0].last() < oldest {
		c := n.chunks[0]
		for _, k := range c.keys {
			st.expired = append(st.expired, k.key, k.nonce)
		}
		st.chunks = append(st.chunks, skipChunk{first: c.first})
		n.chunks = n.chunks[1:]
	}
}

// spill moves the inline skipped keys to new chunks. No old chunk is touched:
// it may not be in memory.
func (st *ratchetStep) spill() {
	n := st.next
	chunks := append([]skipChunk(nil), n.chunks...)
	for keys := n.skipped; len(keys) > 0; {
		c := skipChunk{first: keys[0].generation}
		i := 0
		for i < len(keys) && keys[i].generation-c.first < skipChunkSpan {
			c.mask |= 1 << (keys[i].generation - c.first)
			i++
		}
		c.keys, keys = keys[:i:i], keys[i:]
		chunks = append(chunks, c)
		st.chunks = append(st.chunks, c)
	}
	n.chunks, n.skipped = chunks, nil
}

// send takes the next key of the own ratchet.
func (r *ratchet) send(s *primitive.Suite) (ratchetStep, error) {
	if r.generation == math.MaxUint32 {
		return ratchetStep{}, CheckEpochLimit.Errorf("all generations are used")
	}
	key, next, _ := r.advance(s, r.generation, r.generation)
	n := *r
	n.generation, n.secret = r.generation+1, next
	return ratchetStep{key: key, next: &n, expired: []secret.Bytes{r.secret, key.key, key.nonce}}, nil
}

// skip moves the own ratchet so that generation to is the next one, and keeps
// none of the keys before it. A ratchet that is there already stays.
func (r *ratchet) skip(s *primitive.Suite, to uint32) (ratchetStep, error) {
	if to <= r.generation {
		return ratchetStep{next: r}, nil
	}
	if to-r.generation > maxSkip {
		return ratchetStep{}, fmt.Errorf("mlsgroup: %d generations to burn, at most %d at a time", to-r.generation, maxSkip)
	}
	cur := r.secret
	for g := r.generation; g < to; g++ {
		cur = r.following(s, cur, g)
	}
	n := *r
	n.generation, n.secret = to, cur
	return ratchetStep{next: &n, expired: []secret.Bytes{r.secret}}, nil
}

// without returns a new slice that lacks element i.
func without[T any](all []T, i int) []T {
	if len(all) == 1 {
		return nil
	}
	out := make([]T, 0, len(all)-1)
	return append(append(out, all[:i]...), all[i+1:]...)
}
