package actors

import "sync"

// workers run the actors' turns, as protoactor's dispatcher. Its own starts a
// goroutine for each turn, whose stack has to grow to what a cryptographic step
// needs: a copy or two a message. These goroutines live on and keep their stacks.
type workers struct {
	turns chan func()   // unbuffered: a send succeeds where a worker waits
	spare chan struct{} // a token for each worker that waits
	done  chan struct{} // closed at the end
	alive sync.WaitGroup
}

// maxSpare bounds the goroutines that wait for a turn. There may be more at work,
// as one that waits for the disk is held up.
const maxSpare = 256

func newWorkers() *workers {
	return &workers{turns: make(chan func()), spare: make(chan struct{}, maxSpare), done: make(chan struct{})}
}

// Schedule implements actor.Dispatcher.
func (w *workers) Schedule(turn func()) {
	select {
	case w.turns <- turn:
	default:
		w.alive.Go(func() { w.work(turn) })
	}
}

// Throughput implements actor.Dispatcher: how many letters an actor takes before
// it lets other goroutines run.
func (*workers) Throughput() int { return 300 }

func (w *workers) work(turn func()) {
	for {
		turn()
		select {
		case w.spare <- struct{}{}:
		default:
			return
		}
		select {
		case turn = <-w.turns:
			<-w.spare
		case <-w.done:
			<-w.spare
			return
		}
	}
}

// close ends the workers that wait, and the others when their turn is over, and
// waits for them. Nothing is scheduled any more.
func (w *workers) close() {
	close(w.done)
	w.alive.Wait()
}
