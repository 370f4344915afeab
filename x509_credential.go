package conclave

import (
	"context"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// X509Credential is the argument of SaveX509Credential: a chain that was issued to the client, in DER and leaf first, and the private signature key of its leaf.
type X509Credential = messages.SaveX509Credential

// SavedX509Credential is a stored X.509 credential, with the CRL distribution points of its chain for which no CRL is registered yet.
type SavedX509Credential = messages.X509CredentialSaved

// SaveX509Credential stores a certificate chain that was issued to the client as a new credential, and registers those of the chain's intermediates that lead
// to a trust anchor. The leaf has to be the client's own, for the key, in its time, and lead to a trust anchor. Where a stored credential has the same key,
// SignaturePrivate may be left out, and the new one takes its place: conversations keep the old leaf until [Conversation.SetCredential].
//
// From now on it is the newest of its signature scheme, which new conversations, joins and key packages use. [Client.RotateCredential] brings it to what is there.
//
// [CodePKIEnvironmentUnset] where there is no trust anchor, [CodeWrongCredential] where chain, key, suite and client do not belong together,
// [CodeInvalidCertificate] where the chain does not verify, [CodeCredentialNotFound] where no stored credential has the key that was left out. One that is
// refused changes nothing, the chain's intermediates included.
func (s scope) SaveX509Credential(ctx context.Context, c X509Credential) (SavedX509Credential, error) {
	return ask[messages.X509CredentialSaved](ctx, s, "SaveX509Credential", "", c)
}

// E2EIEnabled tells whether the client has an X.509 credential for a suite's signature scheme. [CodeCredentialNotFound] where it has none of any type.
func (s scope) E2EIEnabled(ctx context.Context, suite CipherSuite) (bool, error) {
	const op = "E2EIEnabled"
	all, err := s.Credentials(ctx)
	if err != nil {
		return false, err
	}
	found := false
	for _, c := range all {
		if signatureScheme(c.CipherSuite) != signatureScheme(suite) {
			continue
		}
		if found = true; c.Credential.Type == mlsgroup.CredentialTypeX509 {
			return true, nil
		}
	}
	if !found {
		return false, wrap(op, "", messages.ErrCredentialNotFound)
	}
	return false, nil
}

// CheckedCredential is an own X.509 credential, its identity, and why it does not verify, if so.
type CheckedCredential = messages.CheckedCredential

// CheckCredentials looks at the client's own X.509 credentials, oldest first. It is for now and then, so that one is renewed before it expires.
func (s scope) CheckCredentials(ctx context.Context) ([]CheckedCredential, error) {
	r, err := ask[messages.CredentialsChecked](ctx, s, "CheckCredentials", "", messages.CheckCredentials{})
	return r.Credentials, err
}
