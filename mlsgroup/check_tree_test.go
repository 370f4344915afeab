package mlsgroup

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/conclave-mls/conclave/internal/secret"
)

// joinedTree is what we make of the Welcome to a group whose tree is o's.
func joinedTree(t *testing.T, o forgedOptions) error {
	t.Helper()
	return joinedTreeBy(newForger(t), o)
}

func joinedTreeBy(f *forger, o forgedOptions) error {
	f.t.Helper()
	_, err := f.group(o).join(forgedWelcome{})
	return err
}

var treeRefused = []checkCase{
	{"7.3-11/join", func(t *testing.T) error {
		f := newForger(t)
		c := f.clients("alice", "bob", "dave")
		_, err := f.group(forgedOptions{clients: []*forgedClient{c[0], c[1], c[1], c[2]}}).join(forgedWelcome{})
		return err
	}},
	{"7.3-12/join", func(t *testing.T) error {
		var bobs []byte
		return joinedTree(t, forgedOptions{leaf: func(i LeafIndex, l *LeafNode) {
			switch i {
			case 1:
				bobs = l.EncryptionKey
			case 2:
				l.EncryptionKey = bobs
			}
		}})
	}},
	{"7.9.2-1/root", func(t *testing.T) error {
		// Nothing is above the root for it to have the hash of. The chain
		// through it is made again, so that it is right but for that.
		f := newForger(t)
		c := f.clients("alice", "bob")
		_, err := f.group(forgedOptions{clients: c, chain: func(root *ParentNode, sibling []byte) []byte {
			root.ParentHash = f.bytes(f.s.HashSize())
			return parentHashOf(f.s, root.EncryptionKey, root.ParentHash, sibling)
		}}).join(forgedWelcome{})
		return err
	}},
	{"7.9.2-1/leaf", func(t *testing.T) error {
		return joinedTree(t, forgedOptions{path: forgedCommit{leaf: func(l *LeafNode) {
			l.ParentHash = bytes.Repeat([]byte{7}, len(l.ParentHash))
		}}})
	}},
	{"12.4.3.1-7/welcome", func(t *testing.T) error {
		return joinedTree(t, forgedOptions{hash: damage})
	}},
	{"12.4.3.1-8/blank", func(t *testing.T) error {
		// Carol has left before the path, so it is valid with her as an
		// unmerged leaf too.
		return joinedTree(t, forgedOptions{
			before: func(e *treeEdit) { e.remove(2) },
			nodes: func(nodes map[NodeIndex]*treeNode) {
				root := *nodes[3].parent
				root.UnmergedLeaves = []LeafIndex{2}
				nodes[3].parent = &root
			},
		})
	}},
	{"12.4.3.1-8/outside", func(t *testing.T) error {
		return joinedTree(t, forgedOptions{nodes: func(nodes map[NodeIndex]*treeNode) {
			left := *nodes[1].parent
			left.UnmergedLeaves = []LeafIndex{2}
			nodes[1].parent = &left
		}})
	}},
	{"12.4.3.1-9", func(t *testing.T) error {
		// Bob is unmerged at the root and merged at the node between.
		return joinedTree(t, forgedOptions{nodes: func(nodes map[NodeIndex]*treeNode) {
			root := *nodes[3].parent
			root.UnmergedLeaves = []LeafIndex{1}
			nodes[3].parent = &root
		}})
	}},
	{"12.4.3.1-10/parent", func(t *testing.T) error {
		return joinedTree(t, forgedOptions{path: forgedCommit{keys: func(nodes []UpdatePathNode) {
			nodes[0].EncryptionKey = nodes[1].EncryptionKey
		}}})
	}},
	{"12.4.3.1-10/leaf", func(t *testing.T) error {
		// Bob's leaf has the key that the path's first secret gives its first node.
		f := newForger(t)
		first := secret.Bytes(f.bytes(f.s.HashSize()))
		_, err := f.group(forgedOptions{
			path: forgedCommit{first: first.Clone()},
			leaf: func(i LeafIndex, l *LeafNode) {
				if i == 1 {
					l.EncryptionKey = deriveNodeKey(f.s, first).public
				}
			},
		}).join(forgedWelcome{})
		return err
	}},
}

var treeConstructed = []checkCase{
	{"7.5-2", func(t *testing.T) error {
		f := newForger(t)
		e := f.tree(f.clients("alice", "bob", "carol")...).edit(f.s)
		added, err := e.add(f.leafNode(f.client("dave"), nil))
		f.must(err)
		alice := f.client("alice")
		o := pathOptions{
			Exclude: []LeafIndex{added},
			Leaf: func(encryptionKey, parentHash []byte) (*LeafNode, error) {
				return f.leafNode(alice, func(l *LeafNode) {
					l.EncryptionKey, l.ParentHash, l.Source = encryptionKey, parentHash, LeafNodeSourceCommit
				}), nil
			},
			Context: func([]byte) ([]byte, error) { return nil, nil },
			Rand:    f.rand,
		}
		c, err := e.createPath(o)
		f.must(err)
		var n []int
		for _, node := range c.Path.Nodes {
			n = append(n, node.EncryptedPathSecret.Len())
		}
		if !slices.Equal(n, []int{1, 1}) {
			return fmt.Errorf("%v ciphertexts for bob and for carol without dave, who is new", n)
		}
		return nil
	}},
	{"7.8-1", func(t *testing.T) error {
		// Alice, nobody, and a blank root above them, by hand.
		f := newForger(t)
		leaf := f.leafNode(f.client("alice"), nil)
		tree := f.retree(f.tree(f.clients("alice", "bob")...), func(nodes map[NodeIndex]*treeNode) {
			nodes[0].leaf, nodes[2].leaf = leaf, nil
		})
		present := sha256.Sum256(slices.Concat([]byte{1, 0, 0, 0, 0, 1}, leaf.Marshal()))
		absent := sha256.Sum256([]byte{1, 0, 0, 0, 1, 0})
		root := sha256.Sum256(slices.Concat([]byte{2, 0, 32}, present[:], []byte{32}, absent[:]))
		if !bytes.Equal(tree.rootHash(), root[:]) {
			return errors.New("another tree hash")
		}
		return nil
	}},
}
