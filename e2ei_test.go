package conclave_test

import (
	"encoding/pem"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/internal/pkitest"
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

var _ = pem.Decode
var _ = errors.Is
var _ time.Time
