package proteus

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"testing"
)

// TestConversation has two devices talk over a network that loses, repeats and
// reorders, with both beginning sessions anew now and then. What the protocol
// promises is what arrives: each message at most once, and every one that comes
// within the window.
func TestConversation(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { converse(t, seed) })
	}
}

type flying struct {
	envelope []byte
	text     string
	in       int // arrives after so many turns
	lost     bool
}

func converse(t *testing.T, seed uint64) {
	random := draw(seed)
	roll := rand.New(random)
	p := newPair(t, random)
	sessions := [2]*Session{p.aliceSession, p.bobSession}
	identities := [2]*Identity{p.alice, p.bob}
	var network [2][]flying // to each side
	var read [2]map[string]bool
	read[0], read[1] = make(map[string]bool), make(map[string]bool)
	lastResort, err := NewPreKey(random, LastResort)
	if err != nil {
		t.Fatal(err)
	}
	delivered, repeated := 0, 0
	deliver := func(to int, f flying) {
		m, err := ParseMessage(f.envelope)
		if err != nil {
			t.Fatal(err)
		}
		before := sessions[to].Marshal()
		got, err := sessions[to].Decrypt(random, m, lastResort)
		if !bytes.Equal(before, sessions[to].Marshal()) {
			t.Fatal("the session has changed under its holder")
		}
		if read[to][f.text] {
			// Only a message of the last resort can be read twice, and not in a session
			// that still has its state.
			if err == nil {
				t.Fatalf("%q is read twice", f.text)
			}
			repeated++
			return
		}
		if err != nil {
			t.Fatalf("%q: %v", f.text, err)
		}
		if string(got.Plaintext) != f.text {
			t.Fatalf("%q arrives as %q", f.text, got.Plaintext)
		}
		sessions[to] = got.Session
		if roll.IntN(8) == 0 { // a restart
			if sessions[to], err = ParseSession(identities[to], got.Session.Marshal()); err != nil {
				t.Fatal(err)
			}
		}
		read[to][f.text] = true
		delivered++
	}
	for turn := range 250 {
		from := roll.IntN(2)
		if roll.IntN(60) == 0 {
			fresh, err := NewSession(random, identities[from], lastResort.Bundle(identities[1-from].PublicKey()))
			if err != nil {
				t.Fatal(err)
			}
			// A device that begins anew keeps what it had: one session, one more state.
			next := sessions[from].clone()
			next.insert(fresh.tag, fresh.states[0].state)
			next.pending = fresh.pending
			sessions[from] = next
		}
		text := fmt.Sprintf("%d from %d", turn, from)
		next, envelope, err := sessions[from].Encrypt([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		sessions[from] = next
		f := flying{envelope, text, roll.IntN(4), roll.IntN(10) == 0}
		network[1-from] = append(network[1-from], f)
		if roll.IntN(8) == 0 {
			network[1-from] = append(network[1-from], f)
		}
		for to := range network {
			var later []flying
			for _, f := range network[to] {
				if f.in--; f.in >= 0 {
					later = append(later, f)
				} else if !f.lost {
					deliver(to, f)
				}
			}
			network[to] = later
		}
	}
	if delivered < 150 || repeated == 0 {
		t.Errorf("%d delivered, %d repeated", delivered, repeated)
	}
}

// TestFailedStep holds every error against the promise that nothing has changed.
func TestFailedStep(t *testing.T) {
	random := draw(7)
	p := newPair(t, random)
	other := newPair(t, random)
	_, foreign, err := other.aliceSession.Encrypt([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	next, envelope, err := p.aliceSession.Encrypt([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	_ = next
	forged := bytes.Clone(envelope)
	forged[len(forged)-1] ^= 1
	_, plain, err := p.bobSession.Encrypt([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		envelope []byte
		preKey   *PreKey
		want     error
	}{
		{"another device's", foreign, p.preKey, ErrRemoteIdentityChanged},
		{"forged, prekey gone", forged, nil, ErrPreKeyNotFound},
		{"forged, another prekey", forged, &PreKey{id: 9}, ErrPreKeyNotFound},
		{"forged", forged, p.preKey, ErrInvalidSignature},
		{"own", plain, nil, ErrInvalidSignature},
	} {
		m, err := ParseMessage(c.envelope)
		if err != nil {
			t.Fatal(err)
		}
		before := p.bobSession.Marshal()
		if _, err := p.bobSession.Decrypt(random, m, c.preKey); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if !bytes.Equal(before, p.bobSession.Marshal()) {
			t.Errorf("%s: the session has changed", c.name)
		}
	}
	if _, err := Accept(random, p.alice, mustMessage(t, plain), p.preKey); !errors.Is(err, ErrInvalidMessage) {
		t.Errorf("a session begun by a later message: %v", err)
	}
	if _, _, err := p.aliceSession.Encrypt(make([]byte, MaxPlaintext+1)); !errors.Is(err, ErrTooLong) {
		t.Errorf("a plaintext that is too long: %v", err)
	}
	if _, envelope, err := p.aliceSession.Encrypt(make([]byte, MaxPlaintext)); err != nil {
		t.Error(err)
	} else if _, err := p.bobSession.Decrypt(random, mustMessage(t, envelope), nil); err != nil {
		t.Errorf("the longest plaintext: %v", err)
	}
	st := p.aliceSession.states[0]
	st.send.chain.index = math.MaxUint32
	if _, _, err := p.aliceSession.Encrypt(nil); !errors.Is(err, ErrExhausted) {
		t.Errorf("a chain that is used up: %v", err)
	}
	for n := range 80 {
		if _, err := NewSession(io.LimitReader(random, int64(n)), p.alice, p.preKey.Bundle(p.bob.PublicKey())); err == nil {
			t.Errorf("a session from %d random bytes", n)
		}
	}
}

func mustMessage(t testing.TB, envelope []byte) *Message {
	t.Helper()
	m, err := ParseMessage(envelope)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestTruncated cuts every kind of object at every byte.
func TestTruncated(t *testing.T) {
	p := newPair(t, draw(3))
	bundle := p.preKey.Bundle(p.bob.PublicKey())
	bundle.Sign(p.bob)
	_, first, err := p.aliceSession.Encrypt([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		b     []byte
		parse func([]byte) error
	}{
		"identity": {p.alice.Marshal(), func(b []byte) error { _, err := ParseIdentity(b); return err }},
		"prekey":   {p.preKey.Marshal(), func(b []byte) error { _, err := ParsePreKey(b); return err }},
		"bundle":   {bundle.Marshal(), func(b []byte) error { _, err := ParsePreKeyBundle(b); return err }},
		"message":  {first, func(b []byte) error { _, err := ParseMessage(b); return err }},
		"session":  {p.bobSession.Marshal(), func(b []byte) error { _, err := ParseSession(p.bob, b); return err }},
	} {
		if err := c.parse(c.b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for n := range c.b {
			if err := c.parse(c.b[:n]); !errors.Is(err, ErrDecode) && !errors.Is(err, ErrTruncated) {
				t.Errorf("%s cut at %d: %v", name, n, err)
			}
		}
	}
}

// TestWipe looks for what a wiped session has left.
func TestWipe(t *testing.T) {
	p := newPair(t, draw(4))
	keep := p.aliceSession.clone()
	want := keep.Marshal()
	p.aliceSession.Wipe()
	if st := p.aliceSession.states[0]; st.root != (key{}) || st.send.chain.key != (key{}) || st.send.ratchet.seed != (key{}) || st.receive[0].chain.key != (key{}) {
		t.Error("secrets are left")
	}
	if !bytes.Equal(keep.Marshal(), want) {
		t.Error("wiping one session has touched another")
	}
}

func BenchmarkEncrypt(b *testing.B) {
	s := newPair(b, draw(1)).bobSession
	text := make([]byte, 1024)
	b.ReportAllocs()
	for b.Loop() {
		next, _, err := s.Encrypt(text)
		if err != nil {
			b.Fatal(err)
		}
		s = next
	}
}

func BenchmarkDecrypt(b *testing.B) {
	p := newPair(b, draw(1))
	from, to := p.bobSession, p.aliceSession
	text := make([]byte, 1024)
	envelopes := make([][]byte, 1000)
	var err error
	for i := range envelopes {
		if from, envelopes[i], err = from.Encrypt(text); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	s, i := to, 0
	for b.Loop() {
		if i == len(envelopes) {
			s, i = to, 0
		}
		m, err := ParseMessage(envelopes[i])
		if err != nil {
			b.Fatal(err)
		}
		got, err := s.Decrypt(draw(1), m, nil)
		if err != nil {
			b.Fatal(err)
		}
		s = got.Session
		i++
	}
}

func BenchmarkParseSession(b *testing.B) {
	p := newPair(b, draw(1))
	stored := p.bobSession.Marshal()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseSession(p.bob, stored); err != nil {
			b.Fatal(err)
		}
	}
}
