package primitive

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"math/big"
	"sync"
	"sync/atomic"

	"filippo.io/nistec"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/conclave-mls/conclave/internal/secret"
)

// ecdsaScheme is ECDSA of suites 2, 5 and 7. A private key is the big-endian
// scalar, expanded with the public key behind it, a public key the uncompressed point,
// a signature DER.
type ecdsaScheme struct {
	number  uint16
	size    int // of a scalar and of a coordinate, bytes
	curve   elliptic.Curve
	hash    hashKind
	digest  crypto.Hash
	topMask byte // of a candidate scalar's first byte
	// table makes a verifier by a table of the key's multiples; nil where the standard
	// library has assembly.
	table func(pub []byte) tableKey
}

// tableKey verifies by a table of a key's multiples.
type tableKey func(digest []byte, r, s *big.Int) bool

var (
	ecdsaP256 = &ecdsaScheme{0x0403, 32, elliptic.P256(), hashSHA256, crypto.SHA256, 0xff, nil}
	ecdsaP384 = &ecdsaScheme{0x0503, 48, elliptic.P384(), hashSHA384, crypto.SHA384, 0xff, tables(elliptic.P384(), nistec.NewP384Point)}
	ecdsaP521 = &ecdsaScheme{0x0603, 66, elliptic.P521(), hashSHA512, crypto.SHA512, 0x01, tables(elliptic.P521(), nistec.NewP521Point)}
)

// tables makes the generator's table when the first key needs one.
func tables[P curvePoint[P]](curve elliptic.Curve, newPoint func() P) func(pub []byte) tableKey {
	combs := sync.OnceValue(func() *combs[P] { return newCombs(newPoint, curve.Params().N) })
	return func(pub []byte) tableKey { return combs().key(pub) }
}

func (s *ecdsaScheme) id() uint16       { return s.number }
func (s *ecdsaScheme) privateSize() int { return s.size }

func (s *ecdsaScheme) candidate(private []byte) bool {
	private[0] &= s.topMask
	_, ok := s.private(private)
	return ok
}

// expandedSize is the length of an expanded private key.
func (s *ecdsaScheme) expandedSize() int { return s.size + 1 + 2*s.size }

// private reads a scalar, which may come without its leading zeros, or that of an
// expanded key, of whose public half it trusts nothing.
func (s *ecdsaScheme) private(b []byte) (*ecdsa.PrivateKey, bool) {
	if len(b) == s.expandedSize() {
		b = b[:s.size]
	}
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
	pub, ok := s.public(private)
	if !ok {
		return nil, false
	}
	if len(private) == s.expandedSize() {
		private = private[:s.size]
	}
	out := make(secret.Bytes, s.size, s.expandedSize())
	copy(out[s.size-len(private):], private)
	return append(out, pub...), true
}

// expanded is private for an expanded key. It saves the multiplication that gives the
// public key, a third of signing. The caller wipes D.
func (s *ecdsaScheme) expanded(b []byte) (*ecdsa.PrivateKey, bool) {
	pub, ok := s.parse(b[s.size:])
	if !ok {
		return nil, false
	}
	key := &ecdsa.PrivateKey{PublicKey: *pub}
	//lint:ignore SA1019 nothing else makes a key of both halves without computing the public one
	key.D = new(big.Int).SetBytes(b[:s.size])
	return key, true
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
	read := s.private
	if len(private) == s.expandedSize() {
		read = s.expanded
	}
	key, ok := read(private)
	if !ok {
		return nil, ErrKey
	}
	//lint:ignore SA1019 the library keeps its own copy, and this one is ours to wipe
	defer func() { clear(key.D.Bits()) }()
	var digest [maxHashSize]byte
	s.hash.sum(&digest, message)
	return key.Sign(nil, digest[:s.hash.size()], s.digest)
}

func (s *ecdsaScheme) verify(pub, message, sig []byte) bool {
	key, ok := s.parse(pub)
	return ok && (&ecdsaKey{s: s, key: key}).verifyParts(sig, message)
}

func (s *ecdsaScheme) verifyParts(pub, sig []byte, message [][]byte) bool {
	key, ok := s.parse(pub)
	return ok && (&ecdsaKey{s: s, key: key}).verifyParts(sig, message...)
}

func (s *ecdsaScheme) readyBytes() int {
	if s.table == nil {
		return 1 << 9
	}
	const point, rest = 60, 1 << 10 // beside three coordinates, and beside the points
	return (3*s.size+point)<<teeth + rest
}

func (s *ecdsaScheme) ready(pub []byte) (readyKey, bool) {
	key, ok := s.parse(pub)
	return &ecdsaKey{s: s, key: key}, ok
}

// ecdsaKey verifies a first signature as the standard library does, and from the second
// on by a table, in less than half the time. Making the table takes about as long as a verification, and
// most keys are used once.
type ecdsaKey struct {
	s     *ecdsaScheme
	key   *ecdsa.PublicKey
	used  atomic.Bool
	once  sync.Once
	table tableKey // once
}

func (k *ecdsaKey) verifyParts(sig []byte, message ...[]byte) bool {
	var digest [maxHashSize]byte
	k.s.hash.sum(&digest, message...)
	if table := k.tabled(); table != nil {
		r, s, ok := parseECDSASignature(sig)
		return ok && table(digest[:k.s.hash.size()], r, s)
	}
	return ecdsa.VerifyASN1(k.key, digest[:k.s.hash.size()], sig)
}

// tabled returns the key's table, nil if there is none or it does not pay yet.
func (k *ecdsaKey) tabled() tableKey {
	if k.s.table == nil || !k.used.Swap(true) {
		return nil
	}
	k.once.Do(func() {
		if pub, err := k.key.Bytes(); err == nil {
			k.table = k.s.table(pub)
		}
	})
	return k.table
}

// parseECDSASignature reads the DER of a signature. Like the standard library it takes no
// other encoding of the two numbers.
func parseECDSASignature(sig []byte) (r, s *big.Int, ok bool) {
	var inner cryptobyte.String
	input := cryptobyte.String(sig)
	r, s = new(big.Int), new(big.Int)
	ok = input.ReadASN1(&inner, asn1.SEQUENCE) && input.Empty() &&
		inner.ReadASN1Integer(r) && inner.ReadASN1Integer(s) && inner.Empty()
	return r, s, ok
}
