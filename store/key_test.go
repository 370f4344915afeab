package store

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// TestKeyMap pins the map of doc.go: these bytes are on people's disks.
func TestKeyMap(t *testing.T) {
	k := Keys{hash: testKey(7)}
	c := Client(0x0102030405060708)
	conv := ConversationKey{0xc0, 15: 0xcf}
	const client, convHex = "020102030405060708", "c00000000000000000000000000000cf"
	for name, x := range map[string]struct {
		got  []byte
		want string
	}{
		"client":        {c.Prefix(nil), client},
		"head":          {c.Head(nil, []byte("h")), client + "0168"},
		"pointers":      {c.Pointers(nil), client + "10"},
		"pointer":       {c.Pointer(nil, conv), client + "10" + convHex},
		"incarnations":  {c.Incarnations(nil, conv), client + "11" + convHex},
		"conversation":  {append(c.Conversation(nil, conv, 0x0a0b), "r"...), client + "11" + convHex + "0000000000000a0b" + "72"},
		"credential":    {c.Credential(nil, []byte("c")), client + "2063"},
		"uses":          {c.Uses(nil, []byte("c")), client + "210163"},
		"use":           {c.Use(nil, []byte("c"), conv), client + "210163" + convHex},
		"key package":   {c.KeyPackage(nil, []byte("k")), client + "226b"},
		"data":          {c.Data(nil, nil), client + "23"},
		"psk":           {c.PSK(nil, []byte("p")), client + "2470"},
		"pki":           {c.PKI(nil, nil), client + "30"},
		"proteus":       {c.Proteus(nil, nil), client + "31"},
		"enrollment":    {c.Enrollment(nil, nil), client + "32"},
		"client index":  {k.ClientIndex(nil, []byte("alice")), "01" + "2262a324dac31afe3ddbe01e4f278e89"},
		"key pair":      {Keypair(nil, []byte("id")), "036964"},
		"appends":       {c.Data([]byte("x"), []byte("y")), "78" + client + "2379"},
		"conversation#": {hashOf(k, c, "conversation"), "92f3c56cef6152b83bda4062eb5fda4d"},
	} {
		if got := hex.EncodeToString(x.got); got != x.want {
			t.Errorf("%s is %s, want %s", name, got, x.want)
		}
	}
}

func hashOf(k Keys, c Client, id string) []byte {
	h := k.Conversation(c, []byte(id))
	return h[:]
}

// TestHashesDiffer: by id, client, use and store.
func TestHashesDiffer(t *testing.T) {
	k, other := Keys{hash: testKey(1)}, Keys{hash: testKey(2)}
	index := k.ClientIndex(nil, []byte("id"))
	all := [][]byte{
		hashOf(k, 1, "id"), hashOf(k, 2, "id"), hashOf(k, 1, "ie"), hashOf(other, 1, "id"), hashOf(k, 0, "id"), index[1:],
	}
	for i, a := range all {
		for j, b := range all[:i] {
			if bytes.Equal(a, b) {
				t.Errorf("hashes %d and %d are equal", i, j)
			}
		}
	}
	if r := ClientIndexRange(); !r.holds(index) || r.holds(Client(1).Prefix(nil)) {
		t.Error("ClientIndexRange does not bound the index")
	}
}

func TestPrefixEnd(t *testing.T) {
	for _, c := range []struct{ prefix, want string }{
		{"a", "b"}, {"a\xff", "b"}, {"a\xff\xff", "b"}, {"\x00", "\x01"}, {"a\xfe", "a\xff"},
	} {
		if got := PrefixEnd([]byte("before "), []byte(c.prefix)); string(got) != "before "+c.want {
			t.Errorf("%q ends at %q, want %q", c.prefix, got, c.want)
		}
		r := PrefixRange([]byte(c.prefix))
		if !r.holds([]byte(c.prefix)) || !r.holds([]byte(c.prefix+"\xff\xff\xff")) || r.holds([]byte(c.want)) {
			t.Errorf("%q has the wrong range", c.prefix)
		}
	}
	for _, prefix := range []string{"", "\xff", "\xff\xff"} {
		if got := PrefixEnd(nil, []byte(prefix)); got != nil {
			t.Errorf("%q ends at %q", prefix, got)
		}
		if r := PrefixRange([]byte(prefix)); !r.holds([]byte("\xff\xff\xff")) {
			t.Errorf("%q has the wrong range", prefix)
		}
	}
}

// TestTablesAreApart: no key of one client or table is in the range of another.
func TestTablesAreApart(t *testing.T) {
	conv := ConversationKey{1}
	tables := func(c Client) [][]byte {
		return [][]byte{
			c.Head(nil, nil), c.Pointers(nil), c.Incarnations(nil, conv), c.Credential(nil, nil), c.Uses(nil, nil),
			c.KeyPackage(nil, nil), c.Data(nil, nil), c.PSK(nil, nil), c.PKI(nil, nil), c.Proteus(nil, nil), c.Enrollment(nil, nil),
		}
	}
	var prefixes [][]byte
	for _, c := range []Client{0, 1, 1<<64 - 1} {
		for _, p := range tables(c) {
			if r := PrefixRange(c.Prefix(nil)); !r.holds(append(p, 0xff)) {
				t.Errorf("%x is not with its client", p)
			}
		}
		prefixes = append(prefixes, tables(c)...)
	}
	for i, a := range prefixes {
		for j, b := range prefixes {
			if i != j && bytes.HasPrefix(a, b) {
				t.Errorf("%x lies in %x", a, b)
			}
		}
	}
	// A credential's name cannot run into the next.
	if bytes.HasPrefix(Client(1).Use(nil, []byte("ab"), conv), Client(1).Uses(nil, []byte("a"))) {
		t.Error("uses of ab lie in those of a")
	}
}
