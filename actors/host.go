package actors

import (
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
)

// letter is what one actor receives from another, or from itself.
type letter interface{ letter() }

// receiver is an actor's behaviour. receive is called for one letter at a time, and
// stopped once after the last.
type receiver interface {
	receive(letter)
	stopped()
}

// ref is the address of an actor. It is comparable.
type ref interface {
	// send delivers a letter, behind all that this goroutine has sent before. To
	// an actor that has stopped it does nothing.
	send(letter)
	// busy tells the actor itself, while it handles a letter, whether others wait.
	busy() bool
	// stop ends the actor behind the letters already sent to it. The channel is
	// closed when it has stopped.
	stop() <-chan struct{}
}

// host runs actors. It is all that the engine knows of the actor library: of
// protoactor it uses spawn, send, poison and the count of letters that wait, and none
// of futures, stash, receive timeouts, bounded mailboxes, supervisors and its logger,
// which are slow, racy or print what they carry. The twin of goroutines and channels in
// host_test.go is the reference that the tests hold it against.
type host interface {
	spawn(receiver) ref
	// close ends the host, after all its actors have stopped.
	close()
}

// protoHost is the host of protoactor, one actor system for each engine. It owns the
// goroutines that actors run on and ends them in close. A receiver belongs to the worker
// that runs it while it has letters, one worker at a time.
type protoHost struct {
	system  *actor.ActorSystem
	workers *workers
}

func newProtoHost() host {
	system := actor.NewActorSystemWithConfig(actor.Configure(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }),
	))
	// Receivers recover their own panics (see safely), so that nothing reaches a
	// supervisor. Should anything ever, the actor stops; it is not run on as a new
	// zero value.
	system.Root = system.Root.WithGuardian(stopGuardian)
	return &protoHost{system: system, workers: newWorkers()}
}

// stopGuardian is one value for the whole package, as protoactor registers a
// guardian for each strategy value and never removes it.
var stopGuardian = actor.NewOneForOneStrategy(0, 0, func(any) actor.Directive { return actor.StopDirective })

func (h *protoHost) spawn(r receiver) ref {
	p := &protoRef{root: h.system.Root, receiver: r, mailbox: actor.Unbounded()(), done: make(chan struct{})}
	p.pid = h.system.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return p },
		actor.WithDispatcher(h.workers), actor.WithMailbox(func() actor.Mailbox { return p.mailbox })))
	return p
}

func (h *protoHost) close() {
	h.workers.close()
	h.system.Shutdown()
}

// workers runs actors that have letters, each on a goroutine of its own, as an actor
// may block on the disk and must not hold up others then. A goroutine that is done
// waits a while for the next actor: its stack has grown to what cryptography needs,
// and growing it anew for each message took a seventh of the time.
//
// Who has made them closes them. A goroutine ends when it is idle and so many others are,
// or when close says so.
type workers struct {
	next chan func()    // to a goroutine that is idle
	done chan struct{}  // closed by close
	idle atomic.Int64   // goroutines that wait for next
	all  sync.WaitGroup // goroutines
}

// maxIdleWorkers bounds the goroutines that wait.
const maxIdleWorkers = 256

func newWorkers() *workers {
	return &workers{next: make(chan func()), done: make(chan struct{})}
}

// Schedule implements actor.Dispatcher.
func (w *workers) Schedule(f func()) {
	select {
	case w.next <- f:
	default:
		w.all.Add(1)
		go w.work(f)
	}
}

// Throughput implements actor.Dispatcher: letters between two yields.
func (w *workers) Throughput() int { return 300 }

func (w *workers) work(f func()) {
	defer w.all.Done()
	for {
		f()
		if w.idle.Add(1) > maxIdleWorkers {
			w.idle.Add(-1)
			return
		}
		select {
		case f = <-w.next:
			w.idle.Add(-1)
		case <-w.done:
			return
		}
	}
}

// close ends the workers and waits for them. Nothing may be scheduled any more.
func (w *workers) close() {
	close(w.done)
	w.all.Wait()
}

// protoRef is an actor of protoactor and its address in one.
type protoRef struct {
	root     *actor.RootContext
	pid      *actor.PID
	receiver receiver
	mailbox  actor.Mailbox
	done     chan struct{} // closed by the actor's worker, after the last letter
}

// Receive implements actor.Actor.
func (p *protoRef) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case letter:
		p.receiver.receive(m)
	case *actor.Stopped:
		p.receiver.stopped()
		close(p.done)
	}
}

func (p *protoRef) send(l letter) { p.root.Send(p.pid, l) }

func (p *protoRef) busy() bool { return p.mailbox.UserMessageCount() > 0 }

func (p *protoRef) stop() <-chan struct{} {
	p.root.Poison(p.pid)
	return p.done
}
