package mlsgroup

import "iter"

// vecChunk is the number of entries of a vec that are copied together.
const vecChunk = 32

// vec is a sparse array that never changes: set returns another one, which
// shares all it can. The zero value is empty. An entry is nil where unset, and
// what an entry points to belongs to every vec that holds it.
type vec[T any] struct {
	chunks []*[vecChunk]*T
}

// get returns entry i, nil where unset.
func (v vec[T]) get(i uint32) *T {
	if c := int(i / vecChunk); c < len(v.chunks) && v.chunks[c] != nil {
		return v.chunks[c][i%vecChunk]
	}
	return nil
}

// set returns v with entry i replaced; x may be nil. It copies the table of
// chunks and one chunk.
func (v vec[T]) set(i uint32, x *T) vec[T] {
	e := v.edit()
	e.set(i, x)
	return e.done()
}

// edit starts a series of changes that copies each chunk at most once.
func (v vec[T]) edit() *vecEdit[T] { return &vecEdit[T]{chunks: v.chunks} }

// all yields the entries that are set, in ascending order.
func (v vec[T]) all() iter.Seq2[uint32, *T] {
	return func(yield func(uint32, *T) bool) {
		for c, chunk := range v.chunks {
			if chunk == nil {
				continue
			}
			for j, x := range chunk {
				if x != nil && !yield(uint32(c*vecChunk+j), x) {
					return
				}
			}
		}
	}
}

// changed yields, in ascending order, the indices at which v and old hold
// different pointers. Chunks that are shared cost one comparison each.
func (v vec[T]) changed(old vec[T]) iter.Seq[uint32] {
	at := func(chunks []*[vecChunk]*T, c int) *[vecChunk]*T {
		if c < len(chunks) {
			return chunks[c]
		}
		return nil
	}
	return func(yield func(uint32) bool) {
		var none [vecChunk]*T
		for c := range max(len(v.chunks), len(old.chunks)) {
			a, b := at(v.chunks, c), at(old.chunks, c)
			if a == b {
				continue
			}
			if a == nil {
				a = &none
			}
			if b == nil {
				b = &none
			}
			for j := range vecChunk {
				if a[j] != b[j] && !yield(uint32(c*vecChunk+j)) {
					return
				}
			}
		}
	}
}

// vecEdit is a vec under change. It has one owner and ends with done.
type vecEdit[T any] struct {
	chunks []*[vecChunk]*T
	own    []bool // chunk was copied by this edit; nil while the table itself is shared
}

func (e *vecEdit[T]) get(i uint32) *T { return vec[T]{e.chunks}.get(i) }

func (e *vecEdit[T]) set(i uint32, x *T) {
	c := int(i / vecChunk)
	if x == nil && (c >= len(e.chunks) || e.chunks[c] == nil) {
		return
	}
	e.grow(c + 1)
	if !e.own[c] {
		chunk := new([vecChunk]*T)
		if e.chunks[c] != nil {
			*chunk = *e.chunks[c]
		}
		e.chunks[c], e.own[c] = chunk, true
	}
	e.chunks[c][i%vecChunk] = x
}

// grow makes the table the edit's own and at least n chunks long.
func (e *vecEdit[T]) grow(n int) {
	if e.own == nil {
		n = max(n, len(e.chunks))
		chunks := make([]*[vecChunk]*T, n)
		copy(chunks, e.chunks)
		e.chunks, e.own = chunks, make([]bool, n)
	} else if more := n - len(e.chunks); more > 0 {
		e.chunks = append(e.chunks, make([]*[vecChunk]*T, more)...)
		e.own = append(e.own, make([]bool, more)...)
	}
}

// truncate unsets every entry from n on.
func (e *vecEdit[T]) truncate(n uint32) {
	keep := int((n + vecChunk - 1) / vecChunk)
	if keep > len(e.chunks) {
		return
	}
	e.grow(0)
	clear(e.chunks[keep:])
	e.chunks, e.own = e.chunks[:keep], e.own[:keep]
	for i := n; i < uint32(keep*vecChunk); i++ {
		if e.get(i) != nil {
			e.set(i, nil)
		}
	}
}

// done ends the edit.
func (e *vecEdit[T]) done() vec[T] {
	v := vec[T]{chunks: e.chunks}
	e.chunks, e.own = nil, nil
	return v
}
