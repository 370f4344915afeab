package conclave

import "github.com/conclave-mls/conclave/messages"

// Transport carries commits to the delivery service; the application implements it, once for each client, safe for concurrent use. Application
// messages and proposals are not its business: they are returned to the caller, who sends them.
//
// Its method is SendCommitBundle(ctx context.Context, b CommitBundle) (Verdict, error). The same bundle may come more than once, with Resend set: when an
// answer was lost, also by a restart. A delivery service that has accepted a commit of that Hash accepts it again.
//
// SendCommitBundle may call back into the engine with the context it was given, for reading and for decrypting messages of the conversation that
// sends, and then acts inside the transaction that sends.
type Transport = messages.Transport

// CommitStatusReader is what a [Transport] may implement beside it, where the delivery service can tell what became of a commit.
type CommitStatusReader = messages.CommitStatusReader

// CommitBundle is what [Transport] sends, one unit: the Conversation, the Epoch that the Commit ends, and the commit's Welcome, GroupInfo and EncryptedMessage.
// The package comment says to whom each goes.
type CommitBundle = messages.CommitBundle

// Verdict is the delivery service's answer to a [CommitBundle]: a Kind, and where it refuses the Reason that [MessageRejected] tells the caller.
type Verdict = messages.Verdict

// VerdictKind is what a [Verdict] says.
type VerdictKind = messages.VerdictKind

// The verdicts. An error of SendCommitBundle means that the outcome is unknown.
const (
	VerdictAccepted = messages.VerdictAccepted // the commit ends its epoch
	VerdictRefused  = messages.VerdictRefused  // it does not and never will; Reason says why
	VerdictNotSent  = messages.VerdictNotSent  // it has certainly not left this machine
	VerdictRetry    = messages.VerdictRetry    // send the same bytes again
)
