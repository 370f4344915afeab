package mlsgroup

import "github.com/conclave-mls/conclave/internal/secret"

// ChangeOp says what a Change does.
type ChangeOp uint8

// Operations on records.
const (
	Put         ChangeOp = 1 // Key gets Value
	Delete      ChangeOp = 2 // Key is deleted
	DeleteRange ChangeOp = 3 // every key from Key on and below High is deleted
)

// Change is one change of a group's records. Keys are suffixes below the
// conversation's prefix. A list of changes is applied in order, at once.
type Change struct {
	Op    ChangeOp
	Key   []byte
	High  []byte       // Op is DeleteRange
	Value secret.Bytes // Op is Put
}

// Transition is the result of a step: the next state beside the current one,
// what to write, and what may be let out once that is written. To drop it is to
// undo the step.
type Transition struct {
	Next     *Group
	Changes  []Change
	Outbound *Outbound // a message to send, for steps that make one
	Received *Received // what Process found
	// Consumed is key material that Next has no use for. The caller wipes it
	// when Next has taken the place of the current state, not before.
	Consumed []secret.Bytes
}

// Outbound is a message to send.
type Outbound struct {
	Message []byte // an encoded MLSMessage
	// Generation of the own ratchet that an encrypted message used; Handshake
	// tells which ratchet. Encrypted is false for a PublicMessage.
	Encrypted  bool
	Handshake  bool
	Generation uint32
	// ProposalRef of a proposal.
	ProposalRef ProposalRef
}

// Received is what a message turned out to be. Everything in it is verified.
type Received struct {
	ContentType       ContentType
	Epoch             uint64 // of the message
	Sender            Sender
	Credential        Credential // of the sender, in that epoch
	SignatureKey      []byte     // of the sender, in that epoch
	AuthenticatedData []byte

	// Application data of an application message.
	Application secret.Bytes

	// Proposal and its reference, for a proposal. It now waits for a commit.
	Proposal    *Proposal
	ProposalRef ProposalRef

	// What a commit did.
	Commit *CommitEffect
}

// CommitEffect is what a commit changed, own or received.
type CommitEffect struct {
	Epoch uint64 // that begins
	// Committer is the leaf of the sender in the new epoch.
	Committer LeafIndex
	// External tells that the committer joined by this commit.
	External bool
	// Added, Updated and Removed leaves. Leaves of removed members are as they
	// were before.
	Added   []Member
	Updated []Member // the committer too if the commit has a path
	Removed []Member
	// SelfRemoved tells that we are no member any more.
	SelfRemoved bool
	// ReInit ends the group.
	ReInit *ReInit
	// ContextExtensions tells that the group's extensions changed.
	ContextExtensions bool
	// Proposals that waited and are gone: all of the epoch that ended.
	Committed []ProposalRef // referred to by the commit
	Dropped   []PendingProposal
}

// Member is a leaf of the tree with its place.
type Member struct {
	Index LeafIndex
	Leaf  *LeafNode // not to be changed
}

// PendingProposal is a proposal that waits for a commit.
type PendingProposal struct {
	Ref      ProposalRef
	Sender   Sender
	Own      bool // sent by this member
	Proposal *Proposal
}
