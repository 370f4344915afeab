package primitive

import "github.com/oasisprotocol/curve25519-voi/curve"

// EdwardsToX25519 returns the X25519 form of an Ed25519 public key of 32 bytes, the
// Montgomery u coordinate of its point. It answers ErrKey unless the encoding is
// canonical and the point lies in the subgroup of prime order and is not its neutral
// element, which is what libsodium asks for.
func EdwardsToX25519(pub []byte) ([32]byte, error) {
	var y curve.CompressedEdwardsY
	if _, err := y.SetBytes(pub); err != nil || !y.IsCanonicalVartime() {
		return [32]byte{}, ErrKey
	}
	var p curve.EdwardsPoint
	if _, err := p.SetCompressedY(&y); err != nil || p.IsSmallOrder() || !p.IsTorsionFree() {
		return [32]byte{}, ErrKey
	}
	var u curve.MontgomeryPoint
	return *u.SetEdwards(&p), nil
}
