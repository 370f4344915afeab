package conclave

import (
	"context"
	"crypto/sha256"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/store"
)

// Conversation is one conversation of a client. [Tx.Conversation] returns it as a guard: until the transaction ends nobody else uses the
// conversation. [Client.Conversation] returns it without one, and each call stands alone.
type Conversation struct {
	scope scope
	id    ConversationID
}

// ID returns the conversation's id.
func (c *Conversation) ID() ConversationID { return c.id }

// Conversation names a conversation for single calls. It does not look whether the conversation exists.
func (c *Client) Conversation(id ConversationID) *Conversation {
	return &Conversation{scope: c.scope, id: id}
}

// CommitMerged is what a call that commits returns once the delivery service has accepted: the new epoch, and messages that had waited for it.
type CommitMerged = messages.CommitMerged

// AddMembers adds the clients of the key packages, each bare or wrapped in an MLSMessage, and commits all pending proposals with them. The Welcome goes
// to the transport with the commit.
//
// Like every call that commits it sends a [CommitBundle] and returns when the delivery service has answered: accepted, the conversation is in the next
// epoch; [CodeMessageRejected], it lost a race or was refused, and own proposals of that commit are gone; [CodeCommitInDoubt], the
// answer is missing, the conversation goes on decrypting in its epoch and the same bytes are sent again until it is known what became of them.
func (c *Conversation) AddMembers(ctx context.Context, keyPackages ...[]byte) (CommitMerged, error) {
	return ask[messages.CommitMerged](ctx, c.scope, "AddMembers", c.id, messages.AddMembers{KeyPackages: keyPackages})
}

// RemoveMembers removes every member with one of the ids and commits all pending proposals. [CodeMemberNotFound] where no member has any of them,
// [CodeInvalidArgument] for the member itself: who wants to leave sends [Conversation.ProposeRemove] for another to commit.
func (c *Conversation) RemoveMembers(ctx context.Context, ids ...ClientID) (CommitMerged, error) {
	return ask[messages.CommitMerged](ctx, c.scope, "RemoveMembers", c.id, messages.RemoveMembers{ClientIDs: ids})
}

// UpdateKeyMaterial replaces the member's own keys and commits all pending proposals.
func (c *Conversation) UpdateKeyMaterial(ctx context.Context) (CommitMerged, error) {
	return ask[messages.CommitMerged](ctx, c.scope, "UpdateKeyMaterial", c.id, messages.UpdateKeyMaterial{})
}

// SetCredential replaces the member's own credential by another stored one, with fresh keys, and commits all pending proposals.
func (c *Conversation) SetCredential(ctx context.Context, ref CredentialRef) (CommitMerged, error) {
	return ask[messages.CommitMerged](ctx, c.scope, "SetCredential", c.id, messages.SetCredential{Credential: ref})
}

// E2EIRotate replaces the member's own credential by the client's newest X.509 one of the suite's signature scheme, as SetCredential does.
// [CodeCredentialNotFound] where there is none.
func (c *Conversation) E2EIRotate(ctx context.Context) (CommitMerged, error) {
	return ask[messages.CommitMerged](ctx, c.scope, "E2EIRotate", c.id, messages.SetCredential{})
}

// CommitPendingProposals commits what is pending. With nothing pending it does nothing, and Sent is false.
func (c *Conversation) CommitPendingProposals(ctx context.Context) (CommitMerged, error) {
	return ask[messages.CommitMerged](ctx, c.scope, "CommitPendingProposals", c.id, messages.CommitPendingProposals{})
}

// EncryptMessage seals an application message for the members. [CodePendingProposals] while proposals wait to be committed.
func (c *Conversation) EncryptMessage(ctx context.Context, plaintext []byte) ([]byte, error) {
	r, err := ask[messages.MessageEncrypted](ctx, c.scope, "EncryptMessage", c.id, messages.EncryptMessage{Plaintext: plaintext})
	return r.Message, err
}

// EncryptMessageWith seals an application message together with data that is authenticated and stays readable for the delivery service.
func (c *Conversation) EncryptMessageWith(ctx context.Context, plaintext, authenticatedData []byte) ([]byte, error) {
	r, err := ask[messages.MessageEncrypted](ctx, c.scope, "EncryptMessageWith", c.id, messages.EncryptMessage{Plaintext: plaintext, AuthenticatedData: authenticatedData})
	return r.Message, err
}

// DecryptedMessage is what became of a message; its Outcome says which of its fields hold something. Plaintext and AuthenticatedData are those of an application
// message, Sender is who sent it, Epoch is where the conversation is now, Released holds messages kept before that could be read now, and IsActive is false where a
// commit has removed this member.
type DecryptedMessage = messages.MessageDecrypted

// Outcome is the kind of a [DecryptedMessage].
type Outcome = messages.Outcome

// Sender is who sent a message: ClientID, Leaf, Credential and SignatureKey in the epoch it was sent in.
type Sender = messages.Sender

// Released is a message that had been stored for later, with what became of it now.
type Released = messages.Released

// The outcomes. The last three have stored the message; it comes out in the Released of a later call.
const (
	OutcomeText                  = messages.OutcomeText                  // an application message
	OutcomeProposal              = messages.OutcomeProposal              // a proposal, now pending
	OutcomeCommit                = messages.OutcomeCommit                // a commit; the conversation is in the next epoch
	OutcomeBufferedFutureMessage = messages.OutcomeBufferedFutureMessage // of the next epoch
	OutcomeBufferedCommit        = messages.OutcomeBufferedCommit        // a commit of proposals that have not come
	OutcomeUnmergedPendingGroup  = messages.OutcomeUnmergedPendingGroup  // for a conversation whose external join is not accepted yet
	OutcomeBusy                  = messages.OutcomeBusy                  // not looked at, to be fed to the stream again: see [Client.DecryptAll]
)

// DecryptMessage processes a message from the delivery service: an application message, a proposal or a commit. Errors for which [IsIgnorable] is true ask nothing.
// A message that came too early is stored, and that is an outcome, not an error.
func (c *Conversation) DecryptMessage(ctx context.Context, message []byte) (DecryptedMessage, error) {
	return ask[messages.MessageDecrypted](ctx, c.scope, "DecryptMessage", c.id, messages.DecryptMessage{Message: message})
}

// ProposalRef names a proposal (RFC 9420 5.2).
type ProposalRef = mlsgroup.ProposalRef

// ProposalBundle is an own proposal: the message to send to the members, and its reference.
type ProposalBundle = messages.ProposalCreated

// ProposeAdd proposes to add the client of a key package. The proposal is pending here; sending it is the caller's.
func (c *Conversation) ProposeAdd(ctx context.Context, keyPackage []byte) (ProposalBundle, error) {
	return ask[messages.ProposalCreated](ctx, c.scope, "ProposeAdd", c.id, messages.ProposeAdd{KeyPackage: keyPackage})
}

// ProposeRemove proposes to remove a member, [CodeMemberNotFound] where no member has the id.
func (c *Conversation) ProposeRemove(ctx context.Context, id ClientID) (ProposalBundle, error) {
	return ask[messages.ProposalCreated](ctx, c.scope, "ProposeRemove", c.id, messages.ProposeRemove{ClientID: id})
}

// ProposeUpdate proposes fresh keys for the member itself.
func (c *Conversation) ProposeUpdate(ctx context.Context) (ProposalBundle, error) {
	return ask[messages.ProposalCreated](ctx, c.scope, "ProposeUpdate", c.id, messages.ProposeUpdate{})
}

// ProposePSK proposes that the next epoch depend on the external pre-shared key that [Client.PutPSK] has put under the id here. The proposal is pending;
// every member needs the same key under the same id to follow the commit. [CodeInvalidArgument] with the cause [mlsgroup.CheckPSKAvailable] where none is here.
func (c *Conversation) ProposePSK(ctx context.Context, pskID []byte) (ProposalBundle, error) {
	return ask[messages.ProposalCreated](ctx, c.scope, "ProposePSK", c.id, messages.ProposePSK{ID: pskID})
}

// ClearPendingProposal forgets one pending proposal, for when the delivery service has refused it. [CodePendingProposalNotFound] where none has the reference.
func (c *Conversation) ClearPendingProposal(ctx context.Context, ref ProposalRef) error {
	_, err := ask[messages.PendingProposalCleared](ctx, c.scope, "ClearPendingProposal", c.id, messages.ClearPendingProposal{Ref: ref})
	return err
}

// DropInDoubt gives up the commits that are in doubt and returns how many. If the delivery service has accepted one after all, the conversation can only be joined anew.
func (c *Conversation) DropInDoubt(ctx context.Context) (int, error) {
	r, err := ask[messages.InDoubtDropped](ctx, c.scope, "DropInDoubt", c.id, messages.DropInDoubt{})
	return r.Count, err
}

// Wipe deletes everything of the conversation here. Nothing is sent: for the others the member stays.
func (c *Conversation) Wipe(ctx context.Context) error {
	_, err := ask[messages.ConversationWiped](ctx, c.scope, "Wipe", c.id, messages.WipeConversation{})
	return err
}

// MarkAsChildOf records which conversation this one belongs to; [ConversationState].Parent tells of it, and nothing else does. [CodeParentGroupNotFound]
// where the parent is not here.
func (c *Conversation) MarkAsChildOf(ctx context.Context, parent ConversationID) error {
	_, err := ask[messages.MarkedAsChild](ctx, c.scope, "MarkAsChildOf", c.id, messages.MarkAsChildOf{Parent: parent})
	return err
}

// ConversationState is what can be read of a conversation at one moment.
type ConversationState = messages.ConversationRead

// State reads the conversation, also where there is none. Outside a transaction it sees what is durable, and waits for nothing that the conversation is doing.
func (c *Conversation) State(ctx context.Context) (ConversationState, error) {
	return ask[messages.ConversationRead](ctx, c.scope, "State", c.id, messages.ReadConversation{})
}

// Epoch returns the current epoch.
func (c *Conversation) Epoch(ctx context.Context) (uint64, error) {
	s, err := c.existing(ctx, "Epoch")
	return s.Epoch, err
}

// CipherSuite returns the cipher suite.
func (c *Conversation) CipherSuite(ctx context.Context) (CipherSuite, error) {
	s, err := c.existing(ctx, "CipherSuite")
	return s.CipherSuite, err
}

// Credential returns the reference of the credential that stands for this client in the conversation.
func (c *Conversation) Credential(ctx context.Context) (CredentialRef, error) {
	s, err := c.existing(ctx, "Credential")
	if err != nil {
		return CredentialRef{}, err
	}
	return sha256.Sum256(s.SignatureKey), nil
}

func (c *Conversation) existing(ctx context.Context, op string) (ConversationState, error) {
	s, err := ask[messages.ConversationRead](ctx, c.scope, op, c.id, messages.ReadConversation{})
	if err == nil && !s.Exists {
		err = wrap(op, c.id, messages.ErrConversationNotFound)
	}
	return s, err
}

// ExternalSender returns the public signature key of the conversation's first external sender, nil where it has none. [ParseExternalSender] takes it for
// another conversation with the same one.
func (c *Conversation) ExternalSender(ctx context.Context) ([]byte, error) {
	s, err := c.existing(ctx, "ExternalSender")
	if err != nil || len(s.ExternalSenders) == 0 {
		return nil, err
	}
	return s.ExternalSenders[0].SignatureKey, nil
}

// Member is a member of a conversation.
type Member = messages.Member

// Members lists the members in leaf order.
func (c *Conversation) Members(ctx context.Context) ([]Member, error) {
	r, err := ask[messages.MembersListed](ctx, c.scope, "Members", c.id, messages.ListMembers{})
	return r.Members, err
}

// ClientIDs lists the client ids of the members in leaf order, without history clients: nobody is behind them. [Conversation.Members] has these too.
func (c *Conversation) ClientIDs(ctx context.Context) ([]ClientID, error) {
	r, err := ask[messages.MembersListed](ctx, c.scope, "ClientIDs", c.id, messages.ListMembers{})
	if err != nil {
		return nil, err
	}
	ids := make([]ClientID, 0, len(r.Members))
	for _, m := range r.Members {
		if !m.ClientID.History() {
			ids = append(ids, m.ClientID)
		}
	}
	return ids, nil
}

// ExportSecretKey derives a key of length bytes from the epoch, the same for all members, by MLS's exporter (RFC 9420 8.5) with the label "exporter" and no context, as Wire's clients do.
func (c *Conversation) ExportSecretKey(ctx context.Context, length int) (Secret, error) {
	r, err := ask[messages.SecretExported](ctx, c.scope, "ExportSecretKey", c.id, messages.ExportSecret{Label: "exporter", Length: length})
	return r.Secret, err
}

// ExportSecret derives a key by MLS's exporter under a label and context of the caller's. length is at most 65,535 bytes and 255 times the hash's.
func (c *Conversation) ExportSecret(ctx context.Context, label string, context []byte, length int) (Secret, error) {
	r, err := ask[messages.SecretExported](ctx, c.scope, "ExportSecret", c.id, messages.ExportSecret{Label: label, Context: context, Length: length})
	return r.Secret, err
}

// Size returns how many records the conversation has in store and their bytes before sealing, of what is durable.
func (c *Conversation) Size(ctx context.Context) (records int, bytes int64, err error) {
	keys := store.Client(c.scope.instance)
	key := c.scope.engine.store.Keys().Conversation(keys, []byte(c.id))
	next := store.PrefixRange(keys.Incarnations(nil, key))
	for ctx.Err() == nil {
		found, err := c.scope.engine.store.Range(next)
		if err != nil {
			return 0, 0, wrap("Size", c.id, err)
		}
		if len(found) == 0 {
			return records, bytes, nil
		}
		for _, r := range found {
			records++
			bytes += int64(len(r.Key) + len(r.Value))
		}
		next.Low = append(found[len(found)-1].Key, 0)
	}
	return 0, 0, wrap("Size", c.id, ctx.Err())
}

// ExportGroupInfo signs a GroupInfo of the current epoch by which others can join by external commit.
func (c *Conversation) ExportGroupInfo(ctx context.Context) ([]byte, error) {
	r, err := ask[messages.GroupInfoExported](ctx, c.scope, "ExportGroupInfo", c.id, messages.ExportGroupInfo{})
	return r.GroupInfo, err
}
