package conclave

import (
	"bytes"
	"context"
	"slices"

	"github.com/conclave-mls/conclave/internal/primitive"
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

// CredentialFilter says which credentials FindCredentials returns. A zero field leaves out none.
type CredentialFilter struct {
	CipherSuite  CipherSuite
	Type         mlsgroup.CredentialType
	SignatureKey []byte // the public one
}

// FindCredentials lists the client's credentials that fit a filter, oldest first.
func (s scope) FindCredentials(ctx context.Context, f CredentialFilter) ([]CredentialEntry, error) {
	all, err := s.Credentials(ctx)
	return slices.DeleteFunc(all, func(c CredentialEntry) bool {
		return f.CipherSuite != 0 && c.CipherSuite != f.CipherSuite || f.Type != 0 && c.Credential.Type != f.Type ||
			f.SignatureKey != nil && !bytes.Equal(c.SignatureKey, f.SignatureKey)
	}), err
}

// PublicKey returns the public signature key of the client's newest credential of a suite's signature scheme, [CodeCredentialNotFound] where it has none.
func (s scope) PublicKey(ctx context.Context, suite CipherSuite) ([]byte, error) {
	c, err := s.credentialOf(ctx, "PublicKey", suite, CredentialRef{})
	return c.SignatureKey, err
}

// credentialOf finds a credential of a suite's signature scheme: the newest, unless ref names one.
func (s scope) credentialOf(ctx context.Context, op string, suite CipherSuite, ref CredentialRef) (CredentialEntry, error) {
	all, err := s.Credentials(ctx)
	if err != nil {
		return CredentialEntry{}, err
	}
	for _, c := range slices.Backward(all) {
		if signatureScheme(c.CipherSuite) == signatureScheme(suite) && (ref == CredentialRef{} || ref == c.Ref) {
			return c, nil
		}
	}
	return CredentialEntry{}, wrap(op, "", messages.ErrCredentialNotFound)
}

// signatureScheme returns the number of a suite's signature scheme, 0 where there is no such suite.
func signatureScheme(suite CipherSuite) uint16 {
	s, ok := primitive.Lookup(uint16(suite))
	if !ok {
		return 0
	}
	return s.SignatureScheme()
}
