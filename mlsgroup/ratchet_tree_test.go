package mlsgroup

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/conclave-mls/conclave/internal/primitive"
)

func testSuite(t testing.TB, id CipherSuite) *primitive.Suite {
	t.Helper()
	s, err := id.suite()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func parseTestTree(t testing.TB, b []byte) *RatchetTree {
	t.Helper()
	tree, err := ParseRatchetTree(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(tree.Marshal(), b) {
		t.Fatal("a tree is not written as it was read")
	}
	return tree
}

func TestTreeValidationVectors(t *testing.T) {
	type vector struct {
		CipherSuite CipherSuite   `json:"cipher_suite"`
		Tree        hexBytes      `json:"tree"`
		GroupID     hexBytes      `json:"group_id"`
		TreeHashes  []hexBytes    `json:"tree_hashes"`
		Resolutions [][]NodeIndex `json:"resolutions"`
	}
	for n, v := range vectors[vector](t, "tree-validation.json") {
		s := testSuite(t, v.CipherSuite)
		tree := parseTestTree(t, v.Tree).withHashes(s, nil)
		h := treeHasher{s: s, t: tree}
		if int(tree.LeafCount().width()) != len(v.TreeHashes) {
			t.Fatalf("%d: %d nodes, want %d", n, tree.LeafCount().width(), len(v.TreeHashes))
		}
		for i, want := range v.TreeHashes {
			if got := h.hash(NodeIndex(i)); !bytes.Equal(got, want) {
				t.Errorf("%d: tree hash of node %d: got %x, want %x", n, i, got, want)
			}
			if got := tree.resolution(NodeIndex(i), nil); !slices.Equal(got, v.Resolutions[i]) {
				t.Errorf("%d: resolution of node %d: got %v, want %v", n, i, got, v.Resolutions[i])
			}
		}
		if err := tree.verify(s); err != nil {
			t.Errorf("%d: %v", n, err)
		}
		for i, leaf := range tree.Members() {
			tbs := leaf.appendTBS(nil, v.GroupID, i)
			if err := verifyWithLabel(s, leaf.SignatureKey, labelLeafNodeTBS, tbs, leaf.Signature); err != nil {
				t.Errorf("%d: leaf %d: %v", n, i, err)
			}
		}
	}
}

func TestTreeOperationsVectors(t *testing.T) {
	type vector struct {
		CipherSuite    CipherSuite `json:"cipher_suite"`
		TreeBefore     hexBytes    `json:"tree_before"`
		Proposal       hexBytes    `json:"proposal"`
		ProposalSender LeafIndex   `json:"proposal_sender"`
		TreeHashBefore hexBytes    `json:"tree_hash_before"`
		TreeAfter      hexBytes    `json:"tree_after"`
		TreeHashAfter  hexBytes    `json:"tree_hash_after"`
	}
	for n, v := range vectors[vector](t, "tree-operations.json") {
		s := testSuite(t, v.CipherSuite)
		before := parseTestTree(t, v.TreeBefore).withHashes(s, nil)
		if got := before.rootHash(); !bytes.Equal(got, v.TreeHashBefore) {
			t.Fatalf("%d: tree hash before: got %x, want %x", n, got, v.TreeHashBefore)
		}
		var p Proposal
		if err := parse(v.Proposal, p.read); err != nil {
			t.Fatal(err)
		}
		e := before.edit(s)
		switch p.Type {
		case ProposalTypeAdd:
			if _, err := e.add(p.Add.KeyPackage.LeafNode); err != nil {
				t.Fatal(err)
			}
		case ProposalTypeUpdate:
			e.update(v.ProposalSender, p.Update.LeafNode)
		case ProposalTypeRemove:
			e.remove(p.Remove.Removed)
		default:
			t.Fatalf("%d: proposal type %d", n, p.Type)
		}
		after := e.finish(nil)
		if got := after.Marshal(); !bytes.Equal(got, v.TreeAfter) {
			t.Errorf("%d: tree after: got %x, want %x", n, got, v.TreeAfter)
		}
		if got := after.rootHash(); !bytes.Equal(got, v.TreeHashAfter) {
			t.Errorf("%d: tree hash after: got %x, want %x", n, got, v.TreeHashAfter)
		}
		if !bytes.Equal(before.Marshal(), v.TreeBefore) || !bytes.Equal(before.rootHash(), v.TreeHashBefore) {
			t.Errorf("%d: the edit changed the tree it started from", n)
		}
	}
}

func TestParseRatchetTreeRefuses(t *testing.T) {
	leaf := append([]byte{1, byte(NodeTypeLeaf)}, fuzzLeaf().append(nil)...)
	parent := (&ParentNode{EncryptionKey: []byte{1}}).append([]byte{1, byte(NodeTypeParent)})
	unsorted := (&ParentNode{UnmergedLeaves: []LeafIndex{1, 0}}).append([]byte{1, byte(NodeTypeParent)})
	list := func(nodes ...[]byte) []byte { return appendOpaque(nil, bytes.Join(nodes, nil)) }
	for _, c := range []struct {
		name  string
		input []byte
		want  error
	}{
		{"empty", list(), CheckTreeTrailingBlank},
		{"all blank", list([]byte{0}), CheckTreeTrailingBlank},
		{"trailing blank", list(leaf, []byte{0}), CheckTreeTrailingBlank},
		{"parent at leaf", list(parent), CheckTreeNodeType},
		{"leaf at parent", list(leaf, leaf), CheckTreeNodeType},
		{"unsorted", list(leaf, unsorted, leaf), CheckUnmergedSorted},
		{"presence", list([]byte{2}), CheckOptionalPresence},
		{"cut", list(leaf)[:20], ErrDecode},
		{"left over", append(list(leaf), 0), ErrDecode},
		{"too many", list(make([]byte, maxTreeNodes+1)), ErrDecode},
	} {
		if _, err := ParseRatchetTree(c.input); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

// TestParseRatchetTreeSparse checks that blanks, one byte each on the wire, do
// not cost memory.
func TestParseRatchetTreeSparse(t *testing.T) {
	const blanks = 1 << 20
	leaf := append([]byte{1, byte(NodeTypeLeaf)}, fuzzLeaf().append(nil)...)
	tree := parseTestTree(t, appendOpaque(nil, append(make([]byte, blanks), leaf...)))
	if tree.LeafCount() != 1<<20 || tree.Leaf(blanks/2) == nil || tree.MemberCount() != 1 {
		t.Fatalf("%d leaves, %d members", tree.LeafCount(), tree.MemberCount())
	}
	n := 0
	for range tree.nodes.all() {
		n++
	}
	if n != 2*20+1 {
		t.Errorf("%d nodes are kept", n)
	}
}

func FuzzRatchetTree(f *testing.F) {
	type vector struct {
		Tree hexBytes `json:"tree"`
	}
	for i, v := range vectors[vector](f, "tree-validation.json") {
		if i%12 == 0 {
			f.Add([]byte(v.Tree))
		}
	}
	s := testSuite(f, 1)
	f.Fuzz(func(t *testing.T, in []byte) {
		tree, err := ParseRatchetTree(in)
		if err != nil {
			return
		}
		if !bytes.Equal(tree.Marshal(), in) {
			t.Error("a tree is not written as it was read")
		}
		if len(in) > 1<<16 {
			return
		}
		tree = tree.withHashes(s, nil)
		_ = tree.verify(s) // must not panic
	})
}

func TestKeySet(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for _, n := range []int{0, 1, 12, 1000} {
		keys := make([][]byte, n)
		for i := range keys {
			keys[i] = testBytes(r, []int{1, 32, 65}[i%3])
			keys[i][0] = byte(i)
		}
		set := newKeySet(keys...)
		for i, key := range keys {
			if !set.has(key) {
				t.Fatalf("%d keys: key %d is not found", n, i)
			}
			if near := append(slices.Clone(key[:len(key)-1]), key[len(key)-1]^1); len(key) > 1 && set.has(near) {
				t.Fatalf("%d keys: another key than key %d is found", n, i)
			}
		}
		for range 1000 {
			if set.has(testBytes(r, 32)) {
				t.Fatal("a key is found that was not given")
			}
		}
	}
}

// TestSharedCapabilities reads trees and records in which leaves have the
// capabilities of the leaf before, others, others of the same length, and more.
func TestSharedCapabilities(t *testing.T) {
	one := Capabilities{Versions: []ProtocolVersion{1}, CipherSuites: []CipherSuite{1, 2}, Credentials: []CredentialType{1}}
	other, more := one, one
	other.CipherSuites = []CipherSuite{1, 3}
	more.Credentials = []CredentialType{1, 2}
	g := newTreeGroup(t, 1)
	want := []Capabilities{g.tree.Leaf(0).Capabilities, one, one, other, one, more, {}, {}, more, one}
	c := new(treeChange)
	for i := 1; i < len(want); i++ {
		leaf, private := g.leaf()
		leaf.Capabilities = want[i]
		c.adds, c.joiners = append(c.adds, leaf), append(c.joiners, private)
	}
	g.commit(0, c, false)
	encoded := g.tree.Marshal()
	parsed, err := ParseRatchetTree(encoded)
	if err != nil {
		t.Fatal(err)
	}
	var stored treeRecords
	stored.apply(g.tree.changedRecords(new(RatchetTree)))
	nodes, unmerged := stored.records()
	loaded, err := loadTree(g.s, g.tree.LeafCount(), nodes, unmerged)
	if err != nil {
		t.Fatal(err)
	}
	for name, tree := range map[string]*RatchetTree{"parsed": parsed, "loaded": loaded} {
		if !bytes.Equal(tree.Marshal(), encoded) {
			t.Errorf("%s: another encoding", name)
		}
		for i, l := range tree.Members() {
			if !reflect.DeepEqual(l.Capabilities, want[i]) {
				t.Errorf("%s: leaf %d has %v, want %v", name, i, l.Capabilities, want[i])
			}
		}
	}
}
