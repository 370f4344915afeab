package conclave

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"time"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// RenewalTime returns when a certificate is best renewed: a point in the last third of its time. Where it lies is drawn from the certificate, so that those
// of many clients are spread, and one client gets the same answer each time it asks.
func RenewalTime(id X509Identity) time.Time {
	drawn := sha256.Sum256([]byte(id.Certificate))
	third := id.NotAfter.Sub(id.NotBefore) / 3
	if third <= 0 {
		return id.NotBefore
	}
	into, _ := bits.Mul64(uint64(third), binary.BigEndian.Uint64(drawn[:]))
	return id.NotAfter.Add(time.Duration(into) - third)
}

// RenewalDue returns when the client's newest certificate for a suite's signature scheme is to be renewed, by [Client.Renew]: its [RenewalTime], and the zero
// time where a rotation is under way. [CodeMissingExistingClient] where there is no certificate.
func (c *Client) RenewalDue(ctx context.Context, suite CipherSuite) (time.Time, error) {
	const op = "RenewalDue"
	if _, rotating, err := c.Rotating(ctx); err != nil || rotating {
		return time.Time{}, err
	}
	all, err := c.Credentials(ctx)
	if err != nil {
		return time.Time{}, err
	}
	checked, err := c.CheckCredentials(ctx)
	if err != nil {
		return time.Time{}, err
	}
	suites := make(map[CredentialRef]CipherSuite)
	for _, e := range all {
		suites[e.Ref] = e.CipherSuite
	}
	var newest *X509Identity
	for _, own := range checked { // oldest first
		if signatureScheme(suites[own.Ref]) == signatureScheme(suite) && own.Identity.X509 != nil {
			newest = own.Identity.X509
		}
	}
	if newest == nil {
		return time.Time{}, wrap(op, "", &messages.MissingExistingClient{CredentialType: mlsgroup.CredentialTypeX509})
	}
	return RenewalTime(*newest), nil
}

// RenewOptions say how a certificate is renewed.
type RenewOptions struct {
	// Enroll says what certificate is wanted. EnrollmentRotation keeps the key, EnrollmentNew replaces it.
	Enroll EnrollOptions
	// Rotate says what becomes of key packages. Its Credential is set by Renew.
	Rotate RotateOptions
}

// Renew gets the client another certificate and brings it to everything the client has, as [Client.Enroll] and [Client.RotateCredential] do. That the
// rotation begins is written down together with the credential, so after a crash or an error at any point the next Renew goes on: with the enrolment, or with
// the rotation where one is under way. [CodeWrongCredential] before anything is sent where a suite of Rotate is of another signature scheme than that of Enroll.
func (c *Client) Renew(ctx context.Context, o RenewOptions, h EnrollHooks) error {
	const op = "Renew"
	_, rotating, err := c.Rotating(ctx)
	if err != nil {
		return err
	}
	o.Rotate.Credential = CredentialRef{}
	if !rotating {
		rotation := &messages.Rotation{CipherSuites: o.Rotate.CipherSuites, KeyPackages: o.Rotate.KeyPackages}
		if _, err := c.enroll(ctx, op, o.Enroll, h, rotation); err != nil {
			return err
		}
	}
	return c.RotateCredential(ctx, o.Rotate)
}
