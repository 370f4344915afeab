package primitive

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"

	"github.com/conclave-mls/conclave/internal/secret"
)

// ecdsaScheme is ECDSA of suites 2, 5 and 7. A private key is the big-endian
// scalar, a public key the uncompressed point, a signature DER.
type ecdsaScheme struct {
	number  uint16
	size    int // of a scalar and of a coordinate, bytes
	curve   elliptic.Curve
	hash    hashKind
	digest  crypto.Hash
	topMask byte // of a candidate scalar's first byte
}

var (
	ecdsaP256 = &ecdsaScheme{0x0403, 32, elliptic.P256(), hashSHA256, crypto.SHA256, 0xff}
	ecdsaP384 = &ecdsaScheme{0x0503, 48, elliptic.P384(), hashSHA384, crypto.SHA384, 0xff}
	ecdsaP521 = &ecdsaScheme{0x0603, 66, elliptic.P521(), hashSHA512, crypto.SHA512, 0x01}
)

func (s *ecdsaScheme) id() uint16       { return s.number }
func (s *ecdsaScheme) privateSize() int { return s.size }

func (s *ecdsaScheme) candidate(private []byte) bool {
	private[0] &= s.topMask
	_, ok := s.private(private)
	return ok
}

// private reads a scalar, which may come without its leading zeros.
func (s *ecdsaScheme) private(b []byte) (*ecdsa.PrivateKey, bool) {
	if len(b) > s.size {
		return nil, false
	}
	var padded [maxPrivateSize]byte
	defer clear(padded[:])
	copy(padded[s.size-len(b):], b)
	key, err := ecdsa.ParseRawPrivateKey(s.curve, padded[:s.size])
	return key, err == nil
}

func (s *ecdsaScheme) public(private []byte) ([]byte, bool) {
	key, ok := s.private(private)
	if !ok {
		return nil, false
	}
	pub, err := key.PublicKey.Bytes()
	return pub, err == nil
}

func (s *ecdsaScheme) expand(private []byte) (secret.Bytes, bool) {
	if _, ok := s.private(private); !ok {
		return nil, false
	}
	return secret.Bytes(private).Clone(), true
}

// parse reads a point of SEC 1 section 2.3.4, compressed or not. The standard
// library refuses points off the curve and the one at infinity.
func (s *ecdsaScheme) parse(pub []byte) (*ecdsa.PublicKey, bool) {
	if len(pub) == 1+s.size && (pub[0] == 2 || pub[0] == 3) {
		x, y := elliptic.UnmarshalCompressed(s.curve, pub)
		if x == nil {
			return nil, false
		}
		var buf [1 + 2*maxPrivateSize]byte
		buf[0] = 4
		x.FillBytes(buf[1 : 1+s.size])
		y.FillBytes(buf[1+s.size : 1+2*s.size])
		pub = buf[:1+2*s.size]
	}
	key, err := ecdsa.ParseUncompressedPublicKey(s.curve, pub)
	return key, err == nil
}

func (s *ecdsaScheme) check(pub []byte) bool {
	_, ok := s.parse(pub)
	return ok
}

// sign passes no reader, which makes the signature deterministic (RFC 6979).
func (s *ecdsaScheme) sign(private, message []byte) ([]byte, error) {
	key, ok := s.private(private)
	if !ok {
		return nil, ErrKey
	}
	var digest [maxHashSize]byte
	s.hash.sum(&digest, message)
	return key.Sign(nil, digest[:s.hash.size()], s.digest)
}

func (s *ecdsaScheme) verify(pub, message, sig []byte) bool {
	key, ok := s.parse(pub)
	return ok && (&ecdsaKey{s, key}).verify(message, sig)
}

func (s *ecdsaScheme) verifyParts(pub, sig []byte, message [][]byte) bool {
	key, ok := s.parse(pub)
	return ok && (&ecdsaKey{s, key}).verifyParts(sig, message...)
}

func (s *ecdsaScheme) ready(pub []byte) (readyKey, bool) {
	key, ok := s.parse(pub)
	return &ecdsaKey{s, key}, ok
}

type ecdsaKey struct {
	s   *ecdsaScheme
	key *ecdsa.PublicKey
}

func (k *ecdsaKey) verify(message, sig []byte) bool { return k.verifyParts(sig, message) }

func (k *ecdsaKey) verifyParts(sig []byte, message ...[]byte) bool {
	var digest [maxHashSize]byte
	k.s.hash.sum(&digest, message...)
	return ecdsa.VerifyASN1(k.key, digest[:k.s.hash.size()], sig)
}
