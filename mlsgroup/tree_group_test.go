package mlsgroup

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
)

// treeGroup is a group reduced to its tree: every member's private keys, and
// the one tree they agree on.
type treeGroup struct {
	t       testing.TB
	s       *primitive.Suite
	r       *rand.Rand
	tree    *RatchetTree
	members map[LeafIndex]pathKeys
	epoch   uint64
}

func newTreeGroup(t testing.TB, seed uint64) *treeGroup {
	g := &treeGroup{
		t: t, s: testSuite(t, 1), r: rand.New(rand.NewPCG(seed, 6)),
		tree: new(RatchetTree), members: map[LeafIndex]pathKeys{},
	}
	leaf, private := g.leaf()
	e := g.tree.edit(g.s)
	i, err := e.add(leaf)
	if err != nil {
		t.Fatal(err)
	}
	g.tree = e.finish(nil)
	g.members[i] = pathKeys{}.with(i.Node(), private)
	return g
}

// leaf is a new client's leaf with its private key.
func (g *treeGroup) leaf() (*LeafNode, secret.Bytes) {
	private, public, err := g.s.DeriveKeyPair(secret.Bytes(testBytes(g.r, 32)))
	if err != nil {
		g.t.Fatal(err)
	}
	leaf := testLeaf(g.r)
	leaf.EncryptionKey = public
	return leaf, private
}

// treeChange is the part of a commit's proposals that changes the tree.
type treeChange struct {
	updates  map[LeafIndex]*LeafNode
	removes  []LeafIndex
	adds     []*LeafNode
	privates map[LeafIndex]secret.Bytes // of updates
	joiners  []secret.Bytes             // of adds
}

// apply applies the proposals in the order of RFC 9420 section 12.3.
func (g *treeGroup) apply(c *treeChange) (e *treeEdit, added []LeafIndex) {
	g.t.Helper()
	e = g.tree.edit(g.s)
	for _, i := range slices.Sorted(maps.Keys(c.updates)) {
		e.update(i, c.updates[i])
	}
	for _, i := range c.removes {
		e.remove(i)
	}
	for _, leaf := range c.adds {
		i, err := e.add(leaf)
		if err != nil {
			g.t.Fatal(err)
		}
		added = append(added, i)
	}
	if !slices.IsSorted(added) {
		g.t.Fatalf("leaves added out of order: %v", added)
	}
	return e, added
}

func (g *treeGroup) context(treeHash []byte) ([]byte, error) {
	return marshalTestContext(1, []byte("group"), g.epoch, treeHash, nil), nil
}

func (g *treeGroup) options(sender LeafIndex, leaf *LeafNode, added []LeafIndex) pathOptions {
	return pathOptions{
		Sender: sender, Exclude: added, Context: g.context, Rand: seededReader{g.r}, Do: inSequence,
		Leaf: func(encryptionKey, parentHash []byte) (*LeafNode, error) {
			l := *leaf
			l.EncryptionKey, l.ParentHash, l.Source = encryptionKey, parentHash, LeafNodeSourceCommit
			return &l, nil
		},
	}
}

// commit makes an epoch: sender's path, unless it is without one, is processed
// by every member, and whoever was added joins.
func (g *treeGroup) commit(sender LeafIndex, c *treeChange, withPath bool) {
	g.t.Helper()
	e, added := g.apply(c)
	old := maps.Clone(g.members)
	for i, private := range c.privates {
		old[i] = old[i].with(i.Node(), private)
	}
	for _, i := range c.removes {
		delete(old, i)
	}
	g.epoch++
	if !withPath {
		g.tree = e.finish(inSequence)
		g.members = map[LeafIndex]pathKeys{}
		for i, keys := range old {
			g.members[i] = keys.prune(g.tree)
		}
		for n, i := range added {
			keys, err := g.tree.joinPath(g.s, i, c.joiners[n], sender, nil)
			if err != nil {
				g.t.Fatal(err)
			}
			g.members[i] = keys
		}
		return
	}
	g.makeRoom(e, sender)
	leaf := e.leaf(sender)
	if leaf == nil { // an external commit
		leaf = testLeaf(g.r)
	}
	created, err := e.createPath(g.options(sender, leaf, added))
	if err != nil {
		g.t.Fatal(err)
	}
	path := new(UpdatePath)
	if err := parse(created.Path.append(nil), path.read); err != nil {
		g.t.Fatal(err)
	}
	e, _ = g.apply(c)
	g.makeRoom(e, sender)
	after, err := e.mergePath(sender, path, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	if !bytes.Equal(after.rootHash(), created.Tree.rootHash()) || !bytes.Equal(after.Marshal(), created.Tree.Marshal()) {
		g.t.Fatal("sender and receivers have different trees")
	}
	g.tree = after
	g.members = map[LeafIndex]pathKeys{sender: created.Keys}
	context, _ := g.context(after.rootHash())
	for i, keys := range old {
		if i == sender {
			continue
		}
		commit, keys, err := after.decryptPath(g.s, i, keys, sender, path, added, context)
		if err != nil {
			g.t.Fatalf("leaf %d: %v", i, err)
		}
		if !commit.Equal(created.CommitSecret) {
			g.t.Fatalf("leaf %d has another commit secret", i)
		}
		g.members[i] = keys
	}
	for n, i := range added {
		first := created.secretFor(i)
		if first == nil {
			g.t.Fatalf("no path secret for new leaf %d", i)
		}
		keys, err := after.joinPath(g.s, i, c.joiners[n], sender, first.Clone())
		if err != nil {
			g.t.Fatalf("leaf %d joins: %v", i, err)
		}
		g.members[i] = keys
	}
}

// makeRoom extends the tree for an external joiner as need be.
func (g *treeGroup) makeRoom(e *treeEdit, sender LeafIndex) {
	g.t.Helper()
	if e.leaf(sender) != nil {
		return
	}
	if i, err := e.blankLeaf(); err != nil || i != sender {
		g.t.Fatalf("blank leaf %d, want %d, %v", i, sender, err)
	}
}

func (g *treeGroup) check() {
	g.t.Helper()
	if err := g.tree.verify(g.s); err != nil {
		g.t.Fatal(err)
	}
	for i, keys := range g.members {
		checkKeys(g.t, g.s, g.tree, i, keys)
	}
	if len(g.members) != g.tree.MemberCount() {
		g.t.Fatalf("%d members, want %d", g.tree.MemberCount(), len(g.members))
	}
}

// TestTreeGroup lets a group live through random commits: members added,
// removed and updated, with and without paths, external joiners and rejoiners.
func TestTreeGroup(t *testing.T) {
	for seed := range uint64(6) {
		g := newTreeGroup(t, seed)
		for range 30 {
			members := slices.Sorted(maps.Keys(g.members))
			g.r.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
			sender, others := members[0], members[1:]
			c := &treeChange{updates: map[LeafIndex]*LeafNode{}, privates: map[LeafIndex]secret.Bytes{}}
			kind := g.r.IntN(8)
			if kind == 0 { // an external commit, of a new client or of a member again
				if g.r.IntN(2) == 0 {
					c.removes = members[:1]
				}
				e, _ := g.apply(c)
				sender, err := e.blankLeaf()
				if err != nil {
					t.Fatal(err)
				}
				g.commitExternal(sender, c)
				g.check()
				continue
			}
			if kind > 2 && len(others) > 3 {
				for range g.r.IntN(1 + len(others)/3) {
					c.removes = append(c.removes, others[0])
					others = others[1:]
				}
				for range g.r.IntN(3) {
					c.updates[others[0]], c.privates[others[0]] = g.leaf()
					others = others[1:]
					if len(others) == 0 {
						break
					}
				}
			}
			if kind != 7 && len(g.members) < 40 {
				for range g.r.IntN(6) {
					leaf, private := g.leaf()
					c.adds, c.joiners = append(c.adds, leaf), append(c.joiners, private)
				}
			}
			pathless := len(c.adds) > 0 && len(c.removes)+len(c.updates) == 0
			g.commit(sender, c, !pathless || kind == 1)
			g.check()
		}
	}
}

// commitExternal is commit for a sender that has no leaf yet.
func (g *treeGroup) commitExternal(sender LeafIndex, c *treeChange) {
	g.t.Helper()
	if len(g.members) > len(c.removes) {
		g.commit(sender, c, true)
		return
	}
	// The only member joins again: nobody is left to read the path.
	e, _ := g.apply(c)
	g.makeRoom(e, sender)
	created, err := e.createPath(g.options(sender, testLeaf(g.r), nil))
	if err != nil {
		g.t.Fatal(err)
	}
	g.tree, g.members = created.Tree, map[LeafIndex]pathKeys{sender: created.Keys}
}
