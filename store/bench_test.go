package store

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/conclave-mls/conclave/internal/secret"
)

// benchOptions are those of the engine, with the defaults' sizes.
func benchOptions() Options { return Options{Key: secret.Bytes(testKey(1))} }

// benchKey is a ratchet record's key in conversation n.
func benchKey(dst []byte, n uint64) []byte {
	dst = Client(1).Conversation(dst, ConversationKey{byte(n >> 16), byte(n >> 8), byte(n)}, 1)
	return append(dst, "r/epoch/leaf/k"...)
}

// BenchmarkApply applies what an in-order application message writes: one record
// of 120 bytes, each caller in conversations of its own.
func BenchmarkApply(b *testing.B) {
	memory := benchOptions()
	memory.InMemory = true
	noSync := benchOptions()
	noSync.NoSync = true
	for _, kind := range []struct {
		name string
		o    Options
	}{{"durable", benchOptions()}, {"nosync", noSync}, {"memory", memory}} {
		for _, callers := range []int{1, 8, 64, 512} {
			b.Run(fmt.Sprintf("%s/callers=%d", kind.name, callers), func(b *testing.B) {
				s := mustOpen(b, b.TempDir(), kind.o)
				before := s.Metrics()
				var left atomic.Int64
				left.Store(int64(b.N))
				var wg sync.WaitGroup
				b.ReportAllocs()
				b.ResetTimer()
				for n := range callers {
					wg.Go(func() {
						value := make([]byte, 120)
						key := benchKey(nil, uint64(n))
						c := new(ChangeSet)
						for left.Add(-1) >= 0 {
							c.Wipe()
							c.Put(key, value)
							if err := s.Apply(c); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				m := s.Metrics()
				b.ReportMetric(float64(m.BatchBytes-before.BatchBytes)/float64(b.N), "batch-B/op")
				b.ReportMetric(float64(m.LogFileBytes-before.LogFileBytes)/float64(b.N), "written-B/op")
				b.ReportMetric(float64(m.Syncs-before.Syncs)/float64(b.N), "syncs/op")
			})
		}
	}
}

// BenchmarkGetMany reads five records of random conversations out of 100,000, from
// tables, as a conversation that wakes up does.
func BenchmarkGetMany(b *testing.B) {
	s := mustOpen(b, b.TempDir(), benchOptions())
	const conversations, records = 100_000, 5
	value := make([]byte, 120)
	for n := uint64(0); n < conversations; {
		c := new(ChangeSet)
		for range 1000 {
			for i := range byte(records) {
				c.Put(append(benchKey(nil, n), i), value)
			}
			n++
		}
		mustApply(b, s, c)
	}
	if err := s.flush(); err != nil {
		b.Fatal(err)
	}
	for _, hot := range []int{1000, conversations} {
		b.Run(fmt.Sprintf("among=%d", hot), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				keys := make([][]byte, records)
				for pb.Next() {
					n := rand.Uint64N(uint64(hot))
					for i := range keys {
						keys[i] = append(benchKey(keys[i][:0], n), byte(i))
					}
					values, err := s.GetMany(keys...)
					if err != nil || len(values[records-1]) != len(value) {
						b.Error(err, len(values))
						return
					}
				}
			})
		})
	}
}

// BenchmarkOpen opens a store of 100,000 conversations, after Close and as SIGKILL
// leaves it, with all of the last log to replay.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	s := mustOpen(b, dir, benchOptions())
	for n := uint64(0); n < 100_000; {
		c := new(ChangeSet)
		for range 1000 {
			for i := range byte(5) {
				c.Put(append(benchKey(nil, n), i), make([]byte, 120))
			}
			n++
		}
		mustApply(b, s, c)
	}
	// A copy of one moment, with its log: files come and go while one by one is copied.
	killed := b.TempDir()
	if err := os.Mkdir(filepath.Join(killed, "s"), 0o700); err != nil {
		b.Fatal(err)
	}
	if err := s.db.Checkpoint(filepath.Join(killed, "s", dirRecords)); err != nil {
		b.Fatal(err)
	}
	if err := vfs.Copy(vfs.Default, filepath.Join(dir, fileStore), filepath.Join(killed, "s", fileStore)); err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("closed", func(b *testing.B) {
		for b.Loop() {
			s, err := Open(dir, benchOptions())
			if err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
	b.Run("killed", func(b *testing.B) {
		for n := 0; b.Loop(); n++ {
			b.StopTimer()
			dir := filepath.Join(killed, fmt.Sprint(n))
			if ok, err := vfs.Clone(vfs.Default, vfs.Default, filepath.Join(killed, "s"), dir); !ok || err != nil {
				b.Fatal(ok, err)
			}
			b.StartTimer()
			s, err := Open(dir, benchOptions())
			if err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
}

// BenchmarkSeal is what sealing adds to a record.
func BenchmarkSeal(b *testing.B) {
	s := newTestSealer(b)
	for _, size := range []int{120, 1000, 10_000} {
		key, value := benchKey(nil, 1), make([]byte, size)
		sealed := make([]byte, sealedLen(size))
		var scratch []byte
		var err error
		b.Run(fmt.Sprintf("seal/bytes=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if scratch, err = s.seal(sealed, key, value, scratch); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("open/bytes=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, scratch, err = s.open(sealed, key, scratch); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOverlay reads through a transaction's changes.
func BenchmarkOverlay(b *testing.B) {
	o := benchOptions()
	o.InMemory = true
	s := mustOpen(b, "", o)
	c := new(ChangeSet)
	for n := range uint64(2000) {
		c.Put(benchKey(nil, n), make([]byte, 120))
	}
	b.Run("build and read one of 2000", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if v, err := Overlay(s, c).GetMany(benchKey(nil, 7)); err != nil || v[0] == nil {
				b.Fatal(v, err)
			}
		}
	})
	view := Overlay(s, c)
	b.Run("read one of 2000", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if v, err := view.GetMany(benchKey(nil, 7)); err != nil || v[0] == nil {
				b.Fatal(v, err)
			}
		}
	})
}
