package actors

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/conclave-mls/conclave/messages"
)

// task is a request under way: what is asked, by whom, and where the answer goes.
// It is a letter to the actor that serves it.
type task struct {
	ctx     context.Context
	request messages.Request
	// tx is the transaction the request is a step of, nil for a single call.
	tx *transaction
	// send is the id of another call's send whose callback asks this, else 0.
	send messages.TransactionID
	// psks are external pre-shared keys that the transaction has staged.
	psks map[string]pskValue
	// history is a history client for the commit, once the step has asked for one.
	history *history
	// points are the new distribution points in the certificates that a commit adds.
	points []string
	// held is the entry that this task keeps in memory until it is answered, nil where
	// its asker does.
	held *entry

	answered atomic.Bool
	result   chan result // of capacity 1: answering never blocks
}

type result struct {
	reply messages.Reply
	err   error
}

// cancelTask says that the caller of a task no longer wants it. A task that still
// waits is answered with the context's error; one that has begun goes on.
type cancelTask struct{ task *task }

func (*task) letter()      {}
func (cancelTask) letter() {}

// answer ends the task. Only the first answer counts; a second one is a defect,
// and is dropped rather than blocking the actor.
func (t *task) answer(reply messages.Reply, err error) {
	if t.answered.Swap(true) {
		return
	}
	if err != nil {
		reply = nil
	}
	t.result <- result{reply, err}
	if t.held != nil {
		t.held.release()
	}
}

func newTask(ctx context.Context, r messages.Request) *task {
	return &task{ctx: ctx, request: r, result: make(chan result, 1)}
}

// wait hands the task to an actor and waits for its answer, which always comes.
// When the context ends the actor is told, and has the last word: an operation whose
// decision has begun is carried through.
func (t *task) wait(to ref) (messages.Reply, error) {
	to.send(t)
	select {
	case r := <-t.result:
		return r.reply, r.err
	case <-t.ctx.Done():
		to.send(cancelTask{t})
		r := <-t.result
		return r.reply, r.err
	}
}

// panicked is a panic that was turned into an error. Its text holds the place, and
// of the value only its type: a value may quote what it was about.
type panicked struct{ kind, stack string }

// Error implements error.
func (p *panicked) Error() string { return messages.ErrInternal.Error() }

// Is makes it a messages.ErrInternal.
func (p *panicked) Is(target error) bool { return target == messages.ErrInternal }

// safely calls f and turns a panic into an error. An actor runs each step in it, so
// that a defect costs one request its answer and the actor its memory, which it
// reads back from the store, and nothing else.
func safely(log *zap.Logger, what string, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			p := &panicked{kind: fmt.Sprintf("%T", r), stack: string(debug.Stack())}
			log.Error("panic", zap.String("in", what), zap.String("kind", p.kind), zap.String("stack", p.stack))
			err = p
		}
	}()
	return f()
}
