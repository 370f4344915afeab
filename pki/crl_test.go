package pki

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"
)

const listURL = "http://example.com/list"

// domain is an anchor, an intermediate and two leaves below it.
type domain struct {
	root, intermediate, alice, bob *entity
	s                              *Snapshot
}

func newDomain(t testing.TB, policy Policy) *domain {
	t.Helper()
	d := &domain{root: authorityOf(t, "root", nil, nil)}
	d.intermediate = authorityOf(t, "intermediate", d.root, nil)
	d.alice = leafOf(t, "alice", d.intermediate, func(c *x509.Certificate) { c.CRLDistributionPoints = []string{listURL} })
	d.bob = leafOf(t, "bob", d.intermediate, nil)
	d.s = knowing(t, trusting(t, New(policy, nil), d.root.cert.Raw), d.intermediate.cert.Raw)
	return d
}

func (d *domain) verify(s *Snapshot, leaf *entity, now time.Time) error {
	return s.Verify([][]byte{leaf.cert.Raw}, now)
}

func TestCRLRefusals(t *testing.T) {
	d := newDomain(t, Policy{})
	mute := authorityOf(t, "mute", d.root, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign })
	s := knowing(t, d.s, mute.cert.Raw)
	speaking := &entity{cert: func() *x509.Certificate { c := *mute.cert; c.KeyUsage |= x509.KeyUsageCRLSign; return &c }(), key: mute.key}
	good := listOf(t, d.intermediate, 1, nil, d.alice)
	other := asn1.ObjectIdentifier{1, 2, 3}
	extended := func(x ...pkix.Extension) []byte {
		return listOf(t, d.intermediate, 1, func(l *x509.RevocationList) { l.ExtraExtensions = x }, d.alice)
	}
	entry := func(x pkix.Extension) []byte {
		return listOf(t, d.intermediate, 1, func(l *x509.RevocationList) {
			l.RevokedCertificateEntries[0].ReasonCode = 0
			l.RevokedCertificateEntries[0].ExtraExtensions = []pkix.Extension{x}
		}, d.alice)
	}
	forge := func(der []byte) []byte {
		forged := bytes.Clone(der)
		forged[len(forged)-1] ^= 1
		return forged
	}
	many := func(n int) []byte { // with those that every list has
		var x []pkix.Extension
		for i := range n - 2 {
			x = append(x, extension(t, asn1.ObjectIdentifier{1, 2, 4, i}, false, 1))
		}
		return extended(x...)
	}
	removed := listOf(t, d.intermediate, 1, func(l *x509.RevocationList) { l.RevokedCertificateEntries[0].ReasonCode = 8 }, d.alice)
	for _, tt := range []struct {
		name, url string
		der       []byte
		want      error
	}{
		{"good", listURL, good, nil},
		{"forged", listURL, forge(good), ErrSignature},
		{"forged, with an entry that is not read", listURL, forge(removed), ErrSignature},
		{"forged for elsewhere", listURL, forge(extended(issuingPoint(t, issuingDistributionPoint{}, listURL+"2"))), ErrCRLDistributionPoint},
		{"many extensions", listURL, many(maxCRLExtensions), nil},
		{"too many extensions", listURL, forge(many(maxCRLExtensions + 1)), ErrCRLMalformed},
		{"of nobody", listURL, listOf(t, authorityOf(t, "stranger", nil, nil), 1, nil), ErrCRLIssuer},
		{"of a leaf", listURL, listOf(t, &entity{d.intermediate.cert, d.alice.key}, 1, nil), ErrSignature},
		{"issuer may not", listURL, listOf(t, speaking, 1, nil), ErrUsage},
		{"no list", listURL, []byte("list"), ErrCRLMalformed},
		{"trailing", listURL, append(bytes.Clone(good), 0), ErrCRLMalformed},
		{"huge", listURL, make([]byte, MaxCRLSize+1), ErrCRLMalformed},
		{"backwards", listURL, timedList(t, d.intermediate, noon, noon.Add(-time.Second)), ErrCRLMalformed},
		{"long number", listURL, timedList(t, d.intermediate, noon, noon, extension(t, oidCRLNumber, false, new(big.Int).Lsh(big.NewInt(1), 8*maxSerialSize))), ErrCRLMalformed},
		{"negative number", listURL, timedList(t, d.intermediate, noon, noon, extension(t, oidCRLNumber, false, -1)), ErrCRLMalformed},
		{"delta", listURL, extended(extension(t, oidDeltaCRL, true, 1)), ErrCRLUnsupported},
		{"uncritical delta", listURL, extended(extension(t, oidDeltaCRL, false, 1)), ErrCRLUnsupported},
		{"critical", listURL, extended(extension(t, other, true, 1)), ErrCRLUnsupported},
		{"uncritical", listURL, extended(extension(t, other, false, 1)), nil},
		{"twice", listURL, extended(extension(t, other, false, 1), extension(t, other, false, 1)), ErrCRLMalformed},
		{"critical entry", listURL, entry(extension(t, asn1.ObjectIdentifier{2, 5, 29, 29}, true, 1)), ErrCRLUnsupported},
		{"uncritical entry", listURL, entry(extension(t, other, false, 1)), nil},
		{"removed", listURL, removed, ErrCRLUnsupported},
		{"reason", listURL, listOf(t, d.intermediate, 1, func(l *x509.RevocationList) { l.RevokedCertificateEntries[0].ReasonCode = 11 }, d.alice), ErrCRLUnsupported},
		{"indirect", listURL, extended(issuingPoint(t, issuingDistributionPoint{Indirect: true}, listURL)), ErrCRLUnsupported},
		{"attributes", listURL, extended(issuingPoint(t, issuingDistributionPoint{OnlyAttributes: true}, listURL)), ErrCRLUnsupported},
		{"here", listURL, extended(issuingPoint(t, issuingDistributionPoint{}, "ldap://example.com", listURL)), nil},
		{"elsewhere", listURL, extended(issuingPoint(t, issuingDistributionPoint{}, listURL+"2")), ErrCRLDistributionPoint},
		{"broken point", listURL, extended(pkix.Extension{Id: oidIssuingDistributionPoint, Critical: true, Value: []byte{0x30, 1}}), ErrCRLMalformed},
		{"broken name", listURL, extended(pkix.Extension{Id: oidIssuingDistributionPoint, Critical: true, Value: []byte{0x30, 4, 0xa0, 2, 0xa0, 1}}), ErrCRLMalformed},
		{"broken URI", listURL, extended(pkix.Extension{Id: oidIssuingDistributionPoint, Critical: true, Value: []byte{0x30, 5, 0xa0, 3, 0xa0, 1, 0x86}}), ErrCRLMalformed},
		{"file", "file:///etc/list", good, ErrCRLDistributionPoint},
		{"file, unread", "file:///etc/list", []byte("list"), ErrCRLDistributionPoint},
		{"relative", "/list", good, ErrCRLDistributionPoint},
		{"long", listURL + strings.Repeat("x", MaxURLSize), good, ErrCRLDistributionPoint},
	} {
		next, _, err := s.WithCRL(tt.url, tt.der)
		if tt.want == nil && err != nil || !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
		if (next == nil) != (err != nil) {
			t.Errorf("%s: a snapshot with %v", tt.name, err)
		}
	}
	_, _, err := New(Policy{}, nil).WithCRL(listURL, good)
	wantErr(t, err, ErrNoTrustAnchor)
}

// TestCRLSignatureAlgorithm changes the algorithm that a list names to RSA with SHA-1, inside and outside.
func TestCRLSignatureAlgorithm(t *testing.T) {
	der := file(t, "revoked.crl")
	ecdsa := []byte{0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02}
	sha1 := []byte{0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x7f}
	if bytes.Count(der, ecdsa) != 2 {
		t.Fatal("want the algorithm twice")
	}
	_, _, err := p256(t).WithCRL(crlURL, bytes.ReplaceAll(der, ecdsa, sha1))
	wantErr(t, err, ErrKeyType)
}

func TestCRLRollback(t *testing.T) {
	d := newDomain(t, Policy{})
	at := func(hours time.Duration, number int64) []byte {
		return listOf(t, d.intermediate, number, func(l *x509.RevocationList) {
			l.ThisUpdate, l.NextUpdate = noon.Add(hours*time.Hour), noon.Add((hours+1)*time.Hour)
		}, d.alice)
	}
	for _, tt := range []struct {
		name     string
		old, new []byte
		want     error
	}{
		{"higher number", at(0, 1), at(1, 2), nil},
		{"higher number, earlier", at(0, 1), at(-1, 2), nil},
		{"lower number", at(0, 2), at(1, 1), ErrCRLRollback},
		{"same number, later", at(0, 1), at(1, 1), nil},
		{"same number, earlier", at(0, 1), at(-1, 1), ErrCRLRollback},
		{"same", at(0, 1), at(0, 1), nil},
	} {
		s := listing(t, d.s, listURL, tt.old)
		_, _, err := s.WithCRL(listURL, tt.new)
		if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
	// The way back is to remove the list first.
	s := listing(t, d.s, listURL, at(0, 2))
	listing(t, s.WithoutCRL(listURL), listURL, at(0, 1))

	// A list of another issuer does not displace the first's.
	s = listing(t, d.s, listURL, at(0, 1))
	s = listing(t, s, listURL, listOf(t, d.root, 9, nil))
	if n := len(s.CRLs()); n != 2 {
		t.Errorf("%d lists", n)
	}
	wantErr(t, d.verify(s, d.alice, noon), ErrRevoked)
	if n := len(s.WithoutCRL(listURL).CRLs()); n != 0 {
		t.Errorf("%d lists left", n)
	}
}

// TestCRLsPerSigner has one issuer fill its room, which leaves that of another and the replacement of what is there.
func TestCRLsPerSigner(t *testing.T) {
	d := newDomain(t, Policy{})
	list := listOf(t, d.intermediate, 1, nil, d.alice)
	s, last := d.s, ""
	for i := range maxCRLsPerSigner {
		last = "http://example.com/" + strconv.Itoa(i)
		s = listing(t, s, last, list)
	}
	_, _, err := s.WithCRL(listURL, list)
	wantErr(t, err, ErrFull)
	listing(t, s, listURL, listOf(t, d.root, 1, nil))
	listing(t, s, last, listOf(t, d.intermediate, 2, nil))
	listing(t, s.WithoutCRL(last), listURL, list)
	again, err := Load(Policy{}, nil, s.Records())
	if err != nil || len(again.CRLs()) != maxCRLsPerSigner {
		t.Errorf("stored lists do not load: %v", err)
	}
}

// TestCRLDirty registers none, the same and a changed list, and one that changes a reason only.
func TestCRLDirty(t *testing.T) {
	d := newDomain(t, Policy{})
	hold := func(l *x509.RevocationList) { l.RevokedCertificateEntries[0].ReasonCode = int(ReasonCertificateHold) }
	s := d.s
	for i, step := range []struct {
		der   []byte
		dirty bool
	}{
		{listOf(t, d.intermediate, 1, nil, d.alice), false},
		{listOf(t, d.intermediate, 2, nil, d.alice), false},
		{listOf(t, d.intermediate, 3, nil, d.alice, d.bob), true},
		{listOf(t, d.intermediate, 4, nil, d.bob, d.alice), false},
		{listOf(t, d.intermediate, 5, hold, d.bob, d.alice), true},
		{listOf(t, d.intermediate, 6, nil), true},
	} {
		next, r, err := s.WithCRL(listURL, step.der)
		if err != nil || r.Dirty != step.dirty || !r.Expiration.Equal(noon.Add(time.Hour)) {
			t.Errorf("step %d: %+v, %v", i, r, err)
		}
		s = next
	}
	_, r, err := d.s.WithCRL(listURL, timedList(t, d.intermediate, noon, time.Time{}))
	if err != nil || r != (CRLRegistration{}) {
		t.Errorf("without nextUpdate: %+v, %v", r, err)
	}
}

func TestRevocation(t *testing.T) {
	d := newDomain(t, Policy{})
	s := listing(t, d.s, listURL, listOf(t, d.intermediate, 1, nil, d.alice))
	err := d.verify(s, d.alice, noon)
	var r *RevokedError
	if !errors.As(err, &r) || r.Depth != 0 || r.SerialNumber != "616c696365" || r.Reason != ReasonKeyCompromise || !r.At.Equal(noon.Add(-2*time.Hour)) {
		t.Fatalf("%+v", err)
	}
	if got, want := r.Error(), "pki: certificate is revoked: serial 616c696365 at depth 0, keyCompromise"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	wantErr(t, d.verify(s, d.bob, noon), nil)
	// Of a revoked certificate that has expired, time is told first.
	wantErr(t, d.verify(s, d.alice, noon.AddDate(2, 0, 0)), ErrExpired)

	// What a list says holds before its thisUpdate and after its nextUpdate.
	late := listing(t, d.s, listURL, listOf(t, d.intermediate, 1, func(l *x509.RevocationList) {
		l.ThisUpdate, l.NextUpdate = noon.AddDate(0, 1, 0), noon.AddDate(0, 2, 0)
	}, d.alice))
	for _, now := range []time.Time{noon, noon.AddDate(0, 1, 1), noon.AddDate(0, 3, 0)} {
		wantErr(t, d.verify(late, d.alice, now), ErrRevoked)
	}
	// A list that Bob's certificate does not name speaks of him as well: it is his issuer's.
	wantErr(t, d.verify(listing(t, d.s, listURL, listOf(t, d.intermediate, 1, nil, d.bob)), d.bob, noon), ErrRevoked)
	// The same serial numbers in a list of another issuer mean nothing.
	wantErr(t, d.verify(listing(t, d.s, listURL, listOf(t, d.root, 1, nil, d.alice)), d.alice, noon), nil)

	above := listing(t, d.s, listURL, listOf(t, d.root, 1, nil, d.intermediate))
	err = d.verify(above, d.alice, noon)
	if !errors.As(err, &r) || r.Depth != 1 {
		t.Errorf("%v", err)
	}
	// With its anchor goes the list; the intermediate's stays.
	both := listing(t, above, listURL, listOf(t, d.intermediate, 1, nil))
	gone, err := both.WithoutTrustAnchor(both.TrustAnchors()[0].Fingerprint)
	if err != nil || len(gone.CRLs()) != 1 {
		t.Errorf("%d lists, %v", len(gone.CRLs()), err)
	}
}

// TestRequireCRL is the strict policy: no certificate below a trust anchor counts without a current list that covers it.
func TestRequireCRL(t *testing.T) {
	d := newDomain(t, Policy{RequireCRL: true})
	wantErr(t, d.verify(d.s, d.alice, noon), ErrCRLMissing)
	_, err := d.s.VerifyIssued([][]byte{d.alice.cert.Raw}, noon) // a new certificate, whose lists nobody has fetched
	wantErr(t, err, nil)
	_, err = listing(t, d.s, listURL, listOf(t, d.intermediate, 1, nil, d.alice)).VerifyIssued([][]byte{d.alice.cert.Raw}, noon)
	wantErr(t, err, ErrRevoked)
	scoped := func(p issuingDistributionPoint, urls ...string) []byte {
		return listOf(t, d.intermediate, 1, func(l *x509.RevocationList) { l.ExtraExtensions = []pkix.Extension{issuingPoint(t, p, urls...)} })
	}
	naming := func(points ...string) *entity {
		return leafOf(t, "naming", d.intermediate, func(c *x509.Certificate) { c.CRLDistributionPoints = points })
	}
	var beyond []string
	for i := range maxDistributionPoint {
		beyond = append(beyond, "http://example.com/"+strings.Repeat("x", i+1))
	}
	beyond = append(beyond, listURL+"2")
	directory := leafOf(t, "directory", d.intermediate, func(c *x509.Certificate) { // a directory name, which crypto/x509 passes over
		c.ExtraExtensions = []pkix.Extension{{Id: oidCRLDistributionPoints, Value: []byte{0x30, 10, 0x30, 8, 0xa0, 6, 0xa0, 4, 0xa4, 2, 0x30, 0}}}
	})
	s := listing(t, d.s, "http://example.com/root", timedList(t, d.root, noon.AddDate(-1, 0, 0), time.Time{}))
	for _, tt := range []struct {
		name string
		der  []byte
		url  string
		leaf *entity
		now  time.Time
		want error
	}{
		{"current", listOf(t, d.intermediate, 1, nil), listURL, d.alice, noon, nil},
		{"at nextUpdate", listOf(t, d.intermediate, 1, nil), listURL, d.alice, noon.Add(time.Hour), nil},
		{"stale", listOf(t, d.intermediate, 1, nil), listURL, d.alice, noon.Add(time.Hour + time.Second), ErrCRLStale},
		{"early", listOf(t, d.intermediate, 1, nil), listURL, d.alice, noon.Add(-2 * time.Hour), ErrCRLStale},
		{"revoked", listOf(t, d.intermediate, 1, nil, d.alice), listURL, d.alice, noon.Add(2 * time.Hour), ErrRevoked},
		{"its point", scoped(issuingDistributionPoint{}, listURL), listURL, d.alice, noon, nil},
		{"another point", scoped(issuingDistributionPoint{}, listURL+"2"), listURL + "2", d.alice, noon, ErrCRLMissing},
		{"no point named", scoped(issuingDistributionPoint{}, listURL), listURL, d.bob, noon, nil},
		{"unusable point", scoped(issuingDistributionPoint{}, listURL), listURL, naming("ldap://example.com/list"), noon, ErrCRLMissing},
		{"long point", scoped(issuingDistributionPoint{}, listURL), listURL, naming("http://" + strings.Repeat("x", MaxURLSize)), noon, ErrCRLMissing},
		{"beyond the first", scoped(issuingDistributionPoint{}, listURL+"2"), listURL + "2", naming(beyond...), noon, ErrCRLMissing},
		{"directory name", scoped(issuingDistributionPoint{}, listURL), listURL, directory, noon, ErrCRLMissing},
		{"unusable point, list of all", listOf(t, d.intermediate, 1, nil), listURL, naming("ldap://example.com/list"), noon, nil},
		{"users", scoped(issuingDistributionPoint{OnlyUser: true}), listURL, d.alice, noon, nil},
		{"authorities", scoped(issuingDistributionPoint{OnlyCA: true}), listURL, d.alice, noon, ErrCRLMissing},
		{"some reasons", scoped(issuingDistributionPoint{SomeReasons: asn1.BitString{Bytes: []byte{0x40}, BitLength: 2}}), listURL, d.alice, noon, ErrCRLMissing},
		{"point without URI", listOf(t, d.intermediate, 1, func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: oidIssuingDistributionPoint, Critical: true, Value: []byte{0x30, 4, 0xa0, 2, 0xa1, 0}}}
		}), listURL, d.alice, noon, ErrCRLMissing},
	} {
		with := listing(t, s, tt.url, tt.der)
		if err := d.verify(with, tt.leaf, tt.now); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
}

// timedList makes an empty list as crypto/x509 would not write it; a zero nextUpdate is left out.
func timedList(t testing.TB, issuer *entity, thisUpdate, nextUpdate time.Time, extensions ...pkix.Extension) []byte {
	t.Helper()
	var name pkix.RDNSequence
	if _, err := asn1.Unmarshal(issuer.cert.RawSubject, &name); err != nil {
		t.Fatal(err)
	}
	ed25519OID := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 3, 101, 112}}
	tbs, err := asn1.Marshal(struct {
		Version                int
		Signature              pkix.AlgorithmIdentifier
		Issuer                 pkix.RDNSequence
		ThisUpdate, NextUpdate time.Time        `asn1:"optional"`
		Extensions             []pkix.Extension `asn1:"tag:0,optional,explicit"`
	}{1, ed25519OID, name, thisUpdate, nextUpdate, extensions})
	if err != nil {
		t.Fatal(err)
	}
	signature := ed25519.Sign(issuer.key, tbs)
	der, err := asn1.Marshal(struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: tbs}, ed25519OID, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestReasonStrings(t *testing.T) {
	for r := range ReasonAACompromise + 1 {
		s := r.String()
		if s == "" || strings.HasPrefix(s, "reason ") != (r == 7 || r == 8) {
			t.Errorf("%d: %q", uint8(r), s)
		}
	}
}
