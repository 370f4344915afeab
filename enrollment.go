package conclave

import (
	"context"
	"io"
	"time"

	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/messages"
)

// EnrollmentKind says whose signature key an enrolment has certified.
type EnrollmentKind = messages.EnrollmentKind

// The kinds.
const (
	EnrollmentNew        = messages.EnrollmentNew        // a new key
	EnrollmentActivation = messages.EnrollmentActivation // that of the newest Basic credential
	EnrollmentRotation   = messages.EnrollmentRotation   // that of the newest X.509 credential
)

// EnrollmentOptions say what certificate is wanted. It is for the client's id, which has to be of the form of Wire's: user:device@domain.
type EnrollmentOptions struct {
	CipherSuite CipherSuite // 1, 2, 3, 5 or 7; 0 is the client's default
	// DisplayName and Handle of the user, the handle bare: without an @ before it or a domain. A rotation takes those of its certificate for empty ones.
	DisplayName string
	Handle      string
	Team        string // the team's id at the backend, empty for none
	// Expiry is how long the certificate shall last, in whole seconds. The server may grant less. 0 is 90 days.
	Expiry time.Duration
	// Directory is the URL of the ACME server's directory. Only [Client.Enroll] needs it.
	Directory string
}

const defaultExpiry = 90 * 24 * time.Hour

func (o EnrollmentOptions) begin(kind EnrollmentKind) messages.BeginEnrollment {
	setDefault(&o.Expiry, defaultExpiry)
	return messages.BeginEnrollment{
		Kind: kind, CipherSuite: o.CipherSuite, DisplayName: o.DisplayName, Handle: o.Handle, Team: o.Team, Lifetime: o.Expiry, Directory: o.Directory,
	}
}

// Enrollment is the way of a client to a certificate, step by step, where the application speaks to the servers itself; [Client.Enroll] is the whole way in one
// call. Its steps are taken in the order of its methods. Each request is to be sent with the nonce of the answer before it, and each method that takes an answer
// is given its body. A call out of order answers [CodeOutOfOrderEnrollment], and what is wrong with an answer has an error of package enrollment as its cause;
// either leaves the enrolment as it was.
//
// It is in memory only, and no transaction's, until it is stashed or its certificate installed. After that it is used up. One that is not needed any more is
// discarded, so that its keys are wiped.
type Enrollment struct {
	scope
	id messages.EnrollmentID
}

// NewEnrollment begins an enrolment with a new signature key.
func (s scope) NewEnrollment(ctx context.Context, o EnrollmentOptions) (*Enrollment, error) {
	return s.beginEnrollment(ctx, "NewEnrollment", o.begin(EnrollmentNew))
}

// NewActivationEnrollment begins the enrolment of a client with a Basic credential, whose key it keeps. [CodeMissingExistingClient] where there is none.
func (s scope) NewActivationEnrollment(ctx context.Context, o EnrollmentOptions) (*Enrollment, error) {
	return s.beginEnrollment(ctx, "NewActivationEnrollment", o.begin(EnrollmentActivation))
}

// NewRotateEnrollment begins the enrolment of a client that has a certificate and needs another for the same key. Display name and handle may change; left
// empty they stay. [CodeMissingExistingClient] where there is no X.509 credential.
func (s scope) NewRotateEnrollment(ctx context.Context, o EnrollmentOptions) (*Enrollment, error) {
	return s.beginEnrollment(ctx, "NewRotateEnrollment", o.begin(EnrollmentRotation))
}

func (s scope) beginEnrollment(ctx context.Context, op string, r messages.BeginEnrollment) (*Enrollment, error) {
	begun, err := ask[messages.EnrollmentBegun](ctx, s, op, "", r)
	if err != nil {
		return nil, err
	}
	return s.enrollment(begun.Enrollment), nil
}

// enrollment is one that belongs to no transaction: its steps cannot be taken back.
func (s scope) enrollment(id messages.EnrollmentID) *Enrollment {
	s.transaction = 0
	return &Enrollment{scope: s, id: id}
}

// StashEnrollment keeps an enrolment in the store, for when the application has to end while the user signs in, and returns the handle by which
// [Tx.PopEnrollment] finds it. The enrolment is used up.
func (s scope) StashEnrollment(ctx context.Context, e *Enrollment) (handle []byte, err error) {
	r, err := ask[messages.EnrollmentStashed](ctx, s, "StashEnrollment", "", messages.StashEnrollment{Enrollment: e.id})
	return r.Handle, err
}

// PopEnrollment takes a stashed enrolment back, once. [CodeEnrollmentNotFound] where nothing is stashed under the handle.
func (s scope) PopEnrollment(ctx context.Context, handle []byte) (*Enrollment, error) {
	r, err := ask[messages.EnrollmentBegun](ctx, s, "PopEnrollment", "", messages.PopEnrollment{Handle: handle})
	if err != nil {
		return nil, err
	}
	return s.enrollment(r.Enrollment), nil
}

// InstallCertificate stores the chain that an enrolment was issued, in PEM and leaf first, as the client's newest credential, as SaveX509Credential does; the
// seeds call it by that name. The enrolment is used up. The chain has to be for what was asked for, and everything that SaveX509Credential asks of it.
func (s scope) InstallCertificate(ctx context.Context, e *Enrollment, chain string) (SavedX509Credential, error) {
	return ask[messages.X509CredentialSaved](ctx, s, "InstallCertificate", "", messages.InstallCertificate{Enrollment: e.id, Chain: chain})
}

// MLSInitOnly is InstallCertificate for a client that was opened with NoCredential and gets its first credential by this, and with it its transport.
// [CodeClientAlreadyExists] where it has a credential of the suite's signature scheme.
func (s scope) MLSInitOnly(ctx context.Context, e *Enrollment, chain string, t Transport) (SavedX509Credential, error) {
	return ask[messages.X509CredentialSaved](ctx, s, "MLSInitOnly", "", messages.InstallCertificate{Enrollment: e.id, Chain: chain, First: true, Transport: t})
}

// Discard forgets the enrolment and wipes its keys. One that is used up is no error.
func (e *Enrollment) Discard(ctx context.Context) error {
	_, err := ask[messages.EnrollmentEnded](ctx, e.scope, "Enrollment.Discard", "", messages.EndEnrollment{Enrollment: e.id})
	return err
}

// stepEnrollment runs a step on the enrolment's actor. It holds so many bytes.
func stepEnrollment[T any](ctx context.Context, e *Enrollment, op string, held int, f func(m *enrollment.Enrollment, now time.Time, rand io.Reader) (T, error)) (T, error) {
	var result, none T
	_, err := ask[messages.EnrollmentStepped](ctx, e.scope, "Enrollment."+op, "", messages.StepEnrollment{
		Enrollment: e.id, Held: held, Run: func(m *enrollment.Enrollment, now time.Time, rand io.Reader) (err error) {
			result, err = f(m, now, rand)
			return err
		},
	})
	if err != nil {
		return none, err
	}
	return result, nil
}
