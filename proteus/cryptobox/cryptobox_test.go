package cryptobox

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/conclave-mls/conclave/internal/secret/secrettest"
	"github.com/conclave-mls/conclave/internal/vectortest"
	"github.com/conclave-mls/conclave/proteus"
)

func TestSecretsDoNotPrint(t *testing.T) {
	secrettest.Types(t, []any{new(Box), new(layout), new(Object)}, nil, "")
}

type description struct {
	Fingerprint string
	Sessions    []struct {
		ID      string
		Session string
		Encrypt struct{ Plaintext, Envelope string }
	}
	Prekeys  []uint16
	Incoming []struct{ Session, Op, Envelope, Plaintext string }
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestBoxes opens boxes of both implementations, continues their conversations, and
// compares byte for byte.
func TestBoxes(t *testing.T) {
	for _, name := range []string{"cryptobox-rust", "cryptobox-ts-fs"} {
		t.Run(name, func(t *testing.T) {
			dir := vectortest.File(t, "proteus/"+name)
			content, err := os.ReadFile(filepath.Join(dir, "store.json"))
			if err != nil {
				t.Fatal(err)
			}
			var want description
			if err := json.Unmarshal(content, &want); err != nil {
				t.Fatal(err)
			}
			box, err := Open(os.DirFS(filepath.Join(dir, "store")))
			if err != nil {
				t.Fatal(err)
			}
			local, err := box.Identity()
			if err != nil {
				t.Fatal(err)
			}
			if got := local.PublicKey().Fingerprint(); got != want.Fingerprint {
				t.Errorf("fingerprint %s, want %s", got, want.Fingerprint)
			}
			preKeys := make(map[uint16]*proteus.PreKey)
			for o, err := range box.PreKeys() {
				if err != nil {
					t.Fatal(err)
				}
				k, err := proteus.ParsePreKey(o.Bytes)
				if err != nil || k.ID() != o.ID {
					t.Fatalf("prekey %s: %v", o.Name, err)
				}
				preKeys[o.ID] = k
			}
			for _, id := range want.Prekeys {
				if preKeys[id] == nil {
					t.Errorf("prekey %d is missing", id)
				}
			}
			if len(preKeys) != len(want.Prekeys) {
				t.Errorf("%d prekeys, want %d", len(preKeys), len(want.Prekeys))
			}
			sessions := make(map[string]*proteus.Session)
			for o, err := range box.Sessions() {
				if err != nil {
					t.Fatal(err)
				}
				if sessions[o.Name], err = proteus.ParseSession(local, o.Bytes); err != nil {
					t.Fatalf("session %s: %v", o.Name, err)
				}
			}
			for _, s := range want.Sessions {
				_, envelope, err := sessions[s.ID].Encrypt(unhex(t, s.Encrypt.Plaintext))
				if err != nil || !bytes.Equal(envelope, unhex(t, s.Encrypt.Envelope)) {
					t.Errorf("%s encrypts to %x, %v", s.ID, envelope, err)
				}
			}
			if len(want.Sessions) == 0 || len(sessions) != len(want.Sessions) {
				t.Errorf("%d sessions, want %d", len(sessions), len(want.Sessions))
			}
			for i, in := range want.Incoming {
				m, err := proteus.ParseMessage(unhex(t, in.Envelope))
				if err != nil {
					t.Fatal(err)
				}
				id, _ := m.PreKeyID()
				random := bytes.NewReader(bytes.Repeat([]byte{byte(i), 7}, 64))
				var got proteus.Decrypted
				if s := sessions[in.Session]; s != nil {
					got, err = s.Decrypt(random, m, preKeys[id])
				} else {
					got, err = proteus.Accept(random, local, m, preKeys[id])
				}
				if err != nil || !bytes.Equal(got.Plaintext, unhex(t, in.Plaintext)) {
					t.Fatalf("message %d to %s: %q, %v", i, in.Session, got.Plaintext, err)
				}
				sessions[in.Session] = got.Session
			}
		})
	}
}

func TestLegacyBox(t *testing.T) {
	dir := vectortest.File(t, "proteus/cryptobox-rust-legacy")
	box, err := Open(os.DirFS(filepath.Join(dir, "store")))
	if err != nil {
		t.Fatal(err)
	}
	local, err := box.Identity()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for o, err := range box.Sessions() {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := proteus.ParseSession(local, o.Bytes); err != nil {
			t.Errorf("session %s: %v", o.Name, err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("%d sessions", n)
	}
}

// identity is a box's file, made here so that a lone clone tests the package.
func identityFile(t *testing.T) []byte {
	t.Helper()
	i, err := proteus.NewIdentity(bytes.NewReader(bytes.Repeat([]byte{3}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return i.Marshal()
}

func record(b []byte) []byte {
	return fmt.Appendf(nil, `{"created":1,"id":"x","serialised":%q,"version":"12.8.0"}`, base64.StdEncoding.EncodeToString(b))
}

// TestOddBoxes opens what is no box, and boxes with what does not belong there.
func TestOddBoxes(t *testing.T) {
	id := identityFile(t)
	wrapped := append([]byte{1, 0xa1, 0}, id...)
	nativeBox := func(more fstest.MapFS) fstest.MapFS {
		files := fstest.MapFS{
			"identities/local": {Data: wrapped}, "prekeys/1": {Data: []byte("one")}, "sessions/a": {Data: []byte("A")},
		}
		for name, f := range more {
			files[name] = f
		}
		return files
	}
	scriptBox := func(more fstest.MapFS) fstest.MapFS {
		files := fstest.MapFS{
			"keys/local_identity.dat": {Data: record(id)}, "prekeys/1.dat": {Data: record([]byte("one"))}, "sessions/a.dat": {Data: record([]byte("A"))},
		}
		for name, f := range more {
			files[name] = f
		}
		return files
	}
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	for _, c := range []struct {
		name  string
		files fstest.MapFS
		want  error  // of the first step that fails
		all   string // what the box holds
	}{
		{"nothing", fstest.MapFS{}, ErrNotFound, ""},
		{"no prekeys", fstest.MapFS{"identities/local": {Data: wrapped}, "sessions/a": file("A")}, ErrNotFound, ""},
		{"native", nativeBox(nil), nil, "1=one a=A"},
		{"native, temporary files", nativeBox(fstest.MapFS{"prekeys/5.tmp": file("x"), "sessions/a.tmp": file("x")}), nil, "1=one a=A"},
		{"native, foreign prekey", nativeBox(fstest.MapFS{"prekeys/70000": file("x")}), ErrForeign, ""},
		{"native, no identity", fstest.MapFS{"identities/x": file(""), "prekeys/1": file(""), "sessions/a": file("A")}, ErrNoIdentity, ""},
		{"native, public half only", nativeBox(fstest.MapFS{"identities/local": file("\x02\xa1\x00\xa1")}), ErrNoIdentity, ""},
		{"native, broken identity", nativeBox(fstest.MapFS{"identities/local": file("\x01\xa1\x00\x00")}), proteus.ErrDecode, ""},
		{"script", scriptBox(nil), nil, "1=one a=A"},
		{"script, other files", scriptBox(fstest.MapFS{"sessions/README": file("x")}), nil, "1=one a=A"},
		{"script, no padding", scriptBox(fstest.MapFS{"sessions/a.dat": file(`{"serialised":"QQ"}`)}), nil, "1=one a=A"},
		{"script, no record", scriptBox(fstest.MapFS{"sessions/a.dat": file("x")}), ErrForeign, ""},
		{"script, nothing serialised", scriptBox(fstest.MapFS{"sessions/a.dat": file(`{"id":"a"}`)}), ErrForeign, ""},
		{"script, another type", scriptBox(fstest.MapFS{"sessions/a.dat": file(`{"serialised":{"0":1}}`)}), ErrForeign, ""},
		{"script, no base64", scriptBox(fstest.MapFS{"sessions/a.dat": file(`{"serialised":"%"}`)}), ErrForeign, ""},
		{"script, foreign prekey", scriptBox(fstest.MapFS{"prekeys/x.dat": file(`{"serialised":"QQ"}`)}), ErrForeign, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			all, err := readAll(c.files)
			if c.want == nil && err != nil || !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if err == nil && all != c.all {
				t.Errorf("the box holds %s, want %s", all, c.all)
			}
		})
	}
}

func readAll(files fs.FS) (string, error) {
	box, err := Open(files)
	if err != nil {
		return "", err
	}
	if _, err := box.Identity(); err != nil {
		return "", err
	}
	var all []string
	for o, err := range box.PreKeys() {
		if err != nil {
			return "", err
		}
		all = append(all, fmt.Sprintf("%d=%s", o.ID, []byte(o.Bytes)))
	}
	for o, err := range box.Sessions() {
		if err != nil {
			return "", err
		}
		all = append(all, fmt.Sprintf("%s=%s", o.Name, []byte(o.Bytes)))
	}
	return strings.Join(all, " "), nil
}
