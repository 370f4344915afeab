package messages

import (
	"github.com/conclave-mls/conclave/internal/secret"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/pki"
)

// RegisterTrustAnchor registers the certificate of a certification authority, such as
// the root of the ACME server, that chains may end at. There may be several. It answers
// [TrustAnchorRegistered]; ErrTrustAnchorAlreadyRegistered where one has the same key.
type RegisterTrustAnchor struct {
	Certificate []byte // PEM or DER
}

// TrustAnchorRegistered answers [RegisterTrustAnchor].
type TrustAnchorRegistered struct{ Fingerprint pki.Fingerprint }

// RemoveTrustAnchor forgets a trust anchor. An unknown one is no error. It answers
// [TrustAnchorRemoved].
type RemoveTrustAnchor struct{ Fingerprint pki.Fingerprint }

// TrustAnchorRemoved answers [RemoveTrustAnchor].
type TrustAnchorRemoved struct{}

// RegisterIntermediate registers a certificate that leads from chains to a trust
// anchor. It answers [IntermediateRegistered]; ErrPKIEnvironmentUnset without an anchor.
type RegisterIntermediate struct {
	Certificate []byte // PEM or DER
}

// IntermediateRegistered answers [RegisterIntermediate].
type IntermediateRegistered struct {
	// DistributionPoints are those that the certificate itself names, whether their
	// CRLs are registered or not. Nil for a certificate that is a trust anchor.
	DistributionPoints []string
}

// RegisterCRL registers the revocation list of a distribution point, in the place of
// the one that was registered before. It answers [CRLRegistered];
// ErrPKIEnvironmentUnset without an anchor.
type RegisterCRL struct {
	DistributionPoint string // a URL
	CRL               []byte // DER
}

// CRLRegistered answers [RegisterCRL].
type CRLRegistered struct{ pki.CRLRegistration }

// ReadPKI reads what is registered. It answers [PKIRead].
type ReadPKI struct{}

// PKIRead answers [ReadPKI].
type PKIRead struct {
	TrustAnchors  []pki.TrustAnchor
	Intermediates [][]byte // DER
	CRLs          []pki.CRL
}

// ListDistributionPoints lists the distribution points that matter to the client: of
// its own credentials, of what is registered, and of the members of its conversations.
// It answers [DistributionPointsListed].
type ListDistributionPoints struct{}

// DistributionPointsListed answers [ListDistributionPoints], in order.
type DistributionPointsListed struct{ DistributionPoints []string }

// CheckCredentials looks at the client's own X.509 credentials. It answers
// [CredentialsChecked].
type CheckCredentials struct{}

// CredentialsChecked answers [CheckCredentials], oldest first.
type CredentialsChecked struct{ Credentials []CheckedCredential }

// CheckedCredential is an own X.509 credential with what is to be said of it.
type CheckedCredential struct {
	Ref      CredentialRef
	Identity WireIdentity
	// Err says why it does not verify; nil for one that does.
	Err error
}

// SaveX509Credential stores a certificate chain that was issued to the client, with
// its signature key, and registers the chain's intermediates. A credential with the
// same key gives way to it. It answers [X509CredentialSaved]. Errors:
// ErrPKIEnvironmentUnset; ErrWrongCredential where chain, key, suite or the client's id
// do not belong together; ErrInvalidCertificate where the chain does not verify.
type SaveX509Credential struct {
	CipherSuite mlsgroup.CipherSuite
	// Chain is the chain in DER, leaf first. A trust anchor at its end is left out.
	Chain [][]byte
	// SignaturePrivate belongs to the leaf. Nil: a stored credential has the key.
	SignaturePrivate secret.Bytes
}

// X509CredentialSaved answers [SaveX509Credential].
type X509CredentialSaved struct {
	Credential CredentialEntry
	// NewDistributionPoints of the chain, as in [MessageDecrypted].
	NewDistributionPoints []string
}

// Rotation is the replacement of a credential in everything a client has: its
// conversations, its key packages, and the older credentials of the signature scheme.
type Rotation struct {
	Credential CredentialRef // that takes the place of the others
	// KeyPackages that are to be made of each of the suites.
	CipherSuites []mlsgroup.CipherSuite
	KeyPackages  int
	// Published tells that the new key packages have been published.
	Published bool
}

// PutRotation writes down the rotation that is under way; nil ends it. It answers
// [RotationPut].
type PutRotation struct {
	Rotation *Rotation
	// After is the credential of the rotation that has to be under way, or else the
	// answer is [ErrConflict]; zero asks nothing.
	After CredentialRef
}

// RotationPut answers [PutRotation].
type RotationPut struct{}

// ReadRotation reads the rotation that is under way. It answers [RotationRead].
type ReadRotation struct{}

// RotationRead answers [ReadRotation]. Rotation is nil where none is under way.
type RotationRead struct{ Rotation *Rotation }
