package actors

import (
	"bytes"
	"testing"

	"github.com/conclave-mls/conclave/internal/secret"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// TestProfileRFC9420 runs tests of other files once more in the other profile, where
// members' proposals and commits are encrypted and use up own generations.
func TestProfileRFC9420(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"TwoClientsTalk": TestTwoClientsTalk, "ReopenBetweenSteps": TestReopenBetweenSteps,
		"CommitAccepted": TestCommitAccepted, "CommitRefused": TestCommitRefused, "CommitNotSent": TestCommitNotSent,
		"RefusedCommitComesBack": TestRefusedCommitComesBack, "CommitInDoubt": TestCommitInDoubt,
		"AnothersCommitWins": TestAnothersCommitWins, "WaitingCommitIsBeaten": TestWaitingCommitIsBeaten,
		"EchoBeforeVerdict": TestEchoBeforeVerdict, "ReopenSettles": TestReopenSettles,
		"StaleAnswerToResend": TestStaleAnswerToResendSettlesNothing, "InDoubtHoldsUpSending": TestInDoubtHoldsUpSending,
		"ExternalJoin": TestExternalJoin, "AbortBurnsGenerations": TestAbortBurnsGenerations,
		"CommitInTransaction": TestCommitInTransaction, "CrashWhileSending": TestCrashWhileSending,
		"Callback": TestCallback, "CallbackLosesRace": TestCallbackLosesRace, "StoreFails": TestStoreFails,
		"FutureMessages": TestFutureMessagesAreKept, "Replay": TestReplay, "CommitBeforeProposals": TestCommitBeforeItsProposals,
	} {
		t.Run(name, test)
	}
}

// rfcPair is a pair in the profile in which a signature key may change.
func rfcPair(t *testing.T) (w *world, alice, bob *peer) {
	t.Helper()
	w = newWorld(t, func(o *Options) { o.RetryPause = maxResendPause })
	w.profile = messages.ProfileRFC9420
	alice, bob = w.peer("alice"), w.peer("bob")
	alice.create(conv)
	alice.add(conv, bob)
	return w, alice, bob
}

// TestHandshakeGenerations: private proposals and commits of transactions that come
// to nothing use no generation twice.
func TestHandshakeGenerations(t *testing.T) {
	w, alice, bob := rfcPair(t)
	var sent [][]byte
	for range 3 {
		tx := alice.begin()
		for range 2 {
			sent = append(sent, ask[messages.ProposalCreated](t, w.sys, alice.in(conv, tx), messages.ProposeUpdate{}).Message)
		}
		w.service.set(refused)
		wantErrorAs[*messages.MessageRejected](t, alice.update(alice.in(conv, tx)))
		sent = append(sent, w.service.lastSent().Commit)
		sent = append(sent, ask[messages.ProposalCreated](t, w.sys, alice.in(conv, tx), messages.ProposeUpdate{}).Message)
		alice.abort(tx)
		wantErrorAs[*messages.MessageRejected](t, alice.update(alice.at(conv)))
		sent = append(sent, w.service.lastSent().Commit)
		w.sys.passivate(0)
	}
	// Bob reads all but the last commits in a transaction of their own, so that he
	// stays in the epoch; a key that was used twice would refuse.
	for i, m := range sent {
		tx := bob.begin()
		if err := bob.try(bob.in(conv, tx), messages.DecryptMessage{Message: m}); err != nil {
			t.Errorf("message %d: %v", i, err)
		}
		if got := ask[messages.ConversationRead](t, w.sys, bob.in(conv, tx), messages.ReadConversation{}); got.Epoch == 1 && len(got.PendingProposals) > 0 {
			bob.finish(tx)
		} else {
			bob.abort(tx)
		}
	}
	seen := make(map[string]int)
	for i, m := range sent {
		if j, ok := seen[string(m)]; ok {
			t.Errorf("messages %d and %d are the same", i, j)
		}
		seen[string(m)] = i
	}
}

func TestSetCredential(t *testing.T) {
	for _, tc := range []struct {
		name   string
		staged bool // the credential is added by the same transaction, which is aborted
		lost   bool
	}{{"plain", false, false}, {"staged with it", true, false}, {"staged with it, in doubt", true, true}} {
		t.Run(tc.name, func(t *testing.T) {
			w, alice, bob := rfcPair(t)
			old := alice.state(conv).SignatureKey
			to := alice.at("")
			if tc.staged {
				to.Transaction = alice.begin()
			}
			added := ask[messages.CredentialAdded](t, w.sys, to, messages.AddCredential{CipherSuite: 1}).Credential
			if tc.lost {
				w.service.set(w.lost(true))
			}
			err := alice.try(alice.in(conv, to.Transaction), messages.SetCredential{Credential: added.Ref})
			if tc.lost {
				wantErrorAs[*messages.CommitInDoubt](t, err)
			} else if err != nil {
				t.Fatal(err)
			}
			if tc.staged {
				alice.abort(to.Transaction)
			}
			w.reopen()
			// The old one is free once the new one is in the leaf; the new one never is.
			remove := func(key []byte) error {
				return alice.try(alice.at(""), messages.RemoveCredential{Ref: refOf(key)})
			}
			wantErrorAs[*messages.CredentialInUse](t, remove(added.SignatureKey))
			if tc.lost {
				wantErrorAs[*messages.CredentialInUse](t, remove(old))
				w.service.set(nil)
				alice.encryptWhenSettled()
			}
			if got := alice.state(conv).SignatureKey; !bytes.Equal(got, added.SignatureKey) {
				t.Error("the leaf has another key than that of the new credential")
			}
			bob.sync(conv)
			agree(t, conv, alice, bob)
			bob.expectText(conv, alice.encrypt(alice.at(conv), "signed with the new key"), "signed with the new key")
			wantErrorAs[*messages.CredentialInUse](t, remove(added.SignatureKey))
			if err := remove(old); err != nil {
				t.Errorf("removing the old credential: %v", err)
			}
			bob.expectText(conv, alice.encrypt(alice.at(conv), "again"), "again")
		})
	}
}

// TestRefusedRotationFreesCredential: a credential that a refused commit would have
// brought in is in use until the epoch ends, as the refusal may be a mistake.
func TestRefusedRotationFreesCredential(t *testing.T) {
	w, alice, bob := rfcPair(t)
	added := ask[messages.CredentialAdded](t, w.sys, alice.at(""), messages.AddCredential{CipherSuite: 1}).Credential
	w.service.set(refused)
	wantErrorAs[*messages.MessageRejected](t, alice.try(alice.at(conv), messages.SetCredential{Credential: added.Ref}))
	remove := func() error { return alice.try(alice.at(""), messages.RemoveCredential{Ref: added.Ref}) }
	wantErrorAs[*messages.CredentialInUse](t, remove())
	w.service.set(nil)
	if err := bob.update(bob.at(conv)); err != nil {
		t.Fatal(err)
	}
	alice.sync(conv)
	if err := remove(); err != nil {
		t.Errorf("removing it in the next epoch: %v", err)
	}
}

// TestPSK: a commit and a Welcome that need an external pre-shared key find it in the
// store, or among what their transaction has staged.
func TestPSK(t *testing.T) {
	w, alice, bob := rfcPair(t)
	psk := messages.PutPSK{ID: []byte("the id"), PSK: secret.Bytes("the key")}
	ask[messages.PSKPut](t, w.sys, alice.at(""), psk)
	carol := w.peer("carol")
	proposed := ask[messages.ProposalCreated](t, w.sys, alice.at(conv), messages.ProposePSK{ID: psk.ID})
	bob.decrypt(bob.at(conv), proposed.Message)
	ask[messages.CommitMerged](t, w.sys, alice.at(conv), messages.AddMembers{KeyPackages: [][]byte{carol.keyPackage()}})
	bundle := w.service.last(conv)

	err := bob.try(bob.at(conv), messages.DecryptMessage{Message: bundle.Commit})
	missing := wantErrorAs[*mlsgroup.PSKError](t, err)
	if missing != nil && !bytes.Equal(missing.ID.ExternalID, psk.ID) {
		t.Errorf("missing %q", missing.ID.ExternalID)
	}
	tx := bob.begin()
	ask[messages.PSKPut](t, w.sys, bob.in("", tx), psk)
	bob.decrypt(bob.in(conv, tx), bundle.Commit)
	bob.finish(tx)
	agree(t, conv, alice, bob)

	wantErrorAs[*mlsgroup.PSKError](t, carol.try(carol.at(""), messages.ProcessWelcome{Message: bundle.Welcome}))
	tx = carol.begin()
	ask[messages.PSKPut](t, w.sys, carol.in("", tx), psk)
	ask[messages.ConversationJoined](t, w.sys, carol.in("", tx), messages.ProcessWelcome{Message: bundle.Welcome})
	ask[messages.PSKDeleted](t, w.sys, carol.in("", tx), messages.DeletePSK{ID: psk.ID})
	carol.finish(tx)
	agree(t, conv, alice, carol)
}
