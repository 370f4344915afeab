package mlsgroup

import (
	"slices"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
)

// WireFormat says what an MLSMessage holds (RFC 9420 section 6).
type WireFormat uint16

// Wire formats of RFC 9420.
const (
	WireFormatPublicMessage  WireFormat = 1
	WireFormatPrivateMessage WireFormat = 2
	WireFormatWelcome        WireFormat = 3
	WireFormatGroupInfo      WireFormat = 4
	WireFormatKeyPackage     WireFormat = 5
)

// ContentType says what a FramedContent holds (RFC 9420 section 6).
type ContentType uint8

// Content types.
const (
	ContentTypeApplication ContentType = 1
	ContentTypeProposal    ContentType = 2
	ContentTypeCommit      ContentType = 3
)

// SenderType says who sent a message (RFC 9420 section 6).
type SenderType uint8

// Sender types.
const (
	SenderTypeMember            SenderType = 1
	SenderTypeExternal          SenderType = 2
	SenderTypeNewMemberProposal SenderType = 3
	SenderTypeNewMemberCommit   SenderType = 4
)

// Sender is the sender of a message.
type Sender struct {
	Type      SenderType
	LeafIndex LeafIndex // Type is SenderTypeMember
	Index     uint32    // Type is SenderTypeExternal: position in external_senders
}

// FramedContent is the signed content of a message (RFC 9420 section 6).
type FramedContent struct {
	GroupID           []byte
	Epoch             uint64
	Sender            Sender
	AuthenticatedData []byte
	ContentType       ContentType
	// Exactly the field of ContentType is set.
	Application secret.Bytes
	Proposal    *Proposal
	Commit      *Commit // not to be changed once it was read or signed

	// commit is the encoding of Commit, if there is one already. It is as long as
	// the group has members, and what was received is never encoded again.
	commit []byte
}

// FramedContentAuth authenticates a FramedContent (RFC 9420 section 6.1).
type FramedContentAuth struct {
	Signature       []byte
	ConfirmationTag []byte // ContentType is ContentTypeCommit
}

// AuthenticatedContent is a FramedContent with its wire format and
// authentication (RFC 9420 section 6).
type AuthenticatedContent struct {
	WireFormat WireFormat
	Content    FramedContent
	Auth       FramedContentAuth

	space []byte // what sign has needed and nobody does any more: room for the message
}

// PublicMessage is a message whose content is readable (RFC 9420 section 6.2).
type PublicMessage struct {
	Content       FramedContent
	Auth          FramedContentAuth
	MembershipTag []byte // Content.Sender.Type is SenderTypeMember
}

// PrivateMessage is an encrypted message (RFC 9420 section 6.3).
type PrivateMessage struct {
	GroupID             []byte
	Epoch               uint64
	ContentType         ContentType
	AuthenticatedData   []byte
	EncryptedSenderData []byte
	Ciphertext          []byte
}

// MLSMessage is the outermost envelope (RFC 9420 section 6). Exactly the field
// of WireFormat is set.
type MLSMessage struct {
	Version        ProtocolVersion
	WireFormat     WireFormat
	PublicMessage  *PublicMessage
	PrivateMessage *PrivateMessage
	Welcome        *Welcome
	GroupInfo      *GroupInfo
	KeyPackage     *KeyPackage
}

func (s *Sender) append(b []byte) []byte {
	b = append(b, byte(s.Type))
	switch s.Type {
	case SenderTypeMember:
		b = appendUint32(b, uint32(s.LeafIndex))
	case SenderTypeExternal:
		b = appendUint32(b, s.Index)
	}
	return b
}

func (s *Sender) read(r *reader) {
	s.Type = SenderType(r.uint8())
	switch s.Type {
	case SenderTypeMember:
		s.LeafIndex = LeafIndex(r.uint32())
	case SenderTypeExternal:
		s.Index = r.uint32()
	case SenderTypeNewMemberProposal, SenderTypeNewMemberCommit:
	default:
		r.fail("sender type %d", s.Type)
	}
}

// appendBody appends the field that ContentType selects.
func (c *FramedContent) appendBody(b []byte) []byte {
	switch c.ContentType {
	case ContentTypeApplication:
		b = appendOpaque(b, c.Application)
	case ContentTypeProposal:
		b = c.Proposal.append(b)
	case ContentTypeCommit:
		if c.commit != nil {
			return append(b, c.commit...)
		}
		b = c.Commit.append(b)
	}
	return b
}

// readBody reads the field that ContentType selects.
func (c *FramedContent) readBody(r *reader) {
	switch c.ContentType {
	case ContentTypeApplication:
		c.Application = r.opaque()
	case ContentTypeProposal:
		c.Proposal = new(Proposal)
		c.Proposal.read(r)
	case ContentTypeCommit:
		c.Commit = new(Commit)
		before := r.b
		c.Commit.read(r)
		c.commit = before[: len(before)-len(r.b) : len(before)-len(r.b)]
	default:
		r.fail("content type %d", c.ContentType)
	}
}

func (c *FramedContent) append(b []byte) []byte { return c.appendBody(c.appendHeader(b)) }

// appendHeader appends what stands before the body.
func (c *FramedContent) appendHeader(b []byte) []byte {
	b = appendOpaque(b, c.GroupID)
	b = appendUint64(b, c.Epoch)
	b = c.Sender.append(b)
	b = appendOpaque(b, c.AuthenticatedData)
	return append(b, byte(c.ContentType))
}

func (c *FramedContent) read(r *reader) {
	c.GroupID = r.groupID()
	c.Epoch = r.uint64()
	c.Sender.read(r)
	c.AuthenticatedData = r.opaque()
	c.ContentType = ContentType(r.uint8())
	if r.err == nil {
		c.readBody(r)
	}
}

// append takes the content type because the encoding does not say it.
func (a *FramedContentAuth) append(b []byte, t ContentType) []byte {
	b = appendOpaque(b, a.Signature)
	if t == ContentTypeCommit {
		b = appendOpaque(b, a.ConfirmationTag)
	}
	return b
}

func (a *FramedContentAuth) read(r *reader, t ContentType) {
	a.Signature = r.opaque()
	if t == ContentTypeCommit {
		a.ConfirmationTag = r.opaque()
	}
}

func (ac *AuthenticatedContent) append(b []byte) []byte {
	b = appendUint16(b, uint16(ac.WireFormat))
	b = ac.Content.append(b)
	return ac.Auth.append(b, ac.Content.ContentType)
}

func (ac *AuthenticatedContent) read(r *reader) {
	ac.WireFormat = WireFormat(r.uint16())
	if r.err == nil && ac.WireFormat != WireFormatPublicMessage && ac.WireFormat != WireFormatPrivateMessage {
		r.fail("wire format %d of a framed content", ac.WireFormat)
	}
	ac.Content.read(r)
	ac.Auth.read(r, ac.Content.ContentType)
}

func (m *PublicMessage) sizeHint() int {
	return m.Content.sizeHint() + len(m.Auth.Signature) + len(m.Auth.ConfirmationTag) + len(m.MembershipTag) + 16
}

func (m *PublicMessage) append(b []byte) []byte {
	b = m.Content.append(b)
	b = m.Auth.append(b, m.Content.ContentType)
	if m.Content.Sender.Type == SenderTypeMember {
		b = appendOpaque(b, m.MembershipTag)
	}
	return b
}

func (m *PublicMessage) read(r *reader) {
	m.Content.read(r)
	m.Auth.read(r, m.Content.ContentType)
	if m.Content.Sender.Type == SenderTypeMember {
		m.MembershipTag = r.opaque()
	}
}

func (m *PrivateMessage) append(b []byte) []byte {
	return appendOpaque(m.appendHeader(b), m.Ciphertext)
}

// appendHeader appends what stands before the ciphertext.
func (m *PrivateMessage) appendHeader(b []byte) []byte {
	b = appendOpaque(m.appendSenderDataAAD(b), m.AuthenticatedData)
	return appendOpaque(b, m.EncryptedSenderData)
}

// headerLen is the number of bytes that appendHeader appends.
func (m *PrivateMessage) headerLen(s *primitive.Suite) int {
	opaque := func(n int) int { return varintLen(n) + n }
	return opaque(len(m.GroupID)) + 8 + 1 + opaque(len(m.AuthenticatedData)) + opaque(senderDataLen+s.TagSize())
}

func (m *PrivateMessage) read(r *reader) {
	m.GroupID = r.groupID()
	m.Epoch = r.uint64()
	m.ContentType = ContentType(r.uint8())
	if r.err == nil && (m.ContentType < ContentTypeApplication || m.ContentType > ContentTypeCommit) {
		r.fail("content type %d", m.ContentType)
	}
	m.AuthenticatedData = r.opaque()
	m.EncryptedSenderData = r.opaque()
	m.Ciphertext = r.opaque()
}

func (m *MLSMessage) append(b []byte) []byte {
	b = appendUint16(b, uint16(m.Version))
	b = appendUint16(b, uint16(m.WireFormat))
	switch m.WireFormat {
	case WireFormatPublicMessage:
		b = m.PublicMessage.append(slices.Grow(b, m.PublicMessage.sizeHint()))
	case WireFormatPrivateMessage:
		b = m.PrivateMessage.append(b)
	case WireFormatWelcome:
		b = m.Welcome.append(slices.Grow(b, m.Welcome.sizeHint()))
	case WireFormatGroupInfo:
		b = m.GroupInfo.append(slices.Grow(b, m.GroupInfo.sizeHint()))
	case WireFormatKeyPackage:
		b = m.KeyPackage.append(slices.Grow(b, m.KeyPackage.sizeHint()))
	}
	return b
}

// read refuses every version but MLS 1.0 and every wire format that RFC 9420
// does not have: nothing is known about what follows them.
func (m *MLSMessage) read(r *reader) {
	m.Version = ProtocolVersion(r.uint16())
	if r.err == nil && m.Version != ProtocolVersionMLS10 {
		r.fail("protocol version %d", m.Version)
	}
	m.WireFormat = WireFormat(r.uint16())
	if r.err != nil {
		return
	}
	switch m.WireFormat {
	case WireFormatPublicMessage:
		m.PublicMessage = new(PublicMessage)
		m.PublicMessage.read(r)
	case WireFormatPrivateMessage:
		m.PrivateMessage = new(PrivateMessage)
		m.PrivateMessage.read(r)
	case WireFormatWelcome:
		m.Welcome = new(Welcome)
		m.Welcome.read(r)
	case WireFormatGroupInfo:
		m.GroupInfo = new(GroupInfo)
		m.GroupInfo.read(r)
	case WireFormatKeyPackage:
		m.KeyPackage = new(KeyPackage)
		m.KeyPackage.read(r)
		if r.err == nil && m.KeyPackage.Version != m.Version {
			r.failCheck(CheckKeyPackageMessageVersion, "key package of version %d", m.KeyPackage.Version)
		}
	default:
		r.fail("wire format %d", m.WireFormat)
	}
}

// Marshal returns the encoding.
func (m *MLSMessage) Marshal() []byte { return m.append(nil) }

// ParseMLSMessage reads an encoded MLSMessage. Bytes after it are refused. The
// result keeps no part of b.
func ParseMLSMessage(b []byte) (*MLSMessage, error) { return parseClone(b, (*MLSMessage).read) }

// GroupIDAndEpoch returns what a message says about where it belongs; ok is
// false for messages that are not framed content. Nothing is verified yet.
func (m *MLSMessage) GroupIDAndEpoch() (groupID []byte, epoch uint64, ok bool) {
	switch {
	case m.PublicMessage != nil:
		return m.PublicMessage.Content.GroupID, m.PublicMessage.Content.Epoch, true
	case m.PrivateMessage != nil:
		return m.PrivateMessage.GroupID, m.PrivateMessage.Epoch, true
	default:
		return nil, 0, false
	}
}
