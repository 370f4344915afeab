package actors

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/pki"
)

// Questions about identities are answered on the caller's goroutine: the conversation
// says who its members are, and what is to be thought of them is computed from the
// snapshot, whose memory has verified most of them before.

// readE2EIState answers the state of a conversation.
func (s *System) readE2EIState(ctx context.Context, at place, id messages.ConversationID) (messages.Reply, error) {
	members, err := s.members(ctx, at, id)
	if err != nil {
		return nil, err
	}
	credentials := make([]mlsgroup.Credential, len(members.Members))
	for i := range members.Members {
		credentials[i] = members.Members[i].Credential
	}
	return messages.E2EIStateRead{Epoch: members.Epoch, State: s.stateOf(at, credentials)}, nil
}

// members lists the members of a conversation.
func (s *System) members(ctx context.Context, at place, id messages.ConversationID) (messages.MembersListed, error) {
	reply, err := s.readConversation(ctx, at, id, messages.ListMembers{})
	if err != nil {
		return messages.MembersListed{}, err
	}
	return reply.(messages.MembersListed), nil
}

// stateOf computes the state of a conversation from its members' credentials.
func (s *System) stateOf(at place, credentials []mlsgroup.Credential) pki.E2EIState {
	trusted, now := at.client.trust(at.tx), s.options.Now()
	if !trusted.HasTrustAnchor() {
		return pki.E2EIStateNotEnabled
	}
	// First all at once, for the memory.
	s.options.Do(len(credentials), func(i int) {
		if credentials[i].Type == mlsgroup.CredentialTypeX509 {
			trusted.Examine(credentials[i].Certificates, now)
		}
	})
	return trusted.E2EIState(func(yield func([][]byte) bool) {
		for i := range credentials {
			var chain [][]byte
			if credentials[i].Type == mlsgroup.CredentialTypeX509 {
				chain = credentials[i].Certificates
			}
			if !yield(chain) {
				return
			}
		}
	}, now)
}

// readGroupInfoState answers the state of a group that the client need not be in. Its
// structure has to verify; its members are judged by their state alone.
func (s *System) readGroupInfoState(at place, r messages.ReadGroupInfoState) (messages.Reply, error) {
	info, err := readGroupInfo(r.GroupInfo)
	if err != nil {
		return nil, err
	}
	var tree *mlsgroup.RatchetTree
	if len(r.RatchetTree) > 0 {
		if tree, err = mlsgroup.ParseRatchetTree(r.RatchetTree); err != nil {
			return nil, fmt.Errorf("%w: ratchet tree: %w", messages.ErrInvalidMessage, err)
		}
	}
	in := mlsgroup.Input{Now: s.options.Now(), Auth: acceptAll{}, Do: s.options.Do}
	if tree, err = mlsgroup.VerifyGroupInfo(in, info, tree, r.AsSender); err != nil {
		return nil, invalidMessage(err)
	}
	var credentials []mlsgroup.Credential
	for _, leaf := range tree.Members() {
		credentials = append(credentials, leaf.Credential)
	}
	return messages.E2EIStateRead{Epoch: info.GroupContext.Epoch, State: s.stateOf(at, credentials)}, nil
}

// readIdentities answers the identities of some members.
func (s *System) readIdentities(ctx context.Context, at place, id messages.ConversationID, r messages.ReadIdentities) (messages.Reply, error) {
	members, err := s.members(ctx, at, id)
	if err != nil {
		return nil, err
	}
	wanted := make(map[messages.ClientID]bool, len(r.Clients))
	for _, client := range r.Clients {
		wanted[canonical(client)] = true
	}
	asked := members.Members[:0:0]
	for _, m := range members.Members {
		user, _, ok := strings.Cut(string(m.ClientID), ":")
		if m.ClientID != "" && wanted[canonical(m.ClientID)] || ok && slices.Contains(r.Users, user) {
			asked = append(asked, m)
		}
	}
	trusted, now := at.client.trust(at.tx), s.options.Now()
	reply := messages.IdentitiesRead{Epoch: members.Epoch, Identities: make([]messages.WireIdentity, len(asked))}
	s.options.Do(len(asked), func(i int) {
		reply.Identities[i] = identify(trusted, now, members.CipherSuite, &asked[i].Credential, asked[i].SignatureKey)
	})
	return reply, nil
}

// identify makes an identity of a credential.
func identify(s *pki.Snapshot, now time.Time, suite mlsgroup.CipherSuite, c *mlsgroup.Credential, signatureKey []byte) messages.WireIdentity {
	id := messages.WireIdentity{
		Status: pki.DeviceStatusValid, Thumbprint: pki.Thumbprint(uint16(suite), signatureKey), CredentialType: c.Type,
	}
	if c.Type != mlsgroup.CredentialTypeX509 {
		id.ClientID = messages.ClientID(c.Identity)
		return id
	}
	v := s.Examine(c.Certificates, now)
	id.Status = s.Policy().StatusOf(v.Err)
	if !s.HasTrustAnchor() {
		id.Status = pki.DeviceStatusUnknown
	}
	if x := v.Identity; x != nil {
		id.ClientID = messages.ClientID(x.ClientID.String())
		own := x.X509Identity // the snapshot's is shared
		id.X509 = &own
	}
	return id
}

// checkCredentials answers what is to be said of the client's own certificates.
func (s *System) checkCredentials(ctx context.Context, at place) (messages.Reply, error) {
	listed, err := s.askClient(ctx, at, messages.ListCredentials{})
	if err != nil {
		return nil, err
	}
	trusted, now := at.client.trust(at.tx), s.options.Now()
	var reply messages.CredentialsChecked
	for _, c := range listed.(messages.CredentialsListed).Credentials {
		if c.Credential.Type != mlsgroup.CredentialTypeX509 {
			continue
		}
		reply.Credentials = append(reply.Credentials, messages.CheckedCredential{
			Ref: c.Ref, Identity: identify(trusted, now, c.CipherSuite, &c.Credential, c.SignatureKey),
			Err: trusted.Verify(c.Credential.Certificates, now),
		})
	}
	return reply, nil
}

// listDistributionPoints answers the distribution points that matter to the client.
func (s *System) listDistributionPoints(ctx context.Context, at place) (messages.Reply, error) {
	listed, err := s.askClient(ctx, at, messages.ListCredentials{})
	if err != nil {
		return nil, err
	}
	return s.listPoints(at, listed.(messages.CredentialsListed).Credentials), nil
}
