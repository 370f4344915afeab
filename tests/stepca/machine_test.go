package stepca

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/pki"
)

// lifetime is how long the certificates of the tests are valid, where nothing else is said.
const lifetime = 24 * time.Hour

// suites are those that certificates are issued for.
var suites = []struct {
	id   uint16
	name string
}{{1, "Ed25519"}, {2, "P-256"}, {3, "Ed25519 with ChaCha20"}, {5, "P-521"}, {7, "P-384"}}

// config asks for a user's certificate.
func (w *world) config(u *user, suite uint16) enrollment.Config {
	return enrollment.Config{
		CipherSuite: suite,
		ClientID:    u.id,
		DisplayName: u.name,
		Handle:      u.handle,
		Lifetime:    lifetime,
		Directory:   w.ca.directory,
	}
}

// newEnrollment returns the machine for a certificate.
func newEnrollment(t *testing.T, c enrollment.Config) *enrollment.Enrollment {
	t.Helper()
	e, err := enrollment.New(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Wipe)
	return e
}

// step takes the machine one step on: by a request to step-ca, or by what the application has to get.
func (w *world) step(ctx context.Context, e *enrollment.Enrollment, u *user) error {
	switch at := e.Step(); at {
	case enrollment.StepDPoPToken:
		nonce, err := w.backendNonce(ctx, u)
		if err != nil {
			return err
		}
		dpop, err := e.CreateDPoPToken(time.Now(), rand.Reader, time.Minute, nonce)
		if err != nil {
			return err
		}
		token, err := w.accessToken(ctx, u, dpop)
		if err != nil {
			return err
		}
		return e.SetAccessToken(token)
	case enrollment.StepIDToken:
		a, err := e.Authentication()
		if err != nil {
			return err
		}
		token, err := login(ctx, u.login, a.IdentityProvider, a.KeyAuth, a.Audience)
		if err != nil {
			return err
		}
		return e.SetIDToken(token)
	default:
		request, err := e.Request(time.Now())
		if err != nil {
			return err
		}
		response, err := w.acme.Do(ctx, request)
		if err != nil {
			return err
		}
		if wait, err := e.Receive(time.Now(), response); err != nil || wait > 0 {
			return fmt.Errorf("%v: wait %v: %w", at, wait, err)
		}
		return nil
	}
}

// driveTo takes the machine to a step.
func (w *world) driveTo(ctx context.Context, e *enrollment.Enrollment, u *user, to enrollment.Step) error {
	for e.Step() != to {
		if err := w.step(ctx, e, u); err != nil {
			return fmt.Errorf("%v: %w", e.Step(), err)
		}
	}
	return nil
}

// enrol takes the machine to its certificate.
func (w *world) enrol(t *testing.T, e *enrollment.Enrollment, u *user) enrollment.Issued {
	t.Helper()
	if err := w.driveTo(t.Context(), e, u, enrollment.StepIssued); err != nil {
		t.Fatal(err)
	}
	issued, err := e.Issued(time.Now(), w.trust(t))
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

// TestMachine drives the machine to a certificate for every suite, for names that try the escaping of each format.
func TestMachine(t *testing.T) {
	w := newWorld(t)
	for i, name := range []string{"Alice Smith", `Zoë "Z" Ångström <z&z>`, "山田 太郎", `back\slash % {{ .name }}`} {
		for _, suite := range suites {
			t.Run(suite.name+"/"+name, func(t *testing.T) {
				u := w.newUser(fmt.Sprintf("user_%d.%d", suite.id, i), name)
				e := newEnrollment(t, w.config(u, suite.id))
				checkChain(t, w, u, w.enrol(t, e, u))
			})
		}
	}
}

// trust returns what a client knows that has registered the root alone.
func (w *world) trust(t *testing.T) *pki.Snapshot {
	t.Helper()
	s, err := pki.New(pki.Policy{}, nil).WithTrustAnchor(w.ca.root.Raw, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checkChain holds what was issued against the user, by the standard library alone.
func checkChain(t *testing.T, w *world, u *user, issued enrollment.Issued) {
	t.Helper()
	if len(issued.Chain) != 2 || !bytes.Equal(issued.Chain[1], w.ca.issuer.Raw) {
		t.Fatalf("chain of %d certificates", len(issued.Chain))
	}
	leaf, err := x509.ParseCertificate(issued.Chain[0])
	if err != nil {
		t.Fatal(err)
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(w.ca.root)
	intermediates.AddCert(w.ca.issuer)
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
	if leaf.Subject.CommonName != u.name || len(leaf.Subject.Organization) != 1 || leaf.Subject.Organization[0] != domain {
		t.Errorf("subject %v", leaf.Subject)
	}
	if got := leaf.NotAfter.Sub(leaf.NotBefore); got != lifetime {
		t.Errorf("valid for %v", got)
	}
	if len(leaf.CRLDistributionPoints) != 1 || leaf.CRLDistributionPoints[0] != w.ca.crl {
		t.Errorf("distribution points %q", leaf.CRLDistributionPoints)
	}
}
