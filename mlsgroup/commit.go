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

// HPKECiphertexts is a vector of HPKECiphertext. It stays encoded: a member needs
// one of the many that a path in a large group has.
type HPKECiphertexts struct {
	b []byte
	n int
}

// UpdatePathNode is one parent of an UpdatePath (RFC 9420 section 7.6).
type UpdatePathNode struct {
	EncryptionKey       []byte
	EncryptedPathSecret HPKECiphertexts
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
	n := 0
	for i := range c.Proposals {
		if p := c.Proposals[i].Proposal; p != nil {
			n += 1 + p.sizeHint()
		} else {
			n += 1 + len(c.Proposals[i].Reference) + 1
		}
	}
	if c.Path == nil {
		return n
	}
	for i := range c.Path.Nodes {
		node := &c.Path.Nodes[i]
		n += len(node.EncryptionKey) + 16 + len(node.EncryptedPathSecret.b)
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

// newHPKECiphertexts encodes a list.
func newHPKECiphertexts(list []HPKECiphertext) HPKECiphertexts {
	n := 0
	for i := range list {
		n += len(list[i].KEMOutput) + len(list[i].Ciphertext) + 4
	}
	c := HPKECiphertexts{make([]byte, 0, n), len(list)}
	for i := range list {
		c.b = list[i].append(c.b)
	}
	return c
}

// Len returns the number of ciphertexts.
func (c HPKECiphertexts) Len() int { return c.n }

// At returns ciphertext i, which has to be there. It shares memory with c and
// passes over all that stand before it.
func (c HPKECiphertexts) At(i int) HPKECiphertext {
	r := reader{b: c.b}
	var out HPKECiphertext
	for range i + 1 {
		out.read(&r)
	}
	return out
}

func (c HPKECiphertexts) append(b []byte) []byte { return appendOpaque(b, c.b) }

func (c *HPKECiphertexts) read(r *reader) {
	body := r.opaque()
	c.n = 0
	sub := reader{b: body}
	for ; len(sub.b) > 0; c.n++ {
		if c.n == maxPathCiphertexts {
			sub.fail("more than %d elements", maxPathCiphertexts)
		}
		sub.opaque()
		sub.opaque()
	}
	if sub.err != nil {
		r.err, r.b = sub.err, nil
		return
	}
	c.b = body
}

func (n *UpdatePathNode) append(b []byte) []byte {
	return n.EncryptedPathSecret.append(appendOpaque(b, n.EncryptionKey))
}

func (n *UpdatePathNode) read(r *reader) {
	n.EncryptionKey = r.opaque()
	n.EncryptedPathSecret.read(r)
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
	out := &UpdatePath{LeafNode: p.LeafNode.detach(nil), Nodes: make([]UpdatePathNode, len(p.Nodes))}
	for i := range p.Nodes {
		out.Nodes[i] = UpdatePathNode{bytes.Clone(p.Nodes[i].EncryptionKey), p.Nodes[i].EncryptedPathSecret}
	}
	return out
}
