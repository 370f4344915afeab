package mlsgroup

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// checkTreeKeys compares what edits have made of a tree's keys with what its nodes say.
func checkTreeKeys(t *testing.T, tree *RatchetTree) {
	t.Helper()
	sorted := func(k *treeKeys) []uint32 { return slices.Sorted(slices.Values(slices.Concat(k.buckets...))) }
	got, want := tree.keys, newTreeKeys(tree.nodes, tree.leafCount)
	if !slices.Equal(sorted(got), sorted(want)) || got.size != want.size || got.types != want.types {
		t.Fatalf("keys of %d and %v, the nodes have %d and %v", got.size, got.types, want.size, want.types)
	}
	for _, n := range tree.nodes.all() {
		for _, tag := range n.appendTags(nil) {
			if got.among(tag) == 0 {
				t.Fatalf("a key of the tree is not among its keys")
			}
		}
	}
}

// TestTreeKeysAccept brings leaves into trees, those with the keys of others and with
// other credential types too: what treeKeys lets pass, the walk through all leaves must
// let pass as well, and of leaves with nothing wrong it must need no walk.
func TestTreeKeysAccept(t *testing.T) {
	s := testSuite(t, 1)
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		member := func() *LeafNode {
			l := testLeaf(r)
			l.Capabilities.Credentials = []CredentialType{CredentialTypeBasic, CredentialTypeX509}
			return l
		}
		e := new(RatchetTree).edit(s)
		for range 2 + r.IntN(40) {
			l := member()
			if r.IntN(60) == 0 {
				l.Capabilities.Credentials = l.Capabilities.Credentials[:1]
			}
			if _, err := e.add(l); err != nil {
				t.Fatal(err)
			}
		}
		base := e.finish(inSequence)
		victim := LeafIndex(r.IntN(base.MemberCount()))
		other := base.Leaf(LeafIndex(r.IntN(base.MemberCount())))
		for _, x := range []struct {
			name  string
			bend  func(l *LeafNode)
			plain bool
		}{
			{"nothing", func(*LeafNode) {}, true},
			{"own signature key", func(l *LeafNode) { l.SignatureKey = base.Leaf(victim).SignatureKey }, true},
			{"signature key", func(l *LeafNode) { l.SignatureKey = other.SignatureKey }, false},
			{"encryption key", func(l *LeafNode) { l.EncryptionKey = other.EncryptionKey }, false},
			{"credential type", func(l *LeafNode) { l.Credential.Type = CredentialTypeX509 }, false},
			{"unknown credential type", func(l *LeafNode) { l.Credential.Type = 77 }, false},
			{"capabilities", func(l *LeafNode) { l.Capabilities.Credentials = []CredentialType{CredentialTypeX509} }, false},
		} {
			leaf := member()
			x.bend(leaf)
			e := base.edit(s)
			e.update(victim, leaf)
			fresh := []newLeaf{{victim, leaf}}
			if r.IntN(3) == 0 {
				more := member()
				if r.IntN(2) == 0 {
					more.SignatureKey = leaf.SignatureKey
				}
				i, err := e.add(more)
				if err != nil {
					t.Fatal(err)
				}
				fresh = append(fresh, newLeaf{i, more})
			}
			accepted := e.base.keys.accept(e.base, fresh)
			tree := e.finish(inSequence)
			err := checkAmong(tree, fresh)
			if accepted && err != nil {
				t.Fatalf("seed %d, %s: let pass what is refused: %v", seed, x.name, err)
			}
			if x.plain && len(fresh) == 1 && accepted != (err == nil) {
				t.Fatalf("seed %d, %s: a walk was needed", seed, x.name)
			}
			checkTreeKeys(t, tree)
		}
	}
}

func BenchmarkTreeKeys(b *testing.B) {
	s := testSuite(b, 1)
	for _, n := range []int{1000, 10_000} {
		r := rand.New(rand.NewPCG(1, uint64(n)))
		e := new(RatchetTree).edit(s)
		for range n {
			if _, err := e.add(testLeaf(r)); err != nil {
				b.Fatal(err)
			}
		}
		tree := e.finish(inSequence)
		leaf := testLeaf(r)
		b.Run(fmt.Sprintf("build/members=%d", n), func(b *testing.B) {
			for b.Loop() {
				newTreeKeys(tree.nodes, tree.leafCount)
			}
		})
		b.Run(fmt.Sprintf("accept/members=%d", n), func(b *testing.B) {
			for b.Loop() {
				tree.keys.accept(tree, []newLeaf{{5, leaf}})
			}
		})
		b.Run(fmt.Sprintf("walk/members=%d", n), func(b *testing.B) {
			for b.Loop() {
				if err := checkAmong(tree, []newLeaf{{5, leaf}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
