package primitive

import (
	"crypto/aes"
	"crypto/cipher"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/conclave-mls/conclave/internal/secret"
)

type aeadKind uint8

const (
	aes128GCM aeadKind = iota
	aes256GCM
	chacha20Poly1305
)

// All AEADs of the suites share these sizes, in bytes. maxPlaintext is GCM's
// bound, the smallest of the three; past it the implementations panic.
const (
	nonceSize    = 12
	tagSize      = 16
	maxKeySize   = 32
	maxPlaintext = (1<<32 - 2) * 16
)

// id is the AEAD's number in RFC 9180 section 7.3.
func (a aeadKind) id() byte { return byte(a) + 1 }

func (a aeadKind) keySize() int {
	if a == aes128GCM {
		return 16
	}
	return maxKeySize
}

// cipher sets up the AEAD. It checks both sizes, since the implementations
// panic on a wrong nonce and AES would take a key of another size.
func (a aeadKind) cipher(key, nonce []byte) (cipher.AEAD, error) {
	if len(key) != a.keySize() {
		return nil, ErrKey
	}
	if len(nonce) != nonceSize {
		return nil, ErrLength
	}
	if a == chacha20Poly1305 {
		return chacha20poly1305.New(key)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// seal appends the ciphertext to dst, making room for it at most once.
func (a aeadKind) seal(dst, key, nonce, aad, plaintext []byte) ([]byte, error) {
	if uint64(len(plaintext)) > maxPlaintext {
		return nil, ErrLength
	}
	c, err := a.cipher(key, nonce)
	if err != nil {
		return nil, err
	}
	return c.Seal(dst, nonce, plaintext, aad), nil
}

func (a aeadKind) open(dst, key, nonce, aad, ciphertext []byte) ([]byte, error) {
	if len(ciphertext) < tagSize || uint64(len(ciphertext)) > maxPlaintext+tagSize {
		return nil, ErrOpen
	}
	c, err := a.cipher(key, nonce)
	if err != nil {
		return nil, err
	}
	out, err := c.Open(dst, nonce, ciphertext, aad)
	if err != nil {
		return nil, ErrOpen
	}
	return out, nil
}

// SealAEAD encrypts and appends ciphertext and tag to dst. It fails with ErrKey
// or ErrLength when key or nonce are not KeySize and NonceSize bytes long. dst
// may be plaintext[:0]; any other overlap of the two is a mistake of the caller.
func (s *Suite) SealAEAD(dst []byte, key, nonce secret.Bytes, aad, plaintext []byte) ([]byte, error) {
	return s.aead.seal(dst, key, nonce, aad, plaintext)
}

// OpenAEAD decrypts and appends the plaintext to dst; it fails with ErrOpen, and
// then nothing of the plaintext remains in dst. dst may be ciphertext[:0]; any
// other overlap of the two is a mistake of the caller.
func (s *Suite) OpenAEAD(dst []byte, key, nonce secret.Bytes, aad, ciphertext []byte) ([]byte, error) {
	return s.aead.open(dst, key, nonce, aad, ciphertext)
}
