package tests

import (
	"flag"
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var rewritePlaces = flag.Bool("places", false, "rewrite in docs/rfc9420.md which functions enforce each check, and which tests exist by now")

// place is "`function` in file.go".
var place = regexp.MustCompile("((?:`[\\w.]+`(?:, | and ))*`[\\w.]+`) in ([a-z0-9_]+\\.go)")

// TestRFC9420Places: every Check is used outside check.go, and the page names
// the functions that use it; what else the page places in a file is declared there.
func TestRFC9420Places(t *testing.T) {
	constants := checkConstants(t)
	uses := map[string][]string{}     // constant to places, files and positions ascending
	declared := map[string][]string{} // file to functions, methods and types
	for _, name := range goFilesBelow(t, "../mlsgroup", false) {
		file := parseGoFile(t, name)
		for _, d := range file.Decls {
			for _, u := range units(d) {
				base := filepath.Base(name)
				declared[base] = append(declared[base], u.name)
				if base == "check.go" {
					continue
				}
				ast.Inspect(u.node, func(n ast.Node) bool {
					id, ok := n.(*ast.Ident)
					if !ok || constants[id.Name] == "" {
						return true
					}
					p := "`" + u.name + "` in " + base
					if !slices.Contains(uses[id.Name], p) {
						uses[id.Name] = append(uses[id.Name], p)
					}
					return true
				})
			}
		}
	}
	if *rewritePlaces {
		updatePlaces(t, uses)
	}
	for _, r := range requirements(t) {
		if name := r.constant(); name != "" {
			at, _, _ := strings.Cut(constantCell.FindStringSubmatch(r.by)[2], "; ")
			switch want := strings.Join(uses[name], ", "); {
			case want == "":
				t.Errorf("%s:%d: nothing in mlsgroup enforces %s (%s)", requirementsPage, r.line, r.id, name)
			case at != want:
				t.Errorf("%s:%d: %s is enforced by %s, not %s (-places rewrites it)", requirementsPage, r.line, r.id, want, at)
			}
		}
		for _, m := range place.FindAllStringSubmatch(r.by, -1) {
			for _, q := range quoted.FindAllStringSubmatch(m[1], -1) {
				if !slices.Contains(declared[m[2]], q[1]) {
					t.Errorf("%s:%d: %s: mlsgroup/%s declares no %s", requirementsPage, r.line, r.id, m[2], q[1])
				}
			}
		}
	}
}

// unit is a function, method (named Type.method), type or variable at the top
// level of a file.
type unit struct {
	name string
	node ast.Node
}

func units(d ast.Decl) []unit {
	switch d := d.(type) {
	case *ast.FuncDecl:
		name := d.Name.Name
		if d.Recv != nil {
			name = receiver(d.Recv.List[0].Type) + "." + name
		}
		return []unit{{name, d}}
	case *ast.GenDecl:
		var us []unit
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				us = append(us, unit{s.Name.Name, s})
			case *ast.ValueSpec:
				us = append(us, unit{s.Names[0].Name, s})
			}
		}
		return us
	}
	return nil
}

// receiver is the type name of a method's receiver, without * and parameters.
func receiver(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.StarExpr:
		return receiver(x.X)
	case *ast.IndexExpr:
		return receiver(x.X)
	case *ast.Ident:
		return x.Name
	}
	return ""
}

// updatePlaces rewrites the places of rows with a Check that is used.
func updatePlaces(t *testing.T, uses map[string][]string) {
	t.Helper()
	page, err := os.ReadFile(requirementsPage)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(page), "\n")
	for _, r := range requirements(t) {
		name := r.constant()
		if len(uses[name]) == 0 {
			continue
		}
		by := "`" + name + "`: " + strings.Join(uses[name], ", ")
		if _, note, ok := strings.Cut(r.by, "; "); ok {
			by += "; " + note
		}
		lines[r.line-1] = strings.Replace(lines[r.line-1], " | "+r.by+" | ", " | "+by+" | ", 1)
	}
	if err := os.WriteFile(requirementsPage, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
}
