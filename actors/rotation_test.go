package actors

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/internal/pkitest"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// TestRotationRecord: what is written down of a rotation follows its credential. A new
// certificate for the same key has its key packages to publish, another rotation is not
// overwritten, and with the credential the rotation is gone.
func TestRotationRecord(t *testing.T) {
	const name = "4af3df2e-5c01-422f-baa1-d75546b92aa7:4c7@wire.example"
	w := newWorld(t)
	alice := w.peer(name)
	authority := pkitest.New(t, 1, "wire.example", time.Now())
	ask[messages.TrustAnchorRegistered](t, w.sys, alice.at(""), messages.RegisterTrustAnchor{Certificate: authority.Root})
	basic := ask[messages.CredentialsListed](t, w.sys, alice.at(""), messages.ListCredentials{}).Credentials[0]
	certify := func() messages.CredentialRef {
		t.Helper()
		issued := authority.IssueFor(t, pkitest.Leaf{ClientID: name}, basic.SignatureKey, time.Now())
		return ask[messages.X509CredentialSaved](t, w.sys, alice.at(""), messages.SaveX509Credential{CipherSuite: 1, Chain: issued.Chain}).Credential.Ref
	}
	read := func() *messages.Rotation {
		t.Helper()
		return ask[messages.RotationRead](t, w.sys, alice.at(""), messages.ReadRotation{}).Rotation
	}
	ref := certify()
	published := messages.Rotation{Credential: ref, CipherSuites: []mlsgroup.CipherSuite{1}, KeyPackages: 1, Published: true}
	ask[messages.RotationPut](t, w.sys, alice.at(""), messages.PutRotation{Rotation: &published})
	if certify() != ref {
		t.Fatal("another key")
	}
	if got := read(); got == nil || got.Published || got.KeyPackages != 1 {
		t.Errorf("rotation %+v, want the same and nothing published", got)
	}
	wantError(t, alice.try(alice.at(""), messages.PutRotation{After: messages.CredentialRef{1}}), messages.ErrConflict)
	ask[messages.CredentialRemoved](t, w.sys, alice.at(""), messages.RemoveCredential{Ref: ref})
	if got := read(); got != nil {
		t.Errorf("rotation %+v to a credential that is gone", got)
	}
	wantError(t, alice.try(alice.at(""), messages.PutRotation{After: ref}), messages.ErrConflict)
}

// TestAddCredentialWaits: a private key that comes without its public one waits for the
// transaction that removes its credential.
func TestAddCredentialWaits(t *testing.T) {
	w := newWorld(t)
	alice := w.peer("alice")
	c, _ := w.sys.clients.load(alice.instance)
	signer, err := mlsgroup.NewSigner(w.options.Rand, 1, mlsgroup.BasicCredential([]byte("alice")))
	if err != nil {
		t.Fatal(err)
	}
	add := messages.AddCredential{CipherSuite: 1, SignaturePrivate: signer.Private}
	ref := ask[messages.CredentialAdded](t, w.sys, alice.at(""), add).Credential.Ref
	tx := alice.begin()
	ask[messages.CredentialRemoved](t, w.sys, alice.in("", tx), messages.RemoveCredential{Ref: ref})
	again := newTask(context.Background(), add)
	c.actor.send(again)
	alice.finish(tx)
	if r := <-again.result; r.err != nil {
		t.Fatal(r.err)
	}
	for _, e := range ask[messages.CredentialsListed](t, w.sys, alice.at(""), messages.ListCredentials{}).Credentials {
		if e.Ref == ref {
			return
		}
	}
	t.Error("what was added is not there")
}

// TestPublicHalfIsNotTrusted brings private keys with another public half behind them:
// what is signed then would show the private one, or be of nobody.
func TestPublicHalfIsNotTrusted(t *testing.T) {
	w := newWorld(t)
	alice := w.peer("alice")
	c, _ := w.sys.clients.load(alice.instance)
	for _, suite := range []mlsgroup.CipherSuite{1, 2, 3, 7} {
		signer, err := mlsgroup.NewSigner(w.options.Rand, suite, mlsgroup.BasicCredential([]byte("alice")))
		if err != nil {
			t.Fatal(err)
		}
		long, err := signer.Expanded()
		if err != nil {
			t.Fatal(err)
		}
		for i := len(signer.Private); i < len(long.Private); i++ {
			long.Private[i] ^= 0x55
		}
		ref := ask[messages.CredentialAdded](t, w.sys, alice.at(""), messages.AddCredential{CipherSuite: suite, SignaturePrivate: long.Private}).Credential.Ref
		made := ask[messages.KeyPackagesGenerated](t, w.sys, alice.at(""), messages.GenerateKeyPackages{CipherSuite: suite, Credential: ref, Count: 1})
		kp, err := mlsgroup.ParseKeyPackage(made.KeyPackages[0].KeyPackage)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(kp.LeafNode.SignatureKey, signer.Public) {
			t.Errorf("suite %d: another key", suite)
		}
		if err := kp.Validate(mlsgroup.Input{Now: w.options.Now()}); err != nil {
			t.Errorf("suite %d: %v", suite, err)
		}
		values, err := w.store.GetMany(c.credentialKey(ref))
		if err != nil {
			t.Fatal(err)
		}
		stored, err := parseCredentialRecord(values[0])
		if err != nil {
			t.Fatal(err)
		}
		if !stored.private.Equal(signer.Private) {
			t.Errorf("suite %d: %d bytes are stored of a private key of %d", suite, len(stored.private), len(signer.Private))
		}
	}
}
