package primitive

import (
	"math/big"

	"filippo.io/nistec"
)

// curvePoint is a point of filippo.io/nistec, whose additions are complete: they hold
// for equal points and for the one at infinity too.
type curvePoint[P any] interface {
	*nistec.P384Point | *nistec.P521Point
	Add(P, P) P
	Double(P) P
	Set(P) P
	SetBytes([]byte) (P, error)
	SetGenerator() P
	BytesX() ([]byte, error)
}

// teeth is how many bits of a scalar a comb takes at once. A table has 2^teeth points
// of 144 or 216 bytes; with one tooth more there would be twice as many, for a sixth
// less to compute.
const teeth = 5

// comb is a table of multiples of one point: the sum of those 2^(j*span) multiples
// whose bit j is set in the index. It computes in variable time, so it is for what is public.
type comb[P curvePoint[P]] [1 << teeth]P

// combs makes and uses the combs of one curve.
type combs[P curvePoint[P]] struct {
	newPoint  func() P
	order     *big.Int
	span      int // bits between two teeth
	generator *comb[P]
}

func newCombs[P curvePoint[P]](newPoint func() P, order *big.Int) *combs[P] {
	c := &combs[P]{newPoint: newPoint, order: order, span: (order.BitLen() + teeth - 1) / teeth}
	c.generator = c.of(newPoint().SetGenerator())
	return c
}

func (c *combs[P]) of(p P) *comb[P] {
	t := new(comb[P])
	t[0] = c.newPoint()
	p = c.newPoint().Set(p)
	for j := range teeth {
		if j > 0 {
			for range c.span {
				p.Double(p)
			}
		}
		bit := 1 << j
		for i := range bit {
			t[bit+i] = c.newPoint().Add(t[i], p)
		}
	}
	return t
}

// key returns a verifier for an uncompressed point, nil if it is none of the curve.
func (c *combs[P]) key(pub []byte) func(digest []byte, r, s *big.Int) bool {
	p, err := c.newPoint().SetBytes(pub)
	if err != nil {
		return nil
	}
	table := c.of(p)
	return func(digest []byte, r, s *big.Int) bool { return c.verify(table, digest, r, s) }
}

// verify is FIPS 186-5 section 6.4.2, for a digest no longer than the order.
func (c *combs[P]) verify(key *comb[P], digest []byte, r, s *big.Int) bool {
	if r.Sign() <= 0 || s.Sign() <= 0 || r.Cmp(c.order) >= 0 || s.Cmp(c.order) >= 0 {
		return false
	}
	w := new(big.Int).ModInverse(s, c.order)
	u := new(big.Int).SetBytes(digest)
	u.Mod(u.Mul(u, w), c.order)
	v := w.Mod(w.Mul(w, r), c.order)
	sum := c.newPoint()
	for i := c.span - 1; i >= 0; i-- {
		sum.Double(sum)
		if at := c.index(u, i); at != 0 {
			sum.Add(sum, c.generator[at])
		}
		if at := c.index(v, i); at != 0 {
			sum.Add(sum, key[at])
		}
	}
	x, err := sum.BytesX()
	if err != nil { // the point at infinity
		return false
	}
	got := new(big.Int).SetBytes(x)
	return got.Mod(got, c.order).Cmp(r) == 0
}

// index gathers the bits of k that column i of a comb stands for.
func (c *combs[P]) index(k *big.Int, i int) int {
	at := 0
	for j := range teeth {
		at |= int(k.Bit(i+j*c.span)) << j
	}
	return at
}
