package store

import (
	"errors"
	"runtime"
)

// share is what calls of Apply that come at one moment write as one batch, since a
// batch takes more processor time than the changes in it. Nothing waits for company:
// who begins a share lets those run that are ready to, and writes for all who have
// joined by then; who fills it writes at once.
type share struct {
	sets  []*ChangeSet
	calls int
	count int           // of changes
	size  int           // of their keys and values, in bytes
	taken bool          // somebody writes it: nobody joins it any more
	done  chan struct{} // closed when err is the answer to all
	err   error
}

// Bounds of a share. Where more calls are under way than fit, some work while others
// wait for the disk. A call that is larger than all that fits has a share of its own.
const (
	maxShareCalls = 32
	maxShareBytes = 1 << 20
)

// errShared answers those who shared a batch with a call that panicked.
var errShared = errors.New("store: a call that shared the batch panicked; nothing was changed")

// applyShared applies sets, of count changes and size bytes, together with those of
// others.
func (s *Store) applyShared(sets []*ChangeSet, count, size int) error {
	b, began, filled := s.join(sets, count, size)
	if began {
		runtime.Gosched()
	}
	if (began || filled) && s.take(b) {
		s.writeShare(b)
	} else {
		<-b.done
	}
	return b.err
}

// join adds a call to the share that is open, or to a new one.
func (s *Store) join(sets []*ChangeSet, count, size int) (b *share, began, filled bool) {
	s.sharing.Lock()
	defer s.sharing.Unlock()
	b = s.open
	if began = b == nil || b.size+size > maxShareBytes; began {
		b = &share{done: make(chan struct{})}
		s.open = b
	}
	b.sets = append(b.sets, sets...)
	b.calls++
	b.count += count
	b.size += size
	if filled = b.calls == maxShareCalls; filled {
		s.open = nil
	}
	return b, began, filled
}

// take tells whether the caller is the one to write a share, which nobody joins after
// that.
func (s *Store) take(b *share) bool {
	s.sharing.Lock()
	defer s.sharing.Unlock()
	if b.taken {
		return false
	}
	b.taken = true
	if s.open == b {
		s.open = nil
	}
	return true
}

// writeShare writes a share that was taken and answers all who are in it.
func (s *Store) writeShare(b *share) {
	b.err = errShared // of a panic, which goes on to the caller
	defer close(b.done)
	b.err = s.applyBatch(b.sets, b.calls, b.count, b.size)
}
