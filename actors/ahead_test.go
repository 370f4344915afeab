package actors

import (
	"context"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/messages"
)

// What a transaction that is aborted, or a group that is left, leaves on its way.

// takenButRefused takes a commit and says no: a lost answer and a resend look so.
func (w *world) takenButRefused() hook {
	return func(ctx context.Context, from string, b messages.CommitBundle) (messages.Verdict, error) {
		w.service.accept(b)
		return refused(ctx, from, b)
	}
}

// TestRefusedCommitAheadOfConversation: a transaction has entered the next epoch and
// sent a commit there when it is aborted. The conversation enters that epoch once
// more, and the commit comes back, before that or after.
func TestRefusedCommitAheadOfConversation(t *testing.T) {
	for _, reopened := range []bool{false, true} {
		for _, early := range []bool{false, true} {
			for _, within := range []bool{false, true} {
				w, alice, bob := pair(t)
				if err := bob.update(bob.at(conv)); err != nil {
					t.Fatal(err)
				}
				bobs := w.service.last(conv).Commit
				tx := alice.begin()
				alice.decrypt(alice.in(conv, tx), bobs)
				w.service.set(w.takenButRefused())
				wantErrorAs[*messages.MessageRejected](t, alice.update(alice.in(conv, tx)))
				w.service.set(nil)
				alices := w.service.last(conv).Commit
				alice.abort(tx)
				if reopened {
					w.reopen()
				}
				if got := alice.state(conv); got.Epoch != 1 || len(got.InDoubt) != 1 {
					t.Fatalf("epoch %d with %d commits in flight, want 1 and 1", got.Epoch, len(got.InDoubt))
				}
				at, end := alice.at(conv), func() {}
				if within {
					tx := alice.begin()
					at, end = alice.in(conv, tx), func() { alice.finish(tx) }
				}
				var own messages.MessageDecrypted
				if early {
					if got := alice.decrypt(at, alices); got.Outcome != messages.OutcomeBufferedFutureMessage {
						t.Errorf("the own commit of the next epoch: %v", got.Outcome)
					}
					got := alice.decrypt(at, bobs)
					if len(got.Released) != 1 || got.Released[0].Err != nil {
						t.Fatalf("released %+v, want the own commit", got.Released)
					}
					own = got.Released[0].Message
				} else {
					alice.decrypt(at, bobs)
					own = alice.decrypt(at, alices)
				}
				end()
				if !own.Own || own.Outcome != messages.OutcomeCommit || own.Epoch != 3 {
					t.Errorf("%v of epoch %d, own: %v", own.Outcome, own.Epoch, own.Own)
				}
				bob.read[conv]++
				bob.sync(conv)
				alice.expectSettled(conv, 3)
				agree(t, conv, alice, bob)
				w.reopen()
				agree(t, conv, alice, bob)
				bob.expectText(conv, alice.encrypt(alice.at(conv), "together"), "together")
			}
		}
	}
}

// TestJoinBesideCommit: a join and a commit of the older group are in doubt. With the
// one settled the other is sent on, unasked.
func TestJoinBesideCommit(t *testing.T) {
	w, alice, bob := pair(t, func(o *Options) { o.RetryPause = time.Millisecond })
	info := ask[messages.GroupInfoExported](t, w.sys, alice.at(conv), messages.ExportGroupInfo{}).GroupInfo
	w.service.set(w.lost(false))
	wantErrorAs[*messages.CommitInDoubt](t, bob.try(bob.at(""), messages.JoinByExternalCommit{GroupInfo: info}))
	join := w.service.lastSent().Hash
	wantErrorAs[*messages.CommitInDoubt](t, bob.update(bob.at(conv)))
	again := make(chan struct{}, 1)
	w.service.set(func(_ context.Context, _ string, b messages.CommitBundle) (messages.Verdict, error) {
		if b.Hash != join {
			return w.service.accept(b), nil
		}
		if w.service.length(conv) > 1 {
			select {
			case again <- struct{}{}:
			default:
			}
		}
		return messages.Verdict{}, errLost
	})
	bob.awaitEpoch(2)
	for len(again) > 0 { // one that was on its way
		<-again
	}
	select {
	case <-again:
	case <-time.After(time.Minute):
		t.Fatal("the join is not sent any more")
	}
}

// TestGenerationsStayBurnt: generations that a crash burns are burnt before a commit
// uses the next one, and that one is used for good.
func TestGenerationsStayBurnt(t *testing.T) {
	for _, profile := range []messages.Profile{messages.ProfileRFC9420, messages.ProfileWire} {
		w := newWorld(t, func(o *Options) { o.RetryPause = maxResendPause })
		w.profile = profile
		alice, bob := w.peer("alice"), w.peer("bob")
		alice.create(conv)
		alice.add(conv, bob)
		tx := alice.begin()
		alice.encrypt(alice.in(conv, tx), "taken back")
		w.service.set(refused)
		wantErrorAs[*messages.MessageRejected](t, alice.update(alice.in(conv, tx)))
		alice.abort(tx)
		w.reopen()
		// What is reserved is burnt, and the commit uses the first generation beyond.
		wantErrorAs[*messages.MessageRejected](t, alice.update(alice.at(conv)))
		commit := w.service.lastSent().Commit
		w.reopen()
		proposal := ask[messages.ProposalCreated](t, w.sys, alice.at(conv), messages.ProposeUpdate{}).Message
		// Keys are deleted as they are used: with one used twice, one of these fails.
		if got := bob.decrypt(bob.at(conv), proposal); got.Outcome != messages.OutcomeProposal {
			t.Errorf("profile %v: the proposal: %v", profile, got.Outcome)
		}
		if got := bob.decrypt(bob.at(conv), commit); got.Outcome != messages.OutcomeCommit {
			t.Errorf("profile %v: the commit: %v", profile, got.Outcome)
		}
		alice.decrypt(alice.at(conv), commit)
		agree(t, conv, alice, bob)
	}
}

// TestJoinOutlivesRemoval: the older group learns late that it was removed, when a
// join is on its way already.
func TestJoinOutlivesRemoval(t *testing.T) {
	for _, reopened := range []bool{false, true} {
		w, alice, bob := pair(t)
		ask[messages.CommitMerged](t, w.sys, alice.at(conv), messages.RemoveMembers{ClientIDs: []messages.ClientID{"bob"}})
		removal := w.service.last(conv).Commit
		info := ask[messages.GroupInfoExported](t, w.sys, alice.at(conv), messages.ExportGroupInfo{}).GroupInfo
		w.service.set(w.lost(true))
		wantErrorAs[*messages.CommitInDoubt](t, bob.try(bob.at(""), messages.JoinByExternalCommit{GroupInfo: info}))
		if got := bob.decrypt(bob.at(conv), removal); got.IsActive || got.Outcome != messages.OutcomeCommit {
			t.Errorf("got %v, active: %v", got.Outcome, got.IsActive)
		}
		if reopened {
			w.reopen()
		}
		if got := bob.state(conv); got.Exists || len(got.InDoubt) != 1 || !got.InDoubt[0].Join {
			t.Fatalf("state %+v, want the join only", got)
		}
		bob.decrypt(bob.at(conv), w.service.last(conv).Commit)
		bob.expectSettled(conv, 3)
		used := ask[messages.CredentialsListed](t, w.sys, bob.at(""), messages.ListCredentials{}).Credentials
		for _, c := range used {
			wantErrorAs[*messages.CredentialInUse](t, bob.try(bob.at(""), messages.RemoveCredential{Ref: c.Ref}))
		}
		w.service.set(nil)
		for _, b := range w.service.since(conv, 2) {
			alice.decrypt(alice.at(conv), b.Commit)
		}
		agree(t, conv, alice, bob)
		bob.expectText(conv, alice.encrypt(alice.at(conv), "welcome back"), "welcome back")
	}
}

// TestWelcomeTwice: a transaction joins by a Welcome, sends and is aborted. The
// Welcome joins once more, with the same keys, and what has been used stays used.
func TestWelcomeTwice(t *testing.T) {
	for _, reopened := range []bool{false, true} {
		for _, within := range []bool{false, true} {
			w, alice, _ := pair(t)
			carol := w.peer("carol")
			ask[messages.CommitMerged](t, w.sys, alice.at(conv), messages.AddMembers{KeyPackages: [][]byte{carol.keyPackage()}})
			welcome := messages.ProcessWelcome{Message: w.service.last(conv).Welcome}
			tx := carol.begin()
			ask[messages.ConversationJoined](t, w.sys, carol.in("", tx), welcome)
			aborted := carol.encrypt(carol.in(conv, tx), "taken back")
			carol.abort(tx)
			if reopened {
				w.reopen()
			}
			at, in, end := carol.at(conv), carol.at(""), func() {}
			if within {
				tx := carol.begin()
				at, in, end = carol.in(conv, tx), carol.in("", tx), func() { carol.finish(tx) }
			}
			ask[messages.ConversationJoined](t, w.sys, in, welcome)
			kept := carol.encrypt(at, "kept")
			end()
			// Keys are deleted as they are used: with one used twice, one of these fails.
			alice.expectText(conv, kept, "kept")
			alice.expectText(conv, aborted, "taken back")
			w.reopen()
			alice.expectText(conv, carol.encrypt(carol.at(conv), "again"), "again")
			agree(t, conv, alice, carol)
		}
	}
}
