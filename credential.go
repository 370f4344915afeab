package conclave

import (
	"context"
	"slices"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// CipherSuite is an MLS cipher suite, 1 to 7 (RFC 9420 17.1). Suites 5 and 7 (P-521, P-384) are ten to fifty times slower than suite 1.
type CipherSuite = mlsgroup.CipherSuite

// Credential binds an identity to a signature key (RFC 9420 5.3).
type Credential = mlsgroup.Credential

// CredentialRef names a stored credential: SHA-256 of its public signature key.
type CredentialRef = messages.CredentialRef

// CredentialEntry is a stored credential without its private key.
type CredentialEntry = messages.CredentialEntry

// AddCredential stores a credential of the client: for a zero c.Credential a Basic one, for a nil c.SignaturePrivate with a fresh key.
func (s scope) AddCredential(ctx context.Context, c NewCredential) (CredentialEntry, error) {
	r, err := ask[messages.CredentialAdded](ctx, s, "AddCredential", "", c)
	return r.Credential, err
}

// NewCredential is the argument of AddCredential.
type NewCredential = messages.AddCredential

// RemoveCredential deletes a credential, and with it the key packages made from it. [CodeCredentialStillInUse] where a conversation uses it; an unknown one is no error.
func (s scope) RemoveCredential(ctx context.Context, ref CredentialRef) error {
	_, err := ask[messages.CredentialRemoved](ctx, s, "RemoveCredential", "", messages.RemoveCredential{Ref: ref})
	return err
}

// Credentials lists the client's credentials, oldest first.
func (s scope) Credentials(ctx context.Context) ([]CredentialEntry, error) {
	r, err := ask[messages.CredentialsListed](ctx, s, "Credentials", "", messages.ListCredentials{})
	return r.Credentials, err
}

// PublicKey returns the public signature key of the client's newest credential of a suite, [CodeCredentialNotFound] where it has none.
func (s scope) PublicKey(ctx context.Context, suite CipherSuite) ([]byte, error) {
	all, err := s.Credentials(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range slices.Backward(all) {
		if c.CipherSuite == suite {
			return c.SignatureKey, nil
		}
	}
	return nil, wrap("PublicKey", "", messages.ErrCredentialNotFound)
}
