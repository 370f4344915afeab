package store

import (
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// pressure holds writers back while flushes or compactions lag behind, in place
// of Pebble, whose stalled writers keep the commit lock and wake up only when the
// work is done: after a failure never. Its bounds are soft, as writers that have
// passed are not stopped.
type pressure struct {
	memTableBytes uint64
	check         atomic.Bool   // something happened since the last look
	mu            sync.Mutex    // guards next
	next          chan struct{} // closed at the next change
}

const (
	stopMemTables = 4  // as many memtables in size, counting the one being filled
	stopSublevels = 12 // sublevels of L0, each of which every read has to visit
)

func newPressure(memTableBytes uint64) *pressure {
	return &pressure{memTableBytes: memTableBytes, next: make(chan struct{})}
}

// changed says that a log was begun, or a flush or compaction ended. Pebble may
// hold its locks.
func (p *pressure) changed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.next)
	p.next = make(chan struct{})
	p.check.Store(true)
}

func (p *pressure) wait() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next
}

// high tells whether writers should wait.
func (p *pressure) high(m *pebble.Metrics) bool {
	return m.MemTable.Size >= stopMemTables*p.memTableBytes || m.Levels[0].Sublevels >= stopSublevels
}

// stall waits until there is room for a write. When it answers an error nothing
// has been written.
func (s *Store) stall() error {
	for s.pressure.check.Load() {
		next := s.pressure.wait()
		s.pressure.check.Store(false)
		if !s.pressure.high(s.db.Metrics()) {
			return nil
		}
		s.pressure.check.Store(true)
		select {
		case <-next:
		case <-s.disk.failed:
			return s.usable()
		case <-s.disk.closing:
			return ErrClosed
		}
	}
	return nil
}
