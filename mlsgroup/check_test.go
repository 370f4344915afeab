package mlsgroup

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// checkCase is one subtest of TestCheck.
type checkCase struct {
	// name is the identifier of a row of docs/rfc9420.md, or one with a slash
	// and the variant of its name.
	name string
	// run does what the row forbids and returns what came of it, which must be
	// the row's Check. In a table of constructed cases it verifies the row by
	// itself and returns nil.
	run func(t *testing.T) error
}

// refusedCases are the tables of rows with a Check, a table for each subject.
var refusedCases = [][]checkCase{
	codecRefused, treeRefused, keysRefused, framingRefused, leafRefused, keyPackageRefused, proposalRefused,
	proposalListRefused, commitRefused, joinRefused, successorRefused, sendRefused,
}

// constructedCases are the tables of rows that hold by construction.
var constructedCases = [][]checkCase{
	codecConstructed, treeConstructed, keysConstructed, framingConstructed, leafConstructed, proposalConstructed,
	commitConstructed, joinConstructed, sendConstructed,
}

// TestCheck has a subtest for each row of docs/rfc9420.md that this package
// meets, and tests/rfc9420_test.go fails if one is missing.
func TestCheck(t *testing.T) {
	for _, c := range slices.Concat(refusedCases...) {
		t.Run(c.name, func(t *testing.T) {
			id, _, _ := strings.Cut(c.name, "/")
			if err := c.run(t); !errors.Is(err, Check(id)) {
				t.Errorf("got error %v, want check %s", err, id)
			}
		})
	}
	for _, c := range slices.Concat(constructedCases...) {
		t.Run(c.name, func(t *testing.T) {
			if err := c.run(t); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCheckError(t *testing.T) {
	err := fmt.Errorf("join: %w", CheckLeafSignature.Errorf("leaf %d", 3))
	if !errors.Is(err, CheckLeafSignature) {
		t.Error("the check is not found through wrapping")
	}
	if errors.Is(err, CheckLeafCredentialType) {
		t.Error("another check is found")
	}
	ce, ok := errors.AsType[*CheckError](err)
	if !ok || ce.Check != CheckLeafSignature || ce.Detail != "leaf 3" {
		t.Errorf("got %+v", ce)
	}
	if got, want := ce.Error(), "mlsgroup: check 7.3-1: leaf 3"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
