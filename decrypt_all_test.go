package conclave_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/conclave-mls/conclave"
)

func TestDecryptAll(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	ctx := t.Context()
	alice, bob := w.devices["alice"], w.devices["bob"]
	var stream []conclave.Incoming
	const rooms, each = 5, 8
	for i := range rooms {
		w.group(conclave.ConversationID(fmt.Sprint("room ", i)), "alice", "bob")
	}
	for n := range each {
		for i := range rooms {
			id := conclave.ConversationID(fmt.Sprint("room ", i))
			sealed, err := alice.EncryptMessage(ctx, id, fmt.Append(nil, n))
			if err != nil {
				t.Fatal(err)
			}
			stream = append(stream, conclave.Incoming{Conversation: id, Message: sealed})
		}
	}
	stream = append(stream, conclave.Incoming{Conversation: "room 0", Message: []byte("broken")}, stream[0])

	next := make(map[conclave.ConversationID]int)
	seen := make(map[int]bool)
	for out, err := range bob.DecryptAll(ctx, slices.Values(stream)) {
		if seen[out.Index] || stream[out.Index].Conversation != out.Conversation {
			t.Errorf("index %d of %s twice or of another conversation", out.Index, out.Conversation)
		}
		seen[out.Index] = true
		switch out.Index {
		case len(stream) - 2:
			wantCode(t, err, conclave.CodeInvalidMessage)
			continue
		case len(stream) - 1:
			wantCode(t, err, conclave.CodeDuplicateMessage)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(out.Message.Plaintext), fmt.Sprint(next[out.Conversation]); got != want {
			t.Errorf("%s: message %s came when %s was due", out.Conversation, got, want)
		}
		next[out.Conversation]++
	}
	if len(seen) != len(stream) {
		t.Errorf("%d results for %d messages", len(seen), len(stream))
	}
}

// TestDecryptAllEnds breaks out of the loop, and cancels, without a goroutine left that uses the engine.
func TestDecryptAllEnds(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, bob := w.devices["alice"], w.devices["bob"]
	w.group("room", "alice", "bob")
	var stream []conclave.Incoming
	for range 20 {
		sealed, err := alice.EncryptMessage(t.Context(), "room", []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		stream = append(stream, conclave.Incoming{Conversation: "room", Message: sealed})
	}
	for _, err := range bob.DecryptAll(t.Context(), slices.Values(stream[:10])) {
		if err != nil {
			t.Error(err)
		}
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	results := 0
	for range bob.DecryptAll(ctx, slices.Values(stream[10:])) {
		results++
		cancel()
	}
	if results == 0 || results > 10 {
		t.Errorf("%d results of 10 messages", results)
	}
}
