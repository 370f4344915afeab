package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func sameChanges(a, b *ChangeSet) bool {
	return slices.EqualFunc(slices.Collect(a.All()), slices.Collect(b.All()), func(x, y Op) bool {
		return x.Kind == y.Kind && bytes.Equal(x.Key, y.Key) && bytes.Equal(x.Value, y.Value) && bytes.Equal(x.High, y.High)
	})
}

func TestChangeSetCopies(t *testing.T) {
	c := new(ChangeSet)
	buf := []byte("key")
	value := []byte("value")
	c.Put(buf, value)
	copy(buf, "xxx")
	copy(value, "xxxxx")
	c.Delete(buf)
	copy(buf, "yyy")
	c.DeleteRange(buf, []byte("z"))
	if c.Len() != 3 || c.Size() != 3+5+3+3+1 {
		t.Errorf("%d changes, %d bytes", c.Len(), c.Size())
	}
	ops := slices.Collect(c.All())
	for i, want := range []Op{
		{OpPut, []byte("key"), []byte("value"), nil},
		{OpDelete, []byte("xxx"), nil, nil},
		{OpDeleteRange, []byte("yyy"), nil, []byte("z")},
	} {
		if op := ops[i]; op.Kind != want.Kind || !bytes.Equal(op.Key, want.Key) || !bytes.Equal(op.Value, want.Value) || !bytes.Equal(op.High, want.High) {
			t.Errorf("change %d is %v, want %v", i, op, want)
		}
	}
	other := put("more", "of it")
	other.Append(c)
	other.Append(nil)
	if other.Len() != 4 || other.Size() != c.Size()+9 {
		t.Errorf("%d changes, %d bytes", other.Len(), other.Size())
	}
	c.Wipe()
	if c.Len() != 0 || c.Size() != 0 || string(slices.Collect(other.All())[1].Value) != "value" {
		t.Error("Wipe of one set changed another")
	}
}

func TestChangeSetTakes(t *testing.T) {
	for _, before := range []*ChangeSet{{}, put("before", "it")} {
		value := []byte("a large value")
		before.Take([]byte("key"), value)
		before.Put([]byte("behind"), []byte("it"))
		i := slices.IndexFunc(before.ops, func(op Op) bool { return string(op.Key) == "key" })
		op := before.ops[i]
		if &op.Value[0] != &value[0] || string(op.Value) != "a large value" {
			t.Error("the value was copied or has changed")
		}
		before.Take([]byte("key"), []byte("another")) // of which one was put just before
		if before.Len() != i+2 || before.Size() != i*len("beforeit")+len("keyanother")+len("behindit") {
			t.Errorf("%d changes, %d bytes", before.Len(), before.Size())
		}
		taken := before.ops[i].Value
		before.Wipe()
		if !bytes.Equal(value, make([]byte, len(value))) || !bytes.Equal(taken, make([]byte, len(taken))) {
			t.Error("Wipe has left a value that was taken")
		}
	}
}

func TestChangeSetPutAgain(t *testing.T) {
	c := put("ratchet", "first")
	first := slices.Collect(c.All())[0].Value
	c.Put([]byte("secret"), []byte("x"))
	c.Put([]byte("ratchet"), []byte("second"))
	if string(first) != "first" {
		t.Errorf("a value that was read has become %q", first)
	}
	if !sameChanges(c, puts("ratchet", "second", "secret", "x")) || c.Size() != len("ratchet")+len("second")+len("secret")+1 {
		t.Errorf("%d changes, %d bytes", c.Len(), c.Size())
	}
	// Nothing moves before what deletes it.
	c.Delete([]byte("secret"))
	c.Put([]byte("secret"), []byte("y"))
	c.DeleteRange([]byte("r"), []byte("s"))
	c.Put([]byte("ratchet"), []byte("third"))
	want := puts("ratchet", "second", "secret", "x")
	want.add(Op{Kind: OpDelete, Key: []byte("secret")})
	want.add(Op{Kind: OpPut, Key: []byte("secret"), Value: []byte("y")})
	want.add(Op{Kind: OpDeleteRange, Key: []byte("r"), High: []byte("s")})
	want.add(Op{Kind: OpPut, Key: []byte("ratchet"), Value: []byte("third")})
	if !sameChanges(c, want) {
		t.Errorf("%d changes, want %d", c.Len(), want.Len())
	}
}

// puts is a set of Puts, none of which has taken the place of another.
func puts(pairs ...string) *ChangeSet {
	c := new(ChangeSet)
	for i := 0; i < len(pairs); i += 2 {
		c.add(Op{Kind: OpPut, Key: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return c
}

func TestChangeSetWipe(t *testing.T) {
	c := new(ChangeSet)
	for i := range 200 {
		c.Put(fmt.Append(nil, i), bytes.Repeat([]byte{0xaa}, 10*i))
	}
	ops := slices.Collect(c.All())
	c.Wipe()
	for i, op := range ops {
		if bytes.ContainsFunc(op.Value, func(r rune) bool { return r != 0 }) {
			t.Fatalf("value %d is still there", i)
		}
	}
	c.Put([]byte("again"), []byte("yes"))
	if c.Len() != 1 {
		t.Error("a wiped set cannot be used again")
	}
	(*ChangeSet)(nil).Wipe()
}

func TestChangeSetEncoding(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		c := new(ChangeSet)
		for range rng.IntN(20) {
			randomChange(rng, c)
		}
		b, err := c.AppendBinary([]byte("before"))
		if err != nil {
			t.Fatal(err)
		}
		if n := len(b) - len("before"); n > c.SizeHint() {
			t.Fatalf("%d changes take %d bytes, at most %d announced", c.Len(), n, c.SizeHint())
		}
		got, err := ParseChangeSet(b[len("before"):])
		if err != nil || !sameChanges(c, got) || got.Size() != c.Size() {
			t.Fatalf("does not come back: %v", err)
		}
	}
}

func FuzzChangeSet(f *testing.F) {
	c := put("key", "value")
	c.Delete([]byte("gone"))
	c.DeleteRange([]byte("a"), []byte("b"))
	b, err := c.AppendBinary(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{changeSetFormat})
	f.Add([]byte{changeSetFormat, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseChangeSet(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		again, err := c.AppendBinary(nil)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x parses, but is written as %x (%v)", b, again, err)
		}
	})
}
