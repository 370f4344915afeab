package primitive

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"hash"

	"github.com/conclave-mls/conclave/internal/secret"
)

// hashKind names a hash function. Its methods switch on it and call the
// standard library's concrete types, never an interface: that lets the compiler
// keep the running state and the callers' inputs on the stack, and a key
// derivation then allocates nothing but its result.
type hashKind uint8

const (
	hashSHA256 hashKind = iota
	hashSHA384
	hashSHA512
)

const maxHashSize = 64

func (h hashKind) size() int {
	switch h {
	case hashSHA256:
		return sha256.Size
	case hashSHA384:
		return sha512.Size384
	default:
		return sha512.Size
	}
}

// kdfID is the HKDF's number in RFC 9180 section 7.2.
func (h hashKind) kdfID() byte { return byte(h) + 1 }

func (h hashKind) running() hash.Hash {
	switch h {
	case hashSHA256:
		return sha256.New()
	case hashSHA384:
		return sha512.New384()
	default:
		return sha512.New()
	}
}

// sum puts the hash of the concatenated parts at the start of out.
func (h hashKind) sum(out *[maxHashSize]byte, parts ...[]byte) {
	switch h {
	case hashSHA256:
		d := sha256.New()
		for _, p := range parts {
			d.Write(p)
		}
		d.Sum(out[:0])
	case hashSHA384:
		d := sha512.New384()
		for _, p := range parts {
			d.Write(p)
		}
		d.Sum(out[:0])
	default:
		d := sha512.New()
		for _, p := range parts {
			d.Write(p)
		}
		d.Sum(out[:0])
	}
}

// hmac puts HMAC(key, parts...) (RFC 2104) at the start of out. No part may
// be memory of out.
func (h hashKind) hmac(out *[maxHashSize]byte, key []byte, parts ...[]byte) {
	switch h {
	case hashSHA256:
		hmacSHA256(out, key, parts...)
	case hashSHA384:
		hmacSHA384(out, key, parts...)
	default:
		hmacSHA512(out, key, parts...)
	}
}

const (
	innerPad = 0x36
	outerPad = 0x5c
)

func mask(pad []byte, b byte) {
	for i := range pad {
		pad[i] ^= b
	}
}

func hmacSHA256(out *[maxHashSize]byte, key []byte, parts ...[]byte) {
	var pad [sha256.BlockSize]byte
	d := sha256.New()
	if len(key) > len(pad) {
		d.Write(key)
		d.Sum(pad[:0])
		d.Reset()
	} else {
		copy(pad[:], key)
	}
	mask(pad[:], innerPad)
	d.Write(pad[:])
	for _, p := range parts {
		d.Write(p)
	}
	inner := d.Sum(out[:0])
	mask(pad[:], innerPad^outerPad)
	d.Reset()
	d.Write(pad[:])
	d.Write(inner)
	d.Sum(out[:0])
	clear(pad[:])
}

func hmacSHA384(out *[maxHashSize]byte, key []byte, parts ...[]byte) {
	var pad [sha512.BlockSize]byte
	d := sha512.New384()
	if len(key) > len(pad) {
		d.Write(key)
		d.Sum(pad[:0])
		d.Reset()
	} else {
		copy(pad[:], key)
	}
	mask(pad[:], innerPad)
	d.Write(pad[:])
	for _, p := range parts {
		d.Write(p)
	}
	inner := d.Sum(out[:0])
	mask(pad[:], innerPad^outerPad)
	d.Reset()
	d.Write(pad[:])
	d.Write(inner)
	d.Sum(out[:0])
	clear(pad[:])
}

func hmacSHA512(out *[maxHashSize]byte, key []byte, parts ...[]byte) {
	var pad [sha512.BlockSize]byte
	d := sha512.New()
	if len(key) > len(pad) {
		d.Write(key)
		d.Sum(pad[:0])
		d.Reset()
	} else {
		copy(pad[:], key)
	}
	mask(pad[:], innerPad)
	d.Write(pad[:])
	for _, p := range parts {
		d.Write(p)
	}
	inner := d.Sum(out[:0])
	mask(pad[:], innerPad^outerPad)
	d.Reset()
	d.Write(pad[:])
	d.Write(inner)
	d.Sum(out[:0])
	clear(pad[:])
}

// maxInfoParts bounds the pieces of an info that expand takes.
const maxInfoParts = 6

// expand fills dst with HKDF-Expand(prk, info...) (RFC 5869 section 2.3). The
// caller has checked that dst is no longer than 255 hashes and that info has at
// most maxInfoParts pieces.
func (h hashKind) expand(dst, prk []byte, info ...[]byte) {
	var (
		block   [2][maxHashSize]byte
		counter [1]byte
		parts   [maxInfoParts + 2][]byte
	)
	size := h.size()
	n := 1
	for _, p := range info { // copy would make the infos escape
		parts[n] = p
		n++
	}
	parts[n] = counter[:]
	for i := 0; len(dst) > 0; i++ {
		counter[0]++
		h.hmac(&block[i&1], prk, parts[:n+1]...)
		parts[0] = block[i&1][:size]
		dst = dst[copy(dst, parts[0]):]
	}
	clear(block[0][:])
	clear(block[1][:])
}

// Hash appends the hash of the concatenated data to dst.
func (s *Suite) Hash(dst []byte, data ...[]byte) []byte {
	var out [maxHashSize]byte
	s.hash.sum(&out, data...)
	return append(dst, out[:s.hash.size()]...)
}

// MAC appends the HMAC of the concatenated data to dst.
func (s *Suite) MAC(dst []byte, key secret.Bytes, data ...[]byte) []byte {
	var out [maxHashSize]byte
	s.hash.hmac(&out, key, data...)
	return append(dst, out[:s.hash.size()]...)
}

// VerifyMAC tells whether tag is the HMAC of the concatenated data, in time
// that does not depend on the tag's bytes.
func (s *Suite) VerifyMAC(key secret.Bytes, tag []byte, data ...[]byte) bool {
	var out [maxHashSize]byte
	s.hash.hmac(&out, key, data...)
	return hmac.Equal(out[:s.hash.size()], tag)
}

// Extract is HKDF-Extract (RFC 5869 section 2.2). The result is HashSize bytes.
func (s *Suite) Extract(salt, ikm []byte) secret.Bytes {
	var out [maxHashSize]byte
	s.hash.hmac(&out, salt, ikm)
	prk := append(make(secret.Bytes, 0, s.hash.size()), out[:s.hash.size()]...)
	clear(out[:])
	return prk
}

// Expand is HKDF-Expand (RFC 5869 section 2.3) for n bytes. It fails with
// ErrLength when n is negative or more than 255 times HashSize.
func (s *Suite) Expand(prk, info []byte, n int) (secret.Bytes, error) {
	if n < 0 || n > 255*s.hash.size() {
		return nil, ErrLength
	}
	out := make(secret.Bytes, n)
	s.hash.expand(out, prk, info)
	return out, nil
}

// ExpandInto is [Suite.Expand] into memory of the caller, which may be on its
// stack: it fills dst and allocates nothing. dst must not overlap prk or info.
func (s *Suite) ExpandInto(dst, prk, info []byte) error {
	if len(dst) > 255*s.hash.size() {
		return ErrLength
	}
	s.hash.expand(dst, prk, info)
	return nil
}
