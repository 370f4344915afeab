package conclave

import (
	"context"
	"errors"
	"hash/maphash"
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
	Returned     []byte           // the message as it came, of [OutcomeBusy]
}

// Bounds of DecryptAll: of messages taken from the stream and not yet yielded, of what is handed over at once for a conversation, and of what is kept
// for those that wait.
const (
	maxUnderWay      = 1024
	maxTogether      = 64
	maxTogetherBytes = 1 << 20

	maxParked         = 1024
	maxParkedBytes    = 4 << 20
	maxAllParked      = 16 << 10
	maxAllParkedBytes = 64 << 20
)

// DecryptAll decrypts a stream of messages, many conversations at once and each conversation's messages in the order of the stream. It yields one result
// for each message as soon as it is durable, so the results of different conversations come in any order; an error belongs to its message and ends nothing.
//
// The stream is read as fast as the engine works, up to 1,024 messages ahead of what was yielded. A conversation that has to wait, because a transaction
// has it, does not hold up the others: its messages are parked, up to 1,024 of them and 4 MiB, 16,384 and 64 MiB for all that
// wait, beside those that were under way when it began to wait. Those beyond come back untouched and in order with [OutcomeBusy], and so do all of that conversation that follow, until the first
// that came back is fed again, and then the next: in this way a conversation's messages stay in order whatever the stream does. The same happens where
// the engine has no room for more calls.
//
// When the context ends, what was taken from the stream is answered with its error and the stream is read no further; a stream that blocks must end with
// the context. Breaking out of the loop waits for the calls under way; their results are lost, as they would be in a crash. The stream is read by a
// goroutine of its own, which after a break ends when the stream next yields.
func (s scope) DecryptAll(ctx context.Context, stream iter.Seq[Incoming]) iter.Seq2[Decrypted, error] {
	return func(yield func(Decrypted, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		d := &decryptAll{
			scope: s, results: make(chan results), room: make(chan struct{}, maxUnderWay), lanes: make(map[ConversationID]*lane), seed: maphash.MakeSeed(),
		}
		go d.read(ctx, stream) // ends with the stream, or when it next yields after a break
		defer func() {
			cancel()
			d.mu.Lock()
			d.stopped = true
			d.mu.Unlock()
			go func() { // ends with the reader
				for r := range d.results {
					d.leave(r.room)
				}
			}()
			d.lanesEnded.Wait()
		}()
		for together := range d.results {
			d.leave(together.room)
			for _, r := range together.list {
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
	results chan results  // closed when the stream and all lanes have ended
	room    chan struct{} // one token for each message under way that is not parked
	seed    maphash.Seed

	mu         sync.Mutex // guards what follows
	lanes      map[ConversationID]*lane
	parked     parked
	stopped    bool // no new lane may begin
	lanesEnded sync.WaitGroup
}

// lane is the messages of a conversation.
type lane struct {
	running  bool            // it has a goroutine
	together []waiting       // with the engine
	queue    []waiting       // behind them
	waits    bool            // the conversation lets them wait
	parked   parked          // of together and queue
	returned []uint64        // digests of what came back, in order, until it is fed again
	known    map[uint64]bool // those in returned
	handing  chan struct{}   // closed when what comes back from the engine has been yielded; nil where nothing does
}

type waiting struct {
	index   int
	message []byte
	parked  bool
}

// parked counts messages that are kept while their conversation waits.
type parked struct{ messages, bytes int }

func (p *parked) add(n, size int) { p.messages, p.bytes = p.messages+n, p.bytes+size }

type decryptedOrError struct {
	message Decrypted
	err     error
}

// results are yielded together; room is how many tokens they give back.
type results struct {
	list []decryptedOrError
	room int
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
		taken, ok := d.enqueue(ctx, in, index)
		if !ok {
			<-d.room
			return
		}
		if !taken {
			d.results <- results{[]decryptedOrError{returned(in.Conversation, waiting{index: index, message: in.Message})}, 1}
		}
		index++
	}
}

// enqueue gives a message to its conversation's lane, and begins the lane where there is none. It is not taken where it has to come back; ok is false
// when nothing is taken any more.
func (d *decryptAll) enqueue(ctx context.Context, in Incoming, index int) (taken, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.lanes[in.Conversation]
	for l != nil && l.handing != nil {
		handing := l.handing
		d.mu.Unlock()
		<-handing
		d.mu.Lock()
		l = d.lanes[in.Conversation]
	}
	if d.stopped {
		return false, false
	}
	if l == nil {
		l = new(lane)
		d.lanes[in.Conversation] = l
	}
	if !d.admit(l, in.Message) {
		return false, true
	}
	w := waiting{index: index, message: in.Message}
	if l.waits {
		d.park(l, &w)
	}
	l.queue = append(l.queue, w)
	if !l.running {
		l.running = true
		d.lanesEnded.Go(func() { d.lane(ctx, in.Conversation, l) })
	}
	return true, true
}

// admit tells whether a message may enter its lane: not if it would overtake one that came back, nor beyond what a lane that waits may hold.
func (d *decryptAll) admit(l *lane, message []byte) bool {
	full := l.waits && (l.parked.messages >= maxParked || l.parked.bytes+len(message) > maxParkedBytes ||
		d.parked.messages >= maxAllParked || d.parked.bytes+len(message) > maxAllParkedBytes)
	if !full && len(l.returned) == 0 {
		return true
	}
	digest := maphash.Bytes(d.seed, message)
	if !full && l.returned[0] == digest {
		l.returned = l.returned[1:]
		delete(l.known, digest)
		return true
	}
	if !l.known[digest] {
		l.remember(digest)
		l.returned = append(l.returned, digest)
	}
	return false
}

func (l *lane) remember(digest uint64) {
	if l.known == nil {
		l.known = make(map[uint64]bool)
	}
	l.known[digest] = true
}

// park counts a message as parked; it gives back its room, so that others may be read.
func (d *decryptAll) park(l *lane, w *waiting) {
	if w.parked {
		return
	}
	w.parked = true
	l.parked.add(1, len(w.message))
	d.parked.add(1, len(w.message))
	<-d.room // its own token
}

// waits parks all that a lane has. The conversation's actor calls it.
func (d *decryptAll) waits(l *lane) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l.waits = true
	for _, list := range [][]waiting{l.together, l.queue} {
		for i := range list {
			d.park(l, &list[i])
		}
	}
}

// done takes messages that are finished out of a lane's account and returns how many tokens they hold.
func (d *decryptAll) done(l *lane, list []waiting) (room int) {
	for i := range list {
		if list[i].parked {
			l.parked.add(-1, -len(list[i].message))
			d.parked.add(-1, -len(list[i].message))
		} else {
			room++
		}
	}
	return room
}

// leave gives back the room of n messages.
func (d *decryptAll) leave(n int) {
	for range n {
		<-d.room
	}
}

// lane works off a conversation's messages: what has come while it was at the ones before goes together.
func (d *decryptAll) lane(ctx context.Context, id ConversationID, l *lane) {
	for {
		d.mu.Lock()
		if len(l.queue) == 0 {
			if l.running, l.queue = false, nil; len(l.returned) == 0 {
				delete(d.lanes, id)
			}
			d.mu.Unlock()
			return
		}
		n := d.together(ctx, l.queue)
		together := l.queue[:n:n]
		l.together, l.queue = together, l.queue[n:]
		d.mu.Unlock()

		out := d.decrypt(ctx, id, l, together)

		d.mu.Lock()
		l.waits, l.together = false, nil
		room := d.done(l, together)
		if len(out) < len(together) {
			// The rest goes back, and what is behind it too, ahead of what went back before.
			back := append(together[len(out):len(together):len(together)], l.queue...)
			room += d.done(l, l.queue)
			l.queue = nil
			digests := make([]uint64, 0, len(back)+len(l.returned))
			for _, w := range back {
				digests = append(digests, maphash.Bytes(d.seed, w.message))
				l.remember(digests[len(digests)-1])
				out = append(out, returned(id, w))
			}
			l.returned = append(digests, l.returned...)
			l.handing = make(chan struct{})
		}
		d.mu.Unlock()

		d.results <- results{out, room}

		d.mu.Lock()
		if l.handing != nil {
			close(l.handing)
			l.handing = nil
		}
		d.mu.Unlock()
	}
}

// together says how many of those that wait are handed over at once. In a transaction it is one: a step that needs what the transaction has staged
// elsewhere is repeated with it.
func (d *decryptAll) together(ctx context.Context, queue []waiting) int {
	if d.scope.transaction != 0 || messages.TransactionFrom(ctx) != 0 {
		return 1
	}
	bound := d.scope.engine.step
	most, mostBytes := bound.Or(maxTogether), bound.Or(maxTogetherBytes)
	n, size := 0, 0
	for n < min(len(queue), most) && size < mostBytes {
		size += len(queue[n].message)
		n++
	}
	return n
}

// decrypt hands messages over and waits for their results. Where there are fewer results than messages, the engine had no room for the others.
func (d *decryptAll) decrypt(ctx context.Context, id ConversationID, l *lane, together []waiting) []decryptedOrError {
	const op = "DecryptAll"
	out := make([]decryptedOrError, len(together))
	list := make([][]byte, len(together))
	for i, w := range together {
		out[i].message.Index, out[i].message.Conversation, list[i] = w.index, id, w.message
	}
	waits := func() { d.waits(l) }
	if len(together) > 1 {
		r, err := ask[messages.MessagesDecrypted](ctx, d.scope, op, id, messages.DecryptMessages{Messages: list, Waits: waits})
		switch {
		case errors.Is(err, CodeBusy):
			return nil
		case !errors.Is(err, CodeInternal):
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
		out[i].message.Message, out[i].err = ask[messages.MessageDecrypted](ctx, d.scope, op, id, messages.DecryptMessage{Message: message, Waits: waits})
		if errors.Is(out[i].err, CodeBusy) {
			return out[:i]
		}
	}
	return out
}

// returned is the result of a message that comes back.
func returned(id ConversationID, w waiting) decryptedOrError {
	return decryptedOrError{message: Decrypted{
		Index: w.index, Conversation: id, Message: DecryptedMessage{Outcome: OutcomeBusy}, Returned: w.message,
	}}
}
