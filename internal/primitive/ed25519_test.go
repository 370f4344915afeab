package primitive

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"fmt"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"

	"github.com/conclave-mls/conclave/internal/secret"
)

// forger makes Ed25519 signatures as a dishonest signer can: it knows the
// private scalar a and adds points of small order where it likes.
type forger struct {
	t *testing.T
	a *scalar.Scalar
}

func newForger(t *testing.T) *forger {
	t.Helper()
	a, err := scalar.NewFromBytesModOrder(material("forger", 32))
	if err != nil {
		t.Fatal(err)
	}
	return &forger{t, a}
}

func (f *forger) encode(p *curve.EdwardsPoint) []byte {
	f.t.Helper()
	b, err := p.MarshalBinary()
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

// torsion returns the i-th of the eight points of small order.
func (f *forger) torsion(i int) *curve.EdwardsPoint {
	return curve.EIGHT_TORSION[i]
}

// key returns [a]B + T.
func (f *forger) key(torsion *curve.EdwardsPoint) []byte {
	p := curve.NewEdwardsPoint().MulBasepoint(curve.ED25519_BASEPOINT_TABLE, f.a)
	return f.encode(p.Add(p, torsion))
}

func (f *forger) challenge(r, pub, message []byte) *scalar.Scalar {
	f.t.Helper()
	h := sha512.Sum512(bytes.Join([][]byte{r, pub, message}, nil))
	k, err := scalar.NewFromBytesModOrderWide(h[:])
	if err != nil {
		f.t.Fatal(err)
	}
	return k
}

// sign signs with R = [r]B + T for a key whose scalar is a (nil stands for 0).
func (f *forger) sign(r, a *scalar.Scalar, torsion *curve.EdwardsPoint, pub, message []byte) []byte {
	f.t.Helper()
	point := curve.NewEdwardsPoint().MulBasepoint(curve.ED25519_BASEPOINT_TABLE, r)
	sig := f.encode(point.Add(point, torsion))
	s := scalar.New().Set(r)
	if a != nil {
		s.Add(s, scalar.New().Mul(f.challenge(sig, pub, message), a))
	}
	b, err := s.MarshalBinary()
	if err != nil {
		f.t.Fatal(err)
	}
	return append(sig, b...)
}

// bothVerify returns what the two implementations say under the strict rule.
func bothVerify(pub, message, sig []byte) (voi, standard bool) {
	if !ed25519Acceptable(pub, sig) {
		return false, false
	}
	return voiEd25519{}.verify(pub, sig, message), standardEd25519{}.verify(pub, sig, message)
}

// strict checks the suite's verdict and both implementations'.
func strict(t *testing.T, name string, pub, message, sig []byte, want bool) {
	t.Helper()
	s, _ := Lookup(1)
	if got := s.Verify(pub, message, sig) == nil; got != want {
		t.Errorf("%s: accepted %v, want %v", name, got, want)
	}
	for _, key := range []*VerificationKey{s.VerificationKey(pub), voiReady(pub)} {
		if got := key.VerifyParts(sig, message) == nil; got != want {
			t.Errorf("%s: accepted by the key made ready %v, want %v", name, got, want)
		}
	}
	if voi, standard := bothVerify(pub, message, sig); voi != want || standard != want {
		t.Errorf("%s: curve25519-voi accepts %v, the standard library %v, want %v", name, voi, standard, want)
	}
}

// TestEd25519SmallOrderKey signs with keys of small order. The standard library
// takes such signatures; one fits very many messages.
func TestEd25519SmallOrderKey(t *testing.T) {
	f, s := newForger(t), &suites[0]
	r, taken := scalar.NewFromUint64(7777), 0
	for i := range 8 {
		pub := f.encode(f.torsion(i))
		if err := s.CheckSignatureKey(pub); err != ErrKey {
			t.Errorf("CheckSignatureKey(%x) = %v, want %v", pub, err, ErrKey)
		}
		for n := range 32 {
			message := fmt.Append(nil, "message ", n)
			sig := f.sign(r, nil, f.torsion(0), pub, message)
			if ed25519.Verify(pub, message, sig) {
				taken++
			}
			strict(t, fmt.Sprintf("small order key %d", i), pub, message, sig, false)
			if errs := verifyBatch(s, []signature{{pub, message, sig}}); errs[0] != ErrSignature {
				t.Errorf("small order key %d: VerifyBatch = %v", i, errs)
			}
		}
	}
	if taken < 32 {
		t.Errorf("the standard library took %d of these signatures: they are not what they should be", taken)
	}
}

// TestEd25519SmallOrderR signs with an R of small order and an honest key.
func TestEd25519SmallOrderR(t *testing.T) {
	f, s := newForger(t), &suites[0]
	pub, message := f.key(f.torsion(0)), []byte("message")
	taken := 0
	for i := range 8 {
		sig := f.sign(scalar.New(), f.a, f.torsion(i), pub, message)
		if ed25519.Verify(pub, message, sig) {
			taken++
		}
		strict(t, fmt.Sprintf("small order R %d", i), pub, message, sig, false)
		if errs := verifyBatch(s, []signature{{pub, message, sig}}); errs[0] != ErrSignature {
			t.Errorf("small order R %d: VerifyBatch = %v", i, errs)
		}
	}
	if taken != 1 {
		t.Errorf("the standard library took %d of these signatures, want the one with R = 0", taken)
	}
}

// TestEd25519Cofactor makes signatures that hold only once multiplied by the
// cofactor. They must not pass where a group's state depends on it.
func TestEd25519Cofactor(t *testing.T) {
	f, s := newForger(t), &suites[0]
	r, message := scalar.NewFromUint64(99), []byte("message")
	honest := f.key(f.torsion(0))
	honestSig := f.sign(r, f.a, f.torsion(0), honest, message)
	strict(t, "honest", honest, message, honestSig, true)
	for i := range 8 {
		torsion := f.torsion(i)
		if torsion.IsIdentity() {
			continue
		}
		sig := f.sign(r, f.a, torsion, honest, message)
		strict(t, fmt.Sprintf("torsion %d in R", i), honest, message, sig, false)
		checkBatch(t, []signature{{honest, message, sig}}, true)
		good := signature{honest, message, honestSig}
		checkBatch(t, []signature{good, {honest, message, sig}, good}, true, true, true)
		// What else is in the batch changes nothing.
		checkBatch(t, []signature{{honest, []byte("other"), honestSig}, {honest, message, sig}, good}, false, true, true)

		pub := f.key(torsion)
		if err := s.CheckSignatureKey(pub); err != nil {
			t.Errorf("CheckSignatureKey of a key with torsion %d = %v", i, err)
		}
		held, failed := 0, 0
		for n := range 64 {
			message := fmt.Append(nil, "message ", n)
			sig := f.sign(r, f.a, f.torsion(0), pub, message)
			// The equation without cofactor holds when the challenge wipes T out.
			kT := curve.NewEdwardsPoint().Mul(torsion, f.challenge(sig[:32], pub, message))
			strict(t, fmt.Sprintf("torsion %d in the key", i), pub, message, sig, kT.IsIdentity())
			if kT.IsIdentity() {
				held++
			} else {
				failed++
			}
			checkBatch(t, []signature{{pub, message, sig}}, true)
		}
		if held == 0 || failed == 0 {
			t.Errorf("torsion %d in the key: %d signatures hold and %d fail, want some of both", i, held, failed)
		}
	}
}

// TestEd25519Torsion puts every point of small order into both key and R and
// predicts the verdicts: without cofactor the equation holds when the two
// cancel, with it always.
func TestEd25519Torsion(t *testing.T) {
	f := newForger(t)
	accepted := 0
	for i := range 8 {
		pub := f.key(f.torsion(i))
		var vs []signature
		var all []bool
		for j := range 8 {
			for n := range 4 {
				message := fmt.Append(nil, i, j, n)
				r := scalar.NewFromUint64(uint64(1000*i + 10*j + n + 1))
				sig := f.sign(r, f.a, f.torsion(j), pub, message)
				left := curve.NewEdwardsPoint().Mul(f.torsion(i), f.challenge(sig[:32], pub, message))
				holds := left.Add(left, f.torsion(j)).IsIdentity()
				strict(t, fmt.Sprintf("torsion %d in the key, %d in R", i, j), pub, message, sig, holds)
				if holds {
					accepted++
				}
				vs, all = append(vs, signature{pub, message, sig}), append(all, true)
			}
		}
		checkBatch(t, vs, all...)
	}
	if accepted < 8 || accepted > 128 {
		t.Errorf("%d of 256 signatures hold without cofactor, want about 32", accepted)
	}
}

// voiReady makes a key of curve25519-voi ready, whatever the build is for.
func voiReady(pub []byte) *VerificationKey {
	key := new(VerificationKey)
	if len(pub) == 32 && !ed25519Bad((*[32]byte)(pub)) {
		if ready, ok := (voiEd25519{}).ready(pub); ok {
			key.ready = ready
		}
	}
	return key
}

// signature is a signature with its key as bytes.
type signature struct{ pub, message, sig []byte }

// pieces cuts a message in two, of which one may be empty, between two empty ones.
func pieces(message []byte) [4][]byte {
	at := len(message) / 3
	return [4][]byte{nil, message[:at], message[at:], nil}
}

// verifyBatch verifies with keys made ready anew.
func verifyBatch(s *Suite, list []signature) []error {
	vs := make([]Verification, len(list))
	for i, v := range list {
		vs[i] = Verification{Key: s.VerificationKey(v.pub), Sig: v.sig, Message: pieces(v.message)}
	}
	return VerifyBatch(vs)
}

// checkBatch checks which entries VerifyBatch accepts with curve25519-voi.
func checkBatch(t *testing.T, vs []signature, want ...bool) {
	t.Helper()
	list := make([]Verification, len(vs))
	for i, v := range vs {
		list[i] = Verification{Key: voiReady(v.pub), Sig: v.sig, Message: pieces(v.message)}
	}
	for i, err := range VerifyBatch(list) {
		if (err == nil) != want[i] || err != nil && err != ErrSignature {
			t.Errorf("VerifyBatch: entry %d of %d: %v, want accepted %v", i, len(vs), err, want[i])
		}
	}
}

// TestEd25519Malleability adds the group order to S.
func TestEd25519Malleability(t *testing.T) {
	f, s := newForger(t), &suites[0]
	pub, message := f.key(f.torsion(0)), []byte("message")
	sig := f.sign(scalar.NewFromUint64(1234), f.a, f.torsion(0), pub, message)
	strict(t, "honest", pub, message, sig, true)
	order := [32]byte{
		0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
		31: 0x10,
	}
	for times := 1; times <= 14; times++ {
		carry := 0
		for i := range order {
			carry += int(sig[32+i]) + int(order[i])
			sig[32+i] = byte(carry)
			carry >>= 8
		}
		strict(t, fmt.Sprintf("S + %dL", times), pub, message, sig, false)
		if errs := verifyBatch(s, []signature{{pub, message, sig}}); errs[0] != ErrSignature {
			t.Errorf("S + %dL: VerifyBatch = %v", times, errs)
		}
	}
}

// TestEd25519Encodings checks the keys that no honest signer has: small order in
// every encoding, unreduced coordinates, points off the curve.
func TestEd25519Encodings(t *testing.T) {
	f, s := newForger(t), &suites[0]
	for i := range 8 {
		y := [32]byte(f.encode(f.torsion(i)))
		if !ed25519Bad(&y) {
			t.Errorf("torsion point %x is not in the table", y)
		}
	}
	for _, y := range ed25519SmallOrder {
		var p curve.EdwardsPoint
		if err := p.UnmarshalBinary(y[:]); err != nil || !p.IsSmallOrder() {
			t.Errorf("%x is in the table and not of small order (%v)", y, err)
		}
	}
	for low := 0xed; low <= 0xff; low++ {
		for _, top := range []byte{0x7f, 0xff} {
			pub := repeat([]byte{byte(low)}, 0xff, 30, top)
			if err := s.CheckSignatureKey(pub); err != ErrKey {
				t.Errorf("CheckSignatureKey of the unreduced %x = %v, want %v", pub, err, ErrKey)
			}
		}
	}
	off := 0
	for n := range 64 {
		pub := material(fmt.Sprint("point", n), 32)
		voi, standard := voiEd25519{}.onCurve(pub), standardEd25519{}.onCurve(pub)
		if voi != standard {
			t.Errorf("%x: on the curve for curve25519-voi %v, for the fallback %v", pub, voi, standard)
		}
		if got := s.CheckSignatureKey(pub) == nil; got != voi {
			t.Errorf("CheckSignatureKey(%x) accepts %v, want %v", pub, got, voi)
		}
		if !voi {
			off++
		}
	}
	if off == 0 || off == 64 {
		t.Errorf("%d of 64 strings are off the curve", off)
	}
}

// TestEd25519AgainstStandard compares keys, signatures and verdicts on honest
// and on damaged signatures.
func TestEd25519AgainstStandard(t *testing.T) {
	s := &suites[0]
	for n := range 40 {
		seed := material(fmt.Sprint("seed", n), 32)
		want := ed25519.NewKeyFromSeed(seed)
		message := material("message", n*13)
		expanded, err := s.ExpandSignatureKey(seed)
		if err != nil || !expanded.Equal(secret.Bytes(want)) {
			t.Fatalf("ExpandSignatureKey = %x, %v, want %x", []byte(expanded), err, []byte(want))
		}
		wantSig := ed25519.Sign(want, message)
		for name, key := range map[string]secret.Bytes{"seed": seed, "expanded": expanded} {
			if sig, err := s.Sign(key, message); err != nil || !bytes.Equal(sig, wantSig) {
				t.Errorf("Sign by %s = %x, %v, want %x", name, sig, err, wantSig)
			}
		}
		pub := want[32:]
		strict(t, "honest", pub, message, wantSig, true)
		strict(t, "other message", pub, append(message, 1), wantSig, false)
		for bit := n % 7; bit < 512; bit += 7 {
			bad := bytes.Clone(wantSig)
			bad[bit/8] ^= 1 << (bit % 8)
			strict(t, fmt.Sprintf("bit %d of the signature", bit), pub, message, bad, false)
		}
		for bit := n % 31; bit < 256; bit += 31 {
			bad := bytes.Clone(pub)
			bad[bit/8] ^= 1 << (bit % 8)
			strict(t, fmt.Sprintf("bit %d of the key", bit), bad, message, wantSig, false)
		}
	}
}

// TestVerifyBatchCancel makes signatures of one key wrong by amounts that would
// cancel in an equation whose factors are known, or all alike.
func TestVerifyBatchCancel(t *testing.T) {
	f := newForger(t)
	pub := f.key(f.torsion(0))
	wrong := func(message string, by *scalar.Scalar) signature {
		sig := f.sign(scalar.NewFromUint64(uint64(len(message))), f.a, f.torsion(0), pub, []byte(message))
		s, err := scalar.NewFromCanonicalBytes(sig[32:])
		if err != nil {
			t.Fatal(err)
		}
		copy(sig[32:], must(s.Add(s, by).MarshalBinary())(t))
		return signature{pub, []byte(message), sig}
	}
	one, none := scalar.One(), scalar.New()
	minus := scalar.New().Neg(one)
	checkBatch(t, []signature{wrong("a", none), wrong("bc", none)}, true, true)
	checkBatch(t, []signature{wrong("a", one), wrong("bc", minus)}, false, false)
	checkBatch(t, []signature{wrong("a", one), wrong("a", one), wrong("bc", minus), wrong("bc", minus), wrong("def", none)},
		false, false, false, false, true)
}

// TestVerifyBatch checks on batches of several sizes that the bad entries, and
// no others, are refused.
func TestVerifyBatch(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *Suite) {
		sizes := []int{0, 1, 2, 5, 40, batchSize, 2*batchSize + 30}
		if _, ok := s.sig.(ed25519Scheme); !ok {
			sizes = []int{0, 1, 3}
		}
		for _, size := range sizes {
			var privs, pubs [3][]byte
			for i := range privs {
				priv, pub, err := s.GenerateSignatureKey(seedFor(s, fmt.Sprint("signer", i)))
				if err != nil {
					t.Fatal(err)
				}
				privs[i], pubs[i] = priv, pub
			}
			vs := make([]signature, size)
			for i := range vs {
				message := fmt.Append(nil, "message ", i)
				sig, err := s.Sign(privs[i%3], message)
				if err != nil {
					t.Fatal(err)
				}
				vs[i] = signature{pubs[i%3], message, sig}
			}
			check := func(what string, bad map[int]bool) {
				t.Helper()
				errs := verifyBatch(s, vs)
				if len(errs) != size {
					t.Fatalf("%s: %d results for %d entries", what, len(errs), size)
				}
				for i, err := range errs {
					if bad[i] && err != ErrSignature || !bad[i] && err != nil {
						t.Errorf("%s, batch of %d: entry %d: %v, bad %v", what, size, i, err, bad[i])
					}
				}
			}
			check("good", nil)
			if size == 0 {
				continue
			}
			last := size - 1
			good := vs[last]
			vs[last].message = []byte("other message")
			check("other message", map[int]bool{last: true})
			vs[last] = good
			vs[last].pub = pubs[(last+1)%3]
			check("other key", map[int]bool{last: true})
			vs[last] = good
			vs[last].sig = nil
			check("no signature", map[int]bool{last: true})
			vs[last] = good
			vs[last].pub = make([]byte, len(good.pub))
			check("small order key", map[int]bool{last: true})
			vs[last] = good
			vs[last].sig = bytes.Clone(good.sig)
			vs[last].sig[len(good.sig)-1] ^= 0xe0
			vs[0].pub = nil
			check("S out of range and no key", map[int]bool{0: true, last: true})
		}
	})
}
