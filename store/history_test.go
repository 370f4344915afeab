package store

import (
	"fmt"
	"maps"
	"strings"
	"testing"
)

// oracle is a store as a map: the dumb twin.
type oracle map[string]string

func (o oracle) apply(c *ChangeSet) {
	for op := range c.All() {
		switch op.Kind {
		case OpPut:
			o[string(op.Key)] = string(op.Value)
		case OpDelete:
			delete(o, string(op.Key))
		case OpDeleteRange:
			maps.DeleteFunc(o, func(k, _ string) bool { return k >= string(op.Key) && k < string(op.High) })
		}
	}
}

// contents reads a whole store.
func contents(t testing.TB, r Reader) oracle {
	t.Helper()
	records, err := r.Range(Range{})
	if err != nil {
		t.Fatal(err)
	}
	o := make(oracle, len(records))
	for _, rec := range records {
		o[string(rec.Key)] = string(rec.Value)
	}
	return o
}

// historySet is step i of a made-up history that overwrites, deletes and deletes
// ranges, and is large enough for small memtables to be flushed on the way.
func historySet(i int) *ChangeSet {
	c := new(ChangeSet)
	c.Put([]byte("sequence"), fmt.Append(nil, i))
	c.Put(fmt.Appendf(nil, "k%d", i%7), []byte(strings.Repeat(fmt.Sprint(i, " "), 1000+100*(i%9))))
	if i%3 == 2 {
		c.Delete(fmt.Appendf(nil, "k%d", (i+3)%7))
	}
	if i%5 == 4 {
		c.DeleteRange([]byte("k2"), []byte("k5"))
		c.Put([]byte("k3"), fmt.Appendf(nil, "after %d", i))
	}
	c.Put(fmt.Appendf(nil, "log/%04d", i), fmt.Append(nil, i))
	return c
}

// historyStates returns what the store holds before step 0, 1, … and after the last.
func historyStates(steps int) []oracle {
	states := []oracle{{}}
	o := oracle{}
	for i := range steps {
		o.apply(historySet(i))
		states = append(states, maps.Clone(o))
	}
	return states
}
