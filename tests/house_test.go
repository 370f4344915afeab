package tests

import (
	"go/ast"
	"regexp"
	"strings"
	"testing"
)

// TestPackageComments asks each package for one comment that says what it is for.
func TestPackageComments(t *testing.T) {
	for _, p := range readModule(t).packages {
		var comments []string
		name, onlyTests := "", true
		for _, f := range p.files {
			if !f.test {
				onlyTests = false
			}
			if !f.test || name == "" {
				name = f.syntax.Name.Name
			}
		}
		for _, f := range p.files {
			if f.test == onlyTests && f.syntax.Doc.Text() != "" {
				comments = append(comments, f.syntax.Doc.Text())
			}
		}
		if len(comments) != 1 {
			t.Errorf("%s: package %s has %d package comments, want 1", p.dir, name, len(comments))
			continue
		}
		want := "Package " + name + " "
		if name == "main" {
			want = "Command " + p.dir[strings.LastIndex(p.dir, "/")+1:] + " "
		}
		if !strings.HasPrefix(comments[0], want) {
			t.Errorf("%s: the package comment begins %.40q, want %q", p.dir, comments[0], want)
		}
	}
}

// TestExportedComments asks each exported name for a comment that begins with it. Constants and variables of one group may share the group's comment.
func TestExportedComments(t *testing.T) {
	for _, p := range readModule(t).packages {
		for _, f := range p.files {
			if f.test || f.syntax.Name.Name == "main" {
				continue
			}
			for _, d := range exportedDeclarations(f.syntax) {
				if strings.HasPrefix(d.doc, d.name) || d.grouped && d.doc != "" {
					continue
				}
				t.Errorf("%s: the comment on %s begins %.40q, want its name", f.position(d.pos), d.name, d.doc)
			}
		}
	}
}

var vague = regexp.MustCompile(`(Manager|Helper|Util|Utils|Impl)$`)
var getter = regexp.MustCompile(`^Get([A-LN-Z]|M[^a])`) // but GetMany, which reads many keys at once
var laterPart = regexp.MustCompile(`_[0-9]+(_test)?\.go$|(^|/)(utils?|helpers?|common|misc)(_test)?\.go$`)

// TestNames refuses words that say nothing, getters with Get, and files that are the second part of another.
func TestNames(t *testing.T) {
	for _, p := range readModule(t).packages {
		for _, f := range p.files {
			if laterPart.MatchString(f.name) {
				t.Errorf("%s: a file is named after its subject", f.name)
			}
			ast.Inspect(f.syntax, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.TypeSpec:
					if vague.MatchString(n.Name.Name) {
						t.Errorf("%s: %s says nothing about its owner or its work", f.position(n), n.Name.Name)
					}
				case *ast.FuncDecl:
					if getter.MatchString(n.Name.Name) {
						t.Errorf("%s: %s needs no Get", f.position(n), n.Name.Name)
					}
				}
				return true
			})
		}
	}
}
