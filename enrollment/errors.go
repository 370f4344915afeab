package enrollment

import (
	"errors"
	"fmt"
)

// Errors of what the application hands in.
var (
	// ErrConfig reports a [Config] that no enrollment can be made of.
	ErrConfig = errors.New("enrollment: bad configuration")
	// ErrSuite reports a cipher suite that certificates are not issued for: suites 4
	// and 6, and unknown ones.
	ErrSuite = errors.New("enrollment: cipher suite has no certificates")
	// ErrOutOfOrder is what every [StepError] is.
	ErrOutOfOrder = errors.New("enrollment: out of order")
	// ErrToken reports an access token, ID token or nonce of the backend, or a lifetime
	// of a DPoP token, that is absent, too long or no token at all.
	ErrToken = errors.New("enrollment: bad token")
	// ErrURL reports a URL handed in that is none, or not one that the CA named.
	ErrURL = errors.New("enrollment: bad URL")
	// ErrStash reports bytes that are no marshalled enrollment of this version.
	ErrStash = errors.New("enrollment: bad stash")
	// ErrRandom says that the source of random bytes failed.
	ErrRandom = errors.New("enrollment: no random bytes")
)

// Errors of the transport of ACME.
var (
	// ErrNonceMissing says that a response came without a nonce, or none was handed in.
	ErrNonceMissing = errors.New("enrollment: no nonce")
	// ErrNonceReused says that a nonce was used before in this enrollment.
	ErrNonceReused = errors.New("enrollment: nonce was used before")
	// ErrNonceRefused says that the CA refused the second nonce in a row. The error is a
	// [Problem] as well.
	ErrNonceRefused = errors.New("enrollment: nonce refused twice")
	// ErrStatus reports an HTTP status that the step has no use for, redirects among
	// them, and no problem document. It is a [StatusError].
	ErrStatus = errors.New("enrollment: unexpected HTTP status")
	// ErrContentType reports a response of another media type than the step's.
	ErrContentType = errors.New("enrollment: unexpected content type")
	// ErrTooLarge reports a body, or a text in it, beyond its bound.
	ErrTooLarge = errors.New("enrollment: response too large")
	// ErrMalformed reports a response that is not what the step calls for: no JSON, a
	// member that is missing, twice there or of the wrong type, a URL that is none.
	ErrMalformed = errors.New("enrollment: malformed response")
)

// Errors of what the CA says about its objects.
var (
	ErrAccountDeactivated = errors.New("enrollment: account is deactivated")
	ErrAccountRevoked     = errors.New("enrollment: account is revoked")

	ErrOrderInvalid     = errors.New("enrollment: order is invalid")
	ErrOrderNotYetValid = errors.New("enrollment: order is not valid yet")
	ErrOrderExpired     = errors.New("enrollment: order has expired")
	// ErrWrongIdentifiers says that an order or an authorization is not for the device
	// and the user that were asked for.
	ErrWrongIdentifiers = errors.New("enrollment: wrong identifiers")
	// ErrOrderNotReady says that the CA has not settled the order yet: ask again later.
	ErrOrderNotReady = errors.New("enrollment: order is not ready")

	ErrAuthorizationInvalid     = errors.New("enrollment: authorization is invalid")
	ErrAuthorizationRevoked     = errors.New("enrollment: authorization is revoked")
	ErrAuthorizationDeactivated = errors.New("enrollment: authorization is deactivated")
	ErrAuthorizationExpired     = errors.New("enrollment: authorization has expired")
	// ErrChallengeType says that the challenge is not the one for its identifier, or
	// that both authorizations are for the same.
	ErrChallengeType = errors.New("enrollment: wrong challenge type")
	// ErrChallengeToken says that a challenge's token is not base64url.
	ErrChallengeToken = errors.New("enrollment: challenge token is not base64url")
	// ErrChallengeEntropy says that a challenge's token has less than 128 bits.
	ErrChallengeEntropy = errors.New("enrollment: challenge token is too short")
	// ErrChallengeInvalid says that the CA refused the proof. The challenge cannot be
	// tried again: it takes a new enrollment.
	ErrChallengeInvalid = errors.New("enrollment: challenge failed")
	// ErrChallengeProcessing says that the CA is still checking: ask again later.
	ErrChallengeProcessing = errors.New("enrollment: challenge is being checked")

	// ErrObjectStatus reports an object in a state that it cannot be in at this step.
	ErrObjectStatus = errors.New("enrollment: unexpected status of an object")
)

// Errors of the certificate that was issued.
var (
	// ErrChain says that the chain is not PEM of certificates alone, empty or too long.
	ErrChain = errors.New("enrollment: bad certificate chain")
	// ErrCertificateFormat says that a certificate cannot be read, or lacks what Wire's
	// have: subject alternative names, key identifier, digital signature.
	ErrCertificateFormat      = errors.New("enrollment: bad certificate")
	ErrCertificateExpired     = errors.New("enrollment: certificate has expired")
	ErrCertificateNotYetValid = errors.New("enrollment: certificate is not valid yet")
	// ErrKeyAlgorithm says that the certificate is for a key of another algorithm.
	ErrKeyAlgorithm        = errors.New("enrollment: certificate for a key of another algorithm")
	ErrKeyMismatch         = errors.New("enrollment: certificate for another key")
	ErrClientIDMismatch    = errors.New("enrollment: certificate for another client")
	ErrHandleMismatch      = errors.New("enrollment: certificate for another handle")
	ErrDisplayNameMismatch = errors.New("enrollment: certificate for another display name")
	ErrDomainMismatch      = errors.New("enrollment: certificate for another domain")
	// ErrUntrusted says that no registered trust anchor stands behind the certificate.
	// It wraps what the judge of the chain said.
	ErrUntrusted = errors.New("enrollment: certificate is not trusted")
)

// StepError reports a call that does not belong where the enrollment stands, a response
// without its request among them. It is [ErrOutOfOrder].
type StepError struct {
	Call Step // what the call is for
	At   Step // where the enrollment stands
	// Waiting tells that the response to the request of At has not come yet.
	Waiting bool
}

// Error names both steps.
func (e *StepError) Error() string {
	waiting := ""
	if e.Waiting {
		waiting = ", which waits for its response"
	}
	return fmt.Sprintf("%v: %v at step %v%s", ErrOutOfOrder, e.Call, e.At, waiting)
}

// Unwrap returns [ErrOutOfOrder].
func (e *StepError) Unwrap() error { return ErrOutOfOrder }

// StatusError reports the HTTP status that a step refused. It is [ErrStatus].
type StatusError struct {
	Step   Step
	Status int
}

// Error names step and status.
func (e *StatusError) Error() string { return fmt.Sprintf("%v: %d at %v", ErrStatus, e.Status, e.Step) }

// Unwrap returns [ErrStatus].
func (e *StatusError) Unwrap() error { return ErrStatus }

// malformed says what is wrong with a response, in words of ours.
func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }
