package store

import (
	"bytes"
	"testing"

	"github.com/conclave-mls/conclave/internal/race"
)

// TestReadAllocations counts what a read of one small record of a message allocates: the
// list of values, the scratch of its associated data, and the value. Pebble takes what it
// needs from pools, but for one thing where the record lies in a table.
func TestReadAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector drops what is put into a pool")
	}
	memory := benchOptions()
	memory.InMemory = true
	key, value := benchKey(nil, 1), bytes.Repeat([]byte{7}, 120)
	c := new(ChangeSet)
	c.Put(key, value)
	for _, tt := range []struct {
		name   string
		o      Options
		reopen bool // so that the record lies in a table
		want   float64
	}{{"memory", memory, false, 3}, {"disk, in a memtable", benchOptions(), false, 3}, {"disk, in a table", benchOptions(), true, 4}} {
		dir := t.TempDir()
		s := mustOpen(t, dir, tt.o)
		mustApply(t, s, c)
		if tt.reopen {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = mustOpen(t, dir, benchOptions())
			if n := s.db.Metrics().Levels[0].TablesCount; n == 0 {
				t.Fatal("no table")
			}
		}
		got := testing.AllocsPerRun(1000, func() {
			if v, err := s.GetMany(key); err != nil || !bytes.Equal(v[0], value) {
				t.Fatalf("%q, %v", v, err)
			}
		})
		if got != tt.want {
			t.Errorf("%s: %v allocations, want %v", tt.name, got, tt.want)
		}
	}
}
