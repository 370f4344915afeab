package mlsgroup

import (
	"errors"
	"fmt"
	"sync"
	"testing"
)

// TestVerifyLeaves verifies key packages, in numbers whose signatures are verified
// together and in smaller ones, and checks that the error is what one after the
// other gives: the first of the smallest index.
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
	for _, count := range []int{10, n} {
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
				got := in.verifyLeaves(s, count, func(i int) ([]leafSignature, error) {
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
					t.Errorf("%s, %d %s: %v, want %q", c.name, count, name, got, c.want)
				}
			}
		}
	}
}
