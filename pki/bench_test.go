package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"testing"
)

// members is how many a conversation has: 1,000, or few where only the benchmark itself is to be tried.
func members() int {
	if testing.Short() {
		return 10
	}
	return 1000
}

// benchChains makes n leaves with P-256 keys below a P-256 intermediate, as Wire's servers do.
func benchChains(b *testing.B, n int) (*Snapshot, [][][]byte) {
	b.Helper()
	s := trusting(b, New(Policy{}, NewMemory(2*n)), file(b, "root-P-256.pem"))
	root := authorityOf(b, "bench", nil, nil)
	s = trusting(b, s, root.cert.Raw)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: noon.AddDate(-1, 0, 0), NotAfter: noon.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, root.cert, key.Public(), root.key)
	if err != nil {
		b.Fatal(err)
	}
	s = knowing(b, s, der)
	if ca, err = x509.ParseCertificate(der); err != nil {
		b.Fatal(err)
	}
	chains := make([][][]byte, n)
	for i := range chains {
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: "Alice Smith", Organization: []string{"wire.example"}},
			NotBefore: noon.AddDate(-1, 0, 0), NotAfter: noon.AddDate(1, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature, URIs: uris(b, aliceHandle, aliceDevice),
		}
		if der, err = x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), key); err != nil {
			b.Fatal(err)
		}
		chains[i] = [][]byte{der, ca.Raw}
	}
	return s, chains
}

// BenchmarkE2EIState is the state of a conversation of 1,000 members: with what was verified before in memory, and without.
func BenchmarkE2EIState(b *testing.B) {
	s, chains := benchChains(b, members())
	without, err := Load(s.Policy(), nil, s.Records())
	if err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct {
		name string
		s    *Snapshot
	}{{"cold", without}, {"remembered", s}} {
		b.Run(bench.name, func(b *testing.B) {
			bench.s.E2EIState(slices.Values(chains), noon)
			b.ReportAllocs()
			for b.Loop() {
				if state := bench.s.E2EIState(slices.Values(chains), noon); state != E2EIStateVerified {
					b.Fatal(state)
				}
			}
		})
	}
}

// BenchmarkNewDistributionPoints collects those of 1,000 members that have been verified before.
func BenchmarkNewDistributionPoints(b *testing.B) {
	s, chains := benchChains(b, members())
	s.E2EIState(slices.Values(chains), noon)
	b.ReportAllocs()
	for b.Loop() {
		if points := s.NewDistributionPoints(chains...); points != nil {
			b.Fatal(points)
		}
	}
}
