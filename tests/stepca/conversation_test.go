package stepca

import (
	"crypto/x509"
	"encoding/pem"
	"slices"
	"testing"

	"github.com/conclave-mls/conclave"
)

// keySuites are suites that between them have every type of key.
var keySuites = []struct {
	id   conclave.CipherSuite
	name string
}{{1, "Ed25519"}, {2, "P-256"}, {7, "P-384"}, {5, "P-521"}}

// meeting is two enrolled devices with a conversation.
type meeting struct {
	*office
	alice, bob *device
	id         conclave.ConversationID
}

// newMeeting enrols two devices, one for each way there is, and has them meet.
func newMeeting(t *testing.T, suite conclave.CipherSuite) *meeting {
	t.Helper()
	o := newOffice(t, suite)
	m := &meeting{office: o, id: conclave.ConversationID("meeting")}
	m.alice = o.open("alice_wire", "Alice Smith", true)
	m.alice.enrollByCalls()
	m.bob = o.open("bob_wire", "Bob O'Neil", false)
	m.bob.enroll(conclave.EnrollmentActivation)
	m.bob.publish()
	if err := m.alice.CreateConversation(t.Context(), m.id, conclave.ConversationOptions{CipherSuite: suite}); err != nil {
		t.Fatal(err)
	}
	if err := m.alice.Add(t.Context(), m.id, m.bob.ID()); err != nil {
		t.Fatal(err)
	}
	m.settle()
	return m
}

// settle has both take all that has come.
func (m *meeting) settle() {
	m.t.Helper()
	m.alice.receive()
	m.bob.receive()
}

// state checks how the conversation stands in the eyes of both.
func (m *meeting) state(want conclave.E2EIState) {
	m.t.Helper()
	m.alice.state(m.id, want)
	m.bob.state(m.id, want)
}

// speak sends a text each way.
func (m *meeting) speak() {
	m.t.Helper()
	for _, pair := range [][2]*device{{m.alice, m.bob}, {m.bob, m.alice}} {
		if err := pair[0].Say(m.t.Context(), m.id, []byte("from "+pair[0].user.name)); err != nil {
			m.t.Fatal(err)
		}
		var texts []string
		for _, e := range pair[1].receive() {
			texts = append(texts, e.Texts()...)
		}
		if want := []string{"from " + pair[0].user.name}; !slices.Equal(texts, want) {
			m.t.Errorf("texts %q, want %q", texts, want)
		}
	}
}

// registerCRL has a device register the list from step-ca's distribution point.
func (d *device) registerCRL() conclave.CRLRegistration {
	t := d.office.t
	t.Helper()
	points, err := d.DistributionPoints(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(points, []string{d.office.ca.crl}) {
		t.Fatalf("distribution points %q", points)
	}
	r, err := d.RegisterCRL(t.Context(), points[0], d.office.ca.fetchCRL(t))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// certificate returns the leaf certificate of an identity.
func certificate(t *testing.T, i conclave.WireIdentity) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(i.X509.Certificate))
	if block == nil {
		t.Fatal("no certificate")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestMeeting enrols two devices at step-ca, one by calls and one by Enroll, that then meet in a conversation that reads verified, until one of them is revoked.
func TestMeeting(t *testing.T) {
	for _, suite := range keySuites {
		t.Run(suite.name, func(t *testing.T) {
			m := newMeeting(t, suite.id)
			m.state(conclave.E2EIStateVerified)
			m.alice.sees(m.id, m.alice, conclave.DeviceStatusValid)
			m.bob.sees(m.id, m.alice, conclave.DeviceStatusValid)
			bob := m.alice.sees(m.id, m.bob, conclave.DeviceStatusValid)
			m.speak()

			for _, d := range []*device{m.alice, m.bob} {
				if r := d.registerCRL(); r.Dirty {
					t.Errorf("first list: %+v", r)
				}
			}
			m.state(conclave.E2EIStateVerified)
			m.ca.revoke(t, certificate(t, bob))
			m.state(conclave.E2EIStateVerified) // nobody has the list yet
			for _, d := range []*device{m.alice, m.bob} {
				if r := d.registerCRL(); !r.Dirty {
					t.Errorf("list with a revoked certificate: %+v", r)
				}
			}
			m.state(conclave.E2EIStateNotVerified)
			m.alice.sees(m.id, m.bob, conclave.DeviceStatusRevoked)
			m.alice.sees(m.id, m.alice, conclave.DeviceStatusValid)
			m.speak() // it degrades, and goes on

			// A new certificate for a new key makes it good again.
			m.bob.rotate(m.bob.enroll(conclave.EnrollmentNew))
			m.settle()
			m.state(conclave.E2EIStateVerified)
			m.speak()
		})
	}
}

// TestExpiry lets certificates run out.
func TestExpiry(t *testing.T) {
	m := newMeeting(t, 1)
	m.state(conclave.E2EIStateVerified)
	m.clock.forward(lifetime)
	m.state(conclave.E2EIStateNotVerified)
	m.alice.sees(m.id, m.bob, conclave.DeviceStatusExpired)
	m.speak()
}

// TestRenewal replaces a certificate by one for the same key, and by one for a new key, while the other device looks on.
func TestRenewal(t *testing.T) {
	for _, suite := range keySuites {
		t.Run(suite.name, func(t *testing.T) {
			m := newMeeting(t, suite.id)
			before := m.alice.sees(m.id, m.bob, conclave.DeviceStatusValid)
			for _, x := range []struct {
				name    string
				renew   func()
				sameKey bool
			}{
				{"same key", func() { m.bob.renew(conclave.EnrollmentRotation) }, true},
				{"same key, by calls", func() { m.bob.rotate(m.bob.renewByCalls()) }, true},
				{"new key", func() { m.bob.renew(conclave.EnrollmentNew) }, false},
			} {
				x.renew()
				if left, err := m.bob.Credentials(t.Context()); err != nil || len(left) != 1 {
					t.Errorf("%s: credentials left: %v, %v", x.name, left, err)
				}
				m.settle()
				after := m.alice.sees(m.id, m.bob, conclave.DeviceStatusValid)
				if after.X509.SerialNumber == before.X509.SerialNumber || (after.Thumbprint == before.Thumbprint) != x.sameKey {
					t.Errorf("%s: %v after %v", x.name, after, before)
				}
				if own := m.bob.sees(m.id, m.bob, conclave.DeviceStatusValid); own.X509.SerialNumber != after.X509.SerialNumber {
					t.Errorf("%s: %v to itself, %v to the other", x.name, own, after)
				}
				m.state(conclave.E2EIStateVerified)
				m.speak()
				before = after
			}
		})
	}
}
