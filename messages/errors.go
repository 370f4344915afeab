package messages

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/proteus"
)

// Errors that answer a request. Where a name is one that Wire's clients know, it is
// theirs. Refusals by the MLS core come wrapped, so that errors.Is and errors.As
// also find the core's own error.
var (
	// ErrConversationNotFound: the client has no group of that id.
	ErrConversationNotFound = errors.New("messages: conversation not found")
	// ErrConversationAlreadyExists: the client has a group of that id.
	ErrConversationAlreadyExists = errors.New("messages: conversation already exists")
	// ErrParentGroupNotFound: the client has no group of the parent's id.
	ErrParentGroupNotFound = errors.New("messages: parent conversation not found")
	// ErrClientNotFound: the address names a client that was not opened.
	ErrClientNotFound = errors.New("messages: client not found")
	// ErrClientAlreadyExists: the store has a client of that id.
	ErrClientAlreadyExists = errors.New("messages: client already exists")
	// ErrKeypairNotFound: no key pair waits under that id.
	ErrKeypairNotFound = errors.New("messages: key pair not found")

	// ErrDuplicateMessage: processed before, or its key is used up.
	ErrDuplicateMessage = errors.New("messages: duplicate message")
	// ErrWrongEpoch: more than one epoch ahead; not stored.
	ErrWrongEpoch = errors.New("messages: message of a far epoch")
	// ErrStaleProposal: a proposal of an epoch that is over.
	ErrStaleProposal = errors.New("messages: stale proposal")
	// ErrStaleCommit: a commit of an epoch that is over, not the one that ended it.
	ErrStaleCommit = errors.New("messages: stale commit")
	// ErrMessageEpochTooOld: an application message of an epoch no longer kept.
	ErrMessageEpochTooOld = errors.New("messages: message epoch too old")
	// ErrSelfCommitIgnored: an own commit that this member knows nothing of.
	ErrSelfCommitIgnored = errors.New("messages: own commit ignored")
	// ErrOrphanWelcome: no stored key package is meant by the Welcome.
	ErrOrphanWelcome = errors.New("messages: orphan welcome")
	// ErrInvalidMessage: the message cannot be read or breaks a rule of RFC 9420.
	ErrInvalidMessage = errors.New("messages: invalid message")
	// ErrPendingProposals: pending proposals must be committed first.
	ErrPendingProposals = errors.New("messages: proposals are pending")
	// ErrPendingProposalNotFound: no pending proposal has that reference.
	ErrPendingProposalNotFound = errors.New("messages: pending proposal not found")
	// ErrMemberNotFound: no member has that client id.
	ErrMemberNotFound = errors.New("messages: member not found")
	// ErrBufferFull: the client keeps as many unverified messages as it may.
	ErrBufferFull = errors.New("messages: buffer full")

	// ErrCredentialNotFound: no stored credential fits.
	ErrCredentialNotFound = errors.New("messages: credential not found")
	// ErrWrongCredential: the credential is not the client's, or of another suite.
	ErrWrongCredential = errors.New("messages: wrong credential")
	// ErrInvalidArgument: an argument is out of its range; the text says which.
	ErrInvalidArgument = errors.New("messages: invalid argument")
	// ErrNoTransport: the client was opened without a transport.
	ErrNoTransport = errors.New("messages: no transport")

	// ErrPKIEnvironmentUnset: the client has no trust anchor.
	ErrPKIEnvironmentUnset = errors.New("messages: no trust anchor is registered")
	// ErrTrustAnchorAlreadyRegistered: a trust anchor has the same key.
	ErrTrustAnchorAlreadyRegistered = errors.New("messages: trust anchor is registered already")
	// ErrInvalidCertificate: a certificate cannot be read or does not verify.
	ErrInvalidCertificate = errors.New("messages: invalid certificate")
	// ErrInvalidCRL: a revocation list cannot be read or does not verify.
	ErrInvalidCRL = errors.New("messages: invalid revocation list")

	// ErrProteusNotInitialized: the client has no Proteus identity.
	ErrProteusNotInitialized = errors.New("messages: proteus is not initialized")
	// ErrSessionNotFound: the client has no Proteus session of that id.
	ErrSessionNotFound = errors.New("messages: proteus session not found")
	// ErrPreKeyExists: the client has a prekey of that id.
	ErrPreKeyExists = errors.New("messages: prekey exists")
	// ErrNoPreKeyID: the client has a prekey of every id.
	ErrNoPreKeyID = errors.New("messages: no prekey id is left")

	// ErrEnrollmentNotFound: there is no such enrolment, it has ended, or it is a
	// transaction's that is not decided; or nothing is stashed under that handle.
	ErrEnrollmentNotFound = errors.New("messages: enrollment not found")
	// ErrEnrollmentRunning: another call enrols the client for that signature scheme.
	ErrEnrollmentRunning = errors.New("messages: enrollment is running")
	// ErrHookTimeout: a hook of the application did not answer in time.
	ErrHookTimeout = errors.New("messages: hook timed out")
	// ErrInvalidClientID: the client's id is not one that a certificate can be for.
	ErrInvalidClientID = errors.New("messages: client id has no certificates")

	// ErrSending: the conversation waits for the delivery service on behalf of the
	// same transaction; it can read and decrypt meanwhile, nothing else.
	ErrSending = errors.New("messages: conversation is sending")
	// ErrNotSent: the transport says that the commit never left. Nothing changed.
	ErrNotSent = errors.New("messages: commit not sent")
	// ErrConflict: the transaction was chosen to give way to others in a deadlock
	// and is aborted. It may be run again.
	ErrConflict = errors.New("messages: transaction conflict")
	// ErrInvalidTransaction: the transaction is not open, or is another client's.
	ErrInvalidTransaction = errors.New("messages: invalid transaction")
	// ErrTransactionOpen: Begin with a context that carries a transaction.
	ErrTransactionOpen = errors.New("messages: transaction is open already")
	// ErrTransactionFailed: the transaction could not be finished.
	ErrTransactionFailed = errors.New("messages: transaction failed")

	// ErrBusy: too many requests wait. Nothing was done.
	ErrBusy = errors.New("messages: too many requests")
	// ErrClosed: the engine is closed or closing.
	ErrClosed = errors.New("messages: engine is closed")
	// ErrStoreFailed: the store has failed; reopen the engine.
	ErrStoreFailed = errors.New("messages: store has failed")
	// ErrOutcomeUnknown: the store failed while it applied this operation. After
	// reopening it is there wholly or not at all.
	ErrOutcomeUnknown = errors.New("messages: outcome unknown")
	// ErrCorrupt: stored records cannot be read.
	ErrCorrupt = errors.New("messages: corrupt record")
	// ErrInternal: a defect of the engine. The operation did nothing.
	ErrInternal = errors.New("messages: internal error")
)

// MessageRejected is the error of a commit that the delivery service refused or
// that another member's commit has beaten. Nothing of it was applied.
type MessageRejected struct{ Reason string }

// Error implements error.
func (e *MessageRejected) Error() string { return "messages: message rejected: " + e.Reason }

// CommitInDoubt is the error of a commit whose outcome is unknown, and of an
// operation that has to wait until it is settled. The same bytes are sent again in
// the background; DropInDoubt gives up.
type CommitInDoubt struct {
	Conversation ConversationID
	// Epoch the commit ends.
	Epoch uint64
	Hash  [32]byte
	// Join tells that the commit is an external join.
	Join bool
	// Refused tells that it was refused once and is kept only in case that the
	// answer was a mistake; it holds up nothing.
	Refused bool
}

// Error implements error.
func (e *CommitInDoubt) Error() string {
	return fmt.Sprintf("messages: commit %s of epoch %d is in doubt", hex.EncodeToString(e.Hash[:4]), e.Epoch)
}

// CredentialInUse is the error of a credential that cannot be removed.
type CredentialInUse struct{ Conversation ConversationID }

// Error implements error.
func (e *CredentialInUse) Error() string { return "messages: credential is in use" }

// MissingExistingClient is the error of an activation or a rotation without the
// credential whose key it is for.
type MissingExistingClient struct{ CredentialType mlsgroup.CredentialType }

// Error implements error.
func (e *MissingExistingClient) Error() string {
	return fmt.Sprintf("messages: client has no credential of type %d", e.CredentialType)
}

// TransactionFailed is the error of a transaction that was not finished: aborted, or
// of unknown outcome. Final names what stands all the same.
type TransactionFailed struct {
	Final []FinalConversation
	Err   error
}

// Error implements error.
func (e *TransactionFailed) Error() string {
	return fmt.Sprintf("messages: transaction failed, %d conversations final: %v", len(e.Final), e.Err)
}

// Unwrap returns the cause.
func (e *TransactionFailed) Unwrap() []error { return []error{ErrTransactionFailed, e.Err} }

// Ignorable tells whether an error of DecryptMessage means only that there is
// nothing to do: a duplicate, a late or an own message.
func Ignorable(err error) bool {
	for _, e := range []error{
		ErrDuplicateMessage, ErrSelfCommitIgnored, ErrStaleProposal, ErrStaleCommit, ErrMessageEpochTooOld,
		proteus.ErrDuplicateMessage, proteus.ErrOutdatedMessage,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
