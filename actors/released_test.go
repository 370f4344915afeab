package actors

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/internal/secret"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// texts returns the plaintexts in a list of what was released.
func texts(list []messages.Released) (found []string) {
	for _, r := range list {
		if r.Message.Outcome == messages.OutcomeText {
			found = append(found, string(r.Message.Plaintext))
		}
		found = append(found, texts(r.Message.Released)...)
	}
	return found
}

// TestReleasedInTheBackground lets a join be settled by nobody's call while a commit of
// proposals that have not come is kept, and a text behind it. The event of the settlement
// tells what became of the commit; where nobody hears it the commit is kept on, also
// through the end of the engine. The proposal brings out both.
func TestReleasedInTheBackground(t *testing.T) {
	for _, c := range []struct{ hears, reopened bool }{{true, false}, {false, false}, {false, true}} {
		t.Run(fmt.Sprintf("hears=%v, reopened=%v", c.hears, c.reopened), func(t *testing.T) {
			w := newWorld(t, func(o *Options) { o.RetryPause = 1 })
			alice, bob := w.peer("alice"), w.peer("bob")
			alice.create(conv)
			settled := make(chan messages.CommitSettled, 1)
			if c.hears {
				ask[messages.ClientReady](t, w.sys, messages.Address{}, messages.InitClient{
					ClientID: "bob", Transport: &connection{w.service, "bob"},
					Observer: messages.Observer{
						EpochChanged:  func(e messages.EpochChanged) { bob.events <- e },
						CommitSettled: func(s messages.CommitSettled) { settled <- s },
					},
				})
			}
			info := ask[messages.GroupInfoExported](t, w.sys, alice.at(conv), messages.ExportGroupInfo{}).GroupInfo
			w.service.set(func(ctx context.Context, from string, b messages.CommitBundle) (messages.Verdict, error) {
				if from == "bob" {
					return w.lost(true)(ctx, from, b)
				}
				return messages.Verdict{}, nil
			})
			wantErrorAs[*messages.CommitInDoubt](t, bob.try(bob.at(""), messages.JoinByExternalCommit{GroupInfo: info}))
			alice.sync(conv)
			proposal := ask[messages.ProposalCreated](t, w.sys, alice.at(conv), messages.ProposeAdd{KeyPackage: w.peer("carol").keyPackage()})
			ask[messages.CommitMerged](t, w.sys, alice.at(conv), messages.CommitPendingProposals{})
			for _, m := range [][]byte{alice.encrypt(alice.at(conv), "kept"), w.service.last(conv).Commit} {
				if got := bob.decrypt(bob.at(conv), m).Outcome; got != messages.OutcomeUnmergedPendingGroup {
					t.Fatalf("got %v before the join is settled", got)
				}
			}
			w.service.set(nil)
			bob.awaitEpoch(1)
			if c.hears {
				s := <-settled
				if !s.Accepted || len(s.Released) != 1 || s.Released[0].Message.Outcome != messages.OutcomeBufferedCommit {
					t.Errorf("the event has %v", s.Released)
				}
			}
			if c.reopened {
				w.reopen()
			}
			got := bob.decrypt(bob.at(conv), proposal.Message)
			if found := texts(got.Released); len(found) == 0 || found[0] != "kept" {
				t.Errorf("released %q, want the text that was kept", found)
			}
			if got.Epoch != 2 {
				t.Errorf("epoch %d in the answer, want 2", got.Epoch)
			}
			bob.expectText(conv, alice.encrypt(alice.at(conv), "after"), "after")
			agree(t, conv, alice, bob)
		})
	}
}

// TestReleasedToWhoHeard lets a join be settled by nobody's call while a commit is kept, and
// opens the client again with an observer that does not hear of settlements before the event
// is told. What was released with it is kept no more, so who heard before is told.
func TestReleasedToWhoHeard(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.RetryPause = 1 })
	alice, bob := w.peer("alice"), w.peer("bob")
	alice.create(conv)
	settled := make(chan messages.CommitSettled, 1)
	open := messages.InitClient{ClientID: "bob", Transport: &connection{w.service, "bob"}}
	again := open
	open.Observer = messages.Observer{
		// It comes before the settlement, and holds that up.
		EpochChanged: func(messages.EpochChanged) {
			if _, err := w.sys.Ask(context.Background(), messages.Address{}, again); err != nil {
				t.Error(err)
			}
		},
		CommitSettled: func(s messages.CommitSettled) { settled <- s },
	}
	ask[messages.ClientReady](t, w.sys, messages.Address{}, open)
	info := ask[messages.GroupInfoExported](t, w.sys, alice.at(conv), messages.ExportGroupInfo{}).GroupInfo
	w.service.set(func(ctx context.Context, from string, b messages.CommitBundle) (messages.Verdict, error) {
		if from == "bob" {
			return w.lost(true)(ctx, from, b)
		}
		return messages.Verdict{}, nil
	})
	wantErrorAs[*messages.CommitInDoubt](t, bob.try(bob.at(""), messages.JoinByExternalCommit{GroupInfo: info}))
	alice.sync(conv)
	ask[messages.ProposalCreated](t, w.sys, alice.at(conv), messages.ProposeAdd{KeyPackage: w.peer("carol").keyPackage()})
	ask[messages.CommitMerged](t, w.sys, alice.at(conv), messages.CommitPendingProposals{})
	if got := bob.decrypt(bob.at(conv), w.service.last(conv).Commit).Outcome; got != messages.OutcomeUnmergedPendingGroup {
		t.Fatalf("got %v before the join is settled", got)
	}
	w.service.set(nil)
	select {
	case s := <-settled:
		if !s.Accepted || len(s.Released) != 1 || s.Released[0].Message.Outcome != messages.OutcomeBufferedCommit {
			t.Errorf("the event has %v", s.Released)
		}
	case <-time.After(time.Minute):
		t.Fatal("nobody is told what was released")
	}
}

// TestReleasedWithAnError lets a message prove that a join was accepted, when its first copy
// is kept and takes the group on: the second one fails, and the answer has what was released
// all the same.
func TestReleasedWithAnError(t *testing.T) {
	w, alice, _ := pair(t)
	signer, err := mlsgroup.NewSigner(w.options.Rand, 1, mlsgroup.BasicCredential([]byte("carol")))
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := mlsgroup.NewKeyPackage(w.sys.input(signer), mlsgroup.KeyPackageOptions{Profile: mlsgroup.ProfileWire})
	if err != nil {
		t.Fatal(err)
	}
	ask[messages.CommitMerged](t, w.sys, alice.at(conv), messages.AddMembers{KeyPackages: [][]byte{bundle.KeyPackage.Marshal()}})
	welcome, err := readWelcome(w.service.last(conv).Welcome)
	if err != nil {
		t.Fatal(err)
	}
	carol, err := mlsgroup.Join(w.sys.input(signer), welcome, mlsgroup.JoinOptions{KeyPackage: bundle, Profile: mlsgroup.ProfileWire})
	if err != nil {
		t.Fatal(err)
	}
	dave := w.peer("dave")
	info := ask[messages.GroupInfoExported](t, w.sys, alice.at(conv), messages.ExportGroupInfo{}).GroupInfo
	w.service.set(w.lost(true))
	wantErrorAs[*messages.CommitInDoubt](t, dave.try(dave.at(""), messages.JoinByExternalCommit{GroupInfo: info}))
	if carol, err = carol.Next.Process(w.sys.input(signer), w.service.last(conv).Commit); err != nil {
		t.Fatal(err)
	}
	in := w.sys.input(signer)
	in.PSK = func(mlsgroup.PreSharedKeyID) (secret.Bytes, bool) { return secret.Bytes("key"), true }
	own, err := carol.Next.Commit(in, mlsgroup.CommitOptions{Proposals: []mlsgroup.Proposal{{
		Type:         mlsgroup.ProposalTypePreSharedKey,
		PreSharedKey: &mlsgroup.PreSharedKey{PSK: mlsgroup.PreSharedKeyID{Type: mlsgroup.PSKTypeExternal, ExternalID: []byte("id")}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := dave.decrypt(dave.at(conv), own.Bundle.Commit).Outcome; got != messages.OutcomeUnmergedPendingGroup {
		t.Fatalf("got %v without the key", got)
	}
	ask[messages.PSKPut](t, w.sys, dave.at(""), messages.PutPSK{ID: []byte("id"), PSK: []byte("key")})
	got := dave.decrypt(dave.at(conv), own.Bundle.Commit)
	if !got.Own || got.Epoch != 4 || len(got.Released) != 2 || got.Released[0].Message.Outcome != messages.OutcomeCommit {
		t.Fatalf("got %v of epoch %d with %v released", got.Outcome, got.Epoch, got.Released)
	}
	wantError(t, got.Released[1].Err, messages.ErrDuplicateMessage)
}
