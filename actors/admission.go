package actors

import (
	"sync/atomic"

	"github.com/conclave-mls/conclave/messages"
)

// gate counts what was let in and has not been answered, in requests and bytes. It
// is asked before a request is sent to any actor, so mailboxes need no bound.
type gate struct {
	maxRequests, maxBytes int64
	requests, bytes       atomic.Int64
	closed                atomic.Bool
	// empty gets a value when a closed gate has nothing inside any more.
	empty chan struct{}
}

func newGate(maxRequests, maxBytes int64) gate {
	return gate{maxRequests: maxRequests, maxBytes: maxBytes, empty: make(chan struct{}, 1)}
}

// enter lets a request of size bytes in, or answers ErrBusy or ErrClosed. A request
// that is larger than all that fits is let in if it is alone.
func (g *gate) enter(size int) error {
	n, b := g.requests.Add(1), g.bytes.Add(int64(size))
	var err error
	switch {
	case g.closed.Load():
		err = messages.ErrClosed
	case n > g.maxRequests || b > g.maxBytes && n > 1:
		err = messages.ErrBusy
	}
	if err != nil {
		g.leave(size)
	}
	return err
}

// pass lets a request in however many are inside, or answers ErrClosed.
func (g *gate) pass(size int) error {
	g.requests.Add(1)
	g.bytes.Add(int64(size))
	if g.closed.Load() {
		g.leave(size)
		return messages.ErrClosed
	}
	return nil
}

func (g *gate) leave(size int) {
	g.bytes.Add(-int64(size))
	if g.requests.Add(-1) == 0 && g.closed.Load() {
		g.signal()
	}
}

// shut closes the gate; empty tells when all that was inside has left.
func (g *gate) shut() {
	g.closed.Store(true)
	if g.requests.Load() == 0 {
		g.signal()
	}
}

func (g *gate) signal() {
	select {
	case g.empty <- struct{}{}:
	default:
	}
}
