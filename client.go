package conclave

import (
	"context"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// Profile selects the dialect a conversation speaks, for its whole life.
type Profile = messages.Profile

// The profiles.
const (
	ProfileDefault = messages.ProfileDefault // the client's; for a client, ProfileWire
	ProfileWire    = messages.ProfileWire    // what Wire's CoreCrypto speaks
	ProfileRFC9420 = messages.ProfileRFC9420 // RFC 9420 to the letter
)

// WirePolicy says how the proposals and commits of members travel in a conversation of Wire's profile. All members have to choose the same.
type WirePolicy = messages.WirePolicy

// The policies.
const (
	WirePolicyPlaintext  = messages.WirePolicyPlaintext  // as PublicMessages, and no others are accepted
	WirePolicyCiphertext = messages.WirePolicyCiphertext // as PrivateMessages, and no others are accepted of members
)

// ReceiveConfig says how far out of order the messages of a conversation may arrive: OutOfOrder messages of a sender (32), MaxForward ahead of what was
// expected (1,000), PastEpochs back (3). A zero field takes its default.
type ReceiveConfig = mlsgroup.ReceiveConfig

// ClientOptions say how a client is opened. The zero value makes a client that speaks suite 1 and Wire's profile and cannot send commits.
type ClientOptions struct {
	// CipherSuites of the client, the first is its default. Nil is suite 1. A new client gets a Basic credential for each signature scheme among them.
	CipherSuites []CipherSuite
	// NoCredential leaves a new client without credentials.
	NoCredential bool
	// Keypairs are the provisional ids of key pairs from [Engine.GenerateKeypairs], each used once: a new client gets a Basic credential for each of them and
	// no others. [CodeKeypairNotFound] where there is none of an id, [CodeClientAlreadyExists] where the client is not new.
	Keypairs []ClientID
	// Profile and Receive are the defaults of conversations that are created or joined.
	Profile Profile
	Receive ReceiveConfig
	// BasicKeyChange makes conversations that are created or joined accept, in Wire's profile, a commit that changes the signature key of a member with a
	// Basic credential. CoreCrypto accepts it; it lets any member take over another's place. SECURITY.md has the whole story.
	BasicKeyChange bool
	// Transport carries commits. Nil: calls that commit answer [CodeTransportNotProvided].
	Transport Transport
	Observer  Observer
}

// Client is one device of one user. Each call on it stands alone: when it returns, what it did is durable. The same calls on a [Tx] become durable together.
type Client struct {
	scope
	id    ClientID
	ready messages.ClientReady
}

// ID returns the client's id.
func (c *Client) ID() ClientID { return c.id }

// Engine returns the engine the client lives in.
func (c *Client) Engine() *Engine { return c.engine }

// Created tells whether opening has created the client.
func (c *Client) Created() bool { return c.ready.Created }

// InDoubt lists the commits of an earlier run whose fate was unknown when the client was opened. They are sent again in the background.
func (c *Client) InDoubt() []CommitInDoubt { return c.ready.InDoubt }

// scope is what a call acts on: a client, alone or inside a transaction. Client and Tx share all its methods.
type scope struct {
	engine      *Engine
	instance    messages.Instance
	transaction messages.TransactionID
}

// ask sends one request and takes its answer. A context of a transport's callback makes a single call a step of the transaction that sends.
func ask[R messages.Reply](ctx context.Context, s scope, op string, id ConversationID, request messages.Request) (R, error) {
	to := messages.Address{Instance: s.instance, Conversation: id, Transaction: s.transaction}
	if to.Transaction == 0 {
		to.Transaction = messages.TransactionFrom(ctx)
	}
	var none R
	reply, err := s.engine.system.Ask(ctx, to, request)
	if err != nil {
		return none, wrap(op, id, err)
	}
	typed, ok := reply.(R)
	if !ok {
		return none, wrap(op, id, messages.ErrInternal)
	}
	return typed, nil
}

// SetData replaces the client's data blob, at most 16 MiB. In a transaction it is the application's checkpoint: it is there exactly when what the transaction did is.
func (s scope) SetData(ctx context.Context, data []byte) error {
	_, err := ask[messages.DataSet](ctx, s, "SetData", "", messages.SetData{Data: data})
	return err
}

// Data returns the client's data blob, nil where none was set.
func (s scope) Data(ctx context.Context) ([]byte, error) {
	r, err := ask[messages.DataRead](ctx, s, "Data", "", messages.ReadData{})
	return r.Data, err
}

// Conversations lists the conversations that have a group, in no particular order.
func (s scope) Conversations(ctx context.Context) ([]ConversationID, error) {
	r, err := ask[messages.ConversationsListed](ctx, s, "Conversations", "", messages.ListConversations{})
	return r.Conversations, err
}
