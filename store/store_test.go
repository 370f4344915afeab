package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/conclave-mls/conclave/internal/secret"
)

func testKey(b byte) secret.Bytes { return bytes.Repeat([]byte{b}, KeySize) }

// testOptions are small and quick: memory file systems have no real sync.
func testOptions(fs vfs.FS) Options {
	return Options{Key: testKey(1), FS: fs, CacheBytes: 1 << 20, MemTableBytes: 256 << 10}
}

func mustOpen(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func mustApply(t testing.TB, s *Store, sets ...*ChangeSet) {
	t.Helper()
	if err := s.Apply(sets...); err != nil {
		t.Fatal(err)
	}
}

func put(key, value string) *ChangeSet {
	c := new(ChangeSet)
	c.Put([]byte(key), []byte(value))
	return c
}

// get returns "<none>" where there is no record.
func get(t testing.TB, r Reader, key string) string {
	t.Helper()
	values, err := r.GetMany([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	if values[0] == nil {
		return "<none>"
	}
	return string(values[0])
}

func TestRoundTrip(t *testing.T) {
	kinds := map[string]func(t *testing.T) (string, Options){
		"memory":  func(t *testing.T) (string, Options) { return "", Options{Key: testKey(1), InMemory: true} },
		"mem fs":  func(t *testing.T) (string, Options) { return "a/b", testOptions(vfs.NewMem()) },
		"disk":    func(t *testing.T) (string, Options) { return filepath.Join(t.TempDir(), "a", "b"), testOptions(nil) },
		"no sync": func(t *testing.T) (string, Options) { o := testOptions(vfs.NewMem()); o.NoSync = true; return "s", o },
	}
	for name, open := range kinds {
		t.Run(name, func(t *testing.T) {
			dir, o := open(t)
			s := mustOpen(t, dir, o)
			long := bytes.Repeat([]byte("long"), 300<<10)
			c := new(ChangeSet)
			c.Put([]byte("a"), []byte("first"))
			c.Put([]byte("b"), nil)
			c.Put([]byte("c"), long)
			c.Put([]byte("d"), []byte("gone"))
			c.Delete([]byte("d"))
			c.Put([]byte("e1"), []byte("gone"))
			c.DeleteRange([]byte("e"), []byte("f"))
			c.Put([]byte("e2"), []byte("kept"))
			mustApply(t, s, c, nil, put("a", "second"), new(ChangeSet))
			check := func(s *Store) {
				t.Helper()
				values, err := s.GetMany([]byte("a"), []byte("b"), []byte("c"), []byte("d"), []byte("e1"), []byte("e2"), []byte("zz"))
				if err != nil {
					t.Fatal(err)
				}
				want := [][]byte{[]byte("second"), {}, long, nil, nil, []byte("kept"), nil}
				for i := range want {
					if !bytes.Equal(values[i], want[i]) || (values[i] == nil) != (want[i] == nil) {
						t.Errorf("value %d is %.20q, want %.20q", i, values[i], want[i])
					}
				}
			}
			check(s)
			if m := s.Metrics(); m.Applies != 1 || m.BatchBytes < uint64(len(long)) {
				t.Errorf("metrics %+v", m)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if o.InMemory {
				return
			}
			s = mustOpen(t, dir, o)
			check(s)
		})
	}
}

func TestClosed(t *testing.T) {
	s := mustOpen(t, "s", testOptions(vfs.NewMem()))
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Apply(put("a", "b")); !errors.Is(err, ErrClosed) {
		t.Errorf("Apply: %v", err)
	}
	if _, err := s.GetMany([]byte("a")); !errors.Is(err, ErrClosed) {
		t.Errorf("GetMany: %v", err)
	}
	if _, err := s.Range(Range{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Range: %v", err)
	}
	if err := s.RotateKey(testKey(2)); !errors.Is(err, ErrClosed) {
		t.Errorf("RotateKey: %v", err)
	}
	s.Metrics()
}

// TestCleanCloseNeedsNoLog holds Close to its promise that the next Open has
// nothing to replay: the logs can be taken away.
func TestCleanCloseNeedsNoLog(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, "s", testOptions(fs))
	mustApply(t, s, put("a", "b"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := fs.List("s/" + dirRecords)
	if err != nil {
		t.Fatal(err)
	}
	removed := 0
	for _, name := range names {
		if filepath.Ext(name) == ".log" {
			if err := fs.Remove("s/" + dirRecords + "/" + name); err != nil {
				t.Fatal(err)
			}
			removed++
		}
	}
	s = mustOpen(t, "s", testOptions(fs))
	if got := get(t, s, "a"); got != "b" || removed == 0 {
		t.Errorf("got %q after removing %d logs", got, removed)
	}
}

// TestBubble runs a store where time stands still, as the engine's tests do: it
// leaves no goroutine behind, which synctest checks.
func TestBubble(t *testing.T) {
	for _, o := range []Options{{Key: testKey(1), InMemory: true}, testOptions(vfs.NewMem())} {
		synctest.Test(t, func(t *testing.T) {
			s := mustOpen(t, "s", o)
			for i := range 50 {
				mustApply(t, s, historySet(i))
			}
			if got := get(t, s, "sequence"); got != "49" {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	for name, c := range map[string]struct {
		o    Options
		want error
	}{
		"no key":        {Options{InMemory: true}, ErrKeySize},
		"long key":      {Options{Key: make(secret.Bytes, 33), InMemory: true}, ErrKeySize},
		"memory and fs": {Options{Key: testKey(1), InMemory: true, FS: vfs.NewMem()}, ErrOptions},
		"negative":      {Options{Key: testKey(1), InMemory: true, CacheBytes: -1}, ErrOptions},
		"huge":          {Options{Key: testKey(1), InMemory: true, MemTableBytes: 1 << 40}, ErrOptions},
	} {
		if _, err := Open("s", c.o); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestBounds(t *testing.T) {
	s := mustOpen(t, "", Options{Key: testKey(1), InMemory: true})
	big := make([]byte, MaxKey+1)
	for name, c := range map[string]func(*ChangeSet){
		"empty key":  func(c *ChangeSet) { c.Put(nil, []byte("x")) },
		"long key":   func(c *ChangeSet) { c.Put(big, []byte("x")) },
		"long range": func(c *ChangeSet) { c.DeleteRange(nil, big) },
		"long value": func(c *ChangeSet) { c.Put([]byte("k"), make([]byte, MaxValue+1)) },
	} {
		set := new(ChangeSet)
		c(set)
		if err := s.Apply(put("a", "b"), set); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := get(t, s, "a"); got != "<none>" {
		t.Errorf("a refused Apply wrote %q", got)
	}
	if _, err := s.GetMany(make([][]byte, MaxKeys+1)...); !errors.Is(err, ErrTooLarge) {
		t.Errorf("many keys: %v", err)
	}
	if v, err := s.GetMany(nil, big); err != nil || v[0] != nil || v[1] != nil {
		t.Errorf("keys that cannot exist: %v %v", v, err)
	}
}

func TestInUse(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, testOptions(nil))
	mustApply(t, s, put("a", "b"))
	link := filepath.Join(t.TempDir(), "link")
	names := []string{dir, filepath.Join(dir, "..", filepath.Base(dir))}
	if err := os.Symlink(dir, link); err == nil {
		names = append(names, link)
	}
	for _, name := range names {
		if _, err := Open(name, testOptions(nil)); !errors.Is(err, ErrInUse) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := get(t, s, "a"); got != "b" {
		t.Errorf("got %q", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, dir, testOptions(nil))
}

func TestFileModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // it has no such modes
	}
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, dir, testOptions(nil))
	for i := range 40 {
		mustApply(t, s, put(fmt.Sprint(i), string(make([]byte, 20<<10))))
	}
	if err := s.RotateKey(testKey(1)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := os.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		} else {
			files++
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 8 {
		t.Errorf("only %d files", files)
	}
}

func TestRange(t *testing.T) {
	s := mustOpen(t, "", Options{Key: testKey(1), InMemory: true})
	c := new(ChangeSet)
	for i := range 10 {
		c.Put([]byte(fmt.Sprintf("k%d", i)), []byte(fmt.Sprint(i)))
	}
	c.Put([]byte{0xff, 0xff}, []byte("end"))
	mustApply(t, s, c)
	b := func(s string) []byte {
		if s == "" {
			return nil
		}
		return []byte(s)
	}
	for name, c := range map[string]struct {
		low, high string
		limit     int
		reverse   bool
		want      string
	}{
		"low in, high out":   {"k2", "k5", 0, false, "234"},
		"reverse":            {"k2", "k5", 0, true, "432"},
		"limit":              {"k2", "k9", 2, false, "23"},
		"reverse limit":      {"k2", "k9", 2, true, "87"},
		"all":                {"", "", 0, false, "0123456789end"},
		"to the end":         {"k8", "", 0, false, "89end"},
		"from the start":     {"", "k2", 0, false, "01"},
		"empty":              {"k3", "k3", 0, false, ""},
		"inverted":           {"k5", "k3", 0, true, ""},
		"between keys":       {"k3a", "k4", 0, false, ""},
		"negative limit":     {"k3", "k5", -4, false, "34"},
		"limit beyond range": {"k3", "k5", 100, false, "34"},
	} {
		for reader, r := range map[string]Reader{"store": s, "overlay": Overlay(s)} {
			records, err := r.Range(Range{Low: b(c.low), High: b(c.high), Limit: c.limit, Reverse: c.reverse})
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, rec := range records {
				got += string(rec.Value)
			}
			if got != c.want {
				t.Errorf("%s, %s: got %q, want %q", reader, name, got, c.want)
			}
		}
	}
}
