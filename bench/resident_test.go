package bench

import (
	"testing"
	"time"

	"github.com/conclave-mls/conclave"
	"github.com/conclave-mls/conclave/store"
)

// Levels of what a conversation has in memory. They stand in names of cells.
const (
	levelMessage = "message" // what an application message needs
	levelTree    = "tree"    // the whole tree too
)

// BenchmarkResident tells what a conversation has in memory once a level of it is
// in use: heap-B/conversation, with next to no cache of records beside. One
// operation is the call that brings it there, in a conversation that is not in
// memory.
func BenchmarkResident(b *testing.B) {
	var cells []cell
	for _, members := range []int{2, 100, 1000} {
		for _, level := range []string{levelMessage, levelTree} {
			cells = append(cells, cell{suite: 1, conversations: max(32, 400/members), members: members, store: durable, level: level})
		}
	}
	run(b, cells, func(b *testing.B, c cell) {
		s := stageOf(b, c)
		groups := make([]*peer, c.conversations)
		for i := range groups {
			groups[i] = s.joined(b, c.members)
		}
		ids := make([]conclave.ConversationID, len(groups))
		for i, p := range groups {
			ids[i] = conclave.ConversationID(p.group.GroupID())
		}
		defer func() {
			s.reopen(b)
			for _, p := range groups {
				s.wipe(b, p)
			}
		}()
		var took time.Duration
		var grown uint64
		b.ResetTimer()
		b.StopTimer()
		for range b.N {
			s.reopenWith(b, conclave.Options{CacheBytes: 1})
			before := heapInUse()
			b.StartTimer()
			start := time.Now()
			for _, id := range ids {
				if err := s.reach(b, id, c.level); err != nil {
					b.Fatal(err)
				}
			}
			took += time.Since(start)
			b.StopTimer()
			after := heapInUse()
			grown += after - min(before, after)
		}
		per := float64(b.N) * float64(len(ids))
		b.ReportMetric(float64(took.Nanoseconds())/per, "ns/op")
		b.ReportMetric(float64(grown)/per, "heap-B/conversation")
	})
}

// reach makes the call that needs a level.
func (s *stage) reach(b *testing.B, id conclave.ConversationID, level string) error {
	if level == levelTree {
		_, err := s.client.ClientIDs(b.Context(), id)
		return err
	}
	_, err := s.client.EncryptMessage(b.Context(), id, filler[:1<<10])
	return err
}

// reopenWith drops everything that is in memory and opens with other options.
func (s *stage) reopenWith(b *testing.B, o conclave.Options) {
	b.Helper()
	if err := s.engine.Close(); err != nil {
		b.Fatal(err)
	}
	o.Key = make(conclave.Secret, store.KeySize)
	s.openWith(b, o)
}
