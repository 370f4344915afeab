package actors

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/conclave-mls/conclave/messages"
)

// TestDecryptMany gives one member messages one by one and another all at once: good
// ones, late ones, copies, broken ones, a proposal and a commit. Both fare alike.
func TestDecryptMany(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol, dave := w.peer("alice"), w.peer("bob"), w.peer("carol"), w.peer("dave")
	alice.create(conv)
	alice.add(conv, bob, carol, dave)
	for _, p := range []*peer{bob, carol, dave} {
		p.sync(conv)
	}
	var list [][]byte
	text := func(p *peer, n int) {
		for range n {
			list = append(list, p.encrypt(p.at(conv), fmt.Sprint("text ", len(list))))
		}
	}
	broken := func(m []byte) []byte {
		m = bytes.Clone(m)
		m[len(m)-1] ^= 1
		return m
	}
	text(alice, 12)
	text(bob, 2)
	list[3], list[8] = list[8], list[3]
	list = slices.Insert(list, 6, broken(list[6]), list[2], []byte("no message"))
	text(alice, 5)
	list = append(list, broken(list[len(list)-1]), list[0])
	proposed := ask[messages.ProposalCreated](t, w.sys, bob.at(conv), messages.ProposeUpdate{})
	list = append(list, proposed.Message)
	text(alice, 70)
	if err := alice.try(alice.at(conv), messages.UpdateKeyMaterial{}); err != nil {
		t.Fatal(err)
	}
	list = append(list, w.service.last(conv).Commit)
	text(alice, 5)

	to := dave.at(conv)
	together := ask[messages.MessagesDecrypted](t, w.sys, to, messages.DecryptMessages{Messages: list})
	if len(together.Messages) != len(list) {
		t.Fatalf("%d results of %d messages", len(together.Messages), len(list))
	}
	texts := 0
	for i, m := range list {
		reply, err := w.sys.Ask(t.Context(), carol.at(conv), messages.DecryptMessage{Message: m})
		got := together.Messages[i]
		if err != nil {
			if got.Err == nil || got.Err.Error() != err.Error() {
				t.Errorf("message %d: error %v, alone %v", i, got.Err, err)
			}
			continue
		}
		want := reply.(messages.MessageDecrypted)
		if got.Err != nil || got.Message.Outcome != want.Outcome || !bytes.Equal(got.Message.Plaintext, want.Plaintext) ||
			got.Message.Epoch != want.Epoch || got.Message.MessageEpoch != want.MessageEpoch || got.Message.Sender.Leaf != want.Sender.Leaf ||
			got.Message.Sender.ClientID != want.Sender.ClientID || got.Message.IsActive != want.IsActive {
			t.Errorf("message %d: %+v, %v, alone %+v", i, got.Message, got.Err, want)
		}
		if want.Outcome == messages.OutcomeText {
			texts++
		}
	}
	if texts < 90 {
		t.Errorf("only %d texts", texts)
	}
	agree(t, conv, alice, carol, dave)

	// What it has used up is used up in the store too.
	w.reopen()
	again := ask[messages.MessagesDecrypted](t, w.sys, w.peer("dave").at(conv), messages.DecryptMessages{Messages: list})
	for i, r := range again.Messages {
		if r.Err == nil && !r.Message.Outcome.Buffered() || errors.Is(r.Err, messages.ErrInternal) {
			t.Errorf("message %d, again: %v, %v", i, r.Message.Outcome, r.Err)
		}
	}
}
