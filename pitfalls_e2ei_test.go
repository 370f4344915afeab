package conclave_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/internal/pkitest"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/pki"
)

// Past bugs of CoreCrypto about end-to-end identity, as tests; docs/corecrypto.md lists them.

// TestPitfallE1TrustAnchorTwice: registering a trust anchor again says so, and changes nothing.
func TestPitfallE1TrustAnchorTwice(t *testing.T) {
	w := newE2EIWorld(t, 1)
	alice := w.basic(alice1)
	for range 2 {
		if _, err := alice.RegisterTrustAnchor(t.Context(), w.authority.Root); !errors.Is(err, conclave.CodeTrustAnchorAlreadyRegistered) {
			t.Error(err)
		}
	}
	if anchors, err := alice.TrustAnchors(t.Context()); err != nil || len(anchors) != 1 {
		t.Errorf("%d anchors, %v", len(anchors), err)
	}
}

// TestPitfallE2Dirty: the first list of a distribution point is not dirty, nor is one that revokes the same.
func TestPitfallE2Dirty(t *testing.T) {
	w := newE2EIWorld(t, 1)
	alice, issued := w.verified(alice1)
	var dirty []bool
	for i := range 3 {
		if i == 2 {
			w.authority.Revoke(w.clock.now(), issued.Serial)
		}
		made, err := alice.RegisterCRL(t.Context(), w.authority.Point, w.authority.CRL(t, w.clock.now(), time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		dirty = append(dirty, made.Dirty)
	}
	if !slices.Equal(dirty, []bool{false, false, true}) {
		t.Errorf("none, same, changed: %v", dirty)
	}
}

// TestPitfallE3RootAsIntermediate: a root in a bundle of intermediates is ignored.
func TestPitfallE3RootAsIntermediate(t *testing.T) {
	w := newE2EIWorld(t, 1)
	alice := w.basic(alice1)
	if _, err := alice.RegisterIntermediate(t.Context(), w.authority.Root); err != nil {
		t.Fatal(err)
	}
	if dump, err := alice.DumpPKIEnv(t.Context()); err != nil || len(dump.Intermediates) != 1 {
		t.Errorf("%v, %v", dump, err)
	}
}

// TestPitfallE4StaleList: a list past its nextUpdate does not make the revoked valid again, and one of an unknown issuer is refused.
func TestPitfallE4StaleList(t *testing.T) {
	w := newE2EIWorld(t, 1)
	alice, _ := w.verified(alice1)
	_, bobs := w.verified(bob1)
	w.found("room", alice, bob1)
	w.authority.Revoke(w.clock.now(), bobs.Serial)
	w.list(time.Hour)
	w.clock.advance(48 * time.Hour)
	w.state("room", conclave.E2EIStateNotVerified)
	if got, err := alice.DeviceIdentities(t.Context(), "room", bob1); err != nil || got[0].Status != conclave.DeviceStatusRevoked {
		t.Errorf("%v, %v", got, err)
	}
	stranger := pkitest.New(t, 1, "stranger.example", w.clock.now())
	if _, err := alice.RegisterCRL(t.Context(), w.authority.Point, stranger.CRL(t, w.clock.now(), time.Hour)); !errors.Is(err, conclave.CodeInvalidCRL) {
		t.Error(err)
	}
}

// TestPitfallE5ExpiryBetweenLooks: the state changes without a message, at the very second at which a certificate ends.
func TestPitfallE5ExpiryBetweenLooks(t *testing.T) {
	w := newE2EIWorld(t, 1)
	end := w.clock.in(time.Hour)
	alice, _ := w.verified(alice1)
	w.verifiedUntil(bob1, end)
	w.found("room", alice, bob1)
	for _, x := range []struct {
		at     time.Time
		want   conclave.E2EIState
		status conclave.DeviceStatus
	}{
		{end.Add(-time.Second), conclave.E2EIStateVerified, conclave.DeviceStatusValid},
		{end, conclave.E2EIStateNotVerified, conclave.DeviceStatusValid}, // the bound is outside for the state, and inside for the status
		{end.Add(time.Second), conclave.E2EIStateNotVerified, conclave.DeviceStatusExpired},
	} {
		w.clock.advanceTo(x.at)
		w.state("room", x.want)
		if got, err := alice.DeviceIdentities(t.Context(), "room", bob1); err != nil || got[0].Status != x.status {
			t.Errorf("%v: %v, %v", x.at, got[0].Status, err)
		}
	}
}

// TestPitfallE6NothingStale: no stale key packages is a success.
func TestPitfallE6NothingStale(t *testing.T) {
	w := newE2EIWorld(t, 1)
	alice, _ := w.verified(alice1)
	for range 2 {
		if err := alice.DeleteStaleKeyPackages(t.Context(), 1); err != nil {
			t.Error(err)
		}
	}
	for kind, want := range map[mlsgroup.CredentialType]int{0: 10, mlsgroup.CredentialTypeX509: 10, mlsgroup.CredentialTypeBasic: 0} {
		if n, err := alice.ValidKeyPackageCount(t.Context(), 1, kind); err != nil || n != want {
			t.Errorf("%d key packages of type %d, %v", n, kind, err)
		}
	}
}

// TestPitfallE10LeadingZero: a device id with a leading zero is the same device with and without a certificate, which has none.
func TestPitfallE10LeadingZero(t *testing.T) {
	w := newE2EIWorld(t, 1)
	const padded = conclave.ClientID(aliceUser + ":0a1b@" + e2eiDomain)
	alice := w.basic(padded)
	w.verified(bob1)
	w.found("room", alice, bob1)
	w.certify(alice, pkitest.Leaf{})
	if _, err := alice.E2EIRotate(t.Context(), "room"); err != nil {
		t.Fatal(err)
	}
	bob := w.devices[bob1]
	for _, message := range w.ds.Waiting(bob1, 10) { // it goes to Bob; the delivery service takes Alice for another client now
		if _, err := bob.DecryptMessage(t.Context(), "room", message.Message); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []conclave.ClientID{padded, aliceUser + ":a1b@" + e2eiDomain} {
		got, err := bob.DeviceIdentities(t.Context(), "room", id)
		if err != nil || len(got) != 1 || got[0].ClientID != aliceUser+":a1b@"+e2eiDomain || got[0].X509 == nil {
			t.Errorf("%s: %v, %v", id, got, err)
		}
	}
}

// TestPitfallE11UpperCase: a UUID in upper case names the same client, a domain in upper case another.
func TestPitfallE11UpperCase(t *testing.T) {
	w := newE2EIWorld(t, 1)
	alice := w.basic("5AA12A73-D748-4682-A1DD-5C9427C93A40:1@" + e2eiDomain)
	issued := w.authority.Issue(t, pkitest.Leaf{ClientID: string(alice1)}, w.clock.now())
	if _, err := alice.SaveX509Credential(t.Context(), conclave.X509Credential{CipherSuite: 1, Chain: issued.Chain, SignaturePrivate: issued.Private}); err != nil {
		t.Errorf("upper-case UUID: %v", err)
	}
	other := w.basic("5aa12a73-d748-4682-a1dd-5c9427c93a40:1@WIRE.example")
	if _, err := other.SaveX509Credential(t.Context(), conclave.X509Credential{CipherSuite: 1, Chain: issued.Chain, SignaturePrivate: issued.Private}); !errors.Is(err, conclave.CodeWrongCredential) {
		t.Errorf("upper-case domain: %v", err)
	}
}

// TestPitfallE13OtherNames: names in another order, and more names beside them, are accepted.
func TestPitfallE13OtherNames(t *testing.T) {
	w := newE2EIWorld(t, 1)
	alice := w.basic(alice1)
	w.certify(alice, pkitest.Leaf{Edit: func(c *x509.Certificate) {
		slices.Reverse(c.URIs)
		c.URIs = append([]*url.URL{{Scheme: "https", Host: "example.com"}}, c.URIs...)
		c.DNSNames = []string{"alice.example.com"}
	}})
	w.found("room", alice)
	w.state("room", conclave.E2EIStateVerified)
}

// TestPitfallE14KeyOfBasic: a certificate for the key of a Basic credential takes its place; conversations that still carry the Basic one work on, keep the
// key from being removed, and can be rotated.
func TestPitfallE14KeyOfBasic(t *testing.T) {
	w := newE2EIWorld(t, 1)
	alice := w.basic(alice1)
	w.verified(bob1)
	w.found("room", alice, bob1)
	old, err := alice.Credentials(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	issued := w.authority.IssueFor(t, pkitest.Leaf{ClientID: string(alice1)}, old[0].SignatureKey, w.clock.now())
	saved, err := alice.SaveX509Credential(t.Context(), conclave.X509Credential{CipherSuite: 1, Chain: issued.Chain})
	if err != nil {
		t.Fatal(err)
	}
	if all, err := alice.Credentials(t.Context()); err != nil || len(all) != 1 || all[0].Credential.Type != 2 {
		t.Errorf("%v, %v", all, err)
	}
	var inUse *conclave.CredentialInUse
	if err := alice.RemoveCredential(t.Context(), saved.Credential.Ref); !errors.As(err, &inUse) || inUse.Conversation != "room" {
		t.Errorf("removed while in use: %v", err)
	}
	if _, err := alice.UpdateKeyMaterial(t.Context(), "room"); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.state("room", conclave.E2EIStateNotVerified) // an update keeps the credential
	if _, err := alice.SetCredential(t.Context(), "room", saved.Credential.Ref); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.state("room", conclave.E2EIStateVerified)
	if err := alice.Say(t.Context(), "room", []byte("hi")); err != nil {
		t.Fatal(err)
	}
	if got := w.settle()[bob1]; !slices.Equal(got, []string{"hi"}) {
		t.Errorf("bob read %q", got)
	}
}

// TestPitfallE15Remembered: a certificate that was verified is not verified again, whatever lists come.
func TestPitfallE15Remembered(t *testing.T) {
	now := newClock().now()
	authority := pkitest.New(t, 1, e2eiDomain, now)
	issued := authority.Issue(t, pkitest.Leaf{ClientID: string(alice1)}, now)
	s := pki.New(pki.Policy{}, pki.NewMemory(8))
	s, err := s.WithTrustAnchor(authority.Root, now)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = s.WithIntermediates(now, authority.Intermediate); err != nil {
		t.Fatal(err)
	}
	first := s.Examine(issued.Chain, now)
	if first.Err != nil || first.Identity == nil {
		t.Fatal(first.Err)
	}
	authority.Revoke(now, issued.Serial)
	if s, _, err = s.WithCRL(authority.Point, authority.CRL(t, now, time.Hour)); err != nil {
		t.Fatal(err)
	}
	again := s.Examine(issued.Chain, now.Add(time.Hour))
	if again.Identity != first.Identity { // the same value: nothing was parsed
		t.Error("it was verified again")
	}
	if !errors.Is(again.Err, pki.ErrRevoked) {
		t.Errorf("the list was not looked at: %v", again.Err)
	}
}

// TestPitfallE16NoEnvironment: who has no trust anchor any more reads the messages of a member with a certificate, and learns that nothing is known of it.
func TestPitfallE16NoEnvironment(t *testing.T) {
	w := newE2EIWorld(t, 1)
	alice, _ := w.verified(alice1)
	bob, _ := w.verified(bob1)
	w.found("room", alice, bob1)
	w.distrust(bob, w.authority)
	sealed, err := alice.EncryptMessage(t.Context(), "room", []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := bob.DecryptMessage(t.Context(), "room", sealed)
	if err != nil || string(m.Plaintext) != "hello" {
		t.Fatal(err)
	}
	id, err := bob.SenderIdentity(t.Context(), "room", m.Sender)
	if err != nil || id.ClientID != alice1 || id.Status != conclave.DeviceStatusUnknown {
		t.Errorf("%+v, %v", id, err)
	}
}

// TestPitfallS1FoundAfterRestart: more lists than any cache holds are found again when the engine is opened again, and mean what they meant.
func TestPitfallS1FoundAfterRestart(t *testing.T) {
	dir, clock := t.TempDir(), newClock()
	open := func() (*conclave.Engine, *conclave.Client) {
		t.Helper()
		e, err := conclave.Open(t.Context(), dir, conclave.Options{Key: make(conclave.Secret, conclave.KeySize), Now: clock.now})
		if err != nil {
			t.Fatal(err)
		}
		alice, err := e.Client(t.Context(), alice1, conclave.ClientOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return e, alice
	}
	e, alice := open()
	authority := pkitest.New(t, 1, e2eiDomain, clock.now())
	issued := authority.Issue(t, pkitest.Leaf{ClientID: string(alice1)}, clock.now())
	if _, err := alice.RegisterTrustAnchor(t.Context(), authority.Root); err != nil {
		t.Fatal(err)
	}
	if _, err := alice.SaveX509Credential(t.Context(), conclave.X509Credential{CipherSuite: 1, Chain: issued.Chain, SignaturePrivate: issued.Private}); err != nil {
		t.Fatal(err)
	}
	authority.Revoke(clock.now(), issued.Serial)
	crl := authority.CRL(t, clock.now(), time.Hour)
	const lists = 210
	err := alice.Transaction(t.Context(), func(tx *conclave.Tx) error {
		for i := range lists {
			if _, err := tx.RegisterCRL(t.Context(), fmt.Sprintf("http://crl.wire.example/%d", i), crl); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	before, err := alice.DumpPKIEnv(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e, alice = open()
	defer func() { _ = e.Close() }()
	after, err := alice.DumpPKIEnv(t.Context())
	if err != nil || len(after.CRLs) != lists || len(after.Intermediates) != 1 || !reflect.DeepEqual(before, after) {
		t.Errorf("%d lists, %d intermediates, %v", len(after.CRLs), len(after.Intermediates), err)
	}
	if checked, err := alice.CheckCredentials(t.Context()); err != nil || checked[0].Identity.Status != conclave.DeviceStatusRevoked {
		t.Errorf("%v, %v", checked, err)
	}
}
