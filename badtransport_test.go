package conclave_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

// transportFunc is a transport without CommitStatus.
type transportFunc func(ctx context.Context, b conclave.CommitBundle) (conclave.Verdict, error)

// SendCommitBundle implements conclave.Transport.
func (f transportFunc) SendCommitBundle(ctx context.Context, b conclave.CommitBundle) (conclave.Verdict, error) {
	return f(ctx, b)
}

// TestBadTransport sends a commit by transports that do what they should not. The commit is in doubt, the conversation can be read meanwhile, nothing else
// waits; with a good transport the commit is settled and all agree.
func TestBadTransport(t *testing.T) {
	for _, arrives := range []bool{true, false} {
		for name, bad := range map[string]transportFunc{
			"errors": func(context.Context, conclave.CommitBundle) (conclave.Verdict, error) {
				return conclave.Verdict{}, errors.New("oops")
			},
			"answers and errors": func(context.Context, conclave.CommitBundle) (conclave.Verdict, error) {
				return conclave.Verdict{Kind: conclave.VerdictAccepted}, errors.New("oops")
			},
			"answers nothing": func(context.Context, conclave.CommitBundle) (conclave.Verdict, error) { return conclave.Verdict{}, nil },
			"answers nonsense": func(context.Context, conclave.CommitBundle) (conclave.Verdict, error) {
				return conclave.Verdict{Kind: 77}, nil
			},
			"panics": func(context.Context, conclave.CommitBundle) (conclave.Verdict, error) { panic("oops") },
			"hangs": func(ctx context.Context, _ conclave.CommitBundle) (conclave.Verdict, error) {
				<-ctx.Done()
				return conclave.Verdict{}, ctx.Err()
			},
			"asks again until nobody waits": func(ctx context.Context, b conclave.CommitBundle) (conclave.Verdict, error) {
				if b.Resend { // asked at once, the engine would come to its last try: in time or not, as the clock has it
					<-ctx.Done()
				}
				return conclave.Verdict{Kind: conclave.VerdictRetry}, nil
			},
		} {
			t.Run(name+map[bool]string{true: ", and delivers", false: ", and does not deliver"}[arrives], func(t *testing.T) {
				testBadTransport(t, func(w *transportWorld) transportFunc {
					return func(ctx context.Context, b conclave.CommitBundle) (conclave.Verdict, error) {
						if arrives {
							if _, err := w.good.SendCommitBundle(context.WithoutCancel(ctx), b); err != nil {
								return conclave.Verdict{}, err
							}
						}
						return bad(ctx, b)
					}
				})
			})
		}
	}
}

// TestLateTransport answers after the engine has stopped waiting, and pays no heed to its context.
func TestLateTransport(t *testing.T) {
	for _, verdict := range []conclave.VerdictKind{conclave.VerdictAccepted, conclave.VerdictNotSent} {
		t.Run(verdict.String(), func(t *testing.T) {
			testBadTransport(t, func(w *transportWorld) transportFunc {
				return func(ctx context.Context, b conclave.CommitBundle) (conclave.Verdict, error) {
					if verdict == conclave.VerdictAccepted {
						if _, err := w.good.SendCommitBundle(context.WithoutCancel(ctx), b); err != nil {
							return conclave.Verdict{}, err
						}
					}
					<-w.late
					return conclave.Verdict{Kind: verdict}, nil
				}
			})
		})
	}
}

// transportWorld is an engine with a short SendTimeout.
type transportWorld struct {
	*world
	good    *enginetest.Transport
	late    chan struct{} // closed when late answers may come
	settled chan conclave.CommitSettled
}

func testBadTransport(t *testing.T, bad func(w *transportWorld) transportFunc) {
	ctx := t.Context()
	fs, o := vfs.NewMem(), crashOptions()
	e, err := conclave.OpenOn(ctx, fs, crashDir, o)
	if err != nil {
		t.Fatal(err)
	}
	w := &transportWorld{
		world:   &world{t: t, engine: e, ds: enginetest.NewDeliveryService(), devices: make(map[conclave.ClientID]*enginetest.Device)},
		late:    make(chan struct{}),
		settled: make(chan conclave.CommitSettled, 16),
	}
	w.good = w.ds.Transport("alice")
	observer := conclave.Observer{CommitSettled: func(s conclave.CommitSettled) { w.settled <- s }}
	w.open("alice", conclave.ClientOptions{})
	bob := w.open("bob", conclave.ClientOptions{})
	w.group("room", "alice", "bob")
	w.group("other", "bob", "alice")
	w.group("third", "alice", "bob")
	sealed, err := bob.EncryptMessage(ctx, "room", []byte("meanwhile"))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}

	o.SendTimeout = 20 * time.Millisecond // from now on: what was sent before might take its time
	if e, err = conclave.OpenOn(ctx, fs, crashDir, o); err != nil {
		t.Fatal(err)
	}
	w.engine = e
	alice := w.open("alice", conclave.ClientOptions{Observer: observer})
	w.open("bob", conclave.ClientOptions{})
	if _, err := e.Client(ctx, "alice", conclave.ClientOptions{Transport: bad(w), Observer: observer}); err != nil {
		t.Fatal(err)
	}
	_, err = alice.UpdateKeyMaterial(ctx, "room")
	wantCode(t, err, conclave.CodeCommitInDoubt)
	doubt, ok := errors.AsType[*conclave.CommitInDoubt](err)
	if !ok || doubt.Conversation != "room" || doubt.Epoch != 1 || doubt.Join || doubt.Refused {
		t.Errorf("in doubt %+v", doubt)
	}
	_, err = alice.EncryptMessage(ctx, "room", []byte("no"))
	wantCode(t, err, conclave.CodeCommitInDoubt)
	_, err = alice.ProposeUpdate(ctx, "room")
	wantCode(t, err, conclave.CodeCommitInDoubt)
	wantText(t, alice, "room", sealed, "meanwhile")
	wantEpoch(t, alice, "room", 1)
	if _, err := alice.EncryptMessage(ctx, "third", []byte("not held up")); err != nil {
		t.Errorf("another conversation: %v", err)
	}

	// The good one works however little of SendTimeout the machine has left it: its verdict counts also when it is late.
	patient := transportFunc(func(ctx context.Context, b conclave.CommitBundle) (conclave.Verdict, error) {
		return w.good.SendCommitBundle(context.WithoutCancel(ctx), b)
	})
	if _, err := e.Client(ctx, "alice", conclave.ClientOptions{Transport: patient, Observer: observer}); err != nil {
		t.Fatal(err)
	}
	wait, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	select {
	case s := <-w.settled:
		if s.Hash != doubt.Hash || !s.Accepted || s.Conversation != "room" || s.Epoch != 1 {
			t.Errorf("settled %+v", s)
		}
	case <-wait.Done():
		t.Error("the commit is not settled")
	}
	close(w.late)
	wantEpoch(t, alice, "room", 2)
	w.settle()
	w.agree("room")
	if err := alice.Say(ctx, "room", []byte("and on")); err != nil {
		t.Error(err)
	}
	w.settle()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if n := len(w.settled); n != 0 {
		t.Errorf("settled %d times more", n)
	}
}

// TestNotSent: a commit that has certainly not left changes nothing.
func TestNotSent(t *testing.T) {
	w := newBadWorld(t)
	alice := w.devices["alice"]
	w.settle()
	before := w.dump()
	alice.Transport.Before = func(context.Context, conclave.CommitBundle) enginetest.Fault { return enginetest.FaultNotSent }
	_, err := alice.UpdateKeyMaterial(t.Context(), "room")
	wantCode(t, err, conclave.CodeNotSent)
	if after := w.dump(); len(before) != len(after) {
		t.Errorf("it has left a trace: %s", differences(before, after))
	}
	alice.Transport.Before = nil
	if _, err := alice.UpdateKeyMaterial(t.Context(), "room"); err != nil {
		t.Error(err)
	}
	w.settle()
	w.agree("room")
}

// TestCancelledSending gives up a call while its commit is on its way.
func TestCancelledSending(t *testing.T) {
	w := newBadWorld(t)
	alice := w.devices["alice"]
	w.settle()
	ctx, cancel := context.WithCancel(t.Context())
	alice.Transport.Before = func(_ context.Context, b conclave.CommitBundle) enginetest.Fault {
		if b.Resend {
			return enginetest.FaultNone
		}
		cancel()
		return enginetest.FaultHang
	}
	_, err := alice.UpdateKeyMaterial(ctx, "room")
	wantCode(t, err, conclave.CodeCommitInDoubt)
	// The next one settles it first.
	if _, err := alice.EncryptMessage(t.Context(), "room", []byte("and on")); err != nil {
		t.Error(err)
	}
	w.settle()
	w.agree("room")
	if epoch, _ := w.ds.Epoch("room"); epoch < 3 {
		t.Errorf("epoch %d: nothing of it came", epoch)
	}
}
