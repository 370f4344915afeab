package mlsgroup

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
	Application []byte
	Proposal    *Proposal
	Commit      *Commit
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
