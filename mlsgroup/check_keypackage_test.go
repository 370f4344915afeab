package mlsgroup

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"testing"
	"time"
)

// Types that are registered nowhere.
const (
	otherExtension  ExtensionType  = 0xff00
	otherProposal   ProposalType   = 0xff01
	otherCredential CredentialType = 0xff02
)

// supportsAll makes a leaf list every one of them and X.509 credentials.
func supportsAll(_ LeafIndex, l *LeafNode) {
	l.Capabilities.Extensions = []ExtensionType{otherExtension}
	l.Capabilities.Proposals = []ProposalType{otherProposal}
	l.Capabilities.Credentials = []CredentialType{CredentialTypeBasic, CredentialTypeX509, otherCredential}
}

// group is a group whose members support all other types, with the extensions.
func groupOf(t *testing.T, es ...Extension) *forgedGroup {
	return newForger(t).group(forgedOptions{leaf: supportsAll, context: func(gc *GroupContext) { gc.Extensions = es }})
}

// adds is what we make of a commit that adds erin, whose leaf and key package
// are edited before they are signed.
func (g *forgedGroup) adds(editLeaf func(*LeafNode), edit func(*KeyPackage)) error {
	g.t.Helper()
	kp := g.keyPackage(g.client("erin"), func(l *LeafNode) {
		supportsAll(0, l)
		if editLeaf != nil {
			editLeaf(l)
		}
	}, edit)
	return g.commits(g.add(kp))
}

// commits is what we make of alice's commit with the proposals by value.
func (g *forgedGroup) commits(ps ...*Proposal) error {
	g.t.Helper()
	c := forgedCommit{proposals: byValue(ps...)}
	for _, p := range ps {
		if p.PreSharedKey != nil {
			c.psks = append(c.psks, g.keyOf(p))
		}
	}
	m, _ := g.commit(c)
	return g.process(m)
}

// keyOf is the key that a PreSharedKey proposal injects.
func (g *forgedGroup) keyOf(p *Proposal) preSharedKey {
	id := p.PreSharedKey.PSK
	if id.Type == PSKTypeResumption && string(id.GroupID) == string(g.context.GroupID) && id.Epoch == g.context.Epoch {
		return preSharedKey{id, g.epoch.resumption}
	}
	return preSharedKey{id, forgedPSK(id)}
}

// updates is what we make of bob's Update, committed by alice.
func (g *forgedGroup) updates(edit func(*LeafNode)) error {
	g.t.Helper()
	return g.committedBy(0, 1, g.update(1, edit))
}

// committedBy is what we make of a commit that refers to a proposal sent by a
// member before.
func (g *forgedGroup) committedBy(committer, proposer LeafIndex, ps ...*Proposal) error {
	g.t.Helper()
	c := forgedCommit{from: committer}
	var messages [][]byte
	for _, p := range ps {
		m, ref := g.proposeBy(proposer, p)
		messages, c.proposals = append(messages, m), append(c.proposals, ref)
	}
	m, _ := g.commit(c)
	return g.process(append(messages, m)...)
}

// paths is what we make of alice's commit with a path whose leaf is edited
// before it is signed.
func (g *forgedGroup) paths(edit func(*LeafNode)) error {
	g.t.Helper()
	m, _ := g.commit(forgedCommit{leaf: edit})
	return g.process(m)
}

// as makes the leaf name another client.
func as(name string) func(*LeafNode) {
	return func(l *LeafNode) { l.Credential = BasicCredential([]byte(name)) }
}

// certificate makes a certificate for an Ed25519 key that no leaf has.
func (f *forger) certificate() []byte {
	f.t.Helper()
	priv := ed25519.NewKeyFromSeed(f.bytes(ed25519.SeedSize))
	c := x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(forgedNow, 0), NotAfter: time.Unix(forgedNow+1, 0)}
	der, err := x509.CreateCertificate(f.rand, &c, &c, priv.Public(), priv)
	f.must(err)
	return der
}

// damage changes a byte of a signature.
func damage(signature []byte) []byte {
	b := bytes.Clone(signature)
	b[len(b)/2] ^= 1
	return b
}

// requires is a required_capabilities extension.
func requires(rc RequiredCapabilities) Extension { return rc.Extension() }

// without takes the other types away from a leaf again.
var (
	noOtherExtension  = func(l *LeafNode) { l.Capabilities.Extensions = nil }
	noOtherProposal   = func(l *LeafNode) { l.Capabilities.Proposals = nil }
	noOtherCredential = func(l *LeafNode) { l.Capabilities.Credentials = l.Capabilities.Credentials[:2] }
)

var leafRefused = []checkCase{
	{"5.1.2-1/leaf", func(t *testing.T) error {
		return groupOf(t).adds(func(l *LeafNode) { l.SignatureKey = l.SignatureKey[1:] }, nil)
	}},
	{"5.1.2-1/external-sender", func(t *testing.T) error {
		g := groupOf(t)
		c := g.client("server")
		return g.commits(g.extensions(ExternalSendersExtension([]ExternalSender{{SignatureKey: c.signatureKey[1:], Credential: c.credential}})))
	}},
	{"5.3-1/other", func(t *testing.T) error {
		g := groupOf(t)
		return g.adds(func(l *LeafNode) { l.Credential = X509Credential([][]byte{g.certificate()}) }, nil)
	}},
	{"5.3-1/none", func(t *testing.T) error {
		return groupOf(t).adds(func(l *LeafNode) { l.Credential = X509Credential(nil) }, nil)
	}},
	{"5.3-1/malformed", func(t *testing.T) error {
		g := groupOf(t)
		return g.adds(func(l *LeafNode) { l.Credential = X509Credential([][]byte{g.certificate()[1:]}) }, nil)
	}},
	{"5.3.1-1/key-package", func(t *testing.T) error {
		f := newForger(t)
		return f.keyPackage(f.client("mallory"), nil, nil).Validate(f.input())
	}},
	{"5.3.1-1/join", func(t *testing.T) error {
		return joinedTree(t, forgedOptions{leaf: func(i LeafIndex, l *LeafNode) {
			if i == 1 {
				as("mallory")(l)
			}
		}})
	}},
	{"5.3.1-1/add", func(t *testing.T) error { return groupOf(t).adds(as("mallory"), nil) }},
	{"5.3.1-1/update", func(t *testing.T) error { return groupOf(t).updates(as("bob, or mallory")) }},
	{"5.3.1-1/path", func(t *testing.T) error { return groupOf(t).paths(as("alice, or mallory")) }},
	{"5.3.1-2/added", func(t *testing.T) error {
		g := groupOf(t)
		return g.commits(g.extensions(g.senders("mallory")))
	}},
	{"5.3.1-2/changed", func(t *testing.T) error {
		f := newForger(t)
		g := f.group(forgedOptions{context: func(gc *GroupContext) { gc.Extensions = Extensions{f.senders("server")} }})
		return g.commits(g.extensions(g.senders("mallory")))
	}},
	{"5.3.1-3/update", func(t *testing.T) error { return groupOf(t).updates(as("zoe")) }},
	{"5.3.1-3/path", func(t *testing.T) error { return groupOf(t).paths(as("zoe")) }},
	{"5.3.1-3/wire", func(t *testing.T) error {
		// In the Wire profile the path's leaf signs. Alice, or somebody in her
		// name, brings a new key that no certificate vouches for.
		g := groupOf(t)
		g.profile = ProfileWire
		other := g.client("alice")
		m, _ := g.commit(forgedCommit{
			leaf:   func(l *LeafNode) { l.SignatureKey = other.signatureKey },
			signed: func(l *LeafNode) { g.signLeaf(l, other, g.context.GroupID, 0) },
			signer: other,
		})
		return g.process(m)
	}},
	{"7.2-1/extension", func(t *testing.T) error {
		f := newForger(t)
		c := ProfileRFC.capabilities()
		c.Extensions = append(c.Extensions, ExtensionTypeExternalSenders)
		_, err := NewKeyPackage(f.inputOf(f.client("alice")), KeyPackageOptions{Profile: ProfileRFC, Capabilities: &c})
		return err
	}},
	{"7.2-1/proposal", func(t *testing.T) error {
		f := newForger(t)
		c := ProfileRFC.capabilities()
		c.Proposals = append(c.Proposals, ProposalTypeRemove)
		_, err := NewKeyPackage(f.inputOf(f.client("alice")), KeyPackageOptions{Profile: ProfileRFC, Capabilities: &c})
		return err
	}},
	{"7.2-3", func(t *testing.T) error {
		return groupOf(t).adds(func(l *LeafNode) { l.Extensions = Extensions{{Type: otherExtension + 1}} }, nil)
	}},
	{"7.2-4", func(t *testing.T) error {
		return groupOf(t).adds(func(l *LeafNode) { l.Capabilities.Credentials = []CredentialType{CredentialTypeX509, otherCredential} }, nil)
	}},
	{"7.2-6/key-package", func(t *testing.T) error {
		f := newForger(t)
		return f.keyPackage(f.client("erin"), nil, nil).Validate(f.briefly())
	}},
	{"7.2-6/backwards", func(t *testing.T) error {
		f := newForger(t)
		in := f.input()
		in.MaxLifetime = 1 << 62
		return f.group(forgedOptions{leaf: func(i LeafIndex, l *LeafNode) {
			if i == 1 {
				l.Lifetime = Lifetime{NotBefore: forgedNow, NotAfter: forgedNow - 1}
			}
		}}).joinWith(in)
	}},
	{"7.2-6/join", func(t *testing.T) error {
		f := newForger(t)
		return f.group(forgedOptions{}).joinWith(f.briefly())
	}},
	{"7.2-6/add", func(t *testing.T) error {
		g := groupOf(t)
		m, _ := g.commit(forgedCommit{proposals: byValue(g.add(g.erin()))})
		_, err := g.our().Process(g.briefly(), m)
		return err
	}},
	{"7.3-1/key-package", func(t *testing.T) error {
		f := newForger(t)
		return f.keyPackage(f.client("erin"), nil, func(kp *KeyPackage) { kp.LeafNode.Signature = damage(kp.LeafNode.Signature) }).Validate(f.input())
	}},
	{"7.3-1/join", func(t *testing.T) error {
		return joinedTree(t, forgedOptions{before: func(e *treeEdit) {
			l := *e.leaf(1)
			l.Signature = damage(l.Signature)
			e.update(1, &l)
		}})
	}},
	{"7.3-1/add", func(t *testing.T) error {
		return groupOf(t).adds(nil, func(kp *KeyPackage) { kp.LeafNode.Signature = damage(kp.LeafNode.Signature) })
	}},
	{"7.3-1/update", func(t *testing.T) error {
		// Signed for another place in the tree.
		g := groupOf(t)
		p := g.update(1, nil)
		g.signLeaf(p.Update.LeafNode, g.members[1], g.context.GroupID, 2)
		return g.committedBy(0, 1, p)
	}},
	{"7.3-1/path", func(t *testing.T) error {
		// Signed for another group.
		g := groupOf(t)
		m, _ := g.commit(forgedCommit{signed: func(l *LeafNode) { g.signLeaf(l, g.members[0], []byte("another room"), 0) }})
		return g.process(m)
	}},
	{"7.3-2/extension", func(t *testing.T) error {
		return groupOf(t, requires(RequiredCapabilities{Extensions: []ExtensionType{otherExtension}})).adds(noOtherExtension, nil)
	}},
	{"7.3-2/proposal", func(t *testing.T) error {
		return groupOf(t, requires(RequiredCapabilities{Proposals: []ProposalType{otherProposal}})).adds(noOtherProposal, nil)
	}},
	{"7.3-2/credential", func(t *testing.T) error {
		return groupOf(t, requires(RequiredCapabilities{Credentials: []CredentialType{otherCredential}})).adds(noOtherCredential, nil)
	}},
	{"7.3-3", func(t *testing.T) error {
		return groupOf(t).adds(func(l *LeafNode) { l.Capabilities.CipherSuites = []CipherSuite{CipherSuiteP256AES128P256} }, nil)
	}},
	{"7.3-4/join", func(t *testing.T) error {
		return joinedTree(t, forgedOptions{leaf: func(i LeafIndex, l *LeafNode) {
			switch supportsAll(i, l); i {
			case 1:
				l.Credential = Credential{Type: otherCredential, Opaque: []byte("bob")}
			case 2:
				noOtherCredential(l)
			}
		}})
	}},
	{"7.3-4/add", func(t *testing.T) error {
		// Everybody lists it but carol.
		g := newForger(t).group(forgedOptions{leaf: func(i LeafIndex, l *LeafNode) {
			if supportsAll(i, l); i == 2 {
				noOtherCredential(l)
			}
		}})
		return g.adds(func(l *LeafNode) { l.Credential = Credential{Type: otherCredential, Opaque: []byte("erin")} }, nil)
	}},
	{"7.3-5", func(t *testing.T) error {
		g := newForger(t).group(forgedOptions{leaf: func(i LeafIndex, l *LeafNode) {
			if supportsAll(i, l); i == 2 {
				l.Credential = Credential{Type: otherCredential, Opaque: []byte("carol")}
			}
		}})
		return g.adds(noOtherCredential, nil)
	}},
	{"7.3-7", func(t *testing.T) error {
		return groupOf(t).adds(func(l *LeafNode) { l.Source, l.Lifetime = LeafNodeSourceUpdate, Lifetime{} }, nil)
	}},
	{"7.3-8", func(t *testing.T) error {
		return groupOf(t).updates(func(l *LeafNode) { l.Source, l.ParentHash = LeafNodeSourceCommit, make([]byte, 32) })
	}},
	{"7.3-9", func(t *testing.T) error {
		g := groupOf(t)
		return g.updates(func(l *LeafNode) { l.EncryptionKey = g.tree.Leaf(1).EncryptionKey })
	}},
	{"7.3-10", func(t *testing.T) error {
		return groupOf(t).paths(func(l *LeafNode) { l.Source, l.ParentHash = LeafNodeSourceUpdate, nil })
	}},
	{"7.3-11/add", func(t *testing.T) error {
		// Bob changes to the signature key that erin comes with.
		g := groupOf(t)
		erin := g.client("erin")
		kp := g.keyPackage(erin, func(l *LeafNode) { supportsAll(0, l) }, nil)
		p := g.update(1, func(l *LeafNode) { l.SignatureKey = erin.signatureKey })
		g.signLeaf(p.Update.LeafNode, erin, g.context.GroupID, 1)
		return g.committedBy(0, 1, p, g.add(kp))
	}},
	{"7.3-11/update", func(t *testing.T) error {
		g := groupOf(t)
		p := g.update(1, func(l *LeafNode) { l.SignatureKey = g.members[2].signatureKey })
		g.signLeaf(p.Update.LeafNode, g.members[2], g.context.GroupID, 1)
		return g.committedBy(0, 1, p)
	}},
	{"7.3-11/path", func(t *testing.T) error {
		g := groupOf(t)
		m, _ := g.commit(forgedCommit{
			leaf:   func(l *LeafNode) { l.SignatureKey = g.members[2].signatureKey },
			signed: func(l *LeafNode) { g.signLeaf(l, g.members[2], g.context.GroupID, 0) },
		})
		return g.process(m)
	}},
	{"7.3-12/add", func(t *testing.T) error {
		g := groupOf(t)
		return g.adds(func(l *LeafNode) { l.EncryptionKey = g.tree.Leaf(2).EncryptionKey }, nil)
	}},
	{"7.3-12/update", func(t *testing.T) error {
		g := groupOf(t)
		return g.updates(func(l *LeafNode) { l.EncryptionKey = g.tree.Leaf(2).EncryptionKey })
	}},
	{"13.4-5", func(t *testing.T) error {
		return groupOf(t, Extension{Type: otherExtension}).adds(noOtherExtension, nil)
	}},
}

var keyPackageRefused = []checkCase{
	{"10-1", func(t *testing.T) error {
		return groupOf(t).adds(nil, func(kp *KeyPackage) { kp.InitKey = kp.InitKey[1:] })
	}},
	{"10-3/leaf", func(t *testing.T) error {
		return groupOf(t).adds(func(l *LeafNode) { l.EncryptionKey = l.EncryptionKey[1:] }, nil)
	}},
	{"10-3/join", func(t *testing.T) error {
		return joinedTree(t, forgedOptions{path: forgedCommit{keys: func(nodes []UpdatePathNode) {
			nodes[0].EncryptionKey = nodes[0].EncryptionKey[1:]
		}}})
	}},
	{"10-3/path", func(t *testing.T) error {
		g := groupOf(t)
		m, _ := g.commit(forgedCommit{keys: func(nodes []UpdatePathNode) { nodes[0].EncryptionKey = nodes[0].EncryptionKey[1:] }})
		return g.process(m)
	}},
	{"10-4", func(t *testing.T) error {
		g := groupOf(t)
		kp := g.keyPackage(g.client("erin"), func(l *LeafNode) { supportsAll(0, l) }, nil)
		kp.Signature = damage(kp.Signature)
		return g.commits(g.add(kp))
	}},
	{"10-6", func(t *testing.T) error {
		return groupOf(t).adds(nil, func(kp *KeyPackage) { kp.Extensions = Extensions{{Type: otherExtension + 1}} })
	}},
	{"10.1-1/alone", func(t *testing.T) error {
		f := newForger(t)
		return f.keyPackage(f.client("erin"), nil, func(kp *KeyPackage) { kp.Version = 2 }).Validate(f.input())
	}},
	{"10.1-1/add", func(t *testing.T) error {
		return groupOf(t).adds(nil, func(kp *KeyPackage) { kp.Version = 2 })
	}},
	{"10.1-2", func(t *testing.T) error {
		return groupOf(t).adds(nil, func(kp *KeyPackage) { kp.CipherSuite = CipherSuiteX25519ChaChaEd25519 })
	}},
	{"10.1-3", func(t *testing.T) error {
		return groupOf(t).adds(nil, func(kp *KeyPackage) { kp.InitKey = kp.LeafNode.EncryptionKey })
	}},
}

var leafConstructed = []checkCase{
	{"7.2-2", func(t *testing.T) error {
		f := newForger(t)
		b, err := NewKeyPackage(f.inputOf(f.client("alice")), KeyPackageOptions{Profile: ProfileRFC})
		if err != nil {
			return err
		}
		c := b.KeyPackage.LeafNode.Capabilities
		if fmt.Sprint(c.Versions) != "[1]" || len(c.CipherSuites) != 7 || fmt.Sprint(c.Credentials) != "[1 2]" {
			return fmt.Errorf("%+v", c)
		}
		for _, cs := range c.CipherSuites {
			if !cs.Supported() {
				return fmt.Errorf("suite %v", cs)
			}
		}
		return nil
	}},
	{"7.2-5", func(t *testing.T) error {
		return groupOf(t).adds(func(l *LeafNode) {
			c := &l.Capabilities
			c.Versions = append(c.Versions, 0x7777)
			c.CipherSuites = append(c.CipherSuites, 0x7777)
			c.Extensions = append(c.Extensions, 0x7777)
			c.Proposals = append(c.Proposals, 0x7777)
			c.Credentials = append(c.Credentials, 0x7777)
		}, nil)
	}},
	{"10-2", func(t *testing.T) error {
		f := newForger(t)
		in := f.inputOf(f.client("alice"))
		seen := map[string]bool{}
		for range 4 {
			b, err := NewKeyPackage(in, KeyPackageOptions{Profile: ProfileRFC})
			if err != nil {
				return err
			}
			if key := string(b.KeyPackage.InitKey); seen[key] || key == string(b.KeyPackage.LeafNode.EncryptionKey) {
				return errors.New("an init key twice")
			} else {
				seen[key] = true
			}
		}
		return nil
	}},
	{"10-7", func(t *testing.T) error {
		return groupOf(t).adds(func(l *LeafNode) { l.Extensions = Extensions{{Type: otherExtension, Body: []byte("x")}} },
			func(kp *KeyPackage) { kp.Extensions = Extensions{{Type: otherExtension, Body: []byte("y")}} })
	}},
}
