package tests

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// pitfalls counts the past bugs of CoreCrypto that docs/corecrypto.md lists, by section.
var pitfalls = []struct {
	section string
	count   int
}{{"S", 16}, {"D", 16}, {"G", 17}, {"E", 16}, {"P", 8}, {"A", 10}}

// TestPitfalls holds the table of docs/corecrypto.md against the tests: each pitfall has a row with a test of its name, each test exists, and each test of a
// pitfall has a row.
func TestPitfalls(t *testing.T) {
	functions := testFunctions(t)
	rows := map[string][]string{} // id to tests
	for _, cells := range coreCryptoRows(t, "| pitfall | what went wrong in CoreCrypto | test |") {
		if len(cells) != 3 {
			t.Fatalf("row %q", cells)
		}
		id := cells[0]
		if _, twice := rows[id]; twice {
			t.Errorf("%s has two rows", id)
		}
		rows[id] = nil
		for _, m := range quoted.FindAllStringSubmatch(cells[2], -1) {
			if rows[id] = append(rows[id], m[1]); !functions[m[1]] {
				t.Errorf("%s: there is no test %s", id, m[1])
			}
		}
		if len(rows[id]) == 0 || pitfallOf(rows[id][0]) != id {
			t.Errorf("%s has no test of its name", id)
		}
	}
	all := 0
	for _, s := range pitfalls {
		for i := range s.count {
			all++
			if id := fmt.Sprint(s.section, i+1); !hasKey(rows, id) {
				t.Errorf("%s has no row", id)
			}
		}
	}
	if len(rows) != all {
		t.Errorf("%d rows, want %d", len(rows), all)
	}
	for name := range functions {
		if id := pitfallOf(name); id != "" && !slices.Contains(rows[id], name) {
			t.Errorf("%s is not in the row of %s", name, id)
		}
	}
}

// pitfallOf returns the id in the name of a pitfall's test, "" of another test.
func pitfallOf(name string) string {
	rest, ok := strings.CutPrefix(name, "TestPitfall")
	if !ok || len(rest) < 2 {
		return ""
	}
	end := 1
	for end < len(rest) && rest[end] >= '0' && rest[end] <= '9' {
		end++
	}
	if end == 1 {
		return ""
	}
	return rest[:end]
}

func hasKey(m map[string][]string, key string) bool {
	_, ok := m[key]
	return ok
}
