package primitive

import (
	"bytes"
	"crypto/ecdh"
	stdhpke "crypto/hpke"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/cloudflare/circl/dh/x448"
	circlhpke "github.com/cloudflare/circl/hpke"

	"github.com/conclave-mls/conclave/internal/secret"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRFC9180 is appendix A.1.1 of RFC 9180: base mode of suite 1.
func TestRFC9180(t *testing.T) {
	s, _ := Lookup(1)
	info := unhex(t, "4f6465206f6e2061204772656369616e2055726e")
	priv, pub, err := s.DeriveKeyPair(unhex(t, "6db9df30aa07dd42ee5e8181afdb977e538f5e1fec8a06223f33f7013e525037"))
	if err != nil {
		t.Fatal(err)
	}
	if want := unhex(t, "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8"); !priv.Equal(want) {
		t.Errorf("skRm = %x, want %x", []byte(priv), want)
	}
	if want := unhex(t, "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d"); !bytes.Equal(pub, want) {
		t.Errorf("pkRm = %x, want %x", pub, want)
	}
	ikmE := unhex(t, "7268600d403fce431561aef583ee1613527cff655c1343f29812e66706df3234")
	plain, aad := unhex(t, "4265617574792069732074727574682c20747275746820626561757479"), unhex(t, "436f756e742d30")
	enc, ct, err := s.Seal(pub, info, aad, plain, ikmE)
	if err != nil {
		t.Fatal(err)
	}
	if want := unhex(t, "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431"); !bytes.Equal(enc, want) {
		t.Errorf("enc = %x, want %x", enc, want)
	}
	if want := unhex(t, "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a"); !bytes.Equal(ct, want) {
		t.Errorf("ct = %x, want %x", ct, want)
	}
	got, err := s.Open(priv, enc, info, aad, ct)
	if err != nil || !got.Equal(plain) {
		t.Errorf("Open = %x, %v, want %x", []byte(got), err, plain)
	}
	for context, want := range map[string]string{
		"":            "3853fe2b4035195a573ffc53856e77058e15d9ea064de3e59f4961d0095250ee",
		"\x00":        "2e8f0b54673c7029649d4eb9d5e33bf1872cf76d623ff164ac185da9e88c21a5",
		"TestContext": "e9e43065102c3836401bed8c3c3c75ae46be1639869391d62c61f1ec7af54931",
	} {
		_, exported, err := s.ExportSender(pub, info, []byte(context), 32, ikmE)
		if err != nil || !exported.Equal(unhex(t, want)) {
			t.Errorf("ExportSender(%q) = %x, %v, want %s", context, []byte(exported), err, want)
		}
		exported, err = s.ExportReceiver(priv, enc, info, []byte(context), 32)
		if err != nil || !exported.Equal(unhex(t, want)) {
			t.Errorf("ExportReceiver(%q) = %x, %v, want %s", context, []byte(exported), err, want)
		}
	}
}

// TestSealWithInfo seals under one digested info to two keys, for every suite.
func TestSealWithInfo(t *testing.T) {
	for i := range suites {
		s := &suites[i]
		info := material("info", 3000)
		digest := s.NewSealInfo(info)
		for _, name := range []string{"one", "other"} {
			priv, pub, err := s.DeriveKeyPair(seedFor(s, name))
			if err != nil {
				t.Fatal(err)
			}
			seed, plain, aad := seedFor(s, "seal "+name), material(name, 40), material("aad", 5)
			enc, ct, err := s.SealWithInfo(pub, digest, aad, plain, seed)
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Open(priv, enc, info, aad, ct)
			if err != nil || !got.Equal(plain) {
				t.Errorf("suite %d: Open = %x, %v, want %x", s.ID(), []byte(got), err, plain)
			}
			wantEnc, wantCT, err := s.Seal(pub, info, aad, plain, seed)
			if err != nil || !bytes.Equal(enc, wantEnc) || !bytes.Equal(ct, wantCT) {
				t.Errorf("suite %d: SealWithInfo differs from Seal, %v", s.ID(), err)
			}
			if _, err := s.Open(priv, enc, info[1:], aad, ct); err != ErrOpen {
				t.Errorf("suite %d: Open under another info: %v, want ErrOpen", s.ID(), err)
			}
		}
	}
}

// oracle returns the standard library's algorithms of a suite, or false for
// X448, which it does not have.
func oracle(t *testing.T, s *Suite) (stdhpke.KEM, stdhpke.KDF, stdhpke.AEAD, bool) {
	t.Helper()
	if s.kem == kemX448 {
		return nil, nil, nil, false
	}
	k, err := stdhpke.NewKEM(s.kem.id)
	if err != nil {
		t.Fatal(err)
	}
	kdf, err := stdhpke.NewKDF(uint16(s.hash.kdfID()))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := stdhpke.NewAEAD(uint16(s.aead.id()))
	if err != nil {
		t.Fatal(err)
	}
	return k, kdf, aead, true
}

// TestDeriveKeyPairAgainstStandard covers ikm of every length of interest, node
// secrets (HashSize bytes) among them.
func TestDeriveKeyPairAgainstStandard(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *Suite) {
		k, _, _, ok := oracle(t, s)
		for _, n := range []int{0, 1, 16, 32, 48, 56, 57, 64, 66, 100, 1000} {
			ikm := material("ikm", n)
			priv, pub, err := s.DeriveKeyPair(ikm)
			if err != nil {
				t.Fatalf("DeriveKeyPair of %d bytes: %v", n, err)
			}
			if again, err := s.PublicKey(priv); err != nil || !bytes.Equal(again, pub) {
				t.Errorf("PublicKey = %x, %v, want %x", again, err, pub)
			}
			if err := s.CheckPublicKey(pub); err != nil {
				t.Errorf("CheckPublicKey of our own: %v", err)
			}
			if !ok {
				// circl panics on any other length.
				if n == 56 {
					cpub, cpriv := circlhpke.KEM_X448_HKDF_SHA512.Scheme().DeriveKeyPair(ikm)
					sameKey(t, cpub, pub)
					sameKey(t, cpriv, priv)
				}
				continue
			}
			want, err := k.DeriveKeyPair(ikm)
			if err != nil {
				t.Fatal(err)
			}
			if got := want.PublicKey().Bytes(); !bytes.Equal(pub, got) {
				t.Errorf("DeriveKeyPair of %d bytes: public key %x, want %x", n, pub, got)
			}
			// Private keys of X25519 differ in the bits that its use ignores.
			if wantPriv, err := want.Bytes(); err != nil || s.kem.topMask != 0 && !priv.Equal(wantPriv) {
				t.Errorf("DeriveKeyPair of %d bytes: private key %x, want %x, %v", n, []byte(priv), wantPriv, err)
			}
		}
	})
}

func sameKey(t *testing.T, key interface{ MarshalBinary() ([]byte, error) }, want []byte) {
	t.Helper()
	if got, err := key.MarshalBinary(); err != nil || !bytes.Equal(got, want) {
		t.Errorf("circl's key is %x, %v, ours %x", got, err, want)
	}
}

// TestHPKEAgainstStandard opens what the standard library seals and the other
// way round.
func TestHPKEAgainstStandard(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *Suite) {
		k, kdf, aead, ok := oracle(t, s)
		if !ok {
			testHPKEAgainstCircl(t, s)
			return
		}
		for n := range 3 {
			info, plain, aad := material("info", n*40), material("plain", n*100), material("aad", n*7)
			ikm := secret.Bytes(material(fmt.Sprint("receiver", n), s.HashSize()))
			priv, pub, err := s.DeriveKeyPair(ikm)
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := k.NewPrivateKey(priv)
			if err != nil {
				t.Fatal(err)
			}
			enc, ct, err := s.Seal(pub, info, aad, plain, seedFor(s, fmt.Sprint("seal", n)))
			if err != nil {
				t.Fatal(err)
			}
			r, err := stdhpke.NewRecipient(enc, theirs, kdf, aead, info)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := r.Open(aad, ct); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("the standard library opens ours as %x, %v, want %x", got, err, plain)
			}
			want, err := r.Export("context", 77)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := s.ExportReceiver(priv, enc, info, []byte("context"), 77); err != nil || !got.Equal(want) {
				t.Errorf("ExportReceiver = %x, %v, want %x", []byte(got), err, want)
			}

			enc, sender, err := stdhpke.NewSender(theirs.PublicKey(), kdf, aead, info)
			if err != nil {
				t.Fatal(err)
			}
			if ct, err = sender.Seal(aad, plain); err != nil {
				t.Fatal(err)
			}
			testOpen(t, s, priv, pub, enc, info, aad, ct, plain)
		}
	})
}

// testOpen opens a ciphertext, and fails to open variations of it.
func testOpen(t *testing.T, s *Suite, priv secret.Bytes, pub, enc, info, aad, ct, plain []byte) {
	t.Helper()
	if got, err := s.Open(priv, enc, info, aad, ct); err != nil || !got.Equal(plain) {
		t.Errorf("Open = %x, %v, want %x", []byte(got), err, plain)
	}
	if got, err := s.OpenWithPublicKey(priv, pub, enc, info, aad, ct); err != nil || !got.Equal(plain) {
		t.Errorf("OpenWithPublicKey = %x, %v, want %x", []byte(got), err, plain)
	}
	other, otherPub, err := s.DeriveKeyPair(secret.Bytes("other"))
	if err != nil {
		t.Fatal(err)
	}
	bad := bytes.Clone(ct)
	bad[0] ^= 1
	for name, open := range map[string]func() (secret.Bytes, error){
		"other key":        func() (secret.Bytes, error) { return s.Open(other, enc, info, aad, ct) },
		"other public key": func() (secret.Bytes, error) { return s.OpenWithPublicKey(priv, otherPub, enc, info, aad, ct) },
		"other enc":        func() (secret.Bytes, error) { return s.Open(priv, otherPub, info, aad, ct) },
		"other info":       func() (secret.Bytes, error) { return s.Open(priv, enc, append(info, 1), aad, ct) },
		"other aad":        func() (secret.Bytes, error) { return s.Open(priv, enc, info, append(aad, 1), ct) },
		"damaged":          func() (secret.Bytes, error) { return s.Open(priv, enc, info, aad, bad) },
		"truncated":        func() (secret.Bytes, error) { return s.Open(priv, enc, info, aad, ct[:15]) },
	} {
		if got, err := open(); err != ErrOpen || got != nil {
			t.Errorf("%s: %d bytes, %v, want %v", name, len(got), err, ErrOpen)
		}
	}
}

// testHPKEAgainstCircl does for X448 what the standard library cannot.
func testHPKEAgainstCircl(t *testing.T, s *Suite) {
	aead := circlhpke.AEAD_AES256GCM
	if s.aead == chacha20Poly1305 {
		aead = circlhpke.AEAD_ChaCha20Poly1305
	}
	suite := circlhpke.NewSuite(circlhpke.KEM_X448_HKDF_SHA512, circlhpke.KDF_HKDF_SHA512, aead)
	info, aad, plain := []byte("info"), []byte("aad"), []byte("plaintext")
	priv, pub, err := s.DeriveKeyPair(material("receiver", s.HashSize()))
	if err != nil {
		t.Fatal(err)
	}
	scheme := circlhpke.KEM_X448_HKDF_SHA512.Scheme()
	theirPriv, err := scheme.UnmarshalBinaryPrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	sender, err := suite.NewSender(theirPriv.Public(), info)
	if err != nil {
		t.Fatal(err)
	}
	// circl reads its ephemeral key's ikm from here: 56 bytes, so that it is
	// not ours that gets compared but what each makes of it.
	enc, sealer, err := sender.Setup(bytes.NewReader(material("ephemeral", 56)))
	if err != nil {
		t.Fatal(err)
	}
	ct, err := sealer.Seal(plain, aad)
	if err != nil {
		t.Fatal(err)
	}
	testOpen(t, s, priv, pub, enc, info, aad, ct, plain)
	if got, err := s.ExportReceiver(priv, enc, info, []byte("context"), 64); err != nil || !got.Equal(sealer.Export([]byte("context"), 64)) {
		t.Errorf("ExportReceiver = %x, %v", []byte(got), err)
	}

	enc, ct, err = s.Seal(pub, info, aad, plain, seedFor(s, "seal"))
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := suite.NewReceiver(theirPriv, info)
	if err != nil {
		t.Fatal(err)
	}
	opener, err := receiver.Setup(enc)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := opener.Open(ct, aad); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("circl opens ours as %x, %v, want %x", got, err, plain)
	}
}

// TestShortScalars checks that leading zeros of a NIST scalar may be missing.
func TestShortScalars(t *testing.T) {
	for _, id := range []uint16{2, 5, 7} {
		s, _ := Lookup(id)
		full := make(secret.Bytes, s.kem.privateSize)
		full[len(full)-1] = 5
		want, err := s.PublicKey(full)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.PublicKey(secret.Bytes{5}); err != nil || !bytes.Equal(got, want) {
			t.Errorf("suite %d: PublicKey of a short scalar = %x, %v, want %x", id, got, err, want)
		}
		wantSig, err := s.Sign(full, []byte("message"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Sign(secret.Bytes{5}, []byte("message")); err != nil || !bytes.Equal(got, wantSig) {
			t.Errorf("suite %d: Sign with a short scalar = %x, %v, want %x", id, got, err, wantSig)
		}
	}
}

func TestSmallOrderEncryptionKeys(t *testing.T) {
	s1, _ := Lookup(1)
	s4, _ := Lookup(4)
	priv, err := ecdh.X25519().NewPrivateKey(material("any", 32))
	if err != nil {
		t.Fatal(err)
	}
	refused := func(s *Suite, pub []byte) {
		t.Helper()
		if err := s.CheckPublicKey(pub); err != ErrKey {
			t.Errorf("CheckPublicKey(%x) = %v, want %v", pub, err, ErrKey)
		}
		if _, _, err := s.Seal(pub, nil, nil, nil, seedFor(s, "small")); err != ErrKey {
			t.Errorf("Seal to %x = %v, want %v", pub, err, ErrKey)
		}
		if _, err := s.Open(material("any", s.kem.privateSize), pub, nil, nil, make([]byte, 16)); err != ErrKey {
			t.Errorf("Open of %x = %v, want %v", pub, err, ErrKey)
		}
	}
	for _, key := range x25519SmallOrder {
		for _, top := range []byte{0, 0x80} {
			pub := key
			pub[31] |= top
			refused(s1, pub[:])
			theirs, err := ecdh.X25519().NewPublicKey(pub[:])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := priv.ECDH(theirs); err == nil {
				t.Errorf("%x is in the table and not of small order", pub)
			}
		}
	}
	for _, key := range x448SmallOrder {
		refused(s4, key[:])
		var dh, any x448.Key
		any[3] = 77
		if x448.Shared(&dh, &any, &key); dh != (x448.Key{}) {
			t.Errorf("%x is in the table and not of small order", key)
		}
	}
	// An unreduced coordinate that is not of small order stays a key (RFC 7748
	// section 5).
	nine := s1.kem.publicSize
	unreduced := repeat([]byte{0xf6}, 0xff, nine-2, 0x7f)
	if err := s1.CheckPublicKey(unreduced); err != nil {
		t.Errorf("CheckPublicKey of 9 + p = %v", err)
	}
}
