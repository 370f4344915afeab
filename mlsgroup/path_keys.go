package mlsgroup

import (
	"cmp"
	"slices"

	"github.com/conclave-mls/conclave/internal/secret"
)

// pathKeys holds a member's private keys in the tree: its leaf's and those it
// knows of the nodes above. It never changes; the keys are shared with what it
// was made from.
type pathKeys struct {
	keys []nodeKey // ascending by node
}

type nodeKey struct {
	node    NodeIndex
	private secret.Bytes
}

func (k pathKeys) find(x NodeIndex) (int, bool) {
	return slices.BinarySearchFunc(k.keys, x, func(a nodeKey, x NodeIndex) int { return cmp.Compare(a.node, x) })
}

// get returns the private key of x, nil where it is not known.
func (k pathKeys) get(x NodeIndex) secret.Bytes {
	if at, found := k.find(x); found {
		return k.keys[at].private
	}
	return nil
}

// with returns k with the private key of x added or replaced.
func (k pathKeys) with(x NodeIndex, private secret.Bytes) pathKeys {
	at, found := k.find(x)
	keys := slices.Clone(k.keys)
	if found {
		keys[at].private = private
	} else {
		keys = slices.Insert(keys, at, nodeKey{x, private})
	}
	return pathKeys{keys}
}

// prune returns k without the keys of nodes that t has not or that are blank.
// After the proposals of a commit were applied those are the keys that became
// outdated.
func (k pathKeys) prune(t treeReader) pathKeys {
	keep := func(n nodeKey) bool { return t.node(n.node).encryptionKey() != nil }
	if !slices.ContainsFunc(k.keys, func(n nodeKey) bool { return !keep(n) }) {
		return k
	}
	var keys []nodeKey
	for _, n := range k.keys {
		if keep(n) {
			keys = append(keys, n)
		}
	}
	return pathKeys{keys}
}

// changed returns what differs from old, ascending: keys to be stored, and nodes
// whose keys are no longer held. The outdated keys, replaced ones included, are
// the third result; they are to be wiped once old is not used any more.
func (k pathKeys) changed(old pathKeys) (put []nodeKey, gone []NodeIndex, outdated []secret.Bytes) {
	for _, n := range k.keys {
		if was := old.get(n.node); was == nil || !was.Equal(n.private) {
			put = append(put, n)
		}
	}
	for _, n := range old.keys {
		now := k.get(n.node)
		if now == nil {
			gone = append(gone, n.node)
		}
		if now == nil || !now.Equal(n.private) {
			outdated = append(outdated, n.private)
		}
	}
	return put, gone, outdated
}
