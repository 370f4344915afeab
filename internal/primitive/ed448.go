package primitive

import (
	"slices"

	"github.com/cloudflare/circl/ecc/goldilocks"
	"github.com/cloudflare/circl/sign/ed448"

	"github.com/conclave-mls/conclave/internal/secret"
)

// ed448Scheme is the signature algorithm of suites 4 and 6 (RFC 8032 section
// 5.2, empty context). A private key is the 57-byte seed.
type ed448Scheme struct{}

func (ed448Scheme) id() uint16       { return 0x0808 }
func (ed448Scheme) privateSize() int { return ed448.SeedSize }

func (ed448Scheme) candidate([]byte) bool { return true }

func (s ed448Scheme) public(private []byte) ([]byte, bool) {
	key, ok := s.expand(private)
	if !ok {
		return nil, false
	}
	defer key.Wipe()
	return append([]byte(nil), key[ed448.SeedSize:]...), true
}

// expand takes the expanded form too and trusts nothing of its public half.
func (ed448Scheme) expand(private []byte) (secret.Bytes, bool) {
	if len(private) != ed448.SeedSize && len(private) != ed448.PrivateKeySize {
		return nil, false
	}
	return secret.Bytes(ed448.NewKeyFromSeed(private[:ed448.SeedSize])), true
}

// check refuses keys of small order: a signature by one fits many messages.
func (ed448Scheme) check(pub []byte) bool {
	if len(pub) != ed448.PublicKeySize || ed448SmallOrderKey(pub) {
		return false
	}
	_, err := goldilocks.FromBytes(pub)
	return err == nil
}

func ed448SmallOrderKey(pub []byte) bool {
	y := [ed448.PublicKeySize]byte(pub)
	y[ed448.PublicKeySize-1] &= 0x7f
	for i := range ed448SmallOrder {
		if y == ed448SmallOrder[i] {
			return true
		}
	}
	return false
}

func (s ed448Scheme) sign(private, message []byte) ([]byte, error) {
	if len(private) == ed448.PrivateKeySize {
		return ed448.Sign(private, message, ""), nil
	}
	key, ok := s.expand(private)
	if !ok {
		return nil, ErrKey
	}
	defer key.Wipe()
	return ed448.Sign(ed448.PrivateKey(key), message, ""), nil
}

func (ed448Scheme) verify(pub, message, sig []byte) bool {
	return len(pub) == ed448.PublicKeySize && !ed448SmallOrderKey(pub) && ed448.Verify(pub, message, sig, "")
}

func (s ed448Scheme) verifyParts(pub, sig []byte, message [][]byte) bool {
	return s.verify(pub, slices.Concat(message...), sig)
}

func (ed448Scheme) readyBytes() int { return 512 }

func (s ed448Scheme) ready(pub []byte) (readyKey, bool) {
	if !s.check(pub) {
		return nil, false
	}
	return &ed448Key{[ed448.PublicKeySize]byte(pub)}, true
}

// ed448Key is a public key; circl has no faster form of it.
type ed448Key struct{ pub [ed448.PublicKeySize]byte }

func (k *ed448Key) verifyParts(sig []byte, message ...[]byte) bool {
	return ed448Scheme{}.verifyParts(k.pub[:], sig, message)
}
