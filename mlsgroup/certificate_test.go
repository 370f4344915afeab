package mlsgroup

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
)

// selfSigned makes a certificate for a key, whoever it names.
func selfSigned(t testing.TB, name string, public, private any) []byte {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name},
		NotBefore: testTime, NotAfter: testTime.AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(seeded(1), template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestCertificatePublicKey(t *testing.T) {
	priv := ed25519.NewKeyFromSeed(make([]byte, 32))
	pub := priv.Public().(ed25519.PublicKey)
	der := selfSigned(t, "alice", pub, priv)
	if key, ok := certificatePublicKey(der); !ok || !bytes.Equal(key, pub) {
		t.Errorf("got %x, want %x", key, pub)
	}
	ec, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), append(make([]byte, 31), 9))
	if err != nil {
		t.Fatal(err)
	}
	want, err := ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if key, ok := certificatePublicKey(selfSigned(t, "bob", &ec.PublicKey, ec)); !ok || !bytes.Equal(key, want) {
		t.Errorf("got %x, want %x", key, want)
	}
	for n := range der {
		if _, ok := certificatePublicKey(der[:n]); ok {
			t.Fatalf("a certificate cut to %d bytes is read", n)
		}
	}
	if _, ok := certificatePublicKey(append(der, 0)); ok {
		t.Error("bytes after a certificate are accepted")
	}
}

func FuzzCertificatePublicKey(f *testing.F) {
	priv := ed25519.NewKeyFromSeed(make([]byte, 32))
	f.Add(selfSigned(f, "alice", priv.Public(), priv))
	f.Fuzz(func(t *testing.T, der []byte) {
		key, ok := certificatePublicKey(der)
		if c, err := x509.ParseCertificate(der); err == nil && ok {
			if pub, is := c.PublicKey.(ed25519.PublicKey); is && !bytes.Equal(pub, key) {
				t.Errorf("got %x, the standard library %x", key, []byte(pub))
			}
		}
	})
}
