package conclave

import (
	"context"
	"errors"
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

// maxUnderWay bounds the messages that DecryptAll has taken from its stream and not yet yielded. Of one conversation it hands over at most maxTogether at once,
// and no more once they hold maxTogetherBytes.
const (
	maxUnderWay      = 1024
	maxTogether      = 64
	maxTogetherBytes = 1 << 20
)

// DecryptAll decrypts a stream of messages, many conversations at once and each conversation's messages in the order of the stream. It yields one result
// for each message as soon as it is durable, so the results of different conversations come in any order; an error belongs to its message and ends nothing.
//
// When the context ends, what was taken from the stream is answered with its error and the stream is read no further; a stream that blocks must end with
// the context. Breaking out of the loop waits for the calls under way; their results are lost, as they would be in a crash. The stream is read by a
// goroutine of its own, which after a break ends when the stream next yields.
func (s scope) DecryptAll(ctx context.Context, stream iter.Seq[Incoming]) iter.Seq2[Decrypted, error] {
	return func(yield func(Decrypted, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		d := &decryptAll{scope: s, results: make(chan []decryptedOrError), room: make(chan struct{}, maxUnderWay), lanes: make(map[ConversationID][]waiting)}
		go d.read(ctx, stream)
		defer func() {
			cancel()
			d.mu.Lock()
			d.stopped = true
			d.mu.Unlock()
			go func() { // ends with the reader
				for together := range d.results {
					d.leave(len(together))
				}
			}()
			d.lanesEnded.Wait()
		}()
		for together := range d.results {
			d.leave(len(together))
			for _, r := range together {
				if !yield(r.message, r.err) {
					return
				}
			}
		}
	}
}

// decryptAll has one goroutine that reads the stream and one for each conversation with messages under way, a lane. They end with the last message.
type decryptAll struct {
	scope   scope
	results chan []decryptedOrError // closed when the stream and all lanes have ended
	room    chan struct{}           // one token for each message under way

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

// leave gives back the room of n messages.
func (d *decryptAll) leave(n int) {
	for range n {
		<-d.room
	}
}

// lane works off a conversation's messages: what has come while it was at the ones before goes together.
func (d *decryptAll) lane(ctx context.Context, id ConversationID, first waiting) {
	for together := []waiting{first}; ; {
		d.results <- d.decrypt(ctx, id, together)

		d.mu.Lock()
		queue := d.lanes[id]
		if len(queue) == 0 {
			delete(d.lanes, id)
			d.mu.Unlock()
			return
		}
		n := d.together(ctx, queue)
		together, d.lanes[id] = queue[:n:n], queue[n:]
		d.mu.Unlock()
	}
}

// together says how many of those that wait are handed over at once. In a transaction it is one: a step that needs what the transaction has staged
// elsewhere is repeated with it.
func (d *decryptAll) together(ctx context.Context, queue []waiting) int {
	if d.scope.transaction != 0 || messages.TransactionFrom(ctx) != 0 {
		return 1
	}
	n, size := 0, 0
	for n < min(len(queue), maxTogether) && size < maxTogetherBytes {
		size += len(queue[n].message)
		n++
	}
	return n
}

func (d *decryptAll) decrypt(ctx context.Context, id ConversationID, together []waiting) []decryptedOrError {
	const op = "DecryptAll"
	out := make([]decryptedOrError, len(together))
	list := make([][]byte, len(together))
	for i, w := range together {
		out[i].message.Index, out[i].message.Conversation, list[i] = w.index, id, w.message
	}
	if len(together) > 1 {
		r, err := ask[messages.MessagesDecrypted](ctx, d.scope, op, id, messages.DecryptMessages{Messages: list})
		if !errors.Is(err, CodeInternal) {
			for i := range out {
				if out[i].err = err; err == nil {
					out[i].message.Message, out[i].err = r.Messages[i].Message, wrap(op, id, r.Messages[i].Err)
				}
			}
			return out
		}
		// One of them has met a defect and nothing was done: alone it costs only itself.
	}
	for i, message := range list {
		out[i].message.Message, out[i].err = ask[messages.MessageDecrypted](ctx, d.scope, op, id, messages.DecryptMessage{Message: message})
	}
	return out
}
