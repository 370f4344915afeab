package stepca

import (
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/pki"
)

// issuers are the keys that a CA may have.
var issuers = []struct {
	name string
	key  newKey
}{
	{"Ed25519", newEd25519},
	{"P-256", newECDSA(elliptic.P256())},
	{"P-384", newECDSA(elliptic.P384())},
	{"P-521", newECDSA(elliptic.P521())},
}

// TestRevocation has package pki judge certificates of every key type, issued by a CA of every key type, before and after one of them is revoked, with nothing
// but what a client gets: the chain of its enrolment and the list from the distribution point that the chain names.
func TestRevocation(t *testing.T) {
	for _, issuer := range issuers {
		t.Run(issuer.name, func(t *testing.T) {
			w := newWorldWith(t, issuer.key)
			var devices []enrollment.Issued
			trust := w.trust(t)
			for _, suite := range suites {
				u := w.newUser("revocation_"+suite.name[:2], "Rea Vocation")
				issued := w.enrol(t, newEnrollment(t, w.config(u, suite.id)), u)
				devices = append(devices, issued)
				verdict := w.intermediate(t, trust).Examine(issued.Chain, time.Now())
				if verdict.Err != nil {
					t.Fatalf("%s: %v", suite.name, verdict.Err)
				}
				if id := verdict.Identity; id.ClientID != u.id || id.BareHandle() != u.handle || id.DisplayName != u.name || id.CheckKey(issued.PublicKey) != nil {
					t.Errorf("%s: identity %+v", suite.name, id)
				}
			}
			trust = w.intermediate(t, trust)
			points := trust.NewDistributionPoints(devices[0].Chain, devices[1].Chain)
			if len(points) != 1 || points[0] != w.ca.crl {
				t.Fatalf("distribution points %q", points)
			}
			trust, first, err := trust.WithCRL(points[0], w.ca.fetchCRL(t))
			if err != nil {
				t.Fatal(err)
			}
			if first.Dirty || first.Expiration.Before(time.Now().Add(23*time.Hour)) {
				t.Errorf("first list: %+v", first)
			}
			if points := trust.NewDistributionPoints(devices[0].Chain); len(points) != 0 {
				t.Errorf("distribution points left: %q", points)
			}

			lost := devices[0]
			leaf, err := x509.ParseCertificate(lost.Chain[0])
			if err != nil {
				t.Fatal(err)
			}
			w.ca.revoke(t, leaf)
			trust, second, err := trust.WithCRL(points[0], w.ca.fetchCRL(t))
			if err != nil {
				t.Fatal(err)
			}
			if !second.Dirty {
				t.Errorf("second list: %+v", second)
			}
			for i, device := range devices {
				err := trust.Verify(device.Chain, time.Now())
				if i != 0 {
					if err != nil {
						t.Errorf("%s: %v", suites[i].name, err)
					}
					continue
				}
				revoked := (*pki.RevokedError)(nil)
				if !errors.As(err, &revoked) {
					t.Fatalf("revoked certificate: %v", err)
				}
				if revoked.Depth != 0 || revoked.Reason != pki.ReasonKeyCompromise || !equalSerial(revoked.SerialNumber, leaf) || time.Since(revoked.At).Abs() > time.Hour {
					t.Errorf("revoked: %+v", revoked)
				}
			}
		})
	}
}

// intermediate registers the CA's intermediate certificate, as a client does with that of a chain it was issued.
func (w *world) intermediate(t *testing.T, trust *pki.Snapshot) *pki.Snapshot {
	t.Helper()
	s, err := trust.WithIntermediates(time.Now(), w.ca.issuer.Raw)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// equalSerial compares a serial number in hexadecimal with a certificate's.
func equalSerial(text string, c *x509.Certificate) bool {
	n, ok := new(big.Int).SetString(text, 16)
	return ok && c.SerialNumber.Cmp(n) == 0
}
