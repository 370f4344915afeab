package mlsgroup

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/conclave-mls/conclave/internal/secret"
)

// committed is what we make of a commit.
func committed(t *testing.T, c forgedCommit) error {
	t.Helper()
	g := groupOf(t)
	m, _ := g.commit(c)
	return g.process(m)
}

var commitRefused = []checkCase{
	{"7.5-4", func(t *testing.T) error {
		// The root's key is no key of the path secret that we can decrypt.
		g := groupOf(t)
		_, other := g.encryptionKey()
		m, _ := g.commit(forgedCommit{keys: func(nodes []UpdatePathNode) { nodes[1].EncryptionKey = other }})
		return g.process(m)
	}},
	{"7.6-1/sealed", func(t *testing.T) error {
		return committed(t, forgedCommit{path: func(p *UpdatePath) {
			p.Nodes[1].changeCiphertexts(func(list []HPKECiphertext) []HPKECiphertext {
				for i := range list {
					list[i].Ciphertext = damage(list[i].Ciphertext)
				}
				return list
			})
		}})
	}},
	{"7.6-1/length", func(t *testing.T) error {
		return committed(t, forgedCommit{sealed: func(s secret.Bytes) secret.Bytes { return append(s.Clone(), 0) }})
	}},
	{"7.6-1/missing", func(t *testing.T) error {
		// Carol, a leaf of whose parent is blank, gets no ciphertext.
		return committed(t, forgedCommit{path: func(p *UpdatePath) {
			p.Nodes[1].changeCiphertexts(func(list []HPKECiphertext) []HPKECiphertext { return list[1:] })
		}})
	}},
	{"7.6-2/short", func(t *testing.T) error {
		return committed(t, forgedCommit{path: func(p *UpdatePath) { p.Nodes = p.Nodes[1:] }})
	}},
	{"7.6-2/long", func(t *testing.T) error {
		g := groupOf(t)
		_, key := g.encryptionKey()
		m, _ := g.commit(forgedCommit{path: func(p *UpdatePath) {
			p.Nodes = append(p.Nodes, UpdatePathNode{EncryptionKey: key, EncryptedPathSecret: p.Nodes[1].EncryptedPathSecret})
		}})
		return g.process(m)
	}},
	{"7.9.2-2", func(t *testing.T) error {
		return committed(t, forgedCommit{leaf: func(l *LeafNode) { l.ParentHash = damage(l.ParentHash) }})
	}},
	{"12.4-3/empty", func(t *testing.T) error {
		return committed(t, forgedCommit{noPath: true})
	}},
	{"12.4-3/update", func(t *testing.T) error {
		g := groupOf(t)
		m, ref := g.proposeBy(1, g.update(1, nil))
		c, _ := g.commit(forgedCommit{noPath: true, proposals: []ProposalOrRef{ref}})
		return g.process(m, c)
	}},
	{"12.4-3/remove", func(t *testing.T) error {
		g := groupOf(t)
		m, _ := g.commit(forgedCommit{noPath: true, proposals: byValue(g.remove(1))})
		return g.process(m)
	}},
	{"12.4-3/extensions", func(t *testing.T) error {
		g := groupOf(t)
		m, _ := g.commit(forgedCommit{noPath: true, proposals: byValue(g.extensions(Extension{Type: otherExtension}))})
		return g.process(m)
	}},
	{"12.4.2-1/commit", func(t *testing.T) error {
		g := groupOf(t)
		return g.commits(g.psk("unknown", nil))
	}},
	{"12.4.2-2", func(t *testing.T) error {
		g := groupOf(t)
		return g.paths(func(l *LeafNode) { l.EncryptionKey = g.tree.Leaf(0).EncryptionKey })
	}},
	{"12.4.2-3/path", func(t *testing.T) error {
		return committed(t, forgedCommit{keys: func(nodes []UpdatePathNode) { nodes[0].EncryptionKey = nodes[1].EncryptionKey }})
	}},
	{"12.4.2-3/tree", func(t *testing.T) error {
		// The key that the path's first secret gives is in carol's leaf.
		f := newForger(t)
		first := secret.Bytes(f.bytes(f.s.HashSize()))
		g := f.group(forgedOptions{leaf: func(i LeafIndex, l *LeafNode) {
			if i == 2 {
				l.EncryptionKey = deriveNodeKey(f.s, first).public
			}
		}})
		m, _ := g.commit(forgedCommit{first: first.Clone()})
		return g.process(m)
	}},
	{"12.4.2-4", func(t *testing.T) error {
		return committed(t, forgedCommit{auth: func(a *FramedContentAuth) { a.ConfirmationTag = damage(a.ConfirmationTag) }})
	}},
}

// follow has us follow the group through a commit of alice and returns both.
func (g *forgedGroup) follow(c forgedCommit) *forgedGroup {
	g.t.Helper()
	m, next := g.commit(c)
	g.must(g.process(m))
	next.now = g.now
	return next
}

// values are the values of all records.
func (r *records) values() [][]byte {
	var all [][]byte
	for _, v := range r.m {
		all = append(all, v)
	}
	return all
}

var commitConstructed = []checkCase{
	{"7.5-3", func(t *testing.T) error {
		// What we hold of the tree's private keys before a path and after it.
		g := groupOf(t)
		tr, err := Join(g.input(), g.welcome(forgedWelcome{}), g.joinOptions())
		if err != nil {
			return err
		}
		store := newRecords()
		store.apply(tr.Changes)
		root := g.path[len(g.path)-1].secret
		before := deriveNodeKey(g.s, root).private
		if !contains(store.values(), before) {
			return errors.New("the root's key is not stored at first")
		}
		m, next := g.commit(forgedCommit{})
		if tr, err = tr.Next.Process(g.ourInput(), m); err != nil {
			return err
		}
		store.apply(tr.Changes)
		after := next.path[len(next.path)-1].secret
		if !contains(store.values(), deriveNodeKey(g.s, after).private) {
			return errors.New("the new key is not stored")
		}
		for what, gone := range map[string]secret.Bytes{"replaced key": before, "path secret": after, "old path secret": root} {
			if contains(store.values(), gone) {
				return fmt.Errorf("the %s is stored", what)
			}
		}
		if !slices.ContainsFunc(tr.Consumed, before.Equal) {
			return errors.New("the replaced key is not among what is to be wiped")
		}
		return nil
	}},
	{"14-2", func(t *testing.T) error {
		// Of an epoch that the window has passed there is neither a record nor
		// a secret left.
		g := groupOf(t)
		o := g.joinOptions()
		o.Receive.PastEpochs = 1
		tr, err := Join(g.input(), g.welcome(forgedWelcome{}), o)
		if err != nil {
			return err
		}
		h := &holder{store: newRecords(), g: tr.Next}
		h.store.apply(tr.Changes)
		late := g.application(1, "late")
		if _, err := h.process(g.ourInput(), g.application(2, "in time")); err != nil {
			return err
		}
		first := g
		for i := range 2 {
			m, next := g.commit(forgedCommit{})
			if _, err := h.process(g.ourInput(), m); err != nil {
				return err
			}
			kept := contains(h.store.values(), first.epoch.senderData)
			if kept != (i == 0) {
				return fmt.Errorf("after %d epochs the first one's secret is kept: %v", i+1, kept)
			}
			for k := range h.store.m {
				for _, kind := range []recordKind{recordSecret, recordRatchet, recordSkip, recordPast} {
					if r := epochPrefix(kind, first.context.Epoch); i == 1 && k >= string(r.Low) && k < string(r.High) {
						return fmt.Errorf("record %x of the first epoch is left", k)
					}
				}
			}
			g = next
		}
		if _, err := h.process(g.ourInput(), late); !errors.Is(err, ErrEpochTooOld) {
			return fmt.Errorf("a message of the first epoch: %v", err)
		}
		return nil
	}},
	{"12.4.3.2-3", func(t *testing.T) error {
		// Erin joins with the external init secret: our next epoch is hers.
		g := groupOf(t)
		p, init := g.externalInit()
		next := g.follow(forgedCommit{external: g.client("erin"), proposals: byValue(p), init: init})
		if !next.now.EpochAuthenticator().Equal(next.epoch.authenticator) {
			return errors.New("another epoch")
		}
		// And not with the epoch's own.
		g = groupOf(t)
		p, _ = g.externalInit()
		m, _ := g.commit(forgedCommit{external: g.client("erin"), proposals: byValue(p)})
		if err := g.process(m); !errors.Is(err, CheckConfirmationTag) {
			return fmt.Errorf("the epoch's own init secret was taken: %v", err)
		}
		return nil
	}},
}
