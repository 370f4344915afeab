package store

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// rawRecords opens Pebble below a closed store.
func rawRecords(t *testing.T, fs vfs.FS, do func(*pebble.DB)) {
	t.Helper()
	db, err := pebble.Open("s/"+dirRecords, &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatNewest, Logger: logger{&Store{disk: newDisk(fs, nil)}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	do(db)
}

// rawValues returns the sealed values, by key.
func rawValues(t *testing.T, db *pebble.DB) map[string][]byte {
	t.Helper()
	it, err := db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	out := make(map[string][]byte)
	for ok := it.First(); ok; ok = it.Next() {
		out[string(it.Key())] = bytes.Clone(it.Value())
	}
	return out
}

func TestTamperedValues(t *testing.T) {
	flip := func(at int) func(b []byte) []byte {
		return func(b []byte) []byte { b[(at+len(b))%len(b)] ^= 1; return b }
	}
	for name, tamper := range map[string]func(b []byte) []byte{
		"format":     flip(0),
		"data key":   flip(2),
		"start":      flip(3),
		"counter":    flip(headerSize - 1),
		"ciphertext": flip(headerSize),
		"tag":        flip(-1),
		"truncated":  func(b []byte) []byte { return b[:len(b)-16] },
		"short":      func(b []byte) []byte { return b[:3] },
		"empty":      func(b []byte) []byte { return nil },
		"longer":     func(b []byte) []byte { return append(b, make([]byte, 16)...) },
	} {
		fs := vfs.NewMem()
		s := mustOpen(t, "s", testOptions(fs))
		mustApply(t, s, put("a", "value"), put("b", "other"))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		rawRecords(t, fs, func(db *pebble.DB) {
			if err := db.Set([]byte("a"), tamper(rawValues(t, db)["a"]), pebble.Sync); err != nil {
				t.Fatal(err)
			}
		})
		s = mustOpen(t, "s", testOptions(fs))
		if v, err := s.GetMany([]byte("b"), []byte("a")); !errors.Is(err, ErrCorrupt) || v != nil {
			t.Errorf("%s: GetMany: %q, %v", name, v, err)
		}
		if v, err := s.Range(Range{}); !errors.Is(err, ErrCorrupt) || v != nil {
			t.Errorf("%s: Range: %q, %v", name, v, err)
		}
		// One bad value does not take the others with it.
		if got := get(t, s, "b"); got != "other" {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// TestMovedValues swaps two values on disk, and two stores.
func TestMovedValues(t *testing.T) {
	stores := make([]vfs.FS, 2)
	for i := range stores {
		stores[i] = vfs.NewMem()
		s := mustOpen(t, "s", testOptions(stores[i]))
		mustApply(t, s, put("a", "value a"), put("b", "value b"))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var first map[string][]byte
	rawRecords(t, stores[0], func(db *pebble.DB) {
		first = rawValues(t, db)
		if bytes.Contains(first["a"], []byte("value")) {
			t.Error("the value lies open on disk")
		}
		for to, from := range map[string]string{"a": "b", "b": "a"} {
			if err := db.Set([]byte(to), first[from], pebble.Sync); err != nil {
				t.Fatal(err)
			}
		}
	})
	rawRecords(t, stores[1], func(db *pebble.DB) {
		if err := db.Set([]byte("a"), first["a"], pebble.Sync); err != nil {
			t.Fatal(err)
		}
	})
	for i, keys := range [][]string{{"a", "b"}, {"a"}} {
		s := mustOpen(t, "s", testOptions(stores[i]))
		for _, key := range keys {
			if v, err := s.GetMany([]byte(key)); !errors.Is(err, ErrCorrupt) {
				t.Errorf("store %d, %s: %q, %v", i, key, v, err)
			}
		}
	}
}

// headers collects the nonces in use and fails on one that was there already.
type headers map[string]string

func (h headers) add(t *testing.T, what string, sealed []byte) {
	t.Helper()
	v, err := parseSealed(sealed)
	if err != nil {
		t.Fatal(err)
	}
	nonce := fmt.Sprint(v.dataKey, v.start, v.counter)
	if before, ok := h[nonce]; ok {
		t.Errorf("%s has the key and nonce of %s", what, before)
	}
	h[nonce] = what
}

func TestNoncesNeverRepeat(t *testing.T) {
	fs := vfs.NewMem()
	seen := make(headers)
	for open := range 6 {
		o := testOptions(fs)
		s, err := Open("s", o)
		if err != nil {
			t.Fatal(err)
		}
		// The same keys and values again and again, from several goroutines.
		var wg sync.WaitGroup
		for n := range 4 {
			wg.Go(func() {
				for i := range 50 {
					if err := s.Apply(put(fmt.Sprintf("%d/%d/%d", open, n, i), "same")); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if open%2 == 0 {
			if err := s.RotateKey(testKey(1)); err != nil {
				t.Fatal(err)
			}
			mustApply(t, s, put(fmt.Sprintf("%d/rotated", open), "same"))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	rawRecords(t, fs, func(db *pebble.DB) {
		for key, sealed := range rawValues(t, db) {
			seen.add(t, key, sealed)
		}
	})
	if len(seen) != 6*200+3 {
		t.Errorf("%d values", len(seen))
	}
}

func newTestSealer(t testing.TB) *sealer {
	t.Helper()
	r, err := newRing(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSealer([storeIDSize]byte{7}, r, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestStartEnds crosses the end of a counter with many goroutines.
func TestStartEnds(t *testing.T) {
	s := newTestSealer(t)
	first := s.current.Load()
	first.next.Store(startLimit - 100)
	seen := make(headers)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for i := range 100 {
				what := fmt.Sprint(n, i)
				sealed := make([]byte, sealedLen(len(what)))
				if _, err := s.seal(sealed, []byte("key"), []byte(what), nil); err != nil {
					t.Error(err)
				}
				if got, _, err := s.open(sealed, []byte("key"), nil); err != nil || string(got) != what {
					t.Errorf("%s: %q, %v", what, got, err)
				}
				mu.Lock()
				seen.add(t, what, sealed)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if s.current.Load() == first {
		t.Error("the start did not end")
	}
	if len(seen) != 800 {
		t.Errorf("%d nonces", len(seen))
	}
}

func TestSealSizes(t *testing.T) {
	s := newTestSealer(t)
	for n := range 70 {
		value := bytes.Repeat([]byte{0x80}, n)
		sealed := make([]byte, sealedLen(n))
		if _, err := s.seal(sealed, []byte("key"), value, nil); err != nil {
			t.Fatal(err)
		}
		got, _, err := s.open(sealed, []byte("key"), nil)
		if err != nil || !bytes.Equal(got, value) || got == nil {
			t.Errorf("%d: %q, %v", n, got, err)
		}
		if over := len(sealed) - n; over > headerSize+tagSize+padStep {
			t.Errorf("%d bytes take %d more", n, over)
		}
	}
}

// TestManyStarts reads values of more opens than there are kept ciphers.
func TestManyStarts(t *testing.T) {
	s := newTestSealer(t)
	sealed := make([][]byte, maxOpeners+50)
	for i := range sealed {
		sealed[i] = make([]byte, sealedLen(1))
		if _, err := s.seal(sealed[i], []byte("key"), []byte{byte(i)}, nil); err != nil {
			t.Fatal(err)
		}
		if err := s.restart(s.current.Load()); err != nil {
			t.Fatal(err)
		}
	}
	for i, b := range sealed {
		if got, _, err := s.open(b, []byte("key"), nil); err != nil || got[0] != byte(i) {
			t.Errorf("%d: %v, %v", i, got, err)
		}
	}
	kept := 0
	s.openers.Range(func(_, _ any) bool { kept++; return true })
	if kept > maxOpeners {
		t.Errorf("%d ciphers are kept", kept)
	}
}

// TestMessageBatchSize holds the design's bar: what an in-order application
// message writes is at most 512 bytes of batch.
func TestMessageBatchSize(t *testing.T) {
	s := mustOpen(t, "", Options{Key: testKey(1), InMemory: true})
	client := Client(1)
	key := client.Conversation(nil, s.Keys().Conversation(client, []byte("conversation")), 1)
	key = append(key, "ratchet/epoch/leaf/k"...)
	c := new(ChangeSet)
	c.Put(key, make([]byte, 120))
	mustApply(t, s, c)
	got := s.Metrics().BatchBytes
	t.Logf("a ratchet record of 120 bytes under a key of %d makes a batch of %d bytes", len(key), got)
	if got > 512 {
		t.Errorf("a message makes a batch of %d bytes", got)
	}
}

func FuzzSealedValue(f *testing.F) {
	s := newTestSealer(f)
	sealed := make([]byte, sealedLen(5))
	if _, err := s.seal(sealed, []byte("key"), []byte("value"), nil); err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{1}, headerSize+padStep+tagSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, _, err := s.open(b, []byte("key"), nil)
		if bytes.Equal(b, sealed) {
			if err != nil || string(got) != "value" {
				t.Fatalf("%q, %v", got, err)
			}
			return
		}
		if !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%q opens: %v", b, err)
		}
	})
}
