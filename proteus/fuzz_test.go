package proteus

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"testing"
)

// draw is randomness by a seed.
func draw(seed uint64) *rand.ChaCha8 {
	var b [32]byte
	b[0], b[1] = byte(seed), byte(seed>>8)
	return rand.NewChaCha8(b)
}

// pair is two devices, and a session of each with the other.
type pair struct {
	alice, bob               *Identity
	preKey                   *PreKey
	aliceSession, bobSession *Session
}

func newPair(t testing.TB, rand *rand.ChaCha8) *pair {
	t.Helper()
	p := new(pair)
	var err error
	must := func() {
		if err != nil {
			t.Fatal(err)
		}
	}
	p.alice, err = NewIdentity(rand)
	must()
	p.bob, err = NewIdentity(rand)
	must()
	p.preKey, err = NewPreKey(rand, 1)
	must()
	p.aliceSession, err = NewSession(rand, p.alice, p.preKey.Bundle(p.bob.PublicKey()))
	must()
	next, envelope, err := p.aliceSession.Encrypt([]byte("hello"))
	must()
	m, err := ParseMessage(envelope)
	must()
	got, err := Accept(rand, p.bob, m, p.preKey)
	must()
	p.aliceSession, p.bobSession = next, got.Session
	return p
}

// recode holds a decoder against its encoder: what is read can be written, and reads
// and writes as the same.
func recode[T any](t *testing.T, b []byte, parse func([]byte) (T, error), marshal func(T) []byte) {
	v, err := parse(b)
	if err != nil {
		return
	}
	first := marshal(v)
	again, err := parse(first)
	if err != nil {
		t.Fatalf("%x is written as %x, which does not parse: %v", b, first, err)
	}
	if second := marshal(again); !bytes.Equal(first, second) {
		t.Fatalf("%x is written as %x, then as %x", b, first, second)
	}
}

func FuzzIdentity(f *testing.F) {
	p := newPair(f, draw(1))
	f.Add([]byte(p.alice.Marshal()))
	f.Fuzz(func(t *testing.T, b []byte) {
		recode(t, b, ParseIdentity, func(i *Identity) []byte { return i.Marshal() })
	})
}

func FuzzPreKey(f *testing.F) {
	p := newPair(f, draw(1))
	f.Add([]byte(p.preKey.Marshal()))
	f.Fuzz(func(t *testing.T, b []byte) {
		recode(t, b, ParsePreKey, func(k *PreKey) []byte { return k.Marshal() })
	})
}

func FuzzPreKeyBundle(f *testing.F) {
	p := newPair(f, draw(1))
	bundle := p.preKey.Bundle(p.bob.PublicKey())
	f.Add(bundle.Marshal())
	bundle.Sign(p.bob)
	f.Add(bundle.Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		recode(t, b, ParsePreKeyBundle, PreKeyBundle.Marshal)
	})
}

// FuzzSession reads sessions of one identity, whoever they claim to belong to.
func FuzzSession(f *testing.F) {
	p := newPair(f, draw(1))
	f.Add([]byte(p.bobSession.Marshal()))
	next, _, err := p.bobSession.Encrypt(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(next.Marshal()))
	f.Fuzz(func(t *testing.T, b []byte) {
		recode(t, b, func(b []byte) (*Session, error) { return ParseSession(p.bob, b) },
			func(s *Session) []byte { return s.Marshal() })
	})
}

// FuzzMessage gives envelopes, authentic or not, to a session that knows the sender.
func FuzzMessage(f *testing.F) {
	p := newPair(f, draw(1))
	_, first, err := p.aliceSession.Encrypt([]byte("again"))
	if err != nil {
		f.Fatal(err)
	}
	_, later, err := p.bobSession.Encrypt([]byte("answer"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(first)
	f.Add(later)
	before := p.bobSession.Marshal()
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMessage(b)
		if err != nil {
			return
		}
		got, err := p.bobSession.Decrypt(draw(2), m, p.preKey)
		if !bytes.Equal(p.bobSession.Marshal(), before) {
			t.Fatalf("%x has changed the session", b)
		}
		if err == nil && string(got.Plaintext) != "again" {
			t.Fatalf("%x is a forgery: %q", b, got.Plaintext)
		}
		if _, err := Accept(draw(2), p.bob, m, p.preKey); err == nil && string(got.Plaintext) != "again" {
			t.Fatalf("%x begins a session", b)
		}
	})
}

// TestWrittenMessage holds the form of an envelope against the one in the reference,
// byte for byte, so that peers who authenticate their own encoding can read it.
func TestWrittenMessage(t *testing.T) {
	p := newPair(t, draw(1))
	_, envelope, err := p.bobSession.Encrypt([]byte("xyz"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := ParseMessage(envelope)
	if err != nil {
		t.Fatal(err)
	}
	want := "a3000101a1005820" + hex.EncodeToString(m.mac[:]) + "025842" +
		"01a50050" + hex.EncodeToString(m.tag[:]) + "010002" + "00" + "03a1005820" + hex.EncodeToString(m.ratchet[:]) + "0443" + hex.EncodeToString(m.ciphertext)
	if got := hex.EncodeToString(envelope); got != want {
		t.Errorf("envelope\n%s, want\n%s", got, want)
	}
}
