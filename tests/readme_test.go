package tests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadmeExample holds the README's program against example_test.go, which is compiled and run with the tests of the root.
func TestReadmeExample(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(moduleRoot, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile(filepath.Join(moduleRoot, "example_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(readme), "```go\n")
	program, _, ended := strings.Cut(rest, "```\n")
	if !ok || !ended {
		t.Fatal("README.md holds no Go program")
	}
	if n := strings.Count(program, "\n"); n > 40 {
		t.Errorf("the program has %d lines, more than 40", n)
	}
	if !strings.Contains(string(example), program) {
		t.Error("the program in README.md is not the one in example_test.go")
	}
}
