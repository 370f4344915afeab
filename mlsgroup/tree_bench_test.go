package mlsgroup

import (
	"sync"
	"testing"
)

// inParallel is a Do of two goroutines.
func inParallel(n int, f func(int)) {
	var wg sync.WaitGroup
	for from := range 2 {
		wg.Go(func() {
			for i := from; i < n; i += 2 {
				f(i)
			}
		})
	}
	wg.Wait()
}

// benchGroup is a group of a thousand that one commit of its creator made.
func benchGroup(b *testing.B, n int) *treeGroup {
	g := newTreeGroup(b, 1)
	c := &treeChange{}
	for range n - 1 {
		leaf, private := g.leaf()
		c.adds, c.joiners = append(c.adds, leaf), append(c.joiners, private)
	}
	g.commit(0, c, false)
	return g
}

const benchMembers = 1001

func BenchmarkTreeParse(b *testing.B) {
	in := benchGroup(b, benchMembers).tree.Marshal()
	for b.Loop() {
		if _, err := ParseRatchetTree(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTreeHash(b *testing.B) {
	g := benchGroup(b, benchMembers)
	tree, err := ParseRatchetTree(g.tree.Marshal())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		tree.withHashes(g.s, nil)
	}
}

// BenchmarkTreeVerify verifies a tree in which many committed and many are
// unmerged.
func BenchmarkTreeVerify(b *testing.B) {
	g := benchGroup(b, 700)
	g.members = map[LeafIndex]pathKeys{0: g.members[0]} // nobody else needs to read
	for i := range LeafIndex(64) {
		g.commit(i*11, &treeChange{}, true)
		g.members = map[LeafIndex]pathKeys{}
	}
	c := &treeChange{}
	for range 300 {
		leaf, private := g.leaf()
		c.adds, c.joiners = append(c.adds, leaf), append(c.joiners, private)
	}
	g.commit(0, c, false)
	for b.Loop() {
		if err := g.tree.verify(g.s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTreeLoad(b *testing.B) {
	g := benchGroup(b, benchMembers)
	var stored treeRecords
	stored.apply(g.tree.changedRecords(new(RatchetTree)))
	nodes, unmerged := stored.records()
	for b.Loop() {
		if _, err := loadTree(g.s, g.tree.LeafCount(), nodes, unmerged); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTreeAddOne adds a member to a group of a thousand, with its records.
func BenchmarkTreeAddOne(b *testing.B) {
	g := benchGroup(b, benchMembers)
	leaf, _ := g.leaf()
	for b.Loop() {
		e := g.tree.edit(g.s)
		if _, err := e.add(leaf); err != nil {
			b.Fatal(err)
		}
		e.finish(nil).changedRecords(g.tree)
	}
}

func BenchmarkTreeAddThousand(b *testing.B) {
	g := benchGroup(b, 1)
	leaves := make([]*LeafNode, 1000)
	for i := range leaves {
		leaves[i], _ = g.leaf()
	}
	for b.Loop() {
		e := g.tree.edit(g.s)
		for _, leaf := range leaves {
			if _, err := e.add(leaf); err != nil {
				b.Fatal(err)
			}
		}
		e.finish(nil).changedRecords(g.tree)
	}
}

// BenchmarkCreatePath commits in a tree without any path yet: every member gets
// a ciphertext.
func BenchmarkCreatePath(b *testing.B) {
	for _, do := range []struct {
		name string
		do   func(int, func(int))
	}{{"sequence", nil}, {"parallel", inParallel}} {
		b.Run(do.name, func(b *testing.B) {
			g := benchGroup(b, benchMembers)
			for b.Loop() {
				o := g.options(500, g.tree.Leaf(500), nil)
				o.Do = do.do
				if _, err := g.tree.edit(g.s).createPath(o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkProcessPath merges and reads the path of another member.
func BenchmarkProcessPath(b *testing.B) {
	g := benchGroup(b, benchMembers)
	created, err := g.tree.edit(g.s).createPath(g.options(500, g.tree.Leaf(500), nil))
	if err != nil {
		b.Fatal(err)
	}
	context, _ := g.context(created.Tree.rootHash())
	b.Run("merge", func(b *testing.B) {
		for b.Loop() {
			if _, err := g.tree.edit(g.s).mergePath(500, created.Path, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decrypt", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := created.Tree.decryptPath(g.s, 3, g.members[3], 500, created.Path, nil, context); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("records", func(b *testing.B) {
		for b.Loop() {
			created.Tree.changedRecords(g.tree)
		}
	})
}
