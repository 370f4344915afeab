package mlsgroup

import (
	"iter"
	"slices"
)

// ParentNode is an inner node of the ratchet tree (RFC 9420 section 7.1). It is
// never changed once it is built or read, so trees may share it.
type ParentNode struct {
	EncryptionKey  []byte
	ParentHash     []byte
	UnmergedLeaves []LeafIndex // ascending
}

// NodeType says what a Node of a ratchet_tree extension holds (RFC 9420
// section 7.8).
type NodeType uint8

// Types of nodes.
const (
	NodeTypeLeaf   NodeType = 1
	NodeTypeParent NodeType = 2
)

// RatchetTree is the public state of a group's ratchet tree (RFC 9420 section
// 7). It never changes: an edit makes another tree that shares every node it
// did not touch. Tree hashes are kept with the nodes.
//
// A subtree without content is one node, the topmost: what is inside it has no
// entry. So either both children of a parent have entries or neither has, and
// the size of a tree in memory depends on its content, not on its width.
type RatchetTree struct {
	nodes     vec[treeNode]
	leafCount LeafCount
	members   int
	// firstBlank is a lower bound of the leftmost blank leaf.
	firstBlank LeafIndex
	keys       *treeKeys // nil in a tree that was never edited
}

// treeNode is a node of a RatchetTree, at most one of leaf and parent set. Its
// hash is nil in a tree that was parsed and not hashed yet, and where an edit
// has changed the subtree; an edit owns such nodes and no others.
type treeNode struct {
	leaf   *LeafNode
	parent *ParentNode
	hash   []byte
}

func (n *treeNode) blank() bool { return n.leaf == nil && n.parent == nil }

func (n *treeNode) encryptionKey() []byte {
	switch {
	case n == nil:
		return nil
	case n.leaf != nil:
		return n.leaf.EncryptionKey
	case n.parent != nil:
		return n.parent.EncryptionKey
	}
	return nil
}

func (p *ParentNode) append(b []byte) []byte {
	b = appendOpaque(b, p.EncryptionKey)
	b = appendOpaque(b, p.ParentHash)
	return appendUnmerged(b, p.UnmergedLeaves, nil)
}

// appendUnmerged appends those leaves that are not in except; both ascend.
func appendUnmerged(b []byte, leaves, except []LeafIndex) []byte {
	n := len(leaves)
	if len(except) > 0 {
		for _, i := range leaves {
			if containsLeaf(except, i) {
				n--
			}
		}
	}
	b = appendVarint(b, 4*n)
	for _, i := range leaves {
		if n == len(leaves) || !containsLeaf(except, i) {
			b = appendUint32(b, uint32(i))
		}
	}
	return b
}

func (p *ParentNode) read(r *reader) {
	p.EncryptionKey = r.opaque()
	p.ParentHash = r.opaque()
	r.vector(maxUnmergedLeaves, func(r *reader) {
		i := LeafIndex(r.uint32())
		if n := len(p.UnmergedLeaves); n > 0 && p.UnmergedLeaves[n-1] >= i {
			r.failCheck(CheckUnmergedSorted, "leaf %d after leaf %d", i, p.UnmergedLeaves[n-1])
		}
		p.UnmergedLeaves = append(p.UnmergedLeaves, i)
	})
}

// containsLeaf tells whether an ascending list has i.
func containsLeaf(leaves []LeafIndex, i LeafIndex) bool {
	_, found := slices.BinarySearch(leaves, i)
	return found
}

// ParseRatchetTree reads the content of a ratchet_tree extension (RFC 9420
// section 12.4.3.3). The tree is well formed and no more: nothing in it is
// verified. It keeps no part of b.
func ParseRatchetTree(b []byte) (*RatchetTree, error) {
	t, err := parseClone(b, (*RatchetTree).read)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// read reads optional<Node>s. The tree keeps parts of the input.
func (t *RatchetTree) read(r *reader) {
	body := reader{b: r.opaque(), last: new(lastCapabilities)}
	if r.err != nil {
		return
	}
	// A presence byte is the least that a node takes, a leaf far more.
	var (
		b      treeBuilder
		leaves slab[LeafNode]
		last   = -1
		x      = 0
	)
	for ; len(body.b) > 0 && body.err == nil; x++ {
		if x >= maxTreeNodes {
			body.fail("more than %d nodes", maxTreeNodes)
			break
		}
		if !body.optional() {
			continue
		}
		last = x
		node := b.add(NodeIndex(x))
		switch typ := NodeType(body.uint8()); {
		case body.err != nil:
		case typ == NodeTypeLeaf && x%2 == 0:
			node.leaf = leaves.next()
			node.leaf.read(&body)
		case typ == NodeTypeParent && x%2 == 1:
			node.parent = new(ParentNode)
			node.parent.read(&body)
		default:
			body.failCheck(CheckTreeNodeType, "node %d has type %d", x, typ)
		}
	}
	if body.err == nil && (last < 0 || last != x-1) {
		body.failCheck(CheckTreeTrailingBlank, "the last of %d nodes is blank", x)
	}
	if body.err != nil {
		r.err, r.b = body.err, nil
		return
	}
	*t = *b.done(leafCountOf(x))
}

// Marshal returns the content of a ratchet_tree extension.
func (t *RatchetTree) Marshal() []byte {
	n := 4
	for _, node := range t.nodes.all() {
		switch {
		case node.leaf != nil:
			n += 2 + node.leaf.sizeHint()
		case node.parent != nil:
			n += 16 + len(node.parent.EncryptionKey) + len(node.parent.ParentHash) + 4*len(node.parent.UnmergedLeaves)
		default:
			n++
		}
	}
	return t.append(make([]byte, 0, n))
}

func (t *RatchetTree) append(b []byte) []byte {
	return appendVector(b, func(b []byte) []byte {
		next := uint32(0)
		for x, n := range t.nodes.all() {
			if n.blank() {
				continue
			}
			for ; next < x; next++ {
				b = append(b, 0)
			}
			next++
			if n.leaf != nil {
				b = n.leaf.append(append(b, 1, byte(NodeTypeLeaf)))
			} else {
				b = n.parent.append(append(b, 1, byte(NodeTypeParent)))
			}
		}
		return b
	})
}

func (t *RatchetTree) node(x NodeIndex) *treeNode { return t.nodes.get(uint32(x)) }

// LeafCount returns the number of leaves, blanks counted: a power of two, or 0.
func (t *RatchetTree) LeafCount() LeafCount { return t.leafCount }

// MemberCount returns the number of leaves that are not blank.
func (t *RatchetTree) MemberCount() int { return t.members }

// Leaf returns the leaf at i, nil if it is blank or not in the tree.
func (t *RatchetTree) Leaf(i LeafIndex) *LeafNode {
	if LeafCount(i) >= t.leafCount {
		return nil
	}
	if n := t.node(i.Node()); n != nil {
		return n.leaf
	}
	return nil
}

// Members yields the leaves that are not blank, in ascending order.
func (t *RatchetTree) Members() iter.Seq2[LeafIndex, *LeafNode] {
	return func(yield func(LeafIndex, *LeafNode) bool) {
		for x, n := range t.nodes.all() {
			if n.leaf != nil && !yield(NodeIndex(x).leaf(), n.leaf) {
				return
			}
		}
	}
}

// parents yields the parent nodes that are not blank, in ascending order.
func (t *RatchetTree) parents() iter.Seq2[NodeIndex, *ParentNode] {
	return func(yield func(NodeIndex, *ParentNode) bool) {
		for x, n := range t.nodes.all() {
			if n.parent != nil && !yield(NodeIndex(x), n.parent) {
				return
			}
		}
	}
}

// treeReader is a RatchetTree or one under edit.
type treeReader interface {
	node(NodeIndex) *treeNode
	LeafCount() LeafCount
}

// emptySubtree tells whether no node of the subtree of x has content, which is
// when its resolution is empty.
func emptySubtree(t treeReader, x NodeIndex) bool {
	n := t.node(x)
	return n == nil || n.blank() && (x.isLeaf() || t.node(x.left()) == nil)
}

// resolution appends the resolution of x without the leaves in except, which
// ascend (RFC 9420 sections 4.1.1 and 7.6).
func resolution(t treeReader, to []NodeIndex, x NodeIndex, except []LeafIndex) []NodeIndex {
	n := t.node(x)
	switch {
	case n == nil:
	case n.leaf != nil:
		if !containsLeaf(except, x.leaf()) {
			to = append(to, x)
		}
	case n.parent != nil:
		to = append(to, x)
		for _, i := range n.parent.UnmergedLeaves {
			if !containsLeaf(except, i) {
				to = append(to, i.Node())
			}
		}
	case !x.isLeaf():
		to = resolution(t, to, x.left(), except)
		to = resolution(t, to, x.right(), except)
	}
	return to
}

func (t *RatchetTree) resolution(x NodeIndex, except []LeafIndex) []NodeIndex {
	return resolution(t, nil, x, except)
}

// pathStep is a node of a filtered direct path with its children.
type pathStep struct {
	node   NodeIndex
	child  NodeIndex // on the direct path
	copath NodeIndex
}

// filteredDirectPath is the direct path of leaf i without the nodes whose child
// on the copath has an empty resolution (RFC 9420 section 4.1.2).
func filteredDirectPath(t treeReader, i LeafIndex) []pathStep {
	var steps []pathStep
	for x, root := i.Node(), t.LeafCount().root(); x != root; x = x.parent() {
		if s := x.sibling(); !emptySubtree(t, s) {
			steps = append(steps, pathStep{x.parent(), x, s})
		}
	}
	return steps
}

func (t *RatchetTree) filteredDirectPath(i LeafIndex) []pathStep { return filteredDirectPath(t, i) }

// slab hands out values from arrays of 64, to spare allocations.
type slab[T any] struct{ free []T }

func (s *slab[T]) next() *T {
	if len(s.free) == 0 {
		s.free = make([]T, 64)
	}
	x := &s.free[0]
	s.free = s.free[1:]
	return x
}
