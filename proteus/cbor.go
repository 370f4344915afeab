package proteus

import (
	"encoding/binary"
	"math"
)

// The subset of CBOR (RFC 8949) that Proteus is made of: unsigned integers, byte
// strings, arrays and maps of definite length, and null.
const (
	majorUint  = 0
	majorBytes = 2
	majorText  = 3
	majorArray = 4
	majorMap   = 5
	majorTag   = 6
	majorOther = 7

	null = 0xf6

	// Limits of the implementations, when reading.
	maxBytes   = 0x500000
	maxEntries = 1000
	maxNesting = 16
)

// appendHead appends the shortest head of an item.
func appendHead(b []byte, major byte, n uint64) []byte {
	major <<= 5
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n <= math.MaxUint8:
		return append(b, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

func appendMap(b []byte, entries int) []byte   { return appendHead(b, majorMap, uint64(entries)) }
func appendArray(b []byte, entries int) []byte { return appendHead(b, majorArray, uint64(entries)) }

// appendUint appends an integer.
func appendUint[T uint8 | uint16 | uint32](b []byte, n T) []byte {
	return appendHead(b, majorUint, uint64(n))
}

// appendBytes appends a byte string.
func appendBytes(b, s []byte) []byte {
	return append(appendHead(b, majorBytes, uint64(len(s))), s...)
}

// appendWrapped appends a map with a byte string under key 0, the form of every key.
func appendWrapped(b, s []byte) []byte {
	return appendBytes(append(appendMap(b, 1), 0), s)
}

// reader reads items from the front of b, and copies nothing.
type reader struct{ b []byte }

// head reads the head of an item and the bytes its number takes. Tags before it are
// skipped, as the implementations do.
func (r *reader) head() (major byte, n uint64, size int, err error) {
	for {
		if len(r.b) == 0 {
			return 0, 0, 0, ErrTruncated
		}
		major, n = r.b[0]>>5, uint64(r.b[0]&31)
		r.b = r.b[1:]
		switch {
		case n < 24:
			size = 0
		case n < 28:
			size = 1 << (n - 24)
			if len(r.b) < size {
				return 0, 0, 0, ErrDecode
			}
			n = 0
			for _, c := range r.b[:size] {
				n = n<<8 | uint64(c)
			}
			r.b = r.b[size:]
		default: // indefinite, or reserved
			return 0, 0, 0, ErrDecode
		}
		if major != majorTag {
			return major, n, size, nil
		}
	}
}

// expect reads the head of an item of one kind.
func (r *reader) expect(want byte) (n uint64, size int, err error) {
	major, n, size, err := r.head()
	if err == nil && major != want {
		err = ErrDecode
	}
	return n, size, err
}

// number reads an integer whose head takes at most as many bytes as its type.
func (r *reader) number(width int) (uint64, error) {
	n, size, err := r.expect(majorUint)
	if err == nil && size > width {
		err = ErrDecode
	}
	return n, err
}

func (r *reader) uint8() (uint8, error)   { n, err := r.number(1); return uint8(n), err }
func (r *reader) uint16() (uint16, error) { n, err := r.number(2); return uint16(n), err }
func (r *reader) uint32() (uint32, error) { n, err := r.number(4); return uint32(n), err }

// bytes reads a byte string. It shares memory with the input.
func (r *reader) bytes() ([]byte, error) {
	n, _, err := r.expect(majorBytes)
	if err != nil {
		return nil, err
	}
	if n > maxBytes || n > uint64(len(r.b)) {
		return nil, ErrDecode
	}
	s := r.b[:n:n]
	r.b = r.b[n:]
	return s, nil
}

// exactly reads a byte string into dst, which it has to fill.
func (r *reader) exactly(dst []byte) error {
	s, err := r.bytes()
	switch {
	case err != nil:
		return err
	case len(s) < len(dst):
		return ErrLength
	case len(s) > len(dst):
		return ErrDecode
	}
	copy(dst, s)
	return nil
}

// entries reads the head of an array or a map.
func (r *reader) entries(major byte) (int, error) {
	n, _, err := r.expect(major)
	if err == nil && n > maxEntries {
		err = ErrDecode
	}
	return int(n), err
}

// null tells whether the next item is null, and if so reads it.
func (r *reader) null() bool {
	if len(r.b) > 0 && r.b[0] == null {
		r.b = r.b[1:]
		return true
	}
	return false
}

// object reads a map by its keys: field reads the value of a key below fields, other
// keys are skipped. A key that comes twice is refused, and so is a missing one unless
// optional, a set of bits, has it.
func (r *reader) object(fields uint8, optional uint8, field func(key uint8) error) error {
	n, err := r.entries(majorMap)
	if err != nil {
		return err
	}
	seen := optional
	var once uint8
	for range n {
		key, err := r.uint8()
		if err != nil {
			return err
		}
		if key >= fields {
			if err := r.skip(maxNesting); err != nil {
				return err
			}
			continue
		}
		if once&(1<<key) != 0 {
			return within("field twice", ErrDecode)
		}
		once |= 1 << key
		if err := field(key); err != nil {
			return err
		}
	}
	if seen|once != 1<<fields-1 {
		return within("missing field", ErrDecode)
	}
	return nil
}

// wrapped reads a map with a byte string under key 0 into dst.
func (r *reader) wrapped(dst []byte) error {
	return r.object(1, 0, func(uint8) error { return r.exactly(dst) })
}

// version reads the version of an object, which nobody looks at.
func (r *reader) version() error { _, err := r.uint8(); return err }

// skip reads any one item, of at most as many levels.
func (r *reader) skip(levels int) error {
	if levels == 0 {
		return ErrDecode
	}
	major, n, size, err := r.head()
	if err != nil {
		return err
	}
	switch major {
	case majorBytes, majorText:
		if n > maxBytes || n > uint64(len(r.b)) {
			return ErrDecode
		}
		r.b = r.b[n:]
	case majorArray, majorMap:
		if n > maxEntries {
			return ErrDecode
		}
		if major == majorMap {
			n *= 2
		}
		for range n {
			if err := r.skip(levels - 1); err != nil {
				return err
			}
		}
	case majorOther:
		if size == 1 && n < 32 { // a simple value in a form that does not exist
			return ErrDecode
		}
	}
	return nil
}
