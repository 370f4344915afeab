package tests

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

// Each client's application keeps, as the client's data, a record of the texts it has read, one a line, written in the transaction that reads them. What it
// takes as a stream it remembers. The simulation holds both against what was sent: no text was read twice, and none is missing that could be read.

// skippedMessages is the window of a conversation that is not told otherwise.
const skippedMessages = 32

// pastEpochs are how many past epochs the clients of an engine can read: the least and the most there can be, and the usual. Unlike what package extreme
// lists, this makes a difference to what comes out: to which texts may be lost.
var pastEpochs = [...]uint32{1, 3, 1024}

// sentText is an application message on its way to the members.
type sentText struct {
	name         string // the plaintext, which no other has
	conversation conclave.ConversationID
	epoch        uint64
	leaf         mlsgroup.LeafIndex
	generation   uint32
	placed       bool // the two are known
}

// reader is what the simulation knows of a client's reading.
type reader struct {
	heard []string             // read from streams
	due   map[string]*sentText // received and not lost; has to be in the record in the end
	// newest generation that was read. A crash of the sender skips more generations than a receiver keeps keys for, so what was sent before and comes
	// after is lost.
	newest map[ratchetName]uint32
}

// ratchetName names the ratchet that a sender's messages of one epoch are sealed with.
type ratchetName struct {
	conversation conclave.ConversationID
	epoch        uint64
	leaf         mlsgroup.LeafIndex
}

func newReader() *reader {
	return &reader{due: make(map[string]*sentText), newest: make(map[ratchetName]uint32)}
}

// received processes a delivery and records what it says, all in one transaction.
func received(ctx context.Context, d *enginetest.Device, in enginetest.Delivery) (m conclave.DecryptedMessage, err error) {
	err = d.Client.Transaction(ctx, func(tx *conclave.Tx) error {
		var texts []string
		if in.Welcome {
			joined, err := tx.ProcessWelcome(ctx, in.Message, conclave.JoinOptions{})
			if err != nil {
				return err
			}
			m = conclave.DecryptedMessage{}
			texts = enginetest.Event{Joined: joined}.Texts()
		} else {
			var err error
			if m, err = tx.DecryptMessage(ctx, in.Conversation, in.Message); err != nil {
				return err
			}
			texts = enginetest.Event{Message: m}.Texts()
		}
		if len(texts) == 0 {
			return nil
		}
		record, err := tx.Data(ctx)
		if err != nil {
			return err
		}
		return tx.SetData(ctx, append(record, strings.Join(texts, "\n")+"\n"...))
	})
	return m, err
}

// send hands an application message to the delivery service and remembers it.
func (s *simulation) send(from conclave.ClientID, c conclave.ConversationID, name string, sealed []byte) {
	s.t.Helper()
	m, err := mlsgroup.ParseMLSMessage(sealed)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.witness.Receive(s.ds); err != nil { // it has to know the epoch
		s.t.Error(err)
	}
	text := &sentText{name: name, conversation: c, epoch: m.PrivateMessage.Epoch}
	text.leaf, text.generation, text.placed = s.witness.Place(sealed)
	s.sent[sha256.Sum256(sealed)] = text
	s.ds.Send(from, c, sealed)
}

// opened notes that a client has taken an application message.
func (s *simulation) opened(id conclave.ClientID, in enginetest.Delivery) {
	if text := s.sent[sha256.Sum256(in.Message)]; text != nil && text.placed {
		newest := s.readers[id].newest
		newest[text.ratchet()] = max(newest[text.ratchet()], text.generation)
	}
}

func (x *sentText) ratchet() ratchetName { return ratchetName{x.conversation, x.epoch, x.leaf} }

// took notes what a client made of an application message that it will not get again. err is what its application was told.
func (s *simulation) took(id conclave.ClientID, in enginetest.Delivery, err error) {
	s.t.Helper()
	text := s.sent[sha256.Sum256(in.Message)]
	if text == nil {
		return
	}
	r := s.readers[id]
	if err == nil || errors.Is(err, conclave.CodeDuplicateMessage) && !(text.placed && r.newest[text.ratchet()] >= text.generation+skippedMessages) {
		r.due[text.name] = text
		return
	}
	since, member := s.ds.Since(text.conversation, id)
	state, stateErr := s.devices[id].Conversation(text.conversation).State(s.t.Context())
	if stateErr != nil {
		s.t.Fatal(stateErr)
	}
	switch {
	case !member || since > text.epoch || !state.Exists || state.Epoch < since: // no member then, or only of what it was before
	case errors.Is(err, conclave.CodeDuplicateMessage): // out of its window
	case errors.Is(err, conclave.CodeMessageEpochTooOld) && state.Epoch > text.epoch+uint64(s.home[id].past):
	case errors.Is(err, conclave.CodeWrongEpoch) && s.missed[seat{id, text.conversation}]:
	default:
		s.t.Errorf("%s is in epoch %d of %s since %d and cannot read %q of epoch %d: %v", id, state.Epoch, text.conversation, since, text.name, text.epoch, err)
	}
}

// checkRecords holds every client's record against what it was to read.
func (s *simulation) checkRecords() {
	s.t.Helper()
	for _, id := range s.clients {
		record, err := s.devices[id].Data(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		read := make(map[string]bool)
		for _, name := range append(strings.Fields(string(record)), s.readers[id].heard...) {
			if read[name] {
				s.t.Errorf("%s has read %q twice", id, name)
			}
			read[name] = true
		}
		s.counts["read"] += len(read)
		for name, text := range s.readers[id].due {
			if since, member := s.ds.Since(text.conversation, id); !read[name] && member && since <= text.epoch {
				s.t.Errorf("%s has been given %q of epoch %d of %s and has not read it", id, name, text.epoch, text.conversation)
			}
		}
	}
}
