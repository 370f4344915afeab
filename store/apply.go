package store

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Apply makes the changes of all sets, in order, durable at once: one batch, one
// sync, shared with whoever applies at that moment. When it returns nil they are
// on disk. ErrOutcomeUnknown: the store failed meanwhile, and they are on disk
// wholly or not at all. Any other error (ErrFailed, ErrClosed, ErrTooLarge):
// nothing was changed. Sets without changes cost nothing; nil is an empty one.
//
// Other goroutines may read the changes shortly before they are durable. Whoever
// acts on what another wrote must have heard of its Apply, or write first: a
// later Apply is never durable before an earlier one.
func (s *Store) Apply(sets ...*ChangeSet) error {
	count, size, err := measure(sets)
	if err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if count == 0 {
		return nil
	}
	if err := s.stall(); err != nil {
		return err
	}
	if s.write.Sync {
		return s.applyShared(sets, count, size)
	}
	return s.applyBatch(sets, 1, count, size)
}

// applyBatch writes the sets of so many calls as one batch.
func (s *Store) applyBatch(sets []*ChangeSet, calls, count, size int) error {
	// Each change takes a kind, two lengths and, if a put, what sealing adds.
	b := s.db.NewBatchWithSize(size + count*(sealedLen(0)+8) + 16)
	if err := s.fill(b, sets); err != nil {
		_ = b.Close()
		return err
	}
	n := b.Len()
	if err := s.persist(b); err != nil {
		return err
	}
	_ = b.Close()
	s.counts.applies.Add(uint64(calls))
	s.counts.batchBytes.Add(uint64(n))
	return nil
}

// measure counts the changes and the bytes of their keys and values, and checks
// the bounds.
func measure(sets []*ChangeSet) (count, size int, err error) {
	for _, c := range sets {
		for op := range c.All() {
			if len(op.Key) == 0 && op.Kind != OpDeleteRange {
				return 0, 0, fmt.Errorf("%w: empty key", ErrTooLarge)
			}
			if len(op.Key) > MaxKey || len(op.High) > MaxKey || len(op.Value) > MaxValue {
				return 0, 0, fmt.Errorf("%w: key of %d, value of %d bytes", ErrTooLarge, max(len(op.Key), len(op.High)), len(op.Value))
			}
		}
		count += c.Len()
		size += c.Size()
		if size > MaxApply {
			return 0, 0, fmt.Errorf("%w: more than %d bytes in one Apply", ErrTooLarge, MaxApply)
		}
	}
	return count, size, nil
}

// fill seals straight into the batch.
func (s *Store) fill(b *pebble.Batch, sets []*ChangeSet) (err error) {
	scratch := make([]byte, 0, 128)
	ranges := ranges{db: s.db}
	defer ranges.close()
	for i, c := range sets {
		at := -1
		for op := range c.All() {
			at++
			switch op.Kind {
			case OpPut:
				d := b.SetDeferred(len(op.Key), sealedLen(len(op.Value)))
				copy(d.Key, op.Key)
				if scratch, err = s.sealer.seal(d.Value, op.Key, op.Value, scratch); err != nil {
					return err
				}
				err = d.Finish()
			case OpDelete:
				err = b.Delete(op.Key, nil)
			case OpDeleteRange:
				err = ranges.delete(b, sets[:i+1], at, op.Key, op.High)
			}
			if err != nil {
				return fmt.Errorf("store: batch: %w", err)
			}
		}
	}
	return nil
}

// persist writes the batch. Pebble answers nil for a failed write whose Fatalf
// returns, and disk hides the failure anyway, so the disk is asked.
func (s *Store) persist(b *pebble.Batch) (err error) {
	defer func() {
		if r := recover(); r != nil {
			// No path to this is known. Pebble may have left its locks held, so it
			// is not touched again, not even to close it.
			s.wedged.Store(true)
			s.disk.fail("panic", "pebble", fmt.Errorf("%v", r))
			err = fmt.Errorf("%w: %w", ErrOutcomeUnknown, s.disk.cause)
		}
	}()
	if err = s.db.Apply(b, s.write); err != nil {
		s.disk.fail("apply", "batch", err)
	}
	if err := s.disk.err(); err != nil {
		return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	return nil
}
