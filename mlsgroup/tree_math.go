package mlsgroup

// LeafIndex numbers the leaves of a tree from the left (RFC 9420 section 4.2).
type LeafIndex uint32

// NodeIndex numbers the nodes of a tree in its array form: leaf i is node 2i
// (RFC 9420 Appendix C).
type NodeIndex uint32

// LeafCount is the number of leaves of a tree, a power of two, blanks counted.
type LeafCount uint32

// Node returns the index of the leaf in the array form.
func (i LeafIndex) Node() NodeIndex { return NodeIndex(i) * 2 }
