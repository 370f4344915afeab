// Package secrettest holds a package's types against the rule that key material
// and plaintext never print. Tests alone import it.
package secrettest

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/conclave-mls/conclave/internal/secret"
)

// Marker is what Fill writes into every secret: bytes to look for.
const Marker = "\x01marker of \xf5 a secret!"

const (
	modulePath = "github.com/conclave-mls/conclave"
	maxDepth   = 10 // of values within values that Fill makes
)

// Forms returns the ways in which bytes that hold secret come out in text: as they
// are, quoted, in hexadecimal, in decimal, as Go writes them and in base64.
func Forms(secret []byte) []string {
	forms := []string{
		string(secret),
		strings.Trim(fmt.Sprintf("%q", secret), `"`),
		strings.Trim(fmt.Sprintf("%+q", secret), `"`),
		hex.EncodeToString(secret),
		strings.ToUpper(hex.EncodeToString(secret)),
		strings.Trim(fmt.Sprint(secret), "[]"),
		strings.ReplaceAll(strings.Trim(fmt.Sprint(secret), "[]"), " ", ","),
		strings.Trim(strings.TrimPrefix(fmt.Sprintf("%#v", secret), "[]byte"), "{}"),
		strings.ToUpper(strings.Trim(strings.TrimPrefix(fmt.Sprintf("%#v", secret), "[]byte"), "{}")),
		fmt.Sprintf("% x", secret),
	}
	// Base64 depends on how many bytes precede: skip to where it does not.
	for skip := range 3 {
		rest := secret[skip:]
		rest = rest[:len(rest)/3*3]
		forms = append(forms, base64.StdEncoding.EncodeToString(rest), base64.URLEncoding.EncodeToString(rest))
	}
	return forms
}

// Types fills what each of things points to and holds it against the rule, and
// things against the package in the current directory: each struct type it declares
// has to be among them, but for those in except, separated by blanks. Fields of an
// interface type get the first of values that implements it.
func Types(t *testing.T, things, values []any, except string) {
	t.Helper()
	missing := declared(t)
	for _, name := range strings.Fields(except) {
		if !missing[name] {
			t.Errorf("%s is no struct type of this package", name)
		}
		delete(missing, name)
	}
	for _, thing := range things {
		v := reflect.ValueOf(thing)
		if v.Kind() != reflect.Pointer {
			t.Fatalf("%T is no pointer", thing)
		}
		name, _, _ := strings.Cut(v.Type().Elem().Name(), "[")
		delete(missing, name)
		(&filler{values: values}).fill(v.Elem(), 0)
		Silent(t, thing, []byte(Marker))
		Silent(t, []any{thing}, []byte(Marker))
		if copyable(v.Type().Elem()) {
			Silent(t, v.Elem().Interface(), []byte(Marker))
			Silent(t, []any{v.Elem().Interface()}, []byte(Marker))
		}
	}
	for name := range missing {
		t.Errorf("nobody has looked at how %s prints", name)
	}
}

// Silent reports the ways in which thing prints secret.
func Silent(t testing.TB, thing any, secret []byte) {
	t.Helper()
	forms := Forms(secret)
	var found []string
	look := func(how, out string) {
		for _, form := range forms {
			if strings.Contains(out, form) {
				found = append(found, how)
				return
			}
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%+q", "%x", "%X", "% x", "%#x", "%d", "%b", "%o", "%U", "%c", "%t"} {
		look(verb, fmt.Sprintf(verb, thing))
	}
	look("fmt.Errorf", fmt.Errorf("wrapped: %v", thing).Error())
	if out, err := json.Marshal(thing); err == nil {
		look("JSON", string(out))
	}
	var out strings.Builder
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("message", "thing", thing, slog.Group("group", slog.Any("things", []any{thing})))
	}
	look("log/slog", out.String())
	look("zap", zapped(thing))
	if len(found) > 0 {
		t.Errorf("%s prints its secret with %s", name(thing), strings.Join(found, ", "))
	}
}

// name returns the type of thing, or of what thing holds.
func name(thing any) string {
	if held, ok := thing.([]any); ok {
		return fmt.Sprintf("%T among others", held[0])
	}
	return fmt.Sprintf("%T", thing)
}

// copyable tells whether values of t may be copied, as printing one does.
func copyable(t reflect.Type) bool {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[sync.Locker]()) {
		return false
	}
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			if !copyable(t.Field(i).Type) {
				return false
			}
		}
	case reflect.Array:
		return copyable(t.Elem())
	}
	return true
}

func zapped(thing any) string {
	var out strings.Builder
	config := zap.NewProductionEncoderConfig()
	for _, e := range []zapcore.Encoder{zapcore.NewJSONEncoder(config), zapcore.NewConsoleEncoder(config)} {
		log := zap.New(zapcore.NewCore(e, zapcore.AddSync(&out), zapcore.DebugLevel), zap.ErrorOutput(zapcore.AddSync(io.Discard)))
		log.Info("message", zap.Any("any", thing), zap.Reflect("reflect", thing))
		log.Sugar().Infow("message", "thing", thing)
		log.Sugar().Info(thing)
	}
	return out.String()
}

// declared returns the struct types that the package in the current directory has.
func declared(t *testing.T) map[string]bool {
	t.Helper()
	files, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	names := make(map[string]bool)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, s := range g.Specs {
				if s, ok := s.(*ast.TypeSpec); ok {
					if st, ok := s.Type.(*ast.StructType); ok && len(st.Fields.List) > 0 {
						names[s.Name.Name] = true
					}
				}
			}
		}
	}
	return names
}

// filler writes Marker into every secret that a value can reach within our types.
type filler struct {
	values []any
	within []reflect.Type // of the pointers that are being followed
}

func (f *filler) fill(v reflect.Value, depth int) {
	if depth > maxDepth {
		return
	}
	if !v.CanSet() { // an unexported field
		v = reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
	}
	t := v.Type()
	if t == reflect.TypeFor[secret.Bytes]() {
		v.SetBytes([]byte(Marker))
		return
	}
	if t.PkgPath() != "" && !strings.HasPrefix(t.PkgPath(), modulePath) && t.Kind() != reflect.Interface {
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			f.fill(v.Field(i), depth+1)
		}
	case reflect.Array:
		for i := range t.Len() {
			f.fill(v.Index(i), depth+1)
		}
	case reflect.Pointer:
		for _, other := range f.within {
			if other == t {
				return
			}
		}
		f.within = append(f.within, t)
		p := reflect.New(t.Elem())
		f.fill(p.Elem(), depth+1)
		v.Set(p)
		f.within = f.within[:len(f.within)-1]
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte("public"))
			return
		}
		v.Set(reflect.MakeSlice(t, 1, 1))
		f.fill(v.Index(0), depth+1)
	case reflect.Map:
		key, value := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
		f.fill(value, depth+1)
		if t.Key().Kind() != reflect.Interface {
			v.Set(reflect.MakeMap(t))
			v.SetMapIndex(key, value)
		}
	case reflect.Interface:
		for _, value := range f.values {
			if given := reflect.TypeOf(value); given.Implements(t) {
				filled := reflect.New(given).Elem()
				f.fill(filled, depth+1)
				v.Set(filled)
				return
			}
		}
	case reflect.String:
		v.SetString("public")
	}
}
