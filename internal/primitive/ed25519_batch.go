package primitive

import (
	"crypto/sha512"
	"encoding/binary"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

// One equation for many signatures (RFC 8032 section 8.9's batch verification):
//
//	[8]( [sum z_i S_i]B - sum [z_i k_i]A_i - sum [z_i]R_i ) = 0
//
// with factors z_i of 128 bits that whoever makes the signatures cannot predict.
// The terms of one key are one term, so that many messages of few senders cost
// little more than their R.

// batchSize bounds one equation. Larger ones are little faster, and a bad
// signature costs its whole equation a verification one by one.
const batchSize = 64

// minusB is a table of the multiples of minus the base point.
var minusB = func() *curve.ExpandedEdwardsPoint {
	var p curve.EdwardsPoint
	return curve.NewExpandedEdwardsPoint(p.Neg(curve.ED25519_BASEPOINT_POINT))
}()

// batchEntry is a signature whose parts are well formed.
type batchEntry struct {
	at   int // in the slice of verifications
	key  *voiKey
	r    curve.EdwardsPoint
	s, k scalar.Scalar
}

// set reads a signature and hashes its message; seed takes in all of it.
func (e *batchEntry) set(v *Verification, seed *[]byte) bool {
	e.key = v.Key.ready.(*voiKey)
	if !ed25519Acceptable(e.key.pub[:], v.Sig) || !decodeScalar(&e.s, v.Sig[32:]) || !decodePoint(&e.r, v.Sig[:32]) {
		return false
	}
	hash := challenge(&e.k, e.key.pub[:], v.Sig, v.Message[:]...)
	*seed = append(append(*seed, hash[:]...), v.Sig[32:]...)
	return true
}

// verify applies the equation to the one signature.
func (e *batchEntry) verify() bool {
	var p curve.EdwardsPoint
	return p.ExpandedTripleScalarMulBasepointVartime(&e.k, &e.key.minusA, &e.s, &e.r).IsSmallOrder()
}

// verifyEquation verifies those at most batchSize signatures by keys of voiEd25519
// that stand at some places of vs. If the equation fails it finds the bad ones
// one by one, with the same rule.
func verifyEquation(vs []Verification, places []int, errs []error) {
	entries := make([]batchEntry, 0, len(places))
	seed := make([]byte, 0, len(places)*(sha512.Size+32))
	for _, i := range places {
		entries = entries[:len(entries)+1]
		e := &entries[len(entries)-1]
		e.at = i
		// What is malformed stays out, so that it does not spoil the equation.
		if !e.set(&vs[i], &seed) {
			errs[i] = ErrSignature
			entries = entries[:len(entries)-1]
		}
	}
	if len(entries) > 1 && equationHolds(entries, seed) {
		return
	}
	for i := range entries {
		if !entries[i].verify() {
			errs[entries[i].at] = ErrSignature
		}
	}
}

// equationHolds evaluates the equation. Its factors need to be unpredictable to
// whoever makes the signatures, not random: they are derived from a hash of every
// challenge, which covers R, key and message, and every S.
func equationHolds(entries []batchEntry, seed []byte) bool {
	var (
		n       = len(entries)
		factors = batchFactors(seed, n)
		rs      = make([]*curve.EdwardsPoint, n)
		z       = make([]scalar.Scalar, n)
		zs      = make([]*scalar.Scalar, n)
		keys    = make([]*curve.ExpandedEdwardsPoint, 1, n+1)
		sums    = make([]scalar.Scalar, n+1)
		sumPtrs = make([]*scalar.Scalar, 1, n+1)
		of      = make([]*voiKey, 1, n+1)
	)
	keys[0], sumPtrs[0] = minusB, &sums[0]
	for i := range entries {
		e := &entries[i]
		setFactor(&z[i], factors[i])
		rs[i], zs[i] = &e.r, &z[i]
		at := 1
		for at < len(of) && of[at] != e.key && of[at].pub != e.key.pub {
			at++
		}
		if at == len(of) {
			of, keys, sumPtrs = append(of, e.key), append(keys, &e.key.minusA), append(sumPtrs, &sums[at])
		}
		var product scalar.Scalar
		sums[0].Add(&sums[0], product.Mul(zs[i], &e.s))
		sums[at].Add(&sums[at], product.Mul(zs[i], &e.k))
	}
	// The tables are of -A, so that the sign of every term but B's is wrong.
	for _, sum := range sumPtrs[1:] {
		sum.Neg(sum)
	}
	var p curve.EdwardsPoint
	return p.ExpandedMultiscalarMulVartime(sumPtrs, keys, zs, rs).IsSmallOrder()
}

// factorSize is the bytes of a factor.
const factorSize = 16

// batchFactors derives n factors.
func batchFactors(seed []byte, n int) [][factorSize]byte {
	factors := make([][factorSize]byte, n)
	key := sha512.Sum512_256(seed)
	var (
		input [len(key) + 4]byte
		block [sha512.Size]byte
	)
	copy(input[:], key[:])
	for i := range factors {
		at := i % (len(block) / factorSize) * factorSize
		if at == 0 {
			binary.BigEndian.PutUint32(input[len(key):], uint32(i))
			block = sha512.Sum512(input[:])
		}
		copy(factors[i][:], block[at:])
	}
	return factors
}

// setFactor sets z to a factor.
func setFactor(z *scalar.Scalar, factor [factorSize]byte) {
	var wide [32]byte
	copy(wide[:], factor[:])
	if _, err := z.SetBits(wide[:]); err != nil {
		panic(err) // of the length alone, which is right
	}
}
