package mlsgroup

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
)

// forger makes what the cases of TestCheck feed to the package. Whatever it
// makes is signed as its maker would, after the case has broken what it breaks,
// so that one rule is broken and no other.
type forger struct {
	t    testing.TB
	s    *primitive.Suite
	rand *rand.ChaCha8
	// known are all clients so far, by signature key.
	known map[string]*forgedClient
	// bundles are all key packages so far with their private keys.
	bundles map[*KeyPackage]*KeyPackageBundle
}

func newForger(t testing.TB) *forger {
	return &forger{
		t: t, s: mustSuite(t, CipherSuiteX25519AES128Ed25519), rand: rand.NewChaCha8([32]byte{1}),
		known: map[string]*forgedClient{}, bundles: map[*KeyPackage]*KeyPackageBundle{},
	}
}

// must ends the case on an error that is none of what it looks for.
func (f *forger) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *forger) bytes(n int) []byte {
	b := make([]byte, n)
	_, _ = f.rand.Read(b)
	return b
}

// encryptionKey makes an HPKE key pair.
func (f *forger) encryptionKey() (secret.Bytes, []byte) {
	f.t.Helper()
	priv, pub, err := f.s.DeriveKeyPair(f.bytes(f.s.HashSize()))
	f.must(err)
	return priv, pub
}

// forgedClient is a client with all its private keys.
type forgedClient struct {
	credential   Credential
	signPriv     secret.Bytes
	signatureKey []byte
	leaf         secret.Bytes // private key of the leaf made last
}

func (f *forger) client(name string) *forgedClient {
	f.t.Helper()
	priv, pub, err := f.s.GenerateSignatureKey(f.bytes(f.s.SeedSize()))
	f.must(err)
	c := &forgedClient{credential: BasicCredential([]byte(name)), signPriv: priv, signatureKey: pub}
	f.known[string(pub)] = c
	return c
}

func (f *forger) clients(names ...string) []*forgedClient {
	var cs []*forgedClient
	for _, name := range names {
		cs = append(cs, f.client(name))
	}
	return cs
}

// forgedLifetime holds at forgedNow.
var forgedLifetime = Lifetime{NotBefore: forgedNow - 3600, NotAfter: forgedNow + 3600}

const forgedNow = 1_800_000_000

// leafNode makes a leaf as for a key package of c, edited before it is signed.
func (f *forger) leafNode(c *forgedClient, edit func(*LeafNode)) *LeafNode {
	f.t.Helper()
	l := &LeafNode{
		SignatureKey: c.signatureKey,
		Credential:   c.credential,
		Capabilities: Capabilities{
			Versions:     []ProtocolVersion{ProtocolVersionMLS10},
			CipherSuites: []CipherSuite{CipherSuite(f.s.ID())},
			Credentials:  []CredentialType{CredentialTypeBasic},
		},
		Source:   LeafNodeSourceKeyPackage,
		Lifetime: forgedLifetime,
	}
	c.leaf, l.EncryptionKey = f.encryptionKey()
	if edit != nil {
		edit(l)
	}
	f.signLeaf(l, c, nil, 0)
	return l
}

// signLeaf signs l for its place in a group, which a leaf of a key package has
// not.
func (f *forger) signLeaf(l *LeafNode, c *forgedClient, groupID []byte, i LeafIndex) {
	f.t.Helper()
	var err error
	l.Signature, err = signWithLabel(f.s, c.signPriv, labelLeafNodeTBS, l.appendTBS(nil, groupID, i))
	f.must(err)
}

// keyPackage makes a key package of c; its leaf and the rest are edited before
// they are signed.
func (f *forger) keyPackage(c *forgedClient, editLeaf func(*LeafNode), edit func(*KeyPackage)) *KeyPackage {
	f.t.Helper()
	kp := &KeyPackage{Version: ProtocolVersionMLS10, CipherSuite: CipherSuite(f.s.ID()), LeafNode: f.leafNode(c, editLeaf)}
	var init secret.Bytes
	init, kp.InitKey = f.encryptionKey()
	if edit != nil {
		edit(kp)
	}
	f.signKeyPackage(kp, c)
	f.bundles[kp] = &KeyPackageBundle{KeyPackage: kp, InitPrivate: init, LeafPrivate: c.leaf}
	return kp
}

func (f *forger) signKeyPackage(kp *KeyPackage, c *forgedClient) {
	f.t.Helper()
	var err error
	kp.Signature, err = signWithLabel(f.s, c.signPriv, labelKeyPackageTBS, kp.appendTBS(nil))
	f.must(err)
}

// tree makes a tree of new leaves of the clients, from the left.
func (f *forger) tree(cs ...*forgedClient) *RatchetTree {
	f.t.Helper()
	e := (&RatchetTree{}).edit(f.s)
	for _, c := range cs {
		_, err := e.add(f.leafNode(c, nil))
		f.must(err)
	}
	return e.finish(nil)
}

// retree builds t anew with its nodes edited and hashed again. The nodes that
// edit is given are copies, the leaves and parents in them are not.
func (f *forger) retree(t *RatchetTree, edit func(nodes map[NodeIndex]*treeNode)) *RatchetTree {
	nodes := map[NodeIndex]*treeNode{}
	for x := range NodeIndex(t.leafCount.width()) {
		nodes[x] = &treeNode{}
		if n := t.node(x); n != nil {
			*nodes[x] = treeNode{leaf: n.leaf, parent: n.parent}
		}
	}
	edit(nodes)
	var b treeBuilder
	for x := range NodeIndex(t.leafCount.width()) {
		if n := nodes[x]; !n.blank() {
			*b.add(x) = *n
		}
	}
	return b.done(t.leafCount).withHashes(f.s, nil)
}

// contains tells whether one of the records holds the secret.
func contains(records [][]byte, s secret.Bytes) bool {
	for _, r := range records {
		if len(s) > 0 && bytes.Contains(r, s) {
			return true
		}
	}
	return false
}
