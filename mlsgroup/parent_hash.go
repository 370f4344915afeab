package mlsgroup

import (
	"bytes"
	"slices"
	"sort"

	"github.com/conclave-mls/conclave/internal/primitive"
)

// parentHashOf is the parent hash of a parent node (RFC 9420 section 7.9);
// sibling is the original tree hash of its child on the copath.
func parentHashOf(s *primitive.Suite, encryptionKey, parentHash, sibling []byte) []byte {
	b := make([]byte, 0, len(encryptionKey)+len(parentHash)+len(sibling)+8)
	b = appendOpaque(b, encryptionKey)
	b = appendOpaque(b, parentHash)
	return s.Hash(nil, appendOpaque(b, sibling))
}

// verifyParentHashes checks that every parent node that is not blank is
// parent-hash valid (RFC 9420 section 7.9.2): exactly one node below it has the
// parent hash of it, so that each is the end of one chain from a leaf. The tree
// has hashes, and its unmerged leaves were verified.
func (t *RatchetTree) verifyParentHashes(s *primitive.Suite) error {
	v := parentHashVerifier{t: t, h: treeHasher{s: s, t: t}}
	if t.leafCount > 0 {
		if root := t.node(t.leafCount.root()); root.parent != nil && len(root.parent.ParentHash) > 0 {
			return CheckTreeParentHash.Errorf("the root has a parent hash")
		}
	}
	for x, p := range t.parents() {
		valid := 0
		for _, c := range [...]NodeIndex{x.left(), x.right()} {
			if v.validFrom(x, p, c) {
				valid++
			}
		}
		if valid != 1 {
			return CheckTreeParentHash.Errorf("node %d is reached by %d chains", x, valid)
		}
	}
	return nil
}

// parentHashVerifier keeps the original tree hashes it had to compute. One set
// of unmerged leaves often serves a whole chain of parents.
type parentHashVerifier struct {
	t    *RatchetTree
	h    treeHasher
	memo map[NodeIndex]originalHash
}

type originalHash struct {
	except []LeafIndex
	hash   []byte
}

// validFrom tells whether a node under c, a child of p at x, has a parent hash
// that is valid with respect to p.
func (v *parentHashVerifier) validFrom(x NodeIndex, p *ParentNode, c NodeIndex) bool {
	d, ok := v.remainder(c, p)
	if !ok {
		return false
	}
	var claimed []byte
	if n := v.t.node(d); n.leaf != nil {
		claimed = n.leaf.ParentHash // nil unless its source is a commit
	} else {
		claimed = n.parent.ParentHash
	}
	if len(claimed) == 0 {
		return false
	}
	sibling := c.sibling()
	original := v.original(sibling, leavesUnder(p.UnmergedLeaves, sibling))
	return bytes.Equal(claimed, parentHashOf(v.h.s, p.EncryptionKey, p.ParentHash, original))
}

// remainder returns the node that is left of the resolution of c when the
// unmerged leaves of p are taken out, if these are all in it and it is one.
func (v *parentHashVerifier) remainder(c NodeIndex, p *ParentNode) (NodeIndex, bool) {
	unmerged := leavesUnder(p.UnmergedLeaves, c)
	var d NodeIndex
	found, taken := 0, 0
	v.resolve(c, func(x NodeIndex) bool {
		if x.isLeaf() && containsLeaf(unmerged, x.leaf()) {
			taken++
		} else {
			d = x
			found++
		}
		return found < 2
	})
	return d, found == 1 && taken == len(unmerged)
}

// resolve visits the resolution of x until visit says no.
func (v *parentHashVerifier) resolve(x NodeIndex, visit func(NodeIndex) bool) bool {
	n := v.t.node(x)
	switch {
	case n == nil:
		return true
	case n.leaf != nil:
		return visit(x)
	case n.parent != nil:
		if !visit(x) {
			return false
		}
		for _, i := range n.parent.UnmergedLeaves {
			if !visit(i.Node()) {
				return false
			}
		}
		return true
	case x.isLeaf():
		return true
	}
	return v.resolve(x.left(), visit) && v.resolve(x.right(), visit)
}

// leavesUnder is the part of an ascending list that is under x.
func leavesUnder(leaves []LeafIndex, x NodeIndex) []LeafIndex {
	first, end := x.leaves()
	from := sort.Search(len(leaves), func(i int) bool { return leaves[i] >= first })
	to := sort.Search(len(leaves), func(i int) bool { return leaves[i] >= end })
	return leaves[from:to]
}

// original is the tree hash of x with the leaves of except, all of them under
// x, blanked and taken from all unmerged leaves (RFC 9420 section 7.9).
func (v *parentHashVerifier) original(x NodeIndex, except []LeafIndex) []byte {
	if len(except) == 0 {
		return v.h.hash(x)
	}
	if x.isLeaf() {
		return v.h.leafHash(x.leaf(), nil)
	}
	if m, ok := v.memo[x]; ok && slices.Equal(m.except, except) {
		return m.hash
	}
	left := v.original(x.left(), leavesUnder(except, x.left()))
	right := v.original(x.right(), leavesUnder(except, x.right()))
	var p *ParentNode
	if n := v.t.node(x); n != nil {
		p = n.parent
	}
	hash := v.h.parentHash(p, except, left, right)
	if v.memo == nil {
		v.memo = make(map[NodeIndex]originalHash)
	}
	v.memo[x] = originalHash{except, hash}
	return hash
}
