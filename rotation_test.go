package conclave_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/internal/pkitest"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

// TestRotateCredential replaces a Basic credential by an X.509 one in everything a client has, with a fresh key and with the old one.
func TestRotateCredential(t *testing.T) {
	for _, sameKey := range []bool{false, true} {
		t.Run(fmt.Sprintf("same key %v", sameKey), func(t *testing.T) {
			w := newE2EIWorld(t, 1)
			alice := w.basic(alice1)
			w.verified(bob1)
			rooms := []conclave.ConversationID{"room 1", "room 2", "room 3"}
			for _, id := range rooms {
				w.found(id, alice, bob1)
				w.state(id, conclave.E2EIStateNotVerified)
			}
			old, err := alice.Credentials(t.Context())
			if err != nil || len(old) != 1 {
				t.Fatal(old, err)
			}
			var saved conclave.SavedX509Credential
			if sameKey {
				// As an activation enrolment does: the certificate is for the key of the Basic credential, which does not leave the engine.
				issued := w.authority.IssueFor(t, pkitest.Leaf{ClientID: string(alice1)}, old[0].SignatureKey, w.clock.now())
				if saved, err = alice.SaveX509Credential(t.Context(), conclave.X509Credential{CipherSuite: 1, Chain: issued.Chain}); err != nil {
					t.Fatal(err)
				}
				if saved.Credential.Ref != old[0].Ref {
					t.Fatal("another key")
				}
			} else {
				saved, _ = w.certify(alice, pkitest.Leaf{})
			}

			w.ds.Withdraw(alice1)
			var steps []conclave.RotationProgress
			options := conclave.RotateOptions{
				Credential: saved.Credential.Ref, KeyPackages: 5,
				Publish: func(_ context.Context, made []conclave.KeyPackageEntry) error {
					w.ds.Publish(alice1, made...)
					return nil
				},
				Progress: func(p conclave.RotationProgress) { steps = append(steps, p) },
			}
			if err := alice.RotateCredential(t.Context(), options); err != nil {
				t.Fatal(err)
			}
			w.settle()
			checkRotated(t, w, alice, saved.Credential, rooms)
			if len(steps) != 5 || steps[0].Step != conclave.RotationConversations || steps[2].Done != 3 || steps[3].Step != conclave.RotationKeyPackages || steps[4].Step != conclave.RotationCleanup {
				t.Errorf("steps %v", steps)
			}
			if n := w.ds.KeyPackagesLeft(alice1); n != 5 {
				t.Errorf("%d key packages are published, want 5", n)
			}
			// Again, there is nothing to do.
			epoch, _ := alice.ConversationEpoch(t.Context(), rooms[0])
			if err := alice.RotateCredential(t.Context(), options); err != nil {
				t.Fatal(err)
			}
			if again, _ := alice.ConversationEpoch(t.Context(), rooms[0]); again != epoch {
				t.Errorf("a rotation that was done sent a commit")
			}
			if err := alice.RotateCredential(t.Context(), conclave.RotateOptions{}); !errors.Is(err, conclave.CodeInvalidArgument) {
				t.Errorf("nothing to resume: %v", err)
			}
		})
	}
}

// checkRotated checks that a device has nothing left of older credentials.
func checkRotated(t testing.TB, w *e2eiWorld, d *enginetest.Device, want conclave.CredentialEntry, rooms []conclave.ConversationID) {
	t.Helper()
	ctx := context.Background()
	all, err := d.Credentials(ctx)
	if err != nil || len(all) != 1 || all[0].Ref != want.Ref || all[0].Credential.Type != mlsgroup.CredentialTypeX509 {
		t.Errorf("credentials %v, %v", all, err)
	}
	packages, err := d.KeyPackages(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range packages {
		kp, err := mlsgroup.ParseKeyPackage(k.KeyPackage)
		if err != nil || !kp.LeafNode.Credential.Equal(&want.Credential) {
			t.Errorf("key package of %v, %v", kp.LeafNode.Credential.Type, err)
		}
	}
	for _, id := range rooms {
		identities, err := d.DeviceIdentities(ctx, id, d.ID())
		if err != nil || len(identities) != 1 || identities[0].Status != conclave.DeviceStatusValid || identities[0].X509 == nil {
			t.Errorf("%s: own identity %v, %v", id, identities, err)
		}
		w.state(id, conclave.E2EIStateVerified)
	}
	if _, under, err := d.Rotating(ctx); err != nil || under {
		t.Errorf("a rotation is under way: %v, %v", under, err)
	}
}

// TestRotateCredentialIncomplete holds that a conversation that cannot be rotated now keeps the rotation from replacing anything, and that it is resumed.
func TestRotateCredentialIncomplete(t *testing.T) {
	w := newE2EIWorld(t, 1)
	alice := w.basic(alice1)
	bob, _ := w.verified(bob1)
	rooms := []conclave.ConversationID{"room 1", "room 2", "room 3"}
	for _, id := range rooms {
		w.found(id, alice, bob1)
	}
	// Alice has not heard of Bob's commit, so hers is refused.
	if _, err := bob.UpdateKeyMaterial(t.Context(), "room 2"); err != nil {
		t.Fatal(err)
	}
	saved, _ := w.certify(alice, pkitest.Leaf{})
	err := alice.RotateCredential(t.Context(), conclave.RotateOptions{Credential: saved.Credential.Ref, KeyPackages: 2})
	var incomplete *conclave.RotationIncomplete
	if !errors.As(err, &incomplete) || len(incomplete.Conversations) != 1 || !errors.Is(incomplete.Conversations["room 2"], conclave.CodeMessageRejected) {
		t.Fatalf("got %v", err)
	}
	if ref, ok, err := alice.Rotating(t.Context()); err != nil || !ok || ref != saved.Credential.Ref {
		t.Errorf("rotating %v, %v", ok, err)
	}
	if all, err := alice.Credentials(t.Context()); err != nil || len(all) != 2 {
		t.Errorf("%d credentials, %v", len(all), err)
	}
	w.settle()
	if err := alice.RotateCredential(t.Context(), conclave.RotateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.settle()
	checkRotated(t, w, alice, saved.Credential, rooms)
	if list, err := alice.KeyPackages(t.Context()); err != nil || len(list) != 2 {
		t.Errorf("%d key packages, %v", len(list), err)
	}
}

// TestRotateCredentialUnknown holds what a rotation refuses.
func TestRotateCredentialUnknown(t *testing.T) {
	w := newE2EIWorld(t, 1)
	alice := w.basic(alice1)
	ref := conclave.CredentialRef{1}
	if err := alice.RotateCredential(t.Context(), conclave.RotateOptions{Credential: ref}); !errors.Is(err, conclave.CodeCredentialNotFound) {
		t.Errorf("an unknown credential: %v", err)
	}
	saved, _ := w.certify(alice, pkitest.Leaf{})
	err := alice.RotateCredential(t.Context(), conclave.RotateOptions{Credential: saved.Credential.Ref, CipherSuites: []conclave.CipherSuite{2}})
	if !errors.Is(err, conclave.CodeWrongCredential) {
		t.Errorf("a suite of another scheme: %v", err)
	}
	wrong := errors.New("no network")
	err = alice.RotateCredential(t.Context(), conclave.RotateOptions{
		Credential: saved.Credential.Ref, KeyPackages: 1,
		Publish: func(context.Context, []conclave.KeyPackageEntry) error { return wrong },
	})
	if !errors.Is(err, wrong) {
		t.Errorf("publishing failed: %v", err)
	}
	if refs, _ := alice.Credentials(t.Context()); !slices.ContainsFunc(refs, func(c conclave.CredentialEntry) bool { return c.Ref != saved.Credential.Ref }) {
		t.Error("the old credential went before the new key packages were published")
	}
}

// TestRotateCredentialSparesTheNewer: what came after the credential that is rotated to, a credential and its key packages, is not the rotation's to remove.
func TestRotateCredentialSparesTheNewer(t *testing.T) {
	w := newE2EIWorld(t, 1)
	alice := w.basic(alice1)
	ctx := t.Context()
	made := func(ref conclave.CredentialRef) conclave.KeyPackageRef {
		t.Helper()
		list, err := alice.GenerateKeyPackages(ctx, conclave.KeyPackageOptions{Count: 1, Credential: ref})
		must1(t, list, err)
		return list[0].Ref
	}
	certify := func() conclave.CredentialRef {
		t.Helper()
		w.clock.advance(time.Second)
		saved, _ := w.certify(alice, pkitest.Leaf{})
		return saved.Credential.Ref
	}
	older := certify()
	rotated := certify()
	newer := certify()
	left := map[conclave.CredentialRef]conclave.KeyPackageRef{rotated: made(rotated), newer: made(newer)}
	made(older)
	if err := alice.RotateCredential(ctx, conclave.RotateOptions{Credential: rotated}); err != nil {
		t.Fatal(err)
	}
	credentials, err := alice.Credentials(ctx)
	must1(t, credentials, err)
	packages, err := alice.KeyPackages(ctx)
	must1(t, packages, err)
	if len(credentials) != len(left) || len(packages) != len(left) {
		t.Errorf("%d credentials and %d key packages are left, want %d", len(credentials), len(packages), len(left))
	}
	for ref, k := range left {
		if !slices.ContainsFunc(credentials, func(e conclave.CredentialEntry) bool { return e.Ref == ref }) ||
			!slices.ContainsFunc(packages, func(e conclave.KeyPackageEntry) bool { return bytes.Equal(e.Ref, k) }) {
			t.Errorf("of %x, which is newer: %t, the credential or its key package is gone", ref[:4], ref == newer)
		}
	}
}
