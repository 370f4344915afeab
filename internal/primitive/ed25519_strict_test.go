package primitive

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

// inSequence is what VerifyEach does without a do.
func inSequence(n int, f func(i int)) {
	for i := range n {
		f(i)
	}
}

// atOnce runs each on a goroutine of its own.
func atOnce(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// forgers makes signatures of many keys.
type forgers struct{ *forger }

// signature returns one of the n-th key, with points of small order added to key
// and R. Other tries sign other messages.
func (f forgers) signature(n, inKey, inR, try int) Signed {
	f.t.Helper()
	a := f.scalar("key", n, 0)
	one := &forger{f.t, a}
	pub, message := one.key(one.torsion(inKey)), fmt.Append(nil, "message ", n, " ", try)
	return Signed{pub, message, one.sign(f.scalar("r", n, try), a, one.torsion(inR), pub, message)}
}

func (f forgers) scalar(what string, n, try int) *scalar.Scalar {
	f.t.Helper()
	wide := sha512.Sum512(fmt.Append(nil, what, n, " ", try))
	return must(scalar.NewFromBytesModOrderWide(wide[:]))(f.t)
}

// honest returns n good signatures by n keys.
func (f forgers) honest(n int) []Signed {
	list := make([]Signed, n)
	for i := range list {
		list[i] = f.signature(i, 0, 0, 0)
	}
	return list
}

// oneByOne is the verdict on a list of the rule of one signature.
func oneByOne(list []Signed) bool {
	for _, v := range list {
		if !ed25519Acceptable(v.Pub, v.Sig) || !(standardEd25519{}).verify(v.Pub, v.Sig, v.Message) {
			return false
		}
	}
	return true
}

// holds checks what the equation of many says of a list, and that the rule of one
// says the same.
func holds(t *testing.T, what string, list []Signed, want bool) {
	t.Helper()
	if got := oneByOne(list); got != want {
		t.Fatalf("%s: one by one accepted %v, want %v: the list is not what it should be", what, got, want)
	}
	if got := strictHolds(list, inSequence); got != want {
		t.Errorf("%s: accepted together %v, want %v", what, got, want)
	}
}

// TestStrictTorsion makes signatures wrong by points of small order, alone and in
// such numbers that they cancel where they are only added up.
func TestStrictTorsion(t *testing.T) {
	f := forgers{newForger(t)}
	honest := f.honest(20)
	holds(t, "none", nil, true)
	holds(t, "honest", honest, true)
	holds(t, "one honest", honest[:1], true)
	wrong := func(n int, by ...int) []Signed {
		list := slices.Clone(honest[:n])
		for i, torsion := range by {
			list[i] = f.signature(i, 0, torsion, 0)
		}
		return list
	}
	at := func(n, place, torsion int) []Signed {
		list := slices.Clone(honest[:n])
		list[place] = f.signature(place, 0, torsion, 0)
		return list
	}
	for torsion := 1; torsion < 8; torsion++ {
		for _, n := range []int{1, 2, 6} {
			for place := range n {
				holds(t, fmt.Sprintf("point %d at %d of %d", torsion, place, n), at(n, place, torsion), false)
			}
		}
		// Two that cancel, beside each other and apart.
		pair := slices.Clone(honest)
		pair[0], pair[19] = f.signature(0, 0, torsion, 0), f.signature(19, 0, 8-torsion, 0)
		holds(t, fmt.Sprintf("points %d and %d, apart", torsion, 8-torsion), pair, false)
		holds(t, fmt.Sprintf("points %d and %d", torsion, 8-torsion), wrong(3, torsion, 8-torsion), false)
		holds(t, fmt.Sprintf("only points %d and %d", torsion, 8-torsion), wrong(2, torsion, 8-torsion), false)
		// Eight alike, and everywhere the same.
		same := []int{torsion, torsion, torsion, torsion, torsion, torsion, torsion, torsion}
		holds(t, fmt.Sprintf("eight times point %d", torsion), wrong(9, same...), false)
		holds(t, fmt.Sprintf("only eight times point %d", torsion), wrong(8, same...), false)
		holds(t, fmt.Sprintf("sixteen times point %d", torsion), wrong(16, append(same, same...)...), false)
	}
	holds(t, "three that cancel", wrong(4, 1, 2, 5), false)
	holds(t, "all seven", wrong(7, 1, 2, 3, 4, 5, 6, 7), false)
	holds(t, "all seven and the point of order 2", wrong(8, 1, 2, 3, 4, 5, 6, 7, 4), false)
	if !f.torsion(4).IsSmallOrder() || f.torsion(4).IsIdentity() || !curve.NewEdwardsPoint().Add(f.torsion(3), f.torsion(5)).IsIdentity() {
		t.Error("the points of small order are not in the order of their logarithms")
	}
}

// TestStrictTorsionKey puts points of small order in keys, where the challenge
// decides whether the rule refuses them, and in both key and R, where they may
// cancel.
func TestStrictTorsionKey(t *testing.T) {
	f := forgers{newForger(t)}
	rest := f.honest(6)[3:]
	var accepted, refused int
	for inKey := range 8 {
		for inR := range 8 {
			var all []Signed
			for try := range 4 {
				v := f.signature(100*inKey+inR, inKey, inR, try)
				k := new(scalar.Scalar)
				challenge(k, v.Pub, v.Sig, v.Message)
				left := curve.NewEdwardsPoint().Mul(f.torsion(inKey), k)
				good := left.Add(left, f.torsion(inR)).IsIdentity()
				holds(t, fmt.Sprintf("points %d in the key and %d in R, try %d", inKey, inR, try), append([]Signed{v}, rest...), good)
				if good {
					accepted++
					all = append(all, v)
				} else {
					refused++
				}
			}
			holds(t, fmt.Sprintf("all good ones with points %d in the key and %d in R", inKey, inR), all, true)
		}
	}
	if accepted < 12 || refused < 150 {
		t.Errorf("%d accepted and %d refused, want some and many", accepted, refused)
	}
}

// TestStrictScalars makes signatures wrong in the group of prime order, by amounts
// that cancel where they are only added up.
func TestStrictScalars(t *testing.T) {
	f := forgers{newForger(t)}
	honest := f.honest(6)
	by := func(v Signed, d *scalar.Scalar) Signed { return addS(t, v, d) }
	one := scalar.One()
	minus := scalar.New().Neg(one)
	holds(t, "S one too large", append([]Signed{by(honest[0], one)}, honest[1:]...), false)
	holds(t, "S wrong by 1 and -1", append([]Signed{by(honest[0], one), by(honest[1], minus)}, honest[2:]...), false)
	holds(t, "S wrong by 1 and -1, of one key", []Signed{by(honest[0], one), by(f.signature(0, 0, 0, 1), minus)}, false)
	for i := range honest {
		list := slices.Clone(honest)
		list[i].Message = []byte("another")
		holds(t, fmt.Sprintf("another message at %d", i), list, false)
		list = slices.Clone(honest)
		list[i].Pub = honest[(i+1)%len(honest)].Pub
		holds(t, fmt.Sprintf("another key at %d", i), list, false)
	}
}

// TestStrictMalformed puts what the rule refuses by its form beside good
// signatures.
func TestStrictMalformed(t *testing.T) {
	f := forgers{newForger(t)}
	honest := f.honest(4)
	good := honest[2]
	with := func(v Signed) []Signed {
		list := slices.Clone(honest)
		list[2] = v
		return list
	}
	order := [32]byte{
		0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 31: 0x10,
	}
	large, carry := bytes.Clone(good.Sig), 0
	for i := range order {
		carry += int(large[32+i]) + int(order[i])
		large[32+i], carry = byte(carry), carry>>8
	}
	holds(t, "S + L", with(Signed{good.Pub, good.Message, large}), false)
	holds(t, "no signature", with(Signed{good.Pub, good.Message, nil}), false)
	holds(t, "no key", with(Signed{nil, good.Message, good.Sig}), false)
	for i := range 8 {
		small := f.encode(f.torsion(i))
		// Of a key of small order any S with R = [S]B is a signature, where [k]A is 0.
		for try := range 16 {
			message := fmt.Append(nil, try)
			holds(t, fmt.Sprintf("key %d of small order", i),
				with(Signed{small, message, f.sign(scalar.NewFromUint64(7777), nil, f.torsion(0), small, message)}), false)
		}
		pub := f.key(f.torsion(0))
		holds(t, fmt.Sprintf("R %d of small order", i),
			with(Signed{pub, good.Message, f.sign(scalar.New(), f.a, f.torsion(i), pub, good.Message)}), false)
	}
	for low := 0xed; low <= 0xff; low++ {
		unreduced := repeat([]byte{byte(low)}, 0xff, 30, 0x7f)
		holds(t, "unreduced key", with(Signed{unreduced, good.Message, good.Sig}), false)
		holds(t, "unreduced R", with(Signed{good.Pub, good.Message, append(unreduced, good.Sig[32:]...)}), false)
	}
	off := 0
	for n := range 16 {
		point := material(fmt.Sprint("point", n), 32)
		if !(voiEd25519{}).onCurve(point) {
			off++
		}
		holds(t, "some key", with(Signed{point, good.Message, good.Sig}), false)
		holds(t, "some R", with(Signed{good.Pub, good.Message, append(point, good.Sig[32:]...)}), false)
	}
	if off == 0 {
		t.Error("no point off the curve")
	}
}

// TestStrictRandom compares verdicts on lists of random signatures, honest, wrong
// and with points of small order, single and in pairs by one key.
func TestStrictRandom(t *testing.T) {
	f := forgers{newForger(t)}
	rnd := rand.New(rand.NewPCG(1, 2))
	good, bad := 0, 0
	for round := range 80 {
		list := make([]Signed, 0, 40)
		odd := rnd.IntN(3) // how many are not honest
		for n := range 1 + rnd.IntN(40) {
			key := 1000*round + n
			list = append(list, f.signature(key, 0, 0, 0))
			if rnd.IntN(3) == 0 {
				list = append(list, f.signature(key, 0, 0, 1))
			}
		}
		for range odd {
			v := &list[rnd.IntN(len(list))]
			switch rnd.IntN(4) {
			case 0:
				v.Sig = bytes.Clone(v.Sig)
				v.Sig[rnd.IntN(64)] ^= 1 << rnd.IntN(8)
			case 1:
				v.Message = append(bytes.Clone(v.Message), 0)
			default:
				*v = f.signature(1000*round, 2*rnd.IntN(4), 4*rnd.IntN(2), rnd.IntN(100))
			}
		}
		want := oneByOne(list)
		if got := strictHolds(list, atOnce); got != want {
			t.Errorf("round %d, %d signatures: accepted together %v, one by one %v", round, len(list), got, want)
		}
		if want {
			good++
		} else {
			bad++
		}
	}
	if good < 25 || bad < 25 {
		t.Errorf("%d good lists and %d bad ones", good, bad)
	}
}

// TestStrictPrimeOrder compares the test of a sum with that of the library.
func TestStrictPrimeOrder(t *testing.T) {
	f := newForger(t)
	for n := range 8 {
		p := curve.NewEdwardsPoint().MulBasepoint(curve.ED25519_BASEPOINT_TABLE, scalar.NewFromUint64(uint64(n*n*n)))
		for i := range 8 {
			q := curve.NewEdwardsPoint().Add(p, f.torsion(i))
			if got := inPrimeOrder(q); got != (i == 0) || got != q.IsTorsionFree() {
				t.Errorf("[%d]B + point %d: in the group of B %v", n*n*n, i, got)
			}
		}
	}
}

// TestBatchFactors checks that every factor depends on all of the seed, and that
// no two are alike.
func TestBatchFactors(t *testing.T) {
	seed := material("seed", 96)
	seen := make(map[[factorSize]byte]bool)
	ones := 0
	for bit := -1; bit < 8*len(seed); bit += 13 {
		changed := bytes.Clone(seed)
		if bit >= 0 {
			changed[bit/8] ^= 1 << (bit % 8)
		}
		for _, factor := range batchFactors(changed, 21) {
			if seen[factor] {
				t.Fatalf("factor %x comes twice", factor)
			}
			seen[factor] = true
			for _, b := range factor {
				for ; b != 0; b &= b - 1 {
					ones++
				}
			}
		}
	}
	if half := len(seen) * 8 * factorSize / 2; ones < half*9/10 || ones > half*11/10 {
		t.Errorf("%d bits of factors are 1, want about %d", ones, half)
	}
}

// TestStrictSums checks that the sum of every bit is tested and has its weight.
func TestStrictSums(t *testing.T) {
	f := newForger(t)
	p := curve.NewEdwardsPoint().MulBasepoint(curve.ED25519_BASEPOINT_TABLE, scalar.NewFromUint64(5))
	for bit := range strictDigit * strictDigits {
		entries := make([]strictEntry, 3)
		for i := range entries {
			entries[i].p.Set(p)
			entries[i].bits[bit/8] = 1 << (bit % 8)
		}
		sum, free := sumStrict(entries, bit/strictDigit)
		weight := scalar.NewFromUint64(15 << (bit % strictDigit))
		if want := curve.NewEdwardsPoint().MulBasepoint(curve.ED25519_BASEPOINT_TABLE, weight); !free || sum.Equal(want) != 1 {
			t.Errorf("bit %d: the sum is in the group of B %v, or is another", bit, free)
		}
		entries[1].p.Add(p, f.torsion(1+bit%7))
		if _, free := sumStrict(entries, bit/strictDigit); free {
			t.Errorf("bit %d: a point of small order does not show", bit)
		}
		if _, free := sumStrict(entries, (bit/strictDigit+1)%strictDigits); !free {
			t.Errorf("bit %d: a point of small order shows in another digit", bit)
		}
	}
}

// TestStrictSeed checks that the seed of the factors takes in every part of every
// signature.
func TestStrictSeed(t *testing.T) {
	f := forgers{newForger(t)}
	honest := f.honest(strictBlock + 2)
	seed := func(list []Signed) string {
		t.Helper()
		_, seed, ok := readStrict(list, inSequence)
		if !ok {
			t.Fatal("a signature is malformed")
		}
		return string(seed)
	}
	seen := map[string]string{seed(honest): "nothing"}
	for _, i := range []int{0, 1, strictBlock - 1, strictBlock, strictBlock + 1} {
		other := f.signature(1000, 0, 0, 0)
		was := honest[i]
		for what, v := range map[string]Signed{
			"key":     {other.Pub, was.Message, was.Sig},
			"message": {was.Pub, other.Message, was.Sig},
			"R":       {was.Pub, was.Message, append(bytes.Clone(other.Sig[:32]), was.Sig[32:]...)},
			"S":       {was.Pub, was.Message, append(bytes.Clone(was.Sig[:32]), other.Sig[32:]...)},
		} {
			what = fmt.Sprint("another ", what, " at ", i)
			honest[i] = v
			got := seed(honest)
			if before, ok := seen[got]; ok {
				t.Errorf("%s leaves the seed as %s does", what, before)
			}
			seen[got] = what
		}
		honest[i] = was
	}
}

// TestVerifyEach checks that the bad entries, and no others, are refused, in lists
// too short and long enough to be verified together.
func TestVerifyEach(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *Suite) {
		sizes := []int{0, 1, 2, 5}
		if _, ok := s.sig.(ed25519Scheme); ok {
			sizes = append(sizes, strictMin-1, strictMin, strictMin+77)
		}
		for _, size := range sizes {
			list := make([]Signed, size)
			for i := range list {
				// Every third is by the key of the one before.
				priv, pub, err := s.GenerateSignatureKey(seedFor(s, fmt.Sprint("signer", i-i%3/2)))
				if err != nil {
					t.Fatal(err)
				}
				message := binary.BigEndian.AppendUint32(nil, uint32(i))
				list[i] = Signed{pub, message, must(s.Sign(priv, message))(t)}
			}
			check := func(what string, bad ...int) {
				t.Helper()
				for name, do := range map[string]func(int, func(int)){"in sequence": nil, "at once": atOnce} {
					errs := s.VerifyEach(list, do)
					if len(errs) != size {
						t.Fatalf("%s, %s: %d results for %d entries", what, name, len(errs), size)
					}
					for i, err := range errs {
						if isBad := slices.Contains(bad, i); isBad && err != ErrSignature || !isBad && err != nil {
							t.Errorf("%s, %s, list of %d: entry %d: %v, bad %v", what, name, size, i, err, isBad)
						}
					}
				}
			}
			check("good")
			if size == 0 {
				continue
			}
			last := size - 1
			good := list[last]
			list[last].Message = []byte("another")
			check("another message", last)
			list[last] = good
			list[0].Pub = make([]byte, len(good.Pub))
			list[size/2].Sig = nil
			check("no key and no signature", slices.Compact([]int{0, size / 2})...)
		}
	})
}

// TestVerifyEachTorsion puts one signature that only the cofactor makes valid
// among many: it is refused, alone, wherever it stands.
func TestVerifyEachTorsion(t *testing.T) {
	f, s := forgers{newForger(t)}, &suites[0]
	list := f.honest(strictMin)
	for torsion := 1; torsion < 8; torsion++ {
		place := torsion * (strictMin - 1) / 7
		good := list[place]
		list[place] = f.signature(place, 0, torsion, 0)
		for i, err := range s.VerifyEach(list, atOnce) {
			if (err != nil) != (i == place) {
				t.Errorf("point %d at %d: entry %d: %v", torsion, place, i, err)
			}
		}
		list[place] = good
	}
}
