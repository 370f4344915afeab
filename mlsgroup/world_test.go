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

// world is a group of clients with a perfect delivery service between them.
type world struct {
	t       testing.TB
	cs      CipherSuite
	profile Profile
	rand    *rand.Rand
	seed    uint64
	options GroupOptions
	members []*client // current ones, in no order
	// groupInfo of the current epoch, encoded.
	groupInfo []byte
	// server is the external sender.
	server *Signer
}

// newWorld makes a group with one member, who is warm if the seed is even.
func newWorld(t testing.TB, cs CipherSuite, p Profile, seed uint64) *world {
	t.Helper()
	w := &world{t: t, cs: cs, profile: p, rand: rand.New(seeded(seed)), seed: seed << 32}
	var err error
	if w.server, err = NewSigner(seeded(seed+1<<40), cs, BasicCredential([]byte("wire-server"))); err != nil {
		t.Fatal(err)
	}
	w.options = GroupOptions{
		GroupID: []byte("group"), Profile: p, BasicKeyChange: true,
		Extensions: Extensions{ExternalSendersExtension([]ExternalSender{{SignatureKey: w.server.Public, Credential: w.server.Credential}})},
	}
	c := w.newClient()
	tr, err := NewGroup(c.in(), w.options)
	if err != nil {
		t.Fatal(err)
	}
	w.must(c.carryOut(tr))
	w.members = []*client{c}
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// newClient makes a client who is no member yet; every second one is cold.
func (w *world) newClient() *client {
	w.seed++
	c := newClient(w.t, "client", w.cs, w.seed)
	c.name = "client " + string(rune('A'+w.seed%26)) + time.Duration(w.seed&0xffffffff).String()
	c.signer.Credential = BasicCredential([]byte(c.name))
	c.cold = w.seed%2 == 1
	return c
}

func (w *world) any() *client { return w.members[w.rand.IntN(len(w.members))] }

// others returns the members but those given, in a random order.
func (w *world) others(not ...*client) []*client {
	var list []*client
	for _, i := range w.rand.Perm(len(w.members)) {
		if !slices.Contains(not, w.members[i]) {
			list = append(list, w.members[i])
		}
	}
	return list
}

// commitOf makes a commit and stores what must be before it leaves.
func (w *world) commitOf(c *client, o CommitOptions) *OwnCommit {
	w.t.Helper()
	var own *OwnCommit
	w.must(c.try(func(g *Group) error {
		var err error
		own, err = g.Commit(c.in(), o)
		return err
	}))
	if own.Before != nil {
		w.must(c.carryOut(own.Before))
	}
	return own
}

// accept delivers a commit to everybody, the committer and joiners included.
func (w *world) accept(c *client, own *OwnCommit, joiners map[*client]*KeyPackageBundle) *CommitEffect {
	w.t.Helper()
	for _, m := range w.others(c) {
		tr, err := m.process(m.in(), own.Bundle.Commit)
		if err != nil {
			w.t.Fatalf("%s processes a commit of %s: %v", m.name, c.name, err)
		}
		if tr.Received.Commit.SelfRemoved {
			w.members = slices.DeleteFunc(w.members, func(x *client) bool { return x == m })
		}
	}
	if c.cold { // as after a restart
		var err error
		own, err = ParseOwnCommit(own.Marshal())
		w.must(err)
	}
	tr, err := c.step(func(g *Group) (*Transition, error) { return g.Merge(own) })
	w.must(err)
	w.groupInfo = own.Bundle.GroupInfo
	for _, j := range sortedClients(joiners) {
		w.welcome(j, joiners[j], own.Bundle.Welcome)
	}
	w.agree()
	return tr.Received.Commit
}

func sortedClients(m map[*client]*KeyPackageBundle) []*client {
	var list []*client
	for c := range m {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *client) int { return bytes.Compare([]byte(a.name), []byte(b.name)) })
	return list
}

func (w *world) welcome(c *client, b *KeyPackageBundle, welcome []byte) {
	w.t.Helper()
	m, err := ParseMLSMessage(welcome)
	w.must(err)
	tr, err := Join(c.in(), m.Welcome, JoinOptions{KeyPackage: b, Profile: w.profile, BasicKeyChange: true})
	if err != nil {
		w.t.Fatalf("%s joins: %v", c.name, err)
	}
	w.must(c.carryOut(tr))
	w.members = append(w.members, c)
}

// agree fails unless all members are in the same state.
func (w *world) agree() {
	w.t.Helper()
	first := w.members[0].g
	for _, m := range w.members {
		if !m.g.EpochAuthenticator().Equal(first.EpochAuthenticator()) || !m.g.Lineage().Equal(first.Lineage()) {
			w.t.Fatalf("%s is in another state (epoch %d) than %s (epoch %d)", m.name, m.g.Epoch(), w.members[0].name, first.Epoch())
		}
		if m.g.MemberCount() != len(w.members) {
			w.t.Fatalf("%s counts %d members of %d", m.name, m.g.MemberCount(), len(w.members))
		}
	}
}

// commit makes a commit, which is accepted.
func (w *world) commit(c *client, o CommitOptions) *CommitEffect {
	w.t.Helper()
	return w.accept(c, w.commitOf(c, o), nil)
}

// add has a member add n clients in one commit.
func (w *world) add(c *client, n int, o CommitOptions) []*client {
	w.t.Helper()
	joiners := make(map[*client]*KeyPackageBundle)
	var list []*client
	for range n {
		j := w.newClient()
		b := j.keyPackage(w.profile)
		joiners[j] = b
		list = append(list, j)
		o.Proposals = append(o.Proposals, Proposal{Type: ProposalTypeAdd, Add: &Add{KeyPackage: b.KeyPackage}})
	}
	w.accept(c, w.commitOf(c, o), joiners)
	return list
}

// propose has a member propose and everybody receive it.
func (w *world) propose(c *client, o ProposalOptions) ProposalRef {
	w.t.Helper()
	tr, err := c.step(func(g *Group) (*Transition, error) { return g.Propose(c.in(), o) })
	w.must(err)
	w.deliver(c, tr.Outbound.Message)
	return tr.Outbound.ProposalRef
}

// deliver has everybody but c process a message.
func (w *world) deliver(c *client, message []byte) []*Received {
	w.t.Helper()
	var list []*Received
	for _, m := range w.others(c) {
		tr, err := m.process(m.in(), message)
		if err != nil {
			w.t.Fatalf("%s processes a message: %v", m.name, err)
		}
		list = append(list, tr.Received)
	}
	return list
}

// say has a member send application data and everybody read it.
func (w *world) say(c *client, text string) {
	w.t.Helper()
	for _, r := range w.deliver(c, w.encrypt(c, text)) {
		if string(r.Application) != text || r.Sender.LeafIndex != c.g.OwnLeaf() || !r.Credential.Equal(&c.signer.Credential) {
			w.t.Fatalf("received %q from %v %q", r.Application, r.Sender, r.Credential.Identity)
		}
	}
}

func (w *world) encrypt(c *client, text string) []byte {
	w.t.Helper()
	tr, err := c.step(func(g *Group) (*Transition, error) { return g.Encrypt(c.in(), []byte(text), nil) })
	w.must(err)
	return tr.Outbound.Message
}

// externalJoin has a client join by itself.
func (w *world) externalJoin(c *client, o ExternalJoinOptions) *CommitEffect {
	w.t.Helper()
	gi, err := ParseMLSMessage(w.groupInfo)
	w.must(err)
	o.Profile, o.BasicKeyChange = w.profile, true
	own, err := JoinByExternalCommit(c.in(), gi.GroupInfo, o)
	w.must(err)
	removed := own.Effect().Removed
	for _, m := range w.others(c) {
		tr, err := m.process(m.in(), own.Bundle.Commit)
		if err != nil {
			w.t.Fatalf("%s processes an external commit: %v", m.name, err)
		}
		if tr.Received.Commit.SelfRemoved {
			w.members = slices.DeleteFunc(w.members, func(x *client) bool { return x == m })
		}
	}
	c.store = newRecords()
	own, err = ParseOwnCommit(own.Marshal())
	w.must(err)
	tr, err := (*Group)(nil).Merge(own)
	w.must(err)
	w.must(c.carryOut(tr))
	if !slices.Contains(w.members, c) {
		w.members = append(w.members, c)
	}
	w.groupInfo = own.Bundle.GroupInfo
	if len(removed) > 1 {
		w.t.Fatal("an external commit removed more than one member")
	}
	w.agree()
	return tr.Received.Commit
}
