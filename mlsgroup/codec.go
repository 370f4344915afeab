package mlsgroup

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// The TLS presentation language of RFC 9420 section 2.1, written by hand: an
// encoder appends to a slice, a decoder is a cursor with one sticky error.
// Every wire type has an append method and a read method, fields in the RFC's
// order, and what reads must append to the same bytes again.

// ErrDecode reports bytes that are not an encoding of what was asked for.
var ErrDecode = errors.New("mlsgroup: malformed encoding")

// maxVector is the largest length a variable-size vector header can state.
const maxVector = 1<<30 - 1

// appendVarint appends v in the shortest of the one, two and four byte forms.
func appendVarint(b []byte, v int) []byte {
	switch {
	case v < 1<<6:
		return append(b, byte(v))
	case v < 1<<14:
		return append(b, 0x40|byte(v>>8), byte(v))
	default:
		return append(b, 0x80|byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	}
}

// varintLen is the number of bytes appendVarint writes.
func varintLen(v int) int {
	switch {
	case v < 1<<6:
		return 1
	case v < 1<<14:
		return 2
	default:
		return 4
	}
}

func appendUint16(b []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(b, v) }
func appendUint32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }
func appendUint64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

// appendOpaque appends data as opaque<V>.
func appendOpaque(b, data []byte) []byte {
	return append(appendVarint(b, len(data)), data...)
}

// appendVector appends what body appends as a vector<V>. The body is written
// in place and moved once if its header needs more than one byte.
func appendVector(b []byte, body func([]byte) []byte) []byte {
	at := len(b)
	b = body(append(b, 0))
	n := len(b) - at - 1
	extra := varintLen(n) - 1
	if extra > 0 {
		b = append(b, make([]byte, extra)...)
		copy(b[at+1+extra:], b[at+1:at+1+n])
	}
	appendVarint(b[:at], n)
	return b
}

// reader is a cursor over bytes from outside. The first failure sticks; after
// it every read returns a zero value. Slices it returns alias the input.
type reader struct {
	b   []byte
	err error
	// last is set where many leaves are read: it has the capabilities of the one
	// before, which most others have too.
	last *lastCapabilities
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrDecode, fmt.Sprintf(format, args...))
	}
	r.b = nil
}

// failCheck is fail for a violation that docs/rfc9420.md lists as a check.
func (r *reader) failCheck(c Check, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %w", ErrDecode, c.Errorf(format, args...))
	}
	r.b = nil
}

// take returns the next n bytes, its capacity capped so that no append of the
// caller can reach what follows.
func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail("%d bytes wanted, %d left", n, len(r.b))
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) uint8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// varint reads a vector header and refuses the forbidden prefix and any form
// longer than it need be (RFC 9420 section 2.1.2).
func (r *reader) varint() int {
	if len(r.b) > 0 && r.b[0] < 1<<6 { // nearly every one
		v := int(r.b[0])
		r.b = r.b[1:]
		return v
	}
	first := r.uint8()
	if r.err != nil {
		return 0
	}
	size := 1 << (first >> 6)
	if size == 8 {
		r.failCheck(CheckVectorLengthPrefix, "length prefix 11")
		return 0
	}
	v := int(first & 0x3f)
	for range size - 1 {
		v = v<<8 | int(r.uint8())
	}
	if r.err == nil && varintLen(v) != size {
		r.failCheck(CheckVectorLengthMinimal, "length %d in %d bytes", v, size)
		return 0
	}
	return v
}

// opaque reads an opaque<V>. The length is checked against what is there, so
// no memory is taken on the word of the input.
func (r *reader) opaque() []byte {
	n := r.varint()
	if r.err != nil {
		return nil
	}
	return r.take(n)
}

// groupID reads a group id, which has a bound of its own.
func (r *reader) groupID() []byte {
	id := r.opaque()
	if len(id) > maxGroupIDLen {
		r.fail("group id of %d bytes", len(id))
	}
	return id
}

// vector reads a vector<V> by calling item until its bytes are used up. More
// than most elements are refused, so that small bytes cannot become a large
// value in memory.
func (r *reader) vector(most int, item func(*reader)) {
	body := r.opaque()
	if r.err != nil || len(body) == 0 {
		return
	}
	sub := reader{b: body}
	for n := 0; len(sub.b) > 0 && sub.err == nil; n++ {
		if n == most {
			sub.fail("more than %d elements", most)
			break
		}
		before := len(sub.b)
		item(&sub)
		if sub.err == nil && len(sub.b) == before {
			sub.fail("empty element")
		}
	}
	if sub.err != nil {
		r.err, r.b = sub.err, nil
	}
}

// optional reads the presence byte of an optional<T>.
func (r *reader) optional() bool {
	switch r.uint8() {
	case 0:
		return false
	case 1:
		return r.err == nil
	default:
		r.failCheck(CheckOptionalPresence, "presence byte neither 0 nor 1")
		return false
	}
}

// done returns the sticky error, or an error if bytes are left over.
func (r *reader) done() error {
	if r.err == nil && len(r.b) > 0 {
		r.fail("%d bytes left over", len(r.b))
	}
	return r.err
}

// parse reads one value that must use up all of b.
func parse(b []byte, read func(*reader)) error {
	if len(b) > maxMessageLen {
		return fmt.Errorf("%w: %d bytes, at most %d allowed", ErrDecode, len(b), maxMessageLen)
	}
	r := reader{b: b}
	read(&r)
	return r.done()
}

// parseClone reads a T that must use up all of b, from a copy of b, so that
// the result is the caller's alone.
func parseClone[T any](b []byte, read func(*T, *reader)) (*T, error) {
	x := new(T)
	if len(b) <= maxMessageLen {
		b = bytes.Clone(b)
	}
	if err := parse(b, func(r *reader) { read(x, r) }); err != nil {
		return nil, err
	}
	return x, nil
}

// appendUint16s appends a vector of two-byte values.
func appendUint16s[T ~uint16](b []byte, values []T) []byte {
	b = appendVarint(b, 2*len(values))
	for _, v := range values {
		b = appendUint16(b, uint16(v))
	}
	return b
}

// readUint16s reads a vector of two-byte values.
func readUint16s[T ~uint16](r *reader, most int) []T {
	body := r.opaque()
	if len(body)%2 != 0 || len(body) > 2*most {
		r.fail("vector of %d bytes for at most %d two-byte values", len(body), most)
	}
	if r.err != nil || len(body) == 0 {
		return nil
	}
	values := make([]T, len(body)/2)
	for i := range values {
		values[i] = T(binary.BigEndian.Uint16(body[2*i:]))
	}
	return values
}
