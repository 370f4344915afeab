package primitive

import (
	"bytes"
	"crypto/elliptic"
	"encoding/asn1"
	"math/big"
	"testing"

	"github.com/cloudflare/circl/ecc/goldilocks"
	"github.com/cloudflare/circl/sign/ed448"

	"github.com/conclave-mls/conclave/internal/secret"
)

func TestSignatures(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *Suite) {
		priv, pub, err := s.GenerateSignatureKey(seedFor(s, "signer"))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.CheckSignatureKey(pub); err != nil {
			t.Errorf("CheckSignatureKey of our own: %v", err)
		}
		if again, err := s.SignaturePublicKey(priv); err != nil || !bytes.Equal(again, pub) {
			t.Errorf("SignaturePublicKey = %x, %v, want %x", again, err, pub)
		}
		expanded, err := s.ExpandSignatureKey(priv)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := s.ExpandSignatureKey(expanded); err != nil || !again.Equal(expanded) {
			t.Errorf("ExpandSignatureKey of an expanded key = %x, %v, want %x", []byte(again), err, []byte(expanded))
		}
		if again, err := s.SignaturePublicKey(expanded); err != nil || !bytes.Equal(again, pub) {
			t.Errorf("SignaturePublicKey of an expanded key = %x, %v, want %x", again, err, pub)
		}
		for _, key := range []secret.Bytes{priv, expanded} {
			if half := s.PrivateHalf(key); !half.Equal(priv) {
				t.Errorf("PrivateHalf of %d bytes = %x, want %x", len(key), []byte(half), []byte(priv))
			}
		}
		if len(expanded) <= len(priv) || s.PrivateHalf(priv[:3]).Equal(priv) {
			t.Error("the expanded form is no longer than the stored one, or a short key is lengthened")
		}
		for n := range 8 {
			message := material("message", n*50)
			sig, err := s.Sign(priv, message)
			if err != nil {
				t.Fatal(err)
			}
			if fast, err := s.Sign(expanded, message); err != nil || !bytes.Equal(fast, sig) {
				t.Errorf("Sign by the expanded key = %x, %v, want %x", fast, err, sig)
			}
			if err := s.Verify(pub, message, sig); err != nil {
				t.Errorf("Verify of our own: %v", err)
			}
			if err := s.VerifyParts(pub, sig, message[:n], nil, message[n:]); err != nil {
				t.Errorf("VerifyParts of our own: %v", err)
			}
			if err := s.VerifyParts(pub, sig, message, []byte{0}); err != ErrSignature {
				t.Errorf("VerifyParts of another message = %v, want %v", err, ErrSignature)
			}
			if err := s.Verify(pub, append(message, 0), sig); err != ErrSignature {
				t.Errorf("Verify of another message = %v, want %v", err, ErrSignature)
			}
			if err := s.Verify(pub, message, append(sig, 0)); err != ErrSignature {
				t.Errorf("Verify with a trailing byte = %v, want %v", err, ErrSignature)
			}
		}
	})
}

// TestRFC6979 is appendix A.2.5 of RFC 6979: P-256 with SHA-256, "sample".
func TestRFC6979(t *testing.T) {
	s, _ := Lookup(2)
	sig, err := s.Sign(unhex(t, "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"), []byte("sample"))
	if err != nil {
		t.Fatal(err)
	}
	want := rawSignature{
		new(big.Int).SetBytes(unhex(t, "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716")),
		new(big.Int).SetBytes(unhex(t, "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8")),
	}
	if wantDER := der(t, want); !bytes.Equal(sig, wantDER) {
		t.Errorf("Sign = %x, want %x", sig, wantDER)
	}
}

type rawSignature struct{ R, S *big.Int }

func der(t *testing.T, sig rawSignature) []byte {
	t.Helper()
	b, err := asn1.Marshal(sig)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestECDSAForms checks which encodings of keys and signatures pass.
func TestECDSAForms(t *testing.T) {
	for _, id := range []uint16{2, 5, 7} {
		s, _ := Lookup(id)
		curve := s.sig.(*ecdsaScheme).curve
		priv, pub, err := s.GenerateSignatureKey(seedFor(s, "signer"))
		if err != nil {
			t.Fatal(err)
		}
		message := []byte("message")
		sig, err := s.Sign(priv, message)
		if err != nil {
			t.Fatal(err)
		}
		var raw rawSignature
		if rest, err := asn1.Unmarshal(sig, &raw); err != nil || len(rest) > 0 {
			t.Fatalf("suite %d: our signature is not DER: %v", id, err)
		}

		size := s.sig.privateSize()
		x, y := new(big.Int).SetBytes(pub[1:1+size]), new(big.Int).SetBytes(pub[1+size:])
		compressed := elliptic.MarshalCompressed(curve, x, y)
		otherSign := bytes.Clone(compressed)
		otherSign[0] ^= 1
		offCurve := bytes.Clone(pub)
		offCurve[len(offCurve)-1] ^= 1
		hybrid := bytes.Clone(pub)
		hybrid[0] = 6 + byte(y.Bit(0))
		for _, tt := range []struct {
			name     string
			pub      []byte
			isKey    bool
			verifies bool
		}{
			{"uncompressed", pub, true, true},
			{"compressed", compressed, true, true},
			{"compressed, other sign", otherSign, true, false},
			{"off the curve", offCurve, false, false},
			{"hybrid", hybrid, false, false},
			{"infinity", []byte{0}, false, false},
			{"coordinates alone", pub[1:], false, false},
			{"compressed, out of range", append([]byte{2}, bytes.Repeat([]byte{0xff}, size)...), false, false},
		} {
			if got := s.CheckSignatureKey(tt.pub) == nil; got != tt.isKey {
				t.Errorf("suite %d: CheckSignatureKey of %s accepts %v, want %v", id, tt.name, got, tt.isKey)
			}
			if got := s.Verify(tt.pub, message, sig) == nil; got != tt.verifies {
				t.Errorf("suite %d: Verify by %s accepts %v, want %v", id, tt.name, got, tt.verifies)
			}
		}

		order := curve.Params().N
		body := sig[2:]
		if sig[1] >= 0x80 {
			body = sig[3:]
		}
		// The integer r with one leading zero more than it needs.
		zeroFirst := append([]byte{body[0], body[1] + 1, 0}, body[2:]...)
		for _, tt := range []struct {
			name string
			sig  []byte
		}{
			{"bare r and s", append(raw.R.FillBytes(make([]byte, size)), raw.S.FillBytes(make([]byte, size))...)},
			{"indefinite length", append(append([]byte{0x30, 0x80}, body...), 0, 0)},
			{"needless zero", sequence(zeroFirst)},
			{"r alone", sequence(body[:2+body[1]])},
			{"r + n", der(t, rawSignature{new(big.Int).Add(raw.R, order), raw.S})},
			{"s + n", der(t, rawSignature{raw.R, new(big.Int).Add(raw.S, order)})},
			{"zero r", der(t, rawSignature{new(big.Int), raw.S})},
			{"zero s", der(t, rawSignature{raw.R, new(big.Int)})},
			{"zeros", der(t, rawSignature{new(big.Int), new(big.Int)})},
			{"negative r", der(t, rawSignature{new(big.Int).Neg(raw.R), raw.S})},
			{"long length", longLength(sig)},
		} {
			if err := s.Verify(pub, message, tt.sig); err != ErrSignature {
				t.Errorf("suite %d: Verify of %s = %v, want %v", id, tt.name, err, ErrSignature)
			}
		}
		for _, scalar := range [][]byte{{}, {0}, make([]byte, size), order.FillBytes(make([]byte, size)), make([]byte, size+1)} {
			if _, err := s.Sign(scalar, message); err != ErrKey {
				t.Errorf("suite %d: Sign by scalar %x = %v, want %v", id, scalar, err, ErrKey)
			}
		}
	}
}

// sequence is a DER sequence of fewer than 256 bytes.
func sequence(body []byte) []byte {
	if len(body) < 0x80 {
		return append([]byte{0x30, byte(len(body))}, body...)
	}
	return append([]byte{0x30, 0x81, byte(len(body))}, body...)
}

// longLength encodes the length of a sequence in one byte more than DER does.
func longLength(sig []byte) []byte {
	if sig[1] < 0x80 {
		return append([]byte{0x30, 0x81, sig[1]}, sig[2:]...)
	}
	return append([]byte{0x30, 0x82, 0, sig[2]}, sig[3:]...)
}

// TestEd448SmallOrderKey checks the keys for which R = [S]B signs many messages.
func TestEd448SmallOrderKey(t *testing.T) {
	s, _ := Lookup(4)
	one := new(goldilocks.Scalar)
	one[0] = 1
	r := make([]byte, ed448.PublicKeySize)
	if err := (goldilocks.Curve{}).ScalarBaseMult(one).ToBytes(r); err != nil {
		t.Fatal(err)
	}
	sig := append(r, make([]byte, ed448.PublicKeySize)...)
	sig[ed448.PublicKeySize] = 1
	taken := 0
	for i := range ed448SmallOrder {
		for _, top := range []byte{0, 0x80} {
			pub := ed448SmallOrder[i]
			pub[56] |= top
			if err := s.CheckSignatureKey(pub[:]); err != ErrKey {
				t.Errorf("CheckSignatureKey(%x) = %v, want %v", pub, err, ErrKey)
			}
			for n := range 16 {
				message := []byte{byte(n)}
				if ed448.Verify(pub[:], message, sig, "") {
					taken++
				}
				if err := s.Verify(pub[:], message, sig); err != ErrSignature {
					t.Errorf("Verify by %x = %v, want %v", pub, err, ErrSignature)
				}
			}
		}
	}
	if taken < 16 {
		t.Errorf("circl took %d of these signatures: they are not what they should be", taken)
	}
}

// TestSeparateUses checks that one seed does not give related keys to HPKE and
// to signatures.
func TestSeparateUses(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *Suite) {
		seed := seedFor(s, "both")
		encryption, _, err := s.DeriveKeyPair(seed)
		if err != nil {
			t.Fatal(err)
		}
		signature, _, err := s.GenerateSignatureKey(seed)
		if err != nil {
			t.Fatal(err)
		}
		if n := min(len(encryption), len(signature)); secret.Bytes(encryption[:n]).Equal(signature[:n]) {
			t.Error("one seed gives one key for two uses")
		}
	})
}
