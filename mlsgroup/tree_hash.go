package mlsgroup

import "github.com/conclave-mls/conclave/internal/primitive"

// parallelHashes is the number of nodes from which on hashing is worth being
// spread over several goroutines of the caller.
const parallelHashes = 256

// rootHash is the tree hash of the tree (RFC 9420 section 7.8), nil where the
// tree is empty or not hashed. It is never changed.
func (t *RatchetTree) rootHash() []byte {
	if t.leafCount == 0 {
		return nil
	}
	return t.node(t.leafCount.root()).hash
}

// withHashes returns t if it has tree hashes, or a copy that has. do may be nil.
func (t *RatchetTree) withHashes(s *primitive.Suite, do func(n int, f func(int))) *RatchetTree {
	if t.leafCount == 0 || t.rootHash() != nil {
		return t
	}
	h := *t
	e := vecEdit[treeNode]{}
	e.grow(len(t.nodes.chunks))
	var free slab[treeNode]
	for x, n := range t.nodes.all() {
		c := free.next()
		*c = *n
		e.set(x, c)
	}
	h.nodes = e.done()
	hashNodes(s, &h, h.leafCount.root(), do)
	return &h
}

// treeHasher computes tree hashes. It is used by one goroutine at a time.
type treeHasher struct {
	s     *primitive.Suite
	t     treeReader
	input []byte
	free  []byte // room for hashes, so that they share few allocations
}

// hashNodes gives x, and every node below it that lacks one, its tree hash.
// Such nodes belong to the caller.
func hashNodes(s *primitive.Suite, t treeReader, x NodeIndex, do func(n int, f func(int))) {
	if do != nil {
		if tops := dirtySubtrees(t, x); len(tops) > 1 {
			do(len(tops), func(i int) {
				h := treeHasher{s: s, t: t}
				h.hash(tops[i])
			})
		}
	}
	h := treeHasher{s: s, t: t}
	h.hash(x)
}

// dirtySubtrees returns subtrees under x that can be hashed independently, nil
// where there is too little to do.
func dirtySubtrees(t treeReader, x NodeIndex) []NodeIndex {
	const most = 32
	level := []NodeIndex{x}
	for len(level) > 0 && len(level) < most {
		var next []NodeIndex
		for _, x := range level {
			if x.isLeaf() {
				continue
			}
			for _, c := range [...]NodeIndex{x.left(), x.right()} {
				if n := t.node(c); n != nil && n.hash == nil {
					next = append(next, c)
				}
			}
		}
		level = next
	}
	if len(level) == 0 || len(level)<<level[0].level() < parallelHashes {
		return nil
	}
	return level
}

// hash returns the tree hash of x, from the node if it is there.
func (h *treeHasher) hash(x NodeIndex) []byte {
	n := h.t.node(x)
	if n == nil {
		return h.empty(x)
	}
	if n.hash == nil {
		if x.isLeaf() {
			n.hash = h.leafHash(x.leaf(), n.leaf)
		} else {
			left, right := h.hash(x.left()), h.hash(x.right())
			n.hash = h.parentHash(n.parent, nil, left, right)
		}
	}
	return n.hash
}

// empty returns the tree hash of x in a subtree without content.
func (h *treeHasher) empty(x NodeIndex) []byte {
	if x.isLeaf() {
		return h.leafHash(x.leaf(), nil)
	}
	return h.parentHash(nil, nil, h.empty(x.left()), h.empty(x.right()))
}

// leafHash hashes a TreeHashInput of a leaf, nil where it is blank.
func (h *treeHasher) leafHash(i LeafIndex, leaf *LeafNode) []byte {
	b := appendUint32(append(h.input[:0], byte(NodeTypeLeaf)), uint32(i))
	if leaf == nil {
		b = append(b, 0)
	} else {
		b = leaf.append(append(b, 1))
	}
	return h.sum(b)
}

// parentHash hashes a TreeHashInput of a parent, nil where it is blank, without
// the unmerged leaves in except.
func (h *treeHasher) parentHash(p *ParentNode, except []LeafIndex, left, right []byte) []byte {
	b := append(h.input[:0], byte(NodeTypeParent))
	if p == nil {
		b = append(b, 0)
	} else {
		b = appendOpaque(append(b, 1), p.EncryptionKey)
		b = appendOpaque(b, p.ParentHash)
		b = appendUnmerged(b, p.UnmergedLeaves, except)
	}
	return h.sum(appendOpaque(appendOpaque(b, left), right))
}

func (h *treeHasher) sum(input []byte) []byte {
	h.input = input
	size := h.s.HashSize()
	if len(h.free) < size {
		h.free = make([]byte, 32*size)
	}
	out := h.s.Hash(h.free[:0:size], input)
	h.free = h.free[size:]
	return out
}
