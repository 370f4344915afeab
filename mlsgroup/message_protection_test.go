package mlsgroup

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
)

type protectionVector struct {
	CipherSuite             CipherSuite `json:"cipher_suite"`
	GroupID                 hexBytes    `json:"group_id"`
	Epoch                   uint64      `json:"epoch"`
	TreeHash                hexBytes    `json:"tree_hash"`
	ConfirmedTranscriptHash hexBytes    `json:"confirmed_transcript_hash"`
	SignaturePriv           hexBytes    `json:"signature_priv"`
	SignaturePub            hexBytes    `json:"signature_pub"`
	EncryptionSecret        hexBytes    `json:"encryption_secret"`
	SenderDataSecret        hexBytes    `json:"sender_data_secret"`
	MembershipKey           hexBytes    `json:"membership_key"`
	Proposal                hexBytes    `json:"proposal"`
	ProposalPriv            hexBytes    `json:"proposal_priv"`
	ProposalPub             hexBytes    `json:"proposal_pub"`
	Commit                  hexBytes    `json:"commit"`
	CommitPriv              hexBytes    `json:"commit_priv"`
	CommitPub               hexBytes    `json:"commit_pub"`
	Application             hexBytes    `json:"application"`
	ApplicationPriv         hexBytes    `json:"application_priv"`
}

// wireRoom is one epoch of the vectors: two members, of whom leaf 1 sends.
type wireRoom struct {
	s       *primitive.Suite
	v       protectionVector
	context []byte
	tree    secretTree
}

func newWireRoom(t testing.TB, v protectionVector) *wireRoom {
	gc := GroupContext{
		Version: ProtocolVersionMLS10, CipherSuite: v.CipherSuite, GroupID: v.GroupID, Epoch: v.Epoch,
		TreeHash: v.TreeHash, ConfirmedTranscriptHash: v.ConfirmedTranscriptHash,
	}
	tree, _ := newSecretTree(secret.Bytes(v.EncryptionSecret), 2)
	return &wireRoom{s: mustSuite(t, v.CipherSuite), v: v, context: gc.Marshal(), tree: tree}
}

func (wr *wireRoom) content(t ContentType, body []byte) *AuthenticatedContent {
	ac := &AuthenticatedContent{Content: FramedContent{
		GroupID: wr.v.GroupID, Epoch: wr.v.Epoch, ContentType: t, AuthenticatedData: []byte("aad"),
		Sender: Sender{Type: SenderTypeMember, LeafIndex: 1},
	}}
	r := reader{b: body}
	if t == ContentTypeApplication {
		ac.Content.Application = body
	} else {
		ac.Content.readBody(&r)
	}
	if t == ContentTypeCommit {
		ac.Auth.ConfirmationTag = bytes.Repeat([]byte{7}, wr.s.HashSize())
	}
	return ac
}

// openPrivate does the three calls. The message stays as it is.
func (wr *wireRoom) openPrivate(message *PrivateMessage) (*AuthenticatedContent, error) {
	m := unopened(message)
	d, err := openSenderData(wr.s, secret.Bytes(wr.v.SenderDataSecret), m)
	if err != nil {
		return nil, err
	}
	st, err := wr.tree.take(wr.s, d.leaf, ratchetOf(m.ContentType), d.generation, ReceiveConfig{}.withDefaults())
	if err != nil {
		return nil, err
	}
	ac, err := decryptPrivateMessage(wr.s, m, d, st.key)
	if err != nil {
		return nil, err
	}
	return ac, ac.verify(wr.s, wr.v.SignaturePub, wr.context)
}

// unopened returns a copy to be decrypted, which takes the ciphertext away.
func unopened(m *PrivateMessage) *PrivateMessage {
	c := *m
	c.Ciphertext = bytes.Clone(m.Ciphertext)
	return &c
}

// privateMessage returns the PrivateMessage of an encoded message.
func privateMessage(t testing.TB, message []byte) *PrivateMessage {
	t.Helper()
	m, err := ParseMLSMessage(message)
	if err != nil || m.PrivateMessage == nil {
		t.Fatalf("%v: not a PrivateMessage", err)
	}
	if again := m.Marshal(); !bytes.Equal(again, message) {
		t.Fatal("the message is not what it reads as")
	}
	return m.PrivateMessage
}

func (wr *wireRoom) openPublic(m *PublicMessage) (*AuthenticatedContent, error) {
	return openPublicMessage(new(Input), wr.s, m, secret.Bytes(wr.v.MembershipKey), wr.v.SignaturePub, wr.context)
}

func (wr *wireRoom) sealPrivate(t testing.TB, ac *AuthenticatedContent, padTo int) *PrivateMessage {
	t.Helper()
	return privateMessage(t, wr.seal(t, ac, padTo))
}

func (wr *wireRoom) seal(t testing.TB, ac *AuthenticatedContent, padTo int) []byte {
	t.Helper()
	ac.WireFormat = WireFormatPrivateMessage
	if err := ac.sign(wr.s, secret.Bytes(wr.v.SignaturePriv), wr.context); err != nil {
		t.Fatal(err)
	}
	st, err := wr.tree.send(wr.s, 1, ratchetOf(ac.Content.ContentType))
	if err != nil {
		t.Fatal(err)
	}
	m, err := sealPrivateMessage(wr.s, ac, st.key, [4]byte{1, 2, 3, 4}, secret.Bytes(wr.v.SenderDataSecret), padTo)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (wr *wireRoom) sealPublic(t testing.TB, ac *AuthenticatedContent) *PublicMessage {
	t.Helper()
	ac.WireFormat = WireFormatPublicMessage
	if err := ac.sign(wr.s, secret.Bytes(wr.v.SignaturePriv), wr.context); err != nil {
		t.Fatal(err)
	}
	m, err := sealPublicMessage(wr.s, ac, secret.Bytes(wr.v.MembershipKey), wr.context)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// body is the content's own field as the vectors have it.
func body(c *FramedContent) []byte {
	if c.ContentType == ContentTypeApplication {
		return c.Application
	}
	return c.appendBody(nil)
}

func TestMessageProtectionVectors(t *testing.T) {
	for _, v := range vectors[protectionVector](t, "message-protection.json") {
		t.Run(fmt.Sprintf("suite=%d", v.CipherSuite), func(t *testing.T) {
			wr := newWireRoom(t, v)
			for _, c := range []struct {
				name    string
				content ContentType
				body    []byte
				private []byte
				public  []byte
			}{
				{"proposal", ContentTypeProposal, v.Proposal, v.ProposalPriv, v.ProposalPub},
				{"commit", ContentTypeCommit, v.Commit, v.CommitPriv, v.CommitPub},
				{"application", ContentTypeApplication, v.Application, v.ApplicationPriv, nil},
			} {
				check := func(ac *AuthenticatedContent, err error) {
					t.Helper()
					if err != nil {
						t.Errorf("%s: %v", c.name, err)
					} else if !bytes.Equal(body(&ac.Content), c.body) || ac.Content.ContentType != c.content {
						t.Errorf("%s: content differs", c.name)
					}
				}
				private, err := ParseMLSMessage(c.private)
				if err != nil {
					t.Fatal(err)
				}
				check(wr.openPrivate(private.PrivateMessage))
				for _, padTo := range []int{0, 1, 128, 1000} {
					m := wr.sealPrivate(t, wr.content(c.content, c.body), padTo)
					check(wr.openPrivate(m))
					if padTo > 1 && len(m.Ciphertext)%padTo != 0 {
						t.Errorf("%s: ciphertext of %d bytes, padded to %d", c.name, len(m.Ciphertext), padTo)
					}
				}
				if c.public == nil {
					continue
				}
				public, err := ParseMLSMessage(c.public)
				if err != nil {
					t.Fatal(err)
				}
				check(wr.openPublic(public.PublicMessage))
				check(wr.openPublic(wr.sealPublic(t, wr.content(c.content, c.body))))
			}
		})
	}
}

// TestMessageTampering changes every part of a message and expects the check
// that is to find it.
func TestMessageTampering(t *testing.T) {
	for _, v := range vectors[protectionVector](t, "message-protection.json") {
		if v.CipherSuite > 2 {
			continue
		}
		wr := newWireRoom(t, v)
		commit := func() *AuthenticatedContent { return wr.content(ContentTypeCommit, v.Commit) }
		for _, c := range []struct {
			name   string
			change func(m *PrivateMessage)
			want   error
		}{
			{"epoch", func(m *PrivateMessage) { m.Epoch++ }, primitive.ErrOpen},
			{"group id", func(m *PrivateMessage) { m.GroupID = []byte("x") }, primitive.ErrOpen},
			{"content type", func(m *PrivateMessage) { m.ContentType = ContentTypeProposal }, primitive.ErrOpen},
			{"authenticated data", func(m *PrivateMessage) { m.AuthenticatedData = nil }, primitive.ErrOpen},
			{"sender data", func(m *PrivateMessage) { m.EncryptedSenderData[0] ^= 1 }, primitive.ErrOpen},
			{"sample", func(m *PrivateMessage) { m.Ciphertext[0] ^= 1 }, primitive.ErrOpen},
			{"ciphertext", func(m *PrivateMessage) { m.Ciphertext[len(m.Ciphertext)-1] ^= 1 }, primitive.ErrOpen},
			{"no ciphertext", func(m *PrivateMessage) { m.Ciphertext = nil }, primitive.ErrOpen},
		} {
			m := wr.sealPrivate(t, commit(), 64)
			c.change(m)
			if _, err := wr.openPrivate(m); !errors.Is(err, c.want) {
				t.Errorf("private, %s: %v, want %v", c.name, err, c.want)
			}
		}
		for _, c := range []struct {
			name   string
			change func(m *PublicMessage)
			want   error
		}{
			{"membership tag", func(m *PublicMessage) { m.MembershipTag[0] ^= 1 }, CheckMembershipTag},
			{"no membership tag", func(m *PublicMessage) { m.MembershipTag = nil }, CheckMembershipTag},
			{"confirmation tag", func(m *PublicMessage) { m.Auth.ConfirmationTag = nil }, CheckMembershipTag},
			{"epoch", func(m *PublicMessage) { m.Content.Epoch++ }, CheckMembershipTag},
			{"as application", func(m *PublicMessage) { m.Content.ContentType = ContentTypeApplication }, CheckApplicationPrivate},
			{"as external", func(m *PublicMessage) { m.Content.Sender.Type = SenderTypeExternal }, CheckExternalContent},
			{"as new member's proposal", func(m *PublicMessage) { m.Content.Sender.Type = SenderTypeNewMemberProposal }, CheckNewMemberProposalContent},
			{"as new member", func(m *PublicMessage) { m.Content.Sender.Type = SenderTypeNewMemberCommit }, CheckMessageSignature},
			{"signature", func(m *PublicMessage) {
				m.Auth.Signature[5] ^= 1
				ac := AuthenticatedContent{WireFormat: WireFormatPublicMessage, Content: m.Content, Auth: m.Auth}
				m.MembershipTag = wr.s.MAC(nil, secret.Bytes(v.MembershipKey), ac.appendTBS(nil, wr.context), ac.membershipMAC())
			}, CheckMessageSignature},
		} {
			m := wr.sealPublic(t, commit())
			c.change(m)
			if _, err := wr.openPublic(m); !errors.Is(err, c.want) {
				t.Errorf("public, %s: %v, want %v", c.name, err, c.want)
			}
		}
		// The wire format is signed: a public message's signature serves no private one.
		ac := commit()
		wr.sealPublic(t, ac)
		st, err := wr.tree.send(wr.s, 1, handshakeRatchet)
		if err != nil {
			t.Fatal(err)
		}
		m, err := sealPrivateMessage(wr.s, ac, st.key, [4]byte{}, secret.Bytes(v.SenderDataSecret), 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := wr.openPrivate(privateMessage(t, m)); !errors.Is(err, CheckMessageSignature) {
			t.Errorf("signature of a public message in a private one: %v", err)
		}
	}
}

// TestPrivateMessagePadding seals a plaintext with bytes of our choice after
// its content, which no function of the package does.
func TestPrivateMessagePadding(t *testing.T) {
	for _, v := range vectors[protectionVector](t, "message-protection.json") {
		wr := newWireRoom(t, v)
		for _, c := range []struct {
			name    string
			padding []byte
			cut     int
			want    error
		}{
			{"zeros", make([]byte, 300), 0, nil},
			{"last byte set", append(make([]byte, 99), 1), 0, CheckPadding},
			{"first byte set", append([]byte{128}, make([]byte, 99)...), 0, CheckPadding},
			{"signature cut", nil, 1, ErrDecode},
		} {
			ac := wr.content(ContentTypeApplication, []byte("text"))
			ac.WireFormat = WireFormatPrivateMessage
			if err := ac.sign(wr.s, secret.Bytes(v.SignaturePriv), wr.context); err != nil {
				t.Fatal(err)
			}
			st, err := wr.tree.send(wr.s, 1, applicationRatchet)
			if err != nil {
				t.Fatal(err)
			}
			m := &PrivateMessage{GroupID: v.GroupID, Epoch: v.Epoch, ContentType: ContentTypeApplication, AuthenticatedData: []byte("aad")}
			plain := ac.Auth.append(ac.Content.appendBody(nil), ContentTypeApplication)
			plain = append(plain[:len(plain)-c.cut], c.padding...)
			aad, nonce := m.contentAAD(&st.key, [4]byte{})
			if m.Ciphertext, err = wr.s.SealAEAD(nil, st.key.key, nonce, aad, plain); err != nil {
				t.Fatal(err)
			}
			if err := sealSenderData(wr.s, secret.Bytes(v.SenderDataSecret), m, senderData{leaf: 1}); err != nil {
				t.Fatal(err)
			}
			if _, err := wr.openPrivate(m); !errors.Is(err, c.want) {
				t.Errorf("suite %d, %s: %v, want %v", v.CipherSuite, c.name, err, c.want)
			}
		}
	}
}

// TestContentTypesOfSenders runs through what senders outside the group may send.
func TestContentTypesOfSenders(t *testing.T) {
	for typ := ProposalTypeAdd; typ <= ProposalTypeGroupContextExtensions; typ++ {
		c := FramedContent{ContentType: ContentTypeProposal, Proposal: &Proposal{Type: typ}}
		c.Sender.Type = SenderTypeExternal
		allowed := typ != ProposalTypeUpdate && typ != ProposalTypeExternalInit
		if err := c.checkSender(); (err == nil) != allowed || !allowed && !errors.Is(err, CheckExternalProposalType) {
			t.Errorf("external proposal of type %d: %v", typ, err)
		}
		c.Sender.Type = SenderTypeNewMemberProposal
		allowed = typ == ProposalTypeAdd
		if err := c.checkSender(); (err == nil) != allowed || !allowed && !errors.Is(err, CheckNewMemberProposalType) {
			t.Errorf("new member's proposal of type %d: %v", typ, err)
		}
		c.Sender.Type = SenderTypeNewMemberCommit
		if err := c.checkSender(); !errors.Is(err, CheckNewMemberCommitContent) {
			t.Errorf("new member's commit that is a proposal: %v", err)
		}
	}
}

// benchRoom has suite 1 keys of its own, so that benchmarks need no vectors.
func benchRoom(b testing.TB) *wireRoom {
	s := mustSuite(b, CipherSuiteX25519AES128Ed25519)
	priv, pub, err := s.GenerateSignatureKey(make(secret.Bytes, s.SeedSize()))
	if err != nil {
		b.Fatal(err)
	}
	zero := make(hexBytes, s.HashSize())
	return newWireRoom(b, protectionVector{
		CipherSuite: CipherSuiteX25519AES128Ed25519, GroupID: []byte("room"), Epoch: 7,
		TreeHash: zero, ConfirmedTranscriptHash: zero, SignaturePriv: hexBytes(priv), SignaturePub: pub,
		EncryptionSecret: zero, SenderDataSecret: zero, MembershipKey: zero,
	})
}

// BenchmarkPrivateMessage opens and seals messages of 1 KiB in order, suite 1.
func BenchmarkPrivateMessage(b *testing.B) {
	const size = 1024
	wr := benchRoom(b)
	c := ReceiveConfig{}.withDefaults()
	first, err := wr.tree.take(wr.s, 1, applicationRatchet, 0, c)
	if err != nil {
		b.Fatal(err)
	}
	wr.tree = first.next // hot: the cover is split
	m := wr.sealPrivate(b, wr.content(ContentTypeApplication, make([]byte, size)), 0)
	open := func(b *testing.B, verify bool) {
		b.ReportAllocs()
		b.SetBytes(size)
		for b.Loop() {
			m := unopened(m)
			d, err := openSenderData(wr.s, secret.Bytes(wr.v.SenderDataSecret), m)
			if err != nil {
				b.Fatal(err)
			}
			st, err := wr.tree.take(wr.s, d.leaf, applicationRatchet, d.generation, c)
			if err != nil {
				b.Fatal(err)
			}
			ac, err := decryptPrivateMessage(wr.s, m, d, st.key)
			if err != nil || len(ac.Content.Application) != size {
				b.Fatal(err)
			}
			if verify {
				if err := ac.verify(wr.s, wr.v.SignaturePub, wr.context); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.Run("open", func(b *testing.B) { open(b, true) })
	b.Run("open-unverified", func(b *testing.B) { open(b, false) })
	b.Run("take", func(b *testing.B) {
		b.ReportAllocs()
		tree, g := wr.tree, uint32(1)
		for b.Loop() {
			st, err := tree.take(wr.s, 1, applicationRatchet, g, c)
			if err != nil {
				b.Fatal(err)
			}
			tree = st.next
			g++
		}
	})
	b.Run("seal", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(size)
		text := make([]byte, size)
		for b.Loop() {
			wr.seal(b, wr.content(ContentTypeApplication, text), 128)
		}
	})
}

func TestPrivateMessageLimits(t *testing.T) {
	wr := benchRoom(t)
	ac := wr.content(ContentTypeApplication, []byte("text"))
	ac.WireFormat = WireFormatPrivateMessage
	if err := ac.sign(wr.s, secret.Bytes(wr.v.SignaturePriv), wr.context); err != nil {
		t.Fatal(err)
	}
	st, err := wr.tree.send(wr.s, 1, applicationRatchet)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sealPrivateMessage(wr.s, ac, st.key, [4]byte{}, secret.Bytes(wr.v.SenderDataSecret), maxMessageLen+1); !errors.Is(err, CheckMessageSize) {
		t.Errorf("padded beyond what anyone reads: %v", err)
	}
	ac.Content.Sender = Sender{Type: SenderTypeExternal}
	if _, err := sealPrivateMessage(wr.s, ac, st.key, [4]byte{}, secret.Bytes(wr.v.SenderDataSecret), 0); !errors.Is(err, CheckSenderLeaf) {
		t.Errorf("private message from outside: %v", err)
	}
	ac.Content.Sender = Sender{Type: SenderTypeMember}
	if _, err := sealPublicMessage(wr.s, ac, secret.Bytes(wr.v.MembershipKey), wr.context); !errors.Is(err, CheckApplicationPrivate) {
		t.Errorf("public application message: %v", err)
	}
}

func TestOpenAllocations(t *testing.T) {
	wr := benchRoom(t)
	c := ReceiveConfig{}.withDefaults()
	first, err := wr.tree.take(wr.s, 1, applicationRatchet, 0, c)
	if err != nil {
		t.Fatal(err)
	}
	wr.tree = first.next
	m := wr.sealPrivate(t, wr.content(ContentTypeApplication, make([]byte, 1024)), 0)
	n := testing.AllocsPerRun(100, func() {
		m := unopened(m)
		d, err := openSenderData(wr.s, secret.Bytes(wr.v.SenderDataSecret), m)
		if err != nil {
			t.Fatal(err)
		}
		st, err := wr.tree.take(wr.s, d.leaf, applicationRatchet, d.generation, c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decryptPrivateMessage(wr.s, m, d, st.key); err != nil {
			t.Fatal(err)
		}
	})
	if n > 20 {
		t.Errorf("%v allocations to open a message, signature apart", n)
	}
}
