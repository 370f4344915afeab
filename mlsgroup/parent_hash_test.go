package mlsgroup

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/conclave-mls/conclave/internal/primitive"
)

// plainOf lists all nodes of a tree, to be changed at will.
func plainOf(s *primitive.Suite, t *RatchetTree) *plainTree {
	p := &plainTree{s: s, nodes: make([]plainNode, t.LeafCount().width())}
	for x, n := range t.nodes.all() {
		if n.leaf != nil {
			leaf := *n.leaf
			p.nodes[x].leaf = &leaf
		}
		if n.parent != nil {
			parent := *n.parent
			parent.UnmergedLeaves = slices.Clone(parent.UnmergedLeaves)
			p.nodes[x].parent = &parent
		}
	}
	return p
}

// tree is the plain tree as a RatchetTree, unsorted unmerged leaves and all.
func (p *plainTree) tree() *RatchetTree {
	var b treeBuilder
	for x, n := range p.nodes {
		if n.leaf != nil || n.parent != nil {
			node := b.add(NodeIndex(x))
			node.leaf, node.parent = n.leaf, n.parent
		}
	}
	return b.done(p.leafCount()).withHashes(p.s, nil)
}

// unmergedGroup is a group of eight in which leaves 2 and 7 were added last,
// without a path. Before that leaf 1 committed, and then leaf 5:
//
//	          7[2,7]
//	     3[2]           11[7]
//	 1       _        9       _
//	0  1*  2   3    4  5*   6   7
func unmergedGroup(t testing.TB) *treeGroup {
	g := newTreeGroup(t, 9)
	add := func(n int) *treeChange {
		c := &treeChange{}
		for range n {
			leaf, private := g.leaf()
			c.adds, c.joiners = append(c.adds, leaf), append(c.joiners, private)
		}
		return c
	}
	g.commit(0, add(4), true)
	g.commit(4, add(2), true)
	g.commit(3, &treeChange{removes: []LeafIndex{2}}, true)
	g.commit(1, &treeChange{}, true)
	g.commit(5, &treeChange{}, true)
	g.commit(0, add(2), false)
	g.check()
	return g
}

func TestVerifyTreeRefuses(t *testing.T) {
	g := unmergedGroup(t)
	for x, want := range map[NodeIndex][]LeafIndex{1: nil, 3: {2}, 7: {2, 7}, 9: nil, 11: {7}} {
		if n := g.tree.node(x); n.parent == nil || !slices.Equal(n.parent.UnmergedLeaves, want) {
			t.Fatalf("node %d is not what the test is about: %+v", x, n.parent)
		}
	}
	type nodes = []plainNode
	for _, c := range []struct {
		name   string
		change func(n nodes)
		want   error
	}{
		{"nothing", func(nodes) {}, nil},
		{"parent hash of a leaf", func(n nodes) { n[10].leaf.ParentHash = flip(n[10].leaf.ParentHash) }, CheckTreeParentHash},
		{"parent hash of a parent", func(n nodes) { n[9].parent.ParentHash = flip(n[9].parent.ParentHash) }, CheckTreeParentHash},
		{"no parent hash", func(n nodes) { n[11].parent.ParentHash = nil }, CheckTreeParentHash},
		{"parent hash of the root", func(n nodes) { n[7].parent.ParentHash = n[3].parent.ParentHash }, CheckTreeParentHash},
		{"key of a parent", func(n nodes) { n[11].parent.EncryptionKey = flip(n[11].parent.EncryptionKey) }, CheckTreeParentHash},
		{"key of the root", func(n nodes) { n[7].parent.EncryptionKey = flip(n[7].parent.EncryptionKey) }, CheckTreeParentHash},
		{"sibling", func(n nodes) { n[0].leaf.Signature = flip(n[0].leaf.Signature) }, CheckTreeParentHash},
		{"sibling removed", func(n nodes) { n[8].leaf = nil }, CheckTreeParentHash},
		{"parent over nothing", func(n nodes) {
			n[12].leaf, n[14].leaf = nil, nil
			n[13].parent = &ParentNode{EncryptionKey: make([]byte, 32)}
		}, CheckUnmergedLeaf},
		{"parent of nobody", func(n nodes) {
			n[13].parent = &ParentNode{EncryptionKey: bytes.Repeat([]byte{9}, 32), UnmergedLeaves: []LeafIndex{6, 7}}
		}, CheckTreeParentHash},
		{"blank between", func(n nodes) { n[11].parent = nil }, CheckTreeParentHash},
		{"unmerged merged", func(n nodes) { n[7].parent.UnmergedLeaves, n[11].parent.UnmergedLeaves = nil, nil }, CheckTreeParentHash},
		{"merged unmerged", func(n nodes) { n[11].parent.UnmergedLeaves = []LeafIndex{6, 7} }, CheckTreeParentHash},
		{"unmerged above only", func(n nodes) { n[11].parent.UnmergedLeaves = nil }, CheckUnmergedBetween},
		{"unmerged blank", func(n nodes) { n[14].leaf = nil }, CheckUnmergedLeaf},
		{"unmerged elsewhere", func(n nodes) { n[3].parent.UnmergedLeaves = []LeafIndex{2, 7} }, CheckUnmergedLeaf},
		{"unmerged outside", func(n nodes) { n[7].parent.UnmergedLeaves = []LeafIndex{2, 7, 1 << 31} }, CheckUnmergedLeaf},
		{"unmerged order", func(n nodes) { n[7].parent.UnmergedLeaves = []LeafIndex{7, 2} }, CheckUnmergedSorted},
		{"unmerged twice", func(n nodes) { n[7].parent.UnmergedLeaves = []LeafIndex{2, 2, 7} }, CheckUnmergedSorted},
		{"parents' keys", func(n nodes) { n[9].parent.EncryptionKey = n[1].parent.EncryptionKey }, CheckParentKeyUnique},
		{"parent's key in a leaf to the left", func(n nodes) { n[3].parent.EncryptionKey = n[0].leaf.EncryptionKey }, CheckParentKeyUnique},
		{"parent's key in a leaf to the right", func(n nodes) { n[1].parent.EncryptionKey = n[8].leaf.EncryptionKey }, CheckParentKeyUnique},
		{"leaves' keys", func(n nodes) { n[12].leaf.EncryptionKey = n[14].leaf.EncryptionKey }, CheckEncryptionKeyUnique},
		{"signature keys", func(n nodes) { n[12].leaf.SignatureKey = n[14].leaf.SignatureKey }, CheckSignatureKeyUnique},
		{"no key", func(n nodes) { n[7].parent.EncryptionKey = nil }, CheckEncryptionKey},
		{"short key", func(n nodes) { n[9].parent.EncryptionKey = make([]byte, 31) }, CheckEncryptionKey},
	} {
		p := plainOf(g.s, g.tree)
		c.change(p.nodes)
		err := p.tree().verify(g.s)
		if c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

func flip(b []byte) []byte {
	b = bytes.Clone(b)
	b[0] ^= 1
	return b
}

// TestOriginalTreeHashOracle holds original tree hashes against blanking the
// leaves and hashing everything.
func TestOriginalTreeHashOracle(t *testing.T) {
	g := unmergedGroup(t)
	r := g.r
	for range 40 {
		// A commit that blanks and one that adds give new shapes.
		for g.tree.MemberCount() > 12 {
			members := slices.Sorted(maps.Keys(g.members))
			g.commit(0, &treeChange{removes: members[1+r.IntN(len(members)-1):][:1]}, true)
		}
		members := slices.Sorted(maps.Keys(g.members))
		g.commit(members[r.IntN(len(members))], &treeChange{}, true)
		c := &treeChange{}
		for range 1 + r.IntN(4) {
			leaf, private := g.leaf()
			c.adds, c.joiners = append(c.adds, leaf), append(c.joiners, private)
		}
		g.commit(0, c, false)
		g.check()

		v := parentHashVerifier{t: g.tree, h: treeHasher{s: g.s, t: g.tree}}
		seen := 0
		for _, parent := range g.tree.parents() {
			p := plainOf(g.s, g.tree)
			for _, i := range parent.UnmergedLeaves {
				p.nodes[i.Node()].leaf = nil
			}
			for x := range p.nodes {
				if n := p.nodes[x].parent; n != nil {
					n.UnmergedLeaves = slices.DeleteFunc(n.UnmergedLeaves, func(i LeafIndex) bool {
						return slices.Contains(parent.UnmergedLeaves, i)
					})
				}
			}
			for x := range NodeIndex(g.tree.LeafCount().width()) {
				except := leavesUnder(parent.UnmergedLeaves, x)
				if len(except) > 0 {
					seen++
				}
				if got, want := v.original(x, except), p.hash(x); !bytes.Equal(got, want) {
					t.Fatalf("node %d without leaves %v: got %x, want %x", x, except, got, want)
				}
			}
		}
		if seen == 0 {
			t.Fatal("no unmerged leaf in the tree")
		}
	}
}
