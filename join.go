package conclave

import (
	"context"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// ExternalSender is a party outside the group that may send proposals to it (RFC 9420 12.1.8.1).
type ExternalSender = mlsgroup.ExternalSender

// ConversationOptions say how a conversation is created. The zero value uses the client's first suite, its newest credential and its profile.
type ConversationOptions = messages.CreateConversation

// CreateConversation founds a conversation with the client as its only member. [CodeConversationAlreadyExists] where there is one of that id.
func (s scope) CreateConversation(ctx context.Context, id ConversationID, o ConversationOptions) error {
	_, err := ask[messages.ConversationCreated](ctx, s, "CreateConversation", id, o)
	return err
}

// ExternalAddOptions say how NewExternalAddProposal asks to be added. The zero value uses the client's first suite, its newest credential and its profile.
type ExternalAddOptions struct {
	CipherSuite CipherSuite // of the conversation
	Credential  CredentialRef
	Profile     Profile
}

// ExternalAddProposal is the message to send to the members of a conversation, and the key package it holds.
type ExternalAddProposal = messages.JoinProposed

// NewExternalAddProposal asks the members of a conversation in an epoch, from outside, to add this client. Nothing of the conversation need be here. A
// member that commits the proposal answers it by a Welcome for a key package that is made and stored with the proposal.
func (s scope) NewExternalAddProposal(ctx context.Context, id ConversationID, epoch uint64, o ExternalAddOptions) (ExternalAddProposal, error) {
	return ask[messages.JoinProposed](ctx, s, "NewExternalAddProposal", "", messages.ProposeJoin{
		Conversation: id, Epoch: epoch, CipherSuite: o.CipherSuite, Credential: o.Credential, Profile: o.Profile,
	})
}

// JoinOptions say how a conversation is joined. The zero value takes the client's defaults.
type JoinOptions struct {
	// Profile the conversation speaks: nothing in a Welcome or GroupInfo tells it.
	Profile Profile
	// WirePolicy of the conversation, which nothing tells either.
	WirePolicy WirePolicy
	Receive    ReceiveConfig
	// RatchetTree, encoded, where the GroupInfo does not bring it.
	RatchetTree []byte
	// Credential to join by external commit with. Zero is the newest of the suite's signature scheme.
	Credential CredentialRef
}

// Joined names the conversation that was joined, its epoch, and what became of messages that had come for it before.
type Joined = messages.ConversationJoined

// ProcessWelcome joins the conversation of a Welcome and uses up the key package it was made for. [CodeOrphanWelcome] where that is not here,
// [CodeConversationAlreadyExists] where the client is a member already.
func (s scope) ProcessWelcome(ctx context.Context, welcome []byte, o JoinOptions) (Joined, error) {
	return ask[messages.ConversationJoined](ctx, s, "ProcessWelcome", "", messages.ProcessWelcome{
		Message: welcome, RatchetTree: o.RatchetTree, Profile: o.Profile, WirePolicy: o.WirePolicy, Receive: o.Receive,
	})
}

// JoinByExternalCommit joins the conversation of a GroupInfo, bare or wrapped in an MLSMessage, by a commit of its own. A group of that id which the client
// has already lives on until the delivery service has accepted, and is then replaced. Fails as [Conversation.AddMembers] does.
func (s scope) JoinByExternalCommit(ctx context.Context, groupInfo []byte, o JoinOptions) (Joined, error) {
	return ask[messages.ConversationJoined](ctx, s, "JoinByExternalCommit", "", messages.JoinByExternalCommit{
		GroupInfo: groupInfo, RatchetTree: o.RatchetTree, Credential: o.Credential, Profile: o.Profile, WirePolicy: o.WirePolicy, Receive: o.Receive,
	})
}
