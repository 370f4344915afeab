package pki

import (
	"bytes"
	"os"
	"testing"
	"time"
)

const crlURL = "http://ca.wire.example/intermediate.crl"

// TestOpenSSLChains verifies chains of every key type that OpenSSL has made, and reads their identities.
func TestOpenSSLChains(t *testing.T) {
	for _, kind := range []struct {
		name    string
		keySize int
	}{{"ed25519", 32}, {"P-256", 65}, {"P-384", 97}, {"P-521", 133}} {
		t.Run(kind.name, func(t *testing.T) {
			leaf, intermediate := file(t, "leaf-"+kind.name+".pem"), file(t, "intermediate-"+kind.name+".pem")
			s := anchored(t, "root-"+kind.name+".pem")
			chain := [][]byte{leaf, intermediate}
			wantErr(t, s.Verify(chain, noon), ErrNoPath) // what comes with the leaf vouches for nothing
			id, err := s.VerifyIssued(chain, noon)
			if err != nil {
				t.Fatal(err)
			}
			if id.ClientID.String() != "5aa12a73-d748-4682-a1dd-5c9427c93a40:9e4ef7e72ec9e5b9@wire.example" || id.Handle != aliceHandle ||
				id.BareHandle() != "alice_wire" || id.DisplayName != "Alice Smith" || id.Domain != "wire.example" || len(id.PublicKey) != kind.keySize ||
				id.NotBefore != time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) || id.NotAfter != time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC) {
				t.Errorf("identity %+v", id)
			}
			pem, err := os.ReadFile("testdata/leaf-" + kind.name + ".pem")
			if err != nil || id.Certificate != string(pem) {
				t.Errorf("PEM %q, %v, want that of OpenSSL", id.Certificate, err)
			}
			wantErr(t, id.CheckKey(id.PublicKey), nil)
			wantErr(t, id.CheckKey(append(bytes.Clone(id.PublicKey), 0)), ErrKeyMismatch)
			s = knowing(t, s, intermediate)
			v := s.Examine(chain[:1], noon)
			if v.Err != nil || v.Identity.SerialNumber != id.SerialNumber {
				t.Errorf("%+v", v)
			}
		})
	}
}

// TestWireChain verifies the chain that Wire's templates make on step-ca (names in the other order and escaped, name constraints, a provisioner's
// marker, an Ed25519 leaf below ECDSA authorities).
func TestWireChain(t *testing.T) {
	s := knowing(t, anchored(t, "wire-root.pem"), file(t, "wire-intermediate.pem"))
	v := s.Examine([][]byte{file(t, "wire-leaf.pem")}, noon)
	if v.Err != nil {
		t.Fatal(v.Err)
	}
	if got, want := v.Identity.ClientID.String(), "5aa12a73-d748-4682-a1dd-5c9427c93a40:9e4ef7e72ec9e5b9@wire.localhost"; got != want {
		t.Errorf("client %s, want %s", got, want)
	}
	if got, want := v.Identity.Handle, "wireapp://%40alice_wire@wire.localhost"; got != want {
		t.Errorf("handle %s, want %s", got, want)
	}
	points, err := DistributionPoints([][]byte{file(t, "wire-leaf.pem"), file(t, "wire-intermediate.pem")})
	if err != nil || len(points) != 1 || points[0] != "https://localhost:9000/1.0/crl" {
		t.Errorf("distribution points %v, %v", points, err)
	}
}

// TestOpenSSLRefusals gives each thing that can be wrong with a certificate an error of its own.
func TestOpenSSLRefusals(t *testing.T) {
	s := knowing(t, anchored(t, "root-P-256.pem", "wire-root.pem"), file(t, "intermediate-P-256.pem"), file(t, "wire-intermediate.pem"))
	for _, tt := range []struct {
		leaf   string
		want   error
		status DeviceStatus // of §8.3: anything but expiry, revocation and a missing path shows as Valid
	}{
		{"extranames.pem", nil, DeviceStatusValid},
		{"constraint.pem", ErrNameConstraint, DeviceStatusValid},
		{"subdomain.pem", ErrNameConstraint, DeviceStatusValid},
		{"toolong.pem", ErrNoPath, DeviceStatusRevoked}, // its issuer is not stored; see TestOpenSSLPathLength
		{"belowleaf.pem", ErrNoPath, DeviceStatusRevoked},
		{"agreement.pem", ErrUsage, DeviceStatusValid},
		{"server.pem", ErrUsage, DeviceStatusValid},
		{"authority.pem", ErrUsage, DeviceStatusValid},
		{"critical.pem", ErrCriticalExtension, DeviceStatusValid},
		{"twodevices.pem", ErrDuplicateName, DeviceStatusValid},
		{"twohandles.pem", ErrDuplicateName, DeviceStatusValid},
		{"nohandle.pem", ErrIdentity, DeviceStatusValid},
		{"noclient.pem", ErrIdentity, DeviceStatusValid},
		{"nonames.pem", ErrIdentity, DeviceStatusValid},
		{"nodomain.pem", ErrIdentity, DeviceStatusValid},
		{"nodisplay.pem", ErrIdentity, DeviceStatusValid},
		{"twodomains.pem", ErrDomain, DeviceStatusValid},
		{"selfsigned.pem", ErrSelfSigned, DeviceStatusRevoked},
		{"expired.pem", ErrExpired, DeviceStatusExpired},
		{"early.pem", ErrNotYetValid, DeviceStatusValid},
		{"leaf-old.pem", ErrNoPath, DeviceStatusRevoked},
		{"leaf-P-384.pem", ErrNoPath, DeviceStatusRevoked},
		{"otherkey.pem", ErrNoPath, DeviceStatusRevoked},
		{"wrongkey.pem", ErrSignature, DeviceStatusValid},
	} {
		t.Run(tt.leaf, func(t *testing.T) {
			err := s.Verify([][]byte{file(t, tt.leaf)}, noon)
			wantErr(t, err, tt.want)
			if got := s.Policy().StatusOf(err); got != tt.status {
				t.Errorf("status %v, want %v", got, tt.status)
			}
		})
	}
}

func TestOpenSSLPathLength(t *testing.T) {
	s := knowing(t, anchored(t, "wire-root.pem"), file(t, "wire-intermediate.pem"))
	_, err := s.VerifyIssued([][]byte{file(t, "toolong.pem"), file(t, "lower.pem")}, noon)
	wantErr(t, err, ErrPathLength)
	_, err = s.WithIntermediates(noon, file(t, "lower.pem"))
	wantErr(t, err, ErrPathLength)
}

func TestOpenSSLKeyType(t *testing.T) {
	text, err := os.ReadFile("testdata/rsa.pem")
	if err != nil {
		t.Fatal(err)
	}
	_, err = ParsePEMChain(text)
	wantErr(t, err, ErrKeyType)
}

// TestOpenSSLExpiredAnchor lets a trust anchor expire before the leaf below it.
func TestOpenSSLExpiredAnchor(t *testing.T) {
	_, err := New(Policy{}, nil).WithTrustAnchor(file(t, "root-old.pem"), noon)
	wantErr(t, err, ErrExpired)
	s, err := New(Policy{}, nil).WithTrustAnchor(file(t, "root-old.pem"), noon.AddDate(0, -4, 0))
	if err != nil {
		t.Fatal(err)
	}
	chain := [][]byte{file(t, "leaf-old.pem")}
	wantErr(t, s.Verify(chain, noon.AddDate(0, -4, 0)), nil)
	err = s.Verify(chain, noon)
	wantErr(t, err, ErrIssuerExpired)
	wantErr(t, err, ErrExpired)
	if got := s.Policy().StatusOf(err); got != DeviceStatusExpired {
		t.Errorf("status %v", got)
	}
}

// TestOpenSSLCrossSigned verifies one leaf by either root, and by what is left when one of them goes.
func TestOpenSSLCrossSigned(t *testing.T) {
	both := anchored(t, "root-P-256.pem", "root-P-384.pem")
	both = knowing(t, both, file(t, "cross.pem"), file(t, "intermediate-P-256.pem"))
	chain := [][]byte{file(t, "leaf-P-256.pem")}
	wantErr(t, both.Verify(chain, noon), nil)
	if n := len(both.Intermediates()); n != 2 {
		t.Errorf("%d intermediates", n)
	}
	for _, a := range both.TrustAnchors() {
		one, err := both.WithoutTrustAnchor(a.Fingerprint)
		if err != nil {
			t.Fatal(err)
		}
		wantErr(t, one.Verify(chain, noon), nil)
		none, err := one.WithoutTrustAnchor(one.TrustAnchors()[0].Fingerprint)
		if err != nil {
			t.Fatal(err)
		}
		wantErr(t, none.Verify(chain, noon), ErrNoPath)
	}
	// One of the two certificates of the intermediate is revoked, the other path stays.
	s := listing(t, both, "http://ca.wire.example/root.crl", file(t, "revoked-intermediate.crl"))
	wantErr(t, s.Verify(chain, noon), nil)
	s = listing(t, p256(t), "http://ca.wire.example/root.crl", file(t, "revoked-intermediate.crl"))
	err := s.Verify(chain, noon)
	wantErr(t, err, ErrRevoked)
	if r, ok := err.(*RevokedError); !ok || r.Depth != 1 || r.Reason != ReasonCACompromise {
		t.Errorf("%v", err)
	}
}

// TestOpenSSLCRL registers lists of OpenSSL as the seeds do: first, the same, another.
func TestOpenSSLCRL(t *testing.T) {
	chain := [][]byte{file(t, "leaf-P-256.pem")}
	for _, kind := range []string{"", "-idp"} {
		s := p256(t)
		if got := s.NewDistributionPoints(chain); len(got) != 1 || got[0] != crlURL {
			t.Errorf("new distribution points %v", got)
		}
		s, r, err := s.WithCRL(crlURL, file(t, "empty"+kind+".crl"))
		if err != nil || r.Dirty || !r.Expiration.Equal(time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)) {
			t.Fatalf("%+v, %v", r, err)
		}
		if got := s.NewDistributionPoints(chain); got == nil || len(got) != 0 {
			t.Errorf("new distribution points %v", got)
		}
		s, r, err = s.WithCRL(crlURL, file(t, "empty"+kind+".crl"))
		if err != nil || r.Dirty {
			t.Fatalf("%+v, %v", r, err)
		}
		wantErr(t, s.Verify(chain, noon), nil)
		s, r, err = s.WithCRL(crlURL, file(t, "revoked"+kind+".crl"))
		if err != nil || !r.Dirty {
			t.Fatalf("%+v, %v", r, err)
		}
		err = s.Verify(chain, noon)
		wantErr(t, err, ErrRevoked)
		if got := s.Policy().StatusOf(err); got != DeviceStatusRevoked {
			t.Errorf("status %v", got)
		}
		_, _, err = s.WithCRL(crlURL, file(t, "empty"+kind+".crl"))
		wantErr(t, err, ErrCRLRollback)
		// Long after its nextUpdate the list still says what it said.
		wantErr(t, s.Verify(chain, noon.AddDate(1, 0, 0)), ErrRevoked)
	}
	_, _, err := p256(t).WithCRL(crlURL, file(t, "stranger.crl"))
	wantErr(t, err, ErrSignature) // it bears the name of the intermediate
	_, _, err = anchored(t, "wire-root.pem").WithCRL(crlURL, file(t, "empty.crl"))
	wantErr(t, err, ErrCRLIssuer)
	_, _, err = p256(t).WithCRL("http://ca.wire.example/other.crl", file(t, "empty-idp.crl"))
	wantErr(t, err, ErrCRLDistributionPoint)
}
