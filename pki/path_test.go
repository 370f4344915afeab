package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestPaths gives authorities and leaves what they should not have.
func TestPaths(t *testing.T) {
	constrained := func(domains ...string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.PermittedDNSDomainsCritical, c.PermittedURIDomains = true, domains }
	}
	for _, tt := range []struct {
		name      string
		authority func(*x509.Certificate)
		leaf      func(*x509.Certificate)
		want      error
	}{
		{"plain", nil, nil, nil},
		{"extended usage of any", nil, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }, nil},
		{"no usages", nil, func(c *x509.Certificate) { c.KeyUsage, c.ExtKeyUsage = 0, nil }, nil},
		{"authority of servers", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, nil, ErrUsage},
		{"encryption", nil, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }, ErrUsage},
		{"permitted host", constrained("wire.example"), nil, nil},
		{"permitted among others", constrained("other.example", "WIRE.example"), nil, nil},
		{"permitted below", constrained(".example"), nil, nil},
		{"permitted everywhere", constrained(""), nil, nil},
		{"host above", constrained("example"), nil, ErrNameConstraint},
		{"only below", constrained(".wire.example"), nil, ErrNameConstraint},
		{"end of a name", constrained("ire.example"), nil, ErrNameConstraint},
		{"excluded", func(c *x509.Certificate) {
			c.PermittedDNSDomainsCritical, c.ExcludedURIDomains = true, []string{"wire.example"}
		}, nil, ErrNameConstraint},
		{"excluded others", func(c *x509.Certificate) {
			c.PermittedDNSDomainsCritical, c.ExcludedURIDomains = true, []string{"evil.example"}
		}, nil, nil},
		{"constraint on other names", func(c *x509.Certificate) {
			c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, []string{"wire.example"}
		}, func(c *x509.Certificate) { c.DNSNames = []string{"evil.example"} }, ErrNameConstraint},
		{"directory names", func(c *x509.Certificate) { // permitted: a directory name, which the standard library cannot judge
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 30}, Critical: true, Value: []byte{0x30, 8, 0xa0, 6, 0x30, 4, 0xa4, 2, 0x30, 0}}}
		}, nil, ErrCriticalExtension},
		{"critical in authority", func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{extension(t, asn1.ObjectIdentifier{1, 2, 3}, true, 1)}
		}, nil, ErrCriticalExtension},
		{"critical in leaf", nil, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{extension(t, asn1.ObjectIdentifier{1, 2, 3}, true, 1)}
		}, ErrCriticalExtension},
		{"uncritical", nil, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{extension(t, asn1.ObjectIdentifier{1, 2, 3}, false, 1)}
		}, nil},
		{"explicit policy", func(c *x509.Certificate) { // requireExplicitPolicy 0
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 36}, Critical: true, Value: []byte{0x30, 3, 0x80, 1, 0}}}
		}, nil, ErrPolicy},
		{"never at once", func(c *x509.Certificate) { c.NotAfter = noon.AddDate(0, -6, 0) },
			func(c *x509.Certificate) { c.NotBefore = noon.AddDate(0, -5, 0) }, ErrIssuerExpired},
		{"over before it began", nil, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = noon.Add(-time.Minute), noon.Add(-time.Hour) }, ErrExpired},
		{"authority over", func(c *x509.Certificate) { c.NotAfter = noon.Add(-time.Second) }, nil, ErrIssuerExpired},
		{"authority to come", func(c *x509.Certificate) { c.NotBefore = noon.Add(time.Second) }, nil, ErrNotYetValid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := authorityOf(t, "root", nil, nil)
			intermediate := authorityOf(t, "intermediate", root, tt.authority)
			leaf := leafOf(t, "leaf", intermediate, tt.leaf)
			a, err := newAuthority(intermediate.cert.Raw)
			if err != nil {
				t.Fatal(err)
			}
			s := trusting(t, New(Policy{}, nil), root.cert.Raw)
			s.intermediates = append(s.intermediates, a) // past the checks of registering
			wantErr(t, s.index().Verify([][]byte{leaf.cert.Raw}, noon), tt.want)
		})
	}
}

// TestExpiredIsProperlyIssued looks for a forged or constrained certificate that passes for one that is only too old, which may stay in a group.
func TestExpiredIsProperlyIssued(t *testing.T) {
	root := authorityOf(t, "root", nil, func(c *x509.Certificate) {
		c.PermittedDNSDomainsCritical, c.PermittedURIDomains = true, []string{"wire.example"}
	})
	s := trusting(t, New(Policy{}, nil), root.cert.Raw)
	old := func(c *x509.Certificate) { c.NotAfter = noon.AddDate(0, -1, 0) }
	mallory := &entity{root.cert, seededKey("mallory")}
	for _, tt := range []struct {
		name string
		leaf *entity
		want error
	}{
		{"old", leafOf(t, "old", root, old), ErrExpired},
		{"forged", forgedLeaf(t, mallory, old), ErrSignature},
		{"elsewhere", leafOf(t, "elsewhere", root, func(c *x509.Certificate) {
			old(c)
			c.Subject.Organization = []string{"evil.example"}
			c.URIs = uris(t, "wireapp://%40alice_wire@evil.example", "wireapp://WqEqc9dIRoKh3VyUJ8k6QA%219e4ef7e72ec9e5b9@evil.example")
		}), ErrNameConstraint},
	} {
		err := s.Verify([][]byte{tt.leaf.cert.Raw}, noon)
		wantErr(t, err, tt.want)
		if got, want := Admissible(err), tt.name == "old"; got != want {
			t.Errorf("%s: admissible %v", tt.name, got)
		}
	}
}

// TestErrorsNameNobody looks for parts of client id, handle and display name in errors about a certificate: they go to logs.
func TestErrorsNameNobody(t *testing.T) {
	d := newDomain(t, Policy{})
	constrained := func(name string, edit func(*x509.Certificate)) *entity {
		e := authorityOf(t, name, d.root, func(c *x509.Certificate) { c.PermittedDNSDomainsCritical = true; edit(c) })
		d.s = knowing(t, d.s, e.cert.Raw)
		return e
	}
	permitted := constrained("permitted", func(c *x509.Certificate) { c.PermittedURIDomains = []string{"elsewhere.example"} })
	above := constrained("above", func(c *x509.Certificate) { c.PermittedURIDomains = []string{"example"} })
	excluded := constrained("excluded", func(c *x509.Certificate) { c.ExcludedURIDomains = []string{"wire.example"} })
	anonymous := &entity{authorityOf(t, "alice_wire", d.root, nil).cert, seededKey("mallory")}
	d.s = knowing(t, d.s, anonymous.cert.Raw)
	broken, err := x509.CreateCertificate(nil, &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: noon, NotAfter: noon, ExtraExtensions: []pkix.Extension{alternativeNames(t, aliceHandle+":x", aliceDevice)},
	}, d.intermediate.cert, d.alice.key.Public(), d.intermediate.key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x509.ParseCertificate(broken); err == nil || !strings.Contains(err.Error(), "alice_wire") {
		t.Fatalf("the library's text has no name in it: %v", err)
	}
	for name, tt := range map[string]struct {
		der  []byte
		want error
	}{
		"not permitted": {leafOf(t, "leaf", permitted, nil).cert.Raw, ErrNameConstraint},
		"host above":    {leafOf(t, "leaf", above, nil).cert.Raw, ErrNameConstraint},
		"excluded":      {leafOf(t, "leaf", excluded, nil).cert.Raw, ErrNameConstraint},
		"forged":        {forgedLeaf(t, anonymous, nil).cert.Raw, ErrSignature},
		"usage":         {leafOf(t, "leaf", d.intermediate, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }).cert.Raw, ErrUsage},
		"malformed":     {broken, ErrMalformed},
	} {
		err := d.s.Verify([][]byte{tt.der}, noon)
		wantErr(t, err, tt.want)
		for _, part := range []string{"alice", "Alice", "WqEq", "9e4ef7e72ec9e5b9", "wire.example"} {
			if err != nil && strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q", name, err)
			}
		}
	}
}

// TestRenewedAuthority asks those who hold the old certificate of an authority, the renewed one or both about a leaf that expired before the renewal.
// They may differ about nothing that keeps somebody out of a group.
func TestRenewedAuthority(t *testing.T) {
	root := authorityOf(t, "root", nil, nil)
	renewal := noon.AddDate(0, -3, 0)
	old := authorityOf(t, "intermediate", root, func(c *x509.Certificate) { c.NotAfter = renewal })
	renewed := authorityOf(t, "intermediate", root, func(c *x509.Certificate) { c.NotBefore = renewal })
	leaf := leafOf(t, "leaf", old, func(c *x509.Certificate) { c.NotAfter = noon.AddDate(0, -6, 0) })
	s := trusting(t, New(Policy{}, nil), root.cert.Raw)
	first, err := s.WithIntermediates(noon.AddDate(0, -6, 0), old.cert.Raw)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*Snapshot{"old": first, "renewed": knowing(t, s, renewed.cert.Raw), "both": knowing(t, first, renewed.cert.Raw)} {
		err := s.Verify([][]byte{leaf.cert.Raw}, noon)
		wantErr(t, err, ErrExpired)
		if !Admissible(err) || s.Policy().StatusOf(err) != DeviceStatusExpired {
			t.Errorf("%s: not admissible: %v", name, err)
		}
	}
}

// forgedLeaf makes a leaf whose signature is of another key than its issuer's; crypto/x509 refuses to make one.
func forgedLeaf(t testing.TB, issuer *entity, edit func(*x509.Certificate)) *entity {
	t.Helper()
	c := *issuer.cert
	c.PublicKey = issuer.key.Public()
	return leafOf(t, "forged", &entity{&c, issuer.key}, edit)
}

// TestRollover has two keys under one name, of which the newer vouches for the older. By names there are two paths; the leaf takes one of them.
func TestRollover(t *testing.T) {
	noID := func(e *entity) *entity { c := *e.cert; c.SubjectKeyId = nil; return &entity{&c, e.key} }
	named := func(c *x509.Certificate) { c.Subject.CommonName = "rollover" }
	root := authorityOf(t, "root", nil, nil)
	newer := authorityOf(t, "newer", root, named)
	older := authorityOf(t, "older", noID(newer), named)
	s := knowing(t, trusting(t, New(Policy{}, nil), root.cert.Raw), newer.cert.Raw, older.cert.Raw)
	for _, issuer := range []*entity{newer, older} {
		leaf := leafOf(t, "leaf", noID(issuer), nil)
		if n := len(s.paths(leaf.cert, nil)); n != 2 {
			t.Errorf("%d paths by names", n)
		}
		j := s.judgeLeaf(leaf.cert.Raw, nil)
		if j.err != nil || len(j.paths) != 1 || j.paths[0][0].key != fingerprint(issuer.cert) {
			t.Errorf("%d paths, %v", len(j.paths), j.err)
		}
	}
	// A list of the one key says nothing about what the other has signed.
	s = listing(t, s, listURL, listOf(t, older, 1, nil, leafOf(t, "leaf", newer, nil)))
	wantErr(t, s.Verify([][]byte{leafOf(t, "leaf", newer, nil).cert.Raw}, noon), nil)
	wantErr(t, s.Verify([][]byte{leafOf(t, "leaf", older, nil).cert.Raw}, noon), ErrRevoked)
}

// TestOneKeyTwoNames revokes under one name of an authority what it has issued under another.
func TestOneKeyTwoNames(t *testing.T) {
	root := authorityOf(t, "root", nil, nil)
	first := authorityOf(t, "key", root, func(c *x509.Certificate) { c.Subject.CommonName = "first" })
	second := authorityOf(t, "key", root, func(c *x509.Certificate) { c.Subject.CommonName = "second" })
	s := knowing(t, trusting(t, New(Policy{}, nil), root.cert.Raw), first.cert.Raw, second.cert.Raw)
	leaf := leafOf(t, "leaf", first, nil)
	s = listing(t, s, listURL, listOf(t, second, 1, nil, leaf))
	wantErr(t, s.Verify([][]byte{leaf.cert.Raw}, noon), nil)
	wantErr(t, listing(t, s, listURL+"2", listOf(t, first, 1, nil, leaf)).Verify([][]byte{leaf.cert.Raw}, noon), ErrRevoked)
}

// TestPathsAreBounded builds a thicket of authorities that certify each other.
func TestPathsAreBounded(t *testing.T) {
	root := authorityOf(t, "root", nil, nil)
	s := trusting(t, New(Policy{}, nil), root.cert.Raw)
	noID := func(c *x509.Certificate) { c.SubjectKeyId = nil }
	var layer []*entity
	for i := range 8 {
		layer = append(layer, authorityOf(t, "layer"+strconv.Itoa(i), nil, noID))
	}
	for _, below := range layer {
		for _, above := range layer {
			if below == above {
				continue
			}
			der, err := x509.CreateCertificate(nil, below.cert, above.cert, below.key.Public(), above.key)
			if err != nil {
				t.Fatal(err)
			}
			a, err := newAuthority(der)
			if err != nil {
				t.Fatal(err)
			}
			s.intermediates = append(s.intermediates, a)
		}
	}
	s.index()
	leaf := leafOf(t, "leaf", layer[0], nil)
	b := &climber{snapshot: s}
	b.climb(leaf.cert, nil)
	if len(b.found) != 0 || b.steps > maxPathSteps+MaxChainLength*len(layer) {
		t.Errorf("%d paths in %d steps", len(b.found), b.steps)
	}
	wantErr(t, s.Verify([][]byte{leaf.cert.Raw}, noon), ErrNoPath)
}

// TestLongPath is at the bound, and beyond.
func TestLongPath(t *testing.T) {
	root := authorityOf(t, "root", nil, nil)
	s := trusting(t, New(Policy{}, nil), root.cert.Raw)
	last := root
	for i := range MaxChainLength - 2 {
		last = authorityOf(t, "intermediate"+strconv.Itoa(i), last, nil)
		a, err := newAuthority(last.cert.Raw)
		if err != nil {
			t.Fatal(err)
		}
		s.intermediates = append(s.intermediates, a)
	}
	s.index()
	wantErr(t, s.Verify([][]byte{leafOf(t, "leaf", last, nil).cert.Raw}, noon), nil)
	one := authorityOf(t, "one more", last, nil)
	_, err := s.VerifyIssued([][]byte{leafOf(t, "leaf", one, nil).cert.Raw, one.cert.Raw}, noon)
	wantErr(t, err, ErrNoPath)
}

func TestChainShapes(t *testing.T) {
	d := newDomain(t, Policy{})
	leaf := d.alice.cert.Raw
	long := make([][]byte, MaxChainLength+1)
	for i := range long {
		long[i] = leaf
	}
	for _, chain := range [][][]byte{nil, long, {nil}, {make([]byte, MaxCertificateSize+1)}, {[]byte("certificate")}} {
		wantErr(t, d.s.Verify(chain, noon), ErrMalformed)
		_, err := d.s.VerifyIssued(chain, noon)
		wantErr(t, err, ErrMalformed)
		_, err = d.s.WithIssued(chain, noon)
		if err == nil {
			t.Error("registered")
		}
	}
	// What is behind the leaf does not matter for a member, but does for what an issuer sends.
	wantErr(t, d.s.Verify([][]byte{leaf, []byte("junk")}, noon), nil)
	_, err := d.s.VerifyIssued([][]byte{leaf, []byte("junk")}, noon)
	wantErr(t, err, ErrMalformed)
	_, err = d.s.VerifyIssued([][]byte{leaf, leaf}, noon)
	wantErr(t, err, ErrUsage)
	if id, err := d.s.VerifyIssued([][]byte{leaf, d.intermediate.cert.Raw, d.root.cert.Raw}, noon); err != nil || id.DisplayName != "Alice Smith" {
		t.Errorf("%+v, %v", id, err)
	}
}

// TestValidityEnds holds the ends of a period, which belong to it, against times of less than a second.
func TestValidityEnds(t *testing.T) {
	d := newDomain(t, Policy{})
	leaf := leafOf(t, "leaf", d.intermediate, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = noon, noon.Add(time.Minute) })
	for _, tt := range []struct {
		at   time.Duration
		want error
	}{
		{-time.Nanosecond, ErrNotYetValid}, {0, nil}, {time.Minute, nil}, {time.Minute + 999*time.Millisecond, nil}, {time.Minute + time.Second, ErrExpired},
	} {
		wantErr(t, d.verify(d.s, leaf, noon.Add(tt.at)), tt.want)
	}
}

func TestKeyTypes(t *testing.T) {
	d := newDomain(t, Policy{})
	key, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: noon.AddDate(-1, 0, 0), NotAfter: noon.AddDate(1, 0, 0), URIs: uris(t, aliceHandle, aliceDevice)}
	der, err := x509.CreateCertificate(nil, c, d.intermediate.cert, key.Public(), d.intermediate.key)
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, d.s.Verify([][]byte{der}, noon), ErrKeyType)
	_, err = ParseIdentity(der)
	wantErr(t, err, ErrKeyType)
	long := leafOf(t, "a serial number that is far longer than the twenty bytes that it may have in RFC 5280", d.intermediate, nil)
	wantErr(t, d.verify(d.s, long, noon), ErrMalformed)
}
