package primitive

import (
	"bytes"
	"crypto/sha512"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

// voiEd25519 is curve25519-voi, 1.7 times as fast as the standard library.
type voiEd25519 struct{}

func (voiEd25519) expand(seed []byte) []byte { return ed25519.NewKeyFromSeed(seed) }

func (voiEd25519) sign(expanded, message []byte) []byte { return ed25519.Sign(expanded, message) }

func (voiEd25519) onCurve(pub []byte) bool {
	var p curve.EdwardsPoint
	return decodePoint(&p, pub)
}

func decodePoint(p *curve.EdwardsPoint, b []byte) bool {
	var y curve.CompressedEdwardsY
	if _, err := y.SetBytes(b); err != nil {
		return false
	}
	_, err := p.SetCompressedY(&y)
	return err == nil
}

// verify applies the equation without cofactor: it compares the encoding of
// [S]B - [k]A with R's bytes, so that R need not be decoded.
func (voiEd25519) verify(pub, sig []byte, message ...[]byte) bool {
	var (
		s, k scalar.Scalar
		a, r curve.EdwardsPoint
	)
	if !decodeScalar(&s, sig[32:]) || !decodePoint(&a, pub) {
		return false
	}
	challenge(&k, pub, sig, message...)
	return encodesTo(r.DoubleScalarMulBasepointVartime(&k, a.Neg(&a), &s), sig[:32])
}

func encodesTo(p *curve.EdwardsPoint, b []byte) bool {
	var y curve.CompressedEdwardsY
	y.SetEdwardsPoint(p)
	return bytes.Equal(y[:], b)
}

func (voiEd25519) ready(pub []byte) (readyKey, bool) {
	var a curve.EdwardsPoint
	if !decodePoint(&a, pub) {
		return nil, false
	}
	k := &voiKey{pub: [32]byte(pub)}
	k.minusA.SetEdwardsPoint(a.Neg(&a))
	return k, true
}

// voiKey is a public key A of Ed25519 with a table of the multiples of -A.
type voiKey struct {
	pub    [32]byte
	minusA curve.ExpandedEdwardsPoint
}

// verifyParts applies the same equation as voiEd25519.verify.
func (v *voiKey) verifyParts(sig []byte, message ...[]byte) bool {
	var (
		s, k scalar.Scalar
		r    curve.EdwardsPoint
	)
	if !ed25519Acceptable(v.pub[:], sig) || !decodeScalar(&s, sig[32:]) {
		return false
	}
	challenge(&k, v.pub[:], sig, message...)
	return encodesTo(r.ExpandedDoubleScalarMulBasepointVartime(&k, &v.minusA, &s), sig[:32])
}

// decodeScalar reads S, which has to be below the group order.
func decodeScalar(s *scalar.Scalar, b []byte) bool {
	if !scalar.ScMinimalVartime(b) {
		return false
	}
	_, err := s.SetBits(b)
	return err == nil
}

// challenge sets k to the hash of R, A and the message (RFC 8032 section 5.1.7)
// and returns that hash before it is reduced.
func challenge(k *scalar.Scalar, pub, sig []byte, message ...[]byte) (hash [sha512.Size]byte) {
	d := sha512.New()
	d.Write(sig[:32])
	d.Write(pub)
	for _, m := range message {
		d.Write(m)
	}
	d.Sum(hash[:0])
	if _, err := k.SetBytesModOrderWide(hash[:]); err != nil {
		panic(err) // of the length alone, which is right
	}
	return hash
}
