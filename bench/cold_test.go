package bench

import (
	"testing"

	"github.com/conclave-mls/conclave"
)

// coldCells decrypt one message in an engine that has just been opened. What the
// step reads must not depend on the members.
func coldCells() []cell {
	var cells []cell
	for _, members := range []int{2, 1000, 10_000} {
		cells = append(cells, cell{suite: 1, conversations: 1, members: members, size: 1 << 10, store: durable, cold: true})
	}
	return cells
}

// coldGroups are kept for the whole run, as large ones take seconds to make.
var coldGroups = map[baseKey]*conversation{}

// decryptCold times the first message after opening. Messages before it have
// brought the sender's ratchet, as they have in a conversation that is in use.
func decryptCold(b *testing.B, c cell) {
	s := stageOf(b, c)
	k := baseKey{s.dialect, c.members}
	conv := coldGroups[k]
	if conv == nil {
		p := s.joined(b, c.members)
		conv = &conversation{peer: p, id: conclave.ConversationID(p.group.GroupID())}
		coldGroups[k] = conv
	}
	say := func() []byte {
		m, err := conv.encrypt(appendPlaintext(make([]byte, 0, c.size), conv, conv.sent, c.size))
		if err != nil {
			b.Fatal(err)
		}
		conv.sent++
		return m
	}
	hear := func(m []byte) error {
		out, err := s.client.DecryptMessage(b.Context(), conv.id, m)
		if err == nil {
			err = checkPlaintext(out.Plaintext, conv, conv.next, c.size)
		}
		conv.next++
		return err
	}
	if err := hear(say()); err != nil {
		b.Fatal(err)
	}
	stepsBehind(b, s, []*scale{floorScale(c.suite, workDecrypt, c.size)}, say, func() { s.reopen(b) }, hear, func([]byte) {})
}
