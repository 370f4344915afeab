package actors

import (
	"slices"

	"github.com/conclave-mls/conclave/messages"
)

// queue orders the requests of an actor that owns one guarded thing, a conversation or
// a session: those that wait for the guard, and the single calls that run together.
//
// Single calls are gathered until no other letter waits, or the run letter comes from
// behind those that do: what has arrived by then is staged one after the other, applied
// at once, and answered in the order of arrival. While the actor waits for the disk the
// next batch gathers.
type queue struct {
	client *client
	entry  *entry
	// granted serves a task that has the guard.
	granted func(*task)

	guard   namedGuard
	parked  []*task // reads that wait until a decision is carried out here
	batch   []*task // single calls that are gathered
	most    int     // of them in one batch; 0: all
	due     bool    // the batch is to run
	running bool    // and the run letter is on its way
}

// run tells an actor to work off its batch.
type run struct{}

func (run) letter() {}

// gather puts a single call into the batch.
func (q *queue) gather(t *task) {
	q.batch = append(q.batch, t)
	q.kick()
}

// kick makes the actor work off the batch and serve who waits, once it has handled the
// letter that it is at.
func (q *queue) kick() { q.due = true }

// turn handles a letter, and then works off the batch if that is due: at once where no
// letter waits.
func (q *queue) turn(l letter, handle func(letter)) {
	handle(l)
	for q.due && !q.running {
		if q.entry.actor.busy() {
			q.running = true
			q.entry.actor.send(run{})
			return
		}
		handle(run{})
	}
}

// gathered takes the batch, when it is to run. What is more than one batch may have
// stays, and is due.
func (q *queue) gathered() []*task {
	batch := q.batch
	q.batch, q.due, q.running = nil, false, false
	if n := q.most; n > 0 && len(batch) > n {
		q.batch, batch = batch[n:], batch[:n:n]
		q.kick()
	}
	return batch
}

// serve grants the guard to those who wait, as far as it is free. What is gathered
// goes first; single calls that wait in a row are gathered together.
func (q *queue) serve() {
	for len(q.batch) == 0 {
		c, ok := q.guard.next()
		if !ok {
			break
		}
		q.granted(c.task)
		for c.tx == nil && len(q.guard.waiting) > 0 && q.guard.waiting[0].tx == nil {
			if c, ok = q.guard.next(); !ok {
				break
			}
			q.granted(c.task)
		}
	}
	q.report()
}

// report tells the coordinator who waits.
func (q *queue) report() {
	q.guard.report(q.client.coordinator, resource{q.entry.actor, ""})
}

// unpark sends the reads that waited for a decision to the actor again: it has been
// carried out.
func (q *queue) unpark() {
	parked := q.parked
	q.parked = nil
	for _, t := range parked {
		q.entry.actor.send(t)
	}
}

// cancel answers a task that is gathered, parked or waits.
func (q *queue) cancel(t *task) {
	if at := slices.Index(q.parked, t); at >= 0 {
		q.parked = slices.Delete(q.parked, at, at+1)
		t.answer(nil, t.ctx.Err())
	}
	if at := slices.Index(q.batch, t); at >= 0 {
		q.batch = slices.Delete(q.batch, at, at+1)
		t.answer(nil, t.ctx.Err())
	}
	q.drop(func(c claim) bool { return c.task == t }, t.ctx.Err())
}

// drop answers those who wait with an error, and serves those behind them.
func (q *queue) drop(match func(claim) bool, err error) {
	dropped := q.guard.drop(match)
	for _, c := range dropped {
		c.task.answer(nil, err)
	}
	if len(dropped) > 0 {
		q.serve()
	}
}

// storeFailed answers all who are gathered or wait. Nobody comes after them.
func (q *queue) storeFailed() {
	batch := q.batch
	q.batch = nil
	for _, t := range batch {
		t.answer(nil, messages.ErrStoreFailed)
	}
	q.end(messages.ErrStoreFailed)
}

// close answers all who wait, for good.
func (q *queue) close() { q.end(messages.ErrClosed) }

func (q *queue) end(err error) {
	parked := q.parked
	q.parked = nil
	for _, t := range parked {
		t.answer(nil, err)
	}
	q.drop(func(claim) bool { return true }, err)
}
