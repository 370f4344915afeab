package mlsgroup

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"testing"
)

// certAuth accepts Basic credentials and certificates, and takes the subject's
// common name for the identity.
type certAuth struct{ refuse string }

var errRefused = errors.New("refused")

func (a certAuth) identity(c *Credential) string {
	if c.Type == CredentialTypeBasic {
		return string(c.Identity)
	}
	cert, err := x509.ParseCertificate(c.Certificates[0])
	if err != nil {
		return ""
	}
	return cert.Subject.CommonName
}

func (a certAuth) ValidateCredential(c *Credential, _ []byte) error {
	if id := a.identity(c); id == "" || id == a.refuse {
		return errRefused
	}
	return nil
}

func (a certAuth) ValidSuccessor(old, next *Credential) error {
	if a.identity(old) != a.identity(next) {
		return errRefused
	}
	return nil
}

// x509Signer makes an Ed25519 key with a certificate that names name.
func x509Signer(t testing.TB, name string, seed byte) *Signer {
	t.Helper()
	priv := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32))
	pub := priv.Public().(ed25519.PublicKey)
	return &Signer{
		CipherSuite: 1, Credential: X509Credential([][]byte{selfSigned(t, name, pub, priv)}),
		Private: priv.Seed(), Public: []byte(pub),
	}
}

// rotated makes a commit of c with another signature key.
func rotated(w *world, c *client, signer *Signer, auth AuthenticationService) (*OwnCommit, error) {
	var own *OwnCommit
	err := c.try(func(g *Group) error {
		in := c.in()
		in.Auth = auth
		var err error
		own, err = g.Commit(in, CommitOptions{Leaf: &LeafChange{Signer: signer}, WireFormat: WireFormatPublicMessage})
		return err
	})
	return own, err
}

// strictWorld is a world whose members do not accept changed keys of Basic
// credentials in the Wire profile.
func strictWorld(t testing.TB, p Profile, seed uint64, members int) *world {
	w := newWorld(t, 1, p, seed)
	w.add(w.members[0], members-1, CommitOptions{})
	for _, m := range w.members {
		m.cold = false
		m.g = loaded(m)
		h := *m.g.head
		h.basicKeyChange = false
		m.g.head = &h
		m.store.m[string(HeadKey())] = h.record()
	}
	return w
}

// Rotation commits are signed with the new key in the Wire profile and with the
// old one in the RFC's (reference: rotation is the first thing that breaks).
func TestRotationCommitSignature(t *testing.T) {
	for _, p := range []Profile{ProfileRFC, ProfileWire} {
		w := strictWorld(t, p, 300, 3)
		c, reader := w.members[0], w.members[1]
		signer := x509Signer(t, c.name, 9)
		own, err := rotated(w, c, signer, certAuth{})
		if err != nil {
			t.Fatalf("%v: %v", p, err)
		}
		m, err := ParseMLSMessage(own.Bundle.Commit)
		if err != nil {
			t.Fatal(err)
		}
		ac := &AuthenticatedContent{WireFormat: WireFormatPublicMessage, Content: m.PublicMessage.Content, Auth: m.PublicMessage.Auth}
		want := c.signer.Public
		if p == ProfileWire {
			want = signer.Public
		}
		if err := ac.verify(c.g.s, want, c.g.head.encodedContext); err != nil {
			t.Errorf("%v: %v", p, err)
		}
		gi, err := ParseMLSMessage(own.Bundle.GroupInfo)
		if err != nil {
			t.Fatal(err)
		}
		if err := gi.GroupInfo.verify(c.g.s, signer.Public); err != nil {
			t.Errorf("%v: %v", p, err)
		}
		in := reader.in()
		in.Auth = certAuth{}
		tr, err := reader.g.Process(in, own.Bundle.Commit)
		if err != nil {
			t.Fatalf("%v: %v", p, err)
		}
		if !bytes.Equal(tr.Received.SignatureKey, want) || !bytes.Equal(tr.Next.tree.Leaf(c.g.OwnLeaf()).SignatureKey, signer.Public) {
			t.Errorf("%v: sender's key is %x", p, tr.Received.SignatureKey)
		}
		// Without anybody to vouch for certificates it is refused.
		if _, err := reader.g.Process(reader.in(), own.Bundle.Commit); !errors.Is(err, CheckCredential) {
			t.Errorf("%v, no authentication service: %v", p, err)
		}
		// So is a certificate of somebody else.
		own, err = rotated(w, c, x509Signer(t, "mallory", 10), allowAll{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := reader.g.Process(in, own.Bundle.Commit); !errors.Is(err, CheckCredentialSuccessor) {
			t.Errorf("%v, another identity: %v", p, err)
		}
	}
}

type allowAll struct{}

func (allowAll) ValidateCredential(*Credential, []byte) error  { return nil }
func (allowAll) ValidSuccessor(*Credential, *Credential) error { return nil }

// A member who knows the group's secrets makes a commit in another member's
// name. In the Wire profile its path leaf could carry a key of the forger; the
// Basic credential vouches for nothing.
func TestLeafTakeoverIsRefused(t *testing.T) {
	w := strictWorld(t, ProfileWire, 310, 4)
	forger, victim, reader := w.members[0], w.members[1], w.members[2]
	key, err := NewSigner(seeded(99), 1, victim.signer.Credential)
	if err != nil {
		t.Fatal(err)
	}
	// The forger's state, with the victim's place in it, and a key of its own.
	forge := func() []byte {
		g := *forger.g
		h := *g.head
		h.own, h.signatureKey, h.basicKeyChange = victim.g.OwnLeaf(), victim.signer.Public, true
		g.head = &h
		in := forger.in()
		in.Signer = &Signer{CipherSuite: 1, Credential: victim.signer.Credential, Private: key.Private, Public: victim.signer.Public}
		own, err := g.Commit(in, CommitOptions{Leaf: &LeafChange{Signer: key}})
		if err != nil {
			t.Fatal(err)
		}
		return own.Bundle.Commit
	}
	message := forge()
	if _, err := reader.g.Process(reader.in(), message); !errors.Is(err, CheckCredentialSuccessor) {
		t.Errorf("takeover: %v", err)
	}
	// What the option opens, and what CoreCrypto has open.
	g := *reader.g
	h := *g.head
	h.basicKeyChange = true
	g.head = &h
	if _, err := g.Process(reader.in(), message); err != nil {
		t.Errorf("takeover with the option: %v", err)
	}
	// We do not send what our own kind refuses.
	if _, err := rotated(w, victim, key, nil); !errors.Is(err, CheckCredentialSuccessor) {
		t.Errorf("sending a changed key: %v", err)
	}
}

func TestWireProfile(t *testing.T) {
	w := newWorld(t, 1, ProfileWire, 320)
	w.add(w.members[0], 3, CommitOptions{})
	c, reader := w.members[0], w.members[1]

	// Application messages are padded to a multiple of 128.
	for _, n := range []int{0, 1, 40, 100, 1000} {
		m, err := ParseMLSMessage(w.encrypt(c, string(make([]byte, n))))
		if err != nil {
			t.Fatal(err)
		}
		if len(m.PrivateMessage.Ciphertext)%128 != 0 {
			t.Errorf("%d bytes make a ciphertext of %d", n, len(m.PrivateMessage.Ciphertext))
		}
	}
	// A group requires Basic and X.509 credentials, before its other extensions.
	es := c.g.GroupContext().Extensions
	rc, err := es.requiredCapabilities()
	if err != nil || len(es) != 2 || es[0].Type != ExtensionTypeRequiredCapabilities || es[1].Type != ExtensionTypeExternalSenders ||
		len(rc.Credentials) != 2 || len(rc.Extensions)+len(rc.Proposals) != 0 {
		t.Errorf("extensions %v", es)
	}
	// Adds alone make no path; anything else does, and nothing at all.
	own := w.commitOf(c, CommitOptions{Proposals: []Proposal{{Type: ProposalTypeAdd, Add: &Add{KeyPackage: w.newClient().keyPackage(ProfileWire).KeyPackage}}}})
	if m, err := ParseMLSMessage(own.Bundle.Commit); err != nil || m.PublicMessage.Content.Commit.Path != nil {
		t.Errorf("an Add has a path (%v)", err)
	}
	own = w.commitOf(c, CommitOptions{})
	if m, err := ParseMLSMessage(own.Bundle.Commit); err != nil || m.PublicMessage.Content.Commit.Path == nil {
		t.Errorf("an empty commit has no path (%v)", err)
	}
	gi, err := ParseMLSMessage(own.Bundle.GroupInfo)
	if err != nil {
		t.Fatal(err)
	}
	if es := gi.GroupInfo.Extensions; len(es) != 2 || es[0].Type != ExtensionTypeRatchetTree || es[1].Type != ExtensionTypeExternalPub {
		t.Errorf("group info extensions %d", len(es))
	}
	// Handshakes are public.
	_, err = c.g.Propose(c.in(), ProposalOptions{Update: &LeafChange{}, WireFormat: WireFormatPrivateMessage})
	if !errors.Is(err, ErrWireFormat) {
		t.Errorf("sending a private proposal: %v", err)
	}
	asRFC := *loaded(c)
	h := *asRFC.head
	h.profile = ProfileRFC
	asRFC.head = &h
	other := &client{holder: &holder{g: &asRFC, store: c.store.clone()}, t: t, signer: c.signer, rand: c.rand}
	var tr *Transition
	w.must(other.try(func(g *Group) error {
		var err error
		tr, err = g.Propose(c.in(), ProposalOptions{Update: &LeafChange{}, WireFormat: WireFormatPrivateMessage})
		return err
	}))
	if _, err := reader.process(reader.in(), tr.Outbound.Message); !errors.Is(err, ErrWireFormat) {
		t.Errorf("receiving a private proposal: %v", err)
	}
	// The server may remove and nothing else.
	add := &Proposal{Type: ProposalTypeAdd, Add: &Add{KeyPackage: w.newClient().keyPackage(ProfileWire).KeyPackage}}
	m, err := NewExternalProposal(Input{Signer: w.server}, ExternalProposalOptions{CipherSuite: 1, GroupID: c.g.GroupID(), Epoch: c.g.Epoch(), Proposal: add})
	w.must(err)
	if _, err := reader.process(reader.in(), m); !errors.Is(err, CheckExternalProposalType) {
		t.Errorf("the server adds: %v", err)
	}
	// Key packages never carry what Wire's clients read as something else.
	if _, err := NewKeyPackage(c.in(), KeyPackageOptions{Profile: ProfileWire, LastResort: true}); err == nil {
		t.Error("a last resort key package in the Wire profile")
	}
	b, err := NewKeyPackage(c.in(), KeyPackageOptions{Profile: ProfileRFC, LastResort: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := b.KeyPackage.Extensions.find(ExtensionTypeLastResort); !ok || !b.KeyPackage.LeafNode.Capabilities.extension(ExtensionTypeLastResort) {
		t.Error("a last resort key package does not say so")
	}
}
