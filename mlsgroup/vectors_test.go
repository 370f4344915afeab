package mlsgroup

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// hexBytes reads a hex string from JSON; null leaves nil.
type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err != nil || s == nil {
		return err
	}
	var err error
	*h, err = hex.DecodeString(*s)
	return err
}

// vectors reads an official vector file, such as "messages.json", from the
// directory that CONCLAVE_VECTORS names or from shared/vectors beside the
// module.
func vectors[T any](t testing.TB, name string) []T {
	t.Helper()
	dir := os.Getenv("CONCLAVE_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "vectors")
	}
	b, err := os.ReadFile(filepath.Join(dir, "mls", name))
	if os.IsNotExist(err) {
		t.Skipf("no vectors: %s is not in %s; set CONCLAVE_VECTORS", name, dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	var list []T
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if len(list) == 0 {
		t.Fatalf("%s holds no vectors", name)
	}
	return list
}
