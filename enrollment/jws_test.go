package enrollment

import (
	"crypto"
	"crypto/ecdsa"
	"encoding/base64"
	"math/big"
	"testing"

	"github.com/conclave-mls/conclave/internal/primitive"
)

// TestThumbprint holds thumbprints against those that Wire's own tools made.
func TestThumbprint(t *testing.T) {
	decode := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	point := append([]byte{4}, decode("KKIwHE0jKHJXdzF3lEeIfRw0Vqf-S6YIjX6t6iSZPIE")...)
	point = append(point, decode("Kng6pbKYmgw1MWCyaoXEbP3nYPpvs5yH7BYOhrivpe0")...)
	for _, c := range []struct {
		suite  uint16
		public []byte
		want   string
	}{
		{1, decode("I-6zCgDBsDm3avLvvqJD9CLWm8HRNRoJe-JFOQCEp2Q"), "TzUK1HJlkNG3JYOzw8RItIXQ3Mt1p6H1OYQbOji-A-g"},
		{2, point, "ESpNh4PQZO3u7Q1laesYlhHQfV7LBZKdKGfyyCY2YTU"},
	} {
		suite, _ := primitive.Lookup(c.suite)
		k := keyPair{suite: suite, public: c.public}
		if got, err := k.thumbprint(); err != nil || got != c.want {
			t.Errorf("suite %d: thumbprint %s, want %s: %v", c.suite, got, c.want, err)
		}
	}
}

// TestSignatureWidth signs until r or s has had leading zeros, which a JWS keeps and DER
// does not.
func TestSignatureWidth(t *testing.T) {
	suite, _ := primitive.Lookup(2)
	seed := make([]byte, suite.SeedSize())
	private, public, err := suite.GenerateSignatureKey(seed)
	if err != nil {
		t.Fatal(err)
	}
	k := &keyPair{suite, private, public}
	verifier, err := k.publicKey()
	if err != nil {
		t.Fatal(err)
	}
	padded := 0
	for i := 0; padded < 3; i++ {
		message := big.NewInt(int64(i)).Bytes()
		signature, err := (&joseSigner{key: k}).SignPayload(message, "")
		if err != nil || len(signature) != 64 {
			t.Fatalf("signature of %d bytes: %v", len(signature), err)
		}
		if signature[0] != 0 && signature[32] != 0 {
			continue
		}
		padded++
		h := crypto.SHA256.New()
		h.Write(message)
		r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
		if !ecdsa.Verify(verifier.(*ecdsa.PublicKey), h.Sum(nil), r, s) {
			t.Errorf("message %d: signature does not verify", i)
		}
	}
}
