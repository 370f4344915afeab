package store

import (
	"flag"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/conclave-mls/conclave/internal/crashfs"
)

var golden = flag.String("golden", "", "write the golden store of the present format to this new directory, e.g. testdata/v2")

// goldenSteps is the history in a golden store, of which the last half has been
// rewrapped under another key and the last steps lie in the log only.
const goldenSteps = 12

// writeGolden makes a golden store as a crashed process leaves it: tables, a log
// to replay, two data keys, two starts.
func writeGolden(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Stat(dir); err == nil {
		t.Fatalf("%s exists: golden stores are kept for good", dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	mem := crashfs.New()
	o := testOptions(mem)
	o.MemTableBytes = 1 << 20
	o.Rand = rand.NewChaCha8([32]byte{1})
	s, err := Open("s", o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range goldenSteps / 2 {
		mustApply(t, s, historySet(i))
	}
	if err := s.RotateKey(testKey(2)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o.Key = testKey(2)
	if s, err = Open("s", o); err != nil {
		t.Fatal(err)
	}
	for i := goldenSteps / 2; i < goldenSteps; i++ {
		mustApply(t, s, historySet(i))
	}
	client := Client(7)
	c := new(ChangeSet)
	c.Put(s.Keys().ClientIndex(nil, []byte("alice")), []byte("instance"))
	c.Put(client.Pointer(nil, s.Keys().Conversation(client, []byte("conversation"))), []byte("pointer"))
	mustApply(t, s, c)
	crashed := mem.CrashClone(vfs.CrashCloneCfg{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	skip := vfs.CloneSkip(func(name string) bool { return strings.HasSuffix(name, "LOCK") })
	if ok, err := vfs.Clone(crashed, vfs.Default, "s", dir, skip); !ok || err != nil {
		t.Fatal(ok, err)
	}
}

// TestGolden opens the stores of all formats that were ever released.
func TestGolden(t *testing.T) {
	if *golden != "" {
		writeGolden(t, *golden)
	}
	dirs, err := filepath.Glob("testdata/v*")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no golden stores", err)
	}
	for _, dir := range dirs {
		mem := vfs.NewMem()
		if ok, err := vfs.Clone(vfs.Default, mem, dir, "s"); !ok || err != nil {
			t.Fatal(dir, ok, err)
		}
		o := testOptions(mem)
		o.Key = testKey(2)
		for _, what := range []string{"as it was", "opened again"} {
			s, err := Open("s", o)
			if err != nil {
				t.Fatalf("%s, %s: %v", dir, what, err)
			}
			client := Client(7)
			index := s.Keys().ClientIndex(nil, []byte("alice"))
			pointer := client.Pointer(nil, s.Keys().Conversation(client, []byte("conversation")))
			if got := get(t, s, string(index)) + " " + get(t, s, string(pointer)); got != "instance pointer" {
				t.Errorf("%s, %s: got %q by id", dir, what, got)
			}
			want := historyStates(goldenSteps)[goldenSteps]
			want[string(index)], want[string(pointer)] = "instance", "pointer"
			if got := contents(t, s); !maps.Equal(got, want) {
				t.Errorf("%s, %s: other contents", dir, what)
			}
			mustApply(t, s, put("sequence", get(t, s, "sequence")))
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
