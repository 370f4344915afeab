package actors

import (
	"context"
	"testing"

	"github.com/conclave-mls/conclave/messages"
)

// What docs/rfc9420.md says of the engine and no other test here shows by itself.

// TestInflightGoesWithEpoch: a commit of an epoch that another's has ended is gone
// from the store too (section 14).
func TestInflightGoesWithEpoch(t *testing.T) {
	w, alice, bob := pair(t)
	w.service.set(w.lost(false))
	wantErrorAs[*messages.CommitInDoubt](t, alice.update(alice.at(conv)))
	if got := alice.state(conv); len(got.InDoubt) != 1 {
		t.Fatalf("%d commits in doubt, want 1", len(got.InDoubt))
	}
	w.service.set(nil)
	if err := bob.update(bob.at(conv)); err != nil {
		t.Fatal(err)
	}
	alice.sync(conv)
	alice.expectSettled(conv, 2)
	sends := w.service.sends()
	w.reopen()
	alice.expectSettled(conv, 2)
	agree(t, conv, alice, bob)
	if got := w.service.sends(); got != sends {
		t.Errorf("%d bundles were sent after reopening, want none: nothing is in flight", got-sends)
	}
}

// TestWelcomeOnlyWithCommit: the Welcome leaves in one piece with its commit and in
// no other way, so whoever refuses the commit has nothing to deliver (section 14).
func TestWelcomeOnlyWithCommit(t *testing.T) {
	w, alice, _ := pair(t)
	carol := w.peer("carol")
	add := messages.AddMembers{KeyPackages: [][]byte{carol.keyPackage()}}
	before := w.service.sends()
	w.service.set(func(ctx context.Context, from string, b messages.CommitBundle) (messages.Verdict, error) {
		if len(b.Commit) == 0 || len(b.Welcome) == 0 {
			t.Errorf("a bundle with a commit of %d bytes and a Welcome of %d", len(b.Commit), len(b.Welcome))
		}
		return refused(ctx, from, b)
	})
	reply, err := alice.sys.Ask(context.Background(), alice.at(conv), add)
	wantErrorAs[*messages.MessageRejected](t, err)
	if reply != nil || w.service.sends() != before+1 {
		t.Errorf("a refused commit was answered with %T and sent %d times", reply, w.service.sends()-before)
	}
	w.service.set(nil)
	ask[messages.CommitMerged](t, w.sys, alice.at(conv), add)
	ask[messages.ConversationJoined](t, w.sys, carol.at(""), messages.ProcessWelcome{Message: w.service.last(conv).Welcome})
	agree(t, conv, alice, carol)
}
