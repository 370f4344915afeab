package primitive

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"slices"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

// signers returns good signatures. alike tells that one is by the key of the one
// before.
func signers(n int, alike func(i int) bool) []Signed {
	list := make([]Signed, n)
	var priv ed25519.PrivateKey
	for i := range list {
		if i == 0 || !alike(i) {
			priv = ed25519.NewKeyFromSeed(material(fmt.Sprint("signer ", i), ed25519.SeedSize))
		}
		message := fmt.Append(nil, "message ", i)
		list[i] = Signed{priv.Public().(ed25519.PublicKey), message, ed25519.Sign(priv, message)}
	}
	return list
}

// addS returns a signature whose S is changed by d.
func addS(t *testing.T, v Signed, d *scalar.Scalar) Signed {
	t.Helper()
	s := must(scalar.NewFromCanonicalBytes(v.Sig[32:]))(t)
	v.Sig = append(bytes.Clone(v.Sig[:32]), must(s.Add(s, d).MarshalBinary())(t)...)
	return v
}

// TestStrictParts puts so many signatures together that they are multiplied in
// parts, with signatures by one key on both sides where one part ends and the next
// begins, and with bad ones there.
func TestStrictParts(t *testing.T) {
	f, one := forgers{newForger(t)}, scalar.One()
	minus := scalar.New().Neg(one)
	for _, c := range []struct {
		name   string
		n      int
		begin  []int // of each part but the first
		paired bool
	}{
		{"one part of as many keys", strictPart, nil, false},
		{"one part", strictPart, nil, true},
		{"two parts", strictPart + 1, []int{strictPart / 2}, true},
		{"three parts", 2*strictPart + 1, []int{(2*strictPart + 1) / 3, (2*strictPart + 1) * 2 / 3}, true},
	} {
		list := signers(c.n, func(i int) bool { return c.paired && (i%3 == 2 || slices.Contains(c.begin, i)) })
		if !strictHolds(list, inSequence) || !strictHolds(list, atOnce) {
			t.Errorf("%s: good signatures are refused", c.name)
		}
		places := []int{0, c.n - 1}
		for _, i := range c.begin {
			if !bytes.Equal(list[i-1].Pub, list[i].Pub) || i%strictBlock == 0 {
				t.Fatalf("%s: the signatures at %d have no key in common", c.name, i)
			}
			places = append(places, i-1, i)
			// What cancels, of one key, each in a part of its own.
			before, at := list[i-1], list[i]
			list[i-1], list[i] = addS(t, before, one), addS(t, at, minus)
			if strictHolds(list, atOnce) {
				t.Errorf("%s: accepted with S wrong by 1 and -1 around %d", c.name, i)
			}
			list[i-1], list[i] = before, at
		}
		for k, i := range places {
			good := list[i]
			switch k % 3 {
			case 0:
				list[i].Message = []byte("another")
			case 1:
				list[i] = addS(t, good, one)
			case 2:
				list[i] = f.signature(i, 0, 1+i%7, 0)
			}
			if strictHolds(list, atOnce) {
				t.Errorf("%s: accepted with a bad signature at %d", c.name, i)
			}
			list[i] = good
		}
		if !strictHolds(list, inSequence) {
			t.Errorf("%s: the list has not been put right", c.name)
		}
	}
}

// TestStrictMin checks from how many on signatures are verified together.
func TestStrictMin(t *testing.T) {
	list := signers(strictMin, func(i int) bool { return i%2 == 1 })
	if !(voiEd25519{}).allHold(list, inSequence) {
		t.Errorf("%d good signatures are not verified together", len(list))
	}
	if (voiEd25519{}).allHold(list[1:], inSequence) {
		t.Errorf("%d signatures are verified together", len(list)-1)
	}
	list[strictMin-1].Message = nil
	if (voiEd25519{}).allHold(list, inSequence) {
		t.Error("accepted with another message")
	}
}
