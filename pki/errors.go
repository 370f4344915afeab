package pki

import (
	"errors"
	"fmt"
	"time"
)

// Errors of bytes that are not what they should be.
var (
	// ErrMalformed reports a certificate, chain or PEM text that does not parse or is too large.
	ErrMalformed = errors.New("pki: malformed certificate")
	// ErrKeyType reports a key or signature that is neither Ed25519 nor ECDSA on P-256, P-384 or P-521 with SHA-2.
	ErrKeyType = errors.New("pki: unsupported key or signature algorithm")
	// ErrRecord reports a stored record that no snapshot has written.
	ErrRecord = errors.New("pki: malformed record")
)

// Errors of a leaf, whatever the path.
var (
	// ErrUsage reports a certificate used for what it is not meant for: a leaf that is an authority, or may not sign or authenticate a client; an
	// issuer that is none, or may not sign certificates or lists.
	ErrUsage = errors.New("pki: certificate is not for this use")
	// ErrIdentity reports a leaf without client id, handle, display name or domain, or with more in the handle's URI than handle and domain.
	ErrIdentity = errors.New("pki: certificate lacks a part of the identity")
	// ErrDuplicateName reports a leaf that names two client ids, handles, common names or organisations.
	ErrDuplicateName = errors.New("pki: certificate names two identities")
	// ErrDomain reports a leaf whose organisation, client id and handle are not of one domain.
	ErrDomain = errors.New("pki: certificate names two domains")
	// ErrKeyMismatch reports a certificate for another key than the one asked about.
	ErrKeyMismatch = errors.New("pki: certificate is for another key")
)

// Errors of a path.
var (
	// ErrNoPath reports a certificate that no stored authority has issued.
	ErrNoPath = errors.New("pki: no path to a trust anchor")
	// ErrSelfSigned reports an end entity that vouches for itself; it is an [ErrNoPath] too.
	ErrSelfSigned = fmt.Errorf("%w: self-signed end entity", ErrNoPath)
	// ErrSignature reports a signature that is not its supposed issuer's.
	ErrSignature = errors.New("pki: wrong signature")
	// ErrPathLength reports more intermediates than an authority allows below it.
	ErrPathLength = errors.New("pki: path too long")
	// ErrNameConstraint reports a name that an authority may not certify.
	ErrNameConstraint = errors.New("pki: name constraint violated")
	// ErrCriticalExtension reports a critical extension that is not understood.
	ErrCriticalExtension = errors.New("pki: unknown critical extension")
	// ErrPolicy reports certificate policies that leave no policy over.
	ErrPolicy = errors.New("pki: certificate policies are not met")
)

// Errors of a path that depend on when one asks, and on what lists one has.
var (
	// ErrNotYetValid reports a certificate whose validity has not begun.
	ErrNotYetValid = errors.New("pki: certificate is not yet valid")
	// ErrExpired reports a certificate whose validity is over.
	ErrExpired = errors.New("pki: certificate has expired")
	// ErrIssuerExpired is the [ErrExpired] of an intermediate or a trust anchor.
	ErrIssuerExpired = fmt.Errorf("%w: issuer", ErrExpired)
	// ErrRevoked is what each [RevokedError] is.
	ErrRevoked = errors.New("pki: certificate is revoked")
	// ErrCRLMissing reports, with [Policy.RequireCRL], a certificate for which there is no list.
	ErrCRLMissing = errors.New("pki: no revocation list for certificate")
	// ErrCRLStale reports, with [Policy.RequireCRL], a certificate for which there are only lists past their nextUpdate or before their thisUpdate.
	ErrCRLStale = errors.New("pki: revocation list is not current")
)

// Errors of operations on a snapshot.
var (
	// ErrNoTrustAnchor reports that something needs a trust anchor and there is none.
	ErrNoTrustAnchor = errors.New("pki: no trust anchor")
	// ErrTrustAnchorExists reports a second trust anchor with the key of a first.
	ErrTrustAnchorExists = errors.New("pki: trust anchor exists")
	// ErrNotFound reports a fingerprint of no trust anchor.
	ErrNotFound = errors.New("pki: no such trust anchor")
	// ErrMissingKeyID reports an intermediate without subject key identifier.
	ErrMissingKeyID = errors.New("pki: intermediate lacks a subject key identifier")
	// ErrFull reports that a bound on what a snapshot holds is reached.
	ErrFull = errors.New("pki: too many certificates or lists")
	// ErrCRLMalformed reports a revocation list that does not parse or is too large.
	ErrCRLMalformed = errors.New("pki: malformed revocation list")
	// ErrCRLUnsupported reports a list that is indirect, a delta, for attribute certificates, or has an unknown critical extension.
	ErrCRLUnsupported = errors.New("pki: unsupported kind of revocation list")
	// ErrCRLIssuer reports a list of an issuer that is neither trust anchor nor intermediate.
	ErrCRLIssuer = errors.New("pki: revocation list of an unknown issuer")
	// ErrCRLDistributionPoint reports a list for another distribution point, or an address that is none.
	ErrCRLDistributionPoint = errors.New("pki: revocation list is for another distribution point")
	// ErrCRLRollback reports a list older than the one it would replace.
	ErrCRLRollback = errors.New("pki: revocation list is older than the stored one")
)

// RevokedError says which certificate of a path is revoked. It is an [ErrRevoked].
type RevokedError struct {
	// Depth is the certificate's place in the path: 0 is the leaf.
	Depth int
	// SerialNumber is the certificate's, as in [Identity].
	SerialNumber string
	// Reason is the list's.
	Reason Reason
	// At is since when.
	At time.Time
}

// Error says what is revoked and why.
func (e *RevokedError) Error() string {
	return fmt.Sprintf("%v: serial %s at depth %d, %s", ErrRevoked, e.SerialNumber, e.Depth, e.Reason)
}

// Unwrap returns [ErrRevoked].
func (e *RevokedError) Unwrap() error { return ErrRevoked }
