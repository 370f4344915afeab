package conclave_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/internal/pkitest"
	"github.com/conclave-mls/conclave/pki"
)

// TestX509Conversation joins members with X.509 credentials of every suite that has certificates, lets them talk, rotate and join by external commit.
func TestX509Conversation(t *testing.T) {
	for _, suite := range []conclave.CipherSuite{1, 2, 3, 5, 7} {
		t.Run(suite.String(), func(t *testing.T) {
			w := newE2EIWorld(t, suite)
			alice, _ := w.verified(alice1)
			bob, _ := w.verified(bob1)
			w.found("room", alice, bob1)
			w.state("room", conclave.E2EIStateVerified)
			if err := alice.Say(t.Context(), "room", []byte("hello")); err != nil {
				t.Fatal(err)
			}
			if got := w.settle()[bob1]; !slices.Equal(got, []string{"hello"}) {
				t.Errorf("bob read %q", got)
			}

			// A path leaf with another key, of the same client: every profile accepts it, for a certificate vouches.
			saved, _ := w.certify(bob, pkitest.Leaf{})
			if _, err := bob.SetCredential(t.Context(), "room", saved.Credential.Ref); err != nil {
				t.Fatal(err)
			}
			w.settle()
			w.state("room", conclave.E2EIStateVerified)
			if ref, err := bob.ConversationCredential(t.Context(), "room"); err != nil || ref != saved.Credential.Ref {
				t.Errorf("bob's leaf has %x, %v", ref, err)
			}

			carol, _ := w.verified(carol1)
			info, err := alice.ExportGroupInfo(t.Context(), "room")
			if err != nil {
				t.Fatal(err)
			}
			joined, err := carol.JoinByExternalCommit(t.Context(), info, conclave.JoinOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(joined.NewDistributionPoints, []string{w.authority.Point}) {
				t.Errorf("new distribution points %q", joined.NewDistributionPoints)
			}
			w.settle()
			w.state("room", conclave.E2EIStateVerified)
			ids, err := carol.ClientIDs(t.Context(), "room")
			if err != nil || !slices.Equal(ids, []conclave.ClientID{alice1, bob1, carol1}) {
				t.Errorf("members %q, %v", ids, err)
			}
			if _, err := alice.RemoveMembers(t.Context(), "room", bob1); err != nil {
				t.Fatal(err)
			}
			w.settle()
			if exists, err := bob.ConversationExists(t.Context(), "room"); err != nil || exists {
				t.Errorf("bob is still there: %v, %v", exists, err)
			}
		})
	}
}

// TestE2EIState walks the table of states: what members have, and what all of them see.
func TestE2EIState(t *testing.T) {
	hour := time.Hour
	for _, x := range []struct {
		name  string
		want  conclave.E2EIState
		build func(w *e2eiWorld) // alice founds "room"
	}{
		{"all basic", conclave.E2EIStateNotEnabled, func(w *e2eiWorld) {
			alice := w.basic(alice1)
			w.basic(bob1)
			w.found("room", alice, bob1)
		}},
		{"all valid", conclave.E2EIStateVerified, func(w *e2eiWorld) {
			alice, _ := w.verified(alice1)
			w.verified(bob1)
			w.found("room", alice, bob1)
		}},
		{"alone", conclave.E2EIStateVerified, func(w *e2eiWorld) {
			alice, _ := w.verified(alice1)
			w.found("room", alice)
		}},
		{"mixed", conclave.E2EIStateNotVerified, func(w *e2eiWorld) {
			alice, _ := w.verified(alice1)
			w.basic(bob1)
			w.found("room", alice, bob1)
		}},
		{"mixed, basic first", conclave.E2EIStateNotVerified, func(w *e2eiWorld) {
			alice := w.basic(alice1)
			w.verified(bob1)
			w.found("room", alice, bob1)
		}},
		{"one expired", conclave.E2EIStateNotVerified, func(w *e2eiWorld) {
			alice, _ := w.verified(alice1)
			w.verifiedUntil(bob1, w.clock.in(hour))
			w.found("room", alice, bob1)
			w.state("room", conclave.E2EIStateVerified)
			w.clock.advance(2 * hour)
		}},
		{"all expired", conclave.E2EIStateNotVerified, func(w *e2eiWorld) {
			alice, _ := w.verifiedUntil(alice1, w.clock.in(hour))
			w.verifiedUntil(bob1, w.clock.in(hour))
			w.found("room", alice, bob1)
			w.clock.advance(2 * hour)
		}},
		{"one revoked", conclave.E2EIStateNotVerified, func(w *e2eiWorld) {
			alice, _ := w.verified(alice1)
			_, bobs := w.verified(bob1)
			w.found("room", alice, bob1)
			w.authority.Revoke(w.clock.now(), bobs.Serial)
			w.list(hour)
		}},
		{"another authority", conclave.E2EIStateNotVerified, func(w *e2eiWorld) {
			alice, _ := w.verified(alice1)
			other := *w
			other.authority = pkitest.New(w.t, uint16(w.suite), e2eiDomain, w.clock.now())
			w.register(alice, other.authority)
			bob, _ := other.verified(bob1)
			w.register(bob, w.authority)
			w.found("room", alice, bob1)
			w.state("room", conclave.E2EIStateVerified)
			for _, d := range w.devices {
				w.distrust(d, other.authority)
			}
		}},
		{"no environment", conclave.E2EIStateNotEnabled, func(w *e2eiWorld) {
			alice, _ := w.verified(alice1)
			w.verified(bob1)
			w.found("room", alice, bob1)
			for _, d := range w.devices {
				w.distrust(d, w.authority)
			}
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			w := newE2EIWorld(t, 1)
			x.build(w)
			w.state("room", x.want)
			// Who is not in the group sees the same by its GroupInfo.
			carol := w.basic(carol1)
			switch x.name {
			case "no environment":
				w.distrust(carol, w.authority)
			case "one revoked":
				w.list(hour)
			}
			info, err := w.devices[alice1].ExportGroupInfo(t.Context(), "room")
			if err != nil {
				t.Fatal(err)
			}
			if got, err := carol.VerifyGroupState(t.Context(), info); err != nil || got != x.want {
				t.Errorf("VerifyGroupState is %v, %v", got, err)
			}
			if got, err := carol.CredentialTypeInUse(t.Context(), info); err != nil || got != x.want {
				t.Errorf("CredentialTypeInUse is %v, %v", got, err)
			}
		})
	}
}

// TestGroupInfoState holds how the two questions about a GroupInfo differ: in lifetimes, and in what a broken one is.
func TestGroupInfoState(t *testing.T) {
	w := newE2EIWorld(t, 1)
	alice, _ := w.verified(alice1)
	w.verified(bob1)
	w.found("room", alice, bob1)
	info, err := alice.ExportGroupInfo(t.Context(), "room")
	if err != nil {
		t.Fatal(err)
	}
	w.clock.advance(100 * 24 * time.Hour) // Bob's leaf is of a key package, for 84 days
	if got, err := alice.VerifyGroupState(t.Context(), info); err != nil || got != conclave.E2EIStateNotVerified {
		t.Errorf("after its lifetime: %v, %v", got, err)
	}
	if got, err := alice.CredentialTypeInUse(t.Context(), info); err != nil || got != conclave.E2EIStateVerified {
		t.Errorf("after its lifetime: %v, %v", got, err)
	}
	broken := slices.Clone(info)
	broken[len(broken)-1] ^= 1
	for name, b := range map[string][]byte{"changed": broken, "cut": info[:40], "nothing": nil} {
		if got, err := alice.VerifyGroupState(t.Context(), b); err != nil || got != conclave.E2EIStateNotVerified {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if _, err := alice.CredentialTypeInUse(t.Context(), b); !errors.Is(err, conclave.CodeInvalidMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestIdentities reads identities of devices, of users and of the sender of a message.
func TestIdentities(t *testing.T) {
	w := newE2EIWorld(t, 1)
	alice, issued := w.verified(alice1)
	second := w.basic(alice2)
	w.verified(bob1)
	w.found("room", alice, bob1, alice2)

	got, err := second.DeviceIdentities(t.Context(), "room", alice2, alice1, carol1)
	if err != nil || len(got) != 2 {
		t.Fatal(got, err)
	}
	// In leaf order, whatever the question's.
	first, basic := got[0], got[1]
	if first.ClientID != alice1 || first.Status != conclave.DeviceStatusValid || first.CredentialType != 2 || first.X509 == nil || len(first.Thumbprint) != 43 {
		t.Fatalf("identity %+v", first)
	}
	x := first.X509
	if x.Handle != "wireapp://%40user5aa1_1@"+e2eiDomain || x.DisplayName != "User user5aa1_1" || x.Domain != e2eiDomain || x.Certificate != pki.EncodePEM(issued.Chain[0]) ||
		x.SerialNumber != "1003" || !x.NotAfter.Equal(w.clock.now().AddDate(1, 0, 0)) || !x.NotBefore.Equal(w.clock.now().AddDate(0, 0, -1)) {
		t.Errorf("certificate %+v", x)
	}
	if basic.ClientID != alice2 || basic.Status != conclave.DeviceStatusValid || basic.CredentialType != 1 || basic.X509 != nil || basic.Thumbprint == first.Thumbprint || len(basic.Thumbprint) != 43 {
		t.Errorf("identity %+v", basic)
	}

	users, err := alice.UserIdentities(t.Context(), "room", bobUser, aliceUser, "00000000-0000-0000-0000-000000000000")
	if err != nil || len(users) != 2 || len(users[aliceUser]) != 2 || len(users[bobUser]) != 1 || users[bobUser][0].ClientID != bob1 {
		t.Errorf("users %v, %v", users, err)
	}
	for name, err := range map[string]error{
		"devices": errorOf(second.DeviceIdentities(t.Context(), "room")), "users": errorOf(second.UserIdentities(t.Context(), "room")),
	} {
		if !errors.Is(err, conclave.CodeInvalidArgument) {
			t.Errorf("no %s: %v", name, err)
		}
	}
	if _, err := second.DeviceIdentities(t.Context(), "nowhere", alice1); !errors.Is(err, conclave.CodeConversationNotFound) {
		t.Error(err)
	}

	sealed, err := alice.EncryptMessage(t.Context(), "room", []byte("who am I"))
	if err != nil {
		t.Fatal(err)
	}
	message, err := second.DecryptMessage(t.Context(), "room", sealed)
	if err != nil || message.Sender.ClientID != alice1 {
		t.Fatal(message.Sender, err)
	}
	sender, err := second.SenderIdentity(t.Context(), "room", message.Sender)
	if err != nil || sender.ClientID != alice1 || sender.Thumbprint != first.Thumbprint || *sender.X509 != *first.X509 || sender.Status != first.Status {
		t.Errorf("sender %+v, %v", sender, err)
	}
}

// errorOf is the error of a call that returns something too.
func errorOf[T any](_ T, err error) error { return err }

// TestDeviceStatus walks the table of statuses, seen by another member.
func TestDeviceStatus(t *testing.T) {
	for _, x := range []struct {
		name   string
		want   conclave.DeviceStatus
		change func(w *e2eiWorld, bobs pkitest.Issued)
	}{
		{"valid", conclave.DeviceStatusValid, func(*e2eiWorld, pkitest.Issued) {}},
		{"expired", conclave.DeviceStatusExpired, func(w *e2eiWorld, _ pkitest.Issued) { w.clock.advance(49 * time.Hour) }},
		{"revoked", conclave.DeviceStatusRevoked, func(w *e2eiWorld, bobs pkitest.Issued) {
			w.authority.Revoke(w.clock.now(), bobs.Serial)
			w.list(time.Hour)
		}},
		{"no path", conclave.DeviceStatusRevoked, func(w *e2eiWorld, _ pkitest.Issued) {
			for _, d := range w.devices {
				w.register(d, pkitest.New(w.t, 1, "other.example", w.clock.now()))
				w.distrust(d, w.authority)
			}
		}},
		{"no environment", conclave.DeviceStatusUnknown, func(w *e2eiWorld, _ pkitest.Issued) {
			for _, d := range w.devices {
				w.distrust(d, w.authority)
			}
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			w := newE2EIWorld(t, 1)
			alice, _ := w.verified(alice1)
			_, bobs := w.verifiedUntil(bob1, w.clock.in(48*time.Hour))
			w.found("room", alice, bob1)
			x.change(w, bobs)
			got, err := alice.DeviceIdentities(t.Context(), "room", bob1)
			if err != nil || len(got) != 1 || got[0].Status != x.want {
				t.Fatalf("%v, %v, want %v", got, err, x.want)
			}
			// Whatever it is, the member can go on talking.
			if err := w.devices[bob1].Say(t.Context(), "room", []byte("still here")); err != nil {
				t.Fatal(err)
			}
			if texts := w.settle()[alice1]; !slices.Equal(texts, []string{"still here"}) {
				t.Errorf("alice read %q", texts)
			}
		})
	}
}
