package proteus

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"math"

	"golang.org/x/crypto/chacha20"
)

// MaxGap is how many messages a chain may jump ahead at once, and how many keys of
// skipped messages it keeps.
const MaxGap = 1000

// derive is HKDF-SHA256 with 64 bytes of output, halved.
func derive(salt, ikm []byte, info string) (first, second key) {
	out, err := hkdf.Key(sha256.New, ikm, salt, info, 64)
	if err != nil { // only for an output of more than 255 blocks
		panic(err)
	}
	first, second = key(out[:32]), key(out[32:])
	clear(out)
	return first, second
}

func mac(dst *[32]byte, k *key, data []byte) {
	h := hmac.New(sha256.New, k[:])
	h.Write(data)
	h.Sum(dst[:0])
}

// chainKey is the head of a chain, from which the keys of its messages come.
type chainKey struct {
	key   key
	index uint32
}

var (
	labelMessage = []byte{'0'}
	labelChain   = []byte{'1'}
)

// messageKeys are what one message is sealed with.
type messageKeys struct {
	cipher, mac key
	counter     uint32
}

// messageKeys returns the keys of the message at the head.
func (c *chainKey) messageKeys() (m messageKeys) {
	var base key
	mac((*[32]byte)(&base), &c.key, labelMessage)
	m.cipher, m.mac = derive(nil, base[:], "hash_ratchet")
	m.counter = c.index
	base.wipe()
	return m
}

// advance moves the head on by one message.
func (c *chainKey) advance() error {
	if c.index == math.MaxUint32 {
		return ErrExhausted
	}
	old := c.key
	mac((*[32]byte)(&c.key), &old, labelChain)
	old.wipe()
	c.index++
	return nil
}

func (c *chainKey) append(b []byte) []byte {
	b = c.key.append(append(appendMap(b, 2), 0))
	return appendUint(append(b, 1), c.index)
}

func (r *reader) chainKey() (c chainKey, err error) {
	err = r.object(2, 0, func(field uint8) (err error) {
		if field == 0 {
			return r.wrapped(c.key[:])
		}
		c.index, err = r.uint32()
		return err
	})
	return c, err
}

func (m *messageKeys) wipe() { *m = messageKeys{} }

// crypt is ChaCha20 with the counter of the message as nonce, in both directions.
func (m *messageKeys) crypt(dst, src []byte) {
	var nonce [chacha20.NonceSize]byte
	binary.BigEndian.PutUint32(nonce[4:], m.counter)
	c, err := chacha20.NewUnauthenticatedCipher(m.cipher[:], nonce[:])
	if err != nil { // only for keys and nonces of other sizes
		panic(err)
	}
	c.XORKeyStream(dst, src)
}

// verify checks a MAC in constant time.
func (m *messageKeys) verify(tag *[32]byte, data []byte) error {
	var want [32]byte
	mac(&want, &m.mac, data)
	if !hmac.Equal(want[:], tag[:]) {
		return ErrInvalidSignature
	}
	return nil
}

func (m *messageKeys) append(b []byte) []byte {
	b = m.cipher.append(append(appendMap(b, 3), 0))
	b = m.mac.append(append(b, 1))
	return appendUint(append(b, 2), m.counter)
}

func (r *reader) messageKeys() (m messageKeys, err error) {
	err = r.object(3, 0, func(field uint8) (err error) {
		switch field {
		case 0:
			return r.wrapped(m.cipher[:])
		case 1:
			return r.wrapped(m.mac[:])
		}
		m.counter, err = r.uint32()
		return err
	})
	return m, err
}
