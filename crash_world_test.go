package conclave_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/internal/crashfs"
	"github.com/conclave-mls/conclave/internal/extreme"
	"github.com/conclave-mls/conclave/internal/step"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

// crashWorld is an engine on a disk whose power can be cut, with all its clients, the delivery service they send through, and a witness outside. Its
// steps run one after the other, in full view: what has been answered is known at every cut.
type crashWorld struct {
	t       *testing.T
	fs      vfs.FS
	set     extreme.Setting
	engine  *conclave.Engine
	ds      *enginetest.DeliveryService
	devices map[conclave.ClientID]*enginetest.Device
	witness *enginetest.Witness
	settled chan struct{} // holds a value if a commit has been settled since it was looked at
	cutter  *cutter       // nil: nobody cuts

	mu       sync.Mutex
	step     string
	flying   *flight
	answered map[delivery]bool // processed by a call that has returned
	handed   [][]byte          // application messages that calls have returned
	ledger   ledger
}

// delivery is a message as one client gets it.
type delivery struct {
	client conclave.ClientID
	hash   [32]byte
}

// flight is a commit that has left while the call that sent it has not returned.
type flight struct {
	from         conclave.ClientID
	conversation conclave.ConversationID
	join         bool
	leaving      bool // it has not arrived yet
}

// ledger is what the application knows about its transactions.
type ledger struct {
	client conclave.ClientID
	done   string   // the data that the last transaction whose end was answered has set
	trying string   // the data that the transaction under way sets; it counts as done, or not at all
	reads  [][]byte // messages that transaction decrypts
	// sent is a message that the transaction decrypts before it commits, in red, the conversation of that commit, which is in an epoch then.
	sent  []byte
	epoch uint64
}

const crashDir = "state/engine"

// openOn opens an engine in a directory of a file system, at an extreme.
func openOn(ctx context.Context, fs vfs.FS, dir string, x extreme.Setting, o conclave.Options) (*conclave.Engine, error) {
	o.StateBytes, o.CacheBytes, o.LeaseGenerations = x.StateBytes, x.CacheBytes, x.LeaseGenerations
	return conclave.OpenOn(x.Open(ctx), fs, dir, o)
}

// crashOptions let conversations leave memory as soon as they rest, so that every step begins with what is stored.
func crashOptions() conclave.Options {
	return conclave.Options{Key: testKey, RetryPause: time.Millisecond, SendTimeout: time.Minute, IdleAfter: -1, StateBytes: 1}
}

func newCrashWorld(t *testing.T, fs vfs.FS, x extreme.Setting, ds *enginetest.DeliveryService, witness *enginetest.Witness) *crashWorld {
	return &crashWorld{
		t: t, fs: fs, set: x, ds: ds, witness: witness, settled: make(chan struct{}, 1),
		devices: make(map[conclave.ClientID]*enginetest.Device), answered: make(map[delivery]bool),
	}
}

// open opens the engine.
func (w *crashWorld) open() {
	w.t.Helper()
	var err error
	if w.engine, err = openOn(w.t.Context(), w.fs, crashDir, w.set, crashOptions()); err != nil {
		w.t.Fatalf("open: %v", err)
	}
}

func (w *crashWorld) close() {
	w.t.Helper()
	if err := w.engine.Close(); err != nil {
		w.t.Errorf("close: %v", err)
	}
}

func (w *crashWorld) observer() conclave.Observer {
	return conclave.Observer{CommitSettled: func(conclave.CommitSettled) {
		select {
		case w.settled <- struct{}{}:
		default:
		}
	}}
}

// device opens a client with a working way to the delivery service, which is watched if somebody cuts.
func (w *crashWorld) device(id conclave.ClientID) *enginetest.Device {
	w.t.Helper()
	d, err := enginetest.Open(w.t.Context(), w.engine, w.ds, id, conclave.ClientOptions{Observer: w.observer()})
	if err != nil {
		w.t.Fatalf("open %s: %v", id, err)
	}
	w.devices[id] = d
	if w.cutter == nil {
		return d
	}
	d.Transport.Before = func(_ context.Context, b conclave.CommitBundle) enginetest.Fault {
		w.fly(flight{from: id, conversation: b.Conversation, join: w.step == "join", leaving: true})
		w.cutter.cut(errorfs.Op{Path: "the line"})
		w.fly(flight{from: id, conversation: b.Conversation, join: w.step == "join"})
		return enginetest.FaultNone
	}
	return d
}

// silent opens a client whose sends all get lost.
func (w *crashWorld) silent(id conclave.ClientID) *conclave.Client {
	w.t.Helper()
	c, err := w.engine.Client(w.t.Context(), id, conclave.ClientOptions{Transport: silence{}, Observer: w.observer()})
	if err != nil {
		w.t.Fatalf("open %s: %v", id, err)
	}
	return c
}

// silence is a transport without a line, and without CommitStatus.
type silence struct{}

func (silence) SendCommitBundle(context.Context, conclave.CommitBundle) (conclave.Verdict, error) {
	return conclave.Verdict{}, errors.New("the line is dead")
}

func (w *crashWorld) fly(f flight) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flying = &f
}

// landed tells that the call that sent what was flying has returned.
func (w *crashWorld) landed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flying = nil
}

// say encrypts an application message and sends it.
func (w *crashWorld) say(from conclave.ClientID, id conclave.ConversationID, text string) []byte {
	w.t.Helper()
	sealed, err := w.devices[from].EncryptMessage(w.t.Context(), id, []byte(text))
	if err != nil {
		w.t.Fatalf("%s: %s says %q in %s: %v", w.step, from, text, id, err)
	}
	w.handOut(sealed)
	w.ds.Send(from, id, sealed)
	return sealed
}

// handOut remembers a message that a call has returned.
func (w *crashWorld) handOut(sealed []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handed = append(w.handed, sealed)
}

// event is what became of a message at one client.
type event struct {
	client conclave.ClientID
	enginetest.Event
}

// receive lets a client process what waits for it: one after the other, or where everything is taken at once, all up to the next Welcome as a stream.
func (w *crashWorld) receive(id conclave.ClientID) []event {
	w.t.Helper()
	var events []event
	for {
		waiting := w.ds.Waiting(id, 1<<20)
		if len(waiting) == 0 {
			return events
		}
		in := waiting[0]
		if w.set.Step == step.All && !in.Welcome {
			n := slices.IndexFunc(waiting, func(in enginetest.Delivery) bool { return in.Welcome })
			if n < 0 {
				n = len(waiting)
			}
			events = append(events, w.stream(id, waiting[:n])...)
			continue
		}
		e := event{client: id, Event: enginetest.Event{Delivery: in}}
		d := w.devices[id]
		if in.Welcome {
			e.Joined, e.Err = d.ProcessWelcome(w.t.Context(), in.Message, conclave.JoinOptions{})
		} else {
			e.Message, e.Err = d.DecryptMessage(w.t.Context(), in.Conversation, in.Message)
		}
		w.mu.Lock()
		w.answered[delivery{id, sha256.Sum256(in.Message)}] = true
		w.mu.Unlock()
		w.ds.Done(id, 1)
		events = append(events, e)
	}
}

// stream lets a client process deliveries as one stream.
func (w *crashWorld) stream(id conclave.ClientID, waiting []enginetest.Delivery) []event {
	w.t.Helper()
	events, heard := make([]event, len(waiting)), 0
	for out, err := range w.devices[id].DecryptAll(w.t.Context(), func(yield func(conclave.Incoming) bool) {
		for _, in := range waiting {
			if !yield(conclave.Incoming{Conversation: in.Conversation, Message: in.Message}) {
				return
			}
		}
	}) {
		in := waiting[out.Index]
		events[out.Index] = event{client: id, Event: enginetest.Event{Delivery: in, Message: out.Message, Err: err}}
		w.mu.Lock()
		w.answered[delivery{id, sha256.Sum256(in.Message)}] = true
		w.mu.Unlock()
		heard++
	}
	if heard != len(waiting) {
		w.t.Errorf("%s: %s has heard of %d of %d messages", w.step, id, heard, len(waiting))
	}
	w.ds.Done(id, len(waiting))
	return events
}

// settle lets everybody process what waits until nothing does.
func (w *crashWorld) settle() []event {
	w.t.Helper()
	var all []event
	for {
		quiet := true
		for _, id := range sortedKeys(w.devices) {
			if got := w.receive(id); len(got) > 0 {
				all, quiet = append(all, got...), false
			}
		}
		if quiet {
			break
		}
	}
	if err := w.witness.Receive(w.ds); err != nil {
		w.t.Errorf("%s: %v", w.step, err)
	}
	return all
}

// agree checks that all members of every conversation are in the delivery service's epoch with one state, the witness's.
func (w *crashWorld) agree(conversations ...conclave.ConversationID) {
	w.t.Helper()
	for _, id := range conversations {
		epoch, begun := w.ds.Epoch(id)
		if !begun {
			continue
		}
		witnessed, authenticator := w.witness.Authenticator(id)
		for _, member := range w.ds.Members(id) {
			if member == w.witness.ID() {
				if witnessed != epoch {
					w.t.Errorf("%s: the witness is in epoch %d of %s, the delivery service in %d", w.step, witnessed, id, epoch)
				}
				continue
			}
			state, err := w.devices[member].Conversation(id).State(w.t.Context())
			switch {
			case err != nil:
				w.t.Errorf("%s: %s: state of %s: %v", w.step, member, id, err)
			case !state.Exists || state.Epoch != epoch:
				w.t.Errorf("%s: %s is in epoch %d of %s (exists: %t), the delivery service in %d", w.step, member, state.Epoch, id, state.Exists, epoch)
			case authenticator != nil && !authenticator.Equal(state.EpochAuthenticator):
				w.t.Errorf("%s: %s has another state of epoch %d of %s than the witness", w.step, member, epoch, id)
			}
		}
	}
}

// cut is the world at the moment of a power cut.
type cut struct {
	fs       *vfs.MemFS
	ds       *enginetest.DeliveryService
	witness  *enginetest.Witness
	op       errorfs.Op
	step     string
	flying   *flight
	answered map[delivery]bool
	handed   [][]byte
	ledger   ledger
}

// cutter cuts the power before every change of a disk: the world goes on, and the cut stays as it was.
type cutter struct {
	mem     *crashfs.FS
	percent int // of what was not synced that survives
	rng     *rand.Rand

	mu    sync.Mutex
	world *crashWorld // nil: do not cut
	cuts  []*cut
}

// String names the injector.
func (*cutter) String() string { return "cutter" }

// MaybeError implements errorfs.Injector.
func (c *cutter) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
		c.cut(op)
	}
	return nil
}

// cut cuts the power before an operation.
func (c *cutter) cut(before errorfs.Op) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.world != nil {
		c.cuts = append(c.cuts, c.take(before))
	}
}

func (c *cutter) take(op errorfs.Op) *cut {
	w := c.world
	k := &cut{op: op}
	// A sync that is under way on another goroutine may end, and its message be handed out,
	// while the cut is taken: only what was handed out before has to be on the disk.
	before := w.witness.Clone()
	w.mu.Lock()
	k.handed = w.handed[:len(w.handed):len(w.handed)]
	w.mu.Unlock()
	k.ds = w.ds.Clone(func() {
		k.fs = c.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.percent, RNG: c.rng})
	})
	k.witness = w.witness.Clone()
	k.witness.Forget(before)
	w.mu.Lock()
	defer w.mu.Unlock()
	k.step, k.flying, k.ledger = w.step, w.flying, w.ledger
	k.answered = make(map[delivery]bool, len(w.answered))
	for d := range w.answered {
		k.answered[d] = true
	}
	return k
}

func (c *cutter) watch(w *crashWorld) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.world = w
}
