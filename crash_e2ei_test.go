package conclave_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/internal/crashfs"
	"github.com/conclave-mls/conclave/internal/extreme"
	"github.com/conclave-mls/conclave/internal/pkitest"
	"github.com/conclave-mls/conclave/tests/enginetest"
)

// e2eiCut is a power cut: what the disk and the delivery service held, and how many steps had been answered.
type e2eiCut struct {
	fs    *vfs.MemFS
	ds    *enginetest.DeliveryService
	steps int
}

// e2eiCutter cuts the power before every change of a disk while it is on; the world goes on.
type e2eiCutter struct {
	mem *crashfs.FS
	ds  *enginetest.DeliveryService
	rng *rand.Rand

	mu    sync.Mutex
	on    bool
	steps int
	cuts  []e2eiCut
}

func newE2EICutter() *e2eiCutter {
	return &e2eiCutter{mem: crashfs.New(), ds: enginetest.NewDeliveryService(), rng: rand.New(rand.NewPCG(5, 5))}
}

// String names the injector.
func (*e2eiCutter) String() string { return "cutter" }

// MaybeError implements errorfs.Injector.
func (c *e2eiCutter) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.on {
		cut := e2eiCut{steps: c.steps}
		cut.ds = c.ds.Clone(func() { cut.fs = c.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: c.rng}) })
		c.cuts = append(c.cuts, cut)
	}
	return nil
}

// answered counts a step whose call has returned.
func (c *e2eiCutter) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.steps++
}

func (c *e2eiCutter) watch(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on = on
}

// chosen returns the cuts to check: all, or in short tests a good part.
func (c *e2eiCutter) chosen(t *testing.T) []e2eiCut {
	t.Helper()
	if len(c.cuts) < 10 {
		t.Fatalf("only %d cuts", len(c.cuts))
	}
	if !testing.Short() {
		return c.cuts
	}
	var some []e2eiCut
	for i := 0; i < len(c.cuts); i += 4 {
		some = append(some, c.cuts[i])
	}
	return some
}

// reopened is the disk of a cut, which checking may change.
func (k e2eiCut) reopened(t *testing.T) vfs.FS {
	t.Helper()
	fs := crashfs.New()
	if ok, err := vfs.Clone(k.fs, fs, "state", "state"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	return fs
}

// crashDevice opens a client that sends through a delivery service.
func crashDevice(t *testing.T, e *conclave.Engine, ds *enginetest.DeliveryService, id conclave.ClientID) *enginetest.Device {
	t.Helper()
	d := &enginetest.Device{Delivery: ds, Transport: ds.Transport(id)}
	var err error
	if d.Client, err = e.Client(t.Context(), id, conclave.ClientOptions{Transport: d.Transport}); err != nil {
		t.Fatal(err)
	}
	return d
}

func crashEngine(t *testing.T, fs vfs.FS, x extreme.Setting, clock *clock) *conclave.Engine {
	t.Helper()
	o := crashOptions()
	o.Now = clock.now
	e, err := openOn(t.Context(), fs, crashDir, x, o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// trustedNow is what a client has of end-to-end identity, to compare.
type trustedNow struct {
	Dump        *conclave.PKIEnvDump
	Credentials []conclave.CredentialEntry
}

func readTrusted(t *testing.T, c *conclave.Client) trustedNow {
	t.Helper()
	var now trustedNow
	var err error
	if now.Dump, err = c.DumpPKIEnv(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now.Credentials, err = c.FindCredentials(t.Context(), conclave.CredentialFilter{Type: 2}); err != nil {
		t.Fatal(err)
	}
	return now
}

// TestCrashRegistration cuts the power before every change of the disk while trust is registered, replaced and used: what is found is the state before or after
// the step under way.
func TestCrashRegistration(t *testing.T) { extreme.Run(t, 1, testCrashRegistration) }

func testCrashRegistration(t *testing.T, x extreme.Setting) {
	clock, cutter := newClock(), newE2EICutter()
	authority := pkitest.New(t, 1, e2eiDomain, clock.now())
	other := pkitest.New(t, 2, "other.example", clock.now())
	issued := authority.Issue(t, pkitest.Leaf{ClientID: string(alice1)}, clock.now())
	first := authority.CRL(t, clock.now(), time.Hour)
	authority.Revoke(clock.now(), issued.Serial)
	second := authority.CRL(t, clock.now(), time.Hour)

	e := crashEngine(t, errorfs.Wrap(cutter.mem, cutter), x, clock)
	alice := crashDevice(t, e, cutter.ds, alice1)
	states := []trustedNow{readTrusted(t, alice.Client)}
	ctx := t.Context()
	steps := []func() error{
		func() error { return errorOf(alice.RegisterTrustAnchor(ctx, authority.Root)) },
		func() error { return errorOf(alice.RegisterIntermediate(ctx, authority.Intermediate)) },
		func() error { return errorOf(alice.RegisterCRL(ctx, authority.Point, first)) },
		func() error {
			return errorOf(alice.SaveX509Credential(ctx, conclave.X509Credential{CipherSuite: 1, Chain: issued.Chain, SignaturePrivate: issued.Private}))
		},
		func() error { return errorOf(alice.RegisterCRL(ctx, authority.Point, second)) },
		func() error { // all of it or nothing
			return alice.Transaction(ctx, func(tx *conclave.Tx) error {
				anchors, err := tx.TrustAnchors(ctx)
				if err != nil {
					return err
				}
				if err := tx.RemoveTrustAnchor(ctx, anchors[0].Fingerprint); err != nil {
					return err
				}
				if _, err := tx.RegisterTrustAnchor(ctx, other.Root); err != nil {
					return err
				}
				_, err = tx.RegisterIntermediate(ctx, other.Intermediate)
				return err
			})
		},
		func() error { // nothing of it
			err := alice.Transaction(ctx, func(tx *conclave.Tx) error {
				if _, err := tx.RegisterTrustAnchor(ctx, authority.Root); err != nil {
					return err
				}
				return errNo
			})
			if !errors.Is(err, errNo) {
				return err
			}
			return nil
		},
	}
	cutter.watch(true)
	for i, step := range steps {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		cutter.answered()
		states = append(states, readTrusted(t, alice.Client))
	}
	cutter.watch(false)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(states[len(states)-1], states[len(states)-2]) {
		t.Error("an aborted registration has changed something")
	}
	for i, k := range cutter.chosen(t) {
		e := crashEngine(t, k.reopened(t), x, clock)
		got := readTrusted(t, crashDevice(t, e, k.ds, alice1).Client)
		if !reflect.DeepEqual(got, states[k.steps]) && !reflect.DeepEqual(got, states[min(k.steps+1, len(states)-1)]) {
			t.Errorf("cut %d, after %d steps: what is there is of neither side of the step", i, k.steps)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

var errNo = errors.New("no")

// TestCrashRotation cuts the power before every change of the disk during a rotation, opens the engine again, and resumes: everything ends rotated, nothing of
// the old credential is left, and the conversations go on.
func TestCrashRotation(t *testing.T) { extreme.Run(t, 3, testCrashRotation) }

func testCrashRotation(t *testing.T, x extreme.Setting) {
	clock, cutter := newClock(), newE2EICutter()
	authority := pkitest.New(t, 1, e2eiDomain, clock.now())
	e := crashEngine(t, errorfs.Wrap(cutter.mem, cutter), x, clock)
	alice, bob := crashDevice(t, e, cutter.ds, alice1), crashDevice(t, e, cutter.ds, bob1)
	rooms := []conclave.ConversationID{"room 1", "room 2"}
	ctx := t.Context()
	for _, d := range []*enginetest.Device{alice, bob} {
		if _, err := d.RegisterTrustAnchor(ctx, authority.Root); err != nil {
			t.Fatal(err)
		}
	}
	save := func(d *enginetest.Device) conclave.SavedX509Credential {
		t.Helper()
		issued := authority.Issue(t, pkitest.Leaf{ClientID: string(d.ID())}, clock.now())
		saved, err := d.SaveX509Credential(ctx, conclave.X509Credential{CipherSuite: 1, Chain: issued.Chain, SignaturePrivate: issued.Private})
		if err != nil {
			t.Fatal(err)
		}
		return saved
	}
	save(bob)
	for _, d := range []*enginetest.Device{alice, bob} {
		if _, err := d.RegisterIntermediate(ctx, authority.Intermediate); err != nil {
			t.Fatal(err)
		}
		if err := d.Publish(ctx, 3); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range rooms {
		if err := alice.CreateConversation(ctx, id, conclave.ConversationOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := alice.Add(ctx, id, bob1); err != nil {
			t.Fatal(err)
		}
	}
	settleAll(t, alice, bob)
	saved := save(alice)
	rotate := func(d *enginetest.Device, ref conclave.CredentialRef) error {
		return d.RotateCredential(ctx, conclave.RotateOptions{
			Credential: ref, KeyPackages: 2,
			Publish: func(_ context.Context, made []conclave.KeyPackageEntry) error {
				d.Delivery.Withdraw(alice1)
				d.Delivery.Publish(alice1, made...)
				return nil
			},
		})
	}
	cutter.watch(true)
	if err := rotate(alice, saved.Credential.Ref); err != nil {
		t.Fatal(err)
	}
	cutter.watch(false)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}

	for i, k := range cutter.chosen(t) {
		e := crashEngine(t, k.reopened(t), x, clock)
		alice, bob := crashDevice(t, e, k.ds, alice1), crashDevice(t, e, k.ds, bob1)
		settleAll(t, alice, bob)
		// Where it had not begun, or had ended, it begins anew; else it is resumed.
		ref := saved.Credential.Ref
		if _, under, err := alice.Rotating(ctx); err != nil {
			t.Fatal(err)
		} else if under {
			ref = conclave.CredentialRef{}
		}
		if err := rotate(alice, ref); err != nil {
			t.Fatalf("cut %d: %v", i, err)
		}
		settleAll(t, alice, bob)
		w := &e2eiWorld{world: &world{t: t, engine: e, ds: k.ds, devices: map[conclave.ClientID]*enginetest.Device{alice1: alice, bob1: bob}}}
		checkRotated(t, w, alice, saved.Credential, rooms)
		if n := k.ds.KeyPackagesLeft(alice1); n != 2 {
			t.Errorf("cut %d: %d key packages are published", i, n)
		}
		for _, id := range rooms {
			if err := alice.Say(ctx, id, []byte("after")); err != nil {
				t.Fatal(err)
			}
		}
		if texts := settleAll(t, bob); len(texts) != len(rooms) {
			t.Errorf("cut %d: bob read %q", i, texts)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			return
		}
	}
}

// settleAll lets devices process what waits for them and returns the texts.
func settleAll(t *testing.T, devices ...*enginetest.Device) (texts []string) {
	t.Helper()
	for _, d := range devices {
		events, err := d.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Err != nil && !conclave.IsIgnorable(e.Err) {
				t.Fatalf("%s: %v", d.ID(), e.Err)
			}
			texts = append(texts, e.Texts()...)
		}
	}
	return texts
}
