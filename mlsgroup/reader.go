package mlsgroup

// Reader returns a group that others may read while the owner of g takes it
// further: the head, the tree and the pending proposals of g, as far as they are in
// memory, with copies of the exporter secret and the epoch authenticator and no other
// key, so no step can be made from it. Wipe overwrites the copies and nothing of g's.
func (g *Group) Reader() *Group {
	h := *g.head
	h.secrets = &epochSecrets{exporter: g.head.secrets.exporter.Clone(), authenticator: g.head.secrets.authenticator.Clone()}
	r := &Group{s: g.s, head: &h, tree: g.tree}
	if g.proposals != nil {
		r.proposals = g.proposals.withoutKeys()
	}
	return r
}

// ReadsLike tells whether a Reader of g shows what one of other shows, and cheaply: no
// commit and no proposal lies between them, and the parts that a Reader takes over
// are the same ones.
func (g *Group) ReadsLike(other *Group) bool {
	return g.head == other.head && g.tree == other.tree && g.proposals == other.proposals
}
