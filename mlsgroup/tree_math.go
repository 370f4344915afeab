package mlsgroup

import "math/bits"

// LeafIndex numbers the leaves of a tree from the left (RFC 9420 section 4.2).
type LeafIndex uint32

// NodeIndex numbers the nodes of a tree in its array form: leaf i is node 2i
// (RFC 9420 Appendix C).
type NodeIndex uint32

// LeafCount is the number of leaves of a tree, a power of two, blanks counted.
type LeafCount uint32

// Node returns the index of the leaf in the array form.
func (i LeafIndex) Node() NodeIndex { return NodeIndex(i) * 2 }

// leafCountOf returns the leaves of the smallest tree that has room for so
// many nodes.
func leafCountOf(nodes int) LeafCount {
	if nodes == 0 {
		return 0
	}
	return LeafCount(1) << bits.Len32(uint32(nodes)/2)
}

// width is the number of nodes of a tree with n leaves.
func (n LeafCount) width() uint32 {
	if n == 0 {
		return 0
	}
	return 2*uint32(n) - 1
}

// root is the index of the root; n is not 0.
func (n LeafCount) root() NodeIndex { return NodeIndex(n) - 1 }

// level is the height of a node above the leaves.
func (x NodeIndex) level() int { return bits.TrailingZeros32(^uint32(x)) }

func (x NodeIndex) isLeaf() bool { return x&1 == 0 }

// leaf is the leaf at x, which is a leaf.
func (x NodeIndex) leaf() LeafIndex { return LeafIndex(x / 2) }

// left is the left child of x, which is not a leaf.
func (x NodeIndex) left() NodeIndex { return x ^ 1<<(x.level()-1) }

// right is the right child of x, which is not a leaf.
func (x NodeIndex) right() NodeIndex { return x ^ 3<<(x.level()-1) }

// parent is the parent of x, which is not the root. Trees are full, so it does
// not depend on the size of the tree.
func (x NodeIndex) parent() NodeIndex {
	k := x.level()
	return (x | 1<<k) &^ (1 << (k + 1))
}

// sibling is the other child of the parent of x, which is not the root.
func (x NodeIndex) sibling() NodeIndex { return x ^ 2<<x.level() }

// leaves is the range of leaves under x: first included, end not.
func (x NodeIndex) leaves() (first, end LeafIndex) {
	k := x.level()
	first = LeafIndex(x>>(k+1)) << k
	return first, first + 1<<k
}

// contains tells whether leaf i is x or under it.
func (x NodeIndex) contains(i LeafIndex) bool {
	first, end := x.leaves()
	return first <= i && i < end
}

// towards returns the child of x that leaf i is under, and that child's
// sibling; x contains i and is not a leaf.
func (x NodeIndex) towards(i LeafIndex) (child, sibling NodeIndex) {
	if i.Node() < x {
		return x.left(), x.right()
	}
	return x.right(), x.left()
}

// commonAncestor is the lowest node above two different leaves.
func commonAncestor(i, j LeafIndex) NodeIndex {
	k := bits.Len32(uint32(i ^ j))
	return NodeIndex(i)>>k<<(k+1) | (1<<k - 1)
}
