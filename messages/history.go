package messages

import (
	"context"
	"strings"

	"github.com/conclave-mls/conclave/internal/secret"
)

// History sharing lets a later member read what was said before it came: a history
// client, a member that nobody runs, is added to the conversation, and its keys are
// sent to the members, who may hand them on. Whoever has them can join in its name and
// decrypt from then on. Whenever a member is removed another history client takes the
// place of the old one, so that who has left cannot go on reading.

// HistoryClientPrefix begins the id of every history client.
const HistoryClientPrefix = "history-client:"

// History tells whether the id is a history client's.
func (id ClientID) History() bool { return strings.HasPrefix(string(id), HistoryClientPrefix) }

// EnableHistorySharing commits an Add of a history client, and all pending proposals.
// It answers [CommitMerged]; Sent is false where history sharing is enabled already.
type EnableHistorySharing struct{}

// DisableHistorySharing commits Removes of all history clients, and all pending
// proposals. It answers [CommitMerged]; Sent is false where there is none.
type DisableHistorySharing struct{}

// HistoryPreparer is implemented by a [Transport] whose application wraps history
// secrets into messages of its own format.
type HistoryPreparer interface {
	// PrepareHistorySecret returns the application message by which the members are
	// sent a history secret. It is sealed in the epoch that the secret opens. Without
	// this method, the message is the secret. The context carries the transaction.
	PrepareHistorySecret(ctx context.Context, id ConversationID, historySecret secret.Bytes) (secret.Bytes, error)
}

// HistoryClientCreated is the event of a history client of this member's that the
// conversation has from an epoch on.
type HistoryClientCreated struct {
	Instance     Instance
	Conversation ConversationID
	Epoch        uint64
	// ClientID of the history client.
	ClientID ClientID
	// Secret is the history secret: the stored form of its key package with the private
	// keys (mlsgroup.KeyPackageBundle), whose credential names it.
	Secret secret.Bytes
}
