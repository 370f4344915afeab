package mlsgroup

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
)

// TestVerifyLeaves verifies key packages, in numbers whose signatures are verified
// together and in smaller ones, all in one block or not, and checks that the error is
// what one after the other gives: the first of the smallest index.
func TestVerifyLeaves(t *testing.T) {
	const n = 150 // 300 signatures
	s, err := CipherSuite(1).suite()
	if err != nil {
		t.Fatal(err)
	}
	packages := make([]*KeyPackage, n)
	for i := range packages {
		packages[i] = newClient(t, fmt.Sprint("client ", i), 1, uint64(1000+i)).keyPackage(ProfileRFC).KeyPackage
	}
	atOnce := func(n int, f func(i int)) {
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() { f(i) })
		}
		wg.Wait()
	}
	refused := errors.New("refused")
	cases := []struct {
		name                         string
		form, leaf, kp, key, refused []int // what is bad of which, near both ends
		want                         string
	}{
		{name: "good"},
		{name: "leaf signature", leaf: []int{7}, want: "mlsgroup: check 7.3-1: leaf 7"},
		{name: "signature of the key package", kp: []int{7}, want: "mlsgroup: check 10-4: signature does not verify"},
		{name: "both", leaf: []int{7}, kp: []int{7}, want: "mlsgroup: check 7.3-1: leaf 7"},
		{name: "key", key: []int{7}, want: "mlsgroup: check 5.1.2-1: primitive: malformed key"},
		{name: "two leaves", leaf: []int{8, 4}, want: "mlsgroup: check 7.3-1: leaf 4"},
		{name: "form after signature", form: []int{8}, leaf: []int{4}, want: "mlsgroup: check 7.3-1: leaf 4"},
		{name: "form before signature", form: []int{4}, leaf: []int{8}, want: "form of 4"},
		{name: "form and signature", form: []int{4}, leaf: []int{4}, want: "form of 4"},
		{name: "credential before signature", refused: []int{4}, leaf: []int{8}, want: "refused"},
		{name: "credential and signature", refused: []int{4}, leaf: []int{4}, want: "mlsgroup: check 7.3-1: leaf 4"},
		{name: "credential after form", refused: []int{8}, form: []int{4}, want: "form of 4"},
	}
	for _, of := range []struct{ count, block int }{
		{10, leafBlock}, {n, leafBlock}, // all in one block
		{10, 4}, {n, 4}, // what is bad begins the second block and the third
		{10, 3}, {n, 3}, // it is in their midst
		{10, 5}, {n, 5}, // the first block ends with it
	} {
		count := of.count
		for _, c := range cases {
			has := func(list []int, i int) bool {
				for _, j := range list {
					if i == j || i == j+count-10 {
						return true
					}
				}
				return false
			}
			for name, do := range map[string]func(int, func(int)){"in sequence": nil, "at once": atOnce} {
				in := Input{Do: do}
				got := in.verifyBlocks(s, count, of.block, func(i int) ([]leafSignature, error) {
					if has(c.form, i) {
						return nil, fmt.Errorf("form of %d", i)
					}
					signatures := packages[i].signatures()
					signatures[0].i = LeafIndex(i)
					for k, bad := range [][]int{c.leaf, c.kp} {
						if has(bad, i) {
							signatures[k].Message = append(signatures[k].Message, 0)
						}
					}
					if has(c.key, i) {
						signatures[0].Pub = make([]byte, 32)
					}
					return signatures, nil
				}, func(i int) error {
					if has(c.refused, i) {
						return refused
					}
					return nil
				})
				if text := fmt.Sprint(got); text != c.want && (got != nil || c.want != "") {
					t.Errorf("%s, %d by %d %s: %v, want %q", c.name, count, of.block, name, got, c.want)
				}
			}
		}
	}
}

// TestVerifyLeavesBlocks checks that a block is done with before the next one is
// begun, that every leaf is verified once, and that none is behind the block of an
// error.
func TestVerifyLeavesBlocks(t *testing.T) {
	const n, size = 13, 5
	s, err := CipherSuite(1).suite()
	if err != nil {
		t.Fatal(err)
	}
	var packages [n]*KeyPackage
	for i := range packages {
		packages[i] = newClient(t, fmt.Sprint("client ", i), 1, uint64(2000+i)).keyPackage(ProfileRFC).KeyPackage
	}
	verify := func(bad string, at int) (calls []string, err error) {
		in := Input{}
		err = in.verifyBlocks(s, n, size, func(i int) ([]leafSignature, error) {
			calls = append(calls, fmt.Sprint("form ", i))
			signatures := packages[i].signatures()
			switch {
			case i == at && bad == "form":
				return nil, fmt.Errorf("form of %d", i)
			case i == at && bad == "signature":
				signatures[0].i, signatures[0].Sig = LeafIndex(i), nil
			}
			return signatures, nil
		}, func(i int) error {
			calls = append(calls, fmt.Sprint("rest ", i))
			if i == at && bad == "rest" {
				return fmt.Errorf("rest of %d", i)
			}
			return nil
		})
		return calls, err
	}
	// wants is what is called if it ends with the block of i, one leaf never reaching
	// the rest.
	wants := func(i, without int) (calls []string) {
		for first := 0; first <= i; first += size {
			for _, what := range []string{"form ", "rest "} {
				for j := first; j < min(first+size, n); j++ {
					if what == "form " || j != without {
						calls = append(calls, fmt.Sprint(what, j))
					}
				}
			}
		}
		return calls
	}
	got, err := verify("nothing", 0)
	if want := wants(n-1, -1); err != nil || !slices.Equal(got, want) {
		t.Errorf("good: %v, called %q, want %q", err, got, want)
	}
	for what, text := range map[string]string{"form": "form of %d", "signature": "mlsgroup: check 7.3-1: leaf %d", "rest": "rest of %d"} {
		for i := range n {
			without := i
			if what == "rest" {
				without = -1
			}
			got, err := verify(what, i)
			if want := wants(i, without); fmt.Sprint(err) != fmt.Sprintf(text, i) || !slices.Equal(got, want) {
				t.Errorf("%s of %d is bad: %v, called %q, want %q", what, i, err, got, want)
			}
		}
	}
}
