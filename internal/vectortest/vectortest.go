// Package vectortest finds the official test vectors for tests. They are no part of the repository: the directory CONCLAVE_VECTORS holds them, or
// shared/vectors beside the module.
package vectortest

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// File returns the path of a file of vectors, such as "mls/messages.json", or skips the test where there are none.
func File(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("CONCLAVE_VECTORS")
	if dir == "" {
		dir = filepath.Join(moduleRoot(t), "..", "shared", "vectors")
	}
	path := filepath.Join(dir, filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no vectors: %v; CONCLAVE_VECTORS names the directory that holds mls/", err)
	}
	return path
}

// moduleRoot returns the directory of the go.mod that the working directory belongs to.
func moduleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("the test runs outside of its module")
		}
		dir = up
	}
}

// Read returns the vectors of a file, of which there is at least one.
func Read[T any](t testing.TB, name string) []T {
	t.Helper()
	b, err := os.ReadFile(File(t, name))
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

// Hex is a hexadecimal string of a vector; null leaves nil.
type Hex []byte

// UnmarshalJSON implements json.Unmarshaler.
func (h *Hex) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err != nil || s == nil {
		return err
	}
	var err error
	*h, err = hex.DecodeString(*s)
	return err
}
