package mlsgroup

import (
	"bytes"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/conclave-mls/conclave/internal/primitive"
)

// treeRecords holds the records of a tree as a store would.
type treeRecords struct{ nodes, unmerged map[NodeIndex][]byte }

func (r *treeRecords) apply(nodes, unmerged []nodeRecord) {
	if r.nodes == nil {
		r.nodes, r.unmerged = map[NodeIndex][]byte{}, map[NodeIndex][]byte{}
	}
	put := func(m map[NodeIndex][]byte, records []nodeRecord) {
		for _, rec := range records {
			if rec.Value == nil {
				delete(m, rec.Node)
			} else {
				m[rec.Node] = rec.Value
			}
		}
	}
	put(r.nodes, nodes)
	put(r.unmerged, unmerged)
}

func (r *treeRecords) records() (nodes, unmerged []nodeRecord) {
	list := func(m map[NodeIndex][]byte) (records []nodeRecord) {
		for _, x := range slices.Sorted(maps.Keys(m)) {
			records = append(records, nodeRecord{x, bytes.Clone(m[x])})
		}
		return records
	}
	return list(r.nodes), list(r.unmerged)
}

func (r *treeRecords) load(s *primitive.Suite, leafCount LeafCount) (*RatchetTree, error) {
	nodes, unmerged := r.records()
	return loadTree(s, leafCount, nodes, unmerged)
}

// checkSame compares two trees node by node, blank ones with their hashes.
func checkSame(t *testing.T, got, want *RatchetTree) {
	t.Helper()
	if got.LeafCount() != want.LeafCount() || got.MemberCount() != want.MemberCount() || !bytes.Equal(got.Marshal(), want.Marshal()) {
		t.Fatal("trees differ")
	}
	var places []uint32
	for x, n := range want.nodes.all() {
		places = append(places, x)
		m := got.node(NodeIndex(x))
		if m == nil || !bytes.Equal(m.hash, n.hash) {
			t.Fatalf("node %d differs", x)
		}
	}
	for x := range got.nodes.all() {
		if !slices.Contains(places, x) {
			t.Fatalf("node %d is too many", x)
		}
	}
}

func TestParsedTreeRecords(t *testing.T) {
	type vector struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
		Tree        hexBytes    `json:"tree"`
	}
	for _, v := range vectors[vector](t, "tree-validation.json") {
		s := testSuite(t, v.CipherSuite)
		tree := parseTestTree(t, v.Tree).withHashes(s, inSequence)
		var stored treeRecords
		stored.apply(tree.changedRecords(new(RatchetTree)))
		loaded, err := stored.load(s, tree.LeafCount())
		if err != nil {
			t.Fatal(err)
		}
		checkSame(t, loaded, tree)
		for i, leaf := range tree.Members() {
			got, err := parseLeafRecord(s, i, stored.nodes[i.Node()])
			if err != nil || !bytes.Equal(got.Marshal(), leaf.Marshal()) {
				t.Fatalf("leaf %d alone: %v", i, err)
			}
		}
	}
}

// TestNodeRecordSize checks what commits of a large group write: the nodes of
// one path, and no list of a thousand unmerged leaves.
func TestNodeRecordSize(t *testing.T) {
	s := testSuite(t, 1)
	r := rand.New(rand.NewPCG(4, 4))
	e := new(RatchetTree).edit(s)
	for range 500 {
		if _, err := e.add(testLeaf(r)); err != nil {
			t.Fatal(err)
		}
	}
	e.update(0, testLeaf(r))
	for _, step := range filteredDirectPath(e, 0) {
		e.setParent(step.node, &ParentNode{EncryptionKey: testBytes(r, 32), ParentHash: testBytes(r, 32)})
	}
	tree := e.finish(nil)
	for range 1000 { // each added by a commit of its own, without a path
		e := tree.edit(s)
		if _, err := e.add(testLeaf(r)); err != nil {
			t.Fatal(err)
		}
		before := tree
		tree = e.finish(nil)
		nodes, unmerged := tree.changedRecords(before)
		// Beside the path, the blank siblings that are new.
		size := 0
		for _, rec := range append(nodes, unmerged...) {
			size += len(rec.Value)
		}
		if len(nodes) > 2*12 || size > 3000 {
			t.Fatalf("an add with %d members writes %d nodes, %d bytes", tree.MemberCount(), len(nodes), size)
		}
	}
	if n := len(tree.unmergedRecord(511)); n == 0 || n > 16 {
		t.Errorf("the unmerged leaves of a node take %d bytes", n)
	}
}

func TestLoadTreeRefuses(t *testing.T) {
	s := testSuite(t, 1)
	r := rand.New(rand.NewPCG(5, 5))
	e := new(RatchetTree).edit(s)
	for range 3 {
		if _, err := e.add(testLeaf(r)); err != nil {
			t.Fatal(err)
		}
	}
	e.blankPath(0)
	e.setParent(3, &ParentNode{EncryptionKey: testBytes(r, 32)})
	if _, err := e.add(testLeaf(r)); err != nil {
		t.Fatal(err)
	}
	tree := e.finish(nil)
	var stored treeRecords
	stored.apply(tree.changedRecords(new(RatchetTree)))
	for _, c := range []struct {
		name   string
		leaves LeafCount
		change func(nodes, unmerged []nodeRecord) ([]nodeRecord, []nodeRecord)
	}{
		{"too narrow", 2, func(n, u []nodeRecord) ([]nodeRecord, []nodeRecord) { return n, u }},
		{"too wide", 8, func(n, u []nodeRecord) ([]nodeRecord, []nodeRecord) { return n, u }},
		{"no power of two", 5, func(n, u []nodeRecord) ([]nodeRecord, []nodeRecord) { return n, u }},
		{"nothing", 4, func(_, _ []nodeRecord) ([]nodeRecord, []nodeRecord) { return nil, nil }},
		{"missing node", 4, func(n, u []nodeRecord) ([]nodeRecord, []nodeRecord) { return n[1:], u }},
		{"order", 4, func(n, u []nodeRecord) ([]nodeRecord, []nodeRecord) { n[0], n[1] = n[1], n[0]; return n, u }},
		{"twice", 4, func(n, u []nodeRecord) ([]nodeRecord, []nodeRecord) { return append(n, n[6]), u }},
		{"version", 4, func(n, u []nodeRecord) ([]nodeRecord, []nodeRecord) { n[0].Value[0]++; return n, u }},
		{"type", 4, func(n, u []nodeRecord) ([]nodeRecord, []nodeRecord) { n[0].Value[1]++; return n, u }},
		{"cut", 4, func(n, u []nodeRecord) ([]nodeRecord, []nodeRecord) {
			n[3].Value = n[3].Value[:40]
			return n, u
		}},
		{"hash", 4, func(n, u []nodeRecord) ([]nodeRecord, []nodeRecord) { n[1].Value = []byte{1, 0, 0}; return n, u }},
		{"unmerged of another node", 4, func(n, u []nodeRecord) ([]nodeRecord, []nodeRecord) { u[0].Node = 1; return n, u }},
		{"unmerged outside", 4, func(n, u []nodeRecord) ([]nodeRecord, []nodeRecord) { u[0].Value = []byte{1, 3, 2}; return n, u }},
		{"unmerged empty", 4, func(n, u []nodeRecord) ([]nodeRecord, []nodeRecord) { u[0].Value = []byte{1}; return n, u }},
		{"unmerged long", 4, func(n, u []nodeRecord) ([]nodeRecord, []nodeRecord) {
			u[0].Value = []byte{1, 0, 0xbf, 0xff, 0xff, 0xff}
			return n, u
		}},
	} {
		nodes, unmerged := c.change(stored.records())
		if _, err := loadTree(s, c.leaves, nodes, unmerged); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	nodes, unmerged := stored.records()
	if _, err := loadTree(s, 4, nodes, unmerged); err != nil {
		t.Error(err)
	}
}
