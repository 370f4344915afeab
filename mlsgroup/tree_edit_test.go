package mlsgroup

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/conclave-mls/conclave/internal/primitive"
)

// plainTree is the ratchet tree of RFC 9420 word by word: an array of all nodes,
// everything recomputed each time.
type plainTree struct {
	s     *primitive.Suite
	nodes []plainNode
}

type plainNode struct {
	leaf   *LeafNode
	parent *ParentNode
}

func (p *plainTree) leafCount() LeafCount { return LeafCount(len(p.nodes)+1) / 2 }

func (p *plainTree) path(i LeafIndex) []NodeIndex {
	var path []NodeIndex
	for x := i.Node(); x != p.leafCount().root(); {
		x = x.parent()
		path = append(path, x)
	}
	return path
}

func (p *plainTree) add(leaf *LeafNode) LeafIndex {
	if len(p.nodes) == 0 {
		p.nodes = make([]plainNode, 1)
	}
	i := LeafIndex(0)
	for LeafCount(i) < p.leafCount() && p.nodes[i.Node()].leaf != nil {
		i++
	}
	if LeafCount(i) == p.leafCount() {
		p.nodes = append(p.nodes, make([]plainNode, len(p.nodes)+1)...)
	}
	p.nodes[i.Node()].leaf = leaf
	for _, x := range p.path(i) {
		if parent := p.nodes[x].parent; parent != nil {
			c := *parent
			c.UnmergedLeaves = append(slices.Clone(c.UnmergedLeaves), i)
			slices.Sort(c.UnmergedLeaves)
			p.nodes[x].parent = &c
		}
	}
	return i
}

func (p *plainTree) update(i LeafIndex, leaf *LeafNode) {
	p.nodes[i.Node()].leaf = leaf
	for _, x := range p.path(i) {
		p.nodes[x].parent = nil
	}
}

func (p *plainTree) remove(i LeafIndex) {
	p.update(i, nil)
	for len(p.nodes) > 1 {
		for _, n := range p.nodes[len(p.nodes)/2+1:] {
			if n.leaf != nil {
				return
			}
		}
		p.nodes = p.nodes[:len(p.nodes)/2]
	}
}

func (p *plainTree) resolution(x NodeIndex) []NodeIndex {
	n := p.nodes[x]
	switch {
	case n.leaf != nil:
		return []NodeIndex{x}
	case n.parent != nil:
		all := []NodeIndex{x}
		for _, i := range n.parent.UnmergedLeaves {
			all = append(all, i.Node())
		}
		return all
	case x.isLeaf():
		return nil
	}
	return append(p.resolution(x.left()), p.resolution(x.right())...)
}

func (p *plainTree) filteredDirectPath(i LeafIndex) []NodeIndex {
	var path []NodeIndex
	below := i.Node()
	for _, x := range p.path(i) {
		if len(p.resolution(below.sibling())) > 0 {
			path = append(path, x)
		}
		below = x
	}
	return path
}

func (p *plainTree) hash(x NodeIndex) []byte {
	n := p.nodes[x]
	if x.isLeaf() {
		b := appendUint32([]byte{1}, uint32(x)/2)
		if n.leaf == nil {
			return p.s.Hash(nil, append(b, 0))
		}
		return p.s.Hash(nil, n.leaf.append(append(b, 1)))
	}
	b := []byte{2, 0}
	if n.parent != nil {
		b = n.parent.append([]byte{2, 1})
	}
	b = appendOpaque(b, p.hash(x.left()))
	return p.s.Hash(nil, appendOpaque(b, p.hash(x.right())))
}

func (p *plainTree) marshal() []byte {
	var b []byte
	end := 0
	for _, n := range p.nodes {
		switch {
		case n.leaf != nil:
			b = n.leaf.append(append(b, 1, 1))
			end = len(b)
		case n.parent != nil:
			b = n.parent.append(append(b, 1, 2))
			end = len(b)
		default:
			b = append(b, 0)
		}
	}
	return appendOpaque(nil, b[:end])
}

// testLeaf is a leaf that no other call returns.
func testLeaf(r *rand.Rand) *LeafNode {
	l := fuzzLeaf()
	l.Source, l.ParentHash = LeafNodeSourceUpdate, nil
	l.Credential = BasicCredential(fmt.Appendf(nil, "member %d", r.Uint64()))
	l.EncryptionKey, l.SignatureKey = testBytes(r, 32), testBytes(r, 32)
	return l
}

func testBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// inSequence is a Do that runs backwards, to show that order does not matter.
func inSequence(n int, f func(int)) {
	for i := range n {
		f(n - 1 - i)
	}
}

// TestTreeEditOracle edits at random and holds every tree, the past ones too,
// against one that recomputes everything.
func TestTreeEditOracle(t *testing.T) {
	s := testSuite(t, 1)
	seeds := uint64(20)
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 1))
		plain := &plainTree{s: s}
		tree := new(RatchetTree)
		type past struct {
			tree  *RatchetTree
			bytes []byte
		}
		var history []past
		stored := treeRecords{}
		for range 40 {
			e := tree.edit(s)
			for range 1 + r.IntN(6) {
				var members []LeafIndex
				for i := range LeafIndex(plain.leafCount()) {
					if plain.nodes[i.Node()].leaf != nil {
						members = append(members, i)
					}
				}
				op := r.IntN(10)
				grow := 5 + 3*int(seed%2)
				if len(members) == 0 || op < grow {
					leaf := testLeaf(r)
					i, err := e.add(leaf)
					if want := plain.add(leaf); err != nil || i != want {
						t.Fatalf("add: got %d, %v, want %d", i, err, want)
					}
					continue
				}
				i := members[r.IntN(len(members))]
				switch leaf := testLeaf(r); op {
				case 9:
					e.update(i, leaf)
					plain.update(i, leaf)
				case 8: // what an update path does
					e.update(i, leaf)
					plain.update(i, leaf)
					for _, step := range filteredDirectPath(e, i) {
						key := testBytes(r, 32)
						e.setParent(step.node, &ParentNode{EncryptionKey: key})
						plain.nodes[step.node].parent = &ParentNode{EncryptionKey: key}
					}
				default:
					e.remove(i)
					plain.remove(i)
				}
			}
			before := tree
			tree = e.finish(inSequence)
			want := plain.marshal()
			if got := tree.Marshal(); !bytes.Equal(got, want) {
				t.Fatalf("seed %d: got %x, want %x", seed, got, want)
			}
			checkPlain(t, tree, plain)
			checkShared(t, before, tree)
			checkTreeKeys(t, tree)
			stored.apply(tree.changedRecords(before))
			loaded, err := stored.load(s, tree.LeafCount())
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			checkPlain(t, loaded, plain)
			checkSame(t, loaded, tree)
			if r.IntN(4) == 0 {
				tree = loaded
			}
			history = append(history, past{tree, want})
		}
		for i, h := range history {
			if !bytes.Equal(h.tree.Marshal(), h.bytes) {
				t.Fatalf("seed %d: tree %d was changed by a later edit", seed, i)
			}
		}
	}
}

// checkPlain compares all that is derived from a tree.
func checkPlain(t *testing.T, tree *RatchetTree, plain *plainTree) {
	t.Helper()
	if tree.LeafCount() != plain.leafCount() {
		t.Fatalf("%d leaves, want %d", tree.LeafCount(), plain.leafCount())
	}
	h := treeHasher{s: plain.s, t: tree}
	members := 0
	for i := range plain.nodes {
		x := NodeIndex(i)
		if got, want := h.hash(x), plain.hash(x); !bytes.Equal(got, want) {
			t.Fatalf("tree hash of node %d: got %x, want %x", x, got, want)
		}
		want := plain.resolution(x)
		if got := tree.resolution(x, nil); !slices.Equal(got, want) {
			t.Fatalf("resolution of node %d: got %v, want %v", x, got, want)
		}
		if got := emptySubtree(tree, x); got != (len(want) == 0) {
			t.Fatalf("node %d empty: %v, resolution %v", x, got, want)
		}
		if n := tree.node(x); n != nil && n.hash == nil {
			t.Fatalf("node %d has no hash", x)
		}
		if !x.isLeaf() {
			continue
		}
		if (tree.Leaf(x.leaf()) == nil) != (plain.nodes[i].leaf == nil) {
			t.Fatalf("leaf %d differs", x.leaf())
		}
		if plain.nodes[i].leaf != nil {
			members++
		}
		var path []NodeIndex
		for _, step := range tree.filteredDirectPath(x.leaf()) {
			path = append(path, step.node)
		}
		if want := plain.filteredDirectPath(x.leaf()); !slices.Equal(path, want) {
			t.Fatalf("filtered direct path of leaf %d: got %v, want %v", x.leaf(), path, want)
		}
	}
	if tree.MemberCount() != members {
		t.Fatalf("%d members, want %d", tree.MemberCount(), members)
	}
}

// checkShared checks that a node stays the same in memory where its subtree
// does.
func checkShared(t *testing.T, before, after *RatchetTree) {
	t.Helper()
	for x, n := range after.nodes.all() {
		old := before.node(NodeIndex(x))
		if old != nil && n != old && bytes.Equal(n.hash, old.hash) && n.leaf == old.leaf && n.parent == old.parent {
			// A node may be made anew when it was removed and came back.
			if !n.blank() {
				t.Errorf("node %d was copied without need", x)
			}
		}
	}
}

func TestTreeHashInParallel(t *testing.T) {
	s := testSuite(t, 1)
	r := rand.New(rand.NewPCG(3, 3))
	e, plain := new(RatchetTree).edit(s), &plainTree{s: s}
	for range 700 {
		leaf := testLeaf(r)
		plain.add(leaf)
		if _, err := e.add(leaf); err != nil {
			t.Fatal(err)
		}
	}
	jobs := 0
	tree := e.finish(func(n int, f func(int)) {
		jobs += n
		inSequence(n, f)
	})
	if jobs < 2 {
		t.Error("nothing was handed out")
	}
	checkPlain(t, tree, plain)
}
