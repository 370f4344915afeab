package messages

import (
	"io"
	"time"

	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// EnrollmentID names an enrolment of one run of the engine.
type EnrollmentID string

// EnrollmentKind says whose signature key an enrolment has certified, and what it
// demands.
type EnrollmentKind uint8

// The kinds.
const (
	// EnrollmentNew: a new key.
	EnrollmentNew EnrollmentKind = iota
	// EnrollmentActivation: the key of the newest Basic credential of the suite's
	// signature scheme, else ErrMissingExistingClient.
	EnrollmentActivation
	// EnrollmentRotation: the key of the newest X.509 credential, else
	// ErrMissingExistingClient.
	EnrollmentRotation
)

// BeginEnrollment makes an enrolment for the client, with an account key of its own.
// It answers [EnrollmentBegun].
type BeginEnrollment struct {
	Kind        EnrollmentKind
	CipherSuite mlsgroup.CipherSuite // 0: the client's default
	// DisplayName and Handle of the user. A rotation takes those of its certificate
	// for empty ones.
	DisplayName string
	Handle      string
	Team        string
	Lifetime    time.Duration
	// Directory is needed by an enrolment that makes whole requests.
	Directory string
	// Journal keeps the enrolment in the store after each step, and resumes the one
	// that is there if it was begun with the same fields. There is one for each
	// signature scheme; ErrEnrollmentRunning while it is in memory.
	Journal bool
	// Rotation is what [InstallCertificate] will be asked to write down, nil for nothing.
	// It is checked before anything is begun: ErrWrongCredential where one of its
	// suites is of another signature scheme.
	Rotation *Rotation
}

// EnrollmentBegun answers [BeginEnrollment] and [PopEnrollment].
type EnrollmentBegun struct {
	Enrollment EnrollmentID
	// Resumed tells that it goes on from the journal.
	Resumed bool
}

// StepEnrollment calls Run on the enrolment's actor, with the clock and the randomness
// of the engine. It answers [EnrollmentStepped] or Run's error. With a journal what Run
// has changed is durable before it is answered. Run must not keep the enrolment.
type StepEnrollment struct {
	Enrollment EnrollmentID
	Run        func(e *enrollment.Enrollment, now time.Time, rand io.Reader) error
	Held       int // bytes that Run holds
}

// EnrollmentStepped answers [StepEnrollment].
type EnrollmentStepped struct{}

// StashEnrollment keeps an enrolment in the store and ends it in memory, with the
// transaction. It answers [EnrollmentStashed].
type StashEnrollment struct{ Enrollment EnrollmentID }

// EnrollmentStashed answers [StashEnrollment].
type EnrollmentStashed struct{ Handle []byte } // 32 random bytes

// PopEnrollment takes an enrolment back from the store and deletes it there, with the
// transaction. It answers [EnrollmentBegun], or ErrEnrollmentNotFound.
type PopEnrollment struct{ Handle []byte }

// InstallCertificate stores the certificate of an enrolment as a credential, and ends
// the enrolment and its journal, with the transaction. It answers
// [X509CredentialSaved].
type InstallCertificate struct {
	Enrollment EnrollmentID
	// Chain is what the CA has issued, in PEM; empty where the enrolment has received it.
	Chain string
	// First demands that the client has no credential of the suite's signature scheme,
	// else ErrClientAlreadyExists, and gives it a transport.
	First     bool
	Transport Transport
	// Rotation, if there is one, is written down with the credential, which takes the
	// place of its own.
	Rotation *Rotation
}

// EndEnrollment forgets an enrolment in memory and wipes its keys. It answers
// [EnrollmentEnded], also where there is none.
type EndEnrollment struct {
	Enrollment EnrollmentID
	// Forget deletes its journal, too.
	Forget bool
}

// EnrollmentEnded answers [EndEnrollment].
type EnrollmentEnded struct{}

// Size implements [Request].
func (r BeginEnrollment) Size() int {
	return overhead + len(r.DisplayName) + len(r.Handle) + len(r.Team) + len(r.Directory)
}

// Size implements [Request].
func (r StepEnrollment) Size() int { return overhead + r.Held }

// Size implements [Request].
func (StashEnrollment) Size() int { return overhead }

// Size implements [Request].
func (r PopEnrollment) Size() int { return overhead + len(r.Handle) }

// Size implements [Request].
func (r InstallCertificate) Size() int { return overhead + len(r.Chain) }

// Size implements [Request].
func (EndEnrollment) Size() int { return overhead }

func (BeginEnrollment) request()    {}
func (StepEnrollment) request()     {}
func (StashEnrollment) request()    {}
func (PopEnrollment) request()      {}
func (InstallCertificate) request() {}
func (EndEnrollment) request()      {}

func (EnrollmentBegun) reply()   {}
func (EnrollmentStepped) reply() {}
func (EnrollmentStashed) reply() {}
func (EnrollmentEnded) reply()   {}
