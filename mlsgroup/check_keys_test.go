package mlsgroup

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/conclave-mls/conclave/internal/secret"
)

// records are the values that a store holds after the changes.
func (rs recordStore) values() [][]byte {
	var all [][]byte
	for _, v := range rs {
		all = append(all, v)
	}
	return all
}

var keysRefused = []checkCase{
	{"15.2-1", func(t *testing.T) error {
		f := newForger(t)
		tree := secretTree{leaves: 1}
		last := ratchet{generation: math.MaxUint32 - 1, secret: f.bytes(f.s.HashSize())}
		tree.ratchets[applicationRatchet] = tree.ratchets[applicationRatchet].set(0, &last)
		st, err := tree.send(f.s, 0, applicationRatchet)
		f.must(err)
		_, err = st.next.send(f.s, 0, applicationRatchet)
		return err
	}},
}

var keysConstructed = []checkCase{
	{"9.1-1", func(t *testing.T) error {
		f := newForger(t)
		tree, _ := newSecretTree(f.bytes(f.s.HashSize()), 4)
		seen := map[string]bool{}
		for range 3 {
			for _, kind := range []ratchetKind{handshakeRatchet, applicationRatchet} {
				st, err := tree.send(f.s, 1, kind)
				f.must(err)
				if seen[string(st.key.key)] || seen[string(st.key.nonce)] {
					return errors.New("a key twice")
				}
				seen[string(st.key.key)], seen[string(st.key.nonce)] = true, true
				tree = st.next
				// Nor does the state after the step open what was sealed with it.
				if _, err := tree.take(f.s, 1, kind, st.key.generation, ReceiveConfig{}.withDefaults()); !errors.Is(err, ErrKeyConsumed) {
					return fmt.Errorf("the key of a sent message is still there: %v", err)
				}
			}
		}
		return nil
	}},
	{"9.2-1", func(t *testing.T) error {
		// Messages of two leaves, in and out of order. What a step consumes is
		// in no record after it.
		f := newForger(t)
		tree, root := newSecretTree(f.bytes(f.s.HashSize()), 8)
		store := recordStore{}
		store.apply([]secretChange{root})
		consumed := 0
		for _, m := range []struct {
			leaf       LeafIndex
			generation uint32
		}{{1, 0}, {1, 3}, {1, 1}, {6, 20}, {6, 2}, {1, 60}, {6, 21}} {
			st, err := tree.take(f.s, m.leaf, applicationRatchet, m.generation, ReceiveConfig{}.withDefaults())
			f.must(err)
			tree = st.next
			store.apply(st.changed)
			for _, c := range st.consumed {
				if contains(store.values(), c) {
					return fmt.Errorf("a consumed value is stored after generation %d of leaf %d", m.generation, m.leaf)
				}
				consumed++
			}
			if !contains([][]byte{bytes.Join(secretsOf(st.consumed), nil)}, st.key.key) {
				return errors.New("the message's key is not among what it consumed")
			}
		}
		if consumed < 14 {
			return fmt.Errorf("only %d values consumed", consumed)
		}
		return nil
	}},
	{"9.2-2", func(t *testing.T) error {
		f := newForger(t)
		context := []byte("context")
		initSecret, commitSecret := secret.Bytes(f.bytes(32)), secret.Bytes(f.bytes(32))
		es, joinerSecret := newEpochSecrets(f.s, initSecret, commitSecret, nil, context)
		member := newMemberSecret(f.s, joinerSecret, nil)
		epoch := mustExpand(f.s, member, "epoch", context, f.s.HashSize())
		for _, kept := range es.fields() {
			for what, consumed := range map[string]secret.Bytes{
				"init": initSecret, "commit": commitSecret, "joiner": joinerSecret, "member": member, "epoch": epoch,
			} {
				if kept.Equal(consumed) {
					return fmt.Errorf("the %s secret is kept", what)
				}
			}
		}
		// Alice's first message takes the nodes above her, by hand, and her
		// ratchets' first secrets.
		encryption := es.encryption.Clone()
		tree, root := newSecretTree(es.encryption, 4)
		store := recordStore{}
		store.apply([]secretChange{root})
		st, err := tree.take(f.s, 0, applicationRatchet, 0, ReceiveConfig{}.withDefaults())
		f.must(err)
		store.apply(st.changed)
		left := mustExpand(f.s, encryption, "tree", []byte("left"), 32)
		leaf := mustExpand(f.s, left, "tree", []byte("left"), 32)
		first := mustExpand(f.s, leaf, "application", nil, 32)
		for what, consumed := range map[string]secret.Bytes{
			"root": encryption, "left": left, "leaf": leaf, "ratchet": first,
			"key":   mustDeriveTreeSecret(f.s, first, "key", 0, f.s.KeySize()),
			"nonce": mustDeriveTreeSecret(f.s, first, "nonce", 0, f.s.NonceSize()),
		} {
			if contains(store.values(), consumed) {
				return fmt.Errorf("the %s secret is kept", what)
			}
		}
		if !contains(store.values(), mustExpand(f.s, encryption, "tree", []byte("right"), 32)) {
			return errors.New("the other half of the tree is gone")
		}
		return consumedByCommit(t)
	}},
}

// consumedByCommit looks for what a commit consumes in all the records after it.
func consumedByCommit(t *testing.T) error {
	g := groupOf(t)
	tr, err := Join(g.input(), g.welcome(forgedWelcome{}), g.joinOptions())
	if err != nil {
		return err
	}
	h := &holder{store: newRecords(), g: tr.Next}
	h.store.apply(tr.Changes)
	if !contains(h.store.values(), g.epoch.init) || contains(h.store.values(), g.joiner) {
		return errors.New("the init secret is not kept, or the joiner secret is")
	}
	last := g
	m, next := g.commit(forgedCommit{})
	if _, err := h.process(g.ourInput(), m); err != nil {
		return err
	}
	for what, consumed := range map[string]secret.Bytes{
		"init": last.epoch.init, "confirmation": last.epoch.confirmation, "membership": last.epoch.membership,
		"external": last.epoch.external, "exporter": last.epoch.exporter, "joiner": next.joiner, "path": next.path[1].secret,
	} {
		if contains(h.store.values(), consumed) {
			return fmt.Errorf("the %s secret is kept", what)
		}
	}
	if !contains(h.store.values(), next.epoch.init) {
		return errors.New("the next init secret is not kept")
	}
	return nil
}

func secretsOf(s []secret.Bytes) [][]byte {
	var all [][]byte
	for _, b := range s {
		all = append(all, b)
	}
	return all
}
