package conclave_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/internal/pkitest"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/pki"
)

// TestSaveX509Credential holds what is refused, and that nothing of it stays.
func TestSaveX509Credential(t *testing.T) {
	w := newE2EIWorld(t, 1)
	alice := w.open(alice1, conclave.ClientOptions{CipherSuites: []conclave.CipherSuite{1, 2}})
	now := w.clock.now()
	good := w.authority.Issue(t, pkitest.Leaf{ClientID: string(alice1)}, now)
	save := func(suite conclave.CipherSuite, i pkitest.Issued) error {
		_, err := alice.SaveX509Credential(t.Context(), conclave.X509Credential{CipherSuite: suite, Chain: i.Chain, SignaturePrivate: i.Private})
		return err
	}
	if err := save(1, good); !errors.Is(err, conclave.CodePKIEnvironmentUnset) {
		t.Errorf("without an anchor: %v", err)
	}
	if _, err := alice.RegisterTrustAnchor(t.Context(), w.authority.Root); err != nil {
		t.Fatal(err)
	}
	stranger := pkitest.New(t, 1, e2eiDomain, now)
	otherKey := w.authority.Issue(t, pkitest.Leaf{ClientID: string(alice1)}, now)
	otherKey.Private = good.Private
	noKey := good
	noKey.Private = nil
	for _, x := range []struct {
		name   string
		suite  conclave.CipherSuite
		issued pkitest.Issued
		want   error
	}{
		{"no chain", 1, pkitest.Issued{Private: good.Private}, conclave.CodeInvalidCertificate},
		{"unknown suite", 99, good, conclave.CodeInvalidArgument},
		{"another suite's key", 2, good, conclave.CodeWrongCredential},
		{"another key", 1, otherKey, conclave.CodeWrongCredential},
		{"a key that is not here", 1, noKey, conclave.CodeCredentialNotFound},
		{"another client", 1, w.authority.Issue(t, pkitest.Leaf{ClientID: string(bob1)}, now), conclave.CodeWrongCredential},
		{"another authority", 1, stranger.Issue(t, pkitest.Leaf{ClientID: string(alice1)}, now), pki.ErrNoPath},
		{"expired", 1, w.authority.Issue(t, pkitest.Leaf{ClientID: string(alice1), NotAfter: now.Add(-time.Hour)}, now), pki.ErrExpired},
	} {
		if err := save(x.suite, x.issued); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", x.name, err, x.want)
		}
		// In the caller's transaction, which goes on after a step that was refused.
		if err := alice.Transaction(t.Context(), func(tx *conclave.Tx) error {
			c := conclave.X509Credential{CipherSuite: x.suite, Chain: x.issued.Chain, SignaturePrivate: x.issued.Private}
			if _, err := tx.SaveX509Credential(t.Context(), c); !errors.Is(err, x.want) {
				t.Errorf("%s in a transaction: %v, want %v", x.name, err, x.want)
			}
			dump, err := tx.DumpPKIEnv(t.Context())
			if err == nil && len(dump.Intermediates) != 0 {
				t.Errorf("%s: an intermediate was staged", x.name)
			}
			return err
		}); err != nil {
			t.Errorf("%s: %v", x.name, err)
		}
	}
	if enabled, err := alice.E2EIEnabled(t.Context(), 1); err != nil || enabled {
		t.Errorf("enabled %v, %v", enabled, err)
	}
	if dump, err := alice.DumpPKIEnv(t.Context()); err != nil || len(dump.Intermediates) != 0 {
		t.Errorf("an intermediate of a refused chain stayed: %v, %v", dump, err)
	}
	// The root at the end of a chain is no part of the credential.
	good.Chain = append(good.Chain, w.authority.Root)
	if err := save(1, good); err != nil {
		t.Fatal(err)
	}
	list, err := alice.FindCredentials(t.Context(), conclave.CredentialFilter{Type: 2})
	if err != nil || len(list) != 1 || len(list[0].Credential.Certificates) != 2 {
		t.Errorf("credentials %v, %v", list, err)
	}
	if dump, err := alice.DumpPKIEnv(t.Context()); err != nil || !slices.Equal(dump.Intermediates, []string{pki.EncodePEM(w.authority.Intermediate)}) {
		t.Errorf("the chain's intermediate was not registered: %v, %v", dump, err)
	}
}

// TestE2EIEnabled asks for suites with an X.509 credential, with a Basic one, and with none.
func TestE2EIEnabled(t *testing.T) {
	w := newE2EIWorld(t, 1)
	alice := w.open(alice1, conclave.ClientOptions{CipherSuites: []conclave.CipherSuite{1, 2}})
	w.trust(alice)
	w.certify(alice, pkitest.Leaf{})
	for _, x := range []struct {
		suite conclave.CipherSuite
		want  bool
		err   error
	}{{1, true, nil}, {3, true, nil}, {2, false, nil}, {7, false, conclave.CodeCredentialNotFound}} {
		if got, err := alice.E2EIEnabled(t.Context(), x.suite); got != x.want || !errors.Is(err, x.err) {
			t.Errorf("%v: %v, %v", x.suite, got, err)
		}
	}
}

// TestCheckCredentials looks at own certificates as time goes by.
func TestCheckCredentials(t *testing.T) {
	w := newE2EIWorld(t, 1)
	alice, _ := w.verifiedUntil(alice1, w.clock.in(time.Hour))
	checked, err := alice.CheckCredentials(t.Context())
	if err != nil || len(checked) != 1 || checked[0].Err != nil || checked[0].Identity.Status != conclave.DeviceStatusValid {
		t.Fatalf("%v, %v", checked, err)
	}
	w.clock.advance(2 * time.Hour)
	checked, err = alice.CheckCredentials(t.Context())
	if err != nil || len(checked) != 1 || !errors.Is(checked[0].Err, pki.ErrExpired) || checked[0].Identity.Status != conclave.DeviceStatusExpired {
		t.Errorf("%v, %v", checked, err)
	}
}

// TestE2EIRotate commits the newest X.509 credential, and refuses where there is none.
func TestE2EIRotate(t *testing.T) {
	w := newE2EIWorld(t, 1)
	alice := w.basic(alice1)
	w.verified(bob1)
	w.found("room", alice, bob1)
	if _, err := alice.E2EIRotate(t.Context(), "room"); !errors.Is(err, conclave.CodeCredentialNotFound) {
		t.Errorf("without a certificate: %v", err)
	}
	if _, err := alice.E2EIRotate(t.Context(), "nowhere"); !errors.Is(err, conclave.CodeConversationNotFound) {
		t.Errorf("nowhere: %v", err)
	}
	w.certify(alice, pkitest.Leaf{})
	newest, _ := w.certify(alice, pkitest.Leaf{})
	if _, err := alice.E2EIRotate(t.Context(), "room"); err != nil {
		t.Fatal(err)
	}
	w.settle()
	if ref, err := alice.ConversationCredential(t.Context(), "room"); err != nil || ref != newest.Credential.Ref {
		t.Errorf("not the newest: %v, %v", ref, err)
	}
	w.state("room", conclave.E2EIStateVerified)
}

// TestX509Takeover holds that a member cannot put a certificate of another client into its leaf, be it a valid one.
func TestX509Takeover(t *testing.T) {
	w := newE2EIWorld(t, 1)
	alice, _ := w.verified(alice1)
	bob := w.basic(bob1)
	w.found("room", alice, bob1)
	stolen := w.authority.Issue(t, pkitest.Leaf{ClientID: string(carol1)}, w.clock.now())
	_, err := bob.AddCredential(t.Context(), conclave.NewCredential{
		CipherSuite: 1, Credential: mlsgroup.X509Credential(stolen.Chain), SignaturePrivate: stolen.Private,
	})
	if !errors.Is(err, conclave.CodeWrongCredential) {
		t.Errorf("a certificate of another client: %v", err)
	}
}

// TestValidateKeyPackageX509 validates a key package with a certificate by a client that trusts its authority, one that does not, and by the engine.
func TestValidateKeyPackageX509(t *testing.T) {
	w := newE2EIWorld(t, 1)
	alice, _ := w.verified(alice1)
	bob := w.open(bob1, conclave.ClientOptions{})
	keyPackage := w.claim(alice1)
	if _, err := alice.ValidateKeyPackage(keyPackage); err != nil {
		t.Error(err)
	}
	if _, err := bob.ValidateKeyPackage(keyPackage); !errors.Is(err, conclave.CodeInvalidMessage) {
		t.Errorf("without an anchor: %v", err)
	}
	if _, err := w.engine.ValidateKeyPackage(keyPackage); !errors.Is(err, conclave.CodeInvalidMessage) {
		t.Errorf("by the engine: %v", err)
	}
}
