package actors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/pki"
	"github.com/conclave-mls/conclave/store"
)

// System is a running set of actors over one store. Its one door is Ask.
type System struct {
	options Options
	log     *zap.Logger
	store   store.Reader
	keys    store.Keys
	memory  *pki.Memory // of the certificates that clients have verified
	host    host
	openers *openers
	gate    gate
	failed  atomic.Bool // the store has failed, see fail
	// resident is the memory of all conversations, by estimate; crowded gets a value
	// when it is more than it may be and one has come to rest.
	resident atomic.Int64
	crowded  chan struct{}
	room     room
	swept    chan struct{} // closed when the sweeper has ended
	started  time.Time
	ids      atomic.Uint64
	// enrollments counts those in memory.
	enrollments atomic.Int64

	clients       *table[messages.Instance, *client]
	conversations *table[entryKey, *entry]
	transactions  *table[messages.TransactionID, *transaction]
	directory     ref
	events        ref

	// background ends when the System closes, with ErrClosed as its cause.
	background context.Context
	cancel     context.CancelCauseFunc
	// goroutines counts those outside actors but for the sweeper: sends, pauses.
	goroutines sync.WaitGroup
	closing    sync.Once
	closeErr   error
}

// Start starts the actors over a store.
func Start(o Options) (*System, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &System{
		options:       o,
		log:           o.Logger,
		store:         o.read,
		keys:          o.Store.Keys(),
		memory:        pki.NewMemory(maxRemembered),
		host:          o.host(),
		openers:       newOpeners(o.Logger, o.Step),
		crowded:       make(chan struct{}, 1),
		room:          room{next: make(chan struct{})},
		swept:         make(chan struct{}),
		started:       time.Now(),
		gate:          newGate(o.MaxRequests, o.MaxBytes),
		clients:       newTable[messages.Instance, *client](),
		conversations: newTable[entryKey, *entry](),
		transactions:  newTable[messages.TransactionID, *transaction](),
	}
	s.background, s.cancel = context.WithCancelCause(context.Background())
	s.directory = s.host.spawn(&directory{sys: s})
	s.events = s.host.spawn(&events{log: s.log})
	go func() {
		defer close(s.swept)
		s.sweep()
	}()
	return s, nil
}

// Ask carries one request to the actor that serves it and waits for the answer.
// When ctx ends, what has not begun is given up; what has is waited for. Every call
// is answered once, also when a step panics, the System closes or the store fails.
func (s *System) Ask(ctx context.Context, to messages.Address, r messages.Request) (messages.Reply, error) {
	if s.failed.Load() && !endsTransaction(r) {
		return nil, messages.ErrStoreFailed
	}
	size, enter := r.Size(), s.gate.enter
	if ends(r) {
		enter = s.gate.pass
	}
	if err := enter(size); err != nil {
		return nil, err
	}
	defer s.gate.leave(size)
	if err := ctx.Err(); err != nil && !ends(r) {
		return nil, err
	}
	var reply messages.Reply
	err := safely(s.log, "ask", func() (err error) {
		reply, err = s.route(ctx, to, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return reply, nil
}

// ends tells whether a request ends a transaction or an enrolment. It reaches them even
// when its context has ended or too many requests wait: guards and enrolments must not be
// held for ever, and the end makes room.
func ends(r messages.Request) bool {
	_, enrollment := r.(messages.EndEnrollment)
	return enrollment || endsTransaction(r)
}

// endsTransaction tells whether a request ends a transaction. When the store has failed it
// cannot do more than name the commits that have left, and only it can.
func endsTransaction(r messages.Request) bool {
	switch r.(type) {
	case messages.Finish, messages.Abort:
		return true
	}
	return false
}

// route finds the way of a request; see package messages.
func (s *System) route(ctx context.Context, to messages.Address, r messages.Request) (messages.Reply, error) {
	if to.Instance == 0 {
		return newTask(ctx, r).wait(s.directory)
	}
	c, ok := s.clients.load(to.Instance)
	if !ok {
		return nil, messages.ErrClientNotFound
	}
	if _, ok := r.(messages.Begin); ok {
		if to.Transaction != 0 {
			return nil, messages.ErrTransactionOpen
		}
		return newTask(ctx, r).wait(c.coordinator)
	}
	at := place{client: c}
	if to.Transaction.OfSend() {
		at.send = to.Transaction
	} else if to.Transaction != 0 {
		tx, ok := s.transactions.load(to.Transaction)
		if !ok || tx.client != c {
			return nil, messages.ErrInvalidTransaction
		}
		at.tx = tx
	}
	return s.perform(ctx, at, to.Conversation, r)
}

// place is where a step happens: a client, and the transaction it belongs to.
type place struct {
	client *client
	tx     *transaction           // nil: a single call
	send   messages.TransactionID // of a callback's single call, else 0
	// entered tells that a step of the transaction is under way which these are parts of:
	// all of them come before its end.
	entered bool
}

// askClient sends a request to the client's actor.
func (s *System) askClient(ctx context.Context, at place, r messages.Request) (messages.Reply, error) {
	return s.askKeeper(ctx, at, at.client.actor, r)
}

// askPKI sends a request to the client's PKI actor.
func (s *System) askPKI(ctx context.Context, at place, r messages.Request) (messages.Reply, error) {
	return s.askKeeper(ctx, at, at.client.pki, r)
}

func (s *System) askKeeper(ctx context.Context, at place, to ref, r messages.Request) (messages.Reply, error) {
	if at.tx != nil && !at.entered {
		if err := at.tx.enter(); err != nil {
			return nil, err
		}
		defer at.tx.leave()
	}
	t := newTask(ctx, r)
	t.tx, t.send = at.tx, at.send
	return t.wait(to)
}

// askConversation sends a request to a conversation's actor, starting it if it is
// not in memory.
func (s *System) askConversation(ctx context.Context, at place, id messages.ConversationID, t *task) (messages.Reply, error) {
	if len(id) > maxName {
		return nil, fmt.Errorf("%w: conversation id of %d bytes", messages.ErrInvalidArgument, len(id))
	}
	t.ctx, t.send = ctx, at.send
	return s.askEntry(ctx, at, entryKey{instance: at.client.instance, id: id}, t)
}

// askEntry sends a task to the actor of a row of the routing table.
func (s *System) askEntry(ctx context.Context, at place, key entryKey, t *task) (messages.Reply, error) {
	if at.tx != nil && !at.entered {
		if err := at.tx.enter(); err != nil {
			return nil, err
		}
		defer at.tx.leave()
	}
	e := s.admit(ctx, at.client, key)
	defer e.release()
	return e.ask(at, t)
}

// ask sends a task to the actor of a row that is held.
func (e *entry) ask(at place, t *task) (messages.Reply, error) {
	size, enter := t.request.Size(), e.gate.enter
	if ends(t.request) {
		enter = e.gate.pass
	}
	if err := enter(size); err != nil {
		return nil, err
	}
	defer e.gate.leave(size)
	t.tx = at.tx
	return t.wait(e.actor)
}

// entryKey names a conversation, or something of another kind, in the routing table.
type entryKey struct {
	instance messages.Instance
	id       messages.ConversationID
	kind     entryKind
}

// entryKind says whose id an entryKey holds.
type entryKind uint8

const (
	entryConversation entryKind = iota
	entrySession
	entryEnrollment
)

// entry is the row of a conversation, a session or an enrolment in the routing table.
type entry struct {
	sys   *System
	key   entryKey
	actor ref
	gate  gate
	// refs counts who may still send to the actor: requests under way,
	// transactions it is enlisted in, sends and resends of its own. It is raised
	// from 0 only under the table's lock; at 0 the actor can be dropped, as no
	// letter is on its way to it.
	refs  atomic.Int64
	used  atomic.Int64 // when it was released last, since the System's start
	bytes atomic.Int64 // its share of System.resident
	over  atomic.Bool  // of an enrolment: it has ended
	// view is what others read of a conversation, nil where they have to ask its actor.
	view atomic.Pointer[view]
}

func (e *entry) hold() { e.refs.Add(1) }

func (e *entry) release() {
	e.used.Store(int64(time.Since(e.sys.started)))
	if e.refs.Add(-1) == 0 && e.sys.isCrowded() {
		e.sys.wakeSweeper()
	}
}

// wakeSweeper has the sweeper make a pass that begins after this call.
func (s *System) wakeSweeper() {
	select {
	case s.crowded <- struct{}{}:
	default:
	}
}

// weigh counts the conversation or session as so many bytes.
func (e *entry) weigh(n int64) {
	e.sys.resident.Add(n - e.bytes.Swap(n))
}

// admit is acquire for a request, which waits for room first if its conversation is not
// in memory: so memory does not grow with how fast they come.
func (s *System) admit(ctx context.Context, c *client, key entryKey) *entry {
	if e := s.find(key); e != nil {
		return e
	}
	s.room.wait(ctx, s)
	return s.acquire(c, key)
}

// acquire returns a row and holds it, starting the actor if it is not in memory.
func (s *System) acquire(c *client, key entryKey) *entry {
	var e *entry
	s.conversations.update(key, func(old *entry, ok bool) (*entry, bool) {
		if e = old; !ok {
			e = &entry{sys: s, key: key, gate: newGate(s.options.MaxConversationRequests, s.options.MaxConversationBytes)}
			switch key.kind {
			case entryConversation:
				e.actor = s.host.spawn(newConversation(s, c, e))
			case entrySession:
				e.actor = s.host.spawn(newSession(s, c, e))
			case entryEnrollment:
				e.over.Store(true) // until one is opened in it
				e.actor = s.host.spawn(newEnrollmentActor(s, c, e))
			}
		}
		e.hold()
		return e, true
	})
	return e
}

// find returns a row that is in memory and holds it, nil if there is none.
func (s *System) find(key entryKey) *entry {
	var e *entry
	s.conversations.update(key, func(old *entry, ok bool) (*entry, bool) {
		if ok {
			e = old
			e.hold()
		}
		return old, ok
	})
	return e
}

// sweep drops conversations and sessions from memory that nobody has asked for a
// while, and those not asked for longest when all together hold too much. Their state is in the store.
func (s *System) sweep() {
	var tick <-chan time.Time
	if s.options.IdleAfter > 0 {
		ticker := time.NewTicker(max(s.options.IdleAfter/sweepFraction, time.Millisecond))
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-s.background.Done():
			return
		case <-tick:
			s.passivate(s.options.IdleAfter)
		case <-s.crowded:
			s.keepToLimit()
		}
	}
}

// room is what those wait for who are to bring something into memory while there is too
// much in it: the end of the sweeper's next pass, which serves all of them at once.
type room struct {
	mu   sync.Mutex    // guards next
	next chan struct{} // closed at the end of the pass that has not begun
	// none says that the last pass has freed nothing, since all is in use: then nobody
	// waits for another.
	none atomic.Bool
}

// wait waits for a pass, if there is too much in memory.
func (r *room) wait(ctx context.Context, s *System) {
	if !s.isCrowded() {
		return
	}
	r.mu.Lock()
	next := r.next
	r.mu.Unlock()
	s.wakeSweeper() // after that: a pass that began before may end without us
	if r.none.Load() {
		return
	}
	select {
	case <-next:
	case <-ctx.Done():
	case <-s.background.Done():
	}
}

// begin begins a pass and returns what ends it.
func (r *room) begin() (end func(freed bool)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	done := r.next
	r.next = make(chan struct{})
	return func(freed bool) {
		r.none.Store(!freed)
		close(done)
	}
}

// keepToLimit makes a pass: it makes room if there has to be more.
func (s *System) keepToLimit() {
	end := s.room.begin()
	end(!s.isCrowded() || s.makeRoom(s.options.StateBytes))
}

// passivate drops the conversations and sessions that have been idle for so long.
func (s *System) passivate(idle time.Duration) {
	before := int64(time.Since(s.started) - idle)
	var stops []<-chan struct{}
	for _, e := range s.conversations.all() {
		if e.used.Load() <= before {
			stops = s.drop(stops, e)
		}
	}
	for _, stopped := range stops {
		<-stopped
	}
}

func (s *System) isCrowded() bool {
	return s.options.StateBytes >= 0 && s.resident.Load() > s.options.StateBytes
}

// makeRoom drops idle conversations and sessions, those first that have been idle for longest,
// until the others hold a good deal less than limit bytes. It tells whether there was one.
func (s *System) makeRoom(limit int64) (freed bool) {
	excess := s.resident.Load() - limit + limit/restFraction
	all := s.conversations.all()
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Compare(a.used.Load(), b.used.Load()) })
	var stops []<-chan struct{}
	for _, e := range all {
		if excess <= 0 {
			break
		}
		bytes, before := e.bytes.Load(), len(stops)
		if stops = s.drop(stops, e); len(stops) > before {
			excess -= bytes
		}
	}
	for _, stopped := range stops {
		<-stopped
	}
	return len(stops) > 0
}

// drop drops a conversation from memory unless it is in use, and then adds to stops
// the channel that is closed when it has gone.
func (s *System) drop(stops []<-chan struct{}, e *entry) []<-chan struct{} {
	if e.refs.Load() > 0 {
		return stops
	}
	s.conversations.update(e.key, func(now *entry, ok bool) (*entry, bool) {
		if !ok || now != e || e.refs.Load() > 0 {
			return now, ok
		}
		stops = append(stops, e.actor.stop())
		return nil, false
	})
	return stops
}

// apply makes changes durable. After a failure of the store every later call answers
// ErrStoreFailed.
func (s *System) apply(sets ...*store.ChangeSet) error {
	err := s.options.apply(sets...)
	if err == nil {
		return nil
	}
	return s.storeError(err)
}

// storeError translates an error of the store, and notes that it has failed.
func (s *System) storeError(err error) error {
	switch {
	case errors.Is(err, store.ErrOutcomeUnknown):
		s.fail()
		return fmt.Errorf("%w: %v", messages.ErrOutcomeUnknown, err)
	case errors.Is(err, store.ErrFailed):
		s.fail()
		return fmt.Errorf("%w: %v", messages.ErrStoreFailed, err)
	case errors.Is(err, store.ErrClosed):
		return messages.ErrClosed
	case errors.Is(err, store.ErrCorrupt):
		return fmt.Errorf("%w: %v", messages.ErrCorrupt, err)
	case errors.Is(err, store.ErrTooLarge):
		return fmt.Errorf("%w: %v", messages.ErrInvalidArgument, err)
	}
	return err
}

// storeFailed tells an actor that nothing becomes durable any more: the decision of a
// transaction that holds a guard may never be told, so whoever waits there is answered.
type storeFailed struct{}

func (storeFailed) letter() {}

// fail notes that the store has failed: from now on Ask lets nothing in, and no actor
// begins what it has been sent before. Who waits at an actor by then has been seen by it
// before, is in the tables, and is answered when the letter comes.
func (s *System) fail() {
	if s.failed.Swap(true) {
		return
	}
	for _, e := range s.conversations.all() {
		e.actor.send(storeFailed{})
	}
	for _, c := range s.clients.all() {
		c.actor.send(storeFailed{})
		c.pki.send(storeFailed{})
	}
}

// turnAway answers a task that is not to be begun any more, and tells whether it was one:
// its caller has given up, or the store has failed.
func (s *System) turnAway(t *task) bool {
	err := t.ctx.Err()
	if err == nil && s.failed.Load() {
		err = messages.ErrStoreFailed
	}
	if err != nil {
		t.answer(nil, err)
	}
	return err != nil
}

// closeActor tells a client or conversation that the engine closes: what waits there
// is answered with ErrClosed, and so is what still comes.
type closeActor struct{ closed chan<- struct{} }

func (closeActor) letter() {}

// Close ends the System: nothing new is let in, transactions are aborted unless their
// decision has begun, what waits is answered with ErrClosed, sends are given up as in
// doubt, and every actor and goroutine ends. The store stays open. When ctx ends
// first, Close answers its error at once; a transport or an observer that does not
// return is then still running.
func (s *System) Close(ctx context.Context) error {
	s.closing.Do(func() { s.closeErr = s.close(ctx) })
	return s.closeErr
}

func (s *System) close(ctx context.Context) error {
	s.gate.shut()
	s.cancel(messages.ErrClosed)
	// First the sweeper: from then on every conversation in the table hears what is
	// said to it.
	if err := await(ctx, s.swept); err != nil {
		return err
	}
	clients := s.clients.all()
	for _, c := range clients {
		ended := make(chan struct{})
		c.coordinator.send(coordinatorClose{ended})
		if err := await(ctx, ended); err != nil {
			return err
		}
	}
	for _, e := range s.conversations.all() {
		e.actor.send(closeActor{})
	}
	for _, c := range clients {
		c.actor.send(closeActor{})
		c.pki.send(closeActor{})
	}
	if err := await(ctx, s.gate.empty); err != nil {
		return err
	}
	// Once more, for those that came after, and until all have heard it: from then on
	// no actor begins a goroutine or a timer.
	for _, e := range s.conversations.all() {
		closed := make(chan struct{})
		e.actor.send(closeActor{closed})
		if err := await(ctx, closed); err != nil {
			return err
		}
	}
	ended := make(chan struct{})
	go func() { s.goroutines.Wait(); close(ended) }()
	if err := await(ctx, ended); err != nil {
		return err
	}
	// Nobody can send any more but actors to each other: first who asks, then who
	// is asked.
	var stops []<-chan struct{}
	for _, c := range s.clients.all() {
		stops = append(stops, c.coordinator.stop())
	}
	for _, e := range s.conversations.all() {
		stops = append(stops, e.actor.stop())
	}
	for _, c := range s.clients.all() {
		stops = append(stops, c.actor.stop(), c.pki.stop())
	}
	for _, stopped := range append(stops, s.directory.stop()) {
		if err := await(ctx, stopped); err != nil {
			return err
		}
	}
	if err := await(ctx, s.events.stop()); err != nil {
		return err
	}
	s.openers.close()
	s.host.close()
	return nil
}

// afterDone calls f on a goroutine of the System when ctx has ended, unless stop is
// called before. Who calls it runs on a counted goroutine or is an actor.
func (s *System) afterDone(ctx context.Context, f func()) (stop func()) {
	s.goroutines.Add(1)
	unless := context.AfterFunc(ctx, func() {
		defer s.goroutines.Done()
		f()
	})
	return func() {
		if unless() {
			s.goroutines.Done()
		}
	}
}

// afterPause calls f on a goroutine of the System after d. stop tells whether it has
// kept f from running; a conversation that closes calls it.
func (s *System) afterPause(d time.Duration, f func()) (stop func() bool) {
	s.goroutines.Add(1)
	timer := time.AfterFunc(d, func() {
		defer s.goroutines.Done()
		f()
	})
	return func() bool {
		if !timer.Stop() {
			return false
		}
		s.goroutines.Done()
		return true
	}
}

func await(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// parallel runs f(0) to f(n-1) on as many goroutines as there are processors.
func parallel(n int, f func(i int)) {
	workers := min(n, runtime.GOMAXPROCS(0))
	if workers <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var (
		next   atomic.Int64
		wg     sync.WaitGroup
		broken atomic.Pointer[any]
	)
	for range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer func() {
				if r := recover(); r != nil {
					broken.Store(&r)
				}
			}()
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		}()
	}
	wg.Wait()
	if r := broken.Load(); r != nil {
		panic(*r) // in the step that asked, where it is turned into an error
	}
}
