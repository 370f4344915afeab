package mlsgroup

import (
	"bytes"
	"encoding/binary"

	"github.com/conclave-mls/conclave/internal/primitive"
)

// verify checks what a joiner has to check of a tree as a whole (RFC 9420
// section 12.4.3.1): unmerged leaves, keys and parent hashes. The leaves
// themselves and the tree hash are the caller's. The tree has hashes.
func (t *RatchetTree) verify(s *primitive.Suite) error {
	if err := t.verifyUnmergedLeaves(); err != nil {
		return err
	}
	if err := t.verifyKeys(s); err != nil {
		return err
	}
	return t.verifyParentHashes(s)
}

// verifyUnmergedLeaves checks that unmerged leaves ascend, are members below
// their parent node, and are unmerged at every node in between.
func (t *RatchetTree) verifyUnmergedLeaves() error {
	for x, p := range t.parents() {
		for at, i := range p.UnmergedLeaves {
			if at > 0 && p.UnmergedLeaves[at-1] >= i {
				return CheckUnmergedSorted.Errorf("leaf %d after leaf %d at node %d", i, p.UnmergedLeaves[at-1], x)
			}
			if !x.contains(i) || t.Leaf(i) == nil {
				return CheckUnmergedLeaf.Errorf("leaf %d is no member below node %d", i, x)
			}
			for y := i.Node().parent(); y != x; y = y.parent() {
				if n := t.node(y); n.parent != nil && !containsLeaf(n.parent.UnmergedLeaves, i) {
					return CheckUnmergedBetween.Errorf("leaf %d is unmerged at node %d and merged at node %d", i, x, y)
				}
			}
		}
	}
	return nil
}

// verifyKeys checks that the keys of parent nodes are public keys of the suite,
// that no two encryption keys are the same, and no two members' signature keys.
func (t *RatchetTree) verifyKeys(s *primitive.Suite) error {
	encryption := make(map[string]struct{}, 2*t.members)
	signature := make(map[string]struct{}, t.members)
	for x, n := range t.nodes.all() {
		key := n.encryptionKey()
		if n.blank() {
			continue
		}
		if n.parent != nil {
			if err := s.CheckPublicKey(key); err != nil {
				return CheckEncryptionKey.Errorf("node %d: %v", x, err)
			}
		}
		if _, ok := encryption[string(key)]; ok {
			if n.parent != nil {
				return CheckParentKeyUnique.Errorf("the key of node %d is in another node", x)
			}
			return t.duplicateKey(NodeIndex(x), key)
		}
		encryption[string(key)] = struct{}{}
		if n.leaf == nil {
			continue
		}
		if _, ok := signature[string(n.leaf.SignatureKey)]; ok {
			return CheckSignatureKeyUnique.Errorf("the signature key of leaf %d is in another leaf", NodeIndex(x).leaf())
		}
		signature[string(n.leaf.SignatureKey)] = struct{}{}
	}
	return nil
}

// duplicateKey says which check a leaf violates whose encryption key is in a
// node to the left of it.
func (t *RatchetTree) duplicateKey(x NodeIndex, key []byte) error {
	for _, p := range t.parents() {
		if bytes.Equal(p.EncryptionKey, key) {
			return CheckParentKeyUnique.Errorf("a parent node has the key of leaf %d", x.leaf())
		}
	}
	return CheckEncryptionKeyUnique.Errorf("another leaf has the key of leaf %d", x.leaf())
}

// keySet finds which of some keys are among many. Nearly every key that is not
// one of them is told by the test of a bit.
type keySet struct {
	keys map[string]struct{}
	bits []uint64 // at least 16 for each key; a power of two
}

func newKeySet(keys ...[]byte) *keySet {
	words := 16
	for words < len(keys)/4 {
		words *= 2
	}
	k := &keySet{make(map[string]struct{}, len(keys)), make([]uint64, words)}
	for _, key := range keys {
		k.keys[string(key)] = struct{}{}
		word, bit := k.place(key)
		k.bits[word] |= bit
	}
	return k
}

// place takes the bits from the end of a key, since the start is constant in
// the keys of the NIST curves; the last byte of some has less than eight.
func (k *keySet) place(key []byte) (word int, bit uint64) {
	if n := len(key); n >= 5 {
		h := binary.BigEndian.Uint32(key[n-5:])
		return int(h>>6) & (len(k.bits) - 1), 1 << (h % 64)
	}
	return 0, 1
}

func (k *keySet) has(key []byte) bool {
	word, bit := k.place(key)
	if k.bits[word]&bit == 0 {
		return false
	}
	_, found := k.keys[string(key)]
	return found
}
