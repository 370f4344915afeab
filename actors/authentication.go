package actors

import (
	"errors"
	"fmt"
	"time"

	"github.com/conclave-mls/conclave/internal/clientid"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/pki"
)

// authentication is the authentication service of a client (RFC 9420 5.3.1), where
// the application has none of its own.
//
// Basic credentials are accepted, whoever they name. An X.509 one has to lead to a
// trust anchor, by signatures and constraints that hold; without any trust anchor none
// is accepted. That it has expired or is revoked keeps nobody out: members learn of it
// at different times, and would be in different groups from then on. It is seen in the
// status of the device and the state of the conversation instead.
type authentication struct {
	trusted *pki.Snapshot
	now     time.Time
}

var (
	errNoTrustAnchor   = errors.New("no trust anchor is registered to verify the X.509 credential")
	errOtherClient     = errors.New("another client")
	errCredentialType  = errors.New("neither Basic nor X.509")
	errIdentityMissing = errors.New("the certificate names no client")
)

// ValidateCredential implements mlsgroup.AuthenticationService. That a certificate is for
// the leaf's key has been verified by the group.
func (a authentication) ValidateCredential(c *mlsgroup.Credential, _ []byte) error {
	switch c.Type {
	case mlsgroup.CredentialTypeBasic:
		return nil
	case mlsgroup.CredentialTypeX509:
	default:
		return errCredentialType
	}
	if !a.trusted.HasTrustAnchor() {
		return errNoTrustAnchor
	}
	v := a.trusted.Examine(c.Certificates, a.now)
	if !pki.Admissible(v.Err) {
		return v.Err
	}
	if v.Identity == nil {
		return errIdentityMissing
	}
	return nil
}

// ValidSuccessor implements mlsgroup.AuthenticationService: a member may change from one
// type of credential to the other, and never to another client.
func (a authentication) ValidSuccessor(old, next *mlsgroup.Credential) error {
	was, is := clientIDOf(a.trusted, old, a.now), clientIDOf(a.trusted, next, a.now)
	if was == "" || is == "" || !sameClient(was, is) {
		return errOtherClient
	}
	return nil
}

// acceptAll is the authentication service of those who look at a group before they
// judge its members.
type acceptAll struct{}

// ValidateCredential implements mlsgroup.AuthenticationService.
func (acceptAll) ValidateCredential(*mlsgroup.Credential, []byte) error { return nil }

// ValidSuccessor implements mlsgroup.AuthenticationService.
func (acceptAll) ValidSuccessor(_, _ *mlsgroup.Credential) error { return nil }

// clientIDOf returns the client that a credential names: the identity of a Basic one as
// it is, that in the leaf certificate of an X.509 one in its canonical form. It is
// empty where there is none.
func clientIDOf(s *pki.Snapshot, c *mlsgroup.Credential, now time.Time) messages.ClientID {
	switch c.Type {
	case mlsgroup.CredentialTypeBasic:
		return messages.ClientID(c.Identity)
	case mlsgroup.CredentialTypeX509:
		if v := s.Examine(c.Certificates, now); v.Identity != nil {
			return messages.ClientID(v.Identity.ClientID.String())
		}
	}
	return ""
}

// identityOf is clientIDOf by what is durable.
func (c *client) identityOf(credential *mlsgroup.Credential) messages.ClientID {
	if credential.Type == mlsgroup.CredentialTypeBasic {
		return messages.ClientID(credential.Identity)
	}
	return clientIDOf(c.published.Load().trusted, credential, c.sys.options.Now())
}

// owns tells whether a credential names the client.
func (c *client) owns(credential *mlsgroup.Credential) bool {
	id := c.identityOf(credential)
	return id != "" && sameClient(id, c.id)
}

// canonical returns a client id in the form in which certificates yield it, and one
// that is not Wire's as it is.
func canonical(id messages.ClientID) messages.ClientID {
	parsed, err := clientid.Parse(string(id))
	if err != nil {
		return id
	}
	return messages.ClientID(parsed.String())
}

func sameClient(a, b messages.ClientID) bool { return a == b || canonical(a) == canonical(b) }

// memberCredentials returns the credentials of all members of a group whose tree is in
// memory.
func memberCredentials(g *mlsgroup.Group) []mlsgroup.Credential {
	members, err := g.Members()
	if err != nil {
		return nil
	}
	credentials := make([]mlsgroup.Credential, 0, g.MemberCount())
	for _, leaf := range members {
		credentials = append(credentials, leaf.Credential)
	}
	return credentials
}

// checkOwn refuses a certificate of somebody else.
func (c *client) checkOwn(id *pki.Identity) error {
	if got := messages.ClientID(id.ClientID.String()); !sameClient(got, c.id) {
		return fmt.Errorf("%w: the certificate is another client's", messages.ErrWrongCredential)
	}
	return nil
}
