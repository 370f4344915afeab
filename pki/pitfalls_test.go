package pki

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"slices"
	"strings"
	"testing"
	"time"
)

// The tests of this file hold the past bugs of CoreCrypto's PKI that docs/corecrypto.md lists.

// TestPitfallE1TrustAnchorTwice registers a trust anchor again: a refusal of its own, which an application may take for success.
func TestPitfallE1TrustAnchorTwice(t *testing.T) {
	s := p256(t)
	next, err := s.WithTrustAnchor(file(t, "root-P-256.pem"), noon)
	if next != nil {
		t.Error("another snapshot with the refusal")
	}
	wantErr(t, err, ErrTrustAnchorExists)
	wantErr(t, s.Verify([][]byte{file(t, "leaf-P-256.pem")}, noon), nil)
}

// TestPitfallE2WhetherACRLIsNew registers the first list, the same and another.
func TestPitfallE2WhetherACRLIsNew(t *testing.T) {
	s := p256(t)
	for _, step := range []struct {
		list  string
		dirty bool
	}{{"empty.crl", false}, {"empty.crl", false}, {"revoked.crl", true}, {"revoked.crl", false}} {
		next, r, err := s.WithCRL(crlURL, file(t, step.list))
		if err != nil || r.Dirty != step.dirty {
			t.Errorf("%s: %+v, %v", step.list, r, err)
		}
		s = next
	}
}

// TestPitfallE3IntermediateThatIsTheRoot registers a bundle of a federation that repeats the root.
func TestPitfallE3IntermediateThatIsTheRoot(t *testing.T) {
	s := anchored(t, "root-P-256.pem")
	if next := knowing(t, s, file(t, "root-P-256.pem")); next != s {
		t.Error("the root alone made another snapshot")
	}
	s = knowing(t, s, file(t, "intermediate-P-256.pem"), file(t, "root-P-256.pem"))
	if n := len(s.Intermediates()); n != 1 {
		t.Errorf("%d intermediates", n)
	}
}

// TestPitfallE4OldCRL refuses lists of strangers, and looks at a revoked device when its list is past its nextUpdate: it stays revoked.
func TestPitfallE4OldCRL(t *testing.T) {
	_, _, err := anchored(t, "wire-root.pem").WithCRL(crlURL, file(t, "revoked.crl"))
	wantErr(t, err, ErrCRLIssuer)
	s := listing(t, p256(t), crlURL, file(t, "revoked.crl"))
	for _, now := range []time.Time{noon, s.CRLs()[0].NextUpdate.Add(time.Hour)} {
		if got := s.Policy().StatusOf(s.Verify([][]byte{file(t, "leaf-P-256.pem")}, now)); got != DeviceStatusRevoked {
			t.Errorf("%v: %v", now, got)
		}
	}
}

// TestPitfallE5ExpiryBetweenTwoLooks has nothing change but the time, with a memory that has seen the certificate.
func TestPitfallE5ExpiryBetweenTwoLooks(t *testing.T) {
	d := newDomain(t, Policy{})
	s, err := Load(Policy{}, NewMemory(8), d.s.Records())
	if err != nil {
		t.Fatal(err)
	}
	leaf := leafOf(t, "leaf", d.intermediate, func(c *x509.Certificate) { c.NotAfter = noon.Add(time.Minute) })
	members := slices.Values([][][]byte{{leaf.cert.Raw}})
	for _, tt := range []struct {
		at     time.Duration
		state  E2EIState
		status DeviceStatus
	}{{time.Minute - time.Second, E2EIStateVerified, DeviceStatusValid}, {time.Minute, E2EIStateNotVerified, DeviceStatusValid}, {time.Minute + time.Second, E2EIStateNotVerified, DeviceStatusExpired}} {
		now := noon.Add(tt.at)
		if state, status := s.E2EIState(members, now), s.Policy().StatusOf(d.verify(s, leaf, now)); state != tt.state || status != tt.status {
			t.Errorf("after %v: %v and %v, want %v and %v", tt.at, state, status, tt.state, tt.status)
		}
	}
}

// TestPitfallE10LeadingZeros reads a device id with zeros before it, which has none in the identity.
func TestPitfallE10LeadingZeros(t *testing.T) {
	id := identityNaming(t, "wire.example", aliceHandle, "wireapp://WqEqc9dIRoKh3VyUJ8k6QA%2100A1b2@wire.example")
	if got, want := id.ClientID.String(), "5aa12a73-d748-4682-a1dd-5c9427c93a40:a1b2@wire.example"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestPitfallE11UpperCase takes domains as they are written: one in upper case is another.
func TestPitfallE11UpperCase(t *testing.T) {
	upper := strings.NewReplacer("wire.example", "WIRE.example")
	id := identityNaming(t, "WIRE.example", upper.Replace(aliceHandle), upper.Replace(aliceDevice))
	if id.Domain != "WIRE.example" || id.ClientID.Domain != "WIRE.example" {
		t.Errorf("%+v", id)
	}
	if lower := identityNaming(t, "wire.example", aliceHandle, aliceDevice); lower.ClientID == id.ClientID {
		t.Error("one device of two domains")
	}
}

// TestPitfallE13OtherNames reads a certificate of OpenSSL whose names are among others and in another order.
func TestPitfallE13OtherNames(t *testing.T) {
	v := p256(t).Examine([][]byte{file(t, "extranames.pem")}, noon)
	if v.Err != nil || v.Identity.Handle != aliceHandle || v.Identity.ClientID.Domain != "wire.example" {
		t.Errorf("%+v", v)
	}
}

// TestPitfallE15LargeGroups computes the state of a large group again and again, and builds no path twice.
func TestPitfallE15LargeGroups(t *testing.T) {
	d := newDomain(t, Policy{})
	m := NewMemory(1000)
	s, err := Load(Policy{}, m, d.s.Records())
	if err != nil {
		t.Fatal(err)
	}
	var members [][][]byte
	for range 200 {
		members = append(members, [][]byte{d.alice.cert.Raw}, [][]byte{d.bob.cert.Raw})
	}
	if got := s.E2EIState(slices.Values(members), noon); got != E2EIStateVerified {
		t.Fatal(got)
	}
	known := s.Examine(members[0], noon).Identity
	s = listing(t, s, listURL, listOf(t, d.intermediate, 1, nil)) // a new list makes nothing to be built again
	if got := s.E2EIState(slices.Values(members), noon); got != E2EIStateVerified || len(m.young) != 2 || s.Examine(members[0], noon).Identity != known {
		t.Errorf("%v, %d remembered", got, len(m.young))
	}
}

// identityNaming reads the identity in a leaf of a domain with two names.
func identityNaming(t *testing.T, domain string, uris ...string) *Identity {
	t.Helper()
	leaf := leafOf(t, "leaf", nil, func(c *x509.Certificate) {
		c.URIs, c.ExtraExtensions = nil, []pkix.Extension{alternativeNames(t, uris...)}
		c.Subject.Organization = []string{domain}
	})
	id, err := ParseIdentity(leaf.cert.Raw)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
