package pki

import (
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// noon is when the tests take place; the certificates of testdata that are valid at all are valid then.
var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// file reads a certificate or revocation list that testdata/make.sh has made, in DER.
func file(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Ext(name) != ".pem" {
		return b
	}
	// The key of rsa.pem is refused, which is its purpose.
	chain, err := ParsePEMChain(b)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return chain[0]
}

func anchored(t testing.TB, names ...string) *Snapshot {
	t.Helper()
	s := New(Policy{}, nil)
	for _, name := range names {
		s = trusting(t, s, file(t, name))
	}
	return s
}

func trusting(t testing.TB, s *Snapshot, der []byte) *Snapshot {
	t.Helper()
	s, err := s.WithTrustAnchor(der, noon)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func knowing(t testing.TB, s *Snapshot, ders ...[]byte) *Snapshot {
	t.Helper()
	s, err := s.WithIntermediates(noon, ders...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func listing(t testing.TB, s *Snapshot, url string, der []byte) *Snapshot {
	t.Helper()
	s, _, err := s.WithCRL(url, der)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// p256 is a snapshot with the authorities of testdata's P-256 chain.
func p256(t testing.TB) *Snapshot {
	t.Helper()
	return knowing(t, anchored(t, "root-P-256.pem"), file(t, "intermediate-P-256.pem"))
}

// wantErr compares an error with the one wanted, nil included.
func wantErr(t testing.TB, got, want error) {
	t.Helper()
	if want == nil && got != nil || !errors.Is(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// entity is a certificate made here, with its key.
type entity struct {
	cert *x509.Certificate
	key  ed25519.PrivateKey
}

const (
	aliceDevice = "wireapp://WqEqc9dIRoKh3VyUJ8k6QA%219e4ef7e72ec9e5b9@wire.example"
	aliceHandle = "wireapp://%40alice_wire@wire.example"
)

// seededKey makes the same key of a seed each time.
func seededKey(seed string) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(append([]byte(seed), make([]byte, ed25519.SeedSize)...)[:ed25519.SeedSize])
}

func uris(t testing.TB, texts ...string) []*url.URL {
	t.Helper()
	var made []*url.URL
	for _, s := range texts {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, u)
	}
	return made
}

// authorityOf makes an authority named name, below an issuer or self-signed.
func authorityOf(t testing.TB, name string, issuer *entity, edit func(*x509.Certificate)) *entity {
	t.Helper()
	return certified(t, name, issuer, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, edit)
}

// leafOf makes a leaf of the Wire profile.
func leafOf(t testing.TB, name string, issuer *entity, edit func(*x509.Certificate)) *entity {
	t.Helper()
	return certified(t, name, issuer, &x509.Certificate{
		Subject: pkix.Name{CommonName: "Alice Smith", Organization: []string{"wire.example"}}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, URIs: uris(t, aliceHandle, aliceDevice),
	}, edit)
}

func certified(t testing.TB, name string, issuer *entity, c *x509.Certificate, edit func(*x509.Certificate)) *entity {
	t.Helper()
	key := seededKey(name)
	c.SerialNumber = new(big.Int).SetBytes([]byte(name))
	c.NotBefore, c.NotAfter = noon.AddDate(-1, 0, 0), noon.AddDate(1, 0, 0)
	if edit != nil {
		edit(c)
	}
	parent, signer := c, key
	if issuer != nil {
		parent, signer = issuer.cert, issuer.key
	}
	der, err := x509.CreateCertificate(nil, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &entity{cert, key}
}

// listOf makes a revocation list of an issuer.
func listOf(t testing.TB, issuer *entity, number int64, edit func(*x509.RevocationList), revoked ...*entity) []byte {
	t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: noon.Add(-time.Hour), NextUpdate: noon.Add(time.Hour)}
	for _, r := range revoked {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: r.cert.SerialNumber, RevocationTime: noon.Add(-2 * time.Hour), ReasonCode: int(ReasonKeyCompromise),
		})
	}
	if edit != nil {
		edit(l)
	}
	der, err := x509.CreateRevocationList(nil, l, issuer.cert, issuer.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// extension makes an extension of an ASN.1 value.
func extension(t testing.TB, id asn1.ObjectIdentifier, critical bool, value any) pkix.Extension {
	t.Helper()
	der, err := asn1.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: id, Critical: critical, Value: der}
}

// issuingPoint makes an issuing distribution point whose full name is URIs.
func issuingPoint(t testing.TB, p issuingDistributionPoint, urls ...string) pkix.Extension {
	t.Helper()
	var names []byte
	for _, u := range urls {
		der, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tagURI, Bytes: []byte(u)})
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, der...)
	}
	if len(urls) > 0 {
		full, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: names})
		if err != nil {
			t.Fatal(err)
		}
		p.Point = asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: full}
	}
	return extension(t, oidIssuingDistributionPoint, true, p)
}
