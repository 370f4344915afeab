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

// anyMessages are the rows that hold for messages of any kind.
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
