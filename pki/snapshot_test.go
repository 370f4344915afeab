package pki

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
)

func TestTrustAnchors(t *testing.T) {
	none := New(Policy{}, nil)
	if none.HasTrustAnchor() {
		t.Error("a new snapshot trusts somebody")
	}
	s := anchored(t, "root-P-256.pem", "root-ed25519.pem")
	anchors := s.TrustAnchors()
	if !s.HasTrustAnchor() || len(anchors) != 2 || bytes.Compare(anchors[0].Fingerprint[:], anchors[1].Fingerprint[:]) >= 0 {
		t.Fatalf("%v", anchors)
	}
	if f := anchors[0].Fingerprint; f.String() != fmt.Sprintf("%x", f[:]) {
		t.Errorf("fingerprint prints as %s", f)
	}
	_, err := s.WithTrustAnchor(file(t, "root-P-256.pem"), noon)
	wantErr(t, err, ErrTrustAnchorExists)
	// Another certificate for the same key is the same anchor.
	root := authorityOf(t, "root", nil, nil)
	again := authorityOf(t, "root", nil, func(c *x509.Certificate) { c.Subject.CommonName = "again" })
	_, err = trusting(t, none, root.cert.Raw).WithTrustAnchor(again.cert.Raw, noon)
	wantErr(t, err, ErrTrustAnchorExists)

	one, err := s.WithoutTrustAnchor(anchors[0].Fingerprint)
	if err != nil || len(one.TrustAnchors()) != 1 || len(s.TrustAnchors()) != 2 {
		t.Errorf("%d anchors left of %d, %v", len(one.TrustAnchors()), len(s.TrustAnchors()), err)
	}
	_, err = one.WithoutTrustAnchor(anchors[0].Fingerprint)
	wantErr(t, err, ErrNotFound)
}

func TestTrustAnchorRefusals(t *testing.T) {
	root := authorityOf(t, "root", nil, nil)
	for _, tt := range []struct {
		name string
		der  []byte
		want error
	}{
		{"not by itself", authorityOf(t, "child", root, nil).cert.Raw, ErrSignature},
		{"no authority", leafOf(t, "leaf", nil, nil).cert.Raw, ErrUsage},
		{"may not sign", authorityOf(t, "root", nil, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }).cert.Raw, ErrUsage},
		{"not yet", authorityOf(t, "root", nil, func(c *x509.Certificate) { c.NotBefore = noon.AddDate(0, 0, 1) }).cert.Raw, ErrNotYetValid},
		{"expired", authorityOf(t, "root", nil, func(c *x509.Certificate) { c.NotAfter = noon.AddDate(0, 0, -1) }).cert.Raw, ErrExpired},
		{"critical", authorityOf(t, "root", nil, func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, extension(t, asn1.ObjectIdentifier{1, 2, 3}, true, 1))
		}).cert.Raw, ErrCriticalExtension},
		{"trailing", append(bytes.Clone(root.cert.Raw), 0), ErrMalformed},
		{"huge", make([]byte, MaxCertificateSize+1), ErrMalformed},
	} {
		_, err := New(Policy{}, nil).WithTrustAnchor(tt.der, noon)
		if err == nil {
			t.Errorf("%s: accepted", tt.name)
		}
		wantErr(t, err, tt.want)
	}
}

func TestIntermediates(t *testing.T) {
	root := authorityOf(t, "root", nil, nil)
	upper := authorityOf(t, "upper", root, nil)
	lower := authorityOf(t, "lower", upper, nil)
	_, err := New(Policy{}, nil).WithIntermediates(noon, upper.cert.Raw)
	wantErr(t, err, ErrNoTrustAnchor)
	s := trusting(t, New(Policy{}, nil), root.cert.Raw)

	_, err = s.WithIntermediates(noon, lower.cert.Raw)
	wantErr(t, err, ErrNoPath)
	both := knowing(t, s, lower.cert.Raw, upper.cert.Raw) // in any order
	if len(both.Intermediates()) != 2 || len(s.Intermediates()) != 0 {
		t.Errorf("%d and %d intermediates", len(both.Intermediates()), len(s.Intermediates()))
	}
	leaf := leafOf(t, "leaf", lower, nil)
	wantErr(t, both.Verify([][]byte{leaf.cert.Raw}, noon), nil)

	// A bundle of a federation repeats the root; that and a second registration change nothing.
	if same := knowing(t, both, root.cert.Raw, lower.cert.Raw); same != both {
		t.Error("nothing new, and yet another snapshot")
	}
	// One that fails keeps all out.
	_, err = s.WithIntermediates(noon, upper.cert.Raw, authorityOf(t, "stray", authorityOf(t, "other", nil, nil), nil).cert.Raw)
	wantErr(t, err, ErrNoPath)
	_, err = s.WithIntermediates(noon, leaf.cert.Raw)
	wantErr(t, err, ErrUsage)
	_, err = s.WithIntermediates(noon, []byte("certificate"))
	wantErr(t, err, ErrMalformed)
	_, err = s.WithIntermediates(noon.AddDate(2, 0, 0), upper.cert.Raw)
	wantErr(t, err, ErrExpired)
	revoked := listing(t, s, "http://example.com/root", listOf(t, root, 1, nil, upper))
	_, err = revoked.WithIntermediates(noon, upper.cert.Raw)
	wantErr(t, err, ErrRevoked)
}

// TestIssuedCrossCertificate registers what an issuer sends with a leaf where its other root is not, is not yet, and then is a trust anchor.
func TestIssuedCrossCertificate(t *testing.T) {
	root, other := authorityOf(t, "root", nil, nil), authorityOf(t, "other", nil, nil)
	issuer := authorityOf(t, "issuer", root, nil)
	cross := certified(t, "issuer", other, &x509.Certificate{
		Subject: issuer.cert.Subject, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, nil)
	leaf := leafOf(t, "leaf", issuer, nil)
	chain := [][]byte{leaf.cert.Raw, cross.cert.Raw, issuer.cert.Raw, root.cert.Raw}
	_, err := New(Policy{}, nil).WithIssued(chain, noon)
	wantErr(t, err, ErrNoTrustAnchor)

	one := trusting(t, New(Policy{}, nil), root.cert.Raw)
	s, err := one.WithIssued(chain, noon)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Intermediates(); len(got) != 1 || !bytes.Equal(got[0], issuer.cert.Raw) {
		t.Errorf("%d intermediates", len(got))
	}
	wantErr(t, s.Verify(chain, noon), nil)
	if again, err := s.WithIssued(chain, noon); again != s || err != nil {
		t.Errorf("nothing new, and yet another snapshot: %v", err)
	}
	// By itself the stray one is refused, before and after, until there is its root.
	_, err = s.WithIntermediates(noon, cross.cert.Raw)
	wantErr(t, err, ErrNoPath)
	both, err := trusting(t, s, other.cert.Raw).WithIssued(chain, noon)
	if err != nil || len(both.Intermediates()) != 2 {
		t.Fatalf("%v", err)
	}
	left, err := both.WithoutTrustAnchor(fingerprint(root.cert))
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, left.Verify(chain, noon), nil)
	// A chain that verifies by none of its certificates registers none.
	stray := trusting(t, New(Policy{}, nil), authorityOf(t, "third", nil, nil).cert.Raw)
	_, err = stray.WithIssued(chain, noon)
	wantErr(t, err, ErrNoPath)
	_, err = one.WithIssued([][]byte{leaf.cert.Raw, cross.cert.Raw}, noon)
	wantErr(t, err, ErrNoPath)
}

// TestIssuedStraysTakeNoRoom registers a chain with certificates that lead nowhere where there is room for its good one only, and with one that could not be
// registered if it led anywhere.
func TestIssuedStraysTakeNoRoom(t *testing.T) {
	root, other := authorityOf(t, "root", nil, nil), authorityOf(t, "other", nil, nil)
	issuer := authorityOf(t, "issuer", root, nil)
	leaf := leafOf(t, "leaf", issuer, nil)
	s := trusting(t, New(Policy{}, nil), root.cert.Raw)
	filler, err := newAuthority(authorityOf(t, "filler", root, nil).cert.Raw)
	if err != nil {
		t.Fatal(err)
	}
	for i := range MaxIntermediates - 1 {
		a := *filler
		a.id = [sha256.Size]byte{0, byte(i >> 8), byte(i)}
		s.intermediates = append(s.intermediates, &a)
	}
	strays := [][]byte{authorityOf(t, "stray", other, nil).cert.Raw, authorityOf(t, "another", other, nil).cert.Raw, file(t, "nokeyid.pem")}
	chain := append(append([][]byte{leaf.cert.Raw}, strays...), issuer.cert.Raw)
	full, err := s.WithIssued(chain, noon)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(full.intermediates); n != MaxIntermediates {
		t.Errorf("%d intermediates, want %d", n, MaxIntermediates)
	}
	wantErr(t, full.Verify(chain, noon), nil)
	if again, err := full.WithIssued(chain, noon); again != full || err != nil {
		t.Errorf("nothing new, and yet another snapshot: %v", err)
	}
	if _, err := s.WithIssued([][]byte{leaf.cert.Raw, file(t, "nokeyid.pem"), issuer.cert.Raw}, noon); err != nil {
		t.Errorf("a stray one without identifier: %v", err)
	}
	// What does lead to an anchor needs room.
	below := authorityOf(t, "below", issuer, nil)
	_, err = full.WithIssued([][]byte{leafOf(t, "leaf", below, nil).cert.Raw, below.cert.Raw}, noon)
	wantErr(t, err, ErrFull)
	_, err = full.WithIntermediates(noon, below.cert.Raw)
	wantErr(t, err, ErrFull)
	// And an identifier of its key.
	known := trusting(t, s, file(t, "root-P-256.pem"))
	_, err = known.WithIssued(append([][]byte{leaf.cert.Raw, file(t, "nokeyid.pem")}, issuer.cert.Raw), noon)
	wantErr(t, err, ErrMissingKeyID)
}

// TestIntermediateWithoutKeyID takes the subject key identifier from a certificate that OpenSSL has made, which crypto/x509 would not leave out.
func TestIntermediateWithoutKeyID(t *testing.T) {
	_, err := anchored(t, "root-P-256.pem").WithIntermediates(noon, file(t, "nokeyid.pem"))
	wantErr(t, err, ErrMissingKeyID)
}

func TestEncodePEM(t *testing.T) {
	intermediate, root := file(t, "intermediate-P-256.pem"), file(t, "root-P-256.pem")
	chain, err := ParsePEMChain([]byte(EncodePEM(intermediate) + "between\n" + EncodePEM(root)))
	if err != nil || len(chain) != 2 || !bytes.Equal(chain[0], intermediate) || !bytes.Equal(chain[1], root) {
		t.Errorf("%d certificates, %v", len(chain), err)
	}
	list := file(t, "revoked.crl")
	block, rest := pem.Decode([]byte(EncodePEMCRL(list)))
	if block == nil || block.Type != "X509 CRL" || !bytes.Equal(block.Bytes, list) || len(rest) > 0 {
		t.Errorf("%.40q", EncodePEMCRL(list))
	}
}

func TestParsePEMChainRefusals(t *testing.T) {
	good := EncodePEM(file(t, "leaf-P-256.pem"))
	for _, tt := range []struct{ name, text string }{
		{"empty", ""},
		{"no block", "certificate"},
		{"another label", strings.ReplaceAll(good, "CERTIFICATE", "X509 CRL")},
		{"broken first", strings.Replace(good, "M", "*", 1) + good},
		{"broken last", good + good[:len(good)/2]},
		{"no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
		{"huge", good + strings.Repeat(" ", MaxPEMSize)},
		{"many", strings.Repeat(good, maxPEMCertificates+1)},
	} {
		if _, err := ParsePEMChain([]byte(tt.text)); err == nil {
			t.Errorf("%s: accepted", tt.name)
		} else {
			wantErr(t, err, ErrMalformed)
		}
	}
}

func TestSnapshotIsBounded(t *testing.T) {
	s := New(Policy{}, nil)
	root := authorityOf(t, "root", nil, nil)
	s.anchors = make([]*authority, MaxTrustAnchors)
	filler, err := newAnchor(authorityOf(t, "filler", nil, nil).cert.Raw)
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.anchors {
		s.anchors[i] = filler
	}
	_, err = s.WithTrustAnchor(root.cert.Raw, noon)
	wantErr(t, err, ErrFull)

	s = trusting(t, New(Policy{}, nil), root.cert.Raw)
	s.intermediates = make([]*authority, MaxIntermediates)
	for i := range s.intermediates {
		s.intermediates[i] = filler
	}
	_, err = s.WithIntermediates(noon, authorityOf(t, "one", root, nil).cert.Raw)
	wantErr(t, err, ErrFull)

	s = trusting(t, New(Policy{}, nil), root.cert.Raw)
	s.crls = make([]*crl, MaxCRLs)
	for i := range s.crls {
		s.crls[i] = &crl{}
	}
	_, _, err = s.WithCRL("http://example.com/root", listOf(t, root, 1, nil))
	wantErr(t, err, ErrFull)
}

// TestSnapshotKeepsNothingOfOthers changes what was handed in, and verifies.
func TestSnapshotKeepsNothingOfOthers(t *testing.T) {
	d := newDomain(t, Policy{})
	root, intermediate := bytes.Clone(d.root.cert.Raw), bytes.Clone(d.intermediate.cert.Raw)
	list, leaf := listOf(t, d.intermediate, 1, nil, d.bob), bytes.Clone(d.alice.cert.Raw)
	s := listing(t, knowing(t, trusting(t, New(Policy{}, NewMemory(9)), root), intermediate), listURL, list)
	v := s.Examine([][]byte{leaf}, noon)
	for _, b := range [][]byte{root, intermediate, list, leaf} {
		clear(b)
	}
	wantErr(t, s.Verify([][]byte{d.alice.cert.Raw}, noon), nil)
	wantErr(t, s.Verify([][]byte{d.bob.cert.Raw}, noon), ErrRevoked)
	wantErr(t, v.Identity.CheckKey(d.alice.key.Public().(ed25519.PublicKey)), nil)
	if again := listing(t, s.WithoutCRL(listURL), listURL, s.CRLs()[0].DER); !sameRecords(again.Records(), s.Records()) {
		t.Error("another list is stored than was registered")
	}
}
