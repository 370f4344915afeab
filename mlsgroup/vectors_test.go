package mlsgroup

import (
	"testing"

	"github.com/conclave-mls/conclave/internal/race"
	"github.com/conclave-mls/conclave/internal/vectortest"
)

type hexBytes = vectortest.Hex

// vectors reads an official vector file, such as "messages.json". Under the race detector suites 4 to 7 keep one case each.
func vectors[T any](t testing.TB, name string) []T {
	t.Helper()
	all := vectortest.Read[T](t, "mls/"+name)
	if !race.Enabled {
		return all
	}
	var some []T
	seen := make(map[CipherSuite]bool)
	for i, v := range vectortest.Read[struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
	}](t, "mls/"+name) {
		if v.CipherSuite <= 3 || !seen[v.CipherSuite] {
			some = append(some, all[i])
		}
		seen[v.CipherSuite] = true
	}
	return some
}
