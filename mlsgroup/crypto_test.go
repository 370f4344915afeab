package mlsgroup

import (
	"bytes"
	"testing"

	"github.com/conclave-mls/conclave/internal/secret"
)

func TestCryptoBasicsVectors(t *testing.T) {
	type vector struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
		RefHash     struct {
			Label      string
			Value, Out hexBytes
		} `json:"ref_hash"`
		ExpandWithLabel struct {
			Secret  hexBytes
			Label   string
			Context hexBytes
			Length  int
			Out     hexBytes
		} `json:"expand_with_label"`
		DeriveSecret struct {
			Secret hexBytes
			Label  string
			Out    hexBytes
		} `json:"derive_secret"`
		DeriveTreeSecret struct {
			Secret     hexBytes
			Label      string
			Generation uint32
			Length     int
			Out        hexBytes
		} `json:"derive_tree_secret"`
		SignWithLabel struct {
			Priv, Pub, Content hexBytes
			Label              string
			Signature          hexBytes
		} `json:"sign_with_label"`
		EncryptWithLabel struct {
			Priv, Pub, Context, Plaintext hexBytes
			Label                         string
			KEMOutput                     hexBytes `json:"kem_output"`
			Ciphertext                    hexBytes
		} `json:"encrypt_with_label"`
	}
	for _, v := range vectors[vector](t, "crypto-basics.json") {
		t.Run(v.CipherSuite.String(), func(t *testing.T) {
			s, err := v.CipherSuite.suite()
			if err != nil {
				t.Fatal(err)
			}
			same := func(what string, got, want []byte) {
				t.Helper()
				if !bytes.Equal(got, want) {
					t.Errorf("%s: got %x, want %x", what, got, want)
				}
			}
			derived := func(got secret.Bytes, err error) []byte {
				t.Helper()
				if err != nil {
					t.Error(err)
				}
				return got
			}
			rh := v.RefHash
			same("RefHash", refHash(s, rh.Label, rh.Value), rh.Out)
			ex := v.ExpandWithLabel
			same("ExpandWithLabel", derived(expandWithLabel(s, []byte(ex.Secret), ex.Label, ex.Context, ex.Length)), ex.Out)
			ds := v.DeriveSecret
			same("DeriveSecret", derived(deriveSecret(s, []byte(ds.Secret), ds.Label)), ds.Out)
			dt := v.DeriveTreeSecret
			same("DeriveTreeSecret", derived(deriveTreeSecret(s, []byte(dt.Secret), dt.Label, dt.Generation, dt.Length)), dt.Out)

			sg := v.SignWithLabel
			if err := verifyWithLabel(s, sg.Pub, sg.Label, sg.Content, sg.Signature); err != nil {
				t.Errorf("VerifyWithLabel: %v", err)
			}
			sig, err := signWithLabel(s, []byte(sg.Priv), sg.Label, sg.Content)
			if err != nil {
				t.Fatalf("SignWithLabel: %v", err)
			}
			if err := verifyWithLabel(s, sg.Pub, sg.Label, sg.Content, sig); err != nil {
				t.Errorf("own signature: %v", err)
			}
			if err := verifyWithLabel(s, sg.Pub, sg.Label+"x", sg.Content, sig); err == nil {
				t.Error("a signature verifies under another label")
			}

			en := v.EncryptWithLabel
			got, err := decryptWithLabel(s, []byte(en.Priv), en.Label, en.Context, HPKECiphertext{en.KEMOutput, en.Ciphertext})
			if err != nil {
				t.Fatalf("DecryptWithLabel: %v", err)
			}
			same("DecryptWithLabel", got, en.Plaintext)
			c, err := encryptWithLabel(s, en.Label, en.Context)(en.Pub, en.Plaintext, bytes.Repeat([]byte{7}, s.SeedSize()))
			if err != nil {
				t.Fatalf("EncryptWithLabel: %v", err)
			}
			if got, err = decryptWithLabel(s, []byte(en.Priv), en.Label, en.Context, c); err != nil {
				t.Fatalf("own ciphertext: %v", err)
			}
			same("own ciphertext", got, en.Plaintext)
		})
	}
}
