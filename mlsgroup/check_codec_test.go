package mlsgroup

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// refusedEncoding reads b as a value of a wire type. Every check of the codec
// is an ErrDecode too.
func refusedEncoding(t *testing.T, typ string, b []byte) error {
	t.Helper()
	_, err := wireTypes[typ].parse(b)
	if err != nil && !errors.Is(err, ErrDecode) {
		t.Errorf("%v is no ErrDecode", err)
	}
	return err
}

var codecRefused = []checkCase{
	{"2.1.1-1", func(t *testing.T) error {
		// A commit without proposals and with neither a path nor none.
		return refusedEncoding(t, "Commit", []byte{0, 2})
	}},
	{"2.1.2-1", func(t *testing.T) error {
		// One byte of kem_output, its length in two.
		return refusedEncoding(t, "HPKECiphertext", []byte{0x40, 0x01, 7, 0})
	}},
	{"2.1.2-2", func(t *testing.T) error {
		return refusedEncoding(t, "HPKECiphertext", []byte{0xc0, 0, 0, 0, 0, 0, 0, 0, 0})
	}},
	{"7.1-1", func(t *testing.T) error {
		f := newForger(t)
		_, key := f.encryptionKey()
		p := ParentNode{EncryptionKey: key, UnmergedLeaves: []LeafIndex{2, 3, 3}}
		return refusedEncoding(t, "ParentNode", p.append(nil))
	}},
	{"10-5", func(t *testing.T) error {
		f := newForger(t)
		kp := f.keyPackage(f.client("alice"), nil, func(kp *KeyPackage) { kp.Version = 2 })
		m := MLSMessage{Version: ProtocolVersionMLS10, WireFormat: WireFormatKeyPackage, KeyPackage: kp}
		return refusedEncoding(t, "MLSMessage", m.Marshal())
	}},
	{"12.4.3.3-2/blank", func(t *testing.T) error {
		f := newForger(t)
		body := f.tree(f.clients("alice", "bob")...).Marshal()
		var r reader
		r.b = body
		nodes := append(bytes.Clone(r.opaque()), 0, 0)
		_, err := ParseRatchetTree(appendOpaque(nil, nodes))
		return err
	}},
	{"12.4.3.3-2/empty", func(*testing.T) error {
		_, err := ParseRatchetTree([]byte{0})
		return err
	}},
	{"12.4.3.3-3", func(t *testing.T) error {
		// Two leaves side by side, without a parent's place between them.
		f := newForger(t)
		b := appendVector(nil, func(b []byte) []byte {
			for _, c := range f.clients("alice", "bob") {
				b = f.leafNode(c, nil).append(append(b, 1, byte(NodeTypeLeaf)))
			}
			return b
		})
		_, err := ParseRatchetTree(b)
		return err
	}},
	{"13.4-4/received", func(t *testing.T) error {
		f := newForger(t)
		kp := f.keyPackage(f.client("alice"), nil, func(kp *KeyPackage) {
			kp.Extensions = Extensions{{Type: 0xff00, Body: []byte("a")}, {Type: 0xff01}, {Type: 0xff00, Body: []byte("b")}}
		})
		return refusedEncoding(t, "KeyPackage", kp.Marshal())
	}},
}

var codecConstructed = []checkCase{
	{"2.1.2-3", func(t *testing.T) error {
		for _, v := range []int{0, 63, 64, 16383, 16384, maxVector} {
			want := 1
			if v > 63 {
				want = 2
			}
			if v > 16383 {
				want = 4
			}
			if got := len(appendVarint(nil, v)); got != want {
				return fmt.Errorf("length %d took %d bytes, want %d", v, got, want)
			}
		}
		return nil
	}},
	{"12.4.3.3-1", func(t *testing.T) error {
		// The fourth member leaves, the third is the last node that is not blank.
		f := newForger(t)
		e := f.tree(f.clients("alice", "bob", "carol", "dave")...).edit(f.s)
		e.remove(3)
		tree := e.finish(nil)
		r := reader{b: tree.Marshal()}
		last := tree.Leaf(2).append([]byte{1, byte(NodeTypeLeaf)})
		if !bytes.HasSuffix(r.opaque(), last) {
			return errors.New("the last node is not the last leaf")
		}
		return r.done()
	}},
	{"12.4.3.3-4", func(t *testing.T) error {
		f := newForger(t)
		tree := f.tree(f.clients("alice", "bob", "carol")...)
		b := tree.Marshal()
		got, err := ParseRatchetTree(b)
		if err != nil {
			return err
		}
		if got.LeafCount() != 4 || got.MemberCount() != 3 {
			return fmt.Errorf("%d leaves, %d members", got.LeafCount(), got.MemberCount())
		}
		if !bytes.Equal(got.withHashes(f.s, nil).rootHash(), tree.rootHash()) {
			return errors.New("another tree hash")
		}
		return nil
	}},
}
