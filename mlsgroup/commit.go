package mlsgroup

// Commit begins a new epoch (RFC 9420 section 12.4).
type Commit struct {
	Proposals []ProposalOrRef
	Path      *UpdatePath // nil where absent
}

// HPKECiphertext is the output of EncryptWithLabel (RFC 9420 section 5.1.3).
type HPKECiphertext struct {
	KEMOutput  []byte
	Ciphertext []byte
}

// UpdatePathNode is one parent of an UpdatePath (RFC 9420 section 7.6).
type UpdatePathNode struct {
	EncryptionKey       []byte
	EncryptedPathSecret []HPKECiphertext
}

// UpdatePath replaces the sender's leaf and its filtered direct path (RFC 9420
// section 7.6).
type UpdatePath struct {
	LeafNode *LeafNode
	Nodes    []UpdatePathNode
}
