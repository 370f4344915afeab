package conclave_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/conclave-mls/conclave"
)

// storedSession names a stored session. All names are of the same length.
func storedSession(i int) conclave.SessionID {
	return conclave.SessionID(fmt.Sprintf("session %9d", i))
}

// storeSessions makes a directory with so many sessions of one device. Each is a copy of one session, so that an envelope of its peer opens in each.
func storeSessions(t testing.TB, n int) (dir string, peer *proteusDevice) {
	t.Helper()
	ctx := t.Context()
	dir = filepath.Join(t.TempDir(), "state")
	e, err := conclave.Open(ctx, dir, conclave.Options{Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	device := openProteus(t, e, "device")
	peer = openProteus(t, proteusEngine(t), "peer")
	meet(device, storedSession(0), peer)
	peer.wantText("device", device.encrypt(storedSession(0), "first"), "first")
	device.wantText(storedSession(0), peer.encrypt("device", "answer"), "answer")
	ids := make([]conclave.SessionID, n-1)
	for i := range ids {
		ids[i] = storedSession(i + 1)
	}
	if err := device.client.CopySession(storedSession(0), ids); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, peer
}

// compacts tells whether its caller works for a compaction of the store, which goes on in the background.
func compacts() bool {
	var callers [64]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers[:])])
	for {
		f, more := frames.Next()
		if strings.Contains(f.Function, "runCompaction") || !more {
			return more
		}
	}
}

// openCounting opens a directory and its device, and counts the reads of files that it takes.
func openCounting(t *testing.T, dir string) (*conclave.Engine, *proteusDevice, int64) {
	t.Helper()
	var reads atomic.Int64
	count := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if (op.Kind == errorfs.OpFileRead || op.Kind == errorfs.OpFileReadAt) && !compacts() {
			reads.Add(1)
		}
		return nil
	})
	e, err := conclave.OpenOn(t.Context(), errorfs.Wrap(vfs.Default, count), dir, conclave.Options{Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	device := openProteus(t, e, "device")
	return e, device, reads.Load()
}

// TestProteusStoredSessions stores 100,000 sessions and opens the directory again: that reads none of them, and all are there as they were.
func TestProteusStoredSessions(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 2_000
	}
	ctx := t.Context()
	few, _ := storeSessions(t, 10)
	e, _, atFew := openCounting(t, few)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	dir, peer := storeSessions(t, n)
	e, device, atMany := openCounting(t, dir)
	t.Logf("opening 10 sessions took %d reads, %d took %d", atFew, n, atMany)
	// More files of tables cost a few reads more; reading the sessions takes over ten thousand.
	if n == 100_000 && atMany > atFew+1000 {
		t.Errorf("opening %d sessions took %d reads, 10 took %d", n, atMany, atFew)
	}
	stored, err := e.Dump()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]int) // of the sessions, without their names
	for _, value := range stored {
		if at := strings.Index(value, "session "); at >= 0 {
			values[value[:at]+value[at+len(storedSession(0)):]]++
		}
	}
	if len(values) != 1 || slices.Max(slices.Collect(maps.Values(values))) != n {
		t.Fatalf("%d kinds of records, want %d copies of one", len(values), n)
	}
	envelope := peer.encrypt("device", "later")
	random := rand.New(rand.NewPCG(1, 2))
	for _, i := range append(random.Perm(n)[:50], 0, n-1) {
		id := storedSession(i)
		if got, err := device.DecryptSafe(ctx, id, envelope); err != nil || string(got) != "later" {
			t.Errorf("%s: %q, %v", id, []byte(got), err)
		}
		back := device.encrypt(id, "back")
		err := peer.client.Transaction(ctx, func(tx *conclave.Tx) error {
			if got, err := tx.Proteus().Decrypt(ctx, "device", back); err != nil || string(got) != "back" {
				t.Errorf("of %s: %q, %v", id, []byte(got), err)
			}
			return errRetry // the copies have keys in common
		})
		if !errors.Is(err, errRetry) {
			t.Fatal(err)
		}
	}
	if ok, err := device.SessionExists(ctx, storedSession(n)); err != nil || ok {
		t.Errorf("one too many exists: %t, %v", ok, err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkProteusOpen opens a directory with so many sessions, its client and its identity, and uses none of the sessions or one in a hundred.
func BenchmarkProteusOpen(b *testing.B) {
	counts := []int{100, 10_000, 100_000}
	if testing.Short() {
		counts = counts[:1]
	}
	for _, n := range counts {
		dir, peer := storeSessions(b, n)
		envelope := peer.encrypt("device", "later")
		for _, used := range []int{0, n / 100} {
			b.Run(fmt.Sprintf("sessions=%d/used=%d", n, used), func(b *testing.B) {
				for range b.N {
					e, err := conclave.Open(b.Context(), dir, conclave.Options{Key: testKey})
					if err != nil {
						b.Fatal(err)
					}
					device := openProteus(b, e, "device")
					err = device.client.Transaction(b.Context(), func(tx *conclave.Tx) error {
						for i := range used {
							if _, err := tx.Proteus().Decrypt(b.Context(), storedSession(i*100), envelope); err != nil {
								return err
							}
						}
						return errRetry
					})
					if !errors.Is(err, errRetry) {
						b.Fatal(err)
					}
					b.StopTimer()
					if err := e.Close(); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
			})
		}
	}
}
