package tests

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

const (
	modulePath = "github.com/conclave-mls/conclave"
	moduleRoot = ".."
)

// module is the parsed source of the whole module, read once for all tests of this package.
type module struct {
	packages []*sourcePackage
}

type sourcePackage struct {
	dir   string // slash separated, "." for the root
	files []*sourceFile
}

type sourceFile struct {
	name    string // from the module's root
	test    bool
	syntax  *ast.File
	imports []sourceImport
	set     *token.FileSet
}

type sourceImport struct {
	path, name string
	file       string
}

var readOnce = sync.OnceValues(func() (*module, error) {
	set := token.NewFileSet()
	byDir := make(map[string]*sourcePackage)
	m := new(module)
	err := filepath.WalkDir(moduleRoot, func(file string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := e.Name()
		if e.IsDir() {
			if base == "testdata" || len(base) > 2 && base[0] == '.' {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(file, "go.mod")); err == nil && file != moduleRoot {
				return filepath.SkipDir // another module
			}
			return nil
		}
		if !strings.HasSuffix(base, ".go") {
			return nil
		}
		syntax, err := parser.ParseFile(set, file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(moduleRoot, file)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		dir := path.Dir(name)
		p := byDir[dir]
		if p == nil {
			p = &sourcePackage{dir: dir}
			byDir[dir] = p
			m.packages = append(m.packages, p)
		}
		f := &sourceFile{name: name, test: strings.HasSuffix(base, "_test.go"), syntax: syntax, set: set}
		for _, im := range syntax.Imports {
			quoted := im.Path.Value
			to := quoted[1 : len(quoted)-1]
			local := localName(to)
			if im.Name != nil {
				local = im.Name.Name
			}
			f.imports = append(f.imports, sourceImport{path: to, name: local, file: name})
		}
		p.files = append(p.files, f)
		return nil
	})
	return m, err
})

var majorVersion = regexp.MustCompile(`^v[0-9]+$`)

// localName guesses the package name behind an import path: the last element that is not a major version.
func localName(importPath string) string {
	if base := path.Base(importPath); !majorVersion.MatchString(base) {
		return base
	}
	return path.Base(path.Dir(importPath))
}

func readModule(t *testing.T) *module {
	t.Helper()
	m, err := readOnce()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *module) find(t *testing.T, dir string) *sourcePackage {
	t.Helper()
	for _, p := range m.packages {
		if p.dir == dir {
			return p
		}
	}
	t.Fatalf("no package in %s", dir)
	return nil
}

func (p *sourcePackage) imports(tests bool) []sourceImport {
	var all []sourceImport
	for _, f := range p.files {
		if f.test == tests {
			all = append(all, f.imports...)
		}
	}
	return all
}

func (f *sourceFile) position(n ast.Node) string {
	at := f.set.Position(n.Pos())
	return at.String()
}

// declaration is one exported name with the part of it that callers see.
type declaration struct {
	name      string
	signature ast.Node
	doc       string
	isType    bool
	grouped   bool // one of several in a const or var group, whose comment may speak for all
	pos       ast.Node
}

// exportedDeclarations lists the exported functions, methods of exported types, types, constants and variables of a file.
func exportedDeclarations(f *ast.File) []declaration {
	var all []declaration
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if !d.Name.IsExported() || d.Recv != nil && !ast.IsExported(receiverType(d.Recv)) {
				continue
			}
			all = append(all, declaration{name: d.Name.Name, signature: d.Type, doc: d.Doc.Text(), pos: d})
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					if s.Name.IsExported() {
						all = append(all, declaration{name: s.Name.Name, signature: s.Type, doc: d.Doc.Text() + s.Doc.Text(), isType: true, pos: s})
					}
				case *ast.ValueSpec:
					for _, n := range s.Names {
						if n.IsExported() {
							doc := s.Doc.Text()
							if doc == "" {
								doc = s.Comment.Text()
							}
							if doc == "" || len(d.Specs) == 1 {
								doc += d.Doc.Text()
							}
							var signature ast.Node = n
							if s.Type != nil {
								signature = s.Type
							}
							all = append(all, declaration{name: n.Name, signature: signature, doc: doc, grouped: d.Lparen.IsValid(), pos: s})
						}
					}
				}
			}
		}
	}
	return all
}

func receiverType(list *ast.FieldList) string {
	x := list.List[0].Type
	for {
		switch t := x.(type) {
		case *ast.StarExpr:
			x = t.X
		case *ast.IndexExpr:
			x = t.X
		case *ast.IndexListExpr:
			x = t.X
		case *ast.Ident:
			return t.Name
		default:
			return ""
		}
	}
}

func TestModulePath(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(moduleRoot, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if first, _, _ := strings.Cut(string(b), "\n"); first != "module "+modulePath {
		t.Errorf("go.mod begins with %q, the tests are written for %s", first, modulePath)
	}
}
