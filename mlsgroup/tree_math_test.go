package mlsgroup

import "testing"

func TestTreeMathVectors(t *testing.T) {
	type vector struct {
		Leaves  LeafCount    `json:"n_leaves"`
		Nodes   uint32       `json:"n_nodes"`
		Root    NodeIndex    `json:"root"`
		Left    []*NodeIndex `json:"left"`
		Right   []*NodeIndex `json:"right"`
		Parent  []*NodeIndex `json:"parent"`
		Sibling []*NodeIndex `json:"sibling"`
	}
	for _, v := range vectors[vector](t, "tree-math.json") {
		if v.Leaves.width() != v.Nodes || v.Leaves.root() != v.Root {
			t.Errorf("%d leaves: width %d, root %d", v.Leaves, v.Leaves.width(), v.Leaves.root())
		}
		for i := range v.Nodes {
			x := NodeIndex(i)
			is := func(name string, want *NodeIndex, got func() NodeIndex) {
				if want != nil && got() != *want {
					t.Errorf("%s of %d in %d: got %d, want %d", name, x, v.Leaves, got(), *want)
				}
			}
			is("left", v.Left[i], x.left)
			is("right", v.Right[i], x.right)
			is("parent", v.Parent[i], x.parent)
			is("sibling", v.Sibling[i], x.sibling)
			if (v.Left[i] == nil) != x.isLeaf() || (v.Parent[i] == nil) != (x == v.Leaves.root()) {
				t.Errorf("node %d of %d: leaf or root disagree", x, v.Leaves)
			}
		}
	}
}

// TestTreeMathOracle holds what is computed from bits against walking upwards.
func TestTreeMathOracle(t *testing.T) {
	const n = LeafCount(64)
	above := func(i LeafIndex) map[NodeIndex]bool {
		path := map[NodeIndex]bool{i.Node(): true}
		for x := i.Node(); x != n.root(); {
			x = x.parent()
			path[x] = true
		}
		return path
	}
	for i := range LeafIndex(n) {
		path := above(i)
		for x := range NodeIndex(n.width()) {
			if x.contains(i) != path[x] {
				t.Fatalf("contains(%d, %d) = %v", x, i, x.contains(i))
			}
			if path[x] && !x.isLeaf() {
				child, sibling := x.towards(i)
				if !path[child] || path[sibling] || child.parent() != x || child.sibling() != sibling {
					t.Fatalf("towards(%d, %d) = %d, %d", x, i, child, sibling)
				}
			}
		}
		for j := range LeafIndex(n) {
			if i == j {
				continue
			}
			want := i.Node()
			for !want.contains(j) {
				want = want.parent()
			}
			if got := commonAncestor(i, j); got != want {
				t.Fatalf("common ancestor of %d and %d: got %d, want %d", i, j, got, want)
			}
		}
	}
	for nodes, want := range map[int]LeafCount{0: 0, 1: 1, 2: 2, 3: 2, 4: 4, 7: 4, 8: 8, 2047: 1024, 2048: 2048} {
		if got := leafCountOf(nodes); got != want {
			t.Errorf("leafCountOf(%d) = %d, want %d", nodes, got, want)
		}
	}
}
