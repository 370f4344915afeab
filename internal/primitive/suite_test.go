package primitive

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/conclave-mls/conclave/internal/secret"
)

// eachSuite runs f for the seven suites.
func eachSuite(t *testing.T, f func(t *testing.T, s *Suite)) {
	t.Helper()
	for id := uint16(1); id <= 7; id++ {
		s, ok := Lookup(id)
		if !ok {
			t.Fatalf("no suite %d", id)
		}
		t.Run(fmt.Sprintf("suite%d", id), func(t *testing.T) { f(t, s) })
	}
}

// material returns n bytes that depend on label alone.
func material(label string, n int) []byte {
	s, _ := Lookup(5)
	out := make([]byte, n)
	if err := s.ExpandInto(out, []byte("test material"), []byte(label)); err != nil {
		panic(err)
	}
	return out
}

func seedFor(s *Suite, label string) secret.Bytes { return material(label, s.SeedSize()) }

func TestLookup(t *testing.T) {
	for _, id := range []uint16{0, 8, 9, 0x0a0a, 0xf000, 0xffff} {
		if s, ok := Lookup(id); ok || s != nil {
			t.Errorf("Lookup(%#x) = %v, %v, want nothing", id, s, ok)
		}
	}
	tests := []struct {
		id               uint16
		hash, key, seed  int
		scheme           uint16
		private, public  int
		kem, kdf, aeadID byte
	}{
		{1, 32, 16, 32, 0x0807, 32, 32, 0x20, 1, 1},
		{2, 32, 16, 32, 0x0403, 32, 65, 0x10, 1, 1},
		{3, 32, 32, 32, 0x0807, 32, 32, 0x20, 1, 3},
		{4, 64, 32, 57, 0x0808, 56, 56, 0x21, 3, 2},
		{5, 64, 32, 66, 0x0603, 66, 133, 0x12, 3, 2},
		{6, 64, 32, 57, 0x0808, 56, 56, 0x21, 3, 3},
		{7, 48, 32, 48, 0x0503, 48, 97, 0x11, 2, 2},
	}
	for _, tt := range tests {
		s, ok := Lookup(tt.id)
		if !ok || s.ID() != tt.id {
			t.Fatalf("Lookup(%d) = %v, %v", tt.id, s, ok)
		}
		if s.HashSize() != tt.hash || s.NewHash().Size() != tt.hash || s.KeySize() != tt.key || s.NonceSize() != 12 ||
			s.TagSize() != 16 || s.SeedSize() != tt.seed || s.SignatureScheme() != tt.scheme {
			t.Errorf("suite %d: sizes %d %d %d %d %d %d, scheme %#x", tt.id, s.HashSize(), s.NewHash().Size(), s.KeySize(),
				s.NonceSize(), s.TagSize(), s.SeedSize(), s.SignatureScheme())
		}
		if want := [10]byte{'H', 'P', 'K', 'E', 0, tt.kem, 0, tt.kdf, 0, tt.aeadID}; s.hpkeID != want {
			t.Errorf("suite %d: suite_id %x, want %x", tt.id, s.hpkeID, want)
		}
		priv, pub, err := s.DeriveKeyPair(seedFor(s, "sizes"))
		if err != nil || len(priv) != tt.private || len(pub) != tt.public {
			t.Errorf("suite %d: DeriveKeyPair gives %d and %d bytes, %v", tt.id, len(priv), len(pub), err)
		}
	}
}

// TestMalformedArguments hands bytes of every length up to a little more than
// the longest key to each method: errors are fine, panics and successes are not.
func TestMalformedArguments(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *Suite) {
		seed := seedFor(s, "malformed")
		priv, pub, err := s.DeriveKeyPair(seed)
		if err != nil {
			t.Fatal(err)
		}
		sigPriv, sigPub, err := s.GenerateSignatureKey(seed)
		if err != nil {
			t.Fatal(err)
		}
		key, nonce := make(secret.Bytes, s.KeySize()), make(secret.Bytes, s.NonceSize())
		message := []byte("message")
		sig, err := s.Sign(sigPriv, message)
		if err != nil {
			t.Fatal(err)
		}
		want := func(what string, n int, got, want error) {
			t.Helper()
			if !errors.Is(got, want) {
				t.Errorf("%s with %d bytes: %v, want %v", what, n, got, want)
			}
		}
		step := 1
		if s.ID() == 5 {
			step = 7 // P-521 is slow
		}
		for n := 0; n < 150; n += step {
			// Zeros are no scalar and no point; ones are out of range or off the curve.
			for _, b := range [][]byte{make([]byte, n), bytes.Repeat([]byte{0xff}, n)} {
				// A public key of Curve25519 or Curve448 is any string of its size.
				if n != len(pub) || s.kem.topMask != 0 {
					want("CheckPublicKey", n, s.CheckPublicKey(b), ErrKey)
					_, _, err := s.Seal(b, nil, nil, nil, seed)
					want("Seal", n, err, ErrKey)
					_, err = s.Open(priv, b, nil, nil, make([]byte, 16))
					want("Open", n, err, ErrKey)
					_, err = s.ExportReceiver(priv, b, nil, nil, 32)
					want("ExportReceiver", n, err, ErrKey)
					_, _, err = s.ExportSender(b, nil, nil, 32, seed)
					want("ExportSender", n, err, ErrKey)
				}
				if n > len(priv) || n < len(priv) && s.kem.topMask == 0 {
					_, err := s.PublicKey(b)
					want("PublicKey", n, err, ErrKey)
					_, err = s.Open(b, pub, nil, nil, make([]byte, 16))
					want("Open", n, err, ErrKey)
				}
				if n != s.SeedSize() {
					_, _, err := s.Seal(pub, nil, nil, nil, b)
					want("Seal seed", n, err, ErrLength)
					_, _, err = s.GenerateSignatureKey(b)
					want("GenerateSignatureKey", n, err, ErrLength)
				}
				if n != s.KeySize() {
					_, err := s.SealAEAD(nil, b, nonce, nil, nil)
					want("SealAEAD key", n, err, ErrKey)
					_, err = s.OpenAEAD(nil, b, nonce, nil, make([]byte, 16))
					want("OpenAEAD key", n, err, ErrKey)
				}
				if n != s.NonceSize() {
					_, err := s.SealAEAD(nil, key, b, nil, nil)
					want("SealAEAD nonce", n, err, ErrLength)
					_, err = s.OpenAEAD(nil, key, b, nil, make([]byte, 16))
					want("OpenAEAD nonce", n, err, ErrLength)
				}
				_, err := s.OpenAEAD(nil, key, nonce, nil, b)
				want("OpenAEAD", n, err, ErrOpen)
				want("Verify", n, s.Verify(sigPub, message, b), ErrSignature)
				want("Verify key", n, s.Verify(b, message, sig), ErrSignature)
				want("CheckSignatureKey", n, s.CheckSignatureKey(b), ErrKey)
				if n > maxPrivateSize && n != 114 && n != 97 && n != 145 && n != 199 { // expanded keys of Ed448 and ECDSA
					_, err := s.Sign(b, message)
					want("Sign", n, err, ErrKey)
					_, err = s.SignaturePublicKey(b)
					want("SignaturePublicKey", n, err, ErrKey)
					_, err = s.ExpandSignatureKey(b)
					want("ExpandSignatureKey", n, err, ErrKey)
				}
			}
		}
		for _, n := range []int{-1, 255*s.HashSize() + 1, math.MaxInt32} {
			_, err := s.Expand(key, nil, n)
			want("Expand", n, err, ErrLength)
			_, _, err = s.ExportSender(pub, nil, nil, n, seed)
			want("ExportSender", n, err, ErrLength)
			_, err = s.ExportReceiver(priv, pub, nil, nil, n)
			want("ExportReceiver", n, err, ErrLength)
		}
	})
}

// TestDeterminism checks that what takes a seed depends on it, and on nothing
// else.
func TestDeterminism(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *Suite) {
		run := func(label string) []byte {
			seed := seedFor(s, label)
			_, to, err := s.DeriveKeyPair(seedFor(s, "receiver"))
			if err != nil {
				t.Fatal(err)
			}
			enc, ct, err := s.Seal(to, []byte("info"), []byte("aad"), []byte("plaintext"), seed)
			if err != nil {
				t.Fatal(err)
			}
			enc2, exported, err := s.ExportSender(to, []byte("info"), []byte("context"), 40, seed)
			if err != nil || !bytes.Equal(enc, enc2) {
				t.Fatalf("ExportSender: enc %x, %v, want %x", enc2, err, enc)
			}
			priv, pub, err := s.GenerateSignatureKey(seed)
			if err != nil {
				t.Fatal(err)
			}
			sig, err := s.Sign(priv, []byte("message"))
			if err != nil {
				t.Fatal(err)
			}
			return bytes.Join([][]byte{enc, ct, exported, priv, pub, sig}, nil)
		}
		a, b := run("a"), run("b")
		if !bytes.Equal(a, run("a")) {
			t.Error("the same seed gave other bytes")
		}
		if bytes.Equal(a, b) {
			t.Error("two seeds gave the same bytes")
		}
	})
}
