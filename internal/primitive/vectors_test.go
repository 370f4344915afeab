package primitive

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/conclave-mls/conclave/internal/secret"
	"github.com/conclave-mls/conclave/internal/vectortest"
)

type hexBytes = vectortest.Hex

// opaque is a vector of RFC 9420 section 2.1.2 with fewer than 16384 bytes.
func opaque(dst []byte, b []byte) []byte {
	if len(b) < 64 {
		dst = append(dst, byte(len(b)))
	} else {
		dst = append(dst, 0x40|byte(len(b)>>8), byte(len(b)))
	}
	return append(dst, b...)
}

// labeled is the labelled content of RFC 9420 section 5.1.
func labeled(label string, content []byte) []byte {
	return opaque(opaque(nil, []byte("MLS 1.0 "+label)), content)
}

// kdfLabel is KDFLabel of RFC 9420 section 8.
func kdfLabel(n int, label string, context []byte) []byte {
	return append([]byte{byte(n >> 8), byte(n)}, labeled(label, context)...)
}

type basics struct {
	CipherSuite uint16 `json:"cipher_suite"`
	RefHash     struct {
		Label string
		Value hexBytes
		Out   hexBytes
	} `json:"ref_hash"`
	ExpandWithLabel struct {
		Secret  hexBytes
		Label   string
		Context hexBytes
		Length  int
		Out     hexBytes
	} `json:"expand_with_label"`
	SignWithLabel struct {
		Priv, Pub, Content hexBytes
		Label              string
		Signature          hexBytes
	} `json:"sign_with_label"`
	EncryptWithLabel struct {
		Priv, Pub  hexBytes
		Label      string
		Context    hexBytes
		Plaintext  hexBytes
		KEMOutput  hexBytes `json:"kem_output"`
		Ciphertext hexBytes
	} `json:"encrypt_with_label"`
}

func TestCryptoBasics(t *testing.T) {
	seen := 0
	for _, v := range vectortest.Read[basics](t, "mls/crypto-basics.json") {
		t.Run(fmt.Sprintf("suite%d", v.CipherSuite), func(t *testing.T) {
			s, ok := Lookup(v.CipherSuite)
			if !ok {
				t.Fatalf("no suite %d", v.CipherSuite)
			}
			seen++
			r := v.RefHash
			if got := s.Hash(nil, opaque(opaque(nil, []byte(r.Label)), r.Value)); !bytes.Equal(got, r.Out) {
				t.Errorf("RefHash = %x, want %x", got, r.Out)
			}

			e := v.ExpandWithLabel
			got, err := s.Expand(e.Secret, kdfLabel(e.Length, e.Label, e.Context), e.Length)
			if err != nil || !bytes.Equal(got, e.Out) {
				t.Errorf("ExpandWithLabel = %x, %v, want %x", []byte(got), err, e.Out)
			}

			sv := v.SignWithLabel
			message := labeled(sv.Label, sv.Content)
			if err := s.Verify(sv.Pub, message, sv.Signature); err != nil {
				t.Errorf("Verify of the vector: %v", err)
			}
			if pub, err := s.SignaturePublicKey(secret.Bytes(sv.Priv)); err != nil || !bytes.Equal(pub, sv.Pub) {
				t.Errorf("SignaturePublicKey = %x, %v, want %x", pub, err, sv.Pub)
			}
			sig, err := s.Sign(secret.Bytes(sv.Priv), message)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(sv.Pub, message, sig); err != nil {
				t.Errorf("Verify of our own: %v", err)
			}
			// EdDSA has one signature; ECDSA vectors were made with random nonces.
			if _, isECDSA := s.sig.(*ecdsaScheme); !isECDSA && !bytes.Equal(sig, sv.Signature) {
				t.Errorf("Sign = %x, want %x", sig, sv.Signature)
			}
			sig[len(sig)/2] ^= 1
			if err := s.Verify(sv.Pub, message, sig); err != ErrSignature {
				t.Errorf("Verify of a damaged signature = %v, want %v", err, ErrSignature)
			}

			ev := v.EncryptWithLabel
			info := labeled(ev.Label, ev.Context)
			if pub, err := s.PublicKey(secret.Bytes(ev.Priv)); err != nil || !bytes.Equal(pub, ev.Pub) {
				t.Errorf("PublicKey = %x, %v, want %x", pub, err, ev.Pub)
			}
			plain, err := s.Open(secret.Bytes(ev.Priv), ev.KEMOutput, info, nil, ev.Ciphertext)
			if err != nil || !bytes.Equal(plain, ev.Plaintext) {
				t.Errorf("Open = %x, %v, want %x", []byte(plain), err, ev.Plaintext)
			}
			plain, err = s.OpenWithPublicKey(secret.Bytes(ev.Priv), ev.Pub, ev.KEMOutput, info, nil, ev.Ciphertext)
			if err != nil || !bytes.Equal(plain, ev.Plaintext) {
				t.Errorf("OpenWithPublicKey = %x, %v, want %x", []byte(plain), err, ev.Plaintext)
			}
		})
	}
	if seen != len(suites) {
		t.Errorf("vectors for %d suites, want %d", seen, len(suites))
	}
}
