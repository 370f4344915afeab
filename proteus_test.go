package conclave_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/internal/crashfs"
	"github.com/conclave-mls/conclave/internal/extreme"
	"github.com/conclave-mls/conclave/internal/vectortest"
)

// proteusDevice is a client that speaks Proteus.
type proteusDevice struct {
	conclave.Proteus
	t      testing.TB
	client *conclave.Client
}

func openProteus(t testing.TB, e *conclave.Engine, id conclave.ClientID) *proteusDevice {
	t.Helper()
	c, err := e.Client(t.Context(), id, conclave.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d := &proteusDevice{c.Proteus(), t, c}
	if _, err := d.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

func proteusEngine(t testing.TB) *conclave.Engine {
	t.Helper()
	e, err := conclave.Open(t.Context(), "", conclave.Options{InMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func (d *proteusDevice) encrypt(id conclave.SessionID, text string) []byte {
	d.t.Helper()
	envelope, err := d.Encrypt(d.t.Context(), id, []byte(text))
	if err != nil {
		d.t.Fatal(err)
	}
	return envelope
}

func (d *proteusDevice) wantText(id conclave.SessionID, envelope []byte, want string) {
	d.t.Helper()
	got, err := d.DecryptSafe(d.t.Context(), id, envelope)
	if err != nil || string(got) != want {
		d.t.Fatalf("%q, %v, want %q", []byte(got), err, want)
	}
}

// meet begins a session of a with b.
func meet(a *proteusDevice, id conclave.SessionID, b *proteusDevice) {
	a.t.Helper()
	_, bundle, err := b.NewPreKeyAuto(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	if err := a.SessionFromPreKey(a.t.Context(), id, bundle); err != nil {
		a.t.Fatal(err)
	}
}

func TestProteusSessions(t *testing.T) {
	ctx := t.Context()
	e := proteusEngine(t)
	c, err := e.Client(ctx, "alice", conclave.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p := c.Proteus()
	_, err = p.Fingerprint(ctx)
	wantCode(t, err, conclave.CodeProteusNotInitialized)
	_, err = p.Encrypt(ctx, "bob", nil)
	wantCode(t, err, conclave.CodeProteusNotInitialized)
	if created, err := p.Init(ctx); err != nil || !created {
		t.Fatalf("the first Init: %t, %v", created, err)
	}
	if created, err := p.Init(ctx); err != nil || created {
		t.Fatalf("the second Init: %t, %v", created, err)
	}
	alice, bob := openProteus(t, e, "alice"), openProteus(t, e, "bob")
	if ok, err := alice.SessionExists(ctx, "bob"); err != nil || ok {
		t.Errorf("a session exists: %t, %v", ok, err)
	}
	_, err = alice.Encrypt(ctx, "bob", nil)
	wantCode(t, err, conclave.CodeSessionNotFound)
	_, err = alice.FingerprintRemote(ctx, "bob")
	wantCode(t, err, conclave.CodeSessionNotFound)
	_, err = alice.Decrypt(ctx, "", []byte("x"))
	wantCode(t, err, conclave.CodeProteus)
	wantCode(t, alice.SessionFromPreKey(ctx, "bob", []byte("x")), conclave.CodeProteus)

	meet(alice, "bob", bob)
	if ok, err := alice.SessionExists(ctx, "bob"); err != nil || !ok {
		t.Errorf("no session exists: %t, %v", ok, err)
	}
	first := alice.encrypt("bob", "hello")
	_, err = bob.Decrypt(ctx, "alice", first)
	wantCode(t, err, conclave.CodeSessionNotFound)
	got, err := bob.SessionFromMessage(ctx, "alice", first)
	if err != nil || string(got) != "hello" {
		t.Fatalf("%q, %v", []byte(got), err)
	}
	_, err = bob.SessionFromMessage(ctx, "alice", first)
	wantCode(t, err, conclave.CodeProteus) // its prekey is used up
	if pe, ok := errors.AsType[*conclave.ProteusError](err); !ok || pe.Code() != 101 {
		t.Errorf("a used prekey: %v", err)
	}
	_, err = bob.Decrypt(ctx, "alice", first)
	wantCode(t, err, conclave.CodeDuplicateMessage)
	if !conclave.IsIgnorable(err) {
		t.Error("a duplicate is not ignorable")
	}
	for i := range 10 {
		bob.wantText("alice", alice.encrypt("bob", fmt.Sprint("to bob ", i)), fmt.Sprint("to bob ", i))
		alice.wantText("bob", bob.encrypt("alice", fmt.Sprint("to alice ", i)), fmt.Sprint("to alice ", i))
	}
	local, err := alice.FingerprintLocal(ctx, "bob")
	if err != nil {
		t.Fatal(err)
	}
	own, err := alice.Fingerprint(ctx)
	if err != nil || own != local || len(own) != 64 {
		t.Errorf("fingerprints %s and %s, %v", own, local, err)
	}
	if seen, err := bob.FingerprintRemote(ctx, "alice"); err != nil || seen != own {
		t.Errorf("bob sees fingerprint %s, %v", seen, err)
	}
	mallory := openProteus(t, e, "mallory")
	meet(mallory, "bob", bob)
	_, err = bob.DecryptSafe(ctx, "alice", mallory.encrypt("bob", "x"))
	wantCode(t, err, conclave.CodeRemoteIdentityChanged)
	if err := alice.SaveSession(ctx, "bob"); err != nil {
		t.Error(err)
	}
	if err := alice.ReloadSessions(ctx); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := alice.DeleteSession(ctx, "bob"); err != nil {
			t.Error(err)
		}
	}
	_, err = alice.Encrypt(ctx, "bob", nil)
	wantCode(t, err, conclave.CodeSessionNotFound)
}

func TestProteusPreKeys(t *testing.T) {
	ctx := t.Context()
	alice := openProteus(t, proteusEngine(t), "alice")
	own, err := alice.Fingerprint(ctx)
	if err != nil {
		t.Fatal(err)
	}
	first, err := alice.NewPreKey(ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	if of, err := conclave.FingerprintPreKeyBundle(first); err != nil || of != own {
		t.Errorf("a bundle of %s, %v", of, err)
	}
	_, err = conclave.FingerprintPreKeyBundle(nil)
	wantCode(t, err, conclave.CodeProteus)
	_, err = alice.NewPreKey(ctx, 2)
	wantCode(t, err, conclave.CodePreKeyExists)
	second, err := alice.ReplacePreKey(ctx, 2)
	if err != nil || bytes.Equal(first, second) {
		t.Errorf("replaced by %x, %v", second, err)
	}
	for _, want := range []uint16{1, 3, 4} {
		if id, _, err := alice.NewPreKeyAuto(ctx); err != nil || id != want {
			t.Errorf("automatic id %d, %v, want %d", id, err, want)
		}
	}
	last, err := alice.LastResortPreKey(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := alice.LastResortPreKey(ctx); err != nil || !bytes.Equal(again, last) {
		t.Errorf("another last resort: %v", err)
	}
	// Two at once never choose the same id.
	var mu sync.Mutex
	ids := make(map[uint16]bool)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			id, _, err := alice.NewPreKeyAuto(ctx)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || ids[id] {
				t.Errorf("id %d, %v", id, err)
			}
			ids[id] = true
		})
	}
	all.Wait()
}

func TestProteusEncryptBatch(t *testing.T) {
	ctx := t.Context()
	e := proteusEngine(t)
	alice := openProteus(t, e, "alice")
	var ids []conclave.SessionID
	devices := make(map[conclave.SessionID]*proteusDevice)
	for i := range 20 {
		id := conclave.SessionID(fmt.Sprint("device ", i))
		devices[id] = openProteus(t, e, conclave.ClientID(id))
		meet(alice, id, devices[id])
		ids = append(ids, id)
	}
	envelopes, err := alice.EncryptBatch(ctx, append(ids, "nobody"), []byte("to all"))
	if err != nil || len(envelopes) != len(ids) {
		t.Fatalf("%d envelopes, %v", len(envelopes), err)
	}
	for id, envelope := range envelopes {
		devices[id].wantText("alice", envelope, "to all")
	}
	if envelopes, err := alice.EncryptBatch(ctx, nil, nil); err != nil || len(envelopes) != 0 {
		t.Errorf("for nobody: %d envelopes, %v", len(envelopes), err)
	}
}

// TestProteusTransaction aborts and finishes transactions: what they staged is there
// wholly or not at all, and no key of an envelope that was handed out is used again.
func TestProteusTransaction(t *testing.T) {
	ctx := t.Context()
	e := proteusEngine(t)
	alice, bob := openProteus(t, e, "alice"), openProteus(t, e, "bob")
	meet(alice, "bob", bob)
	bob.wantText("alice", alice.encrypt("bob", "before"), "before")
	no := errors.New("no")
	var handed [][]byte
	err := alice.client.Transaction(ctx, func(tx *conclave.Tx) error {
		for i := range 3 {
			envelope, err := tx.Proteus().Encrypt(ctx, "bob", fmt.Append(nil, "aborted ", i))
			if err != nil {
				return err
			}
			handed = append(handed, envelope)
		}
		return no
	})
	if !errors.Is(err, no) {
		t.Fatal(err)
	}
	bob.wantText("alice", alice.encrypt("bob", "after"), "after")
	for i, envelope := range handed {
		bob.wantText("alice", envelope, fmt.Sprint("aborted ", i))
	}

	// A first message in an aborted transaction leaves its prekey.
	carol := openProteus(t, e, "carol")
	meet(carol, "alice", alice)
	first := carol.encrypt("alice", "hello")
	for _, end := range []error{no, nil} {
		err := alice.client.Transaction(ctx, func(tx *conclave.Tx) error {
			if got, err := tx.Proteus().DecryptSafe(ctx, "carol", first); err != nil || string(got) != "hello" {
				t.Errorf("%q, %v", []byte(got), err)
			}
			if _, err := tx.Proteus().DecryptSafe(ctx, "carol", first); !errors.Is(err, conclave.CodeDuplicateMessage) {
				t.Errorf("twice in a transaction: %v", err)
			}
			return end
		})
		if !errors.Is(err, end) {
			t.Fatal(err)
		}
		if ok, err := alice.SessionExists(ctx, "carol"); err != nil || ok != (end == nil) {
			t.Errorf("after %v the session exists: %t, %v", end, ok, err)
		}
	}
	_, err = alice.DecryptSafe(ctx, "carol", first)
	wantCode(t, err, conclave.CodeDuplicateMessage)
}

// TestProteusConcurrent has many callers at the same sessions.
func TestProteusConcurrent(t *testing.T) {
	ctx := t.Context()
	e := proteusEngine(t)
	alice, bob := openProteus(t, e, "alice"), openProteus(t, e, "bob")
	meet(alice, "bob", bob)
	bob.wantText("alice", alice.encrypt("bob", "first"), "first")
	var all sync.WaitGroup
	for caller := range 8 {
		all.Go(func() {
			for i := range 20 {
				text := fmt.Sprint(caller, " ", i)
				envelope, err := alice.Encrypt(ctx, "bob", []byte(text))
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := bob.Decrypt(ctx, "alice", envelope); err != nil || string(got) != text {
					t.Errorf("%q, %v", []byte(got), err)
				}
			}
		})
	}
	all.Wait()
}

// TestProteusCrash cuts the power before every write of a history with transactions
// that abort after envelopes have left them. After each cut the session goes on, and
// whatever has been handed out, before and after, opens exactly once at the other side.
func TestProteusCrash(t *testing.T) {
	for n := range uint64(2) {
		extreme.Run(t, 3*n, testProteusCrash)
	}
}

func testProteusCrash(t *testing.T, x extreme.Setting) {
	ctx := t.Context()
	peerEngine := proteusEngine(t)
	type moment struct {
		fs     vfs.FS
		op     errorfs.Op
		handed int
		next   int // step that was under way
	}
	mem := crashfs.New()
	rng := rand.New(rand.NewPCG(3, 4))
	var mu sync.Mutex
	var cuts []moment
	var handed [][]byte
	watch, at := false, 0
	inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if watch && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			cuts = append(cuts, moment{mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng}), op, len(handed), at})
		}
		return nil
	})
	options := conclave.Options{Key: testKey}
	e, err := openOn(ctx, errorfs.Wrap(mem, inject), "state", x, options)
	if err != nil {
		t.Fatal(err)
	}
	alice := openProteus(t, e, "alice")
	hand := func(p conclave.Proteus, text string) {
		envelope, err := p.Encrypt(ctx, "bob", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		handed = append(handed, envelope)
	}
	bob := openProteus(t, peerEngine, "bob")
	_, bundle, err := bob.NewPreKeyAuto(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.SessionFromPreKey(ctx, "bob", bundle); err != nil {
		t.Fatal(err)
	}
	bob.wantText("alice", alice.encrypt("bob", "first"), "first")
	answer := bob.encrypt("alice", "answer")
	mu.Lock()
	watch = true
	mu.Unlock()
	for step := range 8 {
		mu.Lock()
		at = step
		mu.Unlock()
		if step == 4 {
			alice.wantText("bob", answer, "answer")
		}
		if step%2 == 0 {
			hand(alice.Proteus, fmt.Sprint("step ", step))
			continue
		}
		abort := errors.New("abort")
		err := alice.client.Transaction(ctx, func(tx *conclave.Tx) error {
			hand(tx.Proteus(), fmt.Sprint("transaction ", step))
			hand(tx.Proteus(), fmt.Sprint("transaction again ", step))
			if step%4 == 1 {
				return abort
			}
			return nil
		})
		if err != nil && !errors.Is(err, abort) {
			t.Fatal(err)
		}
	}
	mu.Lock()
	watch = false
	mu.Unlock()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if len(cuts) < 10 {
		t.Fatalf("only %d cuts", len(cuts))
	}
	for _, c := range cuts {
		e, err := openOn(ctx, c.fs, "state", x, options)
		if err != nil {
			t.Fatal(err)
		}
		alice := openProteus(t, e, "alice")
		later := [][]byte{alice.encrypt("bob", "after the cut"), alice.encrypt("bob", "and again")}
		seen := make(map[string]bool)
		err = bob.client.Transaction(ctx, func(tx *conclave.Tx) error {
			for _, envelope := range append(later, handed[:c.handed]...) {
				got, err := tx.Proteus().Decrypt(ctx, "alice", envelope)
				if err != nil || seen[string(got)] {
					t.Errorf("cut before %v of %s, step %d: %q, %v", c.op.Kind, c.op.Path, c.next, []byte(got), err)
				}
				seen[string(got)] = true
			}
			return errRetry // bob forgets, for the next cut
		})
		if !errors.Is(err, errRetry) {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d cuts", len(cuts))
}

var errRetry = errors.New("again from here")

// TestProteusRestart closes and opens the engine between every two messages.
func TestProteusRestart(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	peer := openProteus(t, proteusEngine(t), "peer")
	_, bundle, err := peer.NewPreKeyAuto(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		e, err := conclave.Open(ctx, dir, conclave.Options{Key: testKey})
		if err != nil {
			t.Fatal(err)
		}
		d := openProteus(t, e, "device")
		if i == 0 {
			if err := d.SessionFromPreKey(ctx, "peer", bundle); err != nil {
				t.Fatal(err)
			}
		}
		peer.wantText("device", d.encrypt("peer", fmt.Sprint("out ", i)), fmt.Sprint("out ", i))
		d.wantText("peer", peer.encrypt("device", fmt.Sprint("in ", i)), fmt.Sprint("in ", i))
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestProteusMigrateCryptobox(t *testing.T) {
	ctx := t.Context()
	for name, want := range map[string]conclave.CryptoboxReport{
		"cryptobox-rust":        {IdentityTaken: true, Sessions: 4, PreKeys: 7},
		"cryptobox-rust-legacy": {IdentityTaken: true, Sessions: 1, PreKeys: 1},
		"cryptobox-ts-fs":       {IdentityTaken: true, Sessions: 4, PreKeys: 8},
	} {
		t.Run(name, func(t *testing.T) {
			box := vectortest.File(t, "proteus/"+name+"/store")
			c, err := proteusEngine(t).Client(ctx, "device", conclave.ClientOptions{})
			if err != nil {
				t.Fatal(err)
			}
			p := c.Proteus()
			report, err := p.MigrateCryptobox(ctx, box)
			if err != nil || fmt.Sprint(report) != fmt.Sprint(want) {
				t.Fatalf("%+v, %v, want %+v", report, err, want)
			}
			if created, err := p.Init(ctx); err != nil || created {
				t.Errorf("Init has made another identity: %t, %v", created, err)
			}
			report, err = p.MigrateCryptobox(ctx, box)
			if err != nil || report.IdentityTaken || report.Sessions != 0 || report.PreKeys != 0 || len(report.Skipped) != want.Sessions+want.PreKeys {
				t.Errorf("again: %+v, %v", report, err)
			}
			if ok, err := p.SessionExists(ctx, "2d37570f-44a4-4b0c-92ff-5b9f3c5f2f9e_a1b2c3d4e5f60718"); err != nil || !ok {
				t.Errorf("its session exists: %t, %v", ok, err)
			}
			if _, err := p.Encrypt(ctx, "2d37570f-44a4-4b0c-92ff-5b9f3c5f2f9e_a1b2c3d4e5f60718", []byte("x")); err != nil {
				t.Error(err)
			}
			other, err := c.Engine().Client(ctx, "other", conclave.ClientOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := other.Proteus().Init(ctx); err != nil {
				t.Fatal(err)
			}
			report, err = other.Proteus().MigrateCryptobox(ctx, box)
			if err != nil || report.IdentityTaken || report.Sessions != 0 || report.PreKeys == 0 {
				t.Errorf("into another identity: %+v, %v", report, err)
			}
			for _, s := range report.Skipped {
				if pe, ok := errors.AsType[*conclave.ProteusError](s.Err); s.Kind == "session" && (!ok || pe.Code() != 300) {
					t.Errorf("%s is skipped for %v", s.Name, s.Err)
				}
			}
		})
	}
	c, err := proteusEngine(t).Client(ctx, "device", conclave.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Proteus().MigrateCryptobox(ctx, t.TempDir())
	wantCode(t, err, conclave.CodeCryptoboxNotFound)
	_, err = c.Proteus().Fingerprint(ctx)
	wantCode(t, err, conclave.CodeProteusNotInitialized)
}
