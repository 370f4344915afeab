package store

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Reader reads records: a Store, or an overlay of change sets over one.
type Reader interface {
	// GetMany returns the values of keys in their order, nil where there is
	// none. A record whose value is empty has a value that is not nil. The
	// values are the caller's.
	GetMany(keys ...[]byte) ([][]byte, error)
	// Range returns the records of a range in order. They are the caller's.
	Range(r Range) ([]Record, error)
}

// Range is the keys from Low up to, not including, High.
type Range struct {
	Low, High []byte // a nil High is the end of the store
	// Limit is the most records to return; 0 or more than MaxRange is MaxRange.
	// A caller that got that many asks again from behind the last key.
	Limit   int
	Reverse bool // from the high end down
}

func (r Range) limit() int {
	if r.Limit <= 0 || r.Limit > MaxRange {
		return MaxRange
	}
	return r.Limit
}

func (r Range) holds(key []byte) bool {
	return bytes.Compare(key, r.Low) >= 0 && (r.High == nil || bytes.Compare(key, r.High) < 0)
}

// Record is a key and its value.
type Record struct {
	Key, Value []byte
}

var _ Reader = (*Store)(nil)

// GetMany implements Reader. Each key is read on its own; nobody else should be
// writing the records of an actor that reads them. It answers ErrCorrupt,
// ErrFailed, ErrClosed, or ErrTooLarge for more than MaxKeys keys.
func (s *Store) GetMany(keys ...[]byte) ([][]byte, error) {
	if len(keys) > MaxKeys {
		return nil, fmt.Errorf("%w: %d keys", ErrTooLarge, len(keys))
	}
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	values := make([][]byte, len(keys))
	scratch := make([]byte, 0, 128)
	for i, key := range keys {
		sealed, closer, err := s.db.Get(key)
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, readError(err)
		}
		values[i], scratch, err = s.sealer.open(sealed, key, scratch)
		if closeErr := closer.Close(); err == nil && closeErr != nil {
			err = readError(closeErr)
		}
		if err != nil {
			return nil, err
		}
	}
	return values, nil
}

// Range implements Reader. All of it is read from one moment's state. It answers
// ErrCorrupt, ErrFailed or ErrClosed.
func (s *Store) Range(r Range) ([]Record, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	if r.High != nil && bytes.Compare(r.Low, r.High) >= 0 {
		return nil, nil
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: r.Low, UpperBound: r.High})
	if err != nil {
		return nil, readError(err)
	}
	records, err := s.collect(it, r)
	if closeErr := it.Close(); err == nil && closeErr != nil {
		err = readError(closeErr)
	}
	if err != nil {
		return nil, err
	}
	return records, nil
}

func (s *Store) collect(it *pebble.Iterator, r Range) ([]Record, error) {
	first, next := it.First, it.Next
	if r.Reverse {
		first, next = it.Last, it.Prev
	}
	var (
		records []Record
		memory  pieces
		scratch = make([]byte, 0, 128)
	)
	for ok := first(); ok && len(records) < r.limit(); ok = next() {
		sealed, err := it.ValueAndErr()
		if err != nil {
			return nil, readError(err)
		}
		key := it.Key()
		space := memory.take(len(key) + paddedLen(sealed))
		rec := Record{Key: space[:len(key):len(key)]}
		copy(rec.Key, key)
		if rec.Value, scratch, err = s.sealer.openInto(space[len(key):], sealed, rec.Key, scratch); err != nil {
			return nil, err
		}
		if len(records) == cap(records) { // doubled, as append does with short ones only
			records = append(make([]Record, 0, 2*cap(records)+1), records...)
		}
		records = append(records, rec)
	}
	return records, nil
}

// pieces is memory for the many records of a range, in pieces that are larger the
// more there are. Who keeps one of the records keeps a piece.
type pieces struct {
	free []byte
	last int // size of the last piece
}

const largestPiece = 16 << 10

// take returns n bytes.
func (p *pieces) take(n int) []byte {
	if n > len(p.free) {
		p.last = max(n, min(2*p.last, largestPiece))
		p.free = make([]byte, p.last)
	}
	out := p.free[:n:n]
	p.free = p.free[n:]
	return out
}

// readError is Pebble's error, whose kind is kept only if it is corruption.
func readError(err error) error {
	if pebble.IsCorruptionError(err) {
		return fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	return fmt.Errorf("store: read: %w", err)
}
