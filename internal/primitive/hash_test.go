package primitive

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"testing"

	"github.com/conclave-mls/conclave/internal/secret"
)

func TestHashAgainstStandard(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *Suite) {
		for n := range 300 {
			data := material("data", n)
			h := s.NewHash()
			h.Write(data)
			prefix := []byte("prefix")
			got := s.Hash(prefix, data[:n/3], nil, data[n/3:])
			if want := h.Sum(prefix); !bytes.Equal(got, want) {
				t.Fatalf("Hash of %d bytes = %x, want %x", n, got, want)
			}
		}
	})
}

func TestMACAgainstStandard(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *Suite) {
		data := material("data", 200)
		for n := range 300 {
			key := secret.Bytes(material("key", n))
			m := hmac.New(s.NewHash, key)
			m.Write(data)
			want := m.Sum(nil)
			got := s.MAC(nil, key, data[:50], data[50:])
			if !bytes.Equal(got, want) {
				t.Fatalf("MAC with a key of %d bytes = %x, want %x", n, got, want)
			}
			if !s.VerifyMAC(key, got, data) {
				t.Fatalf("VerifyMAC refuses its own with a key of %d bytes", n)
			}
			got[n%len(got)] ^= 0x80
			if s.VerifyMAC(key, got, data) || s.VerifyMAC(key, got[1:], data) || s.VerifyMAC(key, nil, data) {
				t.Fatalf("VerifyMAC accepts a bad tag with a key of %d bytes", n)
			}
		}
	})
}

func TestKDFAgainstStandard(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *Suite) {
		for _, n := range []int{0, 1, 16, 31, 32, 33, 48, 64, 100, 129, 200} {
			salt, ikm := material("salt", n), material("ikm", n+1)
			want, err := hkdf.Extract(s.NewHash, ikm, salt)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Extract(salt, ikm); !got.Equal(want) {
				t.Errorf("Extract with a salt of %d bytes = %x, want %x", n, []byte(got), want)
			}
		}
		prk := material("prk", s.HashSize())
		for _, n := range []int{0, 1, 12, 16, 32, 48, 63, 64, 65, 200, 1000, 255 * s.HashSize()} {
			info := material("info", n%90)
			want, err := hkdf.Expand(s.NewHash, prk, string(info), n)
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Expand(prk, info, n)
			if err != nil || !got.Equal(want) {
				t.Errorf("Expand to %d bytes = %x, %v, want %x", n, []byte(got), err, want)
			}
			into := make([]byte, n)
			if err := s.ExpandInto(into, prk, info); err != nil || !bytes.Equal(into, want) {
				t.Errorf("ExpandInto of %d bytes = %x, %v, want %x", n, into, err, want)
			}
		}
		if err := s.ExpandInto(make([]byte, 255*s.HashSize()+1), prk, nil); err != ErrLength {
			t.Errorf("ExpandInto of too many bytes = %v, want %v", err, ErrLength)
		}
	})
}

// TestAllocations pins what the message path counts on: inputs and states stay
// on the stack, only results are allocated.
func TestAllocations(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *Suite) {
		tests := []struct {
			name string
			want float64
			run  func()
		}{
			{"ExpandInto", 0, func() {
				var prk, out [32]byte
				info := [40]byte{1}
				if s.ExpandInto(out[:], prk[:], info[:]) != nil {
					t.Error("ExpandInto failed")
				}
			}},
			{"Expand", 1, func() {
				var prk [32]byte
				info := [40]byte{1}
				if _, err := s.Expand(prk[:], info[:], 32); err != nil {
					t.Error(err)
				}
			}},
			{"Hash", 0, func() {
				var in [100]byte
				var out [64]byte
				s.Hash(out[:0], in[:50], in[50:])
			}},
			{"MAC and VerifyMAC", 0, func() {
				var in, key [100]byte
				var out [64]byte
				if !s.VerifyMAC(key[:], s.MAC(out[:0], key[:], in[:50], in[50:]), in[:]) {
					t.Error("VerifyMAC refuses its own")
				}
			}},
			{"Extract", 1, func() {
				var salt, ikm [64]byte
				s.Extract(salt[:], ikm[:])
			}},
		}
		for _, tt := range tests {
			if got := testing.AllocsPerRun(20, tt.run); got > tt.want {
				t.Errorf("%s allocates %v times, want %v", tt.name, got, tt.want)
			}
		}
	})
}
