package mlsgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
)

// seededReader gives the same bytes for the same seed.
type seededReader struct{ r *rand.Rand }

func (s seededReader) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(s.r.Uint32())
	}
	return len(b), nil
}

// marshalTestContext is a GroupContext without extensions.
func marshalTestContext(cs CipherSuite, groupID []byte, epoch uint64, treeHash, transcript []byte) []byte {
	b := appendUint16(nil, uint16(ProtocolVersionMLS10))
	b = appendUint16(b, uint16(cs))
	b = appendUint64(appendOpaque(b, groupID), epoch)
	return append(appendOpaque(appendOpaque(b, treeHash), transcript), 0)
}

type treeKEMVector struct {
	CipherSuite             CipherSuite `json:"cipher_suite"`
	ConfirmedTranscriptHash hexBytes    `json:"confirmed_transcript_hash"`
	Epoch                   uint64      `json:"epoch"`
	GroupID                 hexBytes    `json:"group_id"`
	LeavesPrivate           []struct {
		EncryptionPriv hexBytes  `json:"encryption_priv"`
		Index          LeafIndex `json:"index"`
		PathSecrets    []struct {
			Node       NodeIndex `json:"node"`
			PathSecret hexBytes  `json:"path_secret"`
		} `json:"path_secrets"`
		SignaturePriv hexBytes `json:"signature_priv"`
	} `json:"leaves_private"`
	RatchetTree hexBytes `json:"ratchet_tree"`
	UpdatePaths []struct {
		CommitSecret  hexBytes   `json:"commit_secret"`
		PathSecrets   []hexBytes `json:"path_secrets"`
		Sender        LeafIndex  `json:"sender"`
		TreeHashAfter hexBytes   `json:"tree_hash_after"`
		UpdatePath    hexBytes   `json:"update_path"`
	} `json:"update_paths"`
}

func TestTreeKEMVectors(t *testing.T) {
	seen := map[CipherSuite]bool{}
	for n, v := range vectors[treeKEMVector](t, "treekem.json") {
		seen[v.CipherSuite] = true
		t.Run(fmt.Sprintf("%d", n), func(t *testing.T) { testTreeKEMVector(t, &v) })
	}
	for cs := CipherSuite(1); cs <= 7; cs++ {
		if !seen[cs] {
			t.Errorf("no vector of %v", cs)
		}
	}
}

func testTreeKEMVector(t *testing.T, v *treeKEMVector) {
	s := testSuite(t, v.CipherSuite)
	tree := parseTestTree(t, v.RatchetTree).withHashes(s, nil)
	context := func(treeHash []byte) ([]byte, error) {
		return marshalTestContext(v.CipherSuite, v.GroupID, v.Epoch, treeHash, v.ConfirmedTranscriptHash), nil
	}
	all := map[LeafIndex]pathKeys{}
	for _, p := range v.LeavesPrivate {
		keys := pathKeys{}.with(p.Index.Node(), secret.Bytes(p.EncryptionPriv))
		if pub, err := s.PublicKey(secret.Bytes(p.EncryptionPriv)); err != nil || !bytes.Equal(pub, tree.Leaf(p.Index).EncryptionKey) {
			t.Fatalf("leaf %d: key differs, %v", p.Index, err)
		}
		for _, ps := range p.PathSecrets {
			k := deriveNodeKey(s, secret.Bytes(ps.PathSecret))
			if k.err != nil || !bytes.Equal(k.public, tree.node(ps.Node).encryptionKey()) {
				t.Fatalf("leaf %d, node %d: key differs, %v", p.Index, ps.Node, k.err)
			}
			keys = keys.with(ps.Node, k.private)
		}
		all[p.Index] = keys
	}
	for at, u := range v.UpdatePaths {
		path := new(UpdatePath)
		if err := parse(u.UpdatePath, path.read); err != nil {
			t.Fatal(err)
		}
		after, err := tree.edit(s).mergePath(u.Sender, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := after.rootHash(); !bytes.Equal(got, u.TreeHashAfter) {
			t.Fatalf("sender %d: tree hash: got %x, want %x", u.Sender, got, u.TreeHashAfter)
		}
		if err := after.verify(s); err != nil {
			t.Errorf("sender %d: %v", u.Sender, err)
		}
		groupContext, _ := context(after.rootHash())
		for _, p := range v.LeavesPrivate {
			if p.Index == u.Sender {
				continue
			}
			commit, keys, err := after.decryptPath(s, p.Index, all[p.Index], u.Sender, path, nil, groupContext)
			if err != nil {
				t.Fatalf("sender %d, leaf %d: %v", u.Sender, p.Index, err)
			}
			if !bytes.Equal(commit, u.CommitSecret) {
				t.Errorf("sender %d, leaf %d: commit secret differs", u.Sender, p.Index)
			}
			x := commonAncestor(p.Index, u.Sender)
			if k := deriveNodeKey(s, secret.Bytes(u.PathSecrets[p.Index])); k.err != nil || !k.private.Equal(keys.get(x)) {
				t.Errorf("sender %d, leaf %d: key of node %d differs, %v", u.Sender, p.Index, x, k.err)
			}
			checkKeys(t, s, after, p.Index, keys)
		}
		// The same sender's own path, read by all others. Of the suites whose
		// arithmetic is slow, one sender is enough.
		for _, p := range v.LeavesPrivate {
			if p.Index == u.Sender && (v.CipherSuite <= CipherSuiteX25519ChaChaEd25519 || at == 0) {
				testOwnPath(t, s, tree, all, u.Sender, secret.Bytes(p.SignaturePriv), v.GroupID, context)
			}
		}
	}
}

func testOwnPath(t *testing.T, s *primitive.Suite, tree *RatchetTree, all map[LeafIndex]pathKeys, sender LeafIndex,
	signer secret.Bytes, groupID []byte, context func([]byte) ([]byte, error)) {
	t.Helper()
	before := tree.Marshal()
	c, err := tree.edit(s).createPath(pathOptions{
		Sender: sender, Context: context, Rand: seededReader{rand.New(rand.NewPCG(7, uint64(sender)))},
		Leaf: func(encryptionKey, parentHash []byte) (*LeafNode, error) {
			leaf := *tree.Leaf(sender)
			leaf.EncryptionKey, leaf.ParentHash, leaf.Source = encryptionKey, parentHash, LeafNodeSourceCommit
			var err error
			leaf.Signature, err = signWithLabel(s, signer, labelLeafNodeTBS, leaf.appendTBS(nil, groupID, sender))
			return &leaf, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Tree.verify(s); err != nil {
		t.Errorf("own path of %d: %v", sender, err)
	}
	checkKeys(t, s, c.Tree, sender, c.Keys)
	path := new(UpdatePath)
	if err := parse(c.Path.append(nil), path.read); err != nil {
		t.Fatal(err)
	}
	after, err := tree.edit(s).mergePath(sender, path, inSequence)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(after.Marshal(), c.Tree.Marshal()) || !bytes.Equal(after.rootHash(), c.Tree.rootHash()) {
		t.Errorf("own path of %d: trees differ", sender)
	}
	groupContext, _ := context(after.rootHash())
	for i, keys := range all {
		if i == sender {
			continue
		}
		commit, keys, err := after.decryptPath(s, i, keys, sender, path, nil, groupContext)
		if err != nil || !commit.Equal(c.CommitSecret) {
			t.Fatalf("own path of %d, leaf %d: %v", sender, i, err)
		}
		checkKeys(t, s, after, i, keys)
		joined, err := after.joinPath(s, i, keys.get(i.Node()), sender, c.secretFor(i).Clone())
		if err != nil {
			t.Fatalf("own path of %d, leaf %d joins: %v", sender, i, err)
		}
		for _, k := range joined.keys {
			if !k.private.Equal(keys.get(k.node)) {
				t.Errorf("own path of %d, leaf %d joins: key of node %d differs", sender, i, k.node)
			}
		}
	}
	if !bytes.Equal(tree.Marshal(), before) {
		t.Error("the tree that paths were applied to has changed")
	}
}

// checkKeys checks that a member holds exactly the private keys of the nodes it
// is merged at.
func checkKeys(t testing.TB, s *primitive.Suite, tree *RatchetTree, own LeafIndex, keys pathKeys) {
	t.Helper()
	var want []NodeIndex
	for x := own.Node(); ; x = x.parent() {
		n := tree.node(x)
		if !n.blank() && (n.parent == nil || !containsLeaf(n.parent.UnmergedLeaves, own)) {
			want = append(want, x)
		}
		if x == tree.LeafCount().root() {
			break
		}
	}
	slices.Sort(want)
	var got []NodeIndex
	for _, k := range keys.keys {
		got = append(got, k.node)
		pub, err := s.PublicKey(k.private)
		if err != nil || !bytes.Equal(pub, tree.node(k.node).encryptionKey()) {
			t.Errorf("leaf %d: private key of node %d differs, %v", own, k.node, err)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("leaf %d: keys of nodes %v, want %v", own, got, want)
	}
}

func TestPathKeys(t *testing.T) {
	var k pathKeys
	k = k.with(4, secret.Bytes{4}).with(1, secret.Bytes{1}).with(9, secret.Bytes{9})
	l := k.with(1, secret.Bytes{2}).with(3, secret.Bytes{3})
	if !k.get(1).Equal(secret.Bytes{1}) || k.get(3) != nil || !l.get(1).Equal(secret.Bytes{2}) {
		t.Error("with changed its receiver or lost a key")
	}
	l.keys = slices.Delete(l.keys, 3, 4) // node 9
	put, gone, outdated := l.changed(k)
	if len(put) != 2 || put[0].node != 1 || put[1].node != 3 || !slices.Equal(gone, []NodeIndex{9}) || len(outdated) != 2 {
		t.Errorf("put %v, gone %v, %d outdated", put, gone, len(outdated))
	}
}

func TestMergePathRefuses(t *testing.T) {
	v := vectors[treeKEMVector](t, "treekem.json")[3]
	s := testSuite(t, v.CipherSuite)
	tree := parseTestTree(t, v.RatchetTree).withHashes(s, nil)
	u := v.UpdatePaths[0]
	for _, c := range []struct {
		name   string
		sender LeafIndex
		change func(p *UpdatePath)
		want   error
	}{
		{"as it is", u.Sender, func(*UpdatePath) {}, nil},
		{"parent hash", u.Sender, func(p *UpdatePath) { p.LeafNode.ParentHash[0] ^= 1 }, CheckPathParentHash},
		{"parent hash of another key", u.Sender, func(p *UpdatePath) { p.Nodes[0].EncryptionKey[0] ^= 1 }, CheckPathParentHash},
		{"short", u.Sender, func(p *UpdatePath) { p.Nodes = p.Nodes[1:] }, CheckPathLength},
		{"long", u.Sender, func(p *UpdatePath) { p.Nodes = append(p.Nodes, p.Nodes[0]) }, CheckPathLength},
		{"source", u.Sender, func(p *UpdatePath) { p.LeafNode.Source = LeafNodeSourceUpdate }, CheckLeafSourceCommit},
		{"old leaf key", u.Sender, func(p *UpdatePath) {
			p.LeafNode.EncryptionKey = tree.Leaf(u.Sender).EncryptionKey
		}, CheckPathLeafKey},
		{"key of another leaf", u.Sender, func(p *UpdatePath) {
			p.Nodes[0].EncryptionKey = tree.Leaf(u.Sender ^ 1).EncryptionKey
		}, CheckPathKeysUnique},
		{"same key twice", u.Sender, func(p *UpdatePath) {
			p.Nodes[0].EncryptionKey = p.LeafNode.EncryptionKey
		}, CheckPathKeysUnique},
		{"no key", u.Sender, func(p *UpdatePath) { p.Nodes[0].EncryptionKey = nil }, CheckEncryptionKey},
		{"sender", LeafIndex(tree.LeafCount()), func(*UpdatePath) {}, CheckSenderLeaf},
	} {
		path := new(UpdatePath)
		if err := parse(bytes.Clone(u.UpdatePath), path.read); err != nil {
			t.Fatal(err)
		}
		c.change(path)
		_, err := tree.edit(s).mergePath(c.sender, path, nil)
		if c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

// TestDecryptPathRefuses damages the ciphertexts, whose key the parent hash
// does not cover.
func TestDecryptPathRefuses(t *testing.T) {
	v := vectors[treeKEMVector](t, "treekem.json")[1]
	s := testSuite(t, v.CipherSuite)
	tree := parseTestTree(t, v.RatchetTree).withHashes(s, nil)
	u := v.UpdatePaths[0]
	path := new(UpdatePath)
	if err := parse(u.UpdatePath, path.read); err != nil {
		t.Fatal(err)
	}
	after, err := tree.edit(s).mergePath(u.Sender, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	context := marshalTestContext(v.CipherSuite, v.GroupID, v.Epoch, after.rootHash(), v.ConfirmedTranscriptHash)
	for _, p := range v.LeavesPrivate {
		if p.Index == u.Sender {
			continue
		}
		keys := pathKeys{}.with(p.Index.Node(), secret.Bytes(p.EncryptionPriv))
		for _, ps := range p.PathSecrets {
			keys = keys.with(ps.Node, deriveNodeKey(s, secret.Bytes(ps.PathSecret)).private)
		}
		if _, _, err := after.decryptPath(s, p.Index, keys, u.Sender, path, nil, context); err != nil {
			t.Fatal(err)
		}
		if _, _, err := after.decryptPath(s, p.Index, keys, u.Sender, path, nil, append(context, 0)); !errors.Is(err, CheckPathCiphertexts) {
			t.Errorf("another context: %v", err)
		}
		if _, _, err := after.decryptPath(s, p.Index, pathKeys{}, u.Sender, path, nil, context); !errors.Is(err, CheckPathCiphertexts) {
			t.Errorf("no keys: %v", err)
		}
		for i := range path.Nodes {
			more := *path
			more.Nodes = slices.Clone(path.Nodes)
			more.Nodes[i].changeCiphertexts(func(list []HPKECiphertext) []HPKECiphertext { return append(list, HPKECiphertext{}) })
			if _, _, err := after.decryptPath(s, p.Index, keys, u.Sender, &more, nil, context); !errors.Is(err, CheckPathCiphertexts) {
				t.Errorf("a ciphertext too many at %d: %v", i, err)
			}
		}
		if _, err := after.joinPath(s, p.Index, secret.Bytes(p.EncryptionPriv), u.Sender, make(secret.Bytes, s.HashSize())); !errors.Is(err, CheckPathSecretKey) {
			t.Errorf("joined with another path secret: %v", err)
		}
	}
}

// TestCreatePathFails breaks each thing that createPath is given.
func TestCreatePathFails(t *testing.T) {
	g := unmergedGroup(t)
	broken := errors.New("broken")
	for _, c := range []struct {
		name   string
		change func(o *pathOptions)
	}{
		{"no random bytes", func(o *pathOptions) { o.Rand = iotest.ErrReader(broken) }},
		{"too few random bytes", func(o *pathOptions) {
			o.Rand = io.MultiReader(io.LimitReader(o.Rand, 100), iotest.ErrReader(broken))
		}},
		{"leaf", func(o *pathOptions) {
			o.Leaf = func(_, _ []byte) (*LeafNode, error) { return nil, broken }
		}},
		{"context", func(o *pathOptions) {
			o.Context = func([]byte) ([]byte, error) { return nil, broken }
		}},
	} {
		before := g.tree.Marshal()
		o := g.options(1, g.tree.Leaf(1), nil)
		c.change(&o)
		if _, err := g.tree.edit(g.s).createPath(o); !errors.Is(err, broken) {
			t.Errorf("%s: %v", c.name, err)
		}
		if !bytes.Equal(g.tree.Marshal(), before) {
			t.Errorf("%s: the tree has changed", c.name)
		}
	}
}

// TestCreatePathSameRandom checks that the same random bytes make the same
// path, whatever the order in which the work is done.
func TestCreatePathSameRandom(t *testing.T) {
	g := unmergedGroup(t)
	create := func(do func(int, func(int))) *createdPath {
		o := g.options(1, g.tree.Leaf(1), []LeafIndex{7})
		o.Rand, o.Do = seededReader{rand.New(rand.NewPCG(8, 8))}, do
		c, err := g.tree.edit(g.s).createPath(o)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a, b := create(nil), create(inSequence)
	if !bytes.Equal(a.Path.append(nil), b.Path.append(nil)) || !a.CommitSecret.Equal(b.CommitSecret) {
		t.Error("the paths differ")
	}
	if first := a.secretFor(0); first == nil || a.secretFor(1) != nil {
		t.Error("path secrets are for the wrong leaves")
	} else if a.wipe(); !first.Equal(secret.Bytes(bytes.Repeat([]byte{0}, 32))) {
		t.Error("a path secret was not wiped")
	}
}

func TestJoinPathRefuses(t *testing.T) {
	g := unmergedGroup(t)
	private := g.members[0].get(0)
	for _, c := range []struct {
		name   string
		sender LeafIndex
		length int
	}{
		{"a secret of another node", 1, 32},
		{"a short secret", 1, 31},
		{"a long secret", 1, 33},
		{"from itself", 0, 32},
		{"from outside", 8, 32},
	} {
		if _, err := g.tree.joinPath(g.s, 0, private, c.sender, make(secret.Bytes, c.length)); !errors.Is(err, CheckPathSecretKey) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// Nodes 5 and 13 are blank.
	if _, err := g.tree.joinPath(g.s, 2, private, 3, make(secret.Bytes, 32)); !errors.Is(err, CheckPathSecretKey) {
		t.Errorf("a secret of a blank node: %v", err)
	}
}
