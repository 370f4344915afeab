package conclave

import (
	"context"
	"strings"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/pki"
)

// WireIdentity is what is known of a device by its credential: client id, status, thumbprint, and what its certificate says.
type WireIdentity = messages.WireIdentity

// X509Identity is what the certificate of a device says.
type X509Identity = pki.X509Identity

// DeviceStatus says whether a device's credential is to be relied on.
type DeviceStatus = pki.DeviceStatus

// The statuses.
const (
	DeviceStatusUnknown = pki.DeviceStatusUnknown // there is no trust anchor to verify a certificate with
	DeviceStatusValid   = pki.DeviceStatusValid   // nothing is known against it; Basic credentials have no other
	DeviceStatusExpired = pki.DeviceStatusExpired // its certificate's time is over
	DeviceStatusRevoked = pki.DeviceStatusRevoked // its certificate is revoked, or leads to no trust anchor
)

// E2EIState says whether the members of a conversation are who they say they are.
type E2EIState = pki.E2EIState

// The states.
const (
	E2EIStateVerified    = pki.E2EIStateVerified    // every member has a valid X.509 credential
	E2EIStateNotVerified = pki.E2EIStateNotVerified // some member has an X.509 credential, and some member's is not, or not valid
	E2EIStateNotEnabled  = pki.E2EIStateNotEnabled  // no member has an X.509 credential
)

// E2EIState returns whether all members are verified, now: it changes without a message, when a certificate expires or a CRL is registered.
func (c *Conversation) E2EIState(ctx context.Context) (E2EIState, error) {
	r, err := ask[messages.E2EIStateRead](ctx, c.scope, "E2EIState", c.id, messages.ReadE2EIState{})
	return r.State, err
}

// DeviceIdentities returns the identities of the members with one of the client ids, in leaf order. Ids of no member are left out.
// [CodeInvalidArgument] without ids.
func (c *Conversation) DeviceIdentities(ctx context.Context, ids ...ClientID) ([]WireIdentity, error) {
	const op = "DeviceIdentities"
	if len(ids) == 0 {
		return nil, wrap(op, c.id, messages.ErrInvalidArgument)
	}
	r, err := ask[messages.IdentitiesRead](ctx, c.scope, op, c.id, messages.ReadIdentities{Clients: ids})
	return r.Identities, err
}

// UserIdentities returns the identities of the members whose user is one of users, by user, in leaf order. A user is what stands before the colon of a client
// id: the UUID in lower case. Users without a member have no entry. [CodeInvalidArgument] without users.
func (c *Conversation) UserIdentities(ctx context.Context, users ...string) (map[string][]WireIdentity, error) {
	const op = "UserIdentities"
	if len(users) == 0 {
		return nil, wrap(op, c.id, messages.ErrInvalidArgument)
	}
	r, err := ask[messages.IdentitiesRead](ctx, c.scope, op, c.id, messages.ReadIdentities{Users: users})
	if err != nil {
		return nil, err
	}
	all := make(map[string][]WireIdentity)
	for _, id := range r.Identities {
		user, _, _ := strings.Cut(string(id.ClientID), ":")
		all[user] = append(all[user], id)
	}
	return all, nil
}

// SenderIdentity returns the identity of who sent a message of the conversation, of [DecryptedMessage].Sender, as it is to be seen now. It is not part of
// the message itself, so that a certificate that cannot be judged costs no message, and nobody waits for what is not asked for.
func (c *Conversation) SenderIdentity(ctx context.Context, sender Sender) (WireIdentity, error) {
	const op = "SenderIdentity"
	suite, err := c.CipherSuite(ctx)
	if err != nil {
		return WireIdentity{}, err
	}
	r, err := ask[messages.Identified](ctx, c.scope, op, "", messages.Identify{
		CipherSuite: suite, Credential: sender.Credential, SignatureKey: sender.SignatureKey,
	})
	return r.Identity, err
}

// VerifyGroupState returns the state of the group of a GroupInfo, before it is joined. It verifies the members as one who would add them, so the lifetimes of
// their key packages have to be running; whatever does not verify is [E2EIStateNotVerified] and no error.
func (s scope) VerifyGroupState(ctx context.Context, groupInfo []byte) (E2EIState, error) {
	r, err := ask[messages.E2EIStateRead](ctx, s, "VerifyGroupState", "", messages.ReadGroupInfoState{GroupInfo: groupInfo, AsSender: true})
	if err != nil && codeOf(err) == CodeInvalidMessage {
		return E2EIStateNotVerified, nil
	}
	return r.State, err
}

// CredentialTypeInUse returns the state of the group of a GroupInfo, before it is joined. Lifetimes of key packages do not count, and what does not verify is
// [CodeInvalidMessage]. Its name in CoreCrypto is get_credential_in_use.
func (s scope) CredentialTypeInUse(ctx context.Context, groupInfo []byte) (E2EIState, error) {
	r, err := ask[messages.E2EIStateRead](ctx, s, "CredentialTypeInUse", "", messages.ReadGroupInfoState{GroupInfo: groupInfo})
	return r.State, err
}
