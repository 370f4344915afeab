package conclave_test

import (
	"bytes"
	"sync/atomic"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/internal/pkitest"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

// e2eiDomain is where the devices of these tests are at home.
const e2eiDomain = "wire.example"

// Devices of these tests: two of Alice, one each of Bob and Carol.
const (
	alice1 = conclave.ClientID("5aa12a73-d748-4682-a1dd-5c9427c93a40:1@" + e2eiDomain)
	alice2 = conclave.ClientID("5aa12a73-d748-4682-a1dd-5c9427c93a40:2@" + e2eiDomain)
	bob1   = conclave.ClientID("b0b12a73-d748-4682-a1dd-5c9427c93a41:1@" + e2eiDomain)
	carol1 = conclave.ClientID("ca412a73-d748-4682-a1dd-5c9427c93a42:1@" + e2eiDomain)

	aliceUser = "5aa12a73-d748-4682-a1dd-5c9427c93a40"
	bobUser   = "b0b12a73-d748-4682-a1dd-5c9427c93a41"
)

// clock is a clock that the test sets.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.at.Store(time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time               { return time.Unix(0, c.at.Load()).UTC() }
func (c *clock) advance(d time.Duration)      { c.at.Add(int64(d)) }
func (c *clock) advanceTo(t time.Time)        { c.at.Store(t.UnixNano()) }
func (c *clock) in(d time.Duration) time.Time { return c.now().Add(d) }

// e2eiWorld is a world with a clock and a certification authority.
type e2eiWorld struct {
	*world
	clock     *clock
	suite     conclave.CipherSuite
	authority *pkitest.Authority
}

func newE2EIWorld(t *testing.T, suite conclave.CipherSuite) *e2eiWorld {
	t.Helper()
	c := newClock()
	e, err := conclave.Open(t.Context(), "", conclave.Options{InMemory: true, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return &e2eiWorld{
		world: &world{t: t, engine: e, ds: enginetest.NewDeliveryService(), devices: make(map[conclave.ClientID]*enginetest.Device)},
		clock: c, suite: suite, authority: pkitest.New(t, uint16(suite), e2eiDomain, c.now()),
	}
}

// basic opens a device with a Basic credential that trusts the authority.
func (w *e2eiWorld) basic(id conclave.ClientID) *enginetest.Device {
	w.t.Helper()
	d := w.open(id, conclave.ClientOptions{CipherSuites: []conclave.CipherSuite{w.suite}})
	w.trust(d)
	return d
}

// trust registers the authority with a device.
func (w *e2eiWorld) trust(d *enginetest.Device) {
	w.t.Helper()
	w.register(d, w.authority)
}

// register registers another authority.
func (w *e2eiWorld) register(d *enginetest.Device, a *pkitest.Authority) {
	w.t.Helper()
	if _, err := d.RegisterTrustAnchor(w.t.Context(), a.Root); err != nil {
		w.t.Fatal(err)
	}
	if _, err := d.RegisterIntermediate(w.t.Context(), a.Intermediate); err != nil {
		w.t.Fatal(err)
	}
}

// distrust forgets the root of an authority.
func (w *e2eiWorld) distrust(d *enginetest.Device, a *pkitest.Authority) {
	w.t.Helper()
	anchors, err := d.TrustAnchors(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, anchor := range anchors {
		if bytes.Equal(anchor.Certificate, a.Root) {
			if err := d.RemoveTrustAnchor(w.t.Context(), anchor.Fingerprint); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// list registers the authority's next CRL with every device.
func (w *e2eiWorld) list(next time.Duration) {
	w.t.Helper()
	crl := w.authority.CRL(w.t, w.clock.now(), next)
	for name, d := range w.devices {
		if _, err := d.RegisterCRL(w.t.Context(), w.authority.Point, crl); err != nil {
			w.t.Fatalf("%s: %v", name, err)
		}
	}
}

// certify issues a certificate for a device and stores it.
func (w *e2eiWorld) certify(d *enginetest.Device, leaf pkitest.Leaf) (conclave.SavedX509Credential, pkitest.Issued) {
	w.t.Helper()
	leaf.ClientID = string(d.ID())
	issued := w.authority.Issue(w.t, leaf, w.clock.now())
	saved, err := d.SaveX509Credential(w.t.Context(), conclave.X509Credential{CipherSuite: w.suite, Chain: issued.Chain, SignaturePrivate: issued.Private})
	if err != nil {
		w.t.Fatal(err)
	}
	return saved, issued
}

// verified opens a device with an X.509 credential, and with key packages of that alone.
func (w *e2eiWorld) verified(id conclave.ClientID) (*enginetest.Device, pkitest.Issued) {
	w.t.Helper()
	return w.verifiedUntil(id, time.Time{})
}

// verifiedUntil is verified with a certificate that ends at a time; zero is a year from now.
func (w *e2eiWorld) verifiedUntil(id conclave.ClientID, end time.Time) (*enginetest.Device, pkitest.Issued) {
	w.t.Helper()
	d := w.basic(id)
	_, issued := w.certify(d, pkitest.Leaf{NotAfter: end})
	w.ds.Withdraw(id)
	if err := d.DeleteStaleKeyPackages(w.t.Context(), w.suite); err != nil {
		w.t.Fatal(err)
	}
	if err := d.Publish(w.t.Context(), 10); err != nil {
		w.t.Fatal(err)
	}
	return d, issued
}

// found creates a conversation of the first device's suite and adds the others.
func (w *e2eiWorld) found(id conclave.ConversationID, first *enginetest.Device, others ...conclave.ClientID) {
	w.t.Helper()
	if err := first.CreateConversation(w.t.Context(), id, conclave.ConversationOptions{CipherSuite: w.suite}); err != nil {
		w.t.Fatal(err)
	}
	if len(others) > 0 {
		if err := first.Add(w.t.Context(), id, others...); err != nil {
			w.t.Fatal(err)
		}
	}
	w.settle()
}

// state asks every member for the state of a conversation, which has to be the same.
func (w *e2eiWorld) state(id conclave.ConversationID, want conclave.E2EIState) {
	w.t.Helper()
	for _, name := range w.ds.Members(id) {
		got, err := w.devices[name].E2EIState(w.t.Context(), id)
		if err != nil {
			w.t.Fatal(err)
		}
		if got != want {
			w.t.Errorf("%s sees %v, want %v", name, got, want)
		}
	}
}

// claim claims one key package.
func (w *e2eiWorld) claim(id conclave.ClientID) []byte {
	w.t.Helper()
	list, err := w.ds.Claim(id)
	if err != nil {
		w.t.Fatal(err)
	}
	return list[0]
}
