// Package pkitest is a certification authority for tests: it issues the certificates of Wire's clients, and revokes them.
package pkitest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/conclave-mls/conclave/internal/clientid"
)

// Authority is a root with one intermediate, which issues all leaves. Its keys are of one kind.
type Authority struct {
	// Root and Intermediate are certificates in DER.
	Root, Intermediate []byte
	// Point is the distribution point in every leaf, empty for none.
	Point string

	suite        uint16
	root, issuer *x509.Certificate
	rootKey, key crypto.Signer
	serial       int64
	list         int64
	revoked      []x509.RevocationListEntry
}

// New makes an authority with keys for an MLS suite (1, 2, 3, 5 or 7), valid for ten years around now.
func New(t testing.TB, suite uint16, domain string, now time.Time) *Authority {
	t.Helper()
	a := &Authority{suite: suite, serial: 0x1000, Point: "http://crl." + domain + "/leaf.crl"}
	template := func(name string) *x509.Certificate {
		a.serial++
		return &x509.Certificate{
			SerialNumber: big.NewInt(a.serial), Subject: pkix.Name{CommonName: name + " " + domain},
			NotBefore: now.AddDate(-5, 0, 0), NotAfter: now.AddDate(5, 0, 0),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		}
	}
	a.rootKey, a.key = newKey(t, suite), newKey(t, suite)
	root := template("Root")
	a.Root = sign(t, root, root, a.rootKey.Public(), a.rootKey)
	a.root = parse(t, a.Root)
	a.Intermediate = sign(t, template("Intermediate"), a.root, a.key.Public(), a.rootKey)
	a.issuer = parse(t, a.Intermediate)
	return a
}

// Leaf is what a leaf certificate says. Zero fields get a value that fits the client.
type Leaf struct {
	ClientID            string // canonical
	Handle              string // bare
	DisplayName         string
	NotBefore, NotAfter time.Time
	// Key is the private signature key; nil makes one.
	Key crypto.Signer
	// Edit changes the certificate before it is signed.
	Edit func(*x509.Certificate)
}

// Issued is a chain, leaf first, with the leaf's keys in the form in which a suite has them.
type Issued struct {
	Chain   [][]byte
	Private []byte
	Public  []byte
	Serial  *big.Int
}

// Issue issues a leaf. Its time is from a day before now to a year after, unless the leaf says otherwise.
func (a *Authority) Issue(t testing.TB, l Leaf, now time.Time) Issued {
	t.Helper()
	l = l.complete(t, now)
	if l.Key == nil {
		l.Key = newKey(t, a.suite)
	}
	issued := a.issue(t, l, l.Key.Public())
	issued.Private, issued.Public = raw(t, l.Key)
	return issued
}

// complete fills what is zero.
func (l Leaf) complete(t testing.TB, now time.Time) Leaf {
	t.Helper()
	id := parseID(t, l.ClientID)
	if l.Handle == "" {
		l.Handle = fmt.Sprintf("user%x_%x", id.User[:2], id.Device)
	}
	if l.DisplayName == "" {
		l.DisplayName = "User " + l.Handle
	}
	if l.NotBefore.IsZero() {
		l.NotBefore = now.AddDate(0, 0, -1)
	}
	if l.NotAfter.IsZero() {
		l.NotAfter = now.AddDate(1, 0, 0)
	}
	return l
}

// IssueFor is Issue for a public key of Ed25519 whose private key is elsewhere.
func (a *Authority) IssueFor(t testing.TB, l Leaf, public []byte, now time.Time) Issued {
	t.Helper()
	return a.issue(t, l.complete(t, now), ed25519.PublicKey(public))
}

func (a *Authority) issue(t testing.TB, l Leaf, public crypto.PublicKey) Issued {
	t.Helper()
	id := parseID(t, l.ClientID)
	a.serial++
	c := &x509.Certificate{
		SerialNumber: big.NewInt(a.serial), Subject: pkix.Name{CommonName: l.DisplayName, Organization: []string{id.Domain}},
		NotBefore: l.NotBefore, NotAfter: l.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs: []*url.URL{uri(t, strings.Replace(id.URI(), "!", "%21", 1)), uri(t, "wireapp://%40"+url.PathEscape(l.Handle)+"@"+id.Domain)},
	}
	if a.Point != "" {
		c.CRLDistributionPoints = []string{a.Point}
	}
	if l.Edit != nil {
		l.Edit(c)
	}
	leaf := sign(t, c, a.issuer, public, a.key)
	return Issued{Chain: [][]byte{leaf, a.Intermediate}, Serial: c.SerialNumber}
}

// Revoke puts certificates on the list that the next CRL is.
func (a *Authority) Revoke(now time.Time, serials ...*big.Int) {
	for _, n := range serials {
		a.revoked = append(a.revoked, x509.RevocationListEntry{SerialNumber: n, RevocationTime: now, ReasonCode: 1})
	}
}

// CRL makes the list of the intermediate, in DER, which is to be replaced after the time given.
func (a *Authority) CRL(t testing.TB, now time.Time, next time.Duration) []byte {
	t.Helper()
	a.list++
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(a.list), ThisUpdate: now, NextUpdate: now.Add(next), RevokedCertificateEntries: a.revoked,
	}, a.issuer, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func parseID(t testing.TB, s string) clientid.ID {
	t.Helper()
	id, err := clientid.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func newKey(t testing.TB, suite uint16) crypto.Signer {
	t.Helper()
	var curve elliptic.Curve
	switch suite {
	case 1, 3:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	case 2:
		curve = elliptic.P256()
	case 5:
		curve = elliptic.P521()
	case 7:
		curve = elliptic.P384()
	default:
		t.Fatalf("no certificates for suite %d", suite)
	}
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// raw returns a key pair as suites have it: the seed of Ed25519, the scalar and the point of ECDSA.
func raw(t testing.TB, key crypto.Signer) (private, public []byte) {
	t.Helper()
	switch k := key.(type) {
	case ed25519.PrivateKey:
		return k.Seed(), k.Public().(ed25519.PublicKey)
	case *ecdsa.PrivateKey:
		private, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if public, err = k.PublicKey.Bytes(); err != nil {
			t.Fatal(err)
		}
		return private, public
	}
	t.Fatalf("key of type %T", key)
	return nil, nil
}

func sign(t testing.TB, c, issuer *x509.Certificate, public crypto.PublicKey, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, issuer, public, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func parse(t testing.TB, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func uri(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
