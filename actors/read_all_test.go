package actors

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/conclave-mls/conclave/store"
)

// numbers is a Reader of so many records, whose keys count them. A Range that begins
// at or behind broken fails.
type numbers struct{ n, broken uint32 }

var errBrokenRange = errors.New("broken")

func (numbers) GetMany(...[]byte) ([][]byte, error) { return nil, errBrokenRange }

func (s numbers) Range(r store.Range) ([]store.Record, error) {
	first := binary.BigEndian.Uint32(r.Low)
	if len(r.Low) > 4 { // behind that key
		first++
	}
	if first >= s.broken {
		return nil, errBrokenRange
	}
	var records []store.Record
	keys := make([]byte, 0, 4*store.MaxRange)
	for i := first; i < s.n && len(records) < store.MaxRange; i++ {
		keys = binary.BigEndian.AppendUint32(keys, i)
		records = append(records, store.Record{Key: keys[len(keys)-4 : len(keys) : len(keys)]})
	}
	return records, nil
}

// TestReadAll reads ranges of fewer records than one answer has, as many, and more.
func TestReadAll(t *testing.T) {
	all := store.Range{Low: make([]byte, 4)}
	for _, n := range []uint32{0, 1, store.MaxRange - 1, store.MaxRange, store.MaxRange + 1, 2 * store.MaxRange, 2*store.MaxRange + 7} {
		records, err := readAll(numbers{n, n + 1}, all)
		if err != nil || len(records) != int(n) {
			t.Fatalf("%d records: read %d, %v", n, len(records), err)
		}
		for i, rec := range records {
			if binary.BigEndian.Uint32(rec.Key) != uint32(i) {
				t.Fatalf("%d records: record %d is %x", n, i, rec.Key)
			}
		}
	}
	for _, broken := range []uint32{0, store.MaxRange, 2 * store.MaxRange} {
		if records, err := readAll(numbers{3 * store.MaxRange, broken}, all); err != errBrokenRange || records != nil {
			t.Errorf("broken at %d: %d records, %v", broken, len(records), err)
		}
	}
}
