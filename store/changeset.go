package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
)

// OpKind says what an Op does.
type OpKind uint8

const (
	// OpPut sets Key to Value.
	OpPut OpKind = iota + 1
	// OpDelete removes Key.
	OpDelete
	// OpDeleteRange removes every key from Key up to, not including, High.
	OpDeleteRange
)

// Op is one change. Its slices belong to the ChangeSet and must not be written.
type Op struct {
	Kind  OpKind
	Key   []byte // the key, or the low end of a range
	Value []byte // of an OpPut
	High  []byte // of an OpDeleteRange
}

// ChangeSet is an ordered list of changes; a later one wins over an earlier one, and
// may take its place.
// The zero value is empty and ready. It copies what it is given, so key and
// value buffers can be reused at once. It is not safe for concurrent use, and
// must not be copied by value once it holds something.
type ChangeSet struct {
	ops    []Op
	blocks [][]byte // what the ops point into: never moved, so a Wipe finds every byte
	size   int
}

// Put sets key to value.
func (c *ChangeSet) Put(key, value []byte) { c.put(key, c.hold(value)) }

// Take is Put for a large value, which it keeps and does not copy: it is c's from then
// on, and Wipe overwrites it.
func (c *ChangeSet) Take(key, value []byte) {
	c.blocks = slices.Insert(c.blocks, max(0, len(c.blocks)-1), value) // the last is the one with room
	c.put(key, value[:len(value):len(value)])
}

func (c *ChangeSet) put(key, held []byte) {
	if op := c.putBefore(key); op != nil {
		// What was there stays until Wipe: it may have been read through an overlay.
		c.size += len(held) - len(op.Value)
		op.Value = held
		return
	}
	c.add(Op{Kind: OpPut, Key: c.hold(key), Value: held})
}

// putBefore returns a Put of key among the last few changes that can take another
// value, nil if there is none. So a batch that steps one ratchet many times writes it
// once.
func (c *ChangeSet) putBefore(key []byte) *Op {
	const few = 4
	for i := len(c.ops) - 1; i >= max(0, len(c.ops)-few); i-- {
		op := &c.ops[i]
		switch {
		case op.Kind == OpDeleteRange: // may be of key, and stands behind what is before it
			return nil
		case bytes.Equal(op.Key, key):
			if op.Kind == OpPut {
				return op
			}
			return nil
		}
	}
	return nil
}

// Delete removes key, whether it exists or not.
func (c *ChangeSet) Delete(key []byte) {
	c.add(Op{Kind: OpDelete, Key: c.hold(key)})
}

// DeleteRange removes every key from low up to, not including, high. An empty
// range changes nothing. high may not be nil: see PrefixEnd.
func (c *ChangeSet) DeleteRange(low, high []byte) {
	if bytes.Compare(low, high) >= 0 {
		return
	}
	c.add(Op{Kind: OpDeleteRange, Key: c.hold(low), High: c.hold(high)})
}

// Append adds copies of the changes of other behind those of c. other stays as
// it is; nil is an empty one.
func (c *ChangeSet) Append(other *ChangeSet) {
	for op := range other.All() {
		op.Key, op.Value, op.High = c.hold(op.Key), c.hold(op.Value), c.hold(op.High)
		c.add(op)
	}
}

// Len is the number of changes. That of nil is 0.
func (c *ChangeSet) Len() int {
	if c == nil {
		return 0
	}
	return len(c.ops)
}

// Size is the length of all keys and values, in bytes, before sealing.
func (c *ChangeSet) Size() int {
	if c == nil {
		return 0
	}
	return c.size
}

// All iterates over the changes in order.
func (c *ChangeSet) All() iter.Seq[Op] {
	return func(yield func(Op) bool) {
		if c == nil {
			return
		}
		for _, op := range c.ops {
			if !yield(op) {
				return
			}
		}
	}
}

// Wipe overwrites every key and value that c holds and empties it. Values that
// were handed out by All are gone with it.
func (c *ChangeSet) Wipe() {
	if c == nil {
		return
	}
	for _, b := range c.blocks {
		clear(b[:cap(b)])
	}
	*c = ChangeSet{}
}

func (c *ChangeSet) add(op Op) {
	c.ops = append(c.ops, op)
	c.size += len(op.Key) + len(op.Value) + len(op.High)
}

// hold copies b into a block. Blocks grow in number, not in place, as growing
// in place would leave copies of secrets behind.
func (c *ChangeSet) hold(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	const smallest, largest = 128, 64 << 10 // the record of one message fits into the first
	last := len(c.blocks) - 1
	if last < 0 || cap(c.blocks[last])-len(c.blocks[last]) < len(b) {
		c.blocks = append(c.blocks, make([]byte, 0, max(min(smallest<<min(len(c.blocks), 9), largest), len(b))))
		last++
	}
	block := c.blocks[last]
	n := len(block)
	c.blocks[last] = append(block, b...)
	return c.blocks[last][n : n+len(b) : n+len(b)]
}

const changeSetFormat = 1

// SizeHint is no less than what AppendBinary appends, in bytes: with that much room,
// secrets do not stay behind in memory that was too small.
func (c *ChangeSet) SizeHint() int {
	const most = 1 + 2*binary.MaxVarintLen64 // the kind and two lengths
	return 1 + c.Size() + most*c.Len()
}

// AppendBinary appends the encoding of c to dst, for a record that holds changes
// to be made later.
func (c *ChangeSet) AppendBinary(dst []byte) ([]byte, error) {
	dst = append(dst, changeSetFormat)
	for op := range c.All() {
		second := op.Value
		if op.Kind == OpDeleteRange {
			second = op.High
		}
		dst = append(dst, byte(op.Kind))
		dst = binary.AppendUvarint(dst, uint64(len(op.Key)))
		dst = append(dst, op.Key...)
		if op.Kind != OpDelete {
			dst = binary.AppendUvarint(dst, uint64(len(second)))
			dst = append(dst, second...)
		}
	}
	return dst, nil
}

// ParseChangeSet reads what AppendBinary wrote; all of b has to be one change
// set. The result shares no memory with b. It answers ErrCorrupt.
func ParseChangeSet(b []byte) (*ChangeSet, error) {
	if len(b) == 0 || b[0] != changeSetFormat {
		return nil, fmt.Errorf("%w: change set format", ErrCorrupt)
	}
	b = b[1:]
	next := func() ([]byte, bool) {
		n, k := binary.Uvarint(b)
		if k <= 0 || n > uint64(len(b)-k) || len(binary.AppendUvarint(nil, n)) != k {
			return nil, false
		}
		v := b[k : k+int(n)]
		b = b[k+int(n):]
		return v, true
	}
	c := new(ChangeSet)
	for len(b) > 0 {
		kind := OpKind(b[0])
		b = b[1:]
		key, ok := next()
		var second []byte
		if ok && kind != OpDelete {
			second, ok = next()
		}
		if !ok {
			return nil, fmt.Errorf("%w: change set truncated", ErrCorrupt)
		}
		switch kind {
		case OpPut:
			c.add(Op{Kind: OpPut, Key: c.hold(key), Value: c.hold(second)})
		case OpDelete:
			c.Delete(key)
		case OpDeleteRange:
			if bytes.Compare(key, second) >= 0 {
				return nil, fmt.Errorf("%w: change set range", ErrCorrupt)
			}
			c.DeleteRange(key, second)
		default:
			return nil, fmt.Errorf("%w: change set kind", ErrCorrupt)
		}
	}
	return c, nil
}
