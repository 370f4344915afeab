package store

import (
	"bytes"
	"maps"
	"slices"
)

// Overlay is a Reader that shows base as it would be after Apply(sets...). It
// sees what is added to the sets later, too, but not a Wipe of one, after which
// it must not be used. It is not safe for concurrent use.
func Overlay(base Reader, sets ...*ChangeSet) Reader {
	return &overlay{base: base, sets: sets, seen: make([]int, len(sets)), points: make(map[string]place)}
}

type overlay struct {
	base   Reader
	sets   []*ChangeSet
	seen   []int            // how many changes of each set are in points and spans
	points map[string]place // of the last put or delete of each key
	spans  []span
}

// place orders changes: the set, then the change in it.
type place struct{ set, op int }

func (p place) after(q place) bool { return p.set > q.set || p.set == q.set && p.op > q.op }

type span struct {
	place
	low, high []byte
}

// index takes in what was added to the sets since the last read.
func (o *overlay) index() {
	for i, c := range o.sets {
		for n := o.seen[i]; n < c.Len(); n++ {
			op, at := c.ops[n], place{i, n}
			if op.Kind == OpDeleteRange {
				o.spans = append(o.spans, span{at, op.Key, op.High})
			} else if p, ok := o.points[string(op.Key)]; !ok || at.after(p) {
				o.points[string(op.Key)] = at
			}
		}
		o.seen[i] = c.Len()
	}
}

// cleared tells whether a range was deleted around key after at.
func (o *overlay) cleared(key []byte, at place) bool {
	for _, s := range o.spans {
		if s.after(at) && bytes.Compare(key, s.low) >= 0 && bytes.Compare(key, s.high) < 0 {
			return true
		}
	}
	return false
}

// beforeAll is the place of what is in base.
var beforeAll = place{set: -1}

// find returns what the sets make of key; known is false if base decides.
func (o *overlay) find(key []byte) (value []byte, known bool) {
	p, ok := o.points[string(key)]
	if !ok {
		return nil, o.cleared(key, beforeAll)
	}
	// The change is looked at now, as a put may have taken another value since.
	op := &o.sets[p.set].ops[p.op]
	if op.Kind == OpDelete || o.cleared(key, p) {
		return nil, true
	}
	return own(op.Value), true
}

// own copies a value; that of an empty one is not nil.
func own(b []byte) []byte { return append(make([]byte, 0, len(b)), b...) }

// GetMany implements Reader.
func (o *overlay) GetMany(keys ...[]byte) ([][]byte, error) {
	o.index()
	values := make([][]byte, len(keys))
	var asked [][]byte
	var places []int
	for i, key := range keys {
		value, known := o.find(key)
		if known {
			values[i] = value
			continue
		}
		asked, places = append(asked, key), append(places, i)
	}
	if len(asked) == 0 {
		return values, nil
	}
	got, err := o.base.GetMany(asked...)
	if err != nil {
		return nil, err
	}
	for i, at := range places {
		values[at] = got[i]
	}
	return values, nil
}

// Range implements Reader: it merges the records of base, fetched piece by piece,
// with the puts of the sets.
func (o *overlay) Range(r Range) ([]Record, error) {
	o.index()
	if r.High != nil && bytes.Compare(r.Low, r.High) >= 0 {
		return nil, nil
	}
	limit := r.limit()
	own := o.puts(r)
	var out []Record
	rest := r
	for len(out) < limit {
		// What is over- or unwritten here takes no place in the result.
		rest.Limit = min(limit-len(out)+len(o.points), MaxRange)
		got, err := o.base.Range(rest)
		if err != nil {
			return nil, err
		}
		for _, rec := range got {
			for len(own) > 0 && before(own[0].Key, rec.Key, r.Reverse) {
				out, own = append(out, own[0]), own[1:]
			}
			if _, written := o.points[string(rec.Key)]; !written && !o.cleared(rec.Key, beforeAll) {
				out = append(out, rec)
			}
		}
		if len(got) < rest.Limit {
			out = append(out, own...)
			break
		}
		last := got[len(got)-1].Key
		if r.Reverse {
			rest.High = last
		} else {
			rest.Low = append(bytes.Clone(last), 0)
		}
	}
	return out[:min(len(out), limit)], nil
}

func before(a, b []byte, reverse bool) bool {
	if reverse {
		a, b = b, a
	}
	return bytes.Compare(a, b) <= 0
}

// puts returns the records of r that the sets leave behind, in the order of r.
func (o *overlay) puts(r Range) []Record {
	var out []Record
	for _, k := range slices.Sorted(maps.Keys(o.points)) {
		key := []byte(k)
		if !r.holds(key) {
			continue
		}
		if value, _ := o.find(key); value != nil {
			out = append(out, Record{key, value})
		}
	}
	if r.Reverse {
		slices.Reverse(out)
	}
	return out
}
