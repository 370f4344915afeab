package main

import (
	"bytes"
	"slices"

	"github.com/conclave-mls/conclave/mlsgroup"
)

// records are the records of one group, in memory. Values are never changed.
type records map[string][]byte

func (r records) apply(changes []mlsgroup.Change) {
	for _, c := range changes {
		switch c.Op {
		case mlsgroup.Put:
			r[string(c.Key)] = bytes.Clone(c.Value)
		case mlsgroup.Delete:
			delete(r, string(c.Key))
		case mlsgroup.DeleteRange:
			for k := range r {
				if k >= string(c.Key) && k < string(c.High) {
					delete(r, k)
				}
			}
		}
	}
}

// load answers a step that lacks parts of its group.
func (r records) load(need *mlsgroup.Need) []mlsgroup.Loaded {
	var loaded []mlsgroup.Loaded
	for _, p := range need.Parts {
		l := mlsgroup.Loaded{Part: p}
		for _, rng := range p.Ranges() {
			l.Records = append(l.Records, r.read(rng)...)
		}
		loaded = append(loaded, l)
	}
	return loaded
}

func (r records) read(rng mlsgroup.RecordRange) []mlsgroup.Record {
	var keys []string
	for k := range r {
		if k >= string(rng.Low) && k < string(rng.High) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	if rng.Reverse {
		slices.Reverse(keys)
	}
	if rng.Limit > 0 && len(keys) > rng.Limit {
		keys = keys[:rng.Limit]
	}
	var found []mlsgroup.Record
	for _, k := range keys {
		found = append(found, mlsgroup.Record{Key: []byte(k), Value: r[k]})
	}
	return found
}
