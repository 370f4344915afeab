package conclave_test

import (
	"slices"
	"testing"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// proposals are the rows of proposals, public and of bob's epoch.
var proposals = []decryptCase{
	{
		name: "public Update of a member", outcome: conclave.OutcomeProposal, check: delayed("ada", mlsgroup.SenderTypeMember, 30),
		message: func(r *room) []byte { return r.ada.propose(nil, public) },
	},
	{
		name: "public Add of a member", outcome: conclave.OutcomeProposal, check: delayed("ada", mlsgroup.SenderTypeMember, 30),
		message: func(r *room) []byte {
			return r.ada.propose(addOf(newCoreMember(r.t, "eve").bundle.KeyPackage), public)
		},
	},
	{
		name: "public Remove of a member", outcome: conclave.OutcomeProposal, check: delayed("ada", mlsgroup.SenderTypeMember, 0),
		message: func(r *room) []byte { return r.ada.propose(removeOf(tomsLeaf), public) },
	},
	{
		name: "public Remove of bob himself", outcome: conclave.OutcomeProposal,
		message: func(r *room) []byte { return r.ada.propose(removeOf(bobsLeaf), public) },
		check: func(t *testing.T, got conclave.DecryptedMessage) {
			if got.HasCommitDelay || !got.IsActive {
				t.Errorf("delay %t, active %t: he is not to commit, and still a member", got.HasCommitDelay, got.IsActive)
			}
		},
	},
	{
		name: "public proposal of a member again", code: conclave.CodeDuplicateMessage,
		message: func(r *room) []byte {
			m := r.ada.propose(nil, public)
			r.decrypt(m)
			return m
		},
	},
	{
		name: "what another member has proposed", outcome: conclave.OutcomeProposal, check: sentBy("tom", mlsgroup.SenderTypeMember), corecrypto: "DuplicateMessage, and does not keep it",
		message: func(r *room) []byte {
			r.decrypt(r.ada.propose(removeOf(bobsLeaf), public))
			return r.tom.propose(removeOf(bobsLeaf), public)
		},
	},
	{
		name: "own proposal", code: conclave.CodeDuplicateMessage,
		message: func(r *room) []byte {
			p, err := r.bob.Conversation("room").ProposeUpdate(r.t.Context())
			if err != nil {
				r.t.Fatal(err)
			}
			return p.Message
		},
	},
	{
		name: "public proposal with a wrong membership tag", code: conclave.CodeInvalidMessage,
		message: func(r *room) []byte {
			return r.reparse(r.ada.propose(nil, public), func(m *mlsgroup.MLSMessage) { m.PublicMessage.MembershipTag[0] ^= 1 })
		},
	},
	{
		name: "public proposal of a blank leaf", code: conclave.CodeInvalidMessage,
		message: func(r *room) []byte {
			return r.reparse(r.ada.propose(nil, public), func(m *mlsgroup.MLSMessage) { m.PublicMessage.Content.Sender.LeafIndex = 3 })
		},
	},
	{
		name: "Remove of the backend", outcome: conclave.OutcomeProposal, check: delayed("wire-server", mlsgroup.SenderTypeExternal, 0),
		message: func(r *room) []byte { return r.fromBackend(0, removeOf(tomsLeaf)) },
	},
	{
		name: "Remove of the backend again", code: conclave.CodeDuplicateMessage, corecrypto: "Proposal, kept as it was",
		message: func(r *room) []byte {
			m := r.fromBackend(0, removeOf(tomsLeaf))
			r.decrypt(m)
			return m
		},
	},
	{
		name: "Add of the backend", code: conclave.CodeInvalidMessage,
		message: func(r *room) []byte { return r.fromBackend(0, addOf(newCoreMember(r.t, "eve").bundle.KeyPackage)) },
	},
	{
		name: "Remove of a backend that nobody knows", code: conclave.CodeInvalidMessage,
		message: func(r *room) []byte { return r.fromBackend(1, removeOf(tomsLeaf)) },
	},
	{
		name: "Remove of the backend that was changed", code: conclave.CodeInvalidMessage,
		message: func(r *room) []byte {
			return r.reparse(r.fromBackend(0, removeOf(tomsLeaf)), func(m *mlsgroup.MLSMessage) { m.PublicMessage.Content.Proposal.Remove.Removed = 0 })
		},
	},
	{
		name: "Add of a new client", outcome: conclave.OutcomeProposal, check: delayed("eve", mlsgroup.SenderTypeNewMemberProposal, 30),
		message: func(r *room) []byte { return r.fromOutside() },
	},
	{
		name: "Add of a new client again", code: conclave.CodeDuplicateMessage,
		message: func(r *room) []byte {
			m := r.fromOutside()
			r.decrypt(m)
			return m
		},
	},
}

// commits are the rows of commits, public and of bob's epoch.
var commits = []decryptCase{
	{
		name: "public commit of a member", outcome: conclave.OutcomeCommit, check: entered("ada", mlsgroup.SenderTypeMember, 2),
		message: func(r *room) []byte { return r.ada.commit().Commit },
		after:   (*room).agree,
	},
	{
		name: "public commit of a member without a path", outcome: conclave.OutcomeCommit, check: entered("ada", mlsgroup.SenderTypeMember, 2),
		message: func(r *room) []byte {
			return r.ada.commitAs(mlsgroup.CommitOptions{OmitPath: true, WireFormat: public}, addOf(newCoreMember(r.t, "eve").bundle.KeyPackage)).Commit
		},
		after: (*room).agree,
	},
	{
		name: "public commit of what was proposed", outcome: conclave.OutcomeCommit, check: entered("ada", mlsgroup.SenderTypeMember, 2),
		message: func(r *room) []byte {
			p := r.tom.propose(nil, public)
			r.ada.read(p)
			r.decrypt(p)
			return r.ada.commit().Commit
		},
		after: (*room).agree,
	},
	{
		name: "public commit that carries out none of bob's proposals", outcome: conclave.OutcomeCommit,
		message: func(r *room) []byte {
			p, err := r.bob.Conversation("room").ProposeUpdate(r.t.Context())
			if err != nil {
				r.t.Fatal(err)
			}
			r.kept = [][]byte{p.Ref}
			return r.ada.commit().Commit
		},
		check: func(t *testing.T, got conclave.DecryptedMessage) {
			if len(got.Discarded) != 1 {
				t.Errorf("%d own proposals discarded, want 1", len(got.Discarded))
			}
		},
		after: (*room).agree,
	},
	{
		name: "public commit that removes bob", outcome: conclave.OutcomeCommit,
		message: func(r *room) []byte { return r.ada.commit(removeOf(bobsLeaf)).Commit },
		check: func(t *testing.T, got conclave.DecryptedMessage) {
			if got.IsActive || got.Sender.ClientID != "ada" {
				t.Errorf("active %t, by %q", got.IsActive, got.Sender.ClientID)
			}
		},
		after: func(r *room) {
			if ok, err := r.bob.ConversationExists(r.t.Context(), "room"); err != nil || ok {
				r.t.Errorf("it exists %t, %v", ok, err)
			}
		},
	},
	{
		name: "public commit of proposals that have not come", outcome: conclave.OutcomeBufferedCommit,
		message: func(r *room) []byte {
			p := r.tom.propose(nil, public)
			r.ada.read(p)
			r.kept = [][]byte{p}
			return r.ada.commit().Commit
		},
		after: func(r *room) {
			r.reopen()
			got := r.decrypt(r.kept[0])
			if got.Outcome != conclave.OutcomeProposal || len(got.Released) != 1 || got.Released[0].Message.Outcome != conclave.OutcomeCommit || got.Epoch != 2 {
				r.t.Errorf("the proposal: %v, %d released, epoch %d", got.Outcome, len(got.Released), got.Epoch)
			}
			r.agree()
		},
		corecrypto: "the same, but an error; the proposal then answers as the commit",
	},
	{
		name: "public commit with a wrong confirmation tag", code: conclave.CodeInvalidMessage,
		message: func(r *room) []byte {
			return r.reparse(r.ada.commit().Commit, func(m *mlsgroup.MLSMessage) { m.PublicMessage.Auth.ConfirmationTag[0] ^= 1 })
		},
	},
	{
		name: "public commit without a confirmation tag", code: conclave.CodeInvalidMessage,
		message: func(r *room) []byte {
			return r.reparse(r.ada.commit().Commit, func(m *mlsgroup.MLSMessage) { m.PublicMessage.Auth.ConfirmationTag = nil })
		},
	},
	{
		name: "commit that began this epoch", code: conclave.CodeDuplicateMessage,
		message: func(r *room) []byte {
			m := r.ada.commit().Commit
			r.decrypt(m)
			return m
		},
	},
	{
		name: "commit that began an epoch before", code: conclave.CodeStaleCommit,
		message: func(r *room) []byte {
			r.ahead(1)
			m := r.kept[0]
			r.catchUp()
			r.advance(1)
			return m
		},
	},
	{
		name: "own commit in doubt", outcome: conclave.OutcomeCommit,
		message: func(r *room) []byte { return r.doubt().Commit },
		check: func(t *testing.T, got conclave.DecryptedMessage) {
			entered("bob", mlsgroup.SenderTypeMember, 2)(t, got)
			if !got.Own {
				t.Error("it is not known as an own one")
			}
		},
	},
	{
		name: "own commit that was refused", outcome: conclave.OutcomeCommit, check: entered("bob", mlsgroup.SenderTypeMember, 2), corecrypto: "SelfCommitIgnored",
		message: func(r *room) []byte {
			r.verdict = refusedVerdict
			_, err := r.bob.UpdateKeyMaterial(r.t.Context(), "room")
			wantCode(r.t, err, conclave.CodeMessageRejected)
			return r.last().Commit
		},
	},
	{
		name: "own commit that was given up", code: conclave.CodeSelfCommitIgnored,
		message: func(r *room) []byte { return r.givenUp() },
	},
	{
		name: "own commit that was given up, beside another", code: conclave.CodeSelfCommitIgnored, corecrypto: "ClearingPendingCommitError",
		message: func(r *room) []byte {
			m := r.givenUp()
			r.doubt()
			return m
		},
	},
	{
		name: "own commit that was accepted", code: conclave.CodeDuplicateMessage,
		message: func(r *room) []byte {
			r.update()
			return r.last().Commit
		},
	},
	{
		name: "own commit of an epoch before", code: conclave.CodeStaleCommit,
		message: func(r *room) []byte {
			r.update()
			m := r.last().Commit
			r.advance(1)
			return m
		},
	},
	{
		name: "external commit", outcome: conclave.OutcomeCommit, check: entered("eve", mlsgroup.SenderTypeNewMemberCommit, 2),
		message: func(r *room) []byte {
			m := r.joinFromOutside()
			r.ada.read(m)
			return m
		},
		after: (*room).agree,
	},
	{
		name: "external commit that began this epoch", code: conclave.CodeDuplicateMessage,
		message: func(r *room) []byte {
			m := r.joinFromOutside()
			r.decrypt(m)
			return m
		},
	},
	{
		name: "commit of the backend", code: conclave.CodeInvalidMessage, corecrypto: "panics",
		message: func(r *room) []byte { return r.commitFrom(mlsgroup.Sender{Type: mlsgroup.SenderTypeExternal}) },
	},
	{
		name: "commit of a new client that proposes", code: conclave.CodeInvalidMessage,
		message: func(r *room) []byte { return r.commitFrom(mlsgroup.Sender{Type: mlsgroup.SenderTypeNewMemberProposal}) },
	},
	{
		name: "commit of the next epoch, of proposals that have not come", outcome: conclave.OutcomeBufferedFutureMessage,
		message: func(r *room) []byte {
			r.ahead(1)
			p := r.tom.propose(nil, public)
			r.ada.read(p)
			r.kept = append(r.kept, p)
			return r.ada.commit().Commit
		},
		// The epoch comes, then the proposal, then the end of the epoch.
		after: func(r *room) {
			r.reopen()
			got := r.decrypt(r.kept[0])
			if len(got.Released) != 1 || got.Released[0].Message.Outcome != conclave.OutcomeBufferedCommit {
				r.t.Errorf("released %+v", got.Released)
			}
			r.reopen()
			if got := r.decrypt(r.kept[1]); len(got.Released) != 1 || got.Epoch != 3 {
				r.t.Errorf("%d released, epoch %d", len(got.Released), got.Epoch)
			}
			r.agree()
		},
	},
}

// givenUp is a commit of bob's that he has dropped while it was in doubt.
func (r *room) givenUp() []byte {
	r.t.Helper()
	m := r.doubt().Commit
	if _, err := r.bob.DropInDoubt(r.t.Context(), "room"); err != nil {
		r.t.Fatal(err)
	}
	return m
}

// commitFrom is a commit of ada's that names another sender.
func (r *room) commitFrom(s mlsgroup.Sender) []byte {
	return r.reparse(r.ada.commit().Commit, func(m *mlsgroup.MLSMessage) {
		m.PublicMessage.Content.Sender, m.PublicMessage.MembershipTag = s, nil
	})
}

// otherEpochs has a row for every handshake message in every epoch but bob's.
func otherEpochs() []decryptCase {
	var rows []decryptCase
	for _, h := range []struct {
		name    string
		stale   conclave.Code
		message func(r *room) []byte
	}{
		{"public proposal of a member", conclave.CodeStaleProposal, func(r *room) []byte { return r.ada.propose(nil, public) }},
		{"Remove of the backend", conclave.CodeStaleProposal, func(r *room) []byte { return r.fromBackend(0, removeOf(tomsLeaf)) }},
		{"Add of a new client", conclave.CodeStaleProposal, func(r *room) []byte { return r.fromOutside() }},
		{"public commit of a member", conclave.CodeStaleCommit, func(r *room) []byte { return r.ada.commit().Commit }},
		{"external commit", conclave.CodeStaleCommit, func(r *room) []byte { return r.joinFromOutside() }},
	} {
		rows = append(rows,
			decryptCase{name: h.name + " of an epoch before", code: h.stale, message: before(h.message)},
			decryptCase{
				name: h.name + " of the next epoch", outcome: conclave.OutcomeBufferedFutureMessage, message: ahead(1, h.message),
				after: func(r *room) {
					r.reopen()
					if got := r.catchUp(); len(got) != 1 || got[0].Err != nil || got[0].Message.Outcome.Buffered() {
						r.t.Errorf("released %+v", got)
					}
				},
			},
			decryptCase{name: h.name + " of the epoch after the next", code: conclave.CodeWrongEpoch, message: ahead(2, h.message)})
	}
	return rows
}

// privateHandshakes are refused by Wire's plaintext policy, and wanted by its ciphertext policy; RFC 9420 takes both.
var privateHandshakes = slices.Concat([]decryptCase{
	{
		name: "private proposal", code: conclave.CodeInvalidMessage,
		message: func(r *room) []byte { return r.ada.propose(nil, private) },
	},
	{
		name: "private commit", code: conclave.CodeInvalidMessage,
		message: func(r *room) []byte { return r.ada.commitAs(mlsgroup.CommitOptions{WireFormat: private}).Commit },
	},
	{
		name: "private proposal of the next epoch", code: conclave.CodeInvalidMessage,
		message: func(r *room) []byte {
			r.ahead(1)
			return r.ada.propose(nil, private)
		},
	},
	{
		name: "RFC 9420: public proposal", options: rfc9420, outcome: conclave.OutcomeProposal, check: delayed("ada", mlsgroup.SenderTypeMember, 30),
		message: func(r *room) []byte { return r.ada.propose(nil, public) },
	},
	{
		name: "RFC 9420: public commit", options: rfc9420, outcome: conclave.OutcomeCommit, check: entered("ada", mlsgroup.SenderTypeMember, 2),
		message: func(r *room) []byte { return r.ada.commit().Commit },
		after:   (*room).agree,
	},
	{
		name: "ciphertext policy: public proposal", policy: conclave.WirePolicyCiphertext, code: conclave.CodeInvalidMessage,
		message: func(r *room) []byte { return r.ada.propose(nil, public) },
	},
	{
		name: "ciphertext policy: public commit", policy: conclave.WirePolicyCiphertext, code: conclave.CodeInvalidMessage,
		message: func(r *room) []byte { return r.ada.commit().Commit },
	},
	{
		name: "ciphertext policy: Remove of the backend", policy: conclave.WirePolicyCiphertext, outcome: conclave.OutcomeProposal,
		message: func(r *room) []byte { return r.fromBackend(0, removeOf(tomsLeaf)) },
		check:   delayed("wire-server", mlsgroup.SenderTypeExternal, 0),
	},
	{
		name: "ciphertext policy: Add of a new client", policy: conclave.WirePolicyCiphertext, outcome: conclave.OutcomeProposal,
		message: func(r *room) []byte { return r.fromOutside() },
		check:   delayed("eve", mlsgroup.SenderTypeNewMemberProposal, 30),
	},
	{
		name: "ciphertext policy: external commit", policy: conclave.WirePolicyCiphertext, outcome: conclave.OutcomeCommit,
		message: func(r *room) []byte { return r.joinFromOutside() },
		check:   entered("eve", mlsgroup.SenderTypeNewMemberCommit, 2),
	},
	{
		name: "ciphertext policy: own commit in doubt", policy: conclave.WirePolicyCiphertext, outcome: conclave.OutcomeCommit,
		message: func(r *room) []byte { return r.doubt().Commit },
		check:   entered("bob", mlsgroup.SenderTypeMember, 2), corecrypto: "DuplicateMessage: it is taken for a message whose key is used",
	},
}, privateRows("RFC 9420: ", decryptCase{options: rfc9420}), privateRows("ciphertext policy: ", decryptCase{policy: conclave.WirePolicyCiphertext}))

var rfc9420 = conclave.ClientOptions{Profile: conclave.ProfileRFC9420}

// privateRows has a row for every private handshake message, in conversations that take them.
func privateRows(of string, in decryptCase) []decryptCase {
	propose := func(r *room) []byte { return r.ada.propose(nil, private) }
	commit := func(r *room) []byte { return r.ada.commitAs(mlsgroup.CommitOptions{WireFormat: private}).Commit }
	rows := []decryptCase{
		{name: "private proposal", outcome: conclave.OutcomeProposal, check: delayed("ada", mlsgroup.SenderTypeMember, 30), message: propose},
		{name: "private commit", outcome: conclave.OutcomeCommit, check: entered("ada", mlsgroup.SenderTypeMember, 2), message: commit, after: (*room).agree},
		{name: "private proposal again", code: conclave.CodeDuplicateMessage, message: func(r *room) []byte {
			m := propose(r)
			r.decrypt(m)
			return m
		}},
		{name: "own private proposal", code: conclave.CodeDuplicateMessage, message: func(r *room) []byte {
			p, err := r.bob.Conversation("room").ProposeUpdate(r.t.Context())
			r.ada.must(err)
			return p.Message
		}},
		{name: "private commit of proposals that have not come", outcome: conclave.OutcomeBufferedCommit, message: func(r *room) []byte {
			p := r.tom.propose(nil, private)
			r.ada.read(p)
			r.kept = [][]byte{p}
			return commit(r)
		}, after: func(r *room) {
			r.reopen()
			if got := r.decrypt(r.kept[0]); got.Epoch != 2 {
				r.t.Errorf("epoch %d", got.Epoch)
			}
			r.agree()
		}},
		{name: "private proposal of an epoch before", code: conclave.CodeStaleProposal, message: before(propose)},
		{name: "private commit of an epoch before", code: conclave.CodeStaleCommit, message: before(commit)},
		{name: "private proposal of the next epoch", outcome: conclave.OutcomeBufferedFutureMessage, message: ahead(1, propose)},
		{name: "private commit of the next epoch", outcome: conclave.OutcomeBufferedFutureMessage, message: ahead(1, commit)},
		{name: "private proposal of the epoch after the next", code: conclave.CodeWrongEpoch, message: ahead(2, propose)},
		{name: "private commit of the epoch after the next", code: conclave.CodeWrongEpoch, message: ahead(2, commit)},
	}
	for i := range rows {
		rows[i].name = of + rows[i].name
		rows[i].options, rows[i].policy = in.options, in.policy
	}
	return rows
}

// before lets a message be made and an epoch pass without it.
func before(message func(r *room) []byte) func(r *room) []byte {
	return func(r *room) []byte {
		then := *r.ada
		m := message(r)
		*r.ada = then
		r.advance(1)
		return m
	}
}

// ahead lets a message be made some epochs ahead of bob.
func ahead(epochs int, message func(r *room) []byte) func(r *room) []byte {
	return func(r *room) []byte {
		r.ahead(epochs)
		return message(r)
	}
}
