package primitive

import (
	"bytes"
	"errors"
	"testing"

	"github.com/conclave-mls/conclave/internal/secret"
)

// fuzzSuite picks a suite by any byte.
func fuzzSuite(b byte) *Suite { return &suites[int(b)%len(suites)] }

// FuzzVerify hands arbitrary bytes to the verifiers. A signature that one takes
// must be taken again in a batch, and by a key that passes its check.
func FuzzVerify(f *testing.F) {
	for i := range suites {
		s := &suites[i]
		priv, pub, err := s.GenerateSignatureKey(seedFor(s, "fuzz"))
		if err != nil {
			f.Fatal(err)
		}
		sig, err := s.Sign(priv, []byte("message"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(i), pub, []byte("message"), sig)
	}
	f.Add(byte(0), make([]byte, 32), []byte("message"), make([]byte, 64))
	f.Fuzz(func(t *testing.T, id byte, pub, message, sig []byte) {
		s := fuzzSuite(id)
		err := s.Verify(pub, message, sig)
		if err != nil && err != ErrSignature {
			t.Fatalf("Verify = %v", err)
		}
		ready := s.VerificationKey(pub)
		if again := ready.VerifyParts(sig, message); again != err {
			t.Fatalf("Verify = %v, by the key made ready %v", err, again)
		}
		batch := VerifyBatch([]Verification{{Key: ready, Sig: sig, Message: pieces(message)}})
		if err == nil && batch[0] != nil {
			t.Fatalf("Verify takes what VerifyBatch refuses: %v", batch[0])
		}
		if check := s.CheckSignatureKey(pub); check != nil && (err == nil || batch[0] == nil) {
			t.Fatalf("CheckSignatureKey = %v for a key that verifies", check)
		}
		if s.id == 1 || s.id == 3 {
			if voi, standard := bothVerify(pub, message, sig); voi != standard {
				t.Fatalf("curve25519-voi says %v, the standard library %v", voi, standard)
			}
		}
	})
}

// FuzzVerifyEach verifies some bytes as a signature together with two that a
// dishonest signer can make, and compares the verdict with that of one by one.
func FuzzVerifyEach(f *testing.F) {
	s := &suites[0]
	priv, pub, err := s.GenerateSignatureKey(seedFor(s, "fuzz"))
	if err != nil {
		f.Fatal(err)
	}
	sig, err := s.Sign(priv, []byte("message"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pub, []byte("message"), sig, byte(0), byte(0), uint16(0))
	f.Add(pub, []byte("message"), sig, byte(4), byte(4), uint16(1))
	f.Add(pub, []byte("other"), sig, byte(0), byte(0), uint16(0))
	f.Fuzz(func(t *testing.T, pub, message, sig []byte, inKey, inR byte, try uint16) {
		forged := forgers{newForger(t)}
		list := []Signed{
			forged.signature(0, int(inKey%8), int(inR%8), int(try)), {pub, message, sig},
			forged.signature(1, 0, int(inR/8%8), int(try)),
		}
		for _, list := range [][]Signed{list, list[:1], list[1:2], {list[0], list[2]}} {
			if together, apart := strictHolds(list, inSequence), oneByOne(list); together != apart {
				t.Fatalf("%d signatures: together %v, one by one %v", len(list), together, apart)
			}
		}
	})
}

// FuzzOpen hands arbitrary bytes to HPKE and the AEAD.
func FuzzOpen(f *testing.F) {
	for i := range suites {
		s := &suites[i]
		priv, pub, err := s.DeriveKeyPair(seedFor(s, "fuzz"))
		if err != nil {
			f.Fatal(err)
		}
		enc, ct, err := s.Seal(pub, []byte("info"), []byte("aad"), []byte("plain"), seedFor(s, "seal"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(i), []byte(priv), pub, enc, []byte("info"), []byte("aad"), ct)
	}
	f.Fuzz(func(t *testing.T, id byte, priv, pub, enc, info, aad, ct []byte) {
		s := fuzzSuite(id)
		plain, err := s.Open(priv, enc, info, aad, ct)
		if err != nil && err != ErrOpen && err != ErrKey {
			t.Fatalf("Open = %v", err)
		}
		again, err2 := s.OpenWithPublicKey(priv, pub, enc, info, aad, ct)
		if err2 == nil && !plain.Equal(again) {
			t.Fatalf("OpenWithPublicKey opens what Open does not: %v", err)
		}
		if own, keyErr := s.PublicKey(priv); keyErr != nil && err == nil {
			t.Fatalf("PublicKey = %v for a key that opens", keyErr)
		} else if bytes.Equal(own, pub) && !errors.Is(err2, err) {
			t.Fatalf("OpenWithPublicKey = %v, Open = %v", err2, err)
		}
		if _, err := s.OpenAEAD(nil, priv, enc, aad, ct); err == nil && len(ct) < tagSize {
			t.Fatal("OpenAEAD takes a ciphertext without a tag")
		}
		if _, err := s.ExportReceiver(priv, enc, info, aad, len(ct)); err != nil && !errors.Is(err, ErrKey) && !errors.Is(err, ErrLength) {
			t.Fatalf("ExportReceiver = %v", err)
		}
		if _, err := s.Sign(secret.Bytes(priv), ct); err != nil && err != ErrKey {
			t.Fatalf("Sign = %v", err)
		}
	})
}

// FuzzCheckPublicKey holds the checks against use: one can encrypt to the keys
// that pass, and to no other.
func FuzzCheckPublicKey(f *testing.F) {
	for i := range suites {
		s := &suites[i]
		_, pub, err := s.DeriveKeyPair(seedFor(s, "fuzz"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(i), pub)
	}
	for i := range x25519SmallOrder {
		f.Add(byte(0), x25519SmallOrder[i][:])
	}
	f.Fuzz(func(t *testing.T, id byte, pub []byte) {
		s := fuzzSuite(id)
		check := s.CheckPublicKey(pub)
		if check != nil && check != ErrKey {
			t.Fatalf("CheckPublicKey = %v", check)
		}
		if _, _, err := s.Seal(pub, nil, nil, nil, seedFor(s, "seal")); (err == nil) != (check == nil) {
			t.Fatalf("CheckPublicKey = %v, Seal = %v", check, err)
		}
		if err := s.CheckSignatureKey(pub); err != nil && err != ErrKey {
			t.Fatalf("CheckSignatureKey = %v", err)
		}
	})
}
