package primitive

import (
	"crypto/ecdsa"
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// derSignature encodes two numbers, whatever they are.
func derSignature(t *testing.T, r, s *big.Int) []byte {
	t.Helper()
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(r)
		b.AddASN1BigInt(s)
	})
	out, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// tableOracle is a key by its table and by the standard library.
type tableOracle struct {
	scheme *ecdsaScheme
	key    *ecdsa.PublicKey
	table  *ecdsaKey
}

// newTableOracle takes the key of a scalar, which is between 1 and the order.
func newTableOracle(t *testing.T, s *ecdsaScheme, scalar *big.Int) *tableOracle {
	t.Helper()
	pub, ok := s.public(scalar.FillBytes(make([]byte, s.size)))
	if !ok {
		t.Fatal("not a private key")
	}
	key, ok := s.parse(pub)
	if !ok {
		t.Fatal("not a public key")
	}
	o := &tableOracle{s, key, &ecdsaKey{s: s, key: key}}
	o.table.used.Store(true)
	return o
}

// verify wants both to say the same, and returns it.
func (o *tableOracle) verify(t *testing.T, what string, message, sig []byte) bool {
	t.Helper()
	var digest [maxHashSize]byte
	o.scheme.hash.sum(&digest, message)
	want := ecdsa.VerifyASN1(o.key, digest[:o.scheme.hash.size()], sig)
	if got := o.table.verifyParts(sig, message); got != want {
		t.Errorf("%s: by the table %t, by the standard library %t", what, got, want)
	}
	if o.table.table == nil {
		t.Fatal("there is no table")
	}
	return want
}

func tabledSchemes() map[string]*ecdsaScheme {
	return map[string]*ecdsaScheme{"P-384": ecdsaP384, "P-521": ecdsaP521}
}

// TestECDSATable holds the tables against the standard library: signatures of many
// keys, the ends of the range of keys and numbers, and sums that meet in one point or
// end at infinity.
func TestECDSATable(t *testing.T) {
	for name, s := range tabledSchemes() {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, uint64(s.size)))
			n := s.curve.Params().N
			random := func() *big.Int {
				b := make([]byte, s.size)
				for i := range b {
					b[i] = byte(rng.Uint32())
				}
				k := new(big.Int).SetBytes(b)
				return k.Mod(k, new(big.Int).Sub(n, big.NewInt(1))).Add(k, big.NewInt(1))
			}
			minus := func(k *big.Int) *big.Int { k = new(big.Int).Neg(k); return k.Mod(k, n) }
			var (
				one  = big.NewInt(1)
				last = new(big.Int).Sub(n, one)
			)
			message := []byte("of those who write in tables")
			var digest [maxHashSize]byte
			s.hash.sum(&digest, message)
			e := new(big.Int).SetBytes(digest[:s.hash.size()])
			e.Mod(e, n)

			scalars := []*big.Int{one, big.NewInt(2), last, random(), random(), random()}
			if testing.Short() {
				scalars = scalars[2:4]
			}
			for i, scalar := range scalars {
				o := newTableOracle(t, s, scalar)
				sig, err := s.sign(scalar.FillBytes(make([]byte, s.size)), message)
				if err != nil {
					t.Fatal(err)
				}
				if !o.verify(t, fmt.Sprint("key ", i), message, sig) {
					t.Errorf("key %d: its own signature is refused", i)
				}
				if o.verify(t, fmt.Sprint("key ", i, ", another message"), []byte("another"), sig) {
					t.Errorf("key %d: the signature is good for another message", i)
				}
				r, sv, ok := parseECDSASignature(sig)
				if !ok {
					t.Fatal("the signature does not parse")
				}
				if !o.verify(t, "the other root", message, derSignature(t, r, minus(sv))) {
					t.Error("the signature's twin is refused")
				}
				for what, numbers := range map[string][2]*big.Int{
					"r of 0": {new(big.Int), sv}, "s of 0": {r, new(big.Int)}, "both 0": {new(big.Int), new(big.Int)},
					"r of n": {n, sv}, "s of n": {r, n}, "r of n+r": {new(big.Int).Add(n, r), sv}, "s of n+s": {r, new(big.Int).Add(n, sv)},
					"r negative": {new(big.Int).Neg(r), sv}, "s negative": {r, new(big.Int).Neg(sv)},
					"both 1": {one, one}, "both the last": {last, last}, "changed r": {new(big.Int).Xor(r, one), sv}, "changed s": {r, new(big.Int).Xor(sv, one)},
					"s very long": {r, new(big.Int).Lsh(sv, 4096)},
				} {
					o.verify(t, what, message, derSignature(t, numbers[0], numbers[1]))
				}
				for i := range sig {
					bad := append([]byte(nil), sig...)
					bad[i] ^= 1 << rng.IntN(8)
					o.verify(t, fmt.Sprint("byte ", i, " changed"), message, bad)
				}
				for _, bad := range [][]byte{nil, {}, sig[:len(sig)-1], append(append([]byte(nil), sig...), 0), {0x30, 0}, {0x30, 0x80, 0, 0}} {
					o.verify(t, fmt.Sprintf("%d bytes", len(bad)), message, bad)
				}
			}
			// With the key e/r both halves of the sum are the same point, with -e/r they
			// cancel out.
			r, sv := random(), random()
			quotient := new(big.Int).Mul(e, new(big.Int).ModInverse(r, n))
			quotient.Mod(quotient, n)
			for what, scalar := range map[string]*big.Int{"the same point twice": quotient, "the point at infinity": minus(quotient)} {
				if newTableOracle(t, s, scalar).verify(t, what, message, derSignature(t, r, sv)) {
					t.Errorf("%s: verified", what)
				}
			}
		})
	}
}

// TestECDSATableOfFirstUse wants a key that is used once to make no table, and all
// its answers to be the same.
func TestECDSATableOfFirstUse(t *testing.T) {
	for name, s := range tabledSchemes() {
		private := big.NewInt(12345).FillBytes(make([]byte, s.size))
		pub, _ := s.public(private)
		sig, err := s.sign(private, []byte("again"))
		if err != nil {
			t.Fatal(err)
		}
		ready, ok := s.ready(pub)
		if !ok {
			t.Fatal("the key is refused")
		}
		key := ready.(*ecdsaKey)
		for i := range 3 {
			if !key.verifyParts(sig, []byte("again")) || key.verifyParts(sig, []byte("other")) {
				t.Errorf("%s: round %d fails", name, i)
			}
			if i == 0 && key.table == nil {
				t.Errorf("%s: no table after two signatures", name)
			}
		}
		once, _ := s.ready(pub)
		once.verifyParts(sig, []byte("again"))
		if once.(*ecdsaKey).table != nil {
			t.Errorf("%s: a table after one signature", name)
		}
	}
	pub, _ := ecdsaP256.public(big.NewInt(7).FillBytes(make([]byte, ecdsaP256.size)))
	ready, ok := ecdsaP256.ready(pub)
	if !ok {
		t.Fatal("the key is refused")
	}
	key := ready.(*ecdsaKey)
	if first, second := key.tabled(), key.tabled(); first != nil || second != nil {
		t.Error("P-256 has a table")
	}
}
