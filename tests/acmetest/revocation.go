package acmetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"time"

	"github.com/conclave-mls/conclave/pki"
)

// newKey makes a signature key of the algorithm of a suite.
func newKey(suite uint16) crypto.Signer {
	curve := map[uint16]elliptic.Curve{2: elliptic.P256(), 5: elliptic.P521(), 7: elliptic.P384()}[suite]
	if curve == nil {
		_, key, _ := ed25519.GenerateKey(rand.Reader)
		return key
	}
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		panic(err) // of a curve of the library
	}
	return key
}

// Intermediate is the certificate of the authority that issues, in PEM.
func (w *World) Intermediate() string { return w.intermediate.pem() }

// CrossSign returns a certificate of this root for the intermediate of another world, in PEM: who trusts this root, trusts with it what the other has issued.
func (w *World) CrossSign(other *World) string {
	of := other.intermediate.certificate
	template := &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: of.Subject, SubjectKeyId: of.SubjectKeyId, NotBefore: of.NotBefore, NotAfter: of.NotAfter,
		KeyUsage: of.KeyUsage, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, w.root.certificate, of.PublicKey, w.root.key)
	if err != nil {
		panic(err) // of a constant template
	}
	return pki.EncodePEM(der)
}

// CRL returns a revocation list of the intermediate, in DER.
func (w *World) CRL(number int64, thisUpdate, nextUpdate time.Time, revoked ...*big.Int) []byte {
	return w.intermediate.list(number, thisUpdate, nextUpdate, revoked)
}

// RootCRL returns a revocation list of the root, in DER. The intermediate's serial number is 2.
func (w *World) RootCRL(number int64, thisUpdate, nextUpdate time.Time, revoked ...*big.Int) []byte {
	return w.root.list(number, thisUpdate, nextUpdate, revoked)
}

func (a *authority) list(number int64, thisUpdate, nextUpdate time.Time, revoked []*big.Int) []byte {
	template := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: thisUpdate, NextUpdate: nextUpdate}
	for _, serial := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: thisUpdate})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, a.certificate, a.key)
	if err != nil {
		panic(err) // of a constant template
	}
	return der
}
