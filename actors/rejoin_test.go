package actors

import (
	"bytes"
	"slices"
	"testing"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/store"
)

// What a transaction does that wipes a conversation, or joins it, and joins it again.

// rejoining makes a world in which bob is a member, and has a Welcome to the same
// conversation that he has not processed and a GroupInfo to join it by. What follows is
// never answered.
func rejoining(t *testing.T) (w *world, alice, bob *peer, welcome, info []byte) {
	t.Helper()
	w, alice, bob = pair(t)
	ask[messages.CommitMerged](t, w.sys, alice.at(conv), messages.RemoveMembers{ClientIDs: []messages.ClientID{"bob"}})
	ask[messages.CommitMerged](t, w.sys, alice.at(conv), messages.AddMembers{KeyPackages: [][]byte{bob.keyPackage()}})
	welcome = w.service.last(conv).Welcome
	info = ask[messages.GroupInfoExported](t, w.sys, alice.at(conv), messages.ExportGroupInfo{}).GroupInfo
	w.service.set(w.lost(false))
	return w, alice, bob, welcome, info
}

func (p *peer) wipe(to messages.Address) {
	p.t.Helper()
	ask[messages.ConversationWiped](p.t, p.sys, to, messages.WipeConversation{})
}

func (p *peer) welcomed(to messages.Address, welcome []byte) {
	p.t.Helper()
	ask[messages.ConversationJoined](p.t, p.sys, to, messages.ProcessWelcome{Message: welcome})
}

// joinInDoubt sends an external join that is not answered.
func (p *peer) joinInDoubt(to messages.Address, info []byte) {
	p.t.Helper()
	wantErrorAs[*messages.CommitInDoubt](p.t, p.try(to, messages.JoinByExternalCommit{GroupInfo: info}))
}

// TestCommitsAfterAWipe: a transaction that has wiped a conversation and sends in the one
// that takes its place forgets none of what has left.
func TestCommitsAfterAWipe(t *testing.T) {
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			for range 4 { // the records lie in the order of hashes
				w, _, bob, welcome, info := rejoining(t)
				tx := bob.begin()
				bob.wipe(bob.in(conv, tx))
				bob.welcomed(bob.in("", tx), welcome)
				wantErrorAs[*messages.CommitInDoubt](t, bob.update(bob.in(conv, tx)))
				bob.joinInDoubt(bob.in("", tx), info)
				end(w, bob, tx)
				w.reopen()
				if got := bob.state(conv); !got.Exists || len(got.InDoubt) != 2 {
					t.Fatalf("exists: %v, in doubt: %+v, want two", got.Exists, got.InDoubt)
				}
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		w, _, bob, welcome, _ := rejoining(t)
		tx := bob.begin()
		bob.wipe(bob.in(conv, tx))
		bob.welcomed(bob.in("", tx), welcome)
		w.service.set(refused)
		wantErrorAs[*messages.MessageRejected](t, bob.update(bob.in(conv, tx)))
		bob.finish(tx)
		w.reopen()
		if got := bob.state(conv).InDoubt; len(got) != 1 || !got[0].Refused {
			t.Errorf("in doubt: %+v, want the one that was refused", got)
		}
	})
}

// TestGenerationsAfterAWipe: what a transaction has handed out by a group that is joined
// again is not used twice.
func TestGenerationsAfterAWipe(t *testing.T) {
	t.Run("wiped between", func(t *testing.T) {
		_, alice, bob, welcome, _ := rejoining(t)
		tx := bob.begin()
		bob.wipe(bob.in(conv, tx))
		bob.welcomed(bob.in("", tx), welcome)
		first := bob.encrypt(bob.in(conv, tx), "first")
		bob.abort(tx)
		bob.wipe(bob.at(conv))
		bob.welcomed(bob.at(""), welcome)
		alice.expectText(conv, bob.encrypt(bob.at(conv), "second"), "second")
		alice.expectText(conv, first, "first")
	})
	for _, name := range []string{"abort", "crash"} {
		t.Run("beside a join, "+name, func(t *testing.T) {
			w, alice, bob, welcome, info := rejoining(t)
			tx := bob.begin()
			bob.wipe(bob.in(conv, tx))
			bob.welcomed(bob.in("", tx), welcome)
			bob.joinInDoubt(bob.in("", tx), info)
			first := bob.encrypt(bob.in(conv, tx), "first")
			endings[name](w, bob, tx)
			alice.expectText(conv, bob.encrypt(bob.at(conv), "second"), "second")
			alice.expectText(conv, first, "first")
		})
		t.Run("created beside a join, "+name, func(t *testing.T) {
			w, alice, _ := pair(t)
			carol := w.peer("carol")
			info := ask[messages.GroupInfoExported](t, w.sys, alice.at(conv), messages.ExportGroupInfo{}).GroupInfo
			w.service.set(w.lost(false))
			tx := carol.begin()
			ask[messages.ConversationCreated](t, w.sys, carol.in(conv, tx), messages.CreateConversation{})
			carol.joinInDoubt(carol.in("", tx), info)
			carol.encrypt(carol.in(conv, tx), "first")
			endings[name](w, carol, tx)
			if !carol.state(conv).Exists {
				t.Fatal("what preceded the join is gone")
			}
			c := carol.client()
			records, err := readAll(w.store, store.PrefixRange(c.keys.Incarnations(nil, w.sys.keys.Conversation(c.keys, []byte(conv)))))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(records, func(r store.Record) bool { return bytes.HasSuffix(r.Key, mlsgroup.ReserveKey(0)) }) {
				t.Error("nothing says which generations were handed out")
			}
		})
	}
}

// TestCredentialOfAJoinAfterAWipe: a credential is in use while a join by it is in doubt,
// also where the group it was used by was wiped in the same transaction.
func TestCredentialOfAJoinAfterAWipe(t *testing.T) {
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			w, _, bob, _, info := rejoining(t)
			tx := bob.begin()
			bob.wipe(bob.in(conv, tx))
			bob.joinInDoubt(bob.in("", tx), info)
			end(w, bob, tx)
			bob.state(conv)
			own := ask[messages.CredentialsListed](t, w.sys, bob.at(""), messages.ListCredentials{}).Credentials[0].Ref
			wantErrorAs[*messages.CredentialInUse](t, bob.try(bob.at(""), messages.RemoveCredential{Ref: own}))
		})
	}
}

// TestWelcomeOfAFinalJoin: a Welcome whose group a commit has made final is used up,
// whatever becomes of the transaction.
func TestWelcomeOfAFinalJoin(t *testing.T) {
	for _, accepted := range []bool{true, false} {
		w, _, bob, welcome, _ := rejoining(t)
		bob.wipe(bob.at(conv))
		if accepted {
			w.service.set(nil)
		}
		tx := bob.begin()
		bob.welcomed(bob.in("", tx), welcome)
		if err := bob.update(bob.in(conv, tx)); (err == nil) != accepted {
			t.Fatal(err)
		}
		bob.abort(tx)
		bob.wipe(bob.at(conv))
		wantError(t, bob.try(bob.at(""), messages.ProcessWelcome{Message: welcome}), messages.ErrOrphanWelcome)
	}
}

// TestRefusedCommitOfAWelcome: a transaction has processed a Welcome and sent a commit that
// seemed refused when it is aborted. The Welcome is processed once more, and the commit
// comes back.
func TestRefusedCommitOfAWelcome(t *testing.T) {
	for _, reopened := range []bool{false, true} {
		w, alice, bob, welcome, _ := rejoining(t)
		bob.wipe(bob.at(conv))
		tx := bob.begin()
		bob.welcomed(bob.in("", tx), welcome)
		w.service.set(w.takenButRefused())
		wantErrorAs[*messages.MessageRejected](t, bob.update(bob.in(conv, tx)))
		w.service.set(nil)
		commit := w.service.last(conv).Commit
		bob.abort(tx)
		if reopened {
			w.reopen()
		}
		bob.welcomed(bob.at(""), welcome)
		if got := bob.state(conv).InDoubt; len(got) != 1 || !got[0].Refused {
			t.Errorf("reopened %v: in doubt: %+v, want the one that was refused", reopened, got)
		}
		if got := bob.decrypt(bob.at(conv), commit); got.Outcome != messages.OutcomeCommit || !got.Own {
			t.Errorf("reopened %v: got %v, own: %v", reopened, got.Outcome, got.Own)
		}
		alice.sync(conv)
		agree(t, conv, alice, bob)
		w.reopen()
		if got := bob.state(conv).InDoubt; len(got) != 0 {
			t.Errorf("in doubt: %+v, want none", got)
		}
		agree(t, conv, alice, bob)
	}
}

// TestThreeInDoubt: a transaction leaves three commits behind in two conversations, one of
// them a join beside the group of a Welcome.
func TestThreeInDoubt(t *testing.T) {
	for name, end := range endings {
		w, alice, bob, welcome, info := rejoining(t)
		bob.create(other)
		tx := bob.begin()
		bob.wipe(bob.in(conv, tx))
		bob.welcomed(bob.in("", tx), welcome)
		bob.joinInDoubt(bob.in("", tx), info)
		ask[messages.MarkedAsChild](t, w.sys, bob.in(other, tx), messages.MarkAsChildOf{Parent: conv})
		wantErrorAs[*messages.CommitInDoubt](t, bob.update(bob.in(other, tx)))
		first := bob.encrypt(bob.in(conv, tx), "first")
		wantErrorAs[*messages.CommitInDoubt](t, bob.update(bob.in(conv, tx)))
		var final []messages.FinalConversation
		switch name {
		case "finish":
			final = bob.finish(tx).Final
		case "abort":
			final = bob.abort(tx).Final
		default:
			end(w, bob, tx)
		}
		if name != "crash" && (len(final) != 3 || slices.ContainsFunc(final, func(f messages.FinalConversation) bool { return f.Merged })) {
			t.Errorf("%s: named %+v, want three in doubt", name, final)
		}
		alice.expectText(conv, first, "first")
		// The service is back, and has the last of them.
		w.service.set(nil)
		w.service.accept(w.service.lastSent())
		w.reopen()
		if got := bob.state(other); got.Parent != conv {
			t.Errorf("%s: child of %q", name, got.Parent)
		}
		bob.sync(conv)
		alice.sync(conv)
		agree(t, conv, alice, bob)
		alice.expectText(conv, bob.encrypt(bob.at(conv), "second"), "second")
	}
}
