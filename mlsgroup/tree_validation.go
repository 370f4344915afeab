package mlsgroup

import (
	"bytes"

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

// verifyKeys checks that all encryption keys are public keys of the suite and
// no two are the same, and that no two members have the same signature key.
func (t *RatchetTree) verifyKeys(s *primitive.Suite) error {
	encryption := make(map[string]struct{}, 2*t.members)
	signature := make(map[string]struct{}, t.members)
	for x, n := range t.nodes.all() {
		key := n.encryptionKey()
		if n.blank() {
			continue
		}
		if err := s.CheckPublicKey(key); err != nil {
			return CheckEncryptionKey.Errorf("node %d: %v", x, err)
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

// keySet finds which of a few keys are among many. Nearly every key that is not
// among the few is told by one test of a bit.
type keySet struct {
	keys [][]byte
	bits [16]uint64
}

func newKeySet(keys ...[]byte) *keySet {
	k := &keySet{keys: keys}
	for _, key := range keys {
		b := keyBit(key)
		k.bits[b/64] |= 1 << (b % 64)
	}
	return k
}

// keyBit takes ten bits from the end of a key: the start is constant in the
// keys of the NIST curves.
func keyBit(key []byte) uint {
	if n := len(key); n >= 4 {
		return (uint(key[n-4])<<8 | uint(key[n-3])) % 1024
	}
	return 0
}

func (k *keySet) has(key []byte) bool {
	b := keyBit(key)
	if k.bits[b/64]&(1<<(b%64)) == 0 {
		return false
	}
	for _, one := range k.keys {
		if bytes.Equal(one, key) {
			return true
		}
	}
	return false
}
