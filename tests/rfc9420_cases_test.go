package tests

import (
	"go/ast"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestRFC9420Tests: every test that the page names exists, unless the page says
// that it does not yet, rows with a Check are cases that must be refused, the
// others are not, and there is no case without a row.
func TestRFC9420Tests(t *testing.T) {
	refused, constructed := checkCases(t)
	functions := testFunctions(t)
	if *rewritePlaces {
		updateNotYet(t, functions)
	}
	named := map[string]bool{}
	var missing []string
	for _, r := range requirements(t) {
		cases, table := constructed, "constructedCases"
		if r.constant() != "" {
			cases, table = refused, "refusedCases"
		}
		for _, name := range r.tests() {
			function, id, _ := strings.Cut(name, "/")
			switch {
			case r.notYet() && functions[function]:
				t.Errorf("%s:%d: %s: %s exists, so the page must not say that it does not yet (-places rewrites it)", requirementsPage, r.line, r.id, name)
			case r.notYet():
				missing = append(missing, r.id+" "+name)
			case !functions[function]:
				t.Errorf("%s:%d: %s: there is no %s", requirementsPage, r.line, r.id, function)
			case function == "TestCheck":
				named[id] = true
				if !cases[id] {
					t.Errorf("%s:%d: no table of mlsgroup's %s has a case %q", requirementsPage, r.line, table, id)
				}
			}
		}
	}
	if len(missing) > 0 {
		t.Logf("%d requirements have no test yet: %s", len(missing), strings.Join(missing, ", "))
	}
	for _, cases := range []map[string]bool{refused, constructed} {
		for id := range cases {
			if !named[id] {
				t.Errorf("TestCheck of mlsgroup has a case %q, which is no test of a row in %s", id, requirementsPage)
			}
		}
	}
}

// checkCases reads the names in the tables that TestCheck runs: variables of
// type []checkCase in mlsgroup's tests, listed in refusedCases or constructedCases.
func checkCases(t *testing.T) (refused, constructed map[string]bool) {
	t.Helper()
	tables := map[string][]string{} // variable to case names
	lists := map[string][]string{}  // refusedCases, constructedCases to variables
	for _, name := range goFilesBelow(t, "../mlsgroup", true) {
		ast.Inspect(parseGoFile(t, name), func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Names) != 1 || len(spec.Values) != 1 {
				return true
			}
			lit, ok := spec.Values[0].(*ast.CompositeLit)
			if !ok {
				return true
			}
			variable := spec.Names[0].Name
			typ, ok := lit.Type.(*ast.ArrayType)
			if !ok {
				return true
			}
			if inner, ok := typ.Elt.(*ast.ArrayType); ok && isIdent(inner.Elt, "checkCase") {
				for _, x := range lit.Elts {
					if id, ok := x.(*ast.Ident); ok {
						lists[variable] = append(lists[variable], id.Name)
					}
				}
			} else if isIdent(typ.Elt, "checkCase") {
				tables[variable] = append(tables[variable], caseNames(lit)...)
			}
			return true
		})
	}
	read := func(list string) map[string]bool {
		cases := map[string]bool{}
		for _, variable := range lists[list] {
			for _, name := range tables[variable] {
				if cases[name] {
					t.Errorf("%s of mlsgroup has %q twice", list, name)
				}
				cases[name] = true
			}
			delete(tables, variable)
		}
		return cases
	}
	refused, constructed = read("refusedCases"), read("constructedCases")
	for variable := range tables {
		t.Errorf("the table %s of mlsgroup is in neither refusedCases nor constructedCases, so TestCheck does not run it", variable)
	}
	return refused, constructed
}

// caseNames are the names of the cases in a []checkCase literal.
func caseNames(table *ast.CompositeLit) []string {
	var names []string
	for _, x := range table.Elts {
		c, ok := x.(*ast.CompositeLit)
		if !ok {
			continue
		}
		for i, f := range c.Elts {
			if kv, ok := f.(*ast.KeyValueExpr); ok && isIdent(kv.Key, "name") {
				f = kv.Value
			} else if ok || i > 0 {
				continue
			}
			if name, ok := stringLiteral(f); ok {
				names = append(names, name)
			}
		}
	}
	return names
}

func isIdent(x ast.Expr, name string) bool {
	id, ok := x.(*ast.Ident)
	return ok && id.Name == name
}

// testFunctions are the names of all tests of the repository.
func testFunctions(t *testing.T) map[string]bool {
	t.Helper()
	functions := map[string]bool{}
	for _, name := range goFilesBelow(t, "..", true) {
		for _, d := range parseGoFile(t, name).Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				functions[f.Name.Name] = true
			}
		}
	}
	return functions
}

// updateNotYet rewrites rows whose missing tests have been written.
func updateNotYet(t *testing.T, functions map[string]bool) {
	t.Helper()
	page, err := os.ReadFile(requirementsPage)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(page), "\n")
	for _, r := range requirements(t) {
		missing := func(name string) bool { return !functions[name] }
		if r.notYet() && !slices.ContainsFunc(r.tests(), missing) {
			lines[r.line-1] = strings.Replace(lines[r.line-1], " | not yet: ", " | ", 1)
		}
	}
	if err := os.WriteFile(requirementsPage, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
}
