package mlsgroup

import (
	"bytes"
	"slices"

	"github.com/conclave-mls/conclave/internal/primitive"
)

// The record forms of a ratchet tree, node by node:
//
//	node      version type hash<V> content     type 0 is a blank node without content
//	unmerged  version {gap<V> run<V>}          runs of consecutive leaves, ascending
//
// The content is a LeafNode, or encryption key and parent hash of a ParentNode.
// Its unmerged leaves stand in a record of their own, so that a commit that
// changes no more than the tree hash of a node does not write a list as long as
// the group, and as runs, so that those who joined one after the other take a
// few bytes together. What is inside a subtree without content has no record.

// nodeRecordVersion is the first byte of each of these records.
const nodeRecordVersion = 1

// nodeRecord is a record of node Node; Value is nil where there is none.
type nodeRecord struct {
	Node  NodeIndex
	Value []byte
}

// nodeRecord returns the node record of x, nil where t has no entry for it. The
// tree has hashes.
func (t *RatchetTree) nodeRecord(x NodeIndex) []byte {
	n := t.node(x)
	if n == nil {
		return nil
	}
	size := 8 + len(n.hash)
	switch {
	case n.leaf != nil:
		size += n.leaf.sizeHint()
	case n.parent != nil:
		size += len(n.parent.EncryptionKey) + len(n.parent.ParentHash)
	}
	b := append(make([]byte, 0, size), nodeRecordVersion)
	switch {
	case n.leaf != nil:
		return n.leaf.append(appendOpaque(append(b, byte(NodeTypeLeaf)), n.hash))
	case n.parent != nil:
		b = appendOpaque(append(b, byte(NodeTypeParent)), n.hash)
		return appendOpaque(appendOpaque(b, n.parent.EncryptionKey), n.parent.ParentHash)
	}
	return appendOpaque(append(b, 0), n.hash)
}

// unmergedRecord returns the unmerged record of x, nil where x has none.
func (t *RatchetTree) unmergedRecord(x NodeIndex) []byte {
	n := t.node(x)
	if n == nil || n.parent == nil || len(n.parent.UnmergedLeaves) == 0 {
		return nil
	}
	b := []byte{nodeRecordVersion}
	end := LeafIndex(0)
	for rest := n.parent.UnmergedLeaves; len(rest) > 0; {
		run := 1
		for run < len(rest) && rest[run] == rest[0]+LeafIndex(run) {
			run++
		}
		b = appendVarint(appendVarint(b, int(rest[0]-end)), run)
		end = rest[0] + LeafIndex(run)
		rest = rest[run:]
	}
	return b
}

// changedRecords returns the records by which t differs from old, ascending. A
// nil Value is a record to be deleted. With an empty old tree these are all
// records of t. Both trees have hashes.
func (t *RatchetTree) changedRecords(old *RatchetTree) (nodes, unmerged []nodeRecord) {
	list := func(n *treeNode) []LeafIndex {
		if n == nil || n.parent == nil {
			return nil
		}
		return n.parent.UnmergedLeaves
	}
	for i := range t.nodes.changed(old.nodes) {
		x := NodeIndex(i)
		now, was := t.node(x), old.node(x)
		// A tree hash covers all that is in a node's records.
		if now != nil && was != nil && bytes.Equal(now.hash, was.hash) {
			continue
		}
		nodes = append(nodes, nodeRecord{x, t.nodeRecord(x)})
		if !slices.Equal(list(now), list(was)) {
			unmerged = append(unmerged, nodeRecord{x, t.unmergedRecord(x)})
		}
	}
	return nodes, unmerged
}

// loadTree makes a tree of all its records, each list ascending. The tree keeps
// parts of the values. It fails with ErrRecord.
func loadTree(s *primitive.Suite, leafCount LeafCount, nodes, unmerged []nodeRecord) (*RatchetTree, error) {
	if leafCount == 0 && len(nodes) == 0 {
		return new(RatchetTree), nil
	}
	if leafCount == 0 || leafCount > maxLeafCount || leafCount&(leafCount-1) != 0 || len(nodes) == 0 {
		return nil, recordError("tree of %d leaves with %d nodes", leafCount, len(nodes))
	}
	var (
		b     = treeBuilder{given: make([]builtNode, 0, len(nodes))}
		parts = nodeReader{hashSize: s.HashSize()}
	)
	for at, r := range nodes {
		if uint32(r.Node) >= leafCount.width() || at > 0 && nodes[at-1].Node >= r.Node {
			return nil, recordError("node %d of a tree of %d leaves", r.Node, leafCount)
		}
		n := b.add(r.Node)
		if err := parts.read(n, r); err != nil {
			return nil, err
		}
		if n.parent == nil {
			continue
		}
		if len(unmerged) > 0 && unmerged[0].Node == r.Node {
			var err error
			if n.parent.UnmergedLeaves, err = parseUnmergedRecord(r.Node, unmerged[0].Value); err != nil {
				return nil, err
			}
			unmerged = unmerged[1:]
		}
	}
	if len(unmerged) > 0 {
		return nil, recordError("unmerged leaves of node %d", unmerged[0].Node)
	}
	t := b.done(leafCount)
	for x, n := range t.nodes.all() {
		if n.hash == nil {
			return nil, recordError("node %d is missing", x)
		}
	}
	return t, nil
}

// nodeReader reads node records, the leaves and parents of which lie together.
type nodeReader struct {
	hashSize int
	leaves   slab[LeafNode]
	parents  slab[ParentNode]
	last     lastCapabilities
}

// read reads the record of a node.
func (p *nodeReader) read(n *treeNode, rec nodeRecord) error {
	r := reader{b: rec.Value, last: &p.last}
	version, typ := r.uint8(), NodeType(r.uint8())
	n.hash = r.opaque()
	switch {
	case r.err != nil:
	case version != nodeRecordVersion:
		return recordError("node %d of version %d", rec.Node, version)
	case len(n.hash) != p.hashSize:
		return recordError("node %d has a hash of %d bytes", rec.Node, len(n.hash))
	case typ == 0:
	case typ == NodeTypeLeaf && rec.Node.isLeaf():
		n.leaf = p.leaves.next()
		n.leaf.read(&r)
	case typ == NodeTypeParent && !rec.Node.isLeaf():
		n.parent = p.parents.next()
		n.parent.EncryptionKey = r.opaque()
		n.parent.ParentHash = r.opaque()
	default:
		return recordError("node %d has type %d", rec.Node, typ)
	}
	if err := r.done(); err != nil {
		return recordError("node %d: %v", rec.Node, err)
	}
	return nil
}

// parseLeafRecord reads the leaf of a single node record, nil where the leaf is
// blank. The leaf keeps parts of the value.
func parseLeafRecord(s *primitive.Suite, i LeafIndex, value []byte) (*LeafNode, error) {
	var n treeNode
	p := nodeReader{hashSize: s.HashSize(), leaves: slab[LeafNode]{make([]LeafNode, 1)}}
	err := p.read(&n, nodeRecord{i.Node(), value})
	return n.leaf, err
}

func parseUnmergedRecord(x NodeIndex, value []byte) ([]LeafIndex, error) {
	r := reader{b: value}
	if version := r.uint8(); r.err == nil && version != nodeRecordVersion {
		return nil, recordError("unmerged leaves of version %d", version)
	}
	var leaves []LeafIndex
	_, most := x.leaves()
	for next := LeafIndex(0); len(r.b) > 0; {
		first := uint64(next) + uint64(r.varint())
		run := uint64(r.varint())
		if r.err == nil && (run == 0 || first+run > uint64(most)) {
			return nil, recordError("node %d has no leaf %d", x, first+run)
		}
		next = LeafIndex(first + run)
		for i := LeafIndex(first); i < next && r.err == nil; i++ {
			leaves = append(leaves, i)
		}
	}
	if err := r.done(); err != nil || len(leaves) == 0 {
		return nil, recordError("unmerged leaves of node %d: %v", x, err)
	}
	return leaves, nil
}
