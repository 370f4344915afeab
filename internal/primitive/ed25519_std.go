package primitive

import (
	"crypto/ed25519"
	"math/big"
	"slices"
)

// standardEd25519 is the standard library: the fallback, and the oracle of the
// tests. It has no equation with cofactor, so its batches are strict.
type standardEd25519 struct{}

func (standardEd25519) expand(seed []byte) []byte { return ed25519.NewKeyFromSeed(seed) }

func (standardEd25519) sign(expanded, message []byte) []byte {
	return ed25519.Sign(expanded, message)
}

// onCurve decides with Euler's criterion whether x^2 = (y^2-1) / (dy^2+1) has a
// solution (RFC 8032 section 5.1.3), since the library exports no decoding. Its
// input is public.
func (standardEd25519) onCurve(pub []byte) bool {
	be := slices.Clone(pub)
	slices.Reverse(be)
	be[0] &= 0x7f
	y, one := new(big.Int).SetBytes(be), big.NewInt(1)
	p := new(big.Int).Sub(new(big.Int).Lsh(one, 255), big.NewInt(19))
	// d = -121665 / 121666
	d := new(big.Int).ModInverse(big.NewInt(121666), p)
	d.Mul(d, big.NewInt(-121665)).Mod(d, p)
	yy := new(big.Int).Mul(y, y)
	u := new(big.Int).Sub(yy, one)
	v := d.Mul(d, yy).Add(d, one)
	// u/v is a square exactly if uv is.
	return big.Jacobi(u.Mul(u, v).Mod(u, p), p) >= 0
}

func (standardEd25519) verify(pub, sig []byte, message ...[]byte) bool {
	if len(message) == 1 {
		return ed25519.Verify(pub, message[0], sig)
	}
	return ed25519.Verify(pub, slices.Concat(message...), sig)
}

func (e standardEd25519) ready(pub []byte) (readyKey, bool) {
	if !e.onCurve(pub) {
		return nil, false
	}
	return &standardKey{[32]byte(pub)}, true
}

// allHold leaves it to verify.
func (standardEd25519) allHold([]Signed, func(int, func(int))) bool { return false }

// standardKey is a public key; the standard library has no faster form of it.
type standardKey struct{ pub [32]byte }

func (k *standardKey) verifyParts(sig []byte, message ...[]byte) bool {
	return ed25519Acceptable(k.pub[:], sig) && standardEd25519{}.verify(k.pub[:], sig, message...)
}
