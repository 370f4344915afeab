package mlsgroup

import (
	"bytes"
	"io"
	"slices"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
)

// pathOptions is what createPath needs beside the tree.
type pathOptions struct {
	Sender LeafIndex
	// Exclude are the leaves that the same commit adds, ascending.
	Exclude []LeafIndex
	// Leaf builds and signs the sender's new leaf. Its source is commit.
	Leaf func(encryptionKey, parentHash []byte) (*LeafNode, error)
	// Context returns the encoded provisional GroupContext (RFC 9420 section
	// 12.4.1) for the new tree hash.
	Context func(treeHash []byte) ([]byte, error)
	Rand    io.Reader
	Do      func(n int, f func(int)) // nil: in sequence
}

// createdPath is the outcome of createPath.
type createdPath struct {
	Tree         *RatchetTree
	Path         *UpdatePath
	CommitSecret secret.Bytes
	Keys         pathKeys // the sender's, all of them
	sender       LeafIndex
	secrets      []pathSecret
}

type pathSecret struct {
	node   NodeIndex
	secret secret.Bytes
}

// secretFor returns the path secret that the Welcome of the member at leaf i
// tells (RFC 9420 section 12.4.3.1), nil if there is none. It is the path's own
// and wiped with it.
func (c *createdPath) secretFor(i LeafIndex) secret.Bytes {
	x := commonAncestor(c.sender, i)
	for _, p := range c.secrets {
		if p.node == x {
			return p.secret
		}
	}
	return nil
}

// wipe overwrites the path secrets. The commit secret and the keys stay.
func (c *createdPath) wipe() {
	for _, p := range c.secrets {
		p.secret.Wipe()
	}
}

// createPath replaces the sender's leaf and filtered direct path in a tree that
// has the commit's proposals applied, and encrypts the path secrets to the
// group (RFC 9420 section 7.5). The sender's leaf may be blank, in an external
// commit. It ends the edit.
//
// All random bytes are drawn first, in this order: leaf key, first path secret,
// then the seed of each ciphertext in the order of the UpdatePath.
func (e *treeEdit) createPath(o pathOptions) (*createdPath, error) {
	s, do := e.s, o.Do
	if do == nil {
		do = noDo
	}
	if e.leaf(o.Sender) == nil {
		e.place(o.Sender, nil)
	}
	steps := filteredDirectPath(e, o.Sender)
	to := make([][]NodeIndex, len(steps))
	sealed := 0
	for i, step := range steps {
		to[i] = resolution(e, nil, step.copath, o.Exclude)
		sealed += len(to[i])
	}
	nh := s.HashSize()
	random := make(secret.Bytes, 2*nh+sealed*s.SeedSize())
	defer random.Wipe()
	if _, err := io.ReadFull(o.Rand, random); err != nil {
		return nil, err
	}
	leafSecret, first, seeds := random[:nh], random[nh:2*nh].Clone(), random[2*nh:]

	c := &createdPath{sender: o.Sender, Path: &UpdatePath{Nodes: make([]UpdatePathNode, len(steps))}}
	ok := false
	defer func() {
		if !ok {
			c.wipe()
			c.CommitSecret.Wipe()
			for _, k := range c.Keys.keys {
				k.private.Wipe()
			}
		}
	}()
	leafKey, err := c.derive(s, steps, first, leafSecret, do)
	if err != nil {
		return nil, err
	}
	parentHash := e.setPath(o.Sender, steps, c.Path.Nodes, do)
	if c.Path.LeafNode, err = o.Leaf(leafKey, parentHash); err != nil {
		return nil, err
	}
	e.node(o.Sender.Node()).leaf = c.Path.LeafNode
	c.Tree = e.finish(do)

	context, err := o.Context(c.Tree.rootHash())
	if err != nil {
		return nil, err
	}
	if err := c.seal(s, to, context, seeds, do); err != nil {
		return nil, err
	}
	ok = true
	return c, nil
}

// derive derives all secrets and keys: those of steps from the first path secret,
// which it takes over, and the leaf's from its own. It returns the leaf's public key.
func (c *createdPath) derive(s *primitive.Suite, steps []pathStep, first, leafSecret secret.Bytes, do func(n int, f func(int))) (leafKey []byte, err error) {
	if c.secrets, c.CommitSecret, err = pathSecrets(s, steps, first); err != nil {
		return nil, err
	}
	keys := make([]derivedKey, len(steps)+1)
	do(len(keys), func(i int) {
		if i == len(steps) {
			keys[i].private, keys[i].public, keys[i].err = s.DeriveKeyPair(leafSecret)
		} else {
			keys[i] = deriveNodeKey(s, c.secrets[i].secret)
		}
	})
	for i, k := range keys {
		x := c.sender.Node()
		if i < len(steps) {
			x = steps[i].node
			c.Path.Nodes[i].EncryptionKey = k.public
		}
		c.Keys = c.Keys.with(x, k.private) // also after a failure, to be wiped
		if err == nil {
			err = k.err
		}
	}
	return keys[len(steps)].public, err
}

// seal encrypts the secret of each step to the nodes of the new tree that it is for,
// with the seeds in the order of the UpdatePath.
func (c *createdPath) seal(s *primitive.Suite, to [][]NodeIndex, context []byte, seeds secret.Bytes, do func(n int, f func(int))) error {
	type job struct {
		to     NodeIndex
		secret secret.Bytes
		err    error
	}
	var jobs []job
	for i := range to {
		jobs = slices.Grow(jobs, len(to[i]))
		for _, x := range to[i] {
			jobs = append(jobs, job{to: x, secret: c.secrets[i].secret})
		}
	}
	ciphertexts := make([]HPKECiphertext, len(jobs))
	encrypt, size := encryptWithLabel(s, labelUpdatePathNode, context), s.SeedSize()
	do(len(jobs), func(i int) {
		j := &jobs[i]
		ciphertexts[i], j.err = encrypt(c.Tree.node(j.to).encryptionKey(), j.secret, seeds[i*size:][:size])
	})
	for i := range jobs {
		if jobs[i].err != nil {
			return jobs[i].err
		}
	}
	for i := range to {
		n := len(to[i])
		c.Path.Nodes[i].EncryptedPathSecret = newHPKECiphertexts(ciphertexts[:n])
		ciphertexts = ciphertexts[n:]
	}
	return nil
}

type derivedKey struct {
	private secret.Bytes
	public  []byte
	err     error
}

// deriveNodeKey derives the key pair of a node from its path secret (RFC 9420
// section 7.4).
func deriveNodeKey(s *primitive.Suite, path secret.Bytes) (k derivedKey) {
	node, err := deriveSecret(s, path, "node")
	if err != nil {
		return derivedKey{err: err}
	}
	defer node.Wipe()
	k.private, k.public, k.err = s.DeriveKeyPair(node)
	return k
}

// pathSecrets derives the path secrets of steps from the first one, which it
// takes over, and the commit secret after the last (RFC 9420 sections 7.4 and
// 12.4.1). Without steps the first is the commit secret.
func pathSecrets(s *primitive.Suite, steps []pathStep, first secret.Bytes) (secrets []pathSecret, commit secret.Bytes, err error) {
	next := first
	for _, step := range steps {
		secrets = append(secrets, pathSecret{step.node, next})
		if next, err = deriveSecret(s, next, "path"); err != nil {
			return secrets, nil, err
		}
	}
	return secrets, next, nil
}

// setPath blanks the direct path of a leaf and sets its filtered direct path to
// the given keys, with parent hashes computed from the root down. It returns
// the parent hash of the leaf, empty where the path is (RFC 9420 sections 7.5
// and 7.9).
func (e *treeEdit) setPath(sender LeafIndex, steps []pathStep, nodes []UpdatePathNode, do func(n int, f func(int))) []byte {
	e.blankPath(sender)
	h := treeHasher{s: e.s, t: e}
	parentHash := []byte{}
	for i := len(steps) - 1; i >= 0; i-- {
		key := nodes[i].EncryptionKey
		e.setParent(steps[i].node, &ParentNode{EncryptionKey: key, ParentHash: parentHash})
		if e.node(steps[i].copath).hash == nil {
			hashNodes(e.s, e, steps[i].copath, do)
		}
		// The path's nodes have no unmerged leaves, so the sibling's tree hash
		// is its original one.
		parentHash = parentHashOf(e.s, key, parentHash, h.hash(steps[i].copath))
	}
	return parentHash
}

// mergePath applies another member's UpdatePath to a tree that has the commit's
// proposals applied (RFC 9420 sections 7.5 and 12.4.2). The sender's leaf may be
// blank, in an external commit. The caller validates the new leaf as such; what
// is checked here is its place in the path. It ends the edit.
func (e *treeEdit) mergePath(sender LeafIndex, path *UpdatePath, do func(n int, f func(int))) (*RatchetTree, error) {
	if LeafCount(sender) >= e.leafCount {
		return nil, CheckSenderLeaf.Errorf("leaf %d in a tree of %d", sender, e.leafCount)
	}
	if old := e.leaf(sender); old == nil {
		e.place(sender, nil)
	} else if bytes.Equal(old.EncryptionKey, path.LeafNode.EncryptionKey) {
		return nil, CheckPathLeafKey.Errorf("leaf %d keeps its encryption key", sender)
	}
	if path.LeafNode.Source != LeafNodeSourceCommit {
		return nil, CheckLeafSourceCommit.Errorf("leaf node source %d in a path", path.LeafNode.Source)
	}
	steps := filteredDirectPath(e, sender)
	if len(steps) != len(path.Nodes) {
		return nil, CheckPathLength.Errorf("%d nodes for a path of %d", len(path.Nodes), len(steps))
	}
	if err := e.checkPathKeys(path); err != nil {
		return nil, err
	}
	parentHash := e.setPath(sender, steps, path.Nodes, do)
	if !bytes.Equal(parentHash, path.LeafNode.ParentHash) {
		return nil, CheckPathParentHash.Errorf("leaf %d has another parent hash than its path", sender)
	}
	e.node(sender.Node()).leaf = path.LeafNode
	return e.finish(do), nil
}

// checkPathKeys checks that the nodes of a path have public keys of the suite,
// and that no key of it, the leaf's included, is in a node of the tree, those
// about to be replaced included, or twice in the path.
func (e *treeEdit) checkPathKeys(path *UpdatePath) error {
	keys := make([][]byte, 0, len(path.Nodes)+1)
	keys = append(keys, path.LeafNode.EncryptionKey)
	for i := range path.Nodes {
		keys = append(keys, path.Nodes[i].EncryptionKey)
	}
	for i, key := range keys {
		if i > 0 {
			if err := e.s.CheckPublicKey(key); err != nil {
				return CheckEncryptionKey.Errorf("node %d of a path: %v", i-1, err)
			}
		}
		for _, other := range keys[:i] {
			if bytes.Equal(key, other) {
				return CheckPathKeysUnique.Errorf("a key of the path is in it twice")
			}
		}
	}
	set := newKeySet(keys...)
	absent := !slices.ContainsFunc(keys, func(key []byte) bool { return e.base.keys.among(keyTag(key)) > 0 }) &&
		!slices.ContainsFunc(e.brought, func(l *LeafNode) bool { return set.has(l.EncryptionKey) })
	if absent {
		return nil
	}
	for x, n := range (vec[treeNode]{e.nodes.chunks}).all() {
		if key := n.encryptionKey(); key != nil && set.has(key) {
			return CheckPathKeysUnique.Errorf("node %d has a key of the path", x)
		}
	}
	return nil
}

// decryptPath learns the commit secret and the new private keys from an
// UpdatePath that was merged into t (RFC 9420 section 7.5). keys are the
// member's own after the commit's proposals; exclude the leaves that the same
// commit added, ascending; context the encoded provisional GroupContext. The
// caller wipes the commit secret.
func (t *RatchetTree) decryptPath(s *primitive.Suite, own LeafIndex, keys pathKeys, sender LeafIndex,
	path *UpdatePath, exclude []LeafIndex, context []byte) (secret.Bytes, pathKeys, error) {
	steps := t.filteredDirectPath(sender)
	if len(steps) != len(path.Nodes) {
		return nil, pathKeys{}, CheckPathLength.Errorf("%d nodes for a path of %d", len(path.Nodes), len(steps))
	}
	var (
		at     = -1
		cipher HPKECiphertext
		reader NodeIndex
		to     []NodeIndex
	)
	for i, step := range steps {
		to = resolution(t, to[:0], step.copath, exclude)
		if n := path.Nodes[i].EncryptedPathSecret.Len(); n != len(to) {
			return nil, pathKeys{}, CheckPathCiphertexts.Errorf("%d ciphertexts for %d nodes", n, len(to))
		}
		if at >= 0 || !step.copath.contains(own) {
			continue
		}
		for j, x := range to {
			if keys.get(x) != nil {
				at, reader, cipher = i, x, path.Nodes[i].EncryptedPathSecret.At(j)
				break
			}
		}
	}
	if at < 0 {
		return nil, pathKeys{}, CheckPathCiphertexts.Errorf("no ciphertext of the path is for leaf %d", own)
	}
	first, err := decryptPathSecret(s, keys.get(reader), t.node(reader).encryptionKey(), context, cipher)
	if err != nil {
		return nil, pathKeys{}, CheckPathCiphertexts.Errorf("ciphertext of node %d: %v", steps[at].node, err)
	}
	if len(first) != s.HashSize() {
		first.Wipe()
		return nil, pathKeys{}, CheckPathCiphertexts.Errorf("path secret of %d bytes", len(first))
	}
	return t.derivePath(s, keys.prune(t), steps[at:], first, CheckPathPublicKeys)
}

func decryptPathSecret(s *primitive.Suite, private secret.Bytes, public, context []byte, c HPKECiphertext) (secret.Bytes, error) {
	return s.OpenWithPublicKey(private, public, c.KEMOutput, labeled(labelUpdatePathNode, context), nil, c.Ciphertext)
}

// derivePath derives the keys of steps from the path secret of the first, which
// it takes over, holds them against the tree, and adds them to keys. It returns
// the commit secret.
func (t *RatchetTree) derivePath(s *primitive.Suite, keys pathKeys, steps []pathStep, first secret.Bytes, check Check) (secret.Bytes, pathKeys, error) {
	secrets, commit, err := pathSecrets(s, steps, first)
	fresh := make([]secret.Bytes, 0, len(secrets))
	ok := false
	defer func() {
		for _, p := range secrets {
			p.secret.Wipe()
		}
		if !ok {
			commit.Wipe()
			for _, private := range fresh {
				private.Wipe()
			}
		}
	}()
	if err != nil {
		return nil, pathKeys{}, err
	}
	for _, p := range secrets {
		k := deriveNodeKey(s, p.secret)
		if k.err != nil {
			return nil, pathKeys{}, k.err
		}
		fresh = append(fresh, k.private)
		if !bytes.Equal(k.public, t.node(p.node).encryptionKey()) {
			return nil, pathKeys{}, check.Errorf("the path secret gives another key than that of node %d", p.node)
		}
		keys = keys.with(p.node, k.private)
	}
	ok = true
	return commit, keys, nil
}

// joinPath returns the private keys of a new member: its leaf's and, from the
// path secret of its Welcome, those from the common ancestor with the sender of
// the commit up (RFC 9420 section 12.4.3.1). Without a path secret the leaf's is
// the only one. It takes the path secret over.
func (t *RatchetTree) joinPath(s *primitive.Suite, own LeafIndex, leafPrivate secret.Bytes, sender LeafIndex, first secret.Bytes) (pathKeys, error) {
	keys := pathKeys{}.with(own.Node(), leafPrivate)
	if first == nil {
		return keys, nil
	}
	if len(first) != s.HashSize() {
		return pathKeys{}, CheckPathSecretKey.Errorf("path secret of %d bytes", len(first))
	}
	if own == sender {
		return pathKeys{}, CheckPathSecretKey.Errorf("a path secret from leaf %d itself", own)
	}
	x := commonAncestor(own, sender)
	if t.node(x).encryptionKey() == nil {
		return pathKeys{}, CheckPathSecretKey.Errorf("a path secret for node %d, which is blank", x)
	}
	var steps []pathStep
	for root := t.leafCount.root(); ; x = x.parent() {
		if t.node(x).encryptionKey() != nil {
			steps = append(steps, pathStep{node: x})
		}
		if x == root {
			break
		}
	}
	commit, keys, err := t.derivePath(s, keys, steps, first, CheckPathSecretKey)
	commit.Wipe()
	return keys, err
}
