package pki

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"testing"
	"time"
)

// stepCA is a file that tests/stepca has made: what step-ca issued with a key of one type.
type stepCA struct {
	root, intermediate []byte
	leaves             [][]byte // Ed25519, P-256, P-384, P-521; the last one is revoked
	before, after      []byte   // revocation lists
}

func readStepCA(t *testing.T, name string) stepCA {
	t.Helper()
	text, err := os.ReadFile("testdata/stepca/" + name + ".pem")
	if err != nil {
		t.Fatal(err)
	}
	var ders [][]byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		ders = append(ders, block.Bytes)
	}
	if len(ders) != 8 {
		t.Fatalf("%d blocks", len(ders))
	}
	return stepCA{ders[0], ders[1], ders[2:6], ders[6], ders[7]}
}

// TestStepCAChains verifies what step-ca has issued: every type of leaf by every type of issuer, before and after one is revoked, and past the end.
func TestStepCAChains(t *testing.T) {
	for _, issuer := range []string{"Ed25519", "P-256", "P-384", "P-521"} {
		t.Run(issuer, func(t *testing.T) {
			ca := readStepCA(t, issuer)
			last, err := x509.ParseCertificate(ca.leaves[3])
			if err != nil {
				t.Fatal(err)
			}
			now := last.NotBefore.Add(time.Hour)
			s, err := New(Policy{}, nil).WithTrustAnchor(ca.root, now)
			if err != nil {
				t.Fatal(err)
			}
			s, err = s.WithIntermediates(now, ca.intermediate)
			if err != nil {
				t.Fatal(err)
			}
			for i, size := range []int{32, 65, 97, 133} {
				v := s.Examine([][]byte{ca.leaves[i]}, now)
				if v.Err != nil {
					t.Fatal(v.Err)
				}
				id := v.Identity
				if id.DisplayName != `Alice "Al" Müller-Smith` || id.Domain != "wire.localhost" || id.ClientID.Domain != id.Domain ||
					id.Handle != "wireapp://%40alice_wire@wire.localhost" || id.BareHandle() != "alice_wire" || len(id.PublicKey) != size ||
					id.NotAfter.Sub(id.NotBefore) != 3650*24*time.Hour {
					t.Errorf("identity %+v", id)
				}
			}
			chain := [][]byte{ca.leaves[3], ca.intermediate}
			points := s.NewDistributionPoints(chain)
			if len(points) != 1 {
				t.Fatalf("distribution points %q", points)
			}
			s, _, err = s.WithCRL(points[0], ca.before)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(chain, now); err != nil {
				t.Errorf("before it is revoked: %v", err)
			}
			s, registration, err := s.WithCRL(points[0], ca.after)
			if err != nil || !registration.Dirty {
				t.Fatalf("%+v, %v", registration, err)
			}
			revoked := (*RevokedError)(nil)
			if err := s.Verify(chain, now); !errors.As(err, &revoked) || revoked.Depth != 0 || revoked.Reason != ReasonKeyCompromise {
				t.Errorf("revoked: %v", err)
			}
			if _, _, err := s.WithCRL(points[0], ca.before); !errors.Is(err, ErrCRLRollback) {
				t.Errorf("list rolled back: %v", err)
			}
			if err := s.Verify([][]byte{ca.leaves[0]}, now); err != nil {
				t.Errorf("beside it: %v", err)
			}
			if err := s.Verify([][]byte{ca.leaves[0]}, last.NotAfter.Add(time.Minute)); !errors.Is(err, ErrExpired) {
				t.Errorf("past its end: %v", err)
			}
		})
	}
}
