// Package tests holds what no single package can test: the rules of the house, the documents held against the code, and whole scenarios.
package tests

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// layers are the module's packages from the bottom up. A package imports only from rows below its own; the packages of one row do not know each other.
const layers = `
	internal/secret internal/race internal/crashfs internal/clientid internal/vectortest internal/step
	internal/primitive internal/secret/secrettest internal/pkitest internal/extreme
	mlsgroup store proteus pki
	proteus/cryptobox pki/crlfetch enrollment
	messages enrollment/acmehttp
	actors
	.
	tests/enginetest tests/acmetest
	cmd/engine examples/echobot bench bench/table tests
`

// owners names the only packages that may import an outside module, and why nobody else may.
var owners = []struct {
	module   string
	packages string
	because  string
}{
	{"github.com/asynkron/protoactor-go", "actors", "the actor library hides behind the host interface"},
	{"github.com/cockroachdb/pebble", "store internal/crashfs", "nobody else knows how records reach the disk"},
	{"github.com/cloudflare/circl", "internal/primitive", "one package chooses the primitives, with the standard library as oracle"},
	{"github.com/oasisprotocol/curve25519-voi", "internal/primitive", "the Ed25519 rule stands in one place"},
	{"github.com/go-jose/go-jose/v4", "enrollment", "JWS and JWT are for the CA and the backend alone"},
	{"filippo.io/nistec", "internal/primitive", "points of P-384 and P-521 for the tables of public keys"},
	{"golang.org/x/crypto/cryptobyte", "mlsgroup enrollment internal/primitive", "keys of certificates, CSRs and ECDSA signatures need strict DER"},
	{"golang.org/x/crypto", "internal/primitive store proteus", "the primitives, the sealing of values at rest, and the bare ChaCha20 of Proteus"},
	{"go.uber.org/zap", "actors . cmd/engine internal/secret/secrettest", "leaves return errors and never log"},
}

// bans lists what a package may not touch although it is in the standard library.
var bans = []struct {
	packages string
	imports  string
	because  string
}{
	{"mlsgroup proteus", "crypto/rand math/rand math/rand/v2", "random bytes are an argument"},
	{"mlsgroup proteus", "sync sync/atomic context", "a pure value needs no lock and is never cancelled"},
	{"mlsgroup proteus pki", "os io/fs net net/http syscall", "the core does no I/O"},
	{"enrollment", "crypto/rand math/rand math/rand/v2 os io/fs net net/http context log log/slog sync sync/atomic", "random bytes and the time are arguments, and the application does the HTTP"},
	{"pki", "crypto/rand math/rand math/rand/v2 context log log/slog sync/atomic", "verifying is a function of a chain, a snapshot and a time"},
	{"mlsgroup proteus", "log log/slog fmt/print", "the core does not log"},
	{"mlsgroup proteus internal/primitive store messages actors .", "reflect unsafe plugin encoding/gob", "a switch of twenty lines does"},
	{"internal/secret internal/primitive store messages actors .", "net net/http os/exec", "the transport is the application's"},
}

// clocks are the functions that read or wait for the wall clock.
var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "Tick", "NewTimer", "NewTicker", "AfterFunc"}

func TestImportOrder(t *testing.T) {
	rank := make(map[string]int)
	for i, row := range strings.Split(strings.TrimSpace(layers), "\n") {
		for _, name := range strings.Fields(row) {
			rank[name] = i
		}
	}
	for _, p := range readModule(t).packages {
		from, known := rank[p.dir]
		if !known {
			if len(p.files) > 0 {
				t.Errorf("package %s stands in no row of layers", p.dir)
			}
			continue
		}
		for _, im := range p.imports(false) {
			to, ours := strings.CutPrefix(im.path, modulePath)
			if !ours {
				continue
			}
			to = strings.TrimPrefix(to, "/")
			if to == "" {
				to = "."
			}
			r, known := rank[to]
			if !known || r >= from {
				t.Errorf("%s: %s imports %s, which is not in a row below it", im.file, p.dir, to)
			}
		}
	}
}

func TestModuleOwners(t *testing.T) {
	for _, p := range readModule(t).packages {
		for _, im := range p.imports(false) {
			first, _, _ := strings.Cut(im.path, "/")
			if !strings.Contains(first, ".") || im.path == modulePath || strings.HasPrefix(im.path, modulePath+"/") {
				continue
			}
			i := slices.IndexFunc(owners, func(o struct{ module, packages, because string }) bool {
				return im.path == o.module || strings.HasPrefix(im.path, o.module+"/")
			})
			if i < 0 {
				t.Errorf("%s: no rule lets anybody import %s", im.file, im.path)
				continue
			}
			if !slices.Contains(strings.Fields(owners[i].packages), p.dir) {
				t.Errorf("%s: %s may not import %s: %s", im.file, p.dir, im.path, owners[i].because)
			}
		}
	}
}

func TestBannedImports(t *testing.T) {
	for _, p := range readModule(t).packages {
		for _, b := range bans {
			if !slices.Contains(strings.Fields(b.packages), p.dir) {
				continue
			}
			for _, im := range p.imports(false) {
				if slices.Contains(strings.Fields(b.imports), im.path) {
					t.Errorf("%s: %s may not import %s: %s", im.file, p.dir, im.path, b.because)
				}
			}
		}
	}
}

// TestCoreIsPure looks for what an import rule cannot see: a clock, a goroutine, a channel or a variable that outlives a call.
func TestCoreIsPure(t *testing.T) {
	p := readModule(t).find(t, "mlsgroup")
	for _, f := range p.files {
		if f.test {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: the core starts no goroutine", f.position(n))
			case *ast.ChanType:
				t.Errorf("%s: the core has no channel", f.position(n))
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clocks, n.Sel.Name) {
					t.Errorf("%s: the core reads no clock: time.%s", f.position(n), n.Sel.Name)
				}
			case *ast.FuncDecl:
				if n.Recv == nil && n.Name.Name == "init" {
					t.Errorf("%s: the core has no init function", f.position(n))
				}
			}
			return true
		})
	}
}

// TestRootSignatures keeps the layers below out of what an application sees: neither an actor nor a Pebble type may stand in an exported signature of the root.
func TestRootSignatures(t *testing.T) {
	p := readModule(t).find(t, ".")
	// internal/secret may be seen, under the name Secret.
	hidden := []string{modulePath + "/actors", modulePath + "/store", modulePath + "/internal/primitive", "github.com/asynkron/", "github.com/cockroachdb/"}
	for _, f := range p.files {
		if f.test {
			continue
		}
		banned := make(map[string]string)
		for _, im := range f.imports {
			for _, h := range hidden {
				if strings.HasPrefix(im.path, h) {
					banned[im.name] = im.path
				}
			}
		}
		for _, d := range exportedDeclarations(f.syntax) {
			ast.Inspect(d.signature, func(n ast.Node) bool {
				if field, ok := n.(*ast.Field); ok && d.isType && len(field.Names) > 0 && !slices.ContainsFunc(field.Names, func(i *ast.Ident) bool { return i.IsExported() }) {
					return false
				}
				if s, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := s.X.(*ast.Ident); ok && banned[x.Name] != "" {
						t.Errorf("%s: %s shows %s of %s", f.position(s), d.name, s.Sel.Name, banned[x.Name])
					}
				}
				return true
			})
		}
	}
}
