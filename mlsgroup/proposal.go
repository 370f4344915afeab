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

// sizeHint is about the encoded size, and of an Add no less.
func (p *Proposal) sizeHint() int {
	if p.Type == ProposalTypeAdd {
		return 2 + p.Add.KeyPackage.sizeHint()
	}
	return 400
}

func (p *Proposal) append(b []byte) []byte {
	b = appendUint16(b, uint16(p.Type))
	switch p.Type {
	case ProposalTypeAdd:
		b = p.Add.KeyPackage.append(b)
	case ProposalTypeUpdate:
		b = p.Update.LeafNode.append(b)
	case ProposalTypeRemove:
		b = appendUint32(b, uint32(p.Remove.Removed))
	case ProposalTypePreSharedKey:
		b = p.PreSharedKey.PSK.append(b)
	case ProposalTypeReInit:
		b = p.ReInit.append(b)
	case ProposalTypeExternalInit:
		b = appendOpaque(b, p.ExternalInit.KEMOutput)
	case ProposalTypeGroupContextExtensions:
		b = p.GroupContextExtensions.Extensions.append(b)
	}
	return b
}

// read refuses a type that is not one of RFC 9420: its body has no known end.
func (p *Proposal) read(r *reader) {
	p.Type = ProposalType(r.uint16())
	if r.err != nil {
		return
	}
	switch p.Type {
	case ProposalTypeAdd:
		p.Add = &Add{KeyPackage: new(KeyPackage)}
		p.Add.KeyPackage.read(r)
	case ProposalTypeUpdate:
		p.Update = &Update{LeafNode: new(LeafNode)}
		p.Update.LeafNode.read(r)
	case ProposalTypeRemove:
		p.Remove = &Remove{Removed: LeafIndex(r.uint32())}
	case ProposalTypePreSharedKey:
		p.PreSharedKey = new(PreSharedKey)
		p.PreSharedKey.PSK.read(r)
	case ProposalTypeReInit:
		p.ReInit = new(ReInit)
		p.ReInit.read(r)
	case ProposalTypeExternalInit:
		p.ExternalInit = &ExternalInit{KEMOutput: r.opaque()}
	case ProposalTypeGroupContextExtensions:
		p.GroupContextExtensions = new(GroupContextExtensions)
		p.GroupContextExtensions.Extensions.read(r)
	default:
		r.err, r.b = &UnknownProposalTypeError{p.Type}, nil
	}
}

func (ri *ReInit) append(b []byte) []byte {
	b = appendOpaque(b, ri.GroupID)
	b = appendUint16(b, uint16(ri.Version))
	b = appendUint16(b, uint16(ri.CipherSuite))
	return ri.Extensions.append(b)
}

func (ri *ReInit) read(r *reader) {
	ri.GroupID = r.groupID()
	ri.Version = ProtocolVersion(r.uint16())
	ri.CipherSuite = CipherSuite(r.uint16())
	ri.Extensions.read(r)
}

// Marshal returns the encoding.
func (p *Proposal) Marshal() []byte { return p.append(nil) }

// ParseProposal reads an encoded Proposal. The result keeps no part of b.
func ParseProposal(b []byte) (*Proposal, error) { return parseClone(b, (*Proposal).read) }

// The first byte of a ProposalOrRef.
const (
	proposalOrRefProposal  = 1
	proposalOrRefReference = 2
)

func (p *ProposalOrRef) append(b []byte) []byte {
	if p.Proposal != nil {
		return p.Proposal.append(append(b, proposalOrRefProposal))
	}
	return appendOpaque(append(b, proposalOrRefReference), p.Reference)
}

func (p *ProposalOrRef) read(r *reader) {
	switch kind := r.uint8(); kind {
	case proposalOrRefProposal:
		p.Proposal = new(Proposal)
		p.Proposal.read(r)
	case proposalOrRefReference:
		p.Reference = r.opaque()
	default:
		r.fail("ProposalOrRef type %d", kind)
	}
}
