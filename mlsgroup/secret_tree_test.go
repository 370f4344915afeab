package mlsgroup

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
)

func mustSuite(t testing.TB, cs CipherSuite) *primitive.Suite {
	t.Helper()
	s, err := cs.suite()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSecretTreeVectors(t *testing.T) {
	for i, v := range vectors[struct {
		CipherSuite      CipherSuite `json:"cipher_suite"`
		EncryptionSecret hexBytes    `json:"encryption_secret"`
		SenderData       struct {
			Secret     hexBytes `json:"sender_data_secret"`
			Ciphertext hexBytes `json:"ciphertext"`
			Key        hexBytes `json:"key"`
			Nonce      hexBytes `json:"nonce"`
		} `json:"sender_data"`
		Leaves [][]struct {
			Generation       uint32   `json:"generation"`
			ApplicationKey   hexBytes `json:"application_key"`
			ApplicationNonce hexBytes `json:"application_nonce"`
			HandshakeKey     hexBytes `json:"handshake_key"`
			HandshakeNonce   hexBytes `json:"handshake_nonce"`
		} `json:"leaves"`
	}](t, "secret-tree.json") {
		t.Run(fmt.Sprintf("%d/suite=%d/leaves=%d", i, v.CipherSuite, len(v.Leaves)), func(t *testing.T) {
			s := mustSuite(t, v.CipherSuite)
			k := senderDataKey(s, secret.Bytes(v.SenderData.Secret), v.SenderData.Ciphertext)
			if !bytes.Equal(k.key, v.SenderData.Key) || !bytes.Equal(k.nonce, v.SenderData.Nonce) {
				t.Error("sender data key or nonce differs")
			}
			tree, _ := newSecretTree(secret.Bytes(v.EncryptionSecret), LeafCount(len(v.Leaves)))
			for leaf, generations := range v.Leaves {
				for _, g := range generations {
					for kind, want := range [ratchetKinds][2]hexBytes{
						applicationRatchet: {g.ApplicationKey, g.ApplicationNonce},
						handshakeRatchet:   {g.HandshakeKey, g.HandshakeNonce},
					} {
						st, err := tree.take(s, LeafIndex(leaf), ratchetKind(kind), g.Generation, ReceiveConfig{}.withDefaults())
						if err != nil {
							t.Fatal(err)
						}
						if !bytes.Equal(st.key.key, want[0]) || !bytes.Equal(st.key.nonce, want[1]) {
							t.Errorf("leaf %d %v generation %d: key or nonce differs", leaf, ratchetKind(kind), g.Generation)
						}
						tree = st.next
					}
				}
			}
		})
	}
}

// recordStore is a map of the records of one epoch, as the group layer would
// keep them.
type recordStore map[secretRecordKey]secret.Bytes

type secretRecordKey struct {
	record secretRecordKind
	leaf   LeafIndex
	kind   ratchetKind
	first  uint32
}

func (rs recordStore) apply(changed []secretChange) {
	for _, c := range changed {
		key := secretRecordKey{c.record, c.leaf, c.kind, c.first}
		if c.value == nil {
			delete(rs, key)
		} else {
			rs[key] = c.value
		}
	}
}

// load answers a missingSecret from the records, as the group layer would.
func (rs recordStore) load(t *testing.T, s *primitive.Suite, tree secretTree, m *missingSecret) secretTree {
	t.Helper()
	var err error
	if m.chunk {
		tree, err = tree.withChunk(s, m.leaf, m.kind, m.first, rs[secretRecordKey{secretRecordSkip, m.leaf, m.kind, m.first}])
	} else if b, ok := rs[secretRecordKey{secretRecordRatchet, m.leaf, m.kind, 0}]; ok {
		tree, err = tree.withRatchet(s, m.leaf, m.kind, b)
	} else {
		for first := int64(m.leaf); ; first-- {
			if first < 0 {
				t.Fatalf("no cover for leaf %d", m.leaf)
			}
			if b, ok := rs[secretRecordKey{secretRecordCover, LeafIndex(first), 0, 0}]; ok {
				tree, err = tree.withCover(s, m.leaf, LeafIndex(first), b)
				break
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// oracle is the secret tree done without any thrift: all keys of all leaves are
// derived at once, and a set says which are used.
type oracle struct {
	keys [ratchetKinds][][]messageKey // by kind, leaf, generation
	used [ratchetKinds][]map[uint32]bool
	head [ratchetKinds][]uint32
}

func newOracle(s *primitive.Suite, root secret.Bytes, leaves, generations int) *oracle {
	o := &oracle{}
	for k, label := range []string{"handshake", "application"} {
		o.keys[k] = make([][]messageKey, leaves)
		o.used[k] = make([]map[uint32]bool, leaves)
		o.head[k] = make([]uint32, leaves)
		for leaf := range leaves {
			sec := root
			for lo, hi := 0, leaves; hi-lo > 1; {
				if mid := (lo + hi) / 2; leaf < mid {
					sec, hi = mustExpand(s, sec, "tree", []byte("left"), s.HashSize()), mid
				} else {
					sec, lo = mustExpand(s, sec, "tree", []byte("right"), s.HashSize()), mid
				}
			}
			sec = mustExpand(s, sec, label, nil, s.HashSize())
			o.used[k][leaf] = map[uint32]bool{}
			for g := range uint32(generations) {
				o.keys[k][leaf] = append(o.keys[k][leaf], generationKey(s, sec, g))
				sec = mustDeriveTreeSecret(s, sec, "secret", g, s.HashSize())
			}
		}
	}
	return o
}

func (o *oracle) take(leaf LeafIndex, kind ratchetKind, g uint32, c ReceiveConfig) (messageKey, error) {
	head := &o.head[kind][leaf]
	switch {
	case int64(*head)-int64(g) > int64(c.OutOfOrder) || o.used[kind][leaf][g]:
		return messageKey{}, ErrKeyConsumed
	case int64(g)-int64(*head) > int64(c.MaxForward):
		return messageKey{}, ErrGenerationTooFar
	}
	o.used[kind][leaf][g] = true
	*head = max(*head, g+1)
	return o.keys[kind][leaf][g], nil
}

// TestSecretTreeOracle takes keys in random order from a tree and from the
// oracle. Now and then the tree is dropped from memory and comes back from its
// records, a step is thrown away and done again, or all that a step consumed is
// wiped, which must not harm what is still to come.
func TestSecretTreeOracle(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 3
	}
	for _, cs := range []CipherSuite{CipherSuiteX25519AES128Ed25519, CipherSuiteP384AES256P384} {
		for seed := range seeds {
			t.Run(fmt.Sprintf("suite=%d/seed=%d", cs, seed), func(t *testing.T) {
				testSecretTreeOracle(t, mustSuite(t, cs), seed)
			})
		}
	}
}

func testSecretTreeOracle(t *testing.T, s *primitive.Suite, seed uint64) {
	const generations = 300
	rnd := rand.New(rand.NewPCG(seed, 1))
	leaves := 1 << rnd.IntN(6)
	c := ReceiveConfig{OutOfOrder: 1 + rnd.Uint32N(60), MaxForward: 5 + rnd.Uint32N(100)}
	root := make(secret.Bytes, s.HashSize())
	for i := range root {
		root[i] = byte(rnd.Uint32())
	}
	o := newOracle(s, root, leaves, generations)
	tree, change := newSecretTree(root.Clone(), LeafCount(leaves))
	records := recordStore{}
	records.apply([]secretChange{change})

	taken, refused := 0, 0
	for range 1500 {
		leaf, kind := LeafIndex(rnd.IntN(leaves)), ratchetKind(rnd.IntN(ratchetKinds))
		head := int(o.head[kind][leaf])
		g := uint32(min(generations-1, max(0, head+[]int{0, 0, rnd.IntN(4), rnd.IntN(24), rnd.IntN(120), -1 - rnd.IntN(70), -1 - rnd.IntN(9)}[rnd.IntN(7)])))
		if rnd.IntN(10) == 0 {
			tree = coldSecretTree(LeafCount(leaves))
		}
		before := maps.Clone(records)
		want, wantErr := o.take(leaf, kind, g, c)
		var st secretStep
		var err error
		for rounds := 0; ; rounds++ {
			st, err = tree.take(s, leaf, kind, g, c)
			var m *missingSecret
			if !errors.As(err, &m) {
				break
			}
			if rounds == 2 {
				t.Fatal("the third answer is still a missing secret")
			}
			tree = records.load(t, s, tree, m)
		}
		if !errors.Is(err, wantErr) || (err == nil) != (wantErr == nil) {
			t.Fatalf("leaf %d %v generation %d, head %d, window %+v: error %v, want %v", leaf, kind, g, head, c, err, wantErr)
		}
		if err != nil {
			refused++
			continue
		}
		taken++
		if !st.key.key.Equal(want.key) || !st.key.nonce.Equal(want.nonce) || st.key.generation != g {
			t.Fatalf("leaf %d %v generation %d: wrong key", leaf, kind, g)
		}
		if rnd.IntN(4) == 0 { // the step is dropped: the receiver is as it was
			again, err := tree.take(s, leaf, kind, g, c)
			if err != nil || !again.key.key.Equal(want.key) || len(again.changed) != len(st.changed) {
				t.Fatalf("a dropped step changed the tree: %v", err)
			}
			for i := range again.changed {
				if !again.changed[i].value.Equal(st.changed[i].value) {
					t.Fatal("the same step changed other records")
				}
			}
		}
		records.apply(st.changed)
		if int(g) == head && head > 0 && len(st.changed) > 0 {
			if ch := st.changed[0]; ch.record != secretRecordRatchet || ch.leaf != leaf || ch.kind != kind {
				t.Fatalf("an in-order message changed record %+v", ch)
			}
			for _, ch := range st.changed[1:] {
				if ch.record != secretRecordSkip || ch.value != nil {
					t.Fatalf("an in-order message wrote record %+v", ch)
				}
			}
		}
		for key, b := range records {
			if was, ok := before[key]; ok && !was.Equal(b) && !slices.ContainsFunc(st.changed, func(ch secretChange) bool {
				return secretRecordKey{ch.record, ch.leaf, ch.kind, ch.first} == key
			}) {
				t.Fatalf("record %v changed unreported", key)
			}
		}
		for _, b := range st.consumed {
			b.Wipe()
		}
		tree = st.next
		checkForgotten(t, o, records, leaf, kind, c)
	}
	if taken < 50 || refused < 50 {
		t.Fatalf("%d taken, %d refused: the test does not test", taken, refused)
	}
}

// checkForgotten verifies that no record of a ratchet holds the key of a used
// generation, or one that left the window by more than a chunk's span.
func checkForgotten(t *testing.T, o *oracle, records recordStore, leaf LeafIndex, kind ratchetKind, c ReceiveConfig) {
	t.Helper()
	for key, b := range records {
		if key.record == secretRecordCover || key.leaf != leaf || key.kind != kind {
			continue
		}
		ks := o.keys[key.kind][key.leaf]
		head := o.head[key.kind][key.leaf]
		low := uint32(0)
		if head > 150 {
			low = head - 150
		}
		for g := low; g < head; g++ {
			stale := int64(head)-int64(g) > int64(c.OutOfOrder)+skipChunkSpan-1
			if (o.used[key.kind][key.leaf][g] || stale) && bytes.Contains(b, ks[g].key) {
				t.Fatalf("record %v still holds the key of generation %d (head %d, %+v)", key, g, head, c)
			}
		}
	}
}

func TestSecretTreeWindow(t *testing.T) {
	s := mustSuite(t, CipherSuiteX25519AES128Ed25519)
	c := ReceiveConfig{}.withDefaults()
	start, _ := newSecretTree(make(secret.Bytes, s.HashSize()), 4)
	take := func(t *testing.T, tree secretTree, g uint32, want error) secretTree {
		t.Helper()
		st, err := tree.take(s, 2, applicationRatchet, g, c)
		if !errors.Is(err, want) {
			t.Fatalf("generation %d: error %v, want %v", g, err, want)
		}
		if err != nil {
			return tree
		}
		return st.next
	}
	t.Run("forward limit", func(t *testing.T) {
		take(t, start, 1001, ErrGenerationTooFar)
		take(t, start, 1<<32-1, ErrGenerationTooFar)
		tree := take(t, start, 1000, nil)
		take(t, tree, 1001+1000, nil)
		take(t, tree, 1001+1001, ErrGenerationTooFar)
	})
	t.Run("window", func(t *testing.T) {
		tree := take(t, start, 99, nil) // 100 is next
		take(t, tree, 67, ErrKeyConsumed)
		tree = take(t, tree, 68, nil)
		take(t, tree, 68, ErrKeyConsumed)
		take(t, tree, 99, ErrKeyConsumed)
	})
	t.Run("outside the tree", func(t *testing.T) {
		if _, err := start.take(s, 4, applicationRatchet, 0, c); !errors.Is(err, CheckSenderLeaf) {
			t.Fatalf("leaf 4 of 4: %v", err)
		}
	})
}

// TestSecretTreeRecordSizes holds the promises about what a message writes.
func TestSecretTreeRecordSizes(t *testing.T) {
	const leaves = 1024
	for cs := CipherSuiteX25519AES128Ed25519; cs <= CipherSuiteP384AES256P384; cs++ {
		s := mustSuite(t, cs)
		c := ReceiveConfig{}.withDefaults()
		tree, _ := newSecretTree(make(secret.Bytes, s.HashSize()), leaves)
		size := func(st secretStep) (n int) {
			for _, ch := range st.changed {
				n += len(ch.value)
			}
			return n
		}
		for g := range uint32(4) {
			st, err := tree.take(s, 700, applicationRatchet, g, c)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case g == 0:
				if len(st.changed) != 12 || size(st) > 10*(2+s.HashSize())+2*(8+s.HashSize()) {
					t.Errorf("suite %d: first message changes %d records of %d bytes", cs, len(st.changed), size(st))
				}
			case len(st.changed) != 1 || size(st) != 8+s.HashSize():
				t.Errorf("suite %d: message in order changes %d records of %d bytes", cs, len(st.changed), size(st))
			}
			tree = st.next
		}
		// A gap of a whole window, after which messages in order write little.
		st, err := tree.take(s, 700, applicationRatchet, 4+31, c)
		if err != nil {
			t.Fatal(err)
		}
		for g := uint32(4 + 32); g < 100; g++ {
			if st, err = st.next.take(s, 700, applicationRatchet, g, c); err != nil {
				t.Fatal(err)
			}
			if size(st) > 150 {
				t.Errorf("suite %d: generation %d after a gap writes %d bytes", cs, g, size(st))
			}
		}
		r := st.next.ratchets[applicationRatchet].get(700)
		if len(r.chunks) != 0 || len(r.skipped) != 0 {
			t.Errorf("suite %d: skipped keys are left beyond the window", cs)
		}
	}
}

func TestSecretTreeSend(t *testing.T) {
	s := mustSuite(t, CipherSuiteX25519AES128Ed25519)
	root := make(secret.Bytes, s.HashSize())
	o := newOracle(s, root.Clone(), 8, 64)
	tree, _ := newSecretTree(root, 8)
	send := func(want uint32) {
		t.Helper()
		st, err := tree.send(s, 5, handshakeRatchet)
		if err != nil {
			t.Fatal(err)
		}
		if k := o.keys[handshakeRatchet][5][want]; st.key.generation != want || !st.key.key.Equal(k.key) || !st.key.nonce.Equal(k.nonce) {
			t.Fatalf("sent with generation %d, want %d, or with another key", st.key.generation, want)
		}
		tree = st.next
	}
	skip := func(to uint32) {
		t.Helper()
		st, err := tree.skip(s, 5, handshakeRatchet, to)
		if err != nil {
			t.Fatal(err)
		}
		tree = st.next
	}
	if g, err := tree.generation(5, handshakeRatchet); g != 0 || err != nil {
		t.Fatalf("unused ratchet at %d, %v", g, err)
	}
	skip(3)
	send(3)
	send(4)
	skip(5)
	skip(2)
	send(5)
	skip(40)
	send(40)
	if g, err := tree.generation(5, handshakeRatchet); g != 41 || err != nil {
		t.Fatalf("ratchet at %d, %v", g, err)
	}
	if _, err := tree.skip(s, 5, handshakeRatchet, 1<<20); err == nil {
		t.Fatal("a million generations burned")
	}
	var m *missingSecret
	if _, err := coldSecretTree(8).send(s, 5, handshakeRatchet); !errors.As(err, &m) || m.leaf != 5 || m.kind != handshakeRatchet || m.chunk {
		t.Fatalf("cold tree answers %v", err)
	}
}

// TestSecretTreeDamagedRecords loads records that do not belong together.
func TestSecretTreeDamagedRecords(t *testing.T) {
	s := mustSuite(t, CipherSuiteX25519AES128Ed25519)
	c := ReceiveConfig{}.withDefaults()
	tree, _ := newSecretTree(make(secret.Bytes, s.HashSize()), 8)
	st, err := tree.take(s, 5, applicationRatchet, 20, c)
	if err != nil {
		t.Fatal(err)
	}
	records := recordStore{}
	records.apply(st.changed)
	find := func(record secretRecordKind, leaf LeafIndex, kind ratchetKind, first uint32) []byte {
		b, ok := records[secretRecordKey{record, leaf, kind, first}]
		if !ok {
			t.Fatalf("no record %d of leaf %d", record, leaf)
		}
		return b
	}
	cold := coldSecretTree(8)
	if _, err := cold.withCover(s, 5, 0, find(secretRecordCover, 0, 0, 0)); !errors.Is(err, ErrRecord) {
		t.Errorf("cover of leaves 0 to 3 for leaf 5: %v", err)
	}
	if _, err := cold.withCover(s, 3, 2, find(secretRecordCover, 0, 0, 0)); !errors.Is(err, ErrRecord) {
		t.Errorf("cover of four leaves at leaf 2: %v", err)
	}
	if _, err := coldSecretTree(2).withCover(s, 0, 0, find(secretRecordCover, 0, 0, 0)); !errors.Is(err, ErrRecord) {
		t.Errorf("cover larger than the tree: %v", err)
	}
	if _, err := cold.withChunk(s, 5, applicationRatchet, 0, find(secretRecordSkip, 5, applicationRatchet, 0)); !errors.Is(err, ErrRecord) {
		t.Errorf("chunk without its ratchet: %v", err)
	}
	warm, err := cold.withRatchet(s, 5, applicationRatchet, find(secretRecordRatchet, 5, applicationRatchet, 0))
	if err != nil {
		t.Fatal(err)
	}
	var m *missingSecret
	if _, err := warm.take(s, 5, applicationRatchet, 17, c); !errors.As(err, &m) || !m.chunk || m.first != 16 {
		t.Fatalf("skipped key whose chunk is not loaded: %v", err)
	}
	if _, err := warm.withChunk(s, 5, applicationRatchet, 16, find(secretRecordSkip, 5, applicationRatchet, 0)); !errors.Is(err, ErrRecord) {
		t.Errorf("another chunk's record: %v", err)
	}
	if _, err := warm.withChunk(s, 5, applicationRatchet, 5, nil); !errors.Is(err, ErrRecord) {
		t.Errorf("chunk that the ratchet does not have: %v", err)
	}
	if _, err := warm.withRatchet(s, 8, applicationRatchet, find(secretRecordRatchet, 5, applicationRatchet, 0)); !errors.Is(err, ErrRecord) {
		t.Errorf("ratchet outside the tree: %v", err)
	}
	for _, b := range st.next.material(nil) {
		b.Wipe()
	}
	if n := len(st.next.material(nil)); n != 3+2+2*20 {
		t.Errorf("%d secrets in memory, want three covers, two ratchets and twenty keys", n)
	}
}

// FuzzRatchetRecord feeds the parsers of the secret tree's records: what they
// accept writes the same bytes again and can be used.
func FuzzRatchetRecord(f *testing.F) {
	s := mustSuite(f, CipherSuiteX25519AES128Ed25519)
	c := ReceiveConfig{}.withDefaults()
	tree, root := newSecretTree(make(secret.Bytes, s.HashSize()), 4)
	f.Add([]byte(root.value))
	for _, g := range []uint32{0, 3, 30, 36} {
		st, err := tree.take(s, 1, applicationRatchet, g, c)
		if err != nil {
			f.Fatal(err)
		}
		for _, ch := range st.changed {
			f.Add([]byte(ch.value))
		}
		tree = st.next
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if x, err := parseCover(s, b); err == nil && !bytes.Equal(x.record(), b) {
			t.Fatal("cover does not write what it read")
		}
		if len(b) > 2 && b[1]|b[2] != 0 {
			chunk := skipChunk{first: 9, mask: uint16(b[1])<<8 | uint16(b[2])}
			if x, err := chunk.withRecord(s, b); err == nil && !bytes.Equal(x.record(), b) {
				t.Fatal("chunk does not write what it read")
			}
		}
		r, err := parseRatchet(s, b)
		if err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Fatalf("unexpected kind of error: %v", err)
			}
			return
		}
		if !bytes.Equal(r.record(), b) {
			t.Fatal("ratchet does not write what it read")
		}
		for _, g := range []uint32{r.generation, r.generation - 1, r.generation + 20, 0} {
			st, err := r.take(s, g, c)
			if err != nil {
				continue
			}
			again, err := parseRatchet(s, st.next.record())
			if err != nil || !bytes.Equal(again.record(), st.next.record()) {
				t.Fatalf("after generation %d the ratchet cannot be read: %v", g, err)
			}
		}
	})
}
