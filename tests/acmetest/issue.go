package acmetest

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net/url"
	"strings"
	"time"

	"github.com/conclave-mls/conclave/pki"
)

// authority is a certificate that signs others.
type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// newAuthority makes an authority with a key; without a parent it signs itself.
func newAuthority(name string, key crypto.Signer, parent *authority, now time.Time) *authority {
	a := &authority{key: key}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(10 * 365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, MaxPathLen: 1, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	signer, signingKey := template, key
	if parent != nil {
		signer, signingKey = parent.certificate, parent.key
		template.SerialNumber, template.MaxPathLen, template.MaxPathLenZero = big.NewInt(2), 0, true
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer, key.Public(), signingKey)
	if err == nil {
		a.certificate, err = x509.ParseCertificate(der)
	}
	if err != nil {
		panic(err) // of a constant template
	}
	return a
}

func (a *authority) pem() string { return pki.EncodePEM(a.certificate.Raw) }

var displayName = asn1.ObjectIdentifier{2, 16, 840, 1, 113730, 3, 1, 241}

// issue makes the certificate of an order, as Wire's template on step-ca does, and returns the chain in PEM.
func (w *World) issue(o *order, der []byte) (string, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return "", err
	}
	if err := csr.CheckSignature(); err != nil {
		return "", err
	}
	var name string
	for _, n := range csr.Subject.Names {
		if n.Type.Equal(displayName) {
			name, _ = n.Value.(string)
		}
	}
	if len(csr.Subject.Names) != 2 || len(csr.Extensions) != 1 || name != o.device.Name || len(csr.Subject.Organization) != 1 || !strings.EqualFold(csr.Subject.Organization[0], o.device.Domain) {
		return "", errors.New("subject of the request")
	}
	want := map[string]bool{}
	for _, text := range []string{o.device.Handle, o.device.ClientID} {
		u, err := url.Parse(text)
		if err != nil {
			return "", err
		}
		want[u.String()] = true
	}
	if len(csr.URIs) != len(want) || len(csr.DNSNames)+len(csr.EmailAddresses)+len(csr.IPAddresses) != 0 {
		return "", errors.New("names of the request")
	}
	for _, u := range csr.URIs {
		if !want[u.String()] {
			return "", errors.New("URI of the request")
		}
	}
	handle, _ := url.Parse(o.device.Handle)
	client, _ := url.Parse(o.device.ClientID)
	w.serial++
	key := sha256.Sum256(csr.RawSubjectPublicKeyInfo)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(1000 + w.serial)),
		Subject:      pkix.Name{CommonName: o.device.Name, Organization: []string{o.device.Domain}},
		URIs:         []*url.URL{handle, client},
		NotBefore:    o.notBefore.UTC().Truncate(time.Second), NotAfter: o.notAfter.UTC().Truncate(time.Second),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		SubjectKeyId: key[:20], CRLDistributionPoints: []string{w.Origin + "/crl"}, PublicKey: csr.PublicKey,
	}
	if w.Certificate != nil {
		w.Certificate(template)
	}
	leaf, err := x509.CreateCertificate(rand.Reader, template, w.intermediate.certificate, template.PublicKey, w.intermediate.key)
	if err != nil {
		return "", err
	}
	return pki.EncodePEM(leaf) + w.intermediate.pem(), nil
}
