package store

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// tree reads all files below dir.
func tree(t *testing.T, fs vfs.FS, dir string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		path := fs.PathJoin(dir, name)
		info, err := fs.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir() {
			maps.Copy(out, tree(t, fs, path))
		} else {
			out[path] = string(readAll(t, fs, path))
		}
	}
	return out
}

func readAll(t testing.TB, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, info.Size())
	if len(b) == 0 {
		return b
	}
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

func writeAll(t testing.TB, fs vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRefusedOpenChangesNothing: wrong keys, damaged and newer stores are refused
// by name, and every byte stays.
func TestRefusedOpenChangesNothing(t *testing.T) {
	resum := func(b []byte) []byte {
		body := b[:len(b)-sha256.Size]
		sum := sha256.Sum256(body)
		return append(bytes.Clone(body), sum[:]...)
	}
	format := func(n uint16) func([]byte) []byte {
		return func(b []byte) []byte { binary.BigEndian.PutUint16(b[len(storeMagic):], n); return b }
	}
	for name, c := range map[string]struct {
		key  byte
		edit func(b []byte) []byte // of STORE; nil removes it
		want error
	}{
		"wrong key":           {9, func(b []byte) []byte { return b }, ErrWrongKey},
		"newer format":        {1, format(storeFormat + 1), ErrNewerFormat},
		"newer and wrong key": {9, format(60000), ErrNewerFormat},
		"newer and shorter":   {1, func(b []byte) []byte { return format(2)(b)[:18] }, ErrNewerFormat},
		"format zero":         {1, func(b []byte) []byte { return resum(format(0)(b)) }, ErrCorrupt},
		"magic":               {1, func(b []byte) []byte { b[0]++; return b }, ErrCorrupt},
		"salt":                {1, func(b []byte) []byte { b[40]++; return b }, ErrCorrupt},
		"ring":                {1, func(b []byte) []byte { b[prefixSize+10]++; return b }, ErrCorrupt},
		"truncated":           {1, func(b []byte) []byte { return b[:len(b)-1] }, ErrCorrupt},
		"longer":              {1, func(b []byte) []byte { return append(b, 0) }, ErrCorrupt},
		"empty":               {1, func(b []byte) []byte { return []byte{} }, ErrCorrupt},
		"length":              {1, func(b []byte) []byte { b[prefixSize] = 0xff; return resum(b) }, ErrCorrupt},
		"ring and sum":        {1, func(b []byte) []byte { b[prefixSize+10]++; return resum(b) }, ErrWrongKey},
		"missing":             {1, nil, ErrCorrupt},
	} {
		fs := vfs.NewMem()
		s := mustOpen(t, "s", testOptions(fs))
		mustApply(t, s, put("a", "b"))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		good := readAll(t, fs, "s/STORE")
		if c.edit != nil {
			writeAll(t, fs, "s/STORE", c.edit(bytes.Clone(good)))
		} else if err := fs.Remove("s/STORE"); err != nil {
			t.Fatal(err)
		}
		before := tree(t, fs, "s")
		o := testOptions(fs)
		o.Key = testKey(c.key)
		if _, err := Open("s", o); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if after := tree(t, fs, "s"); !maps.Equal(before, after) {
			t.Errorf("%s: files changed: %v, were %v", name, slices.Sorted(maps.Keys(after)), slices.Sorted(maps.Keys(before)))
		}
		writeAll(t, fs, "s/STORE", good)
		if got := get(t, mustOpen(t, "s", testOptions(fs)), "a"); got != "b" {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

func TestNewerRecords(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, "s", testOptions(fs))
	mustApply(t, s, put("a", "b"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	marker := "s/" + dirRecords + "/marker.format-version.000099.999"
	writeAll(t, fs, marker, nil)
	before := tree(t, fs, "s")
	if _, err := Open("s", testOptions(fs)); !errors.Is(err, ErrNewerFormat) {
		t.Error(err)
	}
	if after := tree(t, fs, "s"); !maps.Equal(before, after) {
		t.Error("files changed")
	}
}

func TestRotateKey(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, "s", testOptions(fs))
	hash := s.Keys().Conversation(1, []byte("id"))
	mustApply(t, s, put("old", "1"), put("both", "1"))
	if err := s.RotateKey(testKey(1)[:31]); !errors.Is(err, ErrKeySize) {
		t.Errorf("short key: %v", err)
	}
	for k := byte(2); k < 5; k++ {
		if err := s.RotateKey(testKey(k)); err != nil {
			t.Fatal(err)
		}
		mustApply(t, s, put("both", string('0'+k)))
		if got := get(t, s, "old") + get(t, s, "both"); got != "1"+string('0'+k) {
			t.Errorf("key %d: got %q", k, got)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for k := byte(1); k < 4; k++ {
		o := testOptions(fs)
		o.Key = testKey(k)
		if _, err := Open("s", o); !errors.Is(err, ErrWrongKey) {
			t.Errorf("key %d: %v", k, err)
		}
	}
	o := testOptions(fs)
	o.Key = testKey(4)
	s = mustOpen(t, "s", o)
	if got := get(t, s, "old") + get(t, s, "both"); got != "14" {
		t.Errorf("after reopening: got %q", got)
	}
	if s.Keys().Conversation(1, []byte("id")) != hash {
		t.Error("rotation changed the hash of ids")
	}
	if n := len(s.sealer.ring.keys); n != 4 {
		t.Errorf("%d data keys", n)
	}
}

// TestFullRing: a ring that is full is rewrapped without another key.
func TestFullRing(t *testing.T) {
	r, err := newRing(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for len(r.keys) < maxDataKeys {
		r.keys = append(r.keys, dataKey{uint16(len(r.keys)) + 1, testKey(1)})
	}
	next, err := r.extended(rand.Reader)
	if err != nil || len(next.keys) != maxDataKeys {
		t.Fatalf("%d keys, %v", len(next.keys), err)
	}
	b, err := wrapRing([storeIDSize]byte{}, next, testKey(1), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f, err := parseStoreFile(b)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.unwrap(testKey(1)); err != nil || !bytes.Equal(got.append(nil), r.append(nil)) {
		t.Errorf("does not come back: %v", err)
	}
	if len(b) > maxStoreLen {
		t.Errorf("%d bytes, may be %d", len(b), maxStoreLen)
	}
}

func FuzzKeyRing(f *testing.F) {
	r, err := newRing(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(r.append(nil))
	f.Add([]byte{})
	f.Add(make([]byte, KeySize+ringKeySize))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRing(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(r.append(nil), b) {
			t.Fatalf("%x parses to another ring", b)
		}
	})
}

func FuzzStoreFile(f *testing.F) {
	r, err := newRing(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	good, err := wrapRing([storeIDSize]byte{1}, r, testKey(1), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:20])
	f.Add([]byte(storeMagic + "\x00\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		// The checksum would hide the rest of the parser from the fuzzer.
		if len(b) > sha256.Size && bytes.HasPrefix(b, []byte(storeMagic)) {
			sum := sha256.Sum256(b[:len(b)-sha256.Size])
			copy(b[len(b)-sha256.Size:], sum[:])
		}
		file, err := parseStoreFile(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewerFormat) {
				t.Fatal(err)
			}
			return
		}
		if len(file.prefix)+len(file.wrapped)+sha256.Size != len(b) {
			t.Fatalf("%x: bytes are left over", b)
		}
		if _, err := file.unwrap(testKey(1)); err != nil && !errors.Is(err, ErrWrongKey) && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
	})
}
