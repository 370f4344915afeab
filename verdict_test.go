package conclave_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// commitCalls are the calls that commit.
var commitCalls = map[string]func(r *room) error{
	"AddMembers": func(r *room) error {
		_, err := r.bob.AddMembers(r.t.Context(), "room", newCoreMember(r.t, "eve").bundle.KeyPackage.Marshal())
		return err
	},
	"RemoveMembers": func(r *room) error {
		_, err := r.bob.RemoveMembers(r.t.Context(), "room", "tom")
		return err
	},
	"UpdateKeyMaterial": func(r *room) error {
		_, err := r.bob.UpdateKeyMaterial(r.t.Context(), "room")
		return err
	},
	"CommitPendingProposals": func(r *room) error {
		_, err := r.bob.CommitPendingProposals(r.t.Context(), "room")
		return err
	},
	"in a transaction": func(r *room) error {
		return r.bob.Transaction(r.t.Context(), func(tx *conclave.Tx) error {
			_, err := tx.UpdateKeyMaterial(r.t.Context(), "room")
			return err
		})
	},
}

// TestVerdicts sends every kind of commit, with a proposal of ada's and one of bob's waiting, and answers it in every way.
func TestVerdicts(t *testing.T) {
	retry := 0
	for _, tc := range []struct {
		name    string
		verdict func(context.Context, conclave.CommitBundle) (conclave.Verdict, error)
		code    conclave.Code // "": it is merged
		doubts  int
	}{
		{"accepted", nil, "", 0},
		{"refused", refusedVerdict, conclave.CodeMessageRejected, 1},
		{"not sent", notSentVerdict, conclave.CodeNotSent, 0},
		{"unknown", noVerdict, conclave.CodeCommitInDoubt, 1},
		{"retry", func(context.Context, conclave.CommitBundle) (conclave.Verdict, error) {
			if retry++; retry%3 != 0 {
				return conclave.Verdict{Kind: conclave.VerdictRetry}, nil
			}
			return conclave.Verdict{Kind: conclave.VerdictAccepted}, nil
		}, "", 0},
	} {
		for name, call := range commitCalls {
			t.Run(tc.name+"/"+name, func(t *testing.T) {
				r := newRoom(t, conclave.ClientOptions{})
				if tc.name == "retry" {
					r.pause = 1
					r.reopen()
				}
				add := r.decrypt(r.ada.propose(addOf(newCoreMember(t, "kim").bundle.KeyPackage), public)).Proposal
				own, err := r.bob.Conversation("room").ProposeUpdate(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				r.ada.read(own.Message)
				r.verdict = tc.verdict
				err = call(r)
				b := r.last()
				state, stateErr := r.bob.Conversation("room").State(t.Context())
				if stateErr != nil {
					t.Fatal(stateErr)
				}
				if b.Epoch != 1 || b.GroupInfo == nil || b.Welcome == nil || b.Conversation != "room" {
					t.Errorf("the bundle is not whole: epoch %d, GroupInfo %t, Welcome %t", b.Epoch, b.GroupInfo != nil, b.Welcome != nil)
				}
				if !refersTo(t, b.Commit, add) {
					t.Error("ada's proposal is not in it")
				}
				if len(state.InDoubt) != tc.doubts {
					t.Errorf("%d commits in flight, want %d", len(state.InDoubt), tc.doubts)
				}
				if tc.code == "" {
					if err != nil || state.Epoch != 2 || len(state.PendingProposals) != 0 {
						t.Errorf("epoch %d with %d pending, %v", state.Epoch, len(state.PendingProposals), err)
					}
					r.ada.read(b.Commit)
					r.agree()
					return
				}
				wantCode(t, err, tc.code)
				if state.Epoch != 1 || len(state.PendingProposals) != 2 {
					t.Errorf("epoch %d with %d pending, want 1 with both proposals", state.Epoch, len(state.PendingProposals))
				}
				textOf("meanwhile")(t, r.decrypt(withoutPending(r.ada).say("meanwhile")))
				// Another's commit ends it all.
				winner := withoutPending(r.ada)
				got := r.decrypt(winner.commitAs(mlsgroup.CommitOptions{WireFormat: public}).Commit)
				if got.Outcome != conclave.OutcomeCommit || len(got.Discarded) != 1 || !bytes.Equal(got.Discarded[0], own.Ref) {
					t.Errorf("%v, %d own proposals discarded", got.Outcome, len(got.Discarded))
				}
				*r.ada = *winner
				r.agree()
				if state, err := r.bob.Conversation("room").State(t.Context()); err != nil || len(state.InDoubt) != 0 {
					t.Errorf("%d commits in flight, %v", len(state.InDoubt), err)
				}
			})
		}
	}
}

// refersTo tells whether a public commit carries out a proposal.
func refersTo(t *testing.T, commit []byte, ref conclave.ProposalRef) bool {
	t.Helper()
	c, err := mlsgroup.ParseMLSMessage(commit)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(c.PublicMessage.Content.Commit.Proposals, func(p mlsgroup.ProposalOrRef) bool { return bytes.Equal(p.Reference, ref) })
}

// withoutPending is a member as it would be without the proposals that wait.
func withoutPending(m *coreMember) *coreMember {
	m.t.Helper()
	other := *m
	pending, err := m.g.PendingProposals()
	m.must(err)
	for _, p := range pending {
		other.follow(other.g.DropProposal(p.Ref))
	}
	return &other
}

// TestRollbackLeavesNoTrace: a transaction that ends with an error leaves everything as it was, but for the own generations it has handed out.
func TestRollbackLeavesNoTrace(t *testing.T) {
	errStop := errors.New("stop")
	for name, work := range map[string]func(r *room, tx *conclave.Tx) error{
		"messages": func(r *room, tx *conclave.Tx) error {
			text, p := r.ada.say("text"), r.ada.propose(removeOf(tomsLeaf), public)
			c := r.ada.commit().Commit
			for _, m := range [][]byte{r.ada.say("early"), text, p, c} {
				if _, err := tx.DecryptMessage(r.t.Context(), "room", m); err != nil {
					return err
				}
			}
			return nil
		},
		"a commit that removes bob": func(r *room, tx *conclave.Tx) error {
			_, err := tx.DecryptMessage(r.t.Context(), "room", r.ada.commit(removeOf(bobsLeaf)).Commit)
			return err
		},
		"public proposals": func(r *room, tx *conclave.Tx) error {
			_, err := tx.ProposeRemove(r.t.Context(), "room", "tom")
			return err
		},
		"a commit that was not sent": func(r *room, tx *conclave.Tx) error {
			r.verdict = notSentVerdict
			_, err := tx.UpdateKeyMaterial(r.t.Context(), "room")
			wantCode(r.t, err, conclave.CodeNotSent)
			return nil
		},
		"a conversation": func(r *room, tx *conclave.Tx) error {
			return tx.CreateConversation(r.t.Context(), "side", conclave.ConversationOptions{})
		},
		"a Welcome": func(r *room, tx *conclave.Tx) error {
			if err := tx.WipeConversation(r.t.Context(), "room"); err != nil {
				return err
			}
			_, err := tx.ProcessWelcome(r.t.Context(), r.welcome, conclave.JoinOptions{})
			return err
		},
		"the client's things": func(r *room, tx *conclave.Tx) error {
			_, kp := tx.GenerateKeyPackages(r.t.Context(), conclave.KeyPackageOptions{Count: 2})
			_, credential := tx.AddCredential(r.t.Context(), conclave.NewCredential{CipherSuite: 1})
			return errors.Join(kp, credential, tx.SetData(r.t.Context(), []byte("x")), tx.PutPSK(r.t.Context(), []byte("id"), []byte("key")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(t, conclave.ClientOptions{})
			// A Welcome for bob, who is to leave first.
			ada := *r.ada
			r.welcome = ada.commit(removeOf(bobsLeaf), addOf(r.bobsKeyPackage())).Welcome
			before := r.dump()
			if err := r.bob.Transaction(t.Context(), func(tx *conclave.Tx) error {
				return errors.Join(errStop, work(r, tx))
			}); err == nil || err.Error() != errStop.Error() {
				t.Fatalf("error %v", err)
			}
			if after := r.dump(); !maps.Equal(before, after) {
				t.Errorf("it has left a trace: %s", differences(before, after))
			}
			r.reopen()
			if after := r.dump(); !maps.Equal(before, after) {
				t.Errorf("opening again finds a trace: %s", differences(before, after))
			}
		})
	}
}
