package actors

import (
	"runtime"
	"sync"

	"go.uber.org/zap"

	"github.com/conclave-mls/conclave/internal/step"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// openers open the application messages of all conversations, as many at once as
// there are processors. Messages that wait at one moment are opened together, those
// of different conversations too, as signatures verified together take little more
// than half the time. No processor is idle for the sake of company: who is about to open
// lets those run that are ready to, as long as they bring more, and what they have
// brought by then is the batch.
//
// The System owns them. Actors of conversations bring messages and open shares, also of
// others; workers of their own, which are not the host's, open what is left. A message's
// key and what comes of it belong to whoever opens its share, from take until the run's
// Done, and then to the actor that waits for the run.
type openers struct {
	log                *zap.Logger
	workers            *workers
	minShare, maxShare int

	mu      sync.Mutex // guards what follows, and what is waiting of every run
	most    int        // shares opened at once
	waiting []opening
	working int // shares being opened, by actors and workers
	taken   int // the messages in them
}

// A share is what is opened together: of what waits and what is being opened, the part
// that falls to one processor, if that is not too few to gain by company, nor so many
// that the first waits long for the last. A part of what waits alone would become ever
// smaller while half of all messages are being opened.
const (
	minShare = 8
	maxShare = 64
)

// opening is a message that waits to be opened, and its place in the run it is of.
type opening struct {
	run *opened
	at  int
	key *mlsgroup.MessageKey
}

// opened is what became of the messages of a run: of each pair one is nil.
type opened struct {
	contents []*mlsgroup.Received
	errs     []error
	waiting  int            // how many nobody has taken yet; behind openers.mu
	left     sync.WaitGroup // those that are not open
}

func newOpeners(log *zap.Logger, b step.Bound) *openers {
	return &openers{log: log, workers: newWorkers(), minShare: b.Or(minShare), maxShare: b.Or(maxShare)}
}

// close ends the workers and waits for them. The System calls it when all actors have
// stopped: nobody opens anything any more.
func (o *openers) close() { o.workers.close() }

// open opens messages whose keys have been taken. It waits until all are open.
func (o *openers) open(keys []*mlsgroup.MessageKey) ([]*mlsgroup.Received, []error) {
	r := &opened{contents: make([]*mlsgroup.Received, len(keys)), errs: make([]error, len(keys)), waiting: len(keys)}
	r.left.Add(len(keys))
	o.mu.Lock()
	for i, key := range keys {
		o.waiting = append(o.waiting, opening{r, i, key})
	}
	o.gather(r)
	// Whose messages have been taken by another leaves those that came since alone:
	// who brought them is on its way here, with more.
	if r.waiting > 0 && o.working < o.most {
		o.working++
		share := o.take()
		o.hire()
		o.mu.Unlock()
		o.openTogether(share)
		o.mu.Lock()
		o.taken -= len(share)
		o.working--
		o.hire()
	}
	o.mu.Unlock()
	r.left.Wait()
	return r.contents, r.errs
}

// gather lets others run for as long as that brings messages, and nobody has taken all
// of the run, if there is one. It gives the lock up meanwhile.
func (o *openers) gather(r *opened) {
	for before := -1; before < len(o.waiting) && len(o.waiting) < o.maxShare && (r == nil || r.waiting > 0); {
		before = len(o.waiting)
		o.mu.Unlock()
		runtime.Gosched()
		o.mu.Lock()
	}
	o.most = runtime.GOMAXPROCS(0) // which may change while the engine runs
}

// take takes a share of what waits, the oldest first.
func (o *openers) take() []opening {
	n := (len(o.waiting) + o.taken + o.most - 1) / o.most
	n = min(max(n, o.minShare), o.maxShare, len(o.waiting))
	o.taken += n
	share := make([]opening, n)
	copy(share, o.waiting)
	for _, m := range share {
		m.run.waiting--
	}
	o.waiting = o.waiting[:copy(o.waiting, o.waiting[n:])]
	clear(o.waiting[len(o.waiting) : len(o.waiting)+n])
	return share
}

// hire puts workers to what waits, as far as there may be more.
func (o *openers) hire() {
	for n := len(o.waiting); n > 0 && o.working < o.most; n -= o.minShare {
		o.working++
		o.workers.Schedule(o.work)
	}
}

// work opens share after share until nothing waits. It runs on a worker, which is idle
// then.
func (o *openers) work() {
	o.mu.Lock()
	for o.gather(nil); len(o.waiting) > 0; o.gather(nil) {
		share := o.take()
		o.mu.Unlock()
		o.openTogether(share)
		o.mu.Lock()
		o.taken -= len(share)
	}
	o.working--
	o.mu.Unlock()
}

// openTogether opens a share. A panic costs the message it came from its answer, which is
// ErrInternal: its key is not used up, as with every message that does not open.
func (o *openers) openTogether(share []opening) {
	keys := make([]*mlsgroup.MessageKey, len(share))
	for i := range share {
		keys[i] = share[i].key
	}
	var contents []*mlsgroup.Received
	var errs []error
	err := safely(o.log, "open together", func() error {
		contents, errs = mlsgroup.OpenAll(keys, nil)
		return nil
	})
	for i, m := range share {
		if err != nil {
			m.run.contents[m.at], m.run.errs[m.at] = o.openAlone(m.key)
		} else {
			m.run.contents[m.at], m.run.errs[m.at] = contents[i], errs[i]
		}
		m.run.left.Done()
	}
}

func (o *openers) openAlone(key *mlsgroup.MessageKey) (content *mlsgroup.Received, err error) {
	err = safely(o.log, "open", func() (err error) {
		content, err = key.Open()
		return err
	})
	return content, err
}

// openApart opens messages of a conversation in which signatures were bad of late,
// so that batches with those of others do not fail for its sake.
func (o *openers) openApart(keys []*mlsgroup.MessageKey) ([]*mlsgroup.Received, []error) {
	contents, errs := make([]*mlsgroup.Received, len(keys)), make([]error, len(keys))
	for i, key := range keys {
		contents[i], errs[i] = o.openAlone(key)
	}
	return contents, errs
}
