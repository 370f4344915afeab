package conclave

import (
	"context"
	"iter"
	"sync"

	"github.com/conclave-mls/conclave/messages"
)

// Incoming is a message for a conversation, as it comes from the delivery service.
type Incoming struct {
	Conversation ConversationID
	Message      []byte
}

// Decrypted is what DecryptAll made of the message at an index of its stream.
type Decrypted struct {
	Index        int
	Conversation ConversationID
	Message      DecryptedMessage // zero where there is an error
}

// maxUnderWay bounds the messages that DecryptAll has taken from its stream and not yet yielded.
const maxUnderWay = 1024

// DecryptAll decrypts a stream of messages, many conversations at once and each conversation's messages in the order of the stream. It yields one result
// for each message as soon as it is durable, so the results of different conversations come in any order; an error belongs to its message and ends nothing.
//
// When the context ends, what was taken from the stream is answered with its error and the stream is read no further; a stream that blocks must end with
// the context. Breaking out of the loop waits for the calls under way; their results are lost, as they would be in a crash. The stream is read by a
// goroutine of its own, which after a break ends when the stream next yields.
func (s scope) DecryptAll(ctx context.Context, stream iter.Seq[Incoming]) iter.Seq2[Decrypted, error] {
	return func(yield func(Decrypted, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		d := &decryptAll{scope: s, results: make(chan decryptedOrError), room: make(chan struct{}, maxUnderWay), lanes: make(map[ConversationID][]waiting)}
		go d.read(ctx, stream)
		defer func() {
			cancel()
			d.mu.Lock()
			d.stopped = true
			d.mu.Unlock()
			go func() { // ends with the reader
				for range d.results {
					<-d.room
				}
			}()
			d.lanesEnded.Wait()
		}()
		for r := range d.results {
			<-d.room
			if !yield(r.message, r.err) {
				return
			}
		}
	}
}

// decryptAll has one goroutine that reads the stream and one for each conversation with messages under way, a lane. They end with the last message.
type decryptAll struct {
	scope   scope
	results chan decryptedOrError // closed when the stream and all lanes have ended
	room    chan struct{}         // one token for each message under way

	mu         sync.Mutex
	lanes      map[ConversationID][]waiting // what waits behind the message a lane is at; absent where there is no lane
	stopped    bool                         // no new lane may begin
	lanesEnded sync.WaitGroup
}

type waiting struct {
	index   int
	message []byte
}

type decryptedOrError struct {
	message Decrypted
	err     error
}

func (d *decryptAll) read(ctx context.Context, stream iter.Seq[Incoming]) {
	defer close(d.results)
	defer d.lanesEnded.Wait()
	index := 0
	for in := range stream {
		select {
		case d.room <- struct{}{}:
		case <-ctx.Done():
			return
		}
		if !d.enqueue(ctx, in, index) {
			<-d.room
			return
		}
		index++
	}
}

// enqueue gives a message to its conversation's lane, and begins the lane where there is none.
func (d *decryptAll) enqueue(ctx context.Context, in Incoming, index int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return false
	}
	w := waiting{index: index, message: in.Message}
	if queue, running := d.lanes[in.Conversation]; running {
		d.lanes[in.Conversation] = append(queue, w)
		return true
	}
	d.lanes[in.Conversation] = nil
	d.lanesEnded.Go(func() { d.lane(ctx, in.Conversation, w) })
	return true
}

func (d *decryptAll) lane(ctx context.Context, id ConversationID, w waiting) {
	for {
		out := Decrypted{Index: w.index, Conversation: id}
		var err error
		out.Message, err = ask[messages.MessageDecrypted](ctx, d.scope, "DecryptAll", id, messages.DecryptMessage{Message: w.message})
		d.results <- decryptedOrError{out, err}

		d.mu.Lock()
		queue := d.lanes[id]
		if len(queue) == 0 {
			delete(d.lanes, id)
			d.mu.Unlock()
			return
		}
		w, d.lanes[id] = queue[0], queue[1:]
		d.mu.Unlock()
	}
}
