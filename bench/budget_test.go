package bench

import (
	"testing"

	"github.com/conclave-mls/conclave"
)

// BenchmarkBudget encrypts in each conversation in turn, while the engine may keep
// so much of them in memory: heap-B is how much the heap has grown, with next to no
// cache of records beside. Without a budget all stay; with one, a call finds its
// conversation in the store.
func BenchmarkBudget(b *testing.B) {
	const conversations = 1000
	run(b, []cell{{conversations: conversations, budget: 1 << 20}, {conversations: conversations, budget: -1}}, func(b *testing.B, c cell) {
		e, client, err := openStored(b.Context(), storedDir(b, conversations), conclave.Options{StateBytes: int64(c.budget), CacheBytes: 1})
		if err != nil {
			b.Fatal(err)
		}
		defer func() {
			if err := e.Close(); err != nil {
				b.Error(err)
			}
		}()
		encrypt := func(i int) error {
			_, err := client.EncryptMessage(b.Context(), storedID(i%conversations), filler[:1<<10])
			return err
		}
		before := heapInUse()
		if err := forEach(conversations, encrypt); err != nil {
			b.Fatal(err)
		}
		b.ResetTimer()
		if err := forEach(b.N, encrypt); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		after := heapInUse()
		grown := float64(after - min(before, after))
		b.ReportMetric(1e9/nanosPerOp(b), "msg/s")
		b.ReportMetric(grown, "heap-B")
		b.ReportMetric(grown/conversations, "heap-B/conversation")
	})
}
