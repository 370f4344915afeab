package conclave_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/internal/crashfs"
	"github.com/conclave-mls/conclave/internal/extreme"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

// diskFault refuses the at'th operation that matches, and with forever all after it, as a full disk does.
type diskFault struct {
	match   func(errorfs.Op) bool
	at      int64
	forever bool
	armed   atomic.Bool
	count   atomic.Int64
	struck  atomic.Bool
}

// String names the injector.
func (*diskFault) String() string { return "disk fault" }

// MaybeError implements errorfs.Injector.
func (f *diskFault) MaybeError(op errorfs.Op) error {
	if !f.armed.Load() || !f.match(op) {
		return nil
	}
	n := f.count.Add(1) - 1
	if n == f.at || f.forever && n > f.at {
		f.struck.Store(true)
		return syscall.ENOSPC
	}
	return nil
}

// faultRooms are the conversations of alice and bob in which callers wait when the disk fails, one room each; joining is one that alice is invited to.
var faultRooms = []conclave.ConversationID{"encrypt", "decrypt", "commit", "first of two", "second of two"}

const joining = conclave.ConversationID("joining")

// faultBase makes the world in which disks fail, and returns what is on its disk and at its delivery service.
func faultBase(t *testing.T) (vfs.FS, *enginetest.DeliveryService, *enginetest.Witness) {
	t.Helper()
	ds := enginetest.NewDeliveryService()
	witness, err := enginetest.NewWitness(ds, "witness", 1, mlsgroup.ProfileWire, len(faultRooms)+1)
	if err != nil {
		t.Fatal(err)
	}
	mem := crashfs.New()
	w := newCrashWorld(t, mem, extreme.Of(0), ds, witness)
	w.open()
	w.device("alice")
	w.device("bob")
	ctx := t.Context()
	for _, id := range faultRooms {
		w.must(w.devices["alice"].CreateConversation(ctx, id, conclave.ConversationOptions{}))
		w.must(w.devices["alice"].Add(ctx, id, "bob", witness.ID()))
	}
	w.settle()
	w.agree(faultRooms...)
	for _, id := range []conclave.ConversationID{"decrypt", "first of two", "second of two"} {
		w.say("bob", id, "for alice")
	}
	w.must(w.devices["bob"].CreateConversation(ctx, joining, conclave.ConversationOptions{}))
	w.must(w.devices["bob"].Add(ctx, joining, "alice", witness.ID()))
	w.close()
	return mem, ds, witness
}

// caller is one call that is under way when the disk fails.
type caller struct {
	name string
	call func(ctx context.Context, alice *conclave.Client, in map[conclave.ConversationID][]byte) (result int, err error)
}

// callers do everything that writes, each once. The result is the size of what they were given; it has to be 0 with an error.
var callers = []caller{
	{"encrypt", func(ctx context.Context, a *conclave.Client, _ map[conclave.ConversationID][]byte) (int, error) {
		sealed, err := a.EncryptMessage(ctx, "encrypt", []byte("text"))
		return len(sealed), err
	}},
	{"decrypt", func(ctx context.Context, a *conclave.Client, in map[conclave.ConversationID][]byte) (int, error) {
		got, err := a.DecryptMessage(ctx, "decrypt", in["decrypt"])
		return len(got.Plaintext) + int(got.Outcome), err
	}},
	{"commit", func(ctx context.Context, a *conclave.Client, _ map[conclave.ConversationID][]byte) (int, error) {
		got, err := a.UpdateKeyMaterial(ctx, "commit")
		return int(got.Epoch), err
	}},
	{"transaction", func(ctx context.Context, a *conclave.Client, in map[conclave.ConversationID][]byte) (int, error) {
		return 0, a.Transaction(ctx, func(tx *conclave.Tx) error {
			for _, id := range []conclave.ConversationID{"first of two", "second of two"} {
				if _, err := tx.DecryptMessage(ctx, id, in[id]); err != nil {
					return err
				}
				if _, err := tx.EncryptMessage(ctx, id, []byte("answer")); err != nil {
					return err
				}
			}
			return tx.SetData(ctx, []byte("both"))
		})
	}},
	{"join", func(ctx context.Context, a *conclave.Client, in map[conclave.ConversationID][]byte) (int, error) {
		got, err := a.ProcessWelcome(ctx, in[joining], conclave.JoinOptions{})
		return len(got.Conversation), err
	}},
	{"key packages", func(ctx context.Context, a *conclave.Client, _ map[conclave.ConversationID][]byte) (int, error) {
		made, err := a.GenerateKeyPackages(ctx, conclave.KeyPackageOptions{Count: 3})
		return len(made), err
	}},
}

// TestDiskFault refuses each write and each sync in turn, once or for good, while callers of every kind wait.
func TestDiskFault(t *testing.T) {
	mem, ds, witness := faultBase(t)
	write := func(op errorfs.Op) bool {
		return op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpFilePreallocate && op.Kind != errorfs.OpRemove
	}
	sync := func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData }
	for i, of := range []struct {
		name    string
		match   func(errorfs.Op) bool
		forever bool
	}{{"write, for good", write, true}, {"write", write, false}, {"sync, for good", sync, true}, {"sync", sync, false}} {
		if testing.Short() && !of.forever {
			continue
		}
		t.Run(of.name, func(t *testing.T) {
			extreme.Run(t, uint64(i), func(t *testing.T, x extreme.Setting) {
				n := int64(0)
				for ; ; n++ {
					f := &diskFault{match: of.match, at: n, forever: of.forever}
					r := &faultRun{t: t, set: x, what: fmt.Sprintf("%s %d", of.name, n), fault: f}
					r.run(mem, ds, witness)
					if t.Failed() {
						return
					}
					if !f.struck.Load() {
						break
					}
				}
				if n < 5 {
					t.Errorf("only %d operations", n)
				}
			})
		})
	}
}

// TestDiskFaultNamesCommits: a transaction whose step meets the end of the disk names the commit that was accepted before, however it is ended.
func TestDiskFaultNamesCommits(t *testing.T) {
	ctx := t.Context()
	failing := func(f *diskFault, tx *conclave.Tx) error {
		if _, err := tx.UpdateKeyMaterial(ctx, "room"); err != nil {
			return err
		}
		f.armed.Store(true)
		_, err := tx.EncryptMessage(ctx, "room", []byte("of the next epoch"))
		wantCode(t, err, conclave.CodeOutcomeUnknown)
		return err
	}
	for name, run := range map[string]func(alice *conclave.Client, f *diskFault) error{
		"callback": func(alice *conclave.Client, f *diskFault) error {
			return alice.Transaction(ctx, func(tx *conclave.Tx) error { return failing(f, tx) })
		},
		"finish": func(alice *conclave.Client, f *diskFault) error {
			tx, err := alice.Begin(ctx)
			if err != nil || failing(f, tx) == nil {
				t.Fatal(err)
			}
			_, err = tx.Finish(ctx)
			wantCode(t, err, conclave.CodeStoreFailed)
			return err
		},
		"abort": func(alice *conclave.Client, f *diskFault) error {
			tx, err := alice.Begin(ctx)
			if err != nil || failing(f, tx) == nil {
				t.Fatal(err)
			}
			_, err = tx.Abort(ctx)
			wantCode(t, err, conclave.CodeStoreFailed)
			return err
		},
	} {
		f := &diskFault{match: func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData }, forever: true}
		e, err := conclave.OpenOn(ctx, errorfs.Wrap(crashfs.New(), f), crashDir, conclave.Options{Key: testKey})
		if err != nil {
			t.Fatal(err)
		}
		alice, err := enginetest.Open(ctx, e, enginetest.NewDeliveryService(), "alice", conclave.ClientOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := alice.CreateConversation(ctx, "room", conclave.ConversationOptions{}); err != nil {
			t.Fatal(err)
		}
		failed, ok := errors.AsType[*conclave.TransactionFailed](run(alice.Client, f))
		if !ok || len(failed.Final) != 1 || failed.Final[0].Conversation != "room" || !failed.Final[0].Merged {
			t.Errorf("%s: names %+v", name, failed)
		}
		_ = e.Close()
	}
}

// faultRun is one failure of a disk.
type faultRun struct {
	t     *testing.T
	set   extreme.Setting
	what  string
	fault *diskFault
	fs    *crashfs.FS
	ds    *enginetest.DeliveryService

	mu     sync.Mutex
	epochs map[conclave.ConversationID]int // events that the engine has told
	errs   map[string]error                // by caller
}

func (r *faultRun) run(base vfs.FS, ds *enginetest.DeliveryService, witness *enginetest.Witness) {
	t := r.t
	t.Helper()
	before := runtime.NumGoroutine()
	r.fs, r.ds = crashfs.New(), ds.Clone(nil)
	r.epochs, r.errs = make(map[conclave.ConversationID]int), make(map[string]error)
	if ok, err := vfs.Clone(base, r.fs, "state", "state", vfs.CloneSync); !ok || err != nil {
		t.Fatal(ok, err)
	}
	for _, dir := range []string{"", "state", crashDir, crashDir + "/records"} {
		d, err := r.fs.OpenDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			t.Fatal(err)
		}
	}
	e, err := openOn(t.Context(), errorfs.Wrap(r.fs, r.fault), crashDir, r.set, crashOptions())
	if err != nil {
		t.Fatal(err)
	}
	alice, err := enginetest.Open(t.Context(), e, r.ds, "alice", conclave.ClientOptions{Observer: conclave.Observer{
		EpochChanged: func(c conclave.EpochChanged) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.epochs[c.Conversation]++
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	in := make(map[conclave.ConversationID][]byte)
	for _, d := range r.ds.Waiting("alice", 10) {
		in[d.Conversation] = d.Message
	}
	r.call(alice.Client, in)
	if r.fault.struck.Load() {
		if _, err := alice.EncryptMessage(t.Context(), "encrypt", nil); !errors.Is(err, conclave.CodeStoreFailed) {
			t.Errorf("%s: a call after the failure answers %v", r.what, err)
		}
	}
	if err := e.Close(); err != nil && !r.fault.struck.Load() {
		t.Errorf("%s: close: %v", r.what, err)
	}
	r.checkEpochs()
	for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%s: goroutines are left\n%s", r.what, buf[:runtime.Stack(buf, true)])
		}
	}
	r.fault.armed.Store(false)
	r.reopen(r.fs.CrashClone(vfs.CrashCloneCfg{}), witness.Clone(), in)
	r.reopen(r.fs, witness.Clone(), in)
}

// call has all callers call at once and the disk fail.
func (r *faultRun) call(alice *conclave.Client, in map[conclave.ConversationID][]byte) {
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	r.fault.armed.Store(true)
	var all sync.WaitGroup
	for _, c := range callers {
		all.Go(func() {
			result, err := c.call(ctx, alice, in)
			r.mu.Lock()
			defer r.mu.Unlock()
			r.errs[c.name] = err
			if err == nil {
				return
			}
			if result != 0 {
				r.t.Errorf("%s: %s fails with %v and gives something out", r.what, c.name, err)
			}
			unknown, failed := errors.Is(err, conclave.CodeOutcomeUnknown), errors.Is(err, conclave.CodeStoreFailed)
			if !unknown && !failed { // a transaction whose step is unknown may say that its abort failed, too
				r.t.Errorf("%s: %s fails with %v, want OutcomeUnknown or StoreFailed", r.what, c.name, err)
			}
			if !r.fault.struck.Load() {
				r.t.Errorf("%s: %s fails with a good disk: %v", r.what, c.name, err)
			}
		})
	}
	all.Wait()
}

// checkEpochs compares the events with the answers.
func (r *faultRun) checkEpochs() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, caller := range map[conclave.ConversationID]string{"commit": "commit", joining: "join"} {
		if told := r.epochs[id]; r.errs[caller] != nil && told != 0 || r.errs[caller] == nil && told > 1 {
			r.t.Errorf("%s: %s answered %v and told %d epochs", r.what, caller, r.errs[caller], told)
		}
	}
}

// reopen compares the answers with what is there, and lets everybody go on.
func (r *faultRun) reopen(fs vfs.FS, witness *enginetest.Witness, in map[conclave.ConversationID][]byte) {
	t := r.t
	t.Helper()
	ctx := t.Context()
	w := newCrashWorld(t, fs, r.set, r.ds.Clone(nil), witness)
	w.step = r.what
	w.open()
	defer w.close()
	alice := w.device("alice").Client
	w.device("bob")

	data, err := alice.Data(ctx)
	if err != nil {
		t.Fatalf("%s: %v", r.what, err)
	}
	r.check("transaction", string(data) == "both")
	joined, err := alice.ConversationExists(ctx, joining)
	if err != nil {
		t.Fatalf("%s: %v", r.what, err)
	}
	r.check("join", joined)
	count, err := alice.ValidKeyPackageCount(ctx, 1, 0)
	if err != nil {
		t.Fatalf("%s: %v", r.what, err)
	}
	if joined {
		count++ // it has used one up
	}
	if count != keyPackagesBefore && count != keyPackagesBefore+3 {
		t.Errorf("%s: %d key packages, want %d or 3 more", r.what, count, keyPackagesBefore)
	}
	r.check("key packages", count == keyPackagesBefore+3)

	read := make(map[conclave.ConversationID]bool)
	for _, e := range w.await() {
		again := joined && e.Delivery.Welcome && (errors.Is(e.Err, conclave.CodeConversationAlreadyExists) || errors.Is(e.Err, conclave.CodeOrphanWelcome))
		if e.Err != nil && !conclave.IsIgnorable(e.Err) && !again {
			t.Errorf("%s: %s in %s: %v", r.what, e.client, e.Delivery.Conversation, e.Err)
		}
		if e.client == "alice" && slices.Equal(e.Delivery.Message, in[e.Delivery.Conversation]) {
			read[e.Delivery.Conversation] = e.Err == nil
		}
	}
	r.check("decrypt", !read["decrypt"])
	for _, id := range []conclave.ConversationID{"first of two", "second of two"} {
		if read[id] == (string(data) == "both") {
			t.Errorf("%s: data is %q, and the message in %s could be read: %t", r.what, data, id, read[id])
		}
	}
	epoch, _ := w.ds.Epoch("commit")
	if r.errs["commit"] == nil && epoch != 2 {
		t.Errorf("%s: the commit was answered, and its epoch is %d", r.what, epoch)
	}
	w.agree(append(faultRooms, joining)...)
	for _, id := range faultRooms {
		w.say("alice", id, "afterwards")
	}
	w.settle()
}

const keyPackagesBefore = 10

// check compares an answer with whether the call has had its effect.
func (r *faultRun) check(caller string, there bool) {
	r.t.Helper()
	switch err := r.errs[caller]; {
	case err == nil && !there:
		r.t.Errorf("%s: %s was answered and is gone", r.what, caller)
	case errors.Is(err, conclave.CodeStoreFailed) && !errors.Is(err, conclave.CodeOutcomeUnknown) && there:
		r.t.Errorf("%s: %s was refused and is there: %v", r.what, caller, err)
	}
}
