package mlsgroup

// ProposalType is a registered proposal type (RFC 9420 section 17.4).
type ProposalType uint16

// Proposal types of RFC 9420.
const (
	ProposalTypeAdd                    ProposalType = 1
	ProposalTypeUpdate                 ProposalType = 2
	ProposalTypeRemove                 ProposalType = 3
	ProposalTypePreSharedKey           ProposalType = 4
	ProposalTypeReInit                 ProposalType = 5
	ProposalTypeExternalInit           ProposalType = 6
	ProposalTypeGroupContextExtensions ProposalType = 7
)

// Proposal is a proposed change of a group (RFC 9420 section 12.1). Exactly the
// field of its Type is set.
type Proposal struct {
	Type                   ProposalType
	Add                    *Add
	Update                 *Update
	Remove                 *Remove
	PreSharedKey           *PreSharedKey
	ReInit                 *ReInit
	ExternalInit           *ExternalInit
	GroupContextExtensions *GroupContextExtensions
}

// Add asks to add the client of a key package (RFC 9420 section 12.1.1).
type Add struct{ KeyPackage *KeyPackage }

// Update replaces the sender's leaf (RFC 9420 section 12.1.2).
type Update struct{ LeafNode *LeafNode }

// Remove removes the member at a leaf (RFC 9420 section 12.1.3).
type Remove struct{ Removed LeafIndex }

// PreSharedKey injects a pre-shared key (RFC 9420 section 12.1.4).
type PreSharedKey struct{ PSK PreSharedKeyID }

// ReInit ends the group in favour of a new one (RFC 9420 section 12.1.5).
type ReInit struct {
	GroupID     []byte
	Version     ProtocolVersion
	CipherSuite CipherSuite
	Extensions  Extensions
}

// ExternalInit carries the KEM output of an external commit (RFC 9420 section
// 12.1.6).
type ExternalInit struct{ KEMOutput []byte }

// GroupContextExtensions replaces the extensions of the group context (RFC
// 9420 section 12.1.7).
type GroupContextExtensions struct{ Extensions Extensions }

// ProposalRef is the hash reference of a proposal, over its whole
// AuthenticatedContent (RFC 9420 section 5.2).
type ProposalRef []byte

// ProposalOrRef is one entry of a Commit (RFC 9420 section 12.4): a Proposal by
// value, or a Reference to one sent before. Exactly one is set.
type ProposalOrRef struct {
	Proposal  *Proposal
	Reference ProposalRef
}
