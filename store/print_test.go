package store

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestSecretsDoNotPrint looks for secrets in every way fmt writes bytes.
func TestSecretsDoNotPrint(t *testing.T) {
	s := mustOpen(t, "", Options{Key: testKey(1), InMemory: true})
	const value = "top secret"
	c := put("key", value)
	mustApply(t, s, c)
	records, err := s.Range(Range{})
	if err != nil {
		t.Fatal(err)
	}
	things := []any{s, s.Keys(), c, slices.Collect(c.All()), records, records[0], &records[0]}
	for _, secret := range [][]byte{[]byte(value), s.keys.hash} {
		var forms []string
		for _, form := range []string{string(secret), hex.EncodeToString(secret), strings.Trim(fmt.Sprintf("%d", secret), "[]"), strings.TrimPrefix(fmt.Sprintf("%#v", secret), "[]byte")} {
			forms = append(forms, form, strings.ToUpper(form))
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			for i, thing := range things {
				out := fmt.Sprintf(verb, thing)
				for _, form := range forms {
					if out == "" || strings.Contains(out, form) {
						t.Errorf("thing %d prints as %q under %s", i, out, verb)
					}
				}
			}
		}
	}
	if got := fmt.Sprint(records[0]); got != "6b6579=[10 bytes]" {
		t.Errorf("a record prints as %q", got)
	}
}
