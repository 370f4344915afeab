package enrollment_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/url"
	"time"

	"github.com/conclave-mls/conclave/enrollment"
	"github.com/conclave-mls/conclave/pki"
)

// authority is a root with one intermediate.
type authority struct {
	root, intermediate *x509.Certificate
	key                ed25519.PrivateKey // of the intermediate
}

func newAuthority(seed string, now time.Time) authority {
	key := func(name string) ed25519.PrivateKey {
		sum := sha256.Sum256([]byte(name + " of " + seed))
		return ed25519.NewKeyFromSeed(sum[:])
	}
	template := func(serial int64, name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(20 * 365 * 24 * time.Hour),
			KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, IsCA: true, BasicConstraintsValid: true,
		}
	}
	rootKey, intermediateKey := key("root"), key("intermediate")
	r, i := template(1, "Root of "+seed), template(2, "Intermediate of "+seed)
	i.MaxPathLenZero = true
	root := certify(r, r, rootKey.Public(), rootKey)
	return authority{root, certify(i, root, intermediateKey.Public(), rootKey), intermediateKey}
}

// certify signs with Ed25519, for which the random bytes do not matter.
func certify(template, parent *x509.Certificate, public any, key ed25519.PrivateKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		panic(err) // templates here are complete
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return c
}

var oidDisplayName = asn1.ObjectIdentifier{2, 16, 840, 1, 113730, 3, 1, 241}

// finalize issues what step-ca's template for Wire does: a common name, the handle first,
// and an escaped ! in the client's URI.
func (ca *testCA) finalize(a *account, payload []byte) enrollment.Response {
	o := a.order
	if o.chain != nil {
		return ca.json(200, acme+"/order/"+o.id, ca.orderDocument(o))
	}
	var p struct {
		CSR string `json:"csr"`
	}
	if err := json.Unmarshal(payload, &p); err != nil || !o.dpop || !o.oidc {
		return ca.problem(403, "orderNotReady")
	}
	der, err := base64.RawURLEncoding.DecodeString(p.CSR)
	if err != nil {
		return ca.problem(400, "badCSR")
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil || csr.CheckSignature() != nil || len(csr.URIs) != 2 || len(csr.Extensions) != 1 || csr.Subject.CommonName != "" {
		return ca.problem(400, "badCSR")
	}
	client, err1 := url.Parse(o.device.ClientID)
	handle, err2 := url.Parse(o.device.Handle)
	if err1 != nil || err2 != nil || csr.URIs[0].String() != client.String() || csr.URIs[1].String() != handle.String() ||
		len(csr.Subject.Names) != 2 || csr.Subject.Organization[0] != o.device.Domain ||
		!csr.Subject.Names[1].Type.Equal(oidDisplayName) || csr.Subject.Names[1].Value != o.device.Name {
		return ca.problem(500, "serverInternal")
	}
	ca.serial++
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetUint64(ca.serial), Subject: pkix.Name{CommonName: o.device.Name, Organization: []string{o.device.Domain}},
		NotBefore: o.from, NotAfter: o.till, URIs: []*url.URL{handle, client},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		SubjectKeyId: []byte{1, 2, 3, 4}, PublicKey: csr.PublicKey,
	}
	if ca.Leaf != nil {
		ca.Leaf(template)
	}
	leaf := certify(template, ca.authority.intermediate, template.PublicKey, ca.authority.key)
	o.chain = []byte(pki.EncodePEM(leaf.Raw) + pki.EncodePEM(ca.authority.intermediate.Raw))
	return ca.json(200, acme+"/order/"+o.id, ca.orderDocument(o))
}
