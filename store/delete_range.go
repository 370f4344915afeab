package store

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"
)

// A range is deleted one by one up to so many records, if there are no more changes
// before it in its batch.
const (
	maxRangeKeys   = 64
	maxRangeBefore = 1024
)

// ranges puts deletions of ranges into a batch. Pebble sorts all deleted ranges of its
// memtable anew in the first read after each of them, which takes milliseconds when
// some thousand are there; and most ranges hold a few records or none. So those are
// deleted one by one, and only a larger range as such.
type ranges struct {
	db *pebble.DB
	it *pebble.Iterator // nil before the first range
}

// delete removes low to high, with what was put there by the sets before op at of the
// last of them. Whoever deletes a range is the only one to write to it.
func (r *ranges) delete(b *pebble.Batch, sets []*ChangeSet, at int, low, high []byte) error {
	keys, ok := r.stored(low, high)
	before := 0
	for i, c := range sets {
		n := c.Len()
		if i == len(sets)-1 {
			n = at
		}
		if before += n; before > maxRangeBefore {
			ok = false
			break
		}
		for j := range n {
			if op := &c.ops[j]; op.Kind == OpPut && bytes.Compare(op.Key, low) >= 0 && bytes.Compare(op.Key, high) < 0 {
				keys = append(keys, op.Key)
			}
		}
	}
	if !ok || len(keys) > maxRangeKeys {
		return b.DeleteRange(low, high, nil)
	}
	for _, key := range keys {
		if err := b.Delete(key, nil); err != nil {
			return err
		}
	}
	return nil
}

// stored returns the keys of a range, false if there are too many or some cannot be
// read.
func (r *ranges) stored(low, high []byte) (keys [][]byte, ok bool) {
	if r.it == nil {
		it, err := r.db.NewIter(&pebble.IterOptions{LowerBound: low, UpperBound: high})
		if err != nil {
			return nil, false
		}
		r.it = it
	} else {
		r.it.SetBounds(low, high)
	}
	for more := r.it.First(); more; more = r.it.Next() {
		if len(keys) == maxRangeKeys {
			return nil, false
		}
		keys = append(keys, bytes.Clone(r.it.Key()))
	}
	return keys, r.it.Error() == nil
}

// close ends the reading. What could not be read has been deleted as a range.
func (r *ranges) close() {
	if r.it != nil {
		_ = r.it.Close()
	}
}
