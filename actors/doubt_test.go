package actors

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/store"
)

// What a transaction does beside a commit in doubt, and what is left of it.

// endings are the ways in which a transaction can end.
var endings = map[string]func(*world, *peer, messages.TransactionID){
	"finish": func(_ *world, p *peer, tx messages.TransactionID) { p.finish(tx) },
	"abort":  func(_ *world, p *peer, tx messages.TransactionID) { p.abort(tx) },
	"crash":  func(w *world, _ *peer, _ messages.TransactionID) { w.crash() },
}

// unwilling lets a store refuse what is applied while it is told to.
func unwilling(refuses *atomic.Bool) func(*Options) {
	return func(o *Options) {
		s := o.Store
		o.apply = func(sets ...*store.ChangeSet) error {
			if refuses.Load() {
				return store.ErrTooLarge
			}
			return s.Apply(sets...)
		}
	}
}

// TestDoubtOfAnEarlierTransaction: what preceded a commit in doubt and could not be written
// when its transaction ended is written before the next one reads the conversation, also
// where that has sent a commit elsewhere.
func TestDoubtOfAnEarlierTransaction(t *testing.T) {
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			var refuses atomic.Bool
			w, alice, _ := pair(t, unwilling(&refuses))
			alice.create("parent")
			alice.create(other)
			earlier := alice.begin()
			ask[messages.MarkedAsChild](t, w.sys, alice.in(other, earlier), messages.MarkAsChildOf{Parent: "parent"})
			w.service.set(w.lost(false))
			wantErrorAs[*messages.CommitInDoubt](t, alice.update(alice.in(other, earlier)))
			w.service.set(nil)
			refuses.Store(true)
			alice.abort(earlier)
			refuses.Store(false)
			tx := alice.begin()
			if err := alice.update(alice.in(conv, tx)); err != nil {
				t.Fatal(err)
			}
			ask[messages.Touched](t, w.sys, alice.in("", tx), messages.Touch{Conversations: []messages.ConversationID{other}})
			if got := ask[messages.ConversationRead](t, w.sys, alice.in(other, tx), messages.ReadConversation{}).Parent; got != "parent" {
				t.Errorf("child of %q in the transaction", got)
			}
			end(w, alice, tx)
			if got := alice.state(other).Parent; got != "parent" {
				t.Errorf("child of %q", got)
			}
		})
	}
}

// TestConversationThatDoesNotLoad: a transaction finishes although a conversation that it
// has asked for could not be read.
func TestConversationThatDoesNotLoad(t *testing.T) {
	var refuses atomic.Bool
	w, alice, _ := pair(t, unwilling(&refuses))
	alice.create("parent")
	earlier := alice.begin()
	ask[messages.MarkedAsChild](t, w.sys, alice.in(conv, earlier), messages.MarkAsChildOf{Parent: "parent"})
	w.service.set(w.lost(false))
	wantErrorAs[*messages.CommitInDoubt](t, alice.update(alice.in(conv, earlier)))
	refuses.Store(true)
	alice.abort(earlier)
	tx := alice.begin()
	wantError(t, alice.try(alice.in(conv, tx), messages.ProposeUpdate{}), messages.ErrInvalidArgument)
	refuses.Store(false)
	alice.finish(tx)
	if got := alice.state(conv).Parent; got != "parent" {
		t.Errorf("child of %q", got)
	}
}

// TestFinalNamesDoubts: the end of a transaction names those of its commits that are in
// doubt then, and no others.
func TestFinalNamesDoubts(t *testing.T) {
	want := func(t *testing.T, w *world, got []messages.FinalConversation, named bool) {
		t.Helper()
		if named && (len(got) != 1 || got[0].Merged || got[0].Hash != w.service.lastSent().Hash) || !named && len(got) != 0 {
			t.Errorf("named %+v, want the last in doubt: %v", got, named)
		}
	}
	t.Run("dropped", func(t *testing.T) {
		for _, finish := range []bool{true, false} {
			w, _, bob := pair(t)
			w.service.set(w.lost(false))
			tx := bob.begin()
			ask[messages.ProposalCreated](t, w.sys, bob.in(conv, tx), messages.ProposeUpdate{})
			wantErrorAs[*messages.CommitInDoubt](t, bob.update(bob.in(conv, tx)))
			ask[messages.InDoubtDropped](t, w.sys, bob.in(conv, tx), messages.DropInDoubt{})
			if finish {
				want(t, w, bob.finish(tx).Final, false)
			} else {
				want(t, w, bob.abort(tx).Final, true)
			}
		}
	})
	t.Run("another's commit", func(t *testing.T) {
		for _, finish := range []bool{true, false} {
			w, alice, bob := pair(t)
			if err := alice.update(alice.at(conv)); err != nil {
				t.Fatal(err)
			}
			w.service.set(func(ctx context.Context, _ string, _ messages.CommitBundle) (messages.Verdict, error) {
				bob.decrypt(bob.in(conv, messages.TransactionFrom(ctx)), w.service.last(conv).Commit)
				return messages.Verdict{}, errLost
			})
			bob.create(other)
			tx := bob.begin()
			ask[messages.MarkedAsChild](t, w.sys, bob.in(conv, tx), messages.MarkAsChildOf{Parent: other})
			wantErrorAs[*messages.MessageRejected](t, bob.update(bob.in(conv, tx)))
			if finish {
				want(t, w, bob.finish(tx).Final, false)
			} else {
				want(t, w, bob.abort(tx).Final, true)
			}
		}
	})
}
