package tests

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// This file holds docs/rfc9420.md against the code: rfc9420_test.go reads the
// page and its constants, rfc9420_places_test.go and rfc9420_cases_test.go the
// functions and the tests that it names.

// requirement is a row of docs/rfc9420.md.
type requirement struct {
	id, section, text, by, test string
	line                        int // in the page, from 1
}

// notYet tells that the row's tests are still to be written. Only what is the
// engine's may be left so, and TestRFC9420Tests lists it.
func (r requirement) notYet() bool { return strings.HasPrefix(r.test, "not yet: ") }

// constant is the Check constant that the row names, or "".
func (r requirement) constant() string {
	if m := constantCell.FindStringSubmatch(r.by); m != nil {
		return m[1]
	}
	return ""
}

// tests are the names in the row's last cell.
func (r requirement) tests() []string {
	var names []string
	for _, m := range quoted.FindAllStringSubmatch(r.test, -1) {
		names = append(names, m[1])
	}
	return names
}

const requirementsPage = "../docs/rfc9420.md"

var (
	checkID      = regexp.MustCompile(`^(\d+(?:\.\d+)*)-\d+$`)
	constantCell = regexp.MustCompile("^`(Check\\w+)`: (.+)$")
	quoted       = regexp.MustCompile("`([^`]+)`")
)

// requirements reads the rows of every table of the page.
func requirements(t *testing.T) []requirement {
	t.Helper()
	page, err := os.ReadFile(requirementsPage)
	if err != nil {
		t.Fatal(err)
	}
	var rows []requirement
	for i, line := range strings.Split(string(page), "\n") {
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "| Check |") || strings.HasPrefix(line, "| --- |") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if len(cells) != 5 {
			t.Fatalf("%s:%d: %d cells, want 5", requirementsPage, i+1, len(cells))
		}
		rows = append(rows, requirement{cells[0], cells[1], cells[2], cells[3], cells[4], i + 1})
	}
	// A page whose tables no longer parse must not pass for want of rows.
	if len(rows) < 150 {
		t.Fatalf("%s has only %d rows", requirementsPage, len(rows))
	}
	return rows
}

// TestRFC9420Page: each row is whole: an identifier of its own, of one of its
// sections; one of the five ways to be met; a test unless the row says why none.
func TestRFC9420Page(t *testing.T) {
	rows := requirements(t)
	line := map[string]int{}
	for _, r := range rows {
		if before, ok := line[r.id]; ok {
			t.Errorf("%s:%d: %s is also in line %d", requirementsPage, r.line, r.id, before)
		}
		line[r.id] = r.line
	}
	target := map[string]requirement{}
	for _, r := range rows {
		target[r.id] = r
	}
	for _, r := range rows {
		fail := func(format string, args ...any) {
			t.Helper()
			t.Errorf("%s:%d: "+format, append([]any{requirementsPage, r.line}, args...)...)
		}
		m := checkID.FindStringSubmatch(r.id)
		if m == nil {
			fail("%q is no identifier", r.id)
			continue
		}
		if !inSections(m[1], r.section) {
			fail("%s is not of a section in %q", r.id, r.section)
		}
		if len(r.text) < 10 {
			fail("%s says nothing", r.id)
		}
		kind, rest, _ := strings.Cut(r.by, ":")
		tested := true
		switch {
		case r.constant() != "", (kind == "by construction" || kind == "engine") && len(rest) > 10:
		case kind == "application" && len(rest) > 20:
			tested = false
		case strings.HasPrefix(r.by, "as "):
			tested = false
			for _, id := range strings.Split(strings.TrimPrefix(r.by, "as "), ", ") {
				if _, ok := target[id]; !ok || id == r.id {
					fail("%s refers to %s, which is no other row", r.id, id)
				}
			}
		default:
			fail("%s does not say how it is met: %q", r.id, r.by)
		}
		if r.notYet() && kind != "engine" {
			fail("%s has no test yet and is not the engine's", r.id)
		}
		names := r.tests()
		if tested != (len(names) > 0) {
			fail("%s has tests %q, and is met so: %s", r.id, names, r.by)
		}
		for _, name := range names {
			if id, ok := strings.CutPrefix(name, "TestCheck/"); ok && id != r.id && !strings.HasPrefix(id, r.id+"/") {
				fail("%s has the test of another row, %s", r.id, name)
			}
		}
	}
}

// inSections reports whether section is one of the list.
func inSections(section, list string) bool {
	for _, s := range strings.Split(list, ", ") {
		if s == section {
			return true
		}
	}
	return false
}

// TestRFC9420Constants: rows with a Check and the constants of check.go are
// the same, by name and by identifier.
func TestRFC9420Constants(t *testing.T) {
	constants := checkConstants(t)
	rows := map[string]string{} // constant to identifier
	for _, r := range requirements(t) {
		name := r.constant()
		if name == "" {
			continue
		}
		if rows[name] != "" {
			t.Errorf("%s:%d: %s has row %s already", requirementsPage, r.line, name, rows[name])
		}
		rows[name] = r.id
		switch got, ok := constants[name]; {
		case !ok:
			t.Errorf("%s:%d: mlsgroup/check.go has no %s", requirementsPage, r.line, name)
		case got != r.id:
			t.Errorf("%s:%d: %s is %q in mlsgroup/check.go, %q here", requirementsPage, r.line, name, got, r.id)
		}
	}
	for name, id := range constants {
		if rows[name] == "" {
			t.Errorf("mlsgroup/check.go: %s (%s) has no row in %s", name, id, requirementsPage)
		}
	}
}
