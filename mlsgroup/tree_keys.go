package mlsgroup

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
)

// treeKeys tells at little cost that keys are not in a tree, and that all its
// members support a credential type: so a commit need not walk through all leaves.
// It never says so wrongly. Where it cannot tell, the leaves decide: it knows keys by
// 32 bits of them only, and who makes these alike gains nothing by it. It is made when
// a tree is first edited, and each edit makes the next one, which shares most of it.
type treeKeys struct {
	// tags of all encryption and signature keys, each as often as it occurs, in no
	// order; a power of two of buckets.
	buckets [][]uint32
	size    int
	types   typeCounts
}

// typeCounts counts leaves by credential types, Basic and X.509 in this order.
type typeCounts struct {
	members int
	used    [2]int // leaves that have such a credential
	listed  [2]int // leaves that list the type in their capabilities
}

var countedTypes = [2]CredentialType{CredentialTypeBasic, CredentialTypeX509}

// Keys in a bucket when treeKeys is made, and when it is made anew for want of
// buckets.
const (
	bucketKeys     = 16
	bucketKeysMost = 64
)

// newTreeKeys takes the keys of a tree's nodes.
func newTreeKeys(nodes vec[treeNode], leafCount LeafCount) *treeKeys {
	tags := make([]uint32, 0, 3*int(leafCount))
	k := new(treeKeys)
	for _, n := range nodes.all() {
		tags = n.appendTags(tags)
		k.types.add(n.leaf, 1)
	}
	words := 1
	for words*bucketKeys < len(tags) {
		words *= 2
	}
	k.size, k.buckets = len(tags), make([][]uint32, words)
	// All buckets lie in one array, each as long as it has to be.
	ends := make([]int, words+1)
	for _, tag := range tags {
		ends[k.bucket(tag)+1]++
	}
	for i := range words {
		ends[i+1] += ends[i]
	}
	all := make([]uint32, len(tags))
	for i := range words {
		k.buckets[i] = all[ends[i]:ends[i]:ends[i+1]]
	}
	for _, tag := range tags {
		at := k.bucket(tag)
		k.buckets[at] = append(k.buckets[at], tag)
	}
	return k
}

// after returns what k becomes when its tree's nodes change from old to next.
func (k *treeKeys) after(old, next vec[treeNode], leafCount LeafCount) *treeKeys {
	n := *k
	n.buckets = slices.Clone(k.buckets)
	own := make([]bool, len(n.buckets)) // copied already
	take := func(tag uint32) *[]uint32 {
		at := n.bucket(tag)
		if !own[at] {
			n.buckets[at], own[at] = append(make([]uint32, 0, len(n.buckets[at])+2), n.buckets[at]...), true
		}
		return &n.buckets[at]
	}
	var gone, come []uint32
	for x := range next.changed(old) {
		was, now := old.get(x), next.get(x)
		if was != nil && now != nil && was.leaf == now.leaf && was.parent == now.parent {
			continue // only its hash is another
		}
		if was != nil {
			gone = was.appendTags(gone)
			n.types.add(was.leaf, -1)
		}
		if now != nil {
			come = now.appendTags(come)
			n.types.add(now.leaf, 1)
		}
	}
	for _, tag := range come {
		b := take(tag)
		*b = append(*b, tag)
	}
	for _, tag := range gone {
		b := take(tag)
		if at := slices.Index(*b, tag); at >= 0 {
			last := len(*b) - 1
			(*b)[at] = (*b)[last]
			*b = (*b)[:last]
		}
	}
	if n.size += len(come) - len(gone); n.size > bucketKeysMost*len(n.buckets) {
		return newTreeKeys(next, leafCount)
	}
	return &n
}

func (k *treeKeys) bucket(tag uint32) int {
	return int(uint64(tag*0x9E3779B1) >> (32 - bits.TrailingZeros(uint(len(k.buckets)))))
}

// among returns how many keys of the tree have a tag: at least as many as there are
// keys like it.
func (k *treeKeys) among(tag uint32) int {
	n := 0
	for _, t := range k.buckets[k.bucket(tag)] {
		if t == tag {
			n++
		}
	}
	return n
}

// add adds n leaves like l, which may be nil.
func (c *typeCounts) add(l *LeafNode, n int) {
	if l == nil {
		return
	}
	c.members += n
	for i, t := range countedTypes {
		if l.Credential.Type == t {
			c.used[i] += n
		}
		if l.Capabilities.credential(t) {
			c.listed[i] += n
		}
	}
}

// suit tells that new leaves and those counted support the credential types of each
// other. It knows Basic and X.509 only.
func (c typeCounts) suit(leaves []newLeaf) bool {
	for _, n := range leaves {
		c.add(n.leaf, 1)
	}
	if c.used[0]+c.used[1] < c.members {
		return false
	}
	return (c.used[0] == 0 || c.listed[0] == c.members) && (c.used[1] == 0 || c.listed[1] == c.members)
}

// keyTag is what treeKeys knows of a key: bits from its end, as in keySet.
func keyTag(key []byte) uint32 {
	if n := len(key); n >= 5 {
		return binary.BigEndian.Uint32(key[n-5:])
	}
	return 0
}

// signatureKeyTag tells signature keys from encryption keys.
func signatureKeyTag(key []byte) uint32 { return ^keyTag(key) }

// appendTags appends the tags of a node's keys.
func (n *treeNode) appendTags(to []uint32) []uint32 {
	if n.blank() {
		return to
	}
	if to = append(to, keyTag(n.encryptionKey())); n.leaf != nil {
		to = append(to, signatureKeyTag(n.leaf.SignatureKey))
	}
	return to
}

// maxCompared bounds the new leaves that are compared with each other here.
const maxCompared = 32

// accept tells that leaves which come into a tree fulfil checkAmong in it; k is of the
// tree before, base. If it is false, checkAmong has to find out.
func (k *treeKeys) accept(base *RatchetTree, leaves []newLeaf) bool {
	if len(leaves) > maxCompared {
		return false
	}
	for at, n := range leaves {
		for _, other := range leaves[:at] {
			if bytes.Equal(other.leaf.SignatureKey, n.leaf.SignatureKey) || bytes.Equal(other.leaf.EncryptionKey, n.leaf.EncryptionKey) {
				return false
			}
		}
		known := 0 // a member that keeps its signature key has it there
		if old := base.Leaf(n.i); old != nil && bytes.Equal(old.SignatureKey, n.leaf.SignatureKey) {
			known = 1
		}
		if k.among(signatureKeyTag(n.leaf.SignatureKey)) > known || k.among(keyTag(n.leaf.EncryptionKey)) > 0 {
			return false
		}
	}
	return k.types.suit(leaves)
}
