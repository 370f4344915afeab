package pki

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"slices"
	"strings"
	"testing"
)

func TestParseIdentity(t *testing.T) {
	const other = "wireapp://WqEqc9dIRoKh3VyUJ8k6QA!1@wire.example"
	for _, tt := range []struct {
		name, subject string
		uris          []string
		want          error
	}{
		{"as issued", "wire.example", []string{aliceHandle, aliceDevice}, nil},
		{"other order, unescaped", "wire.example", []string{other, aliceHandle}, nil},
		{"more names", "wire.example", []string{"https://wire.example", aliceDevice, "wireapp://nobody@wire.example", aliceHandle, "wireapp://wire.example"}, nil},
		{"leading zeros", "wire.example", []string{aliceHandle, "wireapp://WqEqc9dIRoKh3VyUJ8k6QA!0001@wire.example"}, nil},
		{"two devices", "wire.example", []string{aliceHandle, aliceDevice, other}, ErrDuplicateName},
		{"one device twice", "wire.example", []string{aliceHandle, aliceDevice, strings.Replace(aliceDevice, "%21", "!", 1)}, ErrDuplicateName},
		{"two handles", "wire.example", []string{aliceHandle, aliceDevice, "wireapp://%40bob@wire.example"}, ErrDuplicateName},
		{"no device", "wire.example", []string{aliceHandle}, ErrIdentity},
		{"no handle", "wire.example", []string{aliceDevice}, ErrIdentity},
		{"empty handle", "wire.example", []string{aliceDevice, "wireapp://%40@wire.example"}, ErrIdentity},
		{"handle with password", "wire.example", []string{aliceDevice, "wireapp://%40alice:x@wire.example"}, ErrIdentity},
		{"handle with password beside another", "wire.example", []string{aliceHandle, aliceDevice, "wireapp://%40bob:x@wire.example"}, ErrIdentity},
		{"handle with empty password", "wire.example", []string{aliceHandle, aliceDevice, "wireapp://%40bob:@wire.example"}, ErrIdentity},
		{"handle with path", "wire.example", []string{aliceDevice, aliceHandle + "/x"}, ErrIdentity},
		{"handle with slash", "wire.example", []string{aliceDevice, aliceHandle + "/"}, ErrIdentity},
		{"handle with query", "wire.example", []string{aliceDevice, aliceHandle + "?x"}, ErrIdentity},
		{"handle with empty query", "wire.example", []string{aliceDevice, aliceHandle + "?"}, ErrIdentity},
		{"handle with fragment", "wire.example", []string{aliceDevice, aliceHandle + "#x"}, ErrIdentity},
		{"handle with empty fragment", "wire.example", []string{aliceDevice, aliceHandle, aliceHandle + "#"}, ErrIdentity},
		{"escaped slash", "wire.example", []string{aliceDevice, "wireapp://%40a%2Fb@wire.example"}, nil},
		{"path in another URI", "wire.example", []string{aliceDevice, aliceHandle, "https://%40bob@wire.example/x?y#z"}, nil},
		{"no domain", "", []string{aliceHandle, aliceDevice}, ErrIdentity},
		{"organisation", "Wire.example", []string{aliceHandle, aliceDevice}, ErrDomain},
		{"handle elsewhere", "wire.example", []string{"wireapp://%40alice@evil.example", aliceDevice}, ErrDomain},
		{"device elsewhere", "wire.example", []string{aliceHandle, "wireapp://WqEqc9dIRoKh3VyUJ8k6QA!1@evil.example"}, ErrDomain},
	} {
		t.Run(tt.name, func(t *testing.T) {
			leaf := leafOf(t, "leaf", nil, func(c *x509.Certificate) {
				c.URIs = nil
				c.ExtraExtensions = []pkix.Extension{alternativeNames(t, tt.uris...)}
				c.Subject.Organization = nil
				if tt.subject != "" {
					c.Subject.Organization = []string{tt.subject}
				}
			})
			id, err := ParseIdentity(leaf.cert.Raw)
			wantErr(t, err, tt.want)
			if (id == nil) != (err != nil) {
				t.Errorf("identity %+v with %v", id, err)
			}
		})
	}
}

// TestIdentityTexts looks at names and handles beyond ASCII, and at several of a kind in a subject.
func TestIdentityTexts(t *testing.T) {
	const handle = "wireapp://%40z%C3%BCrich%20%2B@wire.example"
	organisation, name := asn1.ObjectIdentifier{2, 5, 4, 10}, asn1.ObjectIdentifier{2, 5, 4, 3}
	of := func(names ...pkix.AttributeTypeAndValue) []byte {
		return leafOf(t, "leaf", nil, func(c *x509.Certificate) {
			c.URIs = nil
			c.ExtraExtensions = []pkix.Extension{alternativeNames(t, handle, aliceDevice)}
			c.Subject = pkix.Name{ExtraNames: append(names,
				pkix.AttributeTypeAndValue{Type: organisation, Value: "wire.example"}, pkix.AttributeTypeAndValue{Type: name, Value: "Zoë Å. 🦊"})}
		}).cert.Raw
	}
	for _, second := range []pkix.AttributeTypeAndValue{
		{Type: organisation, Value: "first.example"}, {Type: organisation, Value: "wire.example"}, {Type: name, Value: "first"}, {Type: name, Value: ""},
	} {
		_, err := ParseIdentity(of(second))
		wantErr(t, err, ErrDuplicateName)
	}
	id, err := ParseIdentity(of(pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 11}, Value: "unit"}))
	if err != nil {
		t.Fatal(err)
	}
	if id.Handle != handle || id.BareHandle() != "zürich +" || id.DisplayName != "Zoë Å. 🦊" || id.Domain != "wire.example" {
		t.Errorf("%+v, bare handle %q", id, id.BareHandle())
	}
}

// alternativeNames makes the extension without the detour through url.URL.
func alternativeNames(t testing.TB, uris ...string) pkix.Extension {
	t.Helper()
	var names []asn1.RawValue
	for _, u := range uris {
		names = append(names, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tagURI, Bytes: []byte(u)})
	}
	return extension(t, oidSubjectAltName, false, names)
}

func TestSerialText(t *testing.T) {
	for n, want := range map[int64]string{0: "00", 1: "01", 0x7f: "7f", 0x80: "0080", 0xff00: "00ff00", 0x1234: "1234"} {
		if got := serialText(big.NewInt(n)); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestGeneralURIs(t *testing.T) {
	if _, err := generalURIs([]byte{0x86, 5, 'a'}); err == nil {
		t.Error("a short name is accepted")
	}
	broken := &x509.Certificate{Extensions: []pkix.Extension{{Id: oidSubjectAltName, Value: []byte{0x30, 1}}}}
	_, err := alternativeURIs(broken)
	wantErr(t, err, ErrMalformed)
}

// TestThumbprint holds the vectors of the reference, and of a key of each other suite the form.
func TestThumbprint(t *testing.T) {
	decode := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ed := decode("I-6zCgDBsDm3avLvvqJD9CLWm8HRNRoJe-JFOQCEp2Q")
	p256 := append([]byte{4}, append(decode("KKIwHE0jKHJXdzF3lEeIfRw0Vqf-S6YIjX6t6iSZPIE"), decode("Kng6pbKYmgw1MWCyaoXEbP3nYPpvs5yH7BYOhrivpe0")...)...)
	p384, err := ParseIdentity(file(t, "leaf-P-384.pem"))
	if err != nil {
		t.Fatal(err)
	}
	p521, err := ParseIdentity(file(t, "leaf-P-521.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		suite uint16
		key   []byte
		want  string
		size  int
	}{
		{1, ed, "TzUK1HJlkNG3JYOzw8RItIXQ3Mt1p6H1OYQbOji-A-g", 43},
		{3, ed, "TzUK1HJlkNG3JYOzw8RItIXQ3Mt1p6H1OYQbOji-A-g", 43},
		{2, p256, "ESpNh4PQZO3u7Q1laesYlhHQfV7LBZKdKGfyyCY2YTU", 43},
		{7, p384.PublicKey, "", 64},
		{5, p521.PublicKey, "", 86},
		{4, make([]byte, 57), "", 86},
		{6, make([]byte, 57), "", 86},
	} {
		got := Thumbprint(tt.suite, tt.key)
		if len(got) != tt.size || tt.want != "" && got != tt.want {
			t.Errorf("suite %d: %q, want %q", tt.suite, got, tt.want)
		}
		if got := Thumbprint(tt.suite, tt.key[1:]); got != "" {
			t.Errorf("suite %d: %q for a short key", tt.suite, got)
		}
	}
	if got := Thumbprint(2, append([]byte{4}, make([]byte, 64)...)); got != "" {
		t.Errorf("%q for a point off the curve", got)
	}
	for _, suite := range []uint16{0, 8} {
		if got := Thumbprint(suite, ed); got != "" {
			t.Errorf("%q for suite %d", got, suite)
		}
	}
}

func TestDistributionPoints(t *testing.T) {
	root := authorityOf(t, "root", nil, nil)
	points := func(urls ...string) []byte {
		return leafOf(t, "leaf", root, func(c *x509.Certificate) { c.CRLDistributionPoints = urls }).cert.Raw
	}
	var many []string
	for i := range maxDistributionPoint + 4 {
		many = append(many, "http://example.com/"+strings.Repeat("x", i+1))
	}
	for _, tt := range []struct {
		name  string
		chain [][]byte
		want  []string
	}{
		{"none", [][]byte{points()}, nil},
		{"no chain", nil, nil},
		{"in order, once", [][]byte{points("http://b", "https://a", "http://b"), points("http://c", "https://a")}, []string{"http://b", "https://a", "http://c"}},
		{"fetchable", [][]byte{points("ldap://a", "file:///a", "http:a", "a", "http://"+strings.Repeat("x", MaxURLSize), "http://a")}, []string{"http://a"}},
		{"so many", [][]byte{points(many...)}, many[:maxDistributionPoint]},
		{"junk behind", [][]byte{points("http://a"), []byte("junk")}, []string{"http://a"}},
	} {
		got, err := DistributionPoints(tt.chain)
		if err != nil || strings.Join(got, " ") != strings.Join(tt.want, " ") || (got == nil) != (tt.want == nil) {
			t.Errorf("%s: %v, %v, want %v", tt.name, got, err, tt.want)
		}
	}
	_, err := DistributionPoints([][]byte{[]byte("junk")})
	wantErr(t, err, ErrMalformed)

	pointed := authorityOf(t, "pointed", nil, func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://d"} })
	s := trusting(t, trusting(t, New(Policy{}, NewMemory(16)), root.cert.Raw), pointed.cert.Raw)
	s = knowing(t, s, authorityOf(t, "intermediate", root, func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://b"} }).cert.Raw)
	s = listing(t, s, "http://a", listOf(t, root, 1, nil))
	unknown := authorityOf(t, "unknown", root, func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://169.254.169.254/"} })
	wantErr(t, s.Verify([][]byte{points("http://e")}, noon), nil) // so it is remembered
	for _, tt := range []struct {
		name   string
		chains [][][]byte
		want   []string
	}{
		{"nothing named", [][][]byte{{points()}, {[]byte("junk")}}, nil},
		{"all known", [][][]byte{{points("http://a")}}, []string{}},
		{"huge", [][][]byte{{make([]byte, MaxCertificateSize+1)}}, nil},
		{"of an intermediate", [][][]byte{{points(), s.Intermediates()[0]}}, []string{"http://b"}},
		{"of an anchor", [][][]byte{{points(), pointed.cert.Raw}}, []string{"http://d"}},
		{"of strangers", [][][]byte{{points("http://c"), points("http://169.254.169.254/"), unknown.cert.Raw}}, []string{"http://c"}},
		{"of a stranger only", [][][]byte{{points(), unknown.cert.Raw}}, nil},
		{"of one that is a leaf elsewhere", [][][]byte{{points("http://c")}, {points(), points("http://e")}}, []string{"http://c"}},
		{"some new", [][][]byte{{points("http://a", "http://b")}, {points("http://b", "http://c")}}, []string{"http://b", "http://c"}},
	} {
		got := s.NewDistributionPoints(tt.chains...)
		for _, chain := range tt.chains {
			s.Examine(chain, noon) // and once more with what is remembered
		}
		if again := s.NewDistributionPoints(tt.chains...); !slices.Equal(again, got) {
			t.Errorf("%s: %v, and then %v", tt.name, got, again)
		}
		if strings.Join(got, " ") != strings.Join(tt.want, " ") || (got == nil) != (tt.want == nil) {
			t.Errorf("%s: %#v, want %#v", tt.name, got, tt.want)
		}
	}
}
