package conclave

import "context"

// The methods of Conversation again, for a Client and a Tx, with the conversation's id first. On a Tx they take the guard at first touch.

func (s scope) at(id ConversationID) *Conversation { return &Conversation{scope: s, id: id} }

// AddMembers is [Conversation.AddMembers].
func (s scope) AddMembers(ctx context.Context, id ConversationID, keyPackages ...[]byte) (CommitMerged, error) {
	return s.at(id).AddMembers(ctx, keyPackages...)
}

// RemoveMembers is [Conversation.RemoveMembers].
func (s scope) RemoveMembers(ctx context.Context, id ConversationID, clients ...ClientID) (CommitMerged, error) {
	return s.at(id).RemoveMembers(ctx, clients...)
}

// UpdateKeyMaterial is [Conversation.UpdateKeyMaterial].
func (s scope) UpdateKeyMaterial(ctx context.Context, id ConversationID) (CommitMerged, error) {
	return s.at(id).UpdateKeyMaterial(ctx)
}

// SetCredential is [Conversation.SetCredential].
func (s scope) SetCredential(ctx context.Context, id ConversationID, ref CredentialRef) (CommitMerged, error) {
	return s.at(id).SetCredential(ctx, ref)
}

// E2EIRotate is [Conversation.E2EIRotate].
func (s scope) E2EIRotate(ctx context.Context, id ConversationID) (CommitMerged, error) {
	return s.at(id).E2EIRotate(ctx)
}

// E2EIState is [Conversation.E2EIState].
func (s scope) E2EIState(ctx context.Context, id ConversationID) (E2EIState, error) {
	return s.at(id).E2EIState(ctx)
}

// DeviceIdentities is [Conversation.DeviceIdentities].
func (s scope) DeviceIdentities(ctx context.Context, id ConversationID, clients ...ClientID) ([]WireIdentity, error) {
	return s.at(id).DeviceIdentities(ctx, clients...)
}

// UserIdentities is [Conversation.UserIdentities].
func (s scope) UserIdentities(ctx context.Context, id ConversationID, users ...string) (map[string][]WireIdentity, error) {
	return s.at(id).UserIdentities(ctx, users...)
}

// SenderIdentity is [Conversation.SenderIdentity].
func (s scope) SenderIdentity(ctx context.Context, id ConversationID, sender Sender) (WireIdentity, error) {
	return s.at(id).SenderIdentity(ctx, sender)
}

// CommitPendingProposals is [Conversation.CommitPendingProposals].
func (s scope) CommitPendingProposals(ctx context.Context, id ConversationID) (CommitMerged, error) {
	return s.at(id).CommitPendingProposals(ctx)
}

// EnableHistorySharing is [Conversation.EnableHistorySharing].
func (s scope) EnableHistorySharing(ctx context.Context, id ConversationID) (CommitMerged, error) {
	return s.at(id).EnableHistorySharing(ctx)
}

// DisableHistorySharing is [Conversation.DisableHistorySharing].
func (s scope) DisableHistorySharing(ctx context.Context, id ConversationID) (CommitMerged, error) {
	return s.at(id).DisableHistorySharing(ctx)
}

// IsHistorySharingEnabled is [Conversation.IsHistorySharingEnabled].
func (s scope) IsHistorySharingEnabled(ctx context.Context, id ConversationID) (bool, error) {
	return s.at(id).IsHistorySharingEnabled(ctx)
}

// EncryptMessage is [Conversation.EncryptMessage].
func (s scope) EncryptMessage(ctx context.Context, id ConversationID, plaintext []byte) ([]byte, error) {
	return s.at(id).EncryptMessage(ctx, plaintext)
}

// DecryptMessage is [Conversation.DecryptMessage].
func (s scope) DecryptMessage(ctx context.Context, id ConversationID, message []byte) (DecryptedMessage, error) {
	return s.at(id).DecryptMessage(ctx, message)
}

// ProposeAdd is [Conversation.ProposeAdd].
func (s scope) ProposeAdd(ctx context.Context, id ConversationID, keyPackage []byte) (ProposalBundle, error) {
	return s.at(id).ProposeAdd(ctx, keyPackage)
}

// ProposeRemove is [Conversation.ProposeRemove].
func (s scope) ProposeRemove(ctx context.Context, id ConversationID, client ClientID) (ProposalBundle, error) {
	return s.at(id).ProposeRemove(ctx, client)
}

// ProposeUpdate is [Conversation.ProposeUpdate].
func (s scope) ProposeUpdate(ctx context.Context, id ConversationID) (ProposalBundle, error) {
	return s.at(id).ProposeUpdate(ctx)
}

// ProposePSK is [Conversation.ProposePSK].
func (s scope) ProposePSK(ctx context.Context, id ConversationID, pskID []byte) (ProposalBundle, error) {
	return s.at(id).ProposePSK(ctx, pskID)
}

// ClearPendingProposal is [Conversation.ClearPendingProposal].
func (s scope) ClearPendingProposal(ctx context.Context, id ConversationID, ref ProposalRef) error {
	return s.at(id).ClearPendingProposal(ctx, ref)
}

// DropInDoubt is [Conversation.DropInDoubt].
func (s scope) DropInDoubt(ctx context.Context, id ConversationID) (int, error) {
	return s.at(id).DropInDoubt(ctx)
}

// WipeConversation is [Conversation.Wipe].
func (s scope) WipeConversation(ctx context.Context, id ConversationID) error {
	return s.at(id).Wipe(ctx)
}

// ConversationExists tells whether there is a group of that id. A join that is not accepted yet does not count.
func (s scope) ConversationExists(ctx context.Context, id ConversationID) (bool, error) {
	state, err := s.at(id).State(ctx)
	return state.Exists, err
}

// ConversationEpoch is [Conversation.Epoch].
func (s scope) ConversationEpoch(ctx context.Context, id ConversationID) (uint64, error) {
	return s.at(id).Epoch(ctx)
}

// ConversationCredential is [Conversation.Credential].
func (s scope) ConversationCredential(ctx context.Context, id ConversationID) (CredentialRef, error) {
	return s.at(id).Credential(ctx)
}

// ConversationCipherSuite is [Conversation.CipherSuite].
func (s scope) ConversationCipherSuite(ctx context.Context, id ConversationID) (CipherSuite, error) {
	return s.at(id).CipherSuite(ctx)
}

// ClientIDs is [Conversation.ClientIDs].
func (s scope) ClientIDs(ctx context.Context, id ConversationID) ([]ClientID, error) {
	return s.at(id).ClientIDs(ctx)
}

// ExternalSender is [Conversation.ExternalSender].
func (s scope) ExternalSender(ctx context.Context, id ConversationID) ([]byte, error) {
	return s.at(id).ExternalSender(ctx)
}

// MarkConversationAsChildOf is [Conversation.MarkAsChildOf].
func (s scope) MarkConversationAsChildOf(ctx context.Context, child, parent ConversationID) error {
	return s.at(child).MarkAsChildOf(ctx, parent)
}

// ExportSecretKey is [Conversation.ExportSecretKey].
func (s scope) ExportSecretKey(ctx context.Context, id ConversationID, length int) (Secret, error) {
	return s.at(id).ExportSecretKey(ctx, length)
}

// ExportGroupInfo is [Conversation.ExportGroupInfo].
func (s scope) ExportGroupInfo(ctx context.Context, id ConversationID) ([]byte, error) {
	return s.at(id).ExportGroupInfo(ctx)
}
