package actors

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/store"
)

// brittle is a source of randomness that panics when it is told to, with what it
// must not tell.
type brittle struct{ breaks atomic.Bool }

const confidential = "the launch code"

func (b *brittle) Read(p []byte) (int, error) {
	if b.breaks.Swap(false) {
		panic(confidential)
	}
	return rand.Read(p)
}

func TestPanicCostsOneRequest(t *testing.T) {
	var log bytes.Buffer
	r := new(brittle)
	w := newWorld(t, func(o *Options) {
		o.Rand = r
		o.Logger = zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.Lock(zapcore.AddSync(&log)), zap.DebugLevel))
	})
	alice, bob := w.peer("alice"), w.peer("bob")
	alice.create(conv)
	alice.add(conv, bob)
	for _, to := range []func() messages.Address{
		func() messages.Address { return alice.at(conv) },
		func() messages.Address { return alice.in(conv, alice.begin()) },
	} {
		at := to()
		r.breaks.Store(true)
		wantError(t, alice.try(at, messages.EncryptMessage{Plaintext: []byte("x")}), messages.ErrInternal)
		if at.Transaction != 0 {
			wantError(t, alice.try(at, messages.EncryptMessage{Plaintext: []byte("x")}), messages.ErrInternal)
			err := alice.try(alice.in("", at.Transaction), messages.Finish{})
			wantError(t, err, messages.ErrTransactionFailed)
		}
		bob.expectText(conv, alice.encrypt(alice.at(conv), "after"), "after")
	}
	// The client's actor, the caller's goroutine, the directory.
	r.breaks.Store(true)
	wantError(t, alice.try(alice.at(""), messages.AddCredential{CipherSuite: 1}), messages.ErrInternal)
	r.breaks.Store(true)
	wantError(t, alice.try(alice.at(other), messages.CreateConversation{}), messages.ErrInternal)
	alice.create(other)
	r.breaks.Store(true)
	wantError(t, alice.try(messages.Address{}, messages.InitClient{ClientID: "dave"}), messages.ErrInternal)
	w.peer("dave")
	w.service.set(func(context.Context, string, messages.CommitBundle) (messages.Verdict, error) { panic(confidential) })
	wantErrorAs[*messages.CommitInDoubt](t, alice.update(alice.at(conv)))
	w.stop()
	if !strings.Contains(log.String(), "panic") {
		t.Error("panics are not in the log")
	}
	if strings.Contains(log.String(), confidential) {
		t.Error("the log quotes what a panic carried")
	}
}

// TestPanicSparesTheBatch: calls of one batch with the one that panics get through.
func TestPanicSparesTheBatch(t *testing.T) {
	r := new(brittle)
	w := newWorld(t, func(o *Options) { o.Rand = r })
	alice, bob := w.peer("alice"), w.peer("bob")
	alice.create(conv)
	alice.add(conv, bob)
	for round := range 20 {
		const n = 16
		sent := make([][]byte, n)
		var wg sync.WaitGroup
		var failed atomic.Int64
		for i := range n {
			wg.Add(1)
			go func() {
				defer wg.Done()
				if i == n/2 {
					r.breaks.Store(true)
				}
				reply, err := w.sys.Ask(context.Background(), alice.at(conv), messages.EncryptMessage{Plaintext: fmt.Append(nil, i)})
				if err != nil {
					wantError(t, err, messages.ErrInternal)
					failed.Add(1)
					return
				}
				sent[i] = reply.(messages.MessageEncrypted).Message
			}()
		}
		wg.Wait()
		if n := failed.Load(); n > 1 {
			t.Errorf("round %d: one panic cost %d calls", round, n)
		}
		r.breaks.Store(false)
		for i, m := range sent {
			if m != nil {
				bob.expectText(conv, m, fmt.Sprint(i))
			}
		}
	}
}

func TestCloseAnswersEveryRequest(t *testing.T) {
	for name, h := range hosts {
		t.Run(name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			w := newWorld(t, func(o *Options) { o.host = h })
			alice, bob := w.peer("alice"), w.peer("bob")
			for _, id := range []messages.ConversationID{conv, other} {
				alice.create(id)
				alice.add(id, bob)
			}
			stuck := make(chan struct{}, 100)
			w.service.set(func(ctx context.Context, _ string, _ messages.CommitBundle) (messages.Verdict, error) {
				stuck <- struct{}{}
				<-ctx.Done()
				return messages.Verdict{}, ctx.Err()
			})
			holder := alice.begin()
			alice.encrypt(alice.in(other, holder), "held")
			var wg sync.WaitGroup
			answer := func(f func() error, allowed ...error) {
				wg.Add(1)
				go func() {
					defer wg.Done()
					err := f()
					for _, want := range append(allowed, messages.ErrClosed) {
						if err == nil || errors.Is(err, want) {
							return
						}
					}
					var doubt *messages.CommitInDoubt
					if !errors.As(err, &doubt) {
						t.Errorf("answered %v", err)
					}
				}()
			}
			answer(func() error { return alice.update(alice.at(conv)) })
			<-stuck
			for range 50 {
				answer(func() error { return alice.try(alice.at(conv), messages.EncryptMessage{}) })  // behind a send
				answer(func() error { return alice.try(alice.at(other), messages.EncryptMessage{}) }) // behind a transaction
				answer(func() error { return bob.try(bob.at(conv), messages.EncryptMessage{}) })      // at work
				answer(func() error { return bob.try(bob.at(""), messages.SetData{}) })               // at work
				answer(func() error { return alice.try(alice.at("new"), messages.CreateConversation{}) }, messages.ErrConversationAlreadyExists)
				answer(func() error { return alice.try(alice.at(""), messages.Begin{}) })
			}
			w.stop()
			done := make(chan struct{})
			go func() { wg.Wait(); close(done) }()
			select {
			case <-done:
			case <-time.After(time.Minute):
				t.Fatal("a request was not answered")
			}
			if err := w.store.Close(); err != nil {
				t.Error(err)
			}
			for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); runtime.Gosched() {
				if runtime.NumGoroutine() <= before {
					return
				}
			}
			buf := make([]byte, 1<<16)
			t.Errorf("%d goroutines are left of %d:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		})
	}
}

func TestBusy(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.MaxConversationRequests, o.MaxRequests = 3, 6 })
	alice := w.peer("alice")
	alice.create(conv)
	alice.create(other)
	arrived, leave := make(chan struct{}), make(chan struct{})
	w.service.set(func(context.Context, string, messages.CommitBundle) (messages.Verdict, error) {
		arrived <- struct{}{}
		<-leave
		return messages.Verdict{}, nil
	})
	var wg sync.WaitGroup
	var answered, busy atomic.Int64
	fill := func(id messages.ConversationID) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := alice.update(alice.at(id)); err == nil {
				answered.Add(1)
			} else if errors.Is(err, messages.ErrBusy) {
				busy.Add(1)
			} else {
				t.Errorf("answered %v", err)
			}
		}()
	}
	fill(conv)
	<-arrived
	// The conversation is full with two more that wait.
	fill(conv)
	fill(conv)
	for w.sys.acquireForTest(alice, conv) < 3 {
		runtime.Gosched()
	}
	wantError(t, alice.update(alice.at(conv)), messages.ErrBusy)
	// Others are served until the engine is full.
	fill(other)
	<-arrived
	fill(other)
	fill(other)
	for w.sys.gate.requests.Load() < 6 {
		runtime.Gosched()
	}
	wantError(t, alice.try(alice.at(""), messages.ListCredentials{}), messages.ErrBusy)
	go func() {
		for range arrived {
		}
	}()
	close(leave)
	wg.Wait()
	close(arrived)
	if answered.Load() != 6 {
		t.Errorf("%d requests were served and %d refused, want 6 and none", answered.Load(), busy.Load())
	}
	alice.encrypt(alice.at(conv), "room again")
}

// acquireForTest returns how many requests a conversation holds.
func (s *System) acquireForTest(p *peer, id messages.ConversationID) int64 {
	e, ok := s.conversations.load(entryKey{instance: p.instance, id: id})
	if !ok {
		return 0
	}
	return e.gate.requests.Load()
}

func TestBytesAreBounded(t *testing.T) {
	g := newGate(10, 100)
	if err := g.enter(1000); err != nil {
		t.Errorf("a large request that is alone: %v", err)
	}
	if err := g.enter(1); !errors.Is(err, messages.ErrBusy) {
		t.Errorf("beside it: %v", err)
	}
	g.leave(1000)
	if err := g.enter(60); err != nil {
		t.Error(err)
	}
	if err := g.enter(60); !errors.Is(err, messages.ErrBusy) {
		t.Errorf("120 of 100 bytes: %v", err)
	}
	if err := g.enter(40); err != nil {
		t.Errorf("100 of 100 bytes: %v", err)
	}
}

// TestCancelled ends the context in every phase of a request.
func TestCancelled(t *testing.T) {
	w, alice, bob := pair(t)
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	askCtx := func(ctx context.Context, to messages.Address, r messages.Request) error {
		_, err := w.sys.Ask(ctx, to, r)
		return err
	}
	t.Run("before", func(t *testing.T) {
		for _, r := range []messages.Request{
			messages.EncryptMessage{}, messages.CreateConversation{}, messages.UpdateKeyMaterial{}, messages.ReadConversation{},
		} {
			wantError(t, askCtx(cancelled, alice.at(conv), r), context.Canceled)
		}
		wantError(t, askCtx(cancelled, alice.at(""), messages.Begin{}), context.Canceled)
	})
	t.Run("waiting for the guard", func(t *testing.T) {
		tx := alice.begin()
		alice.encrypt(alice.in(conv, tx), "held")
		waiting := alice.begin()
		for _, to := range []messages.Address{alice.at(conv), alice.in(conv, waiting)} {
			ctx, cancel := context.WithCancel(context.Background())
			result := make(chan error, 1)
			go func() { result <- askCtx(ctx, to, messages.EncryptMessage{}) }()
			for w.sys.acquireForTest(alice, conv) == 0 {
				runtime.Gosched()
			}
			cancel()
			wantError(t, <-result, context.Canceled)
		}
		alice.finish(tx)
		alice.encrypt(alice.in(conv, waiting), "the transaction goes on")
		alice.finish(waiting)
	})
	t.Run("in a transaction's decision", func(t *testing.T) {
		tx := alice.begin()
		ask[messages.DataSet](t, w.sys, alice.in("", tx), messages.SetData{Data: []byte("x")})
		wantError(t, askCtx(cancelled, alice.in("", tx), messages.Finish{}), context.Canceled)
		wantError(t, askCtx(context.Background(), alice.in("", tx), messages.Abort{}), messages.ErrInvalidTransaction)
		// A transaction that has read the blob keeps a blind write from being decided.
		reader, blind := alice.begin(), alice.begin()
		ask[messages.DataRead](t, w.sys, alice.in("", reader), messages.ReadData{})
		ask[messages.DataSet](t, w.sys, alice.in("", blind), messages.SetData{Data: []byte("blind")})
		ctx, cancel := context.WithCancel(context.Background())
		result := make(chan error, 1)
		go func() { result <- askCtx(ctx, alice.in("", blind), messages.Finish{}) }()
		cancel()
		err := <-result
		wantError(t, err, context.Canceled)
		if !errors.Is(err, messages.ErrTransactionFailed) {
			alice.abort(blind)
		}
		if got := ask[messages.DataRead](t, w.sys, alice.in("", reader), messages.ReadData{}); got.Data != nil {
			t.Errorf("data %q: read twice in one transaction, it differs", []byte(got.Data))
		}
		alice.finish(reader)
	})
	t.Run("with the delivery service", func(t *testing.T) {
		arrived := make(chan struct{})
		w.service.set(func(ctx context.Context, _ string, b messages.CommitBundle) (messages.Verdict, error) {
			w.service.accept(b)
			close(arrived)
			<-ctx.Done()
			return messages.Verdict{}, ctx.Err()
		})
		ctx, cancel := context.WithCancel(context.Background())
		result := make(chan error, 1)
		go func() { result <- askCtx(ctx, alice.at(conv), messages.UpdateKeyMaterial{}) }()
		<-arrived
		cancel()
		wantErrorAs[*messages.CommitInDoubt](t, <-result)
		w.service.set(nil)
		alice.encryptWhenSettled()
		bob.sync(conv)
		agree(t, conv, alice, bob)
	})
	t.Run("waiting to be settled", func(t *testing.T) {
		arrived := make(chan struct{}, 10)
		w.service.set(w.lost(false))
		wantErrorAs[*messages.CommitInDoubt](t, alice.update(alice.at(conv)))
		w.service.set(func(ctx context.Context, _ string, b messages.CommitBundle) (messages.Verdict, error) {
			arrived <- struct{}{}
			<-ctx.Done()
			return messages.Verdict{}, ctx.Err()
		})
		ctx, cancel := context.WithCancel(context.Background())
		result := make(chan error, 1)
		go func() { result <- askCtx(ctx, alice.at(conv), messages.EncryptMessage{}) }()
		<-arrived
		cancel()
		wantError(t, <-result, context.Canceled)
		w.service.set(nil)
		ask[messages.InDoubtDropped](t, w.sys, alice.at(conv), messages.DropInDoubt{})
	})
}

// TestSendTimeout: a transport that hangs, and answers when nobody waits any more.
func TestSendTimeout(t *testing.T) {
	w, alice, bob := pair(t)
	w.options.SendTimeout = time.Millisecond // from now on: what is sent before may take its time
	w.reopen()
	answer := make(chan struct{})
	first := true
	w.service.set(func(ctx context.Context, _ string, b messages.CommitBundle) (messages.Verdict, error) {
		if !first {
			return messages.Verdict{}, errLost
		}
		first = false
		<-answer // deaf to its context
		return w.service.accept(b), nil
	})
	wantErrorAs[*messages.CommitInDoubt](t, alice.update(alice.at(conv)))
	alice.expectText(conv, bob.encrypt(bob.at(conv), "meanwhile"), "meanwhile")
	close(answer)
	for alice.state(conv).Epoch != 2 {
		runtime.Gosched()
	}
	alice.expectSettled(conv, 2)
	bob.sync(conv)
	agree(t, conv, alice, bob)
}

// flaky is a store that fails at its nth Apply: with that batch on disk or not.
type flaky struct {
	store  *store.Store
	left   int
	taken  bool
	mu     sync.Mutex
	failed bool
}

func (f *flaky) apply(sets ...*store.ChangeSet) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed {
		return store.ErrFailed
	}
	if f.left--; f.left < 0 {
		f.failed = true
		if f.taken {
			if err := f.store.Apply(sets...); err != nil {
				return err
			}
		}
		return store.ErrOutcomeUnknown
	}
	return f.store.Apply(sets...)
}

// fail makes the next Apply fail.
func (f *flaky) fail() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = 0
}

// TestStoreFails cuts a scenario at each of its writes. Whoever was being served
// hears that the outcome is unknown, everybody later that the store has failed;
// nothing leaves; and a new System over what is on disk finds all or nothing, and
// members that agree.
func TestStoreFails(t *testing.T) {
	for _, taken := range []bool{false, true} {
		for cut := 0; ; cut++ {
			var f *flaky
			w := newWorld(t, func(o *Options) {
				o.RetryPause = maxResendPause
				f = &flaky{store: o.Store, left: 1 << 30, taken: taken}
				o.apply = f.apply
			})
			alice, bob, carol := w.peer("alice"), w.peer("bob"), w.peer("carol")
			for _, id := range []messages.ConversationID{conv, other} {
				alice.create(id)
				alice.add(id, bob)
			}
			messageOf := map[messages.ConversationID][]byte{conv: alice.encrypt(alice.at(conv), "one"), other: alice.encrypt(alice.at(other), "two")}
			kp := carol.keyPackage()
			f.mu.Lock()
			f.left = cut
			f.mu.Unlock()
			err := scenario(w, alice, bob, kp, messageOf)
			reached := f.failed
			if reached {
				if !errors.Is(err, messages.ErrOutcomeUnknown) {
					t.Errorf("cut %d: answered %v, want ErrOutcomeUnknown", cut, err)
				}
				wantError(t, alice.try(alice.at(conv), messages.ReadConversation{}), messages.ErrStoreFailed)
			} else if err != nil {
				t.Fatalf("cut %d was not reached: %v", cut, err)
			}
			w.stop()
			w.options.apply = nil
			w.start()
			for _, p := range w.peers {
				p.open()
			}
			w.service.set(nil)
			// One of the two was read if and only if the other was.
			var read [2]bool
			for i, id := range []messages.ConversationID{conv, other} {
				err := bob.try(bob.at(id), messages.DecryptMessage{Message: messageOf[id]})
				read[i] = errors.Is(err, messages.ErrDuplicateMessage)
				if err != nil && !read[i] {
					t.Errorf("cut %d: %v", cut, err)
				}
			}
			if read[0] != read[1] {
				t.Errorf("cut %d: half of a transaction is on disk", cut)
			}
			for _, id := range []messages.ConversationID{conv, other} {
				for _, p := range []*peer{alice, bob} {
					p.read[id] = 1
					p.sync(id)
				}
				alice.encryptWhenSettledIn(id)
				alice.sync(id)
				bob.encryptWhenSettledIn(id)
				bob.sync(id)
				agree(t, id, alice, bob)
			}
			if !reached {
				if cut < 8 {
					t.Errorf("the scenario has only %d writes", cut)
				}
				break
			}
		}
	}
}

func (p *peer) encryptWhenSettledIn(id messages.ConversationID) {
	p.t.Helper()
	var err error
	for range 100 {
		if err = p.try(p.at(id), messages.EncryptMessage{Plaintext: []byte("settled")}); err == nil {
			return
		}
		if errors.Is(err, messages.ErrPendingProposals) {
			p.try(p.at(id), messages.CommitPendingProposals{})
		}
	}
	p.t.Errorf("%s: encrypting in %s: %v", p.name, id, err)
}

// scenario is a bit of everything that writes. It answers the first error.
func scenario(w *world, alice, bob *peer, kp []byte, messageOf map[messages.ConversationID][]byte) error {
	steps := []struct {
		to func() messages.Address
		r  messages.Request
	}{
		{func() messages.Address { return alice.at(conv) }, messages.EncryptMessage{Plaintext: []byte("x")}},
		{func() messages.Address { return alice.at(conv) }, messages.UpdateKeyMaterial{}},
		{func() messages.Address { return alice.at(other) }, messages.AddMembers{KeyPackages: [][]byte{kp}}},
		{func() messages.Address { return alice.at(conv) }, messages.ProposeUpdate{}},
		{func() messages.Address { return alice.at(conv) }, messages.CommitPendingProposals{}},
		{func() messages.Address { return alice.at("third") }, messages.CreateConversation{}},
		{func() messages.Address { return bob.at("") }, messages.SetData{Data: []byte("data")}},
	}
	for _, s := range steps {
		if err := alice.try(s.to(), s.r); err != nil {
			return err
		}
	}
	begun, err := w.sys.Ask(context.Background(), bob.at(""), messages.Begin{})
	if err != nil {
		return err
	}
	tx := begun.(messages.TransactionBegun).Transaction
	for _, id := range []messages.ConversationID{conv, other} {
		if err := bob.try(bob.in(id, tx), messages.DecryptMessage{Message: messageOf[id]}); err != nil {
			return err
		}
	}
	if err := bob.try(bob.in(conv, tx), messages.EncryptMessage{Plaintext: []byte("handed out")}); err != nil {
		return err
	}
	err = bob.try(bob.in("", tx), messages.Finish{})
	var failed *messages.TransactionFailed
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}

var _ io.Reader = (*brittle)(nil)

// TestSleepEnds: where the wait is over when the pause is, the wait counts.
func TestSleepEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		if sleep(ctx, 0) {
			t.Fatal("it would go on")
		}
	}
}
