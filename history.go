package conclave

import (
	"context"
	"fmt"
	"slices"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// HistoryClientCreated is the event of a history client that a commit of this client has brought into a conversation.
type HistoryClientCreated = messages.HistoryClientCreated

// HistoryPreparer is implemented by a [Transport] whose application wraps history secrets into messages of its own format.
type HistoryPreparer = messages.HistoryPreparer

// EnableHistorySharing adds a history client to the conversation, a member that nobody runs, and sends its secret to the members: in an application message of
// the new epoch that goes to the transport with the commit. With the secret, [Engine.HistoryClient] reads what is said from then on. Where history sharing is
// enabled already it does nothing, and Sent is false. Fails as [Conversation.AddMembers] does.
//
// From then on every commit of this member that removes somebody replaces the history client, and sends the new secret. Other members' engines do the same.
func (c *Conversation) EnableHistorySharing(ctx context.Context) (CommitMerged, error) {
	return ask[messages.CommitMerged](ctx, c.scope, "EnableHistorySharing", c.id, messages.EnableHistorySharing{})
}

// DisableHistorySharing removes all history clients. Where there are none it does nothing, and Sent is false.
func (c *Conversation) DisableHistorySharing(ctx context.Context) (CommitMerged, error) {
	return ask[messages.CommitMerged](ctx, c.scope, "DisableHistorySharing", c.id, messages.DisableHistorySharing{})
}

// IsHistorySharingEnabled tells whether the conversation has a history client.
func (c *Conversation) IsHistorySharingEnabled(ctx context.Context) (bool, error) {
	r, err := ask[messages.MembersListed](ctx, c.scope, "IsHistorySharingEnabled", c.id, messages.ListMembers{})
	return slices.ContainsFunc(r.Members, func(m Member) bool { return m.ClientID.History() }), err
}

// HistoryClient opens the history client of a secret in this engine, which best is one in memory. It can join by the Welcome that brought it into the
// conversation, decrypt, and nothing that sends: such calls answer [CodeCredentialNotFound]. o says how conversations are joined; its CipherSuites and
// NoCredential do not count. [CodeInvalidArgument] where the secret is none of a history client.
func (e *Engine) HistoryClient(ctx context.Context, historySecret Secret, o ClientOptions) (*Client, error) {
	const op = "HistoryClient"
	bundle, err := mlsgroup.ParseKeyPackageBundle(historySecret)
	if err != nil {
		return nil, wrap(op, "", fmt.Errorf("%w: history secret: %w", messages.ErrInvalidArgument, err))
	}
	defer bundle.Wipe()
	kp := bundle.KeyPackage
	id := ClientID(kp.LeafNode.Credential.Identity)
	if !id.History() || kp.LeafNode.Credential.Type != mlsgroup.CredentialTypeBasic {
		return nil, wrap(op, "", fmt.Errorf("%w: history secret of a client that is no history client", messages.ErrInvalidArgument))
	}
	o.CipherSuites, o.NoCredential = []CipherSuite{kp.CipherSuite}, true
	c, err := e.Client(ctx, id, o)
	if err != nil {
		return nil, err
	}
	_, err = c.ImportKeyPackage(ctx, KeyPackageBundle{KeyPackage: kp.Marshal(), InitPrivate: bundle.InitPrivate.Clone(), LeafPrivate: bundle.LeafPrivate.Clone()})
	if err != nil {
		return nil, err
	}
	return c, nil
}
