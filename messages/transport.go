package messages

import (
	"context"
	"strconv"
)

// CommitBundle is a commit on its way to the delivery service. It is one unit: the
// Welcome and the EncryptedMessage may reach their receivers only if the commit was
// accepted.
type CommitBundle struct {
	Conversation ConversationID
	// Epoch the commit ends; the epoch after it begins when it is accepted. For an
	// external join it is the epoch of the GroupInfo that was used.
	Epoch uint64
	// Commit is an MLSMessage: a PublicMessage, or a PrivateMessage by policy.
	Commit []byte
	// Welcome is an MLSMessage, nil where nobody was added.
	Welcome []byte
	// GroupInfo of the new epoch, an MLSMessage, with the ratchet tree in it.
	GroupInfo []byte
	// EncryptedMessage is an application message of the new epoch, an MLSMessage, for
	// all members of that epoch; nil in most commits. It has a history secret.
	EncryptedMessage []byte
	// Hash is SHA-256 of Commit: what CommitStatus is asked for, and what the
	// delivery service can recognise a second sending of the same commit by.
	Hash [32]byte
	// Resend tells that this bundle was sent before and its outcome is unknown. A
	// delivery service that has accepted these bytes answers Accepted again.
	Resend bool
}

// VerdictKind is what the delivery service said about a commit.
type VerdictKind uint8

// The verdicts. The zero value is none of them and counts as an unknown outcome.
const (
	// VerdictAccepted: the commit is the one that ended its epoch.
	VerdictAccepted VerdictKind = iota + 1
	// VerdictRefused: it is not and will not be; Reason says why.
	VerdictRefused
	// VerdictNotSent: it has certainly never left this machine.
	VerdictNotSent
	// VerdictRetry: send the same bytes again. It is obeyed a few times, with a
	// pause in between; if the epoch has moved meanwhile the commit is rejected, and
	// if the wait ends first it is in doubt.
	VerdictRetry
)

// String returns the verdict's name.
func (k VerdictKind) String() string {
	switch k {
	case VerdictAccepted:
		return "accepted"
	case VerdictRefused:
		return "refused"
	case VerdictNotSent:
		return "not sent"
	case VerdictRetry:
		return "retry"
	}
	return "VerdictKind(" + strconv.Itoa(int(k)) + ")"
}

// Verdict is the answer of a [Transport].
type Verdict struct {
	Kind   VerdictKind
	Reason string // Kind is VerdictRefused or VerdictNotSent
}

// Transport carries commits to the delivery service. The host implements it, safe
// for concurrent use: commits of different conversations are sent at once.
type Transport interface {
	// SendCommitBundle sends one bundle and waits for the verdict. An error means
	// that the outcome is unknown: the commit stays in doubt and the same bytes are
	// sent again later. The context ends after the engine's SendTimeout, when the
	// caller gives up, and when the engine closes; it carries the transaction, so
	// the callback may read and decrypt messages of the same conversation with it.
	SendCommitBundle(ctx context.Context, b CommitBundle) (Verdict, error)
}

// CommitStatusReader is implemented by a [Transport] whose delivery service can be
// asked about a commit without sending it again.
type CommitStatusReader interface {
	// CommitStatus answers what became of the commit with that hash which ends the
	// epoch: VerdictAccepted; VerdictRefused where another one won or this one can
	// no longer be accepted; VerdictRetry where it never arrived and may be sent.
	CommitStatus(ctx context.Context, id ConversationID, epoch uint64, hash [32]byte) (Verdict, error)
}

// Observer is told of events after they are durable, in order within each
// conversation, from one goroutine of the engine. Any field may be nil. A callback
// holds up only later events, never an operation.
type Observer struct {
	// EpochChanged is called once for each epoch that a usable group enters.
	EpochChanged func(EpochChanged)
	// HistoryClientCreated is called when a commit of this member has been accepted
	// that brings in a history client.
	HistoryClientCreated func(HistoryClientCreated)
	// CommitSettled is called when a commit that was in doubt is not any longer.
	CommitSettled func(CommitSettled)
}

// EpochChanged is the event of a conversation that entered an epoch: by a commit,
// its own or another member's, by a Welcome or by an external join.
type EpochChanged struct {
	Instance     Instance
	Conversation ConversationID
	Epoch        uint64
}

// CommitSettled is the event of a commit in doubt that was settled.
type CommitSettled struct {
	Instance     Instance
	Conversation ConversationID
	Epoch        uint64 // the epoch the commit ends
	Hash         [32]byte
	Accepted     bool
	// Released holds what had been buffered and could be tried now, where no call's
	// answer does: the commit was settled in the background. A client without this
	// callback gets it with the next message that it decrypts in the conversation, or
	// the next commit.
	Released []Released
}
