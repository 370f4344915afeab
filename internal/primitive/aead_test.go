package primitive

import (
	"bytes"
	"testing"

	"github.com/conclave-mls/conclave/internal/secret"
)

func TestAEAD(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *Suite) {
		key, nonce := secret.Bytes(material("key", s.KeySize())), secret.Bytes(material("nonce", s.NonceSize()))
		aad := []byte("associated")
		for _, n := range []int{0, 1, 15, 16, 17, 1000, 70000} {
			plain := material("plain", min(n, 16000))
			plain = append(plain, make([]byte, n-len(plain))...)
			prefix := []byte("prefix")
			ct, err := s.SealAEAD(prefix, key, nonce, aad, plain)
			if err != nil {
				t.Fatal(err)
			}
			ct = bytes.TrimPrefix(ct, prefix)
			if len(ct) != n+s.TagSize() {
				t.Fatalf("ciphertext of %d bytes is %d long", n, len(ct))
			}
			got, err := s.OpenAEAD(prefix, key, nonce, aad, ct)
			if err != nil || !bytes.Equal(got, append([]byte("prefix"), plain...)) {
				t.Fatalf("OpenAEAD of %d bytes: %v", n, err)
			}
			for _, at := range []int{0, len(ct) / 2, len(ct) - 1} {
				bad := bytes.Clone(ct)
				bad[at] ^= 1
				if got, err := s.OpenAEAD(nil, key, nonce, aad, bad); err != ErrOpen || got != nil {
					t.Errorf("OpenAEAD with byte %d of %d damaged = %d bytes, %v, want %v", at, len(ct), len(got), err, ErrOpen)
				}
			}
			if _, err := s.OpenAEAD(nil, key, nonce, aad, ct[:len(ct)-1]); err != ErrOpen {
				t.Errorf("OpenAEAD of a truncated ciphertext = %v, want %v", err, ErrOpen)
			}
			if _, err := s.OpenAEAD(nil, key, nonce, nil, ct); err != ErrOpen {
				t.Errorf("OpenAEAD with other associated data = %v, want %v", err, ErrOpen)
			}
			// In place, as the message path does it.
			if got, err := s.OpenAEAD(ct[:0], key, nonce, aad, ct); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("OpenAEAD in place of %d bytes: %v", n, err)
			}
		}
	})
}
