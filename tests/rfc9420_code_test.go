package tests

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// checkConstants reads the constants of type Check from mlsgroup/check.go:
// name to value.
func checkConstants(t *testing.T) map[string]string {
	t.Helper()
	constants := map[string]string{}
	for _, d := range parseGoFile(t, filepath.Join("..", "mlsgroup", "check.go")).Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.CONST {
			continue
		}
		for _, s := range decl.Specs {
			spec := s.(*ast.ValueSpec)
			typ, ok := spec.Type.(*ast.Ident)
			if !ok || typ.Name != "Check" || len(spec.Names) != 1 || len(spec.Values) != 1 {
				t.Errorf("mlsgroup/check.go: %s is not written as one constant of type Check", spec.Names[0].Name)
				continue
			}
			value, ok := stringLiteral(spec.Values[0])
			if !ok {
				t.Errorf("mlsgroup/check.go: %s is no string literal", spec.Names[0].Name)
			}
			constants[spec.Names[0].Name] = value
			if !strings.HasPrefix(spec.Doc.Text(), spec.Names[0].Name+":") {
				t.Errorf("mlsgroup/check.go: the comment of %s does not start with its name", spec.Names[0].Name)
			}
		}
	}
	if len(constants) < 100 {
		t.Fatalf("mlsgroup/check.go has only %d constants", len(constants))
	}
	return constants
}

// parseGoFile parses one file.
func parseGoFile(t *testing.T, name string) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// stringLiteral is the value of x if x is a string literal.
func stringLiteral(x ast.Expr) (string, bool) {
	lit, ok := x.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}

// goFilesBelow lists the Go files below dir, tests or others, in lexical order.
func goFilesBelow(t *testing.T, dir string, tests bool) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(path, ".go") && strings.HasSuffix(path, "_test.go") == tests {
			names = append(names, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
