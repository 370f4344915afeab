package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/conclave-mls/conclave/internal/secret"
)

// A sealed value, format 1:
//
//	format 1 | data key id 2 | start id 16 | counter 4 | AES-256-GCM(plain, 0x80, zeros to 16)
//
// key = HKDF-SHA256(data key, salt = start id), nonce = 8 zero bytes and the
// counter, associated data = store id and record key. The header needs no place
// in the associated data, as every field of it selects the key or the nonce.
const (
	sealedFormat = 1
	startSize    = 16
	headerSize   = 1 + 2 + startSize + 4
	nonceSize    = 12
	tagSize      = 16
	padStep      = 16

	// A start ends well before its counter does: that also keeps what is sealed
	// under one key far below the limits of GCM.
	startLimit = 1 << 32

	// maxOpeners bounds the ciphers kept for reading: one for each start that
	// still has values, at about 1 KiB.
	maxOpeners = 1024
)

type startID [startSize]byte

// start is a key to seal under and its counter.
type start struct {
	dataKey uint16
	id      startID
	aead    cipher.AEAD
	next    atomic.Uint64
}

type openerKey struct {
	dataKey uint16
	id      startID
}

// sealer seals and opens values. It is safe for concurrent use.
type sealer struct {
	store [storeIDSize]byte
	rand  io.Reader

	current atomic.Pointer[start]
	openers sync.Map // openerKey -> cipher.AEAD
	opened  atomic.Int32

	mu   sync.Mutex // guards ring, and drawing a start
	ring *ring
}

// newSealer draws the start of this Open under the newest data key.
func newSealer(store [storeIDSize]byte, r *ring, rand io.Reader) (*sealer, error) {
	s := &sealer{store: store, ring: r, rand: rand}
	return s, s.restart(nil)
}

// restart replaces the current start, unless another caller already replaced old.
func (s *sealer) restart(old *start) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.Load() != old {
		return nil
	}
	return s.restartLocked()
}

func (s *sealer) restartLocked() error {
	newest := s.ring.newest()
	st := &start{dataKey: newest.id}
	if _, err := io.ReadFull(s.rand, st.id[:]); err != nil {
		return fmt.Errorf("store: draw a start id: %w", err)
	}
	aead, err := valueAEAD(newest.key, st.id)
	if err != nil {
		return err
	}
	st.aead = aead
	s.current.Store(st)
	return nil
}

// adopt makes next, which extends the present ring, the ring. Starts of the old
// one that are still being used stay valid, as next holds their data keys.
func (s *sealer) adopt(next *ring) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.ring
	s.ring = next
	if err := s.restartLocked(); err != nil {
		return err
	}
	old.wipe()
	return nil
}

// wipe ends the sealer. The ciphers cannot be wiped; their memory is dropped.
func (s *sealer) wipe() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ring.wipe()
	s.current.Store(nil)
	s.openers.Clear()
}

func valueAEAD(dataKey secret.Bytes, id startID) (cipher.AEAD, error) {
	return derivedAEAD(dataKey, id[:], "conclave store value 1")
}

// derivedAEAD is AES-256-GCM under HKDF-SHA256(key, salt, info).
func derivedAEAD(key secret.Bytes, salt []byte, info string) (cipher.AEAD, error) {
	derived, err := hkdf.Key(sha256.New, key, salt, info, KeySize)
	if err != nil {
		return nil, err
	}
	defer clear(derived)
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// sealedLen is the length of a sealed value of n bytes.
func sealedLen(n int) int { return headerSize + (n/padStep+1)*padStep + tagSize }

// fillScratch writes the nonce and, behind it, what binds a value to its place. In
// arrays of their own they would be allocated anew for every value, as they go
// through an interface.
func (s *sealer) fillScratch(scratch []byte, counter uint32, key []byte) []byte {
	scratch = append(scratch[:0], make([]byte, nonceSize-4)...)
	scratch = binary.BigEndian.AppendUint32(scratch, counter)
	return append(append(scratch, s.store[:]...), key...)
}

// seal writes value, sealed for key, to dst, which has sealedLen(len(value))
// bytes. scratch is memory for nonce and associated data and comes back for reuse.
func (s *sealer) seal(dst, key, value, scratch []byte) ([]byte, error) {
	st := s.current.Load()
	n := st.next.Add(1) - 1
	for n >= startLimit {
		if err := s.restart(st); err != nil {
			return scratch, err
		}
		st = s.current.Load()
		n = st.next.Add(1) - 1
	}
	dst[0] = sealedFormat
	binary.BigEndian.PutUint16(dst[1:], st.dataKey)
	copy(dst[3:], st.id[:])
	binary.BigEndian.PutUint32(dst[3+startSize:], uint32(n))
	plain := dst[headerSize : len(dst)-tagSize]
	clear(plain[copy(plain, value):])
	plain[len(value)] = 0x80
	scratch = s.fillScratch(scratch, uint32(n), key)
	st.aead.Seal(plain[:0], scratch[:nonceSize], plain, scratch[nonceSize:])
	return scratch, nil
}

// sealedValue is a parsed sealed value; its slice is part of the input.
type sealedValue struct {
	dataKey    uint16
	start      startID
	counter    uint32
	ciphertext []byte
}

func parseSealed(b []byte) (v sealedValue, err error) {
	if len(b) < headerSize+padStep+tagSize || (len(b)-headerSize-tagSize)%padStep != 0 {
		return v, fmt.Errorf("%w: sealed value of %d bytes", ErrCorrupt, len(b))
	}
	if b[0] != sealedFormat {
		return v, fmt.Errorf("%w: sealed value format %d", ErrCorrupt, b[0])
	}
	v.dataKey = binary.BigEndian.Uint16(b[1:])
	copy(v.start[:], b[3:])
	v.counter = binary.BigEndian.Uint32(b[3+startSize:])
	v.ciphertext = b[headerSize:]
	return v, nil
}

// open returns the value that sealed holds for key, in memory of its own.
func (s *sealer) open(sealed, key, scratch []byte) (value, scratchOut []byte, err error) {
	return s.openInto(nil, sealed, key, scratch)
}

// paddedLen is the length of the padded value in sealed.
func paddedLen(sealed []byte) int { return max(0, len(sealed)-headerSize-tagSize) }

// openInto is open into memory of paddedLen(sealed), nil for new memory.
func (s *sealer) openInto(space, sealed, key, scratch []byte) (value, scratchOut []byte, err error) {
	v, err := parseSealed(sealed)
	if err != nil {
		return nil, scratch, err
	}
	aead, err := s.opener(v)
	if err != nil {
		return nil, scratch, err
	}
	scratch = s.fillScratch(scratch, v.counter, key)
	if space == nil {
		space = make([]byte, paddedLen(sealed))
	}
	plain, err := aead.Open(space[:0], scratch[:nonceSize], v.ciphertext, scratch[nonceSize:])
	if err != nil {
		return nil, scratch, fmt.Errorf("%w: a value does not open under its key", ErrCorrupt)
	}
	for i := len(plain) - 1; i >= 0; i-- {
		switch plain[i] {
		case 0x80:
			return plain[:i:i], scratch, nil
		case 0:
			continue
		}
		break
	}
	return nil, scratch, fmt.Errorf("%w: padding", ErrCorrupt)
}

func (s *sealer) opener(v sealedValue) (cipher.AEAD, error) {
	if st := s.current.Load(); st.id == v.start && st.dataKey == v.dataKey {
		return st.aead, nil
	}
	k := openerKey{v.dataKey, v.start}
	if a, ok := s.openers.Load(k); ok {
		return a.(cipher.AEAD), nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.ring.find(v.dataKey)
	if key == nil {
		return nil, fmt.Errorf("%w: no data key %d", ErrCorrupt, v.dataKey)
	}
	aead, err := valueAEAD(key, v.start)
	if err != nil {
		return nil, err
	}
	if s.opened.Add(1) > maxOpeners {
		s.openers.Clear()
		s.opened.Store(1)
	}
	s.openers.Store(k, aead)
	return aead, nil
}
