package actors

import (
	"context"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/conclave-mls/conclave/messages"
)

// The rows of the table of commits in doubt (doc.go): what happened to the commit,
// and what becomes of it.

var errLost = errors.New("the line went dead")

type hook = func(ctx context.Context, from string, b messages.CommitBundle) (messages.Verdict, error)

// lost answers nothing certain; taken tells whether the service has the commit.
func (w *world) lost(taken bool) hook {
	return func(_ context.Context, _ string, b messages.CommitBundle) (messages.Verdict, error) {
		if taken {
			w.service.accept(b)
		}
		return messages.Verdict{}, errLost
	}
}

func refused(context.Context, string, messages.CommitBundle) (messages.Verdict, error) {
	return messages.Verdict{Kind: messages.VerdictRefused, Reason: "not today"}, nil
}

// pair makes a world with two members of a conversation. A lost commit is not sent
// again by itself within a test.
func pair(t *testing.T, change ...func(*Options)) (w *world, alice, bob *peer) {
	t.Helper()
	w = newWorld(t, append([]func(*Options){func(o *Options) { o.RetryPause = maxResendPause }}, change...)...)
	alice, bob = w.peer("alice"), w.peer("bob")
	alice.create(conv)
	alice.add(conv, bob)
	return w, alice, bob
}

// update commits a fresh path and returns the error.
func (p *peer) update(to messages.Address) error {
	_, err := p.sys.Ask(context.Background(), to, messages.UpdateKeyMaterial{})
	return err
}

// settled fails unless nothing is in flight and the peer is in the epoch.
func (p *peer) expectSettled(id messages.ConversationID, epoch uint64) {
	p.t.Helper()
	got := p.state(id)
	if len(got.InDoubt) != 0 || got.Epoch != epoch {
		p.t.Errorf("%s is in epoch %d with %d commits in flight, want epoch %d and none", p.name, got.Epoch, len(got.InDoubt), epoch)
	}
}

func TestCommitAccepted(t *testing.T) {
	w, alice, bob := pair(t)
	if err := alice.update(alice.at(conv)); err != nil {
		t.Fatal(err)
	}
	alice.expectSettled(conv, 2)
	bob.sync(conv)
	agree(t, conv, alice, bob)
	w.reopen()
	alice.expectSettled(conv, 2)
	agree(t, conv, alice, bob)
}

func TestCommitRefused(t *testing.T) {
	w, alice, bob := pair(t)
	w.service.set(refused)
	got := wantErrorAs[*messages.MessageRejected](t, alice.update(alice.at(conv)))
	if got.Reason != "not today" {
		t.Errorf("reason %q", got.Reason)
	}
	state := alice.state(conv)
	if state.Epoch != 1 || len(state.InDoubt) != 1 || !state.InDoubt[0].Refused {
		t.Errorf("state %+v, want epoch 1 and one refused commit kept", state)
	}
	// It holds up nothing.
	bob.expectText(conv, alice.encrypt(alice.at(conv), "still here"), "still here")
	w.service.set(nil)
	if err := alice.update(alice.at(conv)); err != nil {
		t.Fatal(err)
	}
	alice.expectSettled(conv, 2)
	bob.sync(conv)
	agree(t, conv, alice, bob)
}

func TestCommitNotSent(t *testing.T) {
	w, alice, bob := pair(t)
	w.service.set(func(context.Context, string, messages.CommitBundle) (messages.Verdict, error) {
		return messages.Verdict{Kind: messages.VerdictNotSent, Reason: "offline"}, nil
	})
	wantError(t, alice.update(alice.at(conv)), messages.ErrNotSent)
	alice.expectSettled(conv, 1)
	bob.expectText(conv, alice.encrypt(alice.at(conv), "still here"), "still here")
}

func TestCommitRetried(t *testing.T) {
	w := newWorld(t)
	alice := w.peer("alice")
	alice.create(conv)
	again := 0
	w.service.set(func(_ context.Context, _ string, b messages.CommitBundle) (messages.Verdict, error) {
		if again++; again <= 3 {
			return messages.Verdict{Kind: messages.VerdictRetry}, nil
		}
		return messages.Verdict{}, nil
	})
	if err := alice.update(alice.at(conv)); err != nil {
		t.Fatal(err)
	}
	first := w.service.sent[0]
	for _, b := range w.service.sent {
		if b.Hash != first.Hash {
			t.Error("a retry has other bytes")
		}
	}
	alice.expectSettled(conv, 1)
	again = -1 << 30
	got := wantErrorAs[*messages.MessageRejected](t, alice.update(alice.at(conv)))
	if got == nil || w.service.sends() != 4+maxRetries+1 {
		t.Errorf("%d sends, want the bound of %d", w.service.sends()-4, maxRetries+1)
	}
}

// TestRefusedCommitComesBack: a lost answer and a resend by the network look like a
// refusal. The bytes say otherwise.
func TestRefusedCommitComesBack(t *testing.T) {
	w, alice, bob := pair(t)
	w.service.set(func(ctx context.Context, from string, b messages.CommitBundle) (messages.Verdict, error) {
		w.service.accept(b)
		return refused(ctx, from, b)
	})
	wantErrorAs[*messages.MessageRejected](t, alice.update(alice.at(conv)))
	w.service.set(nil)
	got := alice.decrypt(alice.at(conv), w.service.last(conv).Commit)
	if got.Outcome != messages.OutcomeCommit || !got.Own {
		t.Errorf("got %v, own: %v", got.Outcome, got.Own)
	}
	alice.expectSettled(conv, 2)
	bob.sync(conv)
	agree(t, conv, alice, bob)
	w.reopen()
	agree(t, conv, alice, bob)
}

func TestCommitInDoubt(t *testing.T) {
	// What proves to alice that her commit was accepted.
	proofs := map[string]func(t *testing.T, w *world, alice, bob *peer){
		"own bytes": func(t *testing.T, w *world, alice, bob *peer) {
			if got := alice.decrypt(alice.at(conv), w.service.last(conv).Commit); !got.Own || got.Outcome != messages.OutcomeCommit {
				t.Errorf("got %v, own: %v", got.Outcome, got.Own)
			}
		},
		"GroupInfo": func(t *testing.T, w *world, alice, bob *peer) {
			bob.sync(conv)
			info := ask[messages.GroupInfoExported](t, w.sys, bob.at(conv), messages.ExportGroupInfo{}).GroupInfo
			alice.decrypt(alice.at(conv), info)
		},
		"application message": func(t *testing.T, w *world, alice, bob *peer) {
			bob.sync(conv)
			alice.expectText(conv, bob.encrypt(bob.at(conv), "of the next epoch"), "of the next epoch")
		},
		"proposal": func(t *testing.T, w *world, alice, bob *peer) {
			bob.sync(conv)
			p := ask[messages.ProposalCreated](t, w.sys, bob.at(conv), messages.ProposeUpdate{})
			if got := alice.decrypt(alice.at(conv), p.Message); got.Outcome != messages.OutcomeProposal {
				t.Errorf("got %v", got.Outcome)
			}
			ask[messages.PendingProposalCleared](t, w.sys, bob.at(conv), messages.ClearPendingProposal{Ref: p.Ref})
		},
	}
	for name, proof := range proofs {
		for _, reopened := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				w, alice, bob := pair(t)
				w.service.set(w.lost(true))
				doubt := wantErrorAs[*messages.CommitInDoubt](t, alice.update(alice.at(conv)))
				if doubt.Epoch != 1 || doubt.Hash != w.service.last(conv).Hash {
					t.Errorf("doubt %+v", doubt)
				}
				if reopened {
					w.reopen()
				}
				if got := alice.state(conv); got.Epoch != 1 || len(got.InDoubt) != 1 {
					t.Fatalf("epoch %d with %d in doubt", got.Epoch, len(got.InDoubt))
				}
				// Decrypting goes on in epoch 1.
				alice.expectText(conv, bob.encrypt(bob.at(conv), "meanwhile"), "meanwhile")
				proof(t, w, alice, bob)
				alice.expectSettled(conv, 2)
				w.service.set(nil)
				bob.sync(conv)
				agree(t, conv, alice, bob)
			})
		}
	}
}

func TestAnothersCommitWins(t *testing.T) {
	for _, reopened := range []bool{false, true} {
		w, alice, bob := pair(t)
		w.service.set(w.lost(false))
		wantErrorAs[*messages.CommitInDoubt](t, alice.update(alice.at(conv)))
		w.service.set(nil)
		if err := bob.update(bob.at(conv)); err != nil {
			t.Fatal(err)
		}
		if reopened {
			w.service.set(w.lost(false))
			w.reopen()
		}
		alice.sync(conv)
		alice.expectSettled(conv, 2)
		agree(t, conv, alice, bob)
	}
}

// TestWaitingCommitIsBeaten: another member's commit comes while the verdict is out.
func TestWaitingCommitIsBeaten(t *testing.T) {
	w, alice, bob := pair(t)
	arrived, answer := make(chan messages.CommitBundle), make(chan messages.Verdict)
	w.service.set(func(_ context.Context, from string, b messages.CommitBundle) (messages.Verdict, error) {
		if from != "alice" {
			return messages.Verdict{}, nil
		}
		arrived <- b
		return <-answer, nil
	})
	result := make(chan error, 1)
	go func() { result <- alice.update(alice.at(conv)) }()
	<-arrived
	if err := bob.update(bob.at(conv)); err != nil {
		t.Fatal(err)
	}
	alice.sync(conv)
	wantErrorAs[*messages.MessageRejected](t, <-result)
	answer <- messages.Verdict{Kind: messages.VerdictRefused, Reason: "late"}
	alice.expectSettled(conv, 2)
	agree(t, conv, alice, bob)
}

// TestEchoBeforeVerdict: the own commit comes back before the answer to sending it.
func TestEchoBeforeVerdict(t *testing.T) {
	w, alice, bob := pair(t)
	if e := <-alice.events; e.Epoch != 1 {
		t.Errorf("event of epoch %d, want that of adding bob", e.Epoch)
	}
	w.service.set(func(ctx context.Context, _ string, b messages.CommitBundle) (messages.Verdict, error) {
		w.service.accept(b)
		alice.decrypt(alice.at(conv), b.Commit)
		return messages.Verdict{Kind: messages.VerdictAccepted}, nil
	})
	if err := alice.update(alice.at(conv)); err != nil {
		t.Fatal(err)
	}
	alice.expectSettled(conv, 2)
	if e := <-alice.events; e.Epoch != 2 {
		t.Errorf("event of epoch %d, want 2", e.Epoch)
	}
	bob.sync(conv)
	agree(t, conv, alice, bob)
	w.stop()
	if n := len(alice.events); n != 0 {
		t.Errorf("%d more events for one change of epoch", n)
	}
}

// TestReopenSettles: after a restart the same bytes go out again, whatever the
// service knows of the first copy.
func TestReopenSettles(t *testing.T) {
	for _, tc := range []struct {
		name   string
		taken  bool // the service has the first copy
		beaten bool // it has another commit instead
	}{{"accepted", true, false}, {"never arrived", false, false}, {"refused", false, true}} {
		t.Run(tc.name, func(t *testing.T) {
			w, alice, bob := pair(t)
			w.service.set(w.lost(tc.taken))
			wantErrorAs[*messages.CommitInDoubt](t, alice.update(alice.at(conv)))
			first := w.service.lastSent()
			w.service.set(nil)
			if tc.beaten {
				if err := bob.update(bob.at(conv)); err != nil {
					t.Fatal(err)
				}
			}
			w.options.RetryPause = 1
			w.stop()
			w.start()
			w.service.setStatus(func(hash [32]byte) (messages.Verdict, error) {
				if tc.beaten {
					return messages.Verdict{Kind: messages.VerdictRefused, Reason: "beaten"}, nil
				}
				return messages.Verdict{Kind: messages.VerdictRetry}, nil
			})
			ready := alice.open()
			bob.open()
			if len(ready.InDoubt) != 1 || ready.InDoubt[0].Hash != first.Hash {
				t.Fatalf("opened with %v in doubt", ready.InDoubt)
			}
			// A step that sends waits for one resend, and then goes on.
			if tc.beaten {
				alice.sync(conv)
			}
			alice.encryptWhenSettled()
			bob.sync(conv)
			alice.expectSettled(conv, 2)
			agree(t, conv, alice, bob)
			if sent := w.service.lastSent(); !tc.beaten && (sent.Hash != first.Hash || sha256.Sum256(sent.Commit) != first.Hash) {
				t.Error("the resend has other bytes")
			}
		})
	}
}

// encryptWhenSettled encrypts, which settles first. The service answers at once, so
// one try is enough unless a resend was under way already; then the next one is.
func (p *peer) encryptWhenSettled() {
	p.t.Helper()
	var err error
	for range 100 {
		if err = p.try(p.at(conv), messages.EncryptMessage{Plaintext: []byte("settled")}); err == nil {
			return
		}
		var doubt *messages.CommitInDoubt
		if !errors.As(err, &doubt) {
			break
		}
	}
	p.t.Fatalf("encrypting: %v", err)
}

// TestStaleAnswerToResendSettlesNothing: the service took the first copy and calls
// the second one stale.
func TestStaleAnswerToResendSettlesNothing(t *testing.T) {
	w, alice, bob := pair(t)
	w.service.set(w.lost(true))
	wantErrorAs[*messages.CommitInDoubt](t, alice.update(alice.at(conv)))
	w.service.set(refused)
	err := alice.try(alice.at(conv), messages.EncryptMessage{Plaintext: []byte("x")})
	wantErrorAs[*messages.CommitInDoubt](t, err)
	if got := alice.state(conv); len(got.InDoubt) != 1 || got.InDoubt[0].Refused {
		t.Errorf("in doubt: %+v, want the commit as it was", got.InDoubt)
	}
	alice.decrypt(alice.at(conv), w.service.last(conv).Commit)
	bob.sync(conv)
	agree(t, conv, alice, bob)
}

func TestInDoubtHoldsUpSending(t *testing.T) {
	w, alice, _ := pair(t)
	w.service.set(w.lost(false))
	wantErrorAs[*messages.CommitInDoubt](t, alice.update(alice.at(conv)))
	for _, r := range []messages.Request{
		messages.EncryptMessage{Plaintext: []byte("x")}, messages.ProposeUpdate{}, messages.UpdateKeyMaterial{},
		messages.ProposeRemove{ClientID: "bob"}, messages.CommitPendingProposals{}, messages.RemoveMembers{ClientIDs: []messages.ClientID{"bob"}},
	} {
		wantErrorAs[*messages.CommitInDoubt](t, alice.try(alice.at(conv), r))
	}
	hashes := make(map[[32]byte]bool)
	for _, b := range w.service.sent[1:] {
		hashes[b.Hash] = true
	}
	if len(hashes) != 1 {
		t.Errorf("%d commits were sent while one was in doubt, want that one only", len(hashes))
	}
	if got := ask[messages.InDoubtDropped](t, w.sys, alice.at(conv), messages.DropInDoubt{}); got.Count != 1 {
		t.Errorf("dropped %d commits, want 1", got.Count)
	}
	w.service.set(nil)
	if err := alice.update(alice.at(conv)); err != nil {
		t.Fatal(err)
	}
	alice.expectSettled(conv, 2)
}

func TestExternalJoin(t *testing.T) {
	setup := func(t *testing.T) (w *world, alice, carol *peer, info []byte) {
		w, alice, _ = pair(t)
		carol = w.peer("carol")
		return w, alice, carol, ask[messages.GroupInfoExported](t, w.sys, alice.at(conv), messages.ExportGroupInfo{}).GroupInfo
	}
	join := func(p *peer, info []byte) error {
		_, err := p.sys.Ask(context.Background(), p.at(""), messages.JoinByExternalCommit{GroupInfo: info})
		return err
	}
	t.Run("accepted", func(t *testing.T) {
		w, alice, carol, info := setup(t)
		if err := join(carol, info); err != nil {
			t.Fatal(err)
		}
		carol.expectSettled(conv, 2)
		alice.sync(conv)
		agree(t, conv, alice, carol)
		w.reopen()
		carol.expectText(conv, alice.encrypt(alice.at(conv), "hello"), "hello")
		alice.expectText(conv, carol.encrypt(carol.at(conv), "hello"), "hello")
	})
	t.Run("refused", func(t *testing.T) {
		w, _, carol, info := setup(t)
		w.service.set(refused)
		wantErrorAs[*messages.MessageRejected](t, join(carol, info))
		if got := carol.state(conv); got.Exists || len(got.InDoubt) != 0 {
			t.Errorf("state %+v, want nothing", got)
		}
		w.service.set(nil)
		if err := join(carol, info); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("refused, then a Welcome", func(t *testing.T) {
		w, alice, carol, info := setup(t)
		w.service.set(refused)
		wantErrorAs[*messages.MessageRejected](t, join(carol, info))
		w.service.set(nil)
		alice.add(conv, carol)
		agree(t, conv, alice, carol)
	})
	t.Run("in doubt, own bytes", func(t *testing.T) {
		w, alice, carol, info := setup(t)
		w.service.set(w.lost(true))
		doubt := wantErrorAs[*messages.CommitInDoubt](t, join(carol, info))
		if !doubt.Join {
			t.Error("the doubt does not say that it is a join")
		}
		alice.sync(conv)
		early := alice.encrypt(alice.at(conv), "early")
		w.reopen()
		carol.decrypt(carol.at(conv), w.service.last(conv).Commit)
		carol.expectSettled(conv, 2)
		agree(t, conv, alice, carol)
		carol.expectText(conv, early, "early")
	})
	t.Run("in doubt, message of the next epoch", func(t *testing.T) {
		for _, reopened := range []bool{false, true} {
			w, alice, carol, info := setup(t)
			w.service.set(w.lost(true))
			wantErrorAs[*messages.CommitInDoubt](t, join(carol, info))
			if reopened {
				w.reopen()
			}
			before := alice.encrypt(alice.at(conv), "of the epoch before")
			alice.sync(conv)
			if got := carol.decrypt(carol.at(conv), before); got.Outcome != messages.OutcomeUnmergedPendingGroup {
				t.Errorf("got %v", got.Outcome)
			}
			carol.expectText(conv, alice.encrypt(alice.at(conv), "hello"), "hello")
			carol.expectSettled(conv, 2)
			agree(t, conv, alice, carol)
		}
	})
	t.Run("in doubt, GroupInfo", func(t *testing.T) {
		w, alice, carol, info := setup(t)
		w.service.set(w.lost(true))
		wantErrorAs[*messages.CommitInDoubt](t, join(carol, info))
		alice.sync(conv)
		carol.decrypt(carol.at(conv), ask[messages.GroupInfoExported](t, w.sys, alice.at(conv), messages.ExportGroupInfo{}).GroupInfo)
		carol.expectSettled(conv, 2)
		agree(t, conv, alice, carol)
	})
	t.Run("in doubt, then a new join", func(t *testing.T) {
		w, alice, carol, info := setup(t)
		w.service.set(w.lost(false))
		wantErrorAs[*messages.CommitInDoubt](t, join(carol, info))
		w.service.set(nil)
		if err := join(carol, info); err != nil {
			t.Fatal(err)
		}
		carol.expectSettled(conv, 2)
		alice.sync(conv)
		agree(t, conv, alice, carol)
	})
	t.Run("in doubt, then a Welcome", func(t *testing.T) {
		w, alice, carol, info := setup(t)
		w.service.set(w.lost(false))
		wantErrorAs[*messages.CommitInDoubt](t, join(carol, info))
		w.service.set(func(_ context.Context, from string, _ messages.CommitBundle) (messages.Verdict, error) {
			if from == "carol" {
				return messages.Verdict{}, errLost
			}
			return messages.Verdict{}, nil
		})
		alice.add(conv, carol)
		carol.expectSettled(conv, 2)
		agree(t, conv, alice, carol)
	})
	t.Run("in doubt, then a wipe", func(t *testing.T) {
		w, _, carol, info := setup(t)
		w.service.set(w.lost(false))
		wantErrorAs[*messages.CommitInDoubt](t, join(carol, info))
		ask[messages.ConversationWiped](t, w.sys, carol.at(conv), messages.WipeConversation{})
		if got := carol.state(conv); got.Exists || len(got.InDoubt) != 0 {
			t.Errorf("state %+v, want nothing", got)
		}
	})
	t.Run("beside an older group", func(t *testing.T) {
		w, alice, bob := pair(t)
		info := ask[messages.GroupInfoExported](t, w.sys, alice.at(conv), messages.ExportGroupInfo{}).GroupInfo
		w.service.set(w.lost(true))
		wantErrorAs[*messages.CommitInDoubt](t, join(bob, info))
		// The older group lives on, and can send.
		bob.expectText(conv, alice.encrypt(alice.at(conv), "to the old group"), "to the old group")
		alice.expectText(conv, bob.encrypt(bob.at(conv), "from the old group"), "from the old group")
		w.reopen()
		bob.expectText(conv, alice.encrypt(alice.at(conv), "again"), "again")
		bob.decrypt(bob.at(conv), w.service.last(conv).Commit)
		alice.sync(conv)
		bob.expectSettled(conv, 2)
		agree(t, conv, alice, bob)
		w.reopen()
		agree(t, conv, alice, bob)
		if n := len(ask[messages.MembersListed](t, w.sys, alice.at(conv), messages.ListMembers{}).Members); n != 2 {
			t.Errorf("%d members after a rejoin, want 2", n)
		}
	})
}

// TestTwoInDoubt: a join that nobody will ever accept does not keep a commit of the
// older group from being settled.
func TestTwoInDoubt(t *testing.T) {
	w, alice, bob := pair(t)
	info := ask[messages.GroupInfoExported](t, w.sys, alice.at(conv), messages.ExportGroupInfo{}).GroupInfo
	w.service.set(w.lost(false))
	wantErrorAs[*messages.CommitInDoubt](t, bob.try(bob.at(""), messages.JoinByExternalCommit{GroupInfo: info}))
	wantErrorAs[*messages.CommitInDoubt](t, bob.update(bob.at(conv)))
	w.service.set(func(_ context.Context, _ string, b messages.CommitBundle) (messages.Verdict, error) {
		if b.Welcome == nil && b.Hash == w.service.sent[1].Hash {
			return messages.Verdict{}, errLost
		}
		return messages.Verdict{}, nil
	})
	bob.encryptWhenSettled()
	if got := bob.state(conv); got.Epoch != 2 || len(got.InDoubt) != 1 || !got.InDoubt[0].Join {
		t.Errorf("epoch %d, in doubt %+v; want epoch 2 and the join", got.Epoch, got.InDoubt)
	}
	alice.sync(conv)
	agree(t, conv, alice, bob)
}
