package messages

import (
	"time"

	"github.com/conclave-mls/conclave/internal/secret"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// CreateConversation founds a group of one under the addressed id. It answers
// [ConversationCreated] or ErrConversationAlreadyExists.
type CreateConversation struct {
	// CipherSuite; 0 means the credential's, or the client's default.
	CipherSuite mlsgroup.CipherSuite
	// Credential; zero means the newest of the suite's signature scheme.
	Credential      CredentialRef
	Profile         Profile
	WirePolicy      WirePolicy
	Receive         mlsgroup.ReceiveConfig
	ExternalSenders []mlsgroup.ExternalSender
}

// ConversationCreated answers [CreateConversation].
type ConversationCreated struct{}

// ProcessWelcome joins the conversation of a Welcome. The address names none. It
// answers [ConversationJoined]; ErrOrphanWelcome where no stored key package is
// meant; ErrConversationAlreadyExists.
type ProcessWelcome struct {
	// Message is an MLSMessage holding a Welcome, or a bare Welcome.
	Message []byte
	// RatchetTree, where the GroupInfo brings none.
	RatchetTree []byte
	Profile     Profile
	WirePolicy  WirePolicy
	Receive     mlsgroup.ReceiveConfig
}

// ConversationJoined answers [ProcessWelcome] and [JoinByExternalCommit].
type ConversationJoined struct {
	Conversation ConversationID
	Epoch        uint64
	// Released holds what had been kept for the conversation before it was joined.
	Released []Released
	// NewDistributionPoints of the members' certificates, as in [MessageDecrypted].
	NewDistributionPoints []string
}

// JoinByExternalCommit joins a conversation by a commit of one's own (RFC 9420
// 12.4.3.2). The address names none. It answers [ConversationJoined],
// [MessageRejected] or [CommitInDoubt]. A group of that id that the client has is
// replaced when the commit is merged.
type JoinByExternalCommit struct {
	// GroupInfo is bare or wrapped in an MLSMessage.
	GroupInfo []byte
	// RatchetTree, where the GroupInfo brings none.
	RatchetTree []byte
	Credential  CredentialRef // zero means the newest of the suite's scheme
	Profile     Profile
	WirePolicy  WirePolicy
	Receive     mlsgroup.ReceiveConfig
}

// ProposeJoin asks the members of a conversation to add the client (RFC 9420
// 12.1.8): a new_member_proposal, and a key package, stored here, for the Welcome that
// one of them answers it with. The address names no conversation, and none need be
// here. It answers [JoinProposed].
type ProposeJoin struct {
	Conversation ConversationID
	// Epoch the conversation is in; a proposal for another one is stale.
	Epoch uint64
	// CipherSuite of the conversation; 0 means the client's default.
	CipherSuite mlsgroup.CipherSuite
	Credential  CredentialRef // zero means the newest of the suite's scheme
	Profile     Profile
}

// JoinProposed answers [ProposeJoin]. The application sends Message to the members.
type JoinProposed struct {
	Message    []byte // an MLSMessage
	KeyPackage mlsgroup.KeyPackageRef
}

// EncryptMessage seals an application message. It answers [MessageEncrypted];
// ErrPendingProposals while proposals wait to be committed (RFC 9420 15.2).
type EncryptMessage struct {
	Plaintext         secret.Bytes
	AuthenticatedData []byte
}

// MessageEncrypted answers [EncryptMessage]. Message is an MLSMessage.
type MessageEncrypted struct{ Message []byte }

// DecryptMessage processes a message of the conversation: application message,
// proposal or commit. It answers [MessageDecrypted].
type DecryptMessage struct {
	// Message is an MLSMessage holding a PublicMessage or a PrivateMessage.
	Message []byte
	// Waits is as in [DecryptMessages].
	Waits func()
}

// DecryptMessages processes messages of the conversation in their order, each as
// [DecryptMessage] would, and makes all that they did durable at once. It answers
// [MessagesDecrypted].
type DecryptMessages struct {
	Messages [][]byte
	// Waits, where not nil, is called before the request waits for a transaction to
	// end. It is called on the actor and may not block.
	Waits func()
}

// MessagesDecrypted answers [DecryptMessages], with an entry for each message.
type MessagesDecrypted struct{ Messages []DecryptResult }

// DecryptResult is what became of one message: a reply, or an error that belongs to
// it alone.
type DecryptResult struct {
	Message MessageDecrypted
	Err     error
}

// Outcome is what became of a message that was not refused.
type Outcome uint8

// The outcomes. Those named Buffered have stored the message; it comes out of a
// later reply's Released.
const (
	// OutcomeText: an application message; Plaintext holds it.
	OutcomeText Outcome = iota + 1
	// OutcomeProposal: a proposal, now pending.
	OutcomeProposal
	// OutcomeCommit: a commit; the conversation is in the next epoch.
	OutcomeCommit
	// OutcomeBufferedFutureMessage: of the next epoch; stored until it begins.
	OutcomeBufferedFutureMessage
	// OutcomeBufferedCommit: a commit of proposals that have not come; stored.
	OutcomeBufferedCommit
	// OutcomeUnmergedPendingGroup: the conversation waits for its external join to
	// be accepted; stored until then.
	OutcomeUnmergedPendingGroup
	// OutcomeBusy: the message was not looked at, and is to be given again. Only a
	// stream of messages has this outcome.
	OutcomeBusy
)

// String returns the name Wire's clients know where there is one.
func (o Outcome) String() string {
	switch o {
	case OutcomeText:
		return "Text"
	case OutcomeProposal:
		return "Proposal"
	case OutcomeCommit:
		return "Commit"
	case OutcomeBufferedFutureMessage:
		return "BufferedFutureMessage"
	case OutcomeBufferedCommit:
		return "BufferedCommit"
	case OutcomeUnmergedPendingGroup:
		return "UnmergedPendingGroup"
	case OutcomeBusy:
		return "Busy"
	}
	return "Outcome(0)"
}

// Buffered tells whether the message was stored for later.
func (o Outcome) Buffered() bool {
	return o >= OutcomeBufferedFutureMessage && o <= OutcomeUnmergedPendingGroup
}

// Sender is who sent a message.
type Sender struct {
	Type mlsgroup.SenderType
	// Leaf of a member, position in external_senders of an external sender.
	Leaf uint32
	// ClientID is the identity in the sender's credential: of an X.509 one that of its
	// leaf certificate. Empty where there is none.
	ClientID ClientID
	// Credential and SignatureKey of the sender in the message's epoch, of which
	// [Identify] makes an identity. They share memory as those of a [Member] do.
	Credential   mlsgroup.Credential
	SignatureKey []byte
}

// MessageDecrypted answers [DecryptMessage].
type MessageDecrypted struct {
	Outcome           Outcome
	Plaintext         secret.Bytes // OutcomeText
	AuthenticatedData []byte
	Sender            Sender
	// MessageEpoch is the epoch the message was sent in.
	MessageEpoch uint64
	// Epoch the conversation is in now.
	Epoch uint64
	// IsActive is false where a commit has removed this member. The conversation
	// is wiped then.
	IsActive bool
	// Own tells that the message is this member's commit, come back.
	Own bool
	// HasCommitDelay and CommitDelay: when this member should commit the pending
	// proposals, counted from now, so that not all members do it at once.
	HasCommitDelay bool
	CommitDelay    time.Duration
	// Proposal is the reference of an OutcomeProposal.
	Proposal mlsgroup.ProposalRef
	// Discarded lists own pending proposals that another member's commit has
	// ended without carrying them out.
	Discarded []mlsgroup.ProposalRef
	// Released holds what had been buffered and could be tried now.
	Released []Released
	// Dropped counts buffered messages given up to make room.
	Dropped int
	// NewDistributionPoints are the CRL distribution points in the certificates that a
	// proposal or commit brings for which no list is registered. Nil where the
	// certificates name none at all; empty where the lists of all are there.
	NewDistributionPoints []string
}

// Released is a message that had been buffered: its outcome, or why it failed. A
// failure fails nothing else.
type Released struct {
	Message MessageDecrypted
	Err     error
}

// AddMembers commits Adds of key packages, and all pending proposals. It answers
// [CommitMerged], [MessageRejected] or [CommitInDoubt], as all that commit do.
type AddMembers struct {
	// KeyPackages, each bare or wrapped in an MLSMessage; at least one.
	KeyPackages [][]byte
}

// RemoveMembers commits Removes of every member with one of the ids, and all
// pending proposals. ErrMemberNotFound where no member has any.
type RemoveMembers struct{ ClientIDs []ClientID }

// UpdateKeyMaterial commits a fresh path, and all pending proposals.
type UpdateKeyMaterial struct{}

// SetCredential commits a path whose leaf carries another credential of the client.
type SetCredential struct {
	// Credential; zero means the newest X.509 one of the suite's signature scheme.
	Credential CredentialRef
	// Once commits nothing where the leaf carries the credential already.
	Once bool
}

// CommitPendingProposals commits what is pending; nothing pending is no error.
type CommitPendingProposals struct{}

// CommitMerged answers the requests that commit.
type CommitMerged struct {
	// Epoch the conversation is in now.
	Epoch uint64
	// Sent is false where there was nothing to commit.
	Sent bool
	// Released holds what had been buffered for the new epoch.
	Released []Released
	// NewDistributionPoints of the certificates in the key packages of [AddMembers], as
	// in [MessageDecrypted].
	NewDistributionPoints []string
}

// ProposeAdd proposes to add a client. It answers [ProposalCreated], as all that
// propose do.
type ProposeAdd struct {
	// KeyPackage is bare or wrapped in an MLSMessage.
	KeyPackage []byte
}

// ProposeRemove proposes to remove the member with an id.
type ProposeRemove struct{ ClientID ClientID }

// ProposeUpdate proposes a fresh leaf for this member.
type ProposeUpdate struct{}

// ProposePSK proposes that the next epoch depend on an external pre-shared key,
// which every member has to have put. ErrInvalidArgument with an *mlsgroup.PSKError where
// the proposer itself has not.
type ProposePSK struct{ ID []byte }

// ProposalCreated answers the requests that propose. The proposal is pending here
// already; the application sends Message to the members.
type ProposalCreated struct {
	Message []byte // an MLSMessage
	Ref     mlsgroup.ProposalRef
	// NewDistributionPoints of the certificate in the key package of [ProposeAdd], as in
	// [MessageDecrypted].
	NewDistributionPoints []string
}

// ClearPendingProposal forgets one pending proposal. It answers
// [PendingProposalCleared] or ErrPendingProposalNotFound.
type ClearPendingProposal struct{ Ref mlsgroup.ProposalRef }

// PendingProposalCleared answers [ClearPendingProposal].
type PendingProposalCleared struct{}

// DropInDoubt gives up the commits of the conversation that are in doubt, as if
// they had never been sent. If the delivery service has accepted one, the
// conversation can only be joined anew. It answers [InDoubtDropped].
type DropInDoubt struct{}

// InDoubtDropped answers [DropInDoubt].
type InDoubtDropped struct{ Count int }

// WipeConversation deletes all records of the conversation. No message is sent; for
// the others the member stays. It answers [ConversationWiped].
type WipeConversation struct{}

// ConversationWiped answers [WipeConversation].
type ConversationWiped struct{}

// MarkAsChildOf records which conversation the addressed one belongs to. Both must be
// here; it has no other effect than that [ConversationRead] tells of it. It answers
// [MarkedAsChild] or ErrParentGroupNotFound.
type MarkAsChildOf struct{ Parent ConversationID }

// MarkedAsChild answers [MarkAsChildOf].
type MarkedAsChild struct{}

// ReadConversation reads the state of a conversation. It answers
// [ConversationRead], also for an id that has none.
type ReadConversation struct{}

// ConversationRead answers [ReadConversation].
type ConversationRead struct {
	// Exists tells whether there is a group; a join that is not merged does not
	// count. The other fields, save InDoubt, are zero without it.
	Exists             bool
	Epoch              uint64
	CipherSuite        mlsgroup.CipherSuite
	Profile            Profile
	OwnLeaf            uint32
	SignatureKey       []byte // the public one of the own leaf
	EpochAuthenticator secret.Bytes
	ExternalSenders    []mlsgroup.ExternalSender
	PendingProposals   []mlsgroup.ProposalRef
	Parent             ConversationID // of MarkAsChildOf, empty where there is none
	InDoubt            []CommitInDoubt
}

// ListMembers lists the members of a conversation. It answers [MembersListed].
type ListMembers struct{}

// Member is a leaf of a conversation. Its credential and key share memory with others of the
// tree, some kilobytes: who keeps them for long clones them. They are not to be changed.
type Member struct {
	Leaf         uint32
	ClientID     ClientID // as in [Sender]
	Credential   mlsgroup.Credential
	SignatureKey []byte
}

// MembersListed answers [ListMembers], in leaf order.
type MembersListed struct {
	Epoch       uint64
	CipherSuite mlsgroup.CipherSuite
	Members     []Member
}

// ExportSecret derives a secret from the epoch (RFC 9420 8.5). It answers
// [SecretExported].
type ExportSecret struct {
	Label   string
	Context []byte
	Length  int // bytes; at most 65535 and 255 times the hash length
}

// SecretExported answers [ExportSecret].
type SecretExported struct {
	Epoch  uint64
	Secret secret.Bytes
}

// ExportGroupInfo signs a GroupInfo of the current epoch, with ratchet tree and
// external_pub, by which others can join. It answers [GroupInfoExported].
type ExportGroupInfo struct{}

// GroupInfoExported answers [ExportGroupInfo]. GroupInfo is an MLSMessage.
type GroupInfoExported struct{ GroupInfo []byte }
