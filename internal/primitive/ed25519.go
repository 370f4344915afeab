package primitive

import (
	"crypto/ed25519"

	"github.com/conclave-mls/conclave/internal/secret"
)

// ed25519Implementation is what two libraries do alike. Keys and signatures
// have the right length, and public keys and R have passed ed25519Bad.
type ed25519Implementation interface {
	// expand returns the seed followed by the public key.
	expand(seed []byte) []byte
	sign(expanded, message []byte) []byte
	// onCurve tells whether pub decodes to a point.
	onCurve(pub []byte) bool
	// verify applies the equation without cofactor to a canonical S and a
	// message in pieces.
	verify(pub, sig []byte, message ...[]byte) bool
	// ready decodes a public key, which has passed ed25519Bad.
	ready(pub []byte) (readyKey, bool)
	// allHold tells that verify accepts all signatures of a list, if it can tell
	// that faster than verify. Nothing is known of their parts.
	allHold(list []Signed, do func(n int, f func(i int))) bool
}

// ed25519Scheme is the signature algorithm of suites 1 and 3. A private key is
// the 32-byte seed of RFC 8032.
type ed25519Scheme struct{}

func (ed25519Scheme) id() uint16       { return 0x0807 }
func (ed25519Scheme) privateSize() int { return ed25519.SeedSize }

func (ed25519Scheme) candidate([]byte) bool { return true }

func (s ed25519Scheme) public(private []byte) ([]byte, bool) {
	key, ok := s.expand(private)
	if !ok {
		return nil, false
	}
	defer key.Wipe()
	return append([]byte(nil), key[ed25519.SeedSize:]...), true
}

// expand takes the expanded form too and trusts nothing of its public half.
func (ed25519Scheme) expand(private []byte) (secret.Bytes, bool) {
	if len(private) != ed25519.SeedSize && len(private) != ed25519.PrivateKeySize {
		return nil, false
	}
	return ed25519Engine.expand(private[:ed25519.SeedSize]), true
}

func (ed25519Scheme) check(pub []byte) bool {
	return len(pub) == ed25519.PublicKeySize && !ed25519Bad((*[32]byte)(pub)) && ed25519Engine.onCurve(pub)
}

func (s ed25519Scheme) sign(private, message []byte) ([]byte, error) {
	if len(private) == ed25519.PrivateKeySize {
		return ed25519Engine.sign(private, message), nil
	}
	key, ok := s.expand(private)
	if !ok {
		return nil, ErrKey
	}
	defer key.Wipe()
	return ed25519Engine.sign(key, message), nil
}

func (ed25519Scheme) verify(pub, message, sig []byte) bool {
	return ed25519Acceptable(pub, sig) && ed25519Engine.verify(pub, sig, message)
}

func (ed25519Scheme) verifyParts(pub, sig []byte, message [][]byte) bool {
	return ed25519Acceptable(pub, sig) && ed25519Engine.verify(pub, sig, message...)
}

func (ed25519Scheme) readyBytes() int { return 1536 }

func (ed25519Scheme) ready(pub []byte) (readyKey, bool) {
	if len(pub) != ed25519.PublicKeySize || ed25519Bad((*[32]byte)(pub)) {
		return nil, false
	}
	return ed25519Engine.ready(pub)
}

// ed25519Acceptable checks lengths and that neither the key nor R is of small
// order or encoded in a way of its own. Checking R by its bytes is as good as
// decoding it: without cofactor the equation ends in comparing R's bytes with a
// canonical encoding.
func ed25519Acceptable(pub, sig []byte) bool {
	return len(pub) == ed25519.PublicKeySize && len(sig) == ed25519.SignatureSize &&
		!ed25519Bad((*[32]byte)(pub)) && !ed25519Bad((*[32]byte)(sig))
}

var _ ed25519Implementation = ed25519Engine
