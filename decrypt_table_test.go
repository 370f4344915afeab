package conclave_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// decryptCase is a row of the table of DecryptMessage: what bob is given, and what becomes of it. Where CoreCrypto does something else the row says what;
// docs/corecrypto.md says why.
type decryptCase struct {
	name       string
	options    conclave.ClientOptions
	policy     conclave.WirePolicy
	message    func(r *room) []byte
	outcome    conclave.Outcome // or
	code       conclave.Code
	check      func(t *testing.T, got conclave.DecryptedMessage)
	after      func(r *room)
	corecrypto string
}

// ways are the calls that a message can come by.
var ways = []struct {
	name    string
	decrypt func(ctx context.Context, bob *conclave.Client, message []byte) (conclave.DecryptedMessage, error)
}{
	{"call", func(ctx context.Context, bob *conclave.Client, message []byte) (conclave.DecryptedMessage, error) {
		return bob.DecryptMessage(ctx, "room", message)
	}},
	{"transaction", func(ctx context.Context, bob *conclave.Client, message []byte) (got conclave.DecryptedMessage, err error) {
		return got, errors.Join(bob.Transaction(ctx, func(tx *conclave.Tx) error {
			got, err = tx.DecryptMessage(ctx, "room", message)
			return nil // what is answered with an error ends nothing
		}), err)
	}},
	{"stream", func(ctx context.Context, bob *conclave.Client, message []byte) (conclave.DecryptedMessage, error) {
		for got, err := range bob.DecryptAll(ctx, slices.Values([]conclave.Incoming{{Conversation: "room", Message: message}})) {
			return got.Message, err
		}
		return conclave.DecryptedMessage{}, errors.New("no result")
	}},
}

// TestDecryptTable goes through every wire format, content and epoch that a message can have, and every way it can come by. An error leaves no trace.
func TestDecryptTable(t *testing.T) {
	for _, row := range decryptTable() {
		for _, way := range ways {
			t.Run(row.name+"/"+way.name, func(t *testing.T) {
				r := &room{t: t, ada: newCoreMember(t, "ada"), tom: newCoreMember(t, "tom"), policy: row.policy}
				r.start(row.options)
				message := row.message(r)
				before := r.dump()
				got, err := way.decrypt(t.Context(), r.bob, message)
				if row.code != "" {
					wantCode(t, err, row.code)
					if got.Outcome != 0 {
						t.Errorf("an error with outcome %v", got.Outcome)
					}
					if after := r.dump(); !maps.Equal(before, after) {
						t.Errorf("it has left a trace: %s", differences(before, after))
					}
				} else if err != nil || got.Outcome != row.outcome {
					t.Fatalf("%v, %v; want %v", got.Outcome, err, row.outcome)
				}
				if row.check != nil {
					row.check(t, got)
				}
				if row.after != nil {
					row.after(r)
				}
			})
		}
	}
}

func decryptTable() []decryptCase {
	return slices.Concat(anyMessages, applicationMessages, proposals, commits, otherEpochs(), privateHandshakes)
}

// TestDecryptTableIsDocumented wants every row in which CoreCrypto differs in docs/corecrypto.md.
func TestDecryptTableIsDocumented(t *testing.T) {
	page, err := os.ReadFile("docs/corecrypto.md")
	if err != nil {
		t.Fatal(err)
	}
	differing := 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		if i := slices.IndexFunc(decryptTable(), func(row decryptCase) bool { return row.name == cells[0] }); i >= 0 {
			differing++
			if len(cells) != 3 || cells[2] != decryptTable()[i].corecrypto {
				t.Errorf("the page says otherwise about %q", cells[0])
			}
		}
	}
	for _, row := range decryptTable() {
		if row.corecrypto != "" {
			differing--
		}
	}
	if differing != 0 {
		t.Errorf("the page has %d rows too many", differing)
	}
}

// sentBy wants a sender, and a conversation that goes on.
func sentBy(name conclave.ClientID, typ mlsgroup.SenderType) func(*testing.T, conclave.DecryptedMessage) {
	return func(t *testing.T, got conclave.DecryptedMessage) {
		t.Helper()
		if got.Sender.ClientID != name || got.Sender.Type != typ || string(got.Sender.Credential.Identity) != string(name) || !got.IsActive {
			t.Errorf("from %q (%v), active %t; want %q", got.Sender.ClientID, got.Sender.Type, got.IsActive, name)
		}
	}
}

// textOf wants a plaintext of ada's.
func textOf(want string) func(*testing.T, conclave.DecryptedMessage) {
	return func(t *testing.T, got conclave.DecryptedMessage) {
		t.Helper()
		sentBy("ada", mlsgroup.SenderTypeMember)(t, got)
		if string(got.Plaintext) != want {
			t.Errorf("plaintext %q, want %q", []byte(got.Plaintext), want)
		}
	}
}

// delayed wants the sender of a proposal and bob's turn to commit it, in seconds.
func delayed(name conclave.ClientID, typ mlsgroup.SenderType, seconds float64) func(*testing.T, conclave.DecryptedMessage) {
	return func(t *testing.T, got conclave.DecryptedMessage) {
		t.Helper()
		sentBy(name, typ)(t, got)
		if !got.HasCommitDelay || got.CommitDelay.Seconds() != seconds || got.Proposal == nil {
			t.Errorf("delay %t %v, reference %x; want %v s", got.HasCommitDelay, got.CommitDelay, got.Proposal, seconds)
		}
	}
}

// entered wants an epoch.
func entered(name conclave.ClientID, typ mlsgroup.SenderType, epoch uint64) func(*testing.T, conclave.DecryptedMessage) {
	return func(t *testing.T, got conclave.DecryptedMessage) {
		t.Helper()
		sentBy(name, typ)(t, got)
		if got.Epoch != epoch || got.HasCommitDelay {
			t.Errorf("epoch %d, delay %t; want %d and none", got.Epoch, got.HasCommitDelay, epoch)
		}
	}
}

var anyMessages = []decryptCase{
	{
		name: "message of another group", code: conclave.CodeInvalidMessage,
		message: func(r *room) []byte {
			r.tom.follow(mlsgroup.NewGroup(r.tom.in, mlsgroup.GroupOptions{GroupID: []byte("elsewhere"), Profile: mlsgroup.ProfileRFC}))
			return r.tom.say("lost")
		},
	},
	{
		name: "Welcome", code: conclave.CodeInvalidMessage,
		message: func(r *room) []byte { return r.ada.commit(addOf(newCoreMember(r.t, "eve").bundle.KeyPackage)).Welcome },
	},
	{
		name: "GroupInfo", code: conclave.CodeInvalidMessage,
		message: func(r *room) []byte { return r.ada.commit().GroupInfo },
	},
	{
		name: "key package", code: conclave.CodeInvalidMessage,
		message: func(r *room) []byte {
			m := mlsgroup.MLSMessage{Version: mlsgroup.ProtocolVersionMLS10, WireFormat: mlsgroup.WireFormatKeyPackage, KeyPackage: r.tom.bundle.KeyPackage}
			return m.Marshal()
		},
	},
	{name: "no message", code: conclave.CodeInvalidMessage, message: func(*room) []byte { return []byte("nothing of the kind") }},
	{
		name: "message and a byte more", code: conclave.CodeInvalidMessage, corecrypto: "ignores the byte",
		message: func(r *room) []byte { return append(r.ada.say("hello"), 0) },
	},
	{
		name: "conversation that was wiped", code: conclave.CodeConversationNotFound,
		message: func(r *room) []byte {
			if err := r.bob.WipeConversation(r.t.Context(), "room"); err != nil {
				r.t.Fatal(err)
			}
			return r.ada.say("hello")
		},
	},
	{
		name: "conversation that has removed bob", code: conclave.CodeConversationNotFound,
		message: func(r *room) []byte {
			r.decrypt(r.ada.commit(removeOf(bobsLeaf)).Commit)
			return r.ada.say("hello")
		},
	},
	{
		name: "conversation that bob is about to join, of the epoch he joins in", outcome: conclave.OutcomeText, check: textOf("welcome back"),
		corecrypto: "UnmergedPendingGroup: it does not look whether the message proves that the join was accepted",
		message: func(r *room) []byte {
			r.joinAnew()
			return r.ada.say("welcome back")
		},
		after: (*room).agree,
	},
	{
		name: "conversation that bob is about to join, of a later epoch", outcome: conclave.OutcomeUnmergedPendingGroup,
		message: func(r *room) []byte {
			r.joinAnew()
			r.kept = [][]byte{r.ada.commit().Commit}
			return r.ada.say("later")
		},
		after: func(r *room) {
			r.reopen()
			if got := r.decrypt(r.last().Commit); got.Outcome != conclave.OutcomeCommit || !got.Own {
				r.t.Errorf("the join: %v, own %t", got.Outcome, got.Own)
			}
			r.reopen()
			if got := releasedTexts(r.catchUp()); !slices.Equal(got, []string{"later"}) {
				r.t.Errorf("released %q", got)
			}
			r.agree()
		},
	},
}

// joinAnew wipes the room and lets bob join it again by a commit whose fate is unknown.
func (r *room) joinAnew() {
	r.t.Helper()
	if err := r.bob.WipeConversation(r.t.Context(), "room"); err != nil {
		r.t.Fatal(err)
	}
	r.verdict = noVerdict
	_, err := r.bob.JoinByExternalCommit(r.t.Context(), r.ada.groupInfo().Marshal(), conclave.JoinOptions{})
	wantCode(r.t, err, conclave.CodeCommitInDoubt)
	r.verdict = nil
	r.ada.read(r.last().Commit)
}

var applicationMessages = []decryptCase{
	{
		name: "application message", outcome: conclave.OutcomeText, check: textOf("hello"),
		message: func(r *room) []byte { return r.ada.say("hello") },
	},
	{
		name: "application message again", code: conclave.CodeDuplicateMessage,
		message: func(r *room) []byte {
			m := r.ada.say("hello")
			r.decrypt(m)
			return m
		},
	},
	{
		name: "application message behind the next one", outcome: conclave.OutcomeText, check: textOf("first"),
		message: func(r *room) []byte {
			m := r.ada.say("first")
			r.decrypt(r.ada.say("second"))
			return m
		},
	},
	{
		name: "application message behind the window", code: conclave.CodeDuplicateMessage,
		message: func(r *room) []byte {
			m := r.ada.say("first")
			for range 31 {
				r.ada.say("not delivered")
			}
			r.decrypt(r.ada.say("last"))
			return m
		},
	},
	{
		name: "application message at the end of the window", outcome: conclave.OutcomeText, check: textOf("first"), corecrypto: "DuplicateMessage: its window is 1",
		message: func(r *room) []byte {
			m := r.ada.say("first")
			for range 30 {
				r.ada.say("not delivered")
			}
			r.decrypt(r.ada.say("last"))
			return m
		},
	},
	{
		name: "application message as far ahead as can be", outcome: conclave.OutcomeText, check: textOf("far"),
		message: func(r *room) []byte { return r.skip(1000) },
	},
	{
		name: "application message too far ahead", code: conclave.CodeDuplicateMessage,
		message: func(r *room) []byte { return r.skip(1001) },
	},
	{
		name: "own application message", code: conclave.CodeDuplicateMessage,
		message: func(r *room) []byte {
			m, err := r.bob.EncryptMessage(r.t.Context(), "room", []byte("hello"))
			if err != nil {
				r.t.Fatal(err)
			}
			return m
		},
	},
	{
		name: "application message that was changed", code: conclave.CodeInvalidMessage,
		message: func(r *room) []byte {
			m := r.ada.say("hello")
			r.kept = [][]byte{slices.Clone(m)}
			m[len(m)-1] ^= 1
			return m
		},
		after: func(r *room) { textOf("hello")(r.t, r.decrypt(r.kept[0])) }, // its key is still there
	},
	{name: "application message an epoch late", outcome: conclave.OutcomeText, check: textOf("late"), message: late(1)},
	{name: "application message three epochs late", outcome: conclave.OutcomeText, check: textOf("late"), message: late(3)},
	{name: "application message four epochs late", code: conclave.CodeMessageEpochTooOld, message: late(4)},
	{
		name: "late application message again", code: conclave.CodeDuplicateMessage,
		message: func(r *room) []byte {
			m := late(2)(r)
			r.decrypt(m)
			return m
		},
	},
	{
		name: "late application message of a member who was removed since", outcome: conclave.OutcomeText, corecrypto: "Other: unknown member",
		message: func(r *room) []byte {
			m := r.tom.say("still here")
			r.decrypt(r.ada.commit(removeOf(tomsLeaf)).Commit)
			return m
		},
		check: sentBy("tom", mlsgroup.SenderTypeMember),
	},
	{
		name: "application message of the epoch before joining anew", code: conclave.CodeMessageEpochTooOld, corecrypto: "DecryptionError",
		message: func(r *room) []byte {
			m := r.ada.say("late")
			if _, err := r.bob.JoinByExternalCommit(r.t.Context(), r.ada.groupInfo().Marshal(), conclave.JoinOptions{}); err != nil {
				r.t.Fatal(err)
			}
			return m
		},
	},
	{
		name: "application message of the next epoch", outcome: conclave.OutcomeBufferedFutureMessage,
		message: func(r *room) []byte {
			r.ahead(1)
			return r.ada.say("early")
		},
		after: func(r *room) {
			r.reopen()
			if got := releasedTexts(r.catchUp()); !slices.Equal(got, []string{"early"}) {
				r.t.Errorf("released %q", got)
			}
			r.agree()
		},
	},
	{
		name: "application message of the next epoch again", code: conclave.CodeDuplicateMessage, corecrypto: "stores it twice",
		message: func(r *room) []byte {
			r.ahead(1)
			m := r.ada.say("early")
			r.decrypt(m)
			return m
		},
	},
	{
		name: "application message of the epoch after the next", code: conclave.CodeWrongEpoch,
		message: func(r *room) []byte {
			r.ahead(2)
			return r.ada.say("far")
		},
	},
	{
		name: "public application message", code: conclave.CodeInvalidMessage,
		message: func(r *room) []byte {
			return r.reparse(r.ada.propose(nil, public), func(m *mlsgroup.MLSMessage) {
				c := &m.PublicMessage.Content
				c.ContentType, c.Proposal, c.Application = mlsgroup.ContentTypeApplication, nil, []byte("for all to read")
			})
		},
	},
}

// late returns a message that ada sent some epochs ago.
func late(epochs int) func(r *room) []byte {
	return func(r *room) []byte {
		m := r.ada.say("late")
		r.advance(epochs)
		return m
	}
}

// skip returns a message of ada's before which she has used some generations.
func (r *room) skip(generations uint32) []byte {
	r.t.Helper()
	used, _, err := r.ada.g.Generations()
	if err != nil {
		r.t.Fatal(err)
	}
	r.ada.follow(r.ada.g.Burn(used+generations, 0))
	return r.ada.say("far")
}

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
