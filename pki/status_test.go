package pki

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestStatusOf(t *testing.T) {
	lenient, strict := Policy{}, Policy{StrictStatus: true}
	for _, tt := range []struct {
		err             error
		lenient, strict DeviceStatus
		admissible      bool
	}{
		{nil, DeviceStatusValid, DeviceStatusValid, true},
		{ErrExpired, DeviceStatusExpired, DeviceStatusExpired, true},
		{ErrIssuerExpired, DeviceStatusExpired, DeviceStatusExpired, true},
		{&RevokedError{}, DeviceStatusRevoked, DeviceStatusRevoked, true},
		{ErrNoPath, DeviceStatusRevoked, DeviceStatusRevoked, false},
		{ErrSelfSigned, DeviceStatusRevoked, DeviceStatusRevoked, false},
		{ErrNotYetValid, DeviceStatusValid, DeviceStatusRevoked, true},
		{ErrCRLMissing, DeviceStatusValid, DeviceStatusRevoked, true},
		{ErrCRLStale, DeviceStatusValid, DeviceStatusRevoked, true},
		{ErrSignature, DeviceStatusValid, DeviceStatusRevoked, false},
		{ErrNameConstraint, DeviceStatusValid, DeviceStatusRevoked, false},
		{ErrPathLength, DeviceStatusValid, DeviceStatusRevoked, false},
		{ErrUsage, DeviceStatusValid, DeviceStatusRevoked, false},
		{ErrCriticalExtension, DeviceStatusValid, DeviceStatusRevoked, false},
		{ErrPolicy, DeviceStatusValid, DeviceStatusRevoked, false},
		{ErrIdentity, DeviceStatusValid, DeviceStatusRevoked, false},
		{ErrDuplicateName, DeviceStatusValid, DeviceStatusRevoked, false},
		{ErrDomain, DeviceStatusValid, DeviceStatusRevoked, false},
		{ErrMalformed, DeviceStatusValid, DeviceStatusRevoked, false},
		{ErrKeyType, DeviceStatusValid, DeviceStatusRevoked, false},
	} {
		err := tt.err
		if err != nil {
			err = fmt.Errorf("leaf 3: %w", err)
		}
		if l, s := lenient.StatusOf(err), strict.StatusOf(err); l != tt.lenient || s != tt.strict {
			t.Errorf("%v: %v and %v, want %v and %v", tt.err, l, s, tt.lenient, tt.strict)
		}
		if got := Admissible(err); got != tt.admissible {
			t.Errorf("%v: admissible %v", tt.err, got)
		}
	}
}

func TestE2EIState(t *testing.T) {
	d := newDomain(t, Policy{})
	s := listing(t, d.s, listURL, listOf(t, d.intermediate, 1, nil, d.bob))
	chain := func(e *entity) [][]byte { return [][]byte{e.cert.Raw} }
	alice, bob := chain(d.alice), chain(d.bob)
	carol := chain(leafOf(t, "carol", d.intermediate, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = noon.Add(-time.Hour), noon.Add(time.Hour) }))
	stranger := chain(leafOf(t, "stranger", authorityOf(t, "elsewhere", nil, nil), nil))
	var basic [][]byte
	junk := [][]byte{[]byte("junk")}
	for _, tt := range []struct {
		name    string
		members [][][]byte
		now     time.Time
		want    E2EIState
	}{
		{"nobody", nil, noon, E2EIStateNotEnabled},
		{"basic", [][][]byte{basic, basic}, noon, E2EIStateNotEnabled},
		{"unreadable", [][][]byte{junk, basic}, noon, E2EIStateNotEnabled},
		{"all valid", [][][]byte{alice, carol}, noon, E2EIStateVerified},
		{"mixed", [][][]byte{alice, basic}, noon, E2EIStateNotVerified},
		{"mixed, other order", [][][]byte{basic, alice}, noon, E2EIStateNotVerified},
		{"one unreadable", [][][]byte{alice, junk}, noon, E2EIStateNotVerified},
		{"one revoked", [][][]byte{alice, bob}, noon, E2EIStateNotVerified},
		{"one of another anchor", [][][]byte{alice, stranger}, noon, E2EIStateNotVerified},
		{"one expired", [][][]byte{alice, carol}, noon.Add(time.Hour + time.Second), E2EIStateNotVerified},
		{"one at its end", [][][]byte{alice, carol}, noon.Add(time.Hour), E2EIStateNotVerified},
		{"one at its beginning", [][][]byte{carol}, noon.Add(-time.Hour), E2EIStateNotVerified},
		{"one just begun", [][][]byte{carol}, noon.Add(-time.Hour + time.Second), E2EIStateVerified},
		{"one before its end", [][][]byte{carol}, noon.Add(time.Hour - time.Second), E2EIStateVerified},
	} {
		if got := s.E2EIState(slices.Values(tt.members), tt.now); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	if got := New(Policy{}, nil).E2EIState(slices.Values([][][]byte{alice}), noon); got != E2EIStateNotEnabled {
		t.Errorf("without trust anchor: %v", got)
	}
	// It stops at the first that settles it.
	seen := 0
	s.E2EIState(func(yield func([][]byte) bool) {
		for _, m := range [][][]byte{alice, bob, carol} {
			seen++
			if !yield(m) {
				return
			}
		}
	}, noon)
	if seen != 2 {
		t.Errorf("looked at %d members", seen)
	}
}

func TestStatusStrings(t *testing.T) {
	for got, want := range map[fmt.Stringer]string{
		DeviceStatusUnknown: "Unknown", DeviceStatusValid: "Valid", DeviceStatusExpired: "Expired", DeviceStatusRevoked: "Revoked", DeviceStatus(9): "DeviceStatus(9)",
		E2EIStateVerified: "Verified", E2EIStateNotVerified: "NotVerified", E2EIStateNotEnabled: "NotEnabled", E2EIState(9): "E2EIState(9)",
	} {
		if got.String() != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestMemory verifies with a memory and without, and looks at what is remembered.
func TestMemory(t *testing.T) {
	m := NewMemory(4)
	d := newDomain(t, Policy{})
	s, err := Load(Policy{}, m, d.s.Records())
	if err != nil {
		t.Fatal(err)
	}
	chain := [][]byte{d.alice.cert.Raw}
	first, second := s.Examine(chain, noon), s.Examine(chain, noon)
	if first.Err != nil || first.Identity != second.Identity || len(m.young) != 1 {
		t.Errorf("%+v, %+v, %d remembered", first, second, len(m.young))
	}
	// Time and lists are looked at anew.
	wantErr(t, s.Verify(chain, noon.AddDate(2, 0, 0)), ErrExpired)
	wantErr(t, listing(t, s, listURL, listOf(t, d.intermediate, 1, nil, d.alice)).Verify(chain, noon), ErrRevoked)
	if len(m.young) != 1 {
		t.Errorf("%d remembered", len(m.young))
	}
	// Another set of authorities is another question.
	none, err := s.WithoutTrustAnchor(s.TrustAnchors()[0].Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, none.Verify(chain, noon), ErrNoPath)
	wantErr(t, s.Verify(chain, noon), nil)
	// What is asked for again stays, what is not goes.
	for i := range 50 {
		junk := [][]byte{{byte(i)}}
		if err := s.Verify(junk, noon); !errors.Is(err, ErrMalformed) {
			t.Fatal(err)
		}
		if v := s.Examine(chain, noon); v.Identity != first.Identity || v.Err != nil {
			t.Fatalf("%d: forgotten", i)
		}
		if len(m.young)+len(m.old) > 4 {
			t.Fatalf("%d remembered", len(m.young)+len(m.old))
		}
	}
	if NewMemory(0).size != 1 {
		t.Error("a memory of nothing")
	}
}
