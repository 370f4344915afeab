package mlsgroup

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/internal/secret"
)

// records is a store of one group's records in memory.
type records struct{ m map[string][]byte }

func newRecords() *records { return &records{map[string][]byte{}} }

func (r *records) apply(changes []Change) {
	for _, c := range changes {
		switch c.Op {
		case Put:
			r.m[string(c.Key)] = bytes.Clone(c.Value)
		case Delete:
			delete(r.m, string(c.Key))
		case DeleteRange:
			for k := range r.m {
				if k >= string(c.Key) && k < string(c.High) {
					delete(r.m, k)
				}
			}
		default:
			panic("no such operation")
		}
	}
}

func (r *records) clone() *records {
	c := newRecords()
	for k, v := range r.m {
		c.m[k] = bytes.Clone(v)
	}
	return c
}

func (r *records) equal(other *records) bool {
	if len(r.m) != len(other.m) {
		return false
	}
	for k, v := range r.m {
		if w, ok := other.m[k]; !ok || !bytes.Equal(v, w) {
			return false
		}
	}
	return true
}

// read answers one range.
func (r *records) read(rng RecordRange) []Record {
	var keys []string
	for k := range r.m {
		if k >= string(rng.Low) && k < string(rng.High) {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	if rng.Reverse {
		slices.Reverse(keys)
	}
	if rng.Limit > 0 && len(keys) > rng.Limit {
		keys = keys[:rng.Limit]
	}
	var out []Record
	for _, k := range keys {
		out = append(out, Record{Key: []byte(k), Value: bytes.Clone(r.m[k])})
	}
	return out
}

// load answers a Need.
func (r *records) load(need *Need) []Loaded {
	var loaded []Loaded
	for _, p := range need.Parts {
		l := Loaded{Part: p}
		for _, rng := range p.Ranges() {
			l.Records = append(l.Records, r.read(rng)...)
		}
		loaded = append(loaded, l)
	}
	return loaded
}

// holder is one member's group with its records. A cold holder forgets
// everything but its records after every step.
type holder struct {
	g     *Group
	store *records
	cold  bool
	needs []Part // asked for by the last step
}

// try takes one step, loading what it lacks, without carrying it out.
func (h *holder) try(step func(g *Group) error) error {
	g := h.g
	h.needs = nil
	for range 8 {
		err := step(g)
		need, ok := errors.AsType[*Need](err)
		if !ok {
			return err
		}
		h.needs = append(h.needs, need.Parts...)
		if g, err = g.WithParts(h.store.load(need)...); err != nil {
			return err
		}
	}
	return errors.New("a step still lacks parts after loading eight times")
}

// step takes one step and carries it out.
func (h *holder) step(f func(g *Group) (*Transition, error)) (*Transition, error) {
	var tr *Transition
	err := h.try(func(g *Group) error {
		var err error
		tr, err = f(g)
		return err
	})
	if err != nil {
		return nil, err
	}
	return tr, h.carryOut(tr)
}

// carryOut applies a transition: persist, swap, wipe.
func (h *holder) carryOut(tr *Transition) error {
	h.store.apply(tr.Changes)
	h.g = tr.Next
	if h.cold {
		var err error
		if h.g, err = LoadGroup(h.store.m[string(HeadKey())]); err != nil {
			return err
		}
	}
	for _, b := range tr.Consumed {
		b.Wipe()
	}
	return nil
}

// process takes one message.
func (h *holder) process(in Input, message []byte) (*Transition, error) {
	return h.step(func(g *Group) (*Transition, error) { return g.Process(in, message) })
}

// seeded is a reader of reproducible bytes.
func seeded(seed uint64) *rand.ChaCha8 {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return rand.NewChaCha8(key)
}

var testTime = time.Unix(1_760_000_000, 0)

// client is a client of the test world: one signature key, any number of
// groups.
type client struct {
	*holder
	t      testing.TB
	name   string
	signer *Signer
	rand   *rand.ChaCha8
	psks   map[string]secret.Bytes
}

func newClient(t testing.TB, name string, cs CipherSuite, seed uint64) *client {
	t.Helper()
	r := seeded(seed)
	signer, err := NewSigner(r, cs, BasicCredential([]byte(name)))
	if err != nil {
		t.Fatal(err)
	}
	return &client{holder: &holder{store: newRecords()}, t: t, name: name, signer: signer, rand: r, psks: map[string]secret.Bytes{}}
}

func (c *client) in() Input {
	return Input{
		Rand: c.rand, Now: testTime, Signer: c.signer,
		PSK: func(id PreSharedKeyID) (secret.Bytes, bool) {
			k, ok := c.psks[string(id.ExternalID)]
			return k, ok && id.Type == PSKTypeExternal
		},
	}
}

func (c *client) keyPackage(p Profile) *KeyPackageBundle {
	c.t.Helper()
	b, err := NewKeyPackage(c.in(), KeyPackageOptions{Profile: p})
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}
