package actors

import (
	"hash/maphash"
	"sync"
)

// table is a map for many goroutines: which actor serves which thing. Nothing is
// called under its locks but short functions of this package that neither block nor
// lock.
type table[K comparable, V any] struct {
	seed    maphash.Seed
	stripes [64]stripe[K, V]
}

type stripe[K comparable, V any] struct {
	mu sync.Mutex
	m  map[K]V
	_  [40]byte // keeps the locks on cache lines of their own
}

func newTable[K comparable, V any]() *table[K, V] {
	t := &table[K, V]{seed: maphash.MakeSeed()}
	for i := range t.stripes {
		t.stripes[i].m = make(map[K]V)
	}
	return t
}

func (t *table[K, V]) stripe(k K) *stripe[K, V] {
	return &t.stripes[maphash.Comparable(t.seed, k)%uint64(len(t.stripes))]
}

func (t *table[K, V]) load(k K) (V, bool) {
	s := t.stripe(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.m[k]
	return v, ok
}

func (t *table[K, V]) store(k K, v V) {
	s := t.stripe(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m[k] = v
}

func (t *table[K, V]) delete(k K) {
	s := t.stripe(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, k)
}

// update calls f with what is stored under k and stores what f returns, or deletes
// it where keep is false, in one step.
func (t *table[K, V]) update(k K, f func(v V, ok bool) (next V, keep bool)) {
	s := t.stripe(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.m[k]
	if next, keep := f(v, ok); keep {
		s.m[k] = next
	} else if ok {
		delete(s.m, k)
	}
}

// all returns what is stored at the moment each stripe is looked at.
func (t *table[K, V]) all() []V {
	var all []V
	for i := range t.stripes {
		s := &t.stripes[i]
		s.mu.Lock()
		for _, v := range s.m {
			all = append(all, v)
		}
		s.mu.Unlock()
	}
	return all
}
