package actors

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// goroutineHost is the reference host: a goroutine and an unbounded queue for each
// actor.
type goroutineHost struct{ running sync.WaitGroup }

func newGoroutineHost() host { return new(goroutineHost) }

func (h *goroutineHost) spawn(r receiver) ref {
	g := &goroutineRef{wake: make(chan struct{}, 1), done: make(chan struct{})}
	h.running.Add(1)
	go func() {
		defer h.running.Done()
		g.run(r)
	}()
	return g
}

func (h *goroutineHost) close() { h.running.Wait() }

type goroutineRef struct {
	mu      sync.Mutex
	queue   []letter
	ending  bool
	stopped bool
	left    int // of those taken out of queue; its own goroutine's
	wake    chan struct{}
	done    chan struct{}
}

func (g *goroutineRef) run(r receiver) {
	for {
		g.mu.Lock()
		queue, ending := g.queue, g.ending
		g.queue = nil
		if len(queue) == 0 && ending {
			g.stopped = true
		}
		g.mu.Unlock()
		if len(queue) == 0 {
			if ending {
				r.stopped()
				close(g.done)
				return
			}
			<-g.wake
			continue
		}
		for i, l := range queue {
			g.left = len(queue) - i - 1
			r.receive(l)
		}
	}
}

func (g *goroutineRef) signal() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

func (g *goroutineRef) send(l letter) {
	g.mu.Lock()
	if !g.stopped {
		g.queue = append(g.queue, l)
	}
	g.mu.Unlock()
	g.signal()
}

func (g *goroutineRef) busy() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.left > 0 || len(g.queue) > 0
}

func (g *goroutineRef) stop() <-chan struct{} {
	g.mu.Lock()
	g.ending = true
	g.mu.Unlock()
	g.signal()
	return g.done
}

// hosts are the two implementations every test of actors is run on.
var hosts = map[string]func() host{"protoactor": newProtoHost, "goroutines": newGoroutineHost}

type number struct {
	from, n int
	all     *sync.WaitGroup
}

func (number) letter() {}

type counter struct {
	t     *testing.T
	last  map[int]int
	busy  atomic.Bool
	ended atomic.Bool
}

func (c *counter) receive(l letter) {
	if c.busy.Swap(true) {
		c.t.Error("two letters are handled at once")
	}
	n := l.(number)
	if c.last[n.from]+1 != n.n {
		c.t.Errorf("sender %d: got letter %d behind %d", n.from, n.n, c.last[n.from])
	}
	c.last[n.from] = n.n
	c.busy.Store(false)
	n.all.Done()
}

func (c *counter) stopped() { c.ended.Store(true) }

func TestHostKeepsOrderOfEachSender(t *testing.T) {
	for name, make := range hosts {
		t.Run(name, func(t *testing.T) {
			h := make()
			c := &counter{t: t, last: map[int]int{}}
			r := h.spawn(c)
			const senders, each = 8, 500
			var all sync.WaitGroup
			all.Add(senders * each)
			for from := range senders {
				go func() {
					for n := range each {
						r.send(number{from, n + 1, &all})
					}
				}()
			}
			all.Wait()
			<-r.stop()
			if !c.ended.Load() {
				t.Error("the receiver was not told that it stopped")
			}
			r.send(number{0, 1, &all}) // to nobody: must do nothing
			h.close()
		})
	}
}

func TestHostStopHandlesWhatWasSent(t *testing.T) {
	for name, make := range hosts {
		t.Run(name, func(t *testing.T) {
			h := make()
			c := &counter{t: t, last: map[int]int{}}
			r := h.spawn(c)
			var all sync.WaitGroup
			all.Add(1000)
			for n := range 1000 {
				r.send(number{0, n + 1, &all})
			}
			<-r.stop()
			if got := c.last[0]; got != 1000 {
				t.Errorf("%d letters were handled before the stop, want 1000", got)
			}
			h.close()
		})
	}
}

// inspector says of each letter whether others waited behind it.
type inspector struct {
	self   ref
	begin  chan struct{} // closed when all letters have been sent
	busy   []bool
	looked chan struct{} // one for each letter
}

func (i *inspector) receive(letter) {
	<-i.begin
	i.busy = append(i.busy, i.self.busy())
	i.looked <- struct{}{}
}

func (*inspector) stopped() {}

func TestHostTellsWhetherLettersWait(t *testing.T) {
	for name, newHost := range hosts {
		t.Run(name, func(t *testing.T) {
			h := newHost()
			i := &inspector{begin: make(chan struct{}), looked: make(chan struct{}, 3)}
			i.self = h.spawn(i)
			for range 3 {
				i.self.send(number{})
			}
			close(i.begin)
			for len(i.looked) < 3 {
				runtime.Gosched()
			}
			<-i.self.stop()
			if !slices.Equal(i.busy, []bool{true, true, false}) {
				t.Errorf("got %v", i.busy)
			}
			h.close()
		})
	}
}
