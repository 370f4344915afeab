package store

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/conclave-mls/conclave/internal/secret"
)

// The STORE file, format 1:
//
//	magic 16 | format 2 | store id 16 | salt 32 | n 4 | wrapped ring n | SHA-256 of all before 32
//
// The ring is wrapped with AES-256-GCM under HKDF-SHA256(database key, salt),
// with a zero nonce, as every write draws a new salt; the associated data is all
// that stands before it. The ring: hash key 32 | then, oldest first, key id 2 |
// key 32. The checksum tells a damaged file from a wrong key.
const (
	storeMagic   = "conclave store\r\n"
	storeFormat  = 1
	storeIDSize  = 16
	saltSize     = 32
	ringKeySize  = 2 + KeySize
	maxDataKeys  = 4096
	maxRingBytes = KeySize + maxDataKeys*ringKeySize + tagSize
	prefixSize   = len(storeMagic) + 2 + storeIDSize + saltSize
)

type dataKey struct {
	id  uint16
	key secret.Bytes
}

// ring holds the hash key of Keys and the data keys, oldest first.
type ring struct {
	hash secret.Bytes
	keys []dataKey
}

// newRing draws a ring with one data key.
func newRing(rand io.Reader) (*ring, error) {
	r := &ring{hash: make(secret.Bytes, KeySize)}
	if _, err := io.ReadFull(rand, r.hash); err != nil {
		return nil, err
	}
	return r.extended(rand)
}

// extended is a copy of r with one data key more, unless it is full.
func (r *ring) extended(rand io.Reader) (*ring, error) {
	next := &ring{hash: r.hash.Clone()}
	for _, k := range r.keys {
		next.keys = append(next.keys, dataKey{k.id, k.key.Clone()})
	}
	if len(next.keys) >= maxDataKeys {
		return next, nil
	}
	k := dataKey{id: uint16(len(next.keys)) + 1, key: make(secret.Bytes, KeySize)}
	if _, err := io.ReadFull(rand, k.key); err != nil {
		next.wipe()
		return nil, err
	}
	next.keys = append(next.keys, k)
	return next, nil
}

func (r *ring) newest() dataKey { return r.keys[len(r.keys)-1] }

// find returns the key with that id, or nil. Ids count from 1.
func (r *ring) find(id uint16) secret.Bytes {
	if id == 0 || int(id) > len(r.keys) {
		return nil
	}
	return r.keys[id-1].key
}

func (r *ring) wipe() {
	r.hash.Wipe()
	for _, k := range r.keys {
		k.key.Wipe()
	}
	r.keys = nil
}

func (r *ring) append(dst []byte) []byte {
	dst = append(dst, r.hash...)
	for _, k := range r.keys {
		dst = binary.BigEndian.AppendUint16(dst, k.id)
		dst = append(dst, k.key...)
	}
	return dst
}

// parseRing reads an unwrapped ring; what it returns has memory of its own.
func parseRing(b []byte) (*ring, error) {
	n := (len(b) - KeySize) / ringKeySize
	if len(b) != KeySize+n*ringKeySize || n < 1 || n > maxDataKeys {
		return nil, fmt.Errorf("%w: key ring of %d bytes", ErrCorrupt, len(b))
	}
	r := &ring{hash: secret.Bytes(b[:KeySize]).Clone()}
	for i := range n {
		k := b[KeySize+i*ringKeySize:][:ringKeySize]
		if binary.BigEndian.Uint16(k) != uint16(i)+1 {
			r.wipe()
			return nil, fmt.Errorf("%w: key ring order", ErrCorrupt)
		}
		r.keys = append(r.keys, dataKey{uint16(i) + 1, secret.Bytes(k[2:]).Clone()})
	}
	return r, nil
}

// storeFile is a parsed STORE file; its slices are part of the input.
type storeFile struct {
	id      [storeIDSize]byte
	salt    []byte
	prefix  []byte // all before the wrapped ring
	wrapped []byte
}

// parseStoreFile looks at the format before anything else, since a newer one may
// differ in all that follows.
func parseStoreFile(b []byte) (f storeFile, err error) {
	if len(b) < len(storeMagic)+2 || string(b[:len(storeMagic)]) != storeMagic {
		return f, fmt.Errorf("%w: STORE is not a store file", ErrCorrupt)
	}
	switch format := binary.BigEndian.Uint16(b[len(storeMagic):]); {
	case format > storeFormat:
		return f, fmt.Errorf("%w: format %d, this version knows %d", ErrNewerFormat, format, storeFormat)
	case format != storeFormat:
		return f, fmt.Errorf("%w: STORE has format %d", ErrCorrupt, format)
	}
	if len(b) < prefixSize+4+sha256.Size {
		return f, fmt.Errorf("%w: STORE is truncated", ErrCorrupt)
	}
	n := binary.BigEndian.Uint32(b[prefixSize:])
	if n > uint32(maxRingBytes) || int(n) != len(b)-prefixSize-4-sha256.Size {
		return f, fmt.Errorf("%w: STORE has %d bytes", ErrCorrupt, len(b))
	}
	body := b[:len(b)-sha256.Size]
	if sum := sha256.Sum256(body); string(sum[:]) != string(b[len(body):]) {
		return f, fmt.Errorf("%w: STORE has a bad checksum", ErrCorrupt)
	}
	f.prefix = body[:prefixSize+4]
	f.wrapped = body[prefixSize+4:]
	copy(f.id[:], b[len(storeMagic)+2:])
	f.salt = b[prefixSize-saltSize : prefixSize]
	return f, nil
}

const wrapInfo = "conclave store ring 1"

// unwrap opens the ring. Its error is ErrWrongKey, or ErrCorrupt for a ring that
// opens but makes no sense.
func (f storeFile) unwrap(key secret.Bytes) (*ring, error) {
	aead, err := derivedAEAD(key, f.salt, wrapInfo)
	if err != nil {
		return nil, err
	}
	var nonce [12]byte
	plain, err := aead.Open(nil, nonce[:], f.wrapped, f.prefix)
	if err != nil {
		return nil, ErrWrongKey
	}
	defer clear(plain)
	return parseRing(plain)
}

// wrapRing is the STORE file of a ring under a database key.
func wrapRing(id [storeIDSize]byte, r *ring, key secret.Bytes, rand io.Reader) ([]byte, error) {
	b := append([]byte(nil), storeMagic...)
	b = binary.BigEndian.AppendUint16(b, storeFormat)
	b = append(b, id[:]...)
	b = append(b, make([]byte, saltSize)...)
	salt := b[prefixSize-saltSize:]
	if _, err := io.ReadFull(rand, salt); err != nil {
		return nil, fmt.Errorf("store: draw a salt: %w", err)
	}
	aead, err := derivedAEAD(key, salt, wrapInfo)
	if err != nil {
		return nil, err
	}
	plain := r.append(make([]byte, 0, KeySize+len(r.keys)*ringKeySize))
	defer clear(plain)
	b = binary.BigEndian.AppendUint32(b, uint32(len(plain)+tagSize))
	var nonce [12]byte
	b = append(b, aead.Seal(nil, nonce[:], plain, b)...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...), nil
}
