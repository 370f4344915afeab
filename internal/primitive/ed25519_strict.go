package primitive

import (
	"bytes"
	"crypto/sha512"
	"slices"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

// Many signatures at once, by any keys, by the rule without cofactor. With k_i
// reduced modulo the order L of B, as voiEd25519.verify has it, and
//
//	E_i = [S_i]B - [k_i]A_i - R_i
//
// the rule says that every E_i is 0. The group is the product of that of B and
// of the one of the eight points of small order, so that an E_i may go wrong in
// either; one factor z_i of 126 bits a signature, which whoever makes the
// signatures cannot predict, looks for both.
//
// In the group of B: the sum of [z_i]E_i has to be of small order. If an E_i
// has a part in that group, then whatever the other factors are, one z_i at most
// makes the sum's part vanish, since L is a prime above 2^126.
//
// In the small one, if no E_i has a part in the other: [S_i]B has none here, and
// neither has [k_i-c_i]A_i if 8 divides k_i-c_i, so that E_i is minus the small
// part of
//
//	P_i = R_i + [c_i]A_i
//
// For every bit j of the factors, the sum U_j of the P_i whose z_i has that bit
// has to be in the group of B, that is [L]U_j = 0. If the small part of a P_i is
// not 0, then whatever the other factors are, that of U_j can vanish for one
// value of bit j of z_i only, not for both: each of the 126 sums shows it with
// probability 1/2 at least, and these bits are independent.
//
// So what the rule refuses passes with probability 2^-126 at most. Who looks for
// such signatures can do so at leisure, because the factors depend on the
// signatures alone; it takes him the 2^126 tries that a private key does.
//
// The sums U_j serve twice, as the sum of [2^j]U_j is that of [z_i]P_i:
//
//	sum [z_i]E_i = [sum z_i S_i]B - sum [z_i (k_i-c_i)]A_i - sum [2^j]U_j

const (
	// strictMin is how many signatures have to come together for this to be faster
	// than one by one: testing the sums takes as long for few as for many.
	strictMin = 256
	// strictDigit is how many bits of the factors are summed at a time: points go
	// to buckets by the digit they have, and the sums are made of buckets.
	strictDigit  = 6
	strictDigits = 126 / strictDigit
	// strictBlock is how many signatures are read at a time, an even number since
	// some come in pairs by one key.
	strictBlock = 32
	// strictPart is about how many go into a multiplication; more cost little less
	// each, and there should be work for several cores.
	strictPart = 500
)

// strictEntry is a signature whose parts are well formed.
type strictEntry struct {
	a    *curve.EdwardsPoint // A; one with the entry before if that has the same key
	p    curve.EdwardsPoint  // R + [c]A
	s, k scalar.Scalar       // S and k-c
	z    scalar.Scalar
	bits [16]byte // of z
}

// allHold tells that the rule accepts all of many signatures. It may deny that of
// few, and of such as do not all hold.
func (voiEd25519) allHold(list []Signed, do func(n int, f func(i int))) bool {
	return len(list) >= strictMin && strictHolds(list, do)
}

// strictHolds tells that the rule accepts all of some signatures.
func strictHolds(list []Signed, do func(n int, f func(i int))) bool {
	entries, seed, ok := readStrict(list, do)
	if !ok {
		return false
	}
	for i, bits := range batchFactors(seed, len(entries)) {
		bits[15] &= 1<<6 - 1
		entries[i].bits = bits
		setFactor(&entries[i].z, bits)
	}
	var (
		sums     [strictDigits]curve.EdwardsPoint
		free     [strictDigits]bool
		products = make([]curve.EdwardsPoint, (len(entries)+strictPart-1)/strictPart)
	)
	do(len(products)+strictDigits, func(i int) {
		if n := len(products); i < n {
			products[i] = multiplyStrict(entries[i*len(entries)/n : (i+1)*len(entries)/n])
		} else {
			sums[i-n], free[i-n] = sumStrict(entries, i-n)
		}
	})
	var e curve.EdwardsPoint // minus the sum of [z_i]E_i
	e.Identity()
	for i := strictDigits - 1; i >= 0; i-- {
		if !free[i] {
			return false
		}
		for range strictDigit {
			e.Add(&e, &e)
		}
		e.Add(&e, &sums[i])
	}
	for i := range products {
		e.Add(&e, &products[i])
	}
	return e.IsSmallOrder()
}

// readStrict reads all signatures and returns a seed for their factors, a hash of
// every challenge and every S. It denies what is malformed.
func readStrict(list []Signed, do func(n int, f func(i int))) ([]strictEntry, []byte, bool) {
	var (
		entries = make([]strictEntry, len(list))
		blocks  = (len(list) + strictBlock - 1) / strictBlock
		seeds   = make([][sha512.Size]byte, blocks)
		good    = make([]bool, blocks)
	)
	do(blocks, func(b int) {
		first, end := b*strictBlock, min((b+1)*strictBlock, len(list))
		keys := make([]curve.EdwardsPoint, end-first)
		seed := make([]byte, 0, len(keys)*(sha512.Size+32))
		for i := first; i < end; i++ {
			e := &entries[i]
			if i > first && bytes.Equal(list[i].Pub, list[i-1].Pub) {
				e.a = entries[i-1].a
			} else if e.a = &keys[i-first]; !decodePoint(e.a, list[i].Pub) {
				return
			}
			if !e.set(&list[i], &seed) {
				return
			}
		}
		seeds[b], good[b] = sha512.Sum512(seed), true
	})
	seed := make([]byte, 0, blocks*sha512.Size)
	for i := range seeds {
		seed = append(seed, seeds[i][:]...)
	}
	return entries, seed, !slices.Contains(good, false)
}

// set reads a signature by the key a and hashes its message; seed takes in all of it.
func (e *strictEntry) set(v *Signed, seed *[]byte) bool {
	if !ed25519Acceptable(v.Pub, v.Sig) || !decodeScalar(&e.s, v.Sig[32:]) || !decodePoint(&e.p, v.Sig[:32]) {
		return false
	}
	hash := challenge(&e.k, v.Pub, v.Sig, v.Message)
	*seed = append(append(*seed, hash[:]...), v.Sig[32:]...)
	var k [32]byte
	if err := e.k.ToBytes(k[:]); err != nil {
		panic(err) // of the length alone, which is right
	}
	// c is what remains of k, between -3 and 4.
	c, a := uint64(k[0]&7), *e.a
	if c <= 4 {
		e.k.Sub(&e.k, scalar.NewFromUint64(c))
	} else {
		c = 8 - c
		e.k.Add(&e.k, scalar.NewFromUint64(c))
		a.Neg(&a)
	}
	for ; c != 0; c >>= 1 {
		if c&1 != 0 {
			e.p.Add(&e.p, &a)
		}
		if c > 1 {
			a.Add(&a, &a)
		}
	}
	return true
}

// multiplyStrict returns sum [z_i (k_i-c_i)]A_i - [sum z_i S_i]B.
func multiplyStrict(entries []strictEntry) (p curve.EdwardsPoint) {
	var (
		scalars = make([]*scalar.Scalar, 1, len(entries)+1)
		points  = make([]*curve.EdwardsPoint, 1, len(entries)+1)
		sums    = make([]scalar.Scalar, len(entries)+1)
	)
	scalars[0], points[0] = &sums[0], curve.ED25519_BASEPOINT_POINT
	for i := range entries {
		var (
			e       = &entries[i]
			last    = len(points) - 1
			product scalar.Scalar
		)
		if points[last] != e.a {
			last++
			scalars, points = append(scalars, &sums[last]), append(points, e.a)
		}
		sums[0].Sub(&sums[0], product.Mul(&e.z, &e.s))
		sums[last].Add(&sums[last], product.Mul(&e.z, &e.k))
	}
	p.MultiscalarMulVartime(scalars, points)
	return p
}

// sumStrict makes the sums U_j of the bits of one digit and tells whether all of
// them are in the group of B. It returns their sum by the weights of the bits.
func sumStrict(entries []strictEntry, digit int) (sum curve.EdwardsPoint, free bool) {
	var buckets [1 << strictDigit]curve.EdwardsPoint
	for i := range buckets {
		buckets[i].Identity()
	}
	at := digit * strictDigit
	for i := range entries {
		e := &entries[i]
		d := e.bits[at/8] >> (at % 8)
		if at/8+1 < len(e.bits) {
			d |= e.bits[at/8+1] << (8 - at%8)
		}
		if d &= 1<<strictDigit - 1; d != 0 {
			buckets[d].Add(&buckets[d], &e.p)
		}
	}
	sum.Identity()
	for bit := strictDigit - 1; bit >= 0; bit-- {
		// Those with this bit make its sum, and are then as if they did not have it.
		u := buckets[1<<bit]
		for d := 1; d < 1<<bit; d++ {
			with := &buckets[1<<bit|d]
			u.Add(&u, with)
			buckets[d].Add(&buckets[d], with)
		}
		if !inPrimeOrder(&u) {
			return sum, false
		}
		sum.Add(&sum, &sum)
		sum.Add(&sum, &u)
	}
	return sum, true
}

// inPrimeOrder tells that p is in the group of B. It takes a fifth less time than
// IsTorsionFree, which hides p.
func inPrimeOrder(p *curve.EdwardsPoint) bool {
	var zero scalar.Scalar
	var q curve.EdwardsPoint
	return q.DoubleScalarMulBasepointVartime(scalar.BASEPOINT_ORDER, p, &zero).IsIdentity()
}
