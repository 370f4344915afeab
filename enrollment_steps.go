package conclave

import (
	"context"
	"io"
	"time"

	"github.com/conclave-mls/conclave/enrollment"
)

// The steps of an enrolment, in their order. A request method returns the body of a POST of the content type application/jose+json; previousNonce is the
// Replay-Nonce of the answer before it, the first from a HEAD of the directory's NewNonce.

// DirectoryResponse takes the server's directory, of a GET of its URL.
func (e *Enrollment) DirectoryResponse(ctx context.Context, body []byte) (enrollment.Directory, error) {
	return stepEnrollment(ctx, e, "DirectoryResponse", len(body), func(m *enrollment.Enrollment, _ time.Time, _ io.Reader) (enrollment.Directory, error) {
		return m.DirectoryResponse(body)
	})
}

// NewAccountRequest asks for an account. It goes to the directory's NewAccount.
func (e *Enrollment) NewAccountRequest(ctx context.Context, previousNonce string) ([]byte, error) {
	return stepEnrollment(ctx, e, "NewAccountRequest", 0, func(m *enrollment.Enrollment, _ time.Time, _ io.Reader) ([]byte, error) {
		return m.NewAccountRequest(previousNonce)
	})
}

// NewAccountResponse takes the account, and returns its URL.
func (e *Enrollment) NewAccountResponse(ctx context.Context, body []byte) (string, error) {
	return stepEnrollment(ctx, e, "NewAccountResponse", len(body), func(m *enrollment.Enrollment, _ time.Time, _ io.Reader) (string, error) {
		return m.NewAccountResponse(body)
	})
}

// NewOrderRequest orders the certificate. It goes to the directory's NewOrder.
func (e *Enrollment) NewOrderRequest(ctx context.Context, previousNonce string) ([]byte, error) {
	return stepEnrollment(ctx, e, "NewOrderRequest", 0, func(m *enrollment.Enrollment, now time.Time, _ io.Reader) ([]byte, error) {
		return m.NewOrderRequest(now, previousNonce)
	})
}

// NewOrderResponse takes the order. Its URL is in the answer's header Location: it is needed by CheckOrderRequest.
func (e *Enrollment) NewOrderResponse(ctx context.Context, body []byte) (enrollment.Order, error) {
	return stepEnrollment(ctx, e, "NewOrderResponse", len(body), func(m *enrollment.Enrollment, now time.Time, _ io.Reader) (enrollment.Order, error) {
		return m.NewOrderResponse(now, body)
	})
}

// NewAuthzRequest asks for one of the order's two authorizations, at its URL.
func (e *Enrollment) NewAuthzRequest(ctx context.Context, url, previousNonce string) ([]byte, error) {
	return stepEnrollment(ctx, e, "NewAuthzRequest", 0, func(m *enrollment.Enrollment, _ time.Time, _ io.Reader) ([]byte, error) {
		return m.NewAuthzRequest(url, previousNonce)
	})
}

// NewAuthzResponse takes the authorization, and tells the device's from the user's.
func (e *Enrollment) NewAuthzResponse(ctx context.Context, body []byte) (enrollment.Authorization, error) {
	return stepEnrollment(ctx, e, "NewAuthzResponse", len(body), func(m *enrollment.Enrollment, now time.Time, _ io.Reader) (enrollment.Authorization, error) {
		return m.NewAuthzResponse(now, body)
	})
}

// CreateDPoPToken makes the token that the backend exchanges for an access token. It lasts as long as said, which is best kept under five minutes.
func (e *Enrollment) CreateDPoPToken(ctx context.Context, expiry time.Duration, backendNonce string) (string, error) {
	return stepEnrollment(ctx, e, "CreateDPoPToken", 0, func(m *enrollment.Enrollment, now time.Time, rand io.Reader) (string, error) {
		return m.CreateDPoPToken(now, rand, expiry, backendNonce)
	})
}

// NewDPoPChallengeRequest answers the device's challenge, at its URL.
func (e *Enrollment) NewDPoPChallengeRequest(ctx context.Context, accessToken, previousNonce string) ([]byte, error) {
	return stepEnrollment(ctx, e, "NewDPoPChallengeRequest", 0, func(m *enrollment.Enrollment, _ time.Time, _ io.Reader) ([]byte, error) {
		return m.NewDPoPChallengeRequest(accessToken, previousNonce)
	})
}

// NewDPoPChallengeResponse takes what the server makes of it.
func (e *Enrollment) NewDPoPChallengeResponse(ctx context.Context, body []byte) error {
	_, err := stepEnrollment(ctx, e, "NewDPoPChallengeResponse", len(body), func(m *enrollment.Enrollment, _ time.Time, _ io.Reader) (struct{}, error) {
		return struct{}{}, m.NewDPoPChallengeResponse(body)
	})
	return err
}

// NewOIDCChallengeRequest answers the user's challenge, at its URL.
func (e *Enrollment) NewOIDCChallengeRequest(ctx context.Context, idToken, previousNonce string) ([]byte, error) {
	return stepEnrollment(ctx, e, "NewOIDCChallengeRequest", 0, func(m *enrollment.Enrollment, _ time.Time, _ io.Reader) ([]byte, error) {
		return m.NewOIDCChallengeRequest(idToken, previousNonce)
	})
}

// NewOIDCChallengeResponse takes what the server makes of it.
func (e *Enrollment) NewOIDCChallengeResponse(ctx context.Context, body []byte) error {
	_, err := stepEnrollment(ctx, e, "NewOIDCChallengeResponse", len(body), func(m *enrollment.Enrollment, _ time.Time, _ io.Reader) (struct{}, error) {
		return struct{}{}, m.NewOIDCChallengeResponse(body)
	})
	return err
}

// CheckOrderRequest asks for the order, at its URL.
func (e *Enrollment) CheckOrderRequest(ctx context.Context, orderURL, previousNonce string) ([]byte, error) {
	return stepEnrollment(ctx, e, "CheckOrderRequest", 0, func(m *enrollment.Enrollment, _ time.Time, _ io.Reader) ([]byte, error) {
		return m.CheckOrderRequest(orderURL, previousNonce)
	})
}

// CheckOrderResponse takes the order, which must be ready. [enrollment.ErrOrderNotReady] asks to come again.
func (e *Enrollment) CheckOrderResponse(ctx context.Context, body []byte) (enrollment.Order, error) {
	return stepEnrollment(ctx, e, "CheckOrderResponse", len(body), func(m *enrollment.Enrollment, now time.Time, _ io.Reader) (enrollment.Order, error) {
		return m.CheckOrderResponse(now, body)
	})
}

// FinalizeRequest sends the certificate signing request, to the order's Finalize.
func (e *Enrollment) FinalizeRequest(ctx context.Context, previousNonce string) ([]byte, error) {
	return stepEnrollment(ctx, e, "FinalizeRequest", 0, func(m *enrollment.Enrollment, now time.Time, _ io.Reader) ([]byte, error) {
		return m.FinalizeRequest(now, previousNonce)
	})
}

// FinalizeResponse takes the order, and returns the certificate's URL.
func (e *Enrollment) FinalizeResponse(ctx context.Context, body []byte) (string, error) {
	return stepEnrollment(ctx, e, "FinalizeResponse", len(body), func(m *enrollment.Enrollment, now time.Time, _ io.Reader) (string, error) {
		return m.FinalizeResponse(now, body)
	})
}

// CertificateRequest asks for the certificate, at its URL. The answer's body is for [Tx.InstallCertificate].
func (e *Enrollment) CertificateRequest(ctx context.Context, previousNonce string) ([]byte, error) {
	return stepEnrollment(ctx, e, "CertificateRequest", 0, func(m *enrollment.Enrollment, _ time.Time, _ io.Reader) ([]byte, error) {
		return m.CertificateRequest(previousNonce)
	})
}
