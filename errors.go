package conclave

import (
	"context"
	"errors"
	"slices"

	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/proteus"
	"github.com/conclave-mls/conclave/proteus/cryptobox"
	"github.com/conclave-mls/conclave/store"
)

// Code is the kind of an error. Where Wire's clients know a name for it, it is theirs. A Code is an error itself, so errors.Is(err, conclave.CodeStaleCommit) works.
type Code string

// The codes. Those marked with (ignorable) mean that there is nothing to do; see [IsIgnorable].
const (
	// Conversations and clients.
	CodeConversationNotFound      Code = "ConversationNotFound"
	CodeConversationAlreadyExists Code = "ConversationAlreadyExists"
	CodeParentGroupNotFound       Code = "ParentGroupNotFound"
	CodeClientNotFound            Code = "ClientNotFound"
	CodeClientAlreadyExists       Code = "ClientAlreadyExists"
	CodeMemberNotFound            Code = "MemberNotFound"

	// Messages.
	CodeDuplicateMessage        Code = "DuplicateMessage"   // processed before, or its key is used up (ignorable)
	CodeStaleProposal           Code = "StaleProposal"      // of an epoch that is over (ignorable)
	CodeStaleCommit             Code = "StaleCommit"        // of an epoch that is over (ignorable)
	CodeMessageEpochTooOld      Code = "MessageEpochTooOld" // its keys are no longer kept (ignorable)
	CodeSelfCommitIgnored       Code = "SelfCommitIgnored"  // an own commit that came back and was given up (ignorable)
	CodeWrongEpoch              Code = "WrongEpoch"         // more than one epoch ahead; fetch what is missing or join anew
	CodeOrphanWelcome           Code = "OrphanWelcome"      // its key package is not here; join by external commit
	CodeInvalidMessage          Code = "InvalidMessage"     // unreadable, or it breaks a rule of RFC 9420
	CodePendingProposals        Code = "PendingProposals"   // commit them before encrypting
	CodePendingProposalNotFound Code = "PendingProposalNotFound"
	CodeBufferFull              Code = "BufferFull"

	// Credentials and arguments.
	CodeCredentialNotFound   Code = "CredentialNotFound"
	CodeWrongCredential      Code = "WrongCredential"
	CodeCredentialStillInUse Code = "CredentialStillInUse" // see CredentialInUse
	CodeInvalidArgument      Code = "InvalidArgument"
	CodeKeypairNotFound      Code = "NoProvisionalIdentityFound" // no key pair waits under the provisional id

	// End-to-end identity.
	CodePKIEnvironmentUnset          Code = "PkiEnvironmentUnset"          // register a trust anchor first
	CodeTrustAnchorAlreadyRegistered Code = "TrustAnchorAlreadyRegistered" // or another one with the same key; there is nothing to do
	CodeInvalidCertificate           Code = "InvalidCertificate"           // unreadable, or it does not verify; the cause is an error of package pki
	CodeInvalidCRL                   Code = "InvalidCRL"                   // likewise

	// Enrolment. Their causes are errors of package enrollment.
	CodeEnrollmentNotFound    Code = "EnrollmentNotFound" // used up, discarded, or nothing is stashed under the handle
	CodeEnrollmentRunning     Code = "EnrollmentRunning"  // another call enrols the client
	CodeMissingExistingClient Code = "MissingExistingClient"
	CodeInvalidClientID       Code = "InvalidClientId" // the client's id is not of the form user:device@domain
	CodeOutOfOrderEnrollment  Code = "OutOfOrderEnrollment"
	CodeHookTimeout           Code = "HookTimeout"
	CodeCertificateMismatch   Code = "CertificateMismatch" // the certificate is not the one that was asked for
	CodeEnrollmentRefused     Code = "EnrollmentRefused"   // the server refuses; the cause is an [enrollment.Problem] or tells which object is not valid
	CodeEnrollment            Code = "Enrollment"          // any other error of an enrolment

	// Proteus. See ProteusError for the number.
	CodeProteusNotInitialized Code = "ProteusNotInitialized" // call Proteus.Init first
	CodeSessionNotFound       Code = "SessionNotFound"
	CodeRemoteIdentityChanged Code = "RemoteIdentityChanged" // the other device was set up anew, or is another
	CodePreKeyExists          Code = "PreKeyExists"
	CodeNoPreKeyID            Code = "NoPreKeyID" // all are taken
	CodeProteus               Code = "Proteus"    // any other error of the protocol
	CodeCryptoboxNotFound     Code = "CryptoboxNotFound"

	// Commits and the delivery service.
	CodeMessageRejected      Code = "MessageRejected"      // the commit lost or was refused; see MessageRejected
	CodeCommitInDoubt        Code = "CommitInDoubt"        // see CommitInDoubt
	CodeNotSent              Code = "NotSent"              // the commit never left; nothing changed
	CodeSending              Code = "Sending"              // the conversation waits for the delivery service; it can only read and decrypt
	CodeTransportNotProvided Code = "TransportNotProvided" // the client was opened without one

	// Transactions.
	CodeConflict           Code = "Conflict"           // chosen to give way in a deadlock; run the transaction again
	CodeInvalidTransaction Code = "InvalidTransaction" // finished, aborted or another client's
	CodeTransactionOpen    Code = "TransactionOpen"    // Begin with a context that belongs to a transaction
	CodeTransactionFailed  Code = "TransactionFailed"  // see TransactionFailed

	// The engine.
	CodeBusy           Code = "Busy"   // too many calls wait; nothing was done
	CodeClosed         Code = "Closed" // the engine is closed
	CodeCanceled       Code = "Canceled"
	CodeStoreFailed    Code = "StoreFailed"    // open the engine again
	CodeOutcomeUnknown Code = "OutcomeUnknown" // the store failed during this call; after opening again it has happened wholly or not at all
	CodeWrongKey       Code = "WrongKey"
	CodeDirectoryInUse Code = "DirectoryInUse"
	CodeNewerFormat    Code = "NewerFormat" // the directory was written by a newer version
	CodeCorrupt        Code = "Corrupt"
	CodeInternal       Code = "Internal" // a defect of the engine; the call did nothing
	CodeOther          Code = "Other"
)

// Error implements error.
func (c Code) Error() string { return "conclave: " + string(c) }

// Error is the error of every call. Its text names the operation, the conversation by its first eight bytes in hexadecimal, and the cause, and never holds a secret.
type Error struct {
	Code         Code
	Op           string         // the method that was called, such as "EncryptMessage"
	Conversation ConversationID // empty where the call names none
	Err          error          // the cause; errors.As finds *MessageRejected, *CommitInDoubt, *TransactionFailed and *CredentialInUse in it
}

// Error implements error.
func (e *Error) Error() string {
	if e.Conversation == "" {
		return "conclave: " + e.Op + ": " + e.Err.Error()
	}
	return "conclave: " + e.Op + " " + e.Conversation.Short() + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is tells whether target is the error's code.
func (e *Error) Is(target error) bool {
	c, ok := target.(Code)
	return ok && c == e.Code
}

// MessageRejected is the cause of [CodeMessageRejected].
type MessageRejected = messages.MessageRejected

// CommitInDoubt is the cause of [CodeCommitInDoubt]: which commit has left without an answer.
type CommitInDoubt = messages.CommitInDoubt

// CredentialInUse is the cause of [CodeCredentialStillInUse]: which conversation uses it.
type CredentialInUse = messages.CredentialInUse

// MissingExistingClient is the cause of [CodeMissingExistingClient]: of which type there is no credential.
type MissingExistingClient = messages.MissingExistingClient

// TransactionFailed is the cause of [CodeTransactionFailed]: what stands although the transaction did not finish.
type TransactionFailed = messages.TransactionFailed

// IsIgnorable tells whether an error of DecryptMessage asks nothing of the application: the message is a duplicate, too late, or one's own.
func IsIgnorable(err error) bool { return messages.Ignorable(err) }

// codes maps causes to codes; the first that errors.Is finds counts.
var codes = []struct {
	cause error
	code  Code
}{
	{messages.ErrOutcomeUnknown, CodeOutcomeUnknown},
	{messages.ErrStoreFailed, CodeStoreFailed},
	{messages.ErrTransactionFailed, CodeTransactionFailed},
	{messages.ErrConversationNotFound, CodeConversationNotFound},
	{messages.ErrConversationAlreadyExists, CodeConversationAlreadyExists},
	{messages.ErrParentGroupNotFound, CodeParentGroupNotFound},
	{messages.ErrClientNotFound, CodeClientNotFound},
	{messages.ErrClientAlreadyExists, CodeClientAlreadyExists},
	{messages.ErrKeypairNotFound, CodeKeypairNotFound},
	{messages.ErrMemberNotFound, CodeMemberNotFound},
	{messages.ErrDuplicateMessage, CodeDuplicateMessage},
	{messages.ErrStaleProposal, CodeStaleProposal},
	{messages.ErrStaleCommit, CodeStaleCommit},
	{messages.ErrMessageEpochTooOld, CodeMessageEpochTooOld},
	{messages.ErrSelfCommitIgnored, CodeSelfCommitIgnored},
	{messages.ErrWrongEpoch, CodeWrongEpoch},
	{messages.ErrOrphanWelcome, CodeOrphanWelcome},
	{messages.ErrPendingProposals, CodePendingProposals},
	{messages.ErrPendingProposalNotFound, CodePendingProposalNotFound},
	{messages.ErrBufferFull, CodeBufferFull},
	{messages.ErrCredentialNotFound, CodeCredentialNotFound},
	{messages.ErrPKIEnvironmentUnset, CodePKIEnvironmentUnset},
	{messages.ErrTrustAnchorAlreadyRegistered, CodeTrustAnchorAlreadyRegistered},
	{messages.ErrInvalidCertificate, CodeInvalidCertificate},
	{messages.ErrInvalidCRL, CodeInvalidCRL},
	{messages.ErrWrongCredential, CodeWrongCredential},
	{messages.ErrInvalidArgument, CodeInvalidArgument},
	{messages.ErrProteusNotInitialized, CodeProteusNotInitialized},
	{messages.ErrSessionNotFound, CodeSessionNotFound},
	{messages.ErrPreKeyExists, CodePreKeyExists},
	{messages.ErrNoPreKeyID, CodeNoPreKeyID},
	{proteus.ErrDuplicateMessage, CodeDuplicateMessage},
	{proteus.ErrRemoteIdentityChanged, CodeRemoteIdentityChanged},
	{cryptobox.ErrNotFound, CodeCryptoboxNotFound},
	{cryptobox.ErrNoIdentity, CodeCryptoboxNotFound},
	{messages.ErrEnrollmentNotFound, CodeEnrollmentNotFound},
	{messages.ErrEnrollmentRunning, CodeEnrollmentRunning},
	{messages.ErrInvalidClientID, CodeInvalidClientID},
	{messages.ErrHookTimeout, CodeHookTimeout},
	{messages.ErrNotSent, CodeNotSent},
	{messages.ErrSending, CodeSending},
	{messages.ErrNoTransport, CodeTransportNotProvided},
	{messages.ErrConflict, CodeConflict},
	{messages.ErrInvalidTransaction, CodeInvalidTransaction},
	{messages.ErrTransactionOpen, CodeTransactionOpen},
	{messages.ErrBusy, CodeBusy},
	{messages.ErrClosed, CodeClosed},
	{messages.ErrCorrupt, CodeCorrupt},
	{messages.ErrInternal, CodeInternal},
	{messages.ErrInvalidMessage, CodeInvalidMessage},
	{store.ErrKeySize, CodeInvalidArgument},
	{store.ErrOptions, CodeInvalidArgument},
	{store.ErrWrongKey, CodeWrongKey},
	{store.ErrInUse, CodeDirectoryInUse},
	{store.ErrNewerFormat, CodeNewerFormat},
	{store.ErrCorrupt, CodeCorrupt},
	{store.ErrOutcomeUnknown, CodeOutcomeUnknown},
	{store.ErrFailed, CodeStoreFailed},
	{store.ErrClosed, CodeClosed},
	{context.Canceled, CodeCanceled},
	{context.DeadlineExceeded, CodeCanceled},
}

func codeOf(err error) Code {
	var known *Error
	if errors.As(err, &known) {
		return known.Code
	}
	switch {
	case asA[*MessageRejected](err):
		return CodeMessageRejected
	case asA[*CommitInDoubt](err):
		return CodeCommitInDoubt
	case asA[*CredentialInUse](err):
		return CodeCredentialStillInUse
	case asA[*MissingExistingClient](err):
		return CodeMissingExistingClient
	}
	for _, c := range codes {
		if errors.Is(err, c.cause) {
			return c.code
		}
	}
	if asA[*ProteusError](err) {
		return CodeProteus
	}
	return codeOfEnrollment(err)
}

// codeOfEnrollment is codeOf for the errors of package enrollment.
func codeOfEnrollment(err error) Code {
	switch {
	case errors.Is(err, enrollment.ErrOutOfOrder):
		return CodeOutOfOrderEnrollment
	case isAny(err, badCertificate...):
		return CodeCertificateMismatch
	case asA[*enrollment.Problem](err), isAny(err, badObject...):
		return CodeEnrollmentRefused
	case isAny(err, badAnswer...):
		return CodeEnrollment
	}
	return CodeOther
}

// Errors of enrolments, by what they mean to who reads the code.
var (
	badCertificate = []error{
		enrollment.ErrKeyAlgorithm, enrollment.ErrKeyMismatch, enrollment.ErrClientIDMismatch, enrollment.ErrHandleMismatch,
		enrollment.ErrDisplayNameMismatch, enrollment.ErrDomainMismatch, enrollment.ErrCertificateFormat, enrollment.ErrCertificateExpired,
	}
	badObject = []error{
		enrollment.ErrAccountDeactivated, enrollment.ErrAccountRevoked,
		enrollment.ErrOrderInvalid, enrollment.ErrOrderExpired, enrollment.ErrWrongIdentifiers, enrollment.ErrObjectStatus,
		enrollment.ErrAuthorizationInvalid, enrollment.ErrAuthorizationRevoked, enrollment.ErrAuthorizationDeactivated, enrollment.ErrAuthorizationExpired,
		enrollment.ErrChallengeType, enrollment.ErrChallengeToken, enrollment.ErrChallengeEntropy, enrollment.ErrChallengeInvalid,
	}
	// badAnswer may be another the next time.
	badAnswer = []error{
		enrollment.ErrNonceMissing, enrollment.ErrNonceReused, enrollment.ErrNonceRefused, enrollment.ErrStatus, enrollment.ErrContentType,
		enrollment.ErrTooLarge, enrollment.ErrMalformed, enrollment.ErrOrderNotReady, enrollment.ErrOrderNotYetValid, enrollment.ErrChallengeProcessing,
		enrollment.ErrCertificateNotYetValid, enrollment.ErrChain, enrollment.ErrUntrusted, enrollment.ErrToken, enrollment.ErrURL,
	}
)

func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}

func asA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// wrap makes an *Error of a cause, nil of nil.
func wrap(op string, id ConversationID, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Code: codeOf(err), Op: op, Conversation: id, Err: err}
}
