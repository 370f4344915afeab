package conclave_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/internal/pkitest"
	"github.com/conclave-mls/conclave/pki"
	"github.com/conclave-mls/conclave/pki/crlfetch"
)

// A client is what package crlfetch keeps fresh.
var _ crlfetch.Registry = (*conclave.Client)(nil)

// TestTrustAnchors registers, lists and removes trust anchors.
func TestTrustAnchors(t *testing.T) {
	w := newE2EIWorld(t, 1)
	alice := w.open(alice1, conclave.ClientOptions{})
	if set, err := alice.IsPKIEnvSetup(t.Context()); err != nil || set {
		t.Errorf("set up from the start: %v, %v", set, err)
	}
	if dump, err := alice.DumpPKIEnv(t.Context()); err != nil || dump != nil {
		t.Errorf("dump %v, %v", dump, err)
	}
	if _, err := alice.RegisterIntermediate(t.Context(), w.authority.Intermediate); !errors.Is(err, conclave.CodePKIEnvironmentUnset) {
		t.Errorf("an intermediate before any anchor: %v", err)
	}
	if _, err := alice.RegisterCRL(t.Context(), w.authority.Point, w.authority.CRL(t, w.clock.now(), time.Hour)); !errors.Is(err, conclave.CodePKIEnvironmentUnset) {
		t.Errorf("a list before any anchor: %v", err)
	}
	first, err := alice.RegisterTrustAnchor(t.Context(), []byte(pki.EncodePEM(w.authority.Root)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alice.RegisterTrustAnchor(t.Context(), w.authority.Root); !errors.Is(err, conclave.CodeTrustAnchorAlreadyRegistered) {
		t.Errorf("again: %v", err)
	}
	for name, b := range map[string][]byte{"no certificate": []byte("-----BEGIN NOTHING-----"), "intermediate": w.authority.Intermediate, "nothing": nil} {
		if _, err := alice.RegisterTrustAnchor(t.Context(), b); !errors.Is(err, conclave.CodeInvalidCertificate) {
			t.Errorf("%s: %v", name, err)
		}
	}
	other := pkitest.New(t, 2, "other.example", w.clock.now())
	second, err := alice.RegisterTrustAnchor(t.Context(), other.Root)
	if err != nil {
		t.Fatal(err)
	}
	anchors, err := alice.TrustAnchors(t.Context())
	if err != nil || len(anchors) != 2 || !slices.ContainsFunc(anchors, func(a conclave.TrustAnchor) bool { return a.Fingerprint == first }) {
		t.Fatalf("anchors %v, %v", anchors, err)
	}
	if err := alice.RemoveTrustAnchor(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if err := alice.RemoveTrustAnchor(t.Context(), first); err != nil {
		t.Errorf("an unknown one: %v", err)
	}
	if anchors, err := alice.TrustAnchors(t.Context()); err != nil || len(anchors) != 1 || anchors[0].Fingerprint != second {
		t.Errorf("anchors %v, %v", anchors, err)
	}
	if set, err := alice.IsPKIEnvSetup(t.Context()); err != nil || !set {
		t.Errorf("set up: %v, %v", set, err)
	}
}

// TestRegisterIntermediate registers an intermediate and looks at what is dumped.
func TestRegisterIntermediate(t *testing.T) {
	w := newE2EIWorld(t, 1)
	alice := w.basic(alice1)
	stranger := pkitest.New(t, 1, "stranger.example", w.clock.now())
	if _, err := alice.RegisterIntermediate(t.Context(), stranger.Intermediate); !errors.Is(err, conclave.CodeInvalidCertificate) || !errors.Is(err, pki.ErrNoPath) {
		t.Errorf("of an unknown authority: %v", err)
	}
	if points, err := alice.RegisterIntermediate(t.Context(), w.authority.Root); err != nil || points != nil {
		t.Errorf("the root: %q, %v", points, err)
	}
	if points, err := alice.RegisterIntermediate(t.Context(), w.authority.Intermediate); err != nil || points != nil {
		t.Errorf("again: %q, %v", points, err)
	}
	if _, err := alice.RegisterCRL(t.Context(), w.authority.Point, w.authority.CRL(t, w.clock.now(), time.Hour)); err != nil {
		t.Fatal(err)
	}
	dump, err := alice.DumpPKIEnv(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(dump.TrustAnchors, []string{pki.EncodePEM(w.authority.Root)}) || !slices.Equal(dump.Intermediates, []string{pki.EncodePEM(w.authority.Intermediate)}) {
		t.Errorf("dump %v", dump)
	}
	if len(dump.CRLs) != 1 || dump.CRLs[0].DistributionPoint != w.authority.Point || !dump.CRLs[0].NextUpdate.Equal(w.clock.in(time.Hour)) {
		t.Errorf("dump of lists %v", dump.CRLs)
	}
}

// TestRegisterCRL holds what a registration says, and which lists are refused.
func TestRegisterCRL(t *testing.T) {
	w := newE2EIWorld(t, 1)
	alice, issued := w.verified(alice1)
	register := func(der []byte) (conclave.CRLRegistration, error) {
		return alice.RegisterCRL(t.Context(), w.authority.Point, der)
	}
	first := w.authority.CRL(t, w.clock.now(), time.Hour)
	made, err := register(first)
	if err != nil || made.Dirty || !made.Expiration.Equal(w.clock.in(time.Hour)) {
		t.Errorf("first: %v, %v", made, err)
	}
	if made, err := register(w.authority.CRL(t, w.clock.now(), time.Hour)); err != nil || made.Dirty {
		t.Errorf("the same again: %v, %v", made, err)
	}
	w.authority.Revoke(w.clock.now(), issued.Serial)
	if made, err := register(w.authority.CRL(t, w.clock.now(), 2*time.Hour)); err != nil || !made.Dirty || !made.Expiration.Equal(w.clock.in(2*time.Hour)) {
		t.Errorf("one more revoked: %v, %v", made, err)
	}
	if _, err := register(first); !errors.Is(err, conclave.CodeInvalidCRL) || !errors.Is(err, pki.ErrCRLRollback) {
		t.Errorf("an older list: %v", err)
	}
	stranger := pkitest.New(t, 1, "stranger.example", w.clock.now())
	if _, err := register(stranger.CRL(t, w.clock.now(), time.Hour)); !errors.Is(err, conclave.CodeInvalidCRL) || !errors.Is(err, pki.ErrCRLIssuer) {
		t.Errorf("of a stranger: %v", err)
	}
	if _, err := register([]byte("nothing")); !errors.Is(err, conclave.CodeInvalidCRL) {
		t.Errorf("no list: %v", err)
	}
	checked, err := alice.CheckCredentials(t.Context())
	if err != nil || len(checked) != 1 || checked[0].Identity.Status != conclave.DeviceStatusRevoked || !errors.Is(checked[0].Err, pki.ErrRevoked) {
		t.Errorf("own credentials %v, %v", checked, err)
	}
}

// TestDistributionPoints holds who names new distribution points, and that all are listed and outlive a restart.
func TestDistributionPoints(t *testing.T) {
	w := newE2EIWorld(t, 1)
	all := []string{w.authority.Point}
	alice := w.basic(alice1)
	if points, err := alice.DistributionPoints(t.Context()); err != nil || len(points) != 0 {
		t.Errorf("before any: %q, %v", points, err)
	}
	saved, _ := w.certify(alice, pkitest.Leaf{})
	if !slices.Equal(saved.NewDistributionPoints, all) {
		t.Errorf("of a credential: %q", saved.NewDistributionPoints)
	}
	if points, err := alice.DistributionPoints(t.Context()); err != nil || !slices.Equal(points, all) {
		t.Errorf("%q, %v", points, err)
	}
	w.verified(bob1)
	carol := w.basic(carol1)
	w.found("room", carol)
	packages, err := w.ds.Claim(bob1)
	if err != nil {
		t.Fatal(err)
	}
	proposed, err := carol.ProposeAdd(t.Context(), "room", packages[0])
	if err != nil || !slices.Equal(proposed.NewDistributionPoints, all) {
		t.Errorf("of a proposal: %q, %v", proposed.NewDistributionPoints, err)
	}
	if err := carol.ClearPendingProposal(t.Context(), "room", proposed.Ref); err != nil {
		t.Fatal(err)
	}
	merged, err := carol.AddMembers(t.Context(), "room", packages[0])
	if err != nil || !slices.Equal(merged.NewDistributionPoints, all) {
		t.Errorf("of a commit: %q, %v", merged.NewDistributionPoints, err)
	}
	if points, err := carol.DistributionPoints(t.Context()); err != nil || !slices.Equal(points, all) {
		t.Errorf("noted: %q, %v", points, err)
	}
	// Once its list is there, a point is not new; and who has no certificate names none.
	w.list(time.Hour)
	second := w.basic(alice2)
	merged, err = carol.AddMembers(t.Context(), "room", w.claim(alice2))
	if err != nil || merged.NewDistributionPoints != nil {
		t.Errorf("of a Basic credential: %q, %v", merged.NewDistributionPoints, err)
	}
	w.ds.Withdraw(alice1)
	if err := alice.DeleteStaleKeyPackages(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := alice.Publish(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	merged, err = carol.AddMembers(t.Context(), "room", w.claim(alice1))
	if err != nil || merged.NewDistributionPoints == nil || len(merged.NewDistributionPoints) != 0 {
		t.Errorf("where all are known: %q, %v", merged.NewDistributionPoints, err)
	}
	// The others hear of them when they join, and when they receive the commit.
	w.authority.Point = "http://crl.wire.example/other.crl"
	events, err := second.Receive(t.Context())
	if err != nil || len(events) != 2 || events[0].Err != nil || !slices.Equal(events[0].Joined.NewDistributionPoints, all) {
		t.Fatalf("joining: %v, %v", events, err)
	}
	if m := events[1].Message; m.Outcome != conclave.OutcomeCommit || !slices.Equal(m.NewDistributionPoints, all) {
		t.Errorf("of a received commit: %q", m.NewDistributionPoints)
	}
	if points, err := second.DistributionPoints(t.Context()); err != nil || !slices.Equal(points, all) {
		t.Errorf("noted: %q, %v", points, err)
	}
}

// TestPKITransaction holds that what a transaction registers is seen by it alone until it is finished, and by nobody when it is aborted.
func TestPKITransaction(t *testing.T) {
	w := newE2EIWorld(t, 1)
	alice := w.open(alice1, conclave.ClientOptions{})
	bob, _ := w.verified(bob1)
	w.found("room", bob)
	info, err := bob.ExportGroupInfo(t.Context(), "room")
	if err != nil {
		t.Fatal(err)
	}
	issued := w.authority.Issue(t, pkitest.Leaf{ClientID: string(alice1)}, w.clock.now())
	setUp := func(tx *conclave.Tx) {
		t.Helper()
		if _, err := tx.RegisterTrustAnchor(t.Context(), w.authority.Root); err != nil {
			t.Fatal(err)
		}
		if set, err := tx.IsPKIEnvSetup(t.Context()); err != nil || !set {
			t.Errorf("the transaction does not see it: %v, %v", set, err)
		}
		if set, err := alice.IsPKIEnvSetup(t.Context()); err != nil || set {
			t.Errorf("others see it: %v, %v", set, err)
		}
		saved, err := tx.SaveX509Credential(t.Context(), conclave.X509Credential{CipherSuite: 1, Chain: issued.Chain, SignaturePrivate: issued.Private})
		if err != nil {
			t.Fatal(err)
		}
		if list, err := tx.FindCredentials(t.Context(), conclave.CredentialFilter{Type: 2}); err != nil || len(list) != 1 || list[0].Ref != saved.Credential.Ref {
			t.Errorf("the transaction does not see its credential: %v, %v", list, err)
		}
	}
	begin := func() *conclave.Tx {
		t.Helper()
		tx, err := alice.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return tx
	}

	tx := begin()
	setUp(tx)
	if _, err := tx.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	if set, err := alice.IsPKIEnvSetup(t.Context()); err != nil || set {
		t.Errorf("after an abort: %v, %v", set, err)
	}
	if enabled, err := alice.E2EIEnabled(t.Context(), 1); err != nil || enabled {
		t.Errorf("after an abort: enabled %v, %v", enabled, err)
	}
	// Without the anchor Bob's certificate is not accepted.
	if _, err := alice.JoinByExternalCommit(t.Context(), info, conclave.JoinOptions{}); !errors.Is(err, conclave.CodeInvalidMessage) {
		t.Errorf("joined without an anchor: %v", err)
	}

	tx = begin()
	setUp(tx)
	// The join is validated by what the transaction has registered.
	joined, err := tx.JoinByExternalCommit(t.Context(), info, conclave.JoinOptions{})
	if err != nil || !slices.Equal(joined.NewDistributionPoints, []string{w.authority.Point}) {
		t.Fatal(joined, err)
	}
	if state, err := tx.E2EIState(t.Context(), "room"); err != nil || state != conclave.E2EIStateVerified {
		t.Errorf("%v, %v", state, err)
	}
	if _, err := tx.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.state("room", conclave.E2EIStateVerified)
	if enabled, err := alice.E2EIEnabled(t.Context(), 1); err != nil || !enabled {
		t.Errorf("enabled %v, %v", enabled, err)
	}
}
