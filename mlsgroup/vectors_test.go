package mlsgroup

import (
	"testing"

	"github.com/conclave-mls/conclave/internal/vectortest"
)

type hexBytes = vectortest.Hex

// vectors reads an official vector file, such as "messages.json".
func vectors[T any](t testing.TB, name string) []T {
	t.Helper()
	return vectortest.Read[T](t, "mls/"+name)
}
