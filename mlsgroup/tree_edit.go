package mlsgroup

import (
	"errors"
	"slices"

	"github.com/conclave-mls/conclave/internal/primitive"
)

// errTreeFull reports a tree that is as large as this package lets one grow.
var errTreeFull = errors.New("mlsgroup: ratchet tree is full")

// treeEdit is a RatchetTree under change, with one owner. It works on copies;
// the tree it started from stays as it is. It ends with finish.
//
// A node without a hash was changed and is the edit's own, and so is every node
// above it: marking a path stops at the first of them, and hashing goes down to
// them alone.
type treeEdit struct {
	s         *primitive.Suite
	nodes     *vecEdit[treeNode]
	leafCount LeafCount
	members   int
	// firstBlank is a lower bound of the leftmost blank leaf.
	firstBlank LeafIndex
	free       slab[treeNode]
	// parents made by this edit, whose unmerged leaves may grow in place.
	fresh map[*ParentNode]struct{}

	base *RatchetTree // that the edit started from, with keys of its own
	// brought are the leaves that add and update have put into the tree.
	brought []*LeafNode
}

// edit starts a change of t. A tree without hashes is hashed first.
func (t *RatchetTree) edit(s *primitive.Suite) *treeEdit {
	t = t.withHashes(s, nil)
	if t.keys == nil {
		with := *t
		with.keys = newTreeKeys(t.nodes, t.leafCount)
		t = &with
	}
	return &treeEdit{
		base: t,
		s:    s, nodes: t.nodes.edit(), leafCount: t.leafCount, members: t.members,
		firstBlank: t.firstBlank, fresh: make(map[*ParentNode]struct{}),
	}
}

func (e *treeEdit) node(x NodeIndex) *treeNode { return e.nodes.get(uint32(x)) }

// LeafCount returns the number of leaves so far, blanks counted.
func (e *treeEdit) LeafCount() LeafCount { return e.leafCount }

func (e *treeEdit) leaf(i LeafIndex) *LeafNode {
	if LeafCount(i) >= e.leafCount {
		return nil
	}
	if n := e.node(i.Node()); n != nil {
		return n.leaf
	}
	return nil
}

// own returns the node at x to be changed. The caller owns what is above it.
func (e *treeEdit) own(x NodeIndex) *treeNode {
	n := e.node(x)
	if n != nil && n.hash == nil {
		return n
	}
	c := e.free.next()
	if n != nil {
		c.leaf, c.parent = n.leaf, n.parent
	}
	e.nodes.set(uint32(x), c)
	return c
}

// touch makes leaf i and all nodes above it the edit's own.
func (e *treeEdit) touch(i LeafIndex) {
	root := e.leafCount.root()
	for x := i.Node(); ; x = x.parent() {
		if n := e.node(x); n != nil && n.hash == nil {
			return
		}
		e.own(x)
		if x == root {
			return
		}
	}
}

// blankLeaf returns the leftmost blank leaf, for which it extends the tree if
// there is none (RFC 9420 sections 7.7 and 12.1.1).
func (e *treeEdit) blankLeaf() (LeafIndex, error) {
	for LeafCount(e.firstBlank) < e.leafCount && e.leaf(e.firstBlank) != nil {
		e.firstBlank++
	}
	if LeafCount(e.firstBlank) < e.leafCount {
		return e.firstBlank, nil
	}
	if e.leafCount >= maxLeafCount {
		return 0, errTreeFull
	}
	if e.leafCount == 0 {
		e.leafCount = 1
		e.own(0)
		return 0, nil
	}
	e.leafCount *= 2
	root := e.leafCount.root()
	e.own(root)
	e.own(root.right())
	return e.firstBlank, nil
}

// place puts a leaf at a blank place. It has no part in what is above it yet.
func (e *treeEdit) place(i LeafIndex, leaf *LeafNode) {
	// From an empty subtree on, the nodes on the way down have no entries yet.
	for x := e.leafCount.root(); !x.isLeaf(); x, _ = x.towards(i) {
		e.own(x)
		if e.node(x.left()) == nil {
			e.own(x.left())
			e.own(x.right())
		}
	}
	e.own(i.Node()).leaf = leaf
	e.members++
}

// add puts a new member at the leftmost blank leaf and makes it an unmerged
// leaf of the nodes above (RFC 9420 section 12.1.1).
func (e *treeEdit) add(leaf *LeafNode) (LeafIndex, error) {
	i, err := e.blankLeaf()
	if err != nil {
		return 0, err
	}
	e.place(i, leaf)
	e.brought = append(e.brought, leaf)
	for x, root := i.Node(), e.leafCount.root(); x != root; {
		x = x.parent()
		n := e.node(x)
		if n.parent == nil {
			continue
		}
		if _, ok := e.fresh[n.parent]; !ok {
			p := *n.parent
			p.UnmergedLeaves = append(make([]LeafIndex, 0, 2*len(p.UnmergedLeaves)+4), p.UnmergedLeaves...)
			n.parent = &p
			e.fresh[n.parent] = struct{}{}
		}
		u := n.parent.UnmergedLeaves
		if at, found := slices.BinarySearch(u, i); !found {
			n.parent.UnmergedLeaves = slices.Insert(u, at, i)
		}
	}
	return i, nil
}

// update replaces a member's leaf and blanks the nodes above it (RFC 9420
// section 12.1.2). Where no member is at i it does nothing.
func (e *treeEdit) update(i LeafIndex, leaf *LeafNode) {
	if e.leaf(i) == nil {
		return
	}
	e.blankPath(i)
	e.node(i.Node()).leaf = leaf
	e.brought = append(e.brought, leaf)
}

// blankPath blanks the nodes above leaf i.
func (e *treeEdit) blankPath(i LeafIndex) {
	e.touch(i)
	for x, root := i.Node(), e.leafCount.root(); x != root; {
		x = x.parent()
		e.node(x).parent = nil
	}
}

// remove blanks a member's leaf and the nodes above it, and truncates the tree
// (RFC 9420 section 12.1.3). Where no member is at i it does nothing.
func (e *treeEdit) remove(i LeafIndex) {
	if e.leaf(i) == nil {
		return
	}
	e.blankPath(i)
	e.node(i.Node()).leaf = nil
	e.members--
	e.firstBlank = min(e.firstBlank, i)
	for x, root := i.Node(), e.leafCount.root(); x != root; {
		x = x.parent()
		if !emptySubtree(e, x.left()) || !emptySubtree(e, x.right()) {
			break
		}
		e.nodes.set(uint32(x.left()), nil)
		e.nodes.set(uint32(x.right()), nil)
	}
	for e.leafCount > 1 && !e.hasLeaf(e.leafCount.root().right()) {
		root := e.leafCount.root().left()
		// An empty left half has no entries below its root, which may have
		// none either if the whole tree is empty.
		if e.node(root) == nil {
			e.own(root)
		}
		e.leafCount /= 2
		e.nodes.truncate(e.leafCount.width())
	}
}

// hasLeaf tells whether a leaf under x is not blank.
func (e *treeEdit) hasLeaf(x NodeIndex) bool {
	n := e.node(x)
	if n == nil || x.isLeaf() {
		return n != nil && n.leaf != nil
	}
	return e.node(x.left()) != nil && (e.hasLeaf(x.right()) || e.hasLeaf(x.left()))
}

// setParent gives a node above a touched leaf new content.
func (e *treeEdit) setParent(x NodeIndex, p *ParentNode) {
	e.node(x).parent = p
	e.fresh[p] = struct{}{}
}

// finish hashes what has changed and ends the edit.
func (e *treeEdit) finish(do func(n int, f func(int))) *RatchetTree {
	if e.leafCount > 0 {
		hashNodes(e.s, e, e.leafCount.root(), do)
	}
	t := &RatchetTree{
		nodes: e.nodes.done(), leafCount: e.leafCount, members: e.members, firstBlank: e.firstBlank,
	}
	t.keys = e.base.keys.after(e.base.nodes, t.nodes, t.leafCount)
	return t
}
