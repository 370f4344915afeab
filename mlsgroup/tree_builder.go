package mlsgroup

// treeBuilder gathers the nodes of a tree as a ratchet_tree extension or a
// store lists them.
type treeBuilder struct {
	nodes vecEdit[treeNode]
	free  slab[treeNode]
	given []builtNode
}

type builtNode struct {
	x NodeIndex
	n *treeNode
}

// add returns a node to be filled in, which becomes node x of the tree. An
// index is added once.
func (b *treeBuilder) add(x NodeIndex) *treeNode {
	n := b.free.next()
	b.given = append(b.given, builtNode{x, n})
	return n
}

// done makes a tree of the nodes added, none of them outside it, and of the
// blank ones that have to be there as well.
func (b *treeBuilder) done(leafCount LeafCount) *RatchetTree {
	t := &RatchetTree{leafCount: leafCount}
	if leafCount == 0 {
		return t
	}
	b.nodes.grow(int(leafCount.width()-1)/vecChunk + 1)
	root := leafCount.root()
	b.nodes.set(uint32(root), b.free.next())
	for _, g := range b.given {
		if g.n.leaf != nil {
			t.members++
		}
		there := b.nodes.get(uint32(g.x)) != nil
		b.nodes.set(uint32(g.x), g.n)
		// A node that is there has its sibling and its ancestors there.
		for x := g.x; !there; {
			s, p := x.sibling(), x.parent()
			b.nodes.set(uint32(s), b.free.next())
			if there = b.nodes.get(uint32(p)) != nil; !there {
				b.nodes.set(uint32(p), b.free.next())
			}
			x = p
		}
	}
	t.nodes = b.nodes.done()
	for LeafCount(t.firstBlank) < leafCount && t.Leaf(t.firstBlank) != nil {
		t.firstBlank++
	}
	return t
}
