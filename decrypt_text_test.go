package conclave_test

import (
	"slices"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// applicationMessages are the rows of application messages.
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
