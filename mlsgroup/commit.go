package mlsgroup

import "bytes"

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

// sizeHint is about the encoded size of the proposals and of the path without its
// leaf, which in a large group are nearly all of a commit.
func (c *Commit) sizeHint() int {
	const keyPackage = 400
	n := 0
	for i := range c.Proposals {
		if c.Proposals[i].Proposal != nil {
			n += keyPackage
		} else {
			n += 1 + len(c.Proposals[i].Reference) + 1
		}
	}
	if c.Path == nil {
		return n
	}
	for i := range c.Path.Nodes {
		node := &c.Path.Nodes[i]
		n += len(node.EncryptionKey) + 16
		for j := range node.EncryptedPathSecret {
			n += len(node.EncryptedPathSecret[j].KEMOutput) + len(node.EncryptedPathSecret[j].Ciphertext) + 4
		}
	}
	return n
}

func (c *Commit) append(b []byte) []byte {
	b = appendVector(b, func(b []byte) []byte {
		for i := range c.Proposals {
			b = c.Proposals[i].append(b)
		}
		return b
	})
	if c.Path == nil {
		return append(b, 0)
	}
	return c.Path.append(append(b, 1))
}

func (c *Commit) read(r *reader) {
	r.vector(maxProposals, func(r *reader) {
		var p ProposalOrRef
		p.read(r)
		c.Proposals = append(c.Proposals, p)
	})
	if r.optional() {
		c.Path = new(UpdatePath)
		c.Path.read(r)
	}
}

func (c *HPKECiphertext) append(b []byte) []byte {
	return appendOpaque(appendOpaque(b, c.KEMOutput), c.Ciphertext)
}

func (c *HPKECiphertext) read(r *reader) {
	c.KEMOutput = r.opaque()
	c.Ciphertext = r.opaque()
}

func (n *UpdatePathNode) append(b []byte) []byte {
	b = appendOpaque(b, n.EncryptionKey)
	return appendVector(b, func(b []byte) []byte {
		for i := range n.EncryptedPathSecret {
			b = n.EncryptedPathSecret[i].append(b)
		}
		return b
	})
}

func (n *UpdatePathNode) read(r *reader) {
	n.EncryptionKey = r.opaque()
	r.vector(maxPathCiphertexts, func(r *reader) {
		var c HPKECiphertext
		c.read(r)
		n.EncryptedPathSecret = append(n.EncryptedPathSecret, c)
	})
}

func (p *UpdatePath) append(b []byte) []byte {
	b = p.LeafNode.append(b)
	return appendVector(b, func(b []byte) []byte {
		for i := range p.Nodes {
			b = p.Nodes[i].append(b)
		}
		return b
	})
}

func (p *UpdatePath) read(r *reader) {
	p.LeafNode = new(LeafNode)
	p.LeafNode.read(r)
	r.vector(maxPathNodes, func(r *reader) {
		var n UpdatePathNode
		n.read(r)
		p.Nodes = append(p.Nodes, n)
	})
}

// detach returns the path with what a tree keeps of it in memory of its own:
// the leaf and the keys, a small part of the message. p may be nil.
func (p *UpdatePath) detach() *UpdatePath {
	if p == nil {
		return nil
	}
	out := &UpdatePath{LeafNode: p.LeafNode.detach(), Nodes: make([]UpdatePathNode, len(p.Nodes))}
	for i := range p.Nodes {
		out.Nodes[i] = UpdatePathNode{bytes.Clone(p.Nodes[i].EncryptionKey), p.Nodes[i].EncryptedPathSecret}
	}
	return out
}
