package mlsgroup

import "github.com/conclave-mls/conclave/internal/secret"

// material returns all key material of g that is in memory, to be wiped.
func (g *Group) material() []secret.Bytes {
	var to []secret.Bytes
	for _, b := range g.head.secrets.fields() {
		to = append(to, b)
	}
	if g.path != nil {
		for _, k := range g.path.keys {
			to = append(to, k.private)
		}
	}
	to = g.secrets.material(to)
	for _, p := range g.past {
		if p != nil {
			to = p.secrets.material(append(to, p.senderData))
		}
	}
	to = append(to, g.resumption...)
	if g.proposals != nil {
		for _, p := range g.proposals.list {
			to = append(to, p.leafPrivate)
		}
	}
	return to
}

// Wipe overwrites all key material of g that is in memory. Groups before and
// after it share most of that, so it is for the end: no group of this member's
// is in use any more, nor a MessageKey, nor what EpochAuthenticator and
// ResumptionPSK returned.
func (g *Group) Wipe() {
	for _, b := range g.material() {
		b.Wipe()
	}
}

// Wipe overwrites the key material of a transition that is dropped: what Next
// has and current has not, what it would have consumed, and the values of its
// changes. current is the group that stays, which remains usable; nil where there
// is none. Of several
// transitions in a row each is wiped, with the same current. A nil transition
// has nothing to wipe.
func (t *Transition) Wipe(current *Group) {
	if t == nil {
		return
	}
	// A secret is told by where it is in memory.
	kept := make(map[*byte]struct{})
	if current != nil {
		for _, b := range current.material() {
			if len(b) > 0 {
				kept[&b[0]] = struct{}{}
			}
		}
	}
	drop := t.Consumed
	if t.Next != nil {
		drop = append(t.Next.material(), drop...)
	}
	for _, b := range drop {
		if len(b) == 0 {
			continue
		}
		if _, shared := kept[&b[0]]; !shared {
			b.Wipe()
		}
	}
	for i := range t.Changes {
		t.Changes[i].Value.Wipe()
	}
}

// Wipe overwrites the key material of an own commit that nobody will merge any
// more. The group that it was made from shares some of it, so that one must have
// come to its end too.
func (c *OwnCommit) Wipe() {
	if c.next != nil {
		c.next.Wipe()
	}
	if c.past != nil {
		c.past.senderData.Wipe()
		for _, b := range c.past.secrets.material(nil) {
			b.Wipe()
		}
	}
	if c.Before != nil {
		c.Before.Wipe(nil)
	}
	for i := range c.After {
		c.After[i].Value.Wipe()
	}
}
