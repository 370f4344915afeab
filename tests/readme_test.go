package tests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadmeExamples holds the README's programs against the examples, which are compiled and run with the tests of the root.
func TestReadmeExamples(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(moduleRoot, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	rest := string(readme)
	for _, name := range []string{"example_test.go", "example_enroll_test.go"} {
		example, err := os.ReadFile(filepath.Join(moduleRoot, name))
		if err != nil {
			t.Fatal(err)
		}
		var program string
		var ok, ended bool
		_, rest, ok = strings.Cut(rest, "```go\n")
		program, rest, ended = strings.Cut(rest, "```\n")
		if !ok || !ended {
			t.Fatalf("README.md does not hold the program of %s", name)
		}
		if n := strings.Count(program, "\n"); n > 40 {
			t.Errorf("the program of %s has %d lines, more than 40", name, n)
		}
		if !strings.Contains(string(example), program) {
			t.Errorf("the program in README.md is not the one in %s", name)
		}
	}
	if strings.Contains(rest, "```go\n") {
		t.Error("README.md holds a program that nothing compiles")
	}
}
