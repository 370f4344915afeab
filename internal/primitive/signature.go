package primitive

import (
	"github.com/conclave-mls/conclave/internal/secret"
)

// scheme is a signature algorithm. Private keys come in a stored form of
// privateSize bytes and, where that saves work, an expanded one.
type scheme interface {
	id() uint16 // RFC 9420 section 17.1, the numbers of TLS
	privateSize() int
	// public returns the public key, or false if private is malformed.
	public(private []byte) ([]byte, bool)
	expand(private []byte) (secret.Bytes, bool)
	check(pub []byte) bool
	sign(private, message []byte) ([]byte, error)
	verify(pub, message, sig []byte) bool
	// verifyParts is verify of a message in pieces.
	verifyParts(pub, sig []byte, message [][]byte) bool
	// ready decodes a public key that verifies more than once, or tells that it
	// is malformed.
	ready(pub []byte) (readyKey, bool)
	// readyBytes is about the memory that such a key takes, in bytes.
	readyBytes() int
	// candidate turns privateSize uniform bytes into a private key in place, or
	// tells that they are none.
	candidate(private []byte) bool
}

// SignatureScheme returns the TLS number of the suite's signature algorithm.
func (s *Suite) SignatureScheme() uint16 { return s.sig.id() }

// GenerateSignatureKey derives a signature key pair from SeedSize random bytes.
// The caller wipes priv. It fails with ErrLength.
func (s *Suite) GenerateSignatureKey(seed secret.Bytes) (priv secret.Bytes, pub []byte, err error) {
	if len(seed) != s.seedSize {
		return nil, nil, ErrLength
	}
	var prk [maxHashSize]byte
	defer clear(prk[:])
	s.hash.hmac(&prk, []byte("conclave signature key"), seed)
	priv = make(secret.Bytes, s.sig.privateSize())
	for counter := range 256 {
		s.hash.expand(priv, prk[:s.hash.size()], []byte{byte(s.sig.id() >> 8), byte(s.sig.id()), byte(counter)})
		if !s.sig.candidate(priv) {
			continue
		}
		if pub, ok := s.sig.public(priv); ok {
			return priv, pub, nil
		}
	}
	return nil, nil, ErrKey // no seed that leads here is known, or ever will be
}

// SignaturePublicKey returns the public key of a signature private key. It fails
// with ErrKey.
func (s *Suite) SignaturePublicKey(priv secret.Bytes) ([]byte, error) {
	pub, ok := s.sig.public(priv)
	if !ok {
		return nil, ErrKey
	}
	return pub, nil
}

// ExpandSignatureKey returns a form of the private key that Sign takes as well
// and uses in half the time with Ed25519 and Ed448, and two thirds with ECDSA: the
// private key followed by the public key. It is for memory only, and only what this method returned may be
// handed to Sign: signing with a public half of another key gives the private
// one away. The caller wipes it. It fails with ErrKey.
func (s *Suite) ExpandSignatureKey(priv secret.Bytes) (secret.Bytes, error) {
	key, ok := s.sig.expand(priv)
	if !ok {
		return nil, ErrKey
	}
	return key, nil
}

// PrivateHalf returns the part of a signature private key that is secret and by itself
// the whole: of what ExpandSignatureKey returns it leaves out the public key. It shares
// memory with priv.
func (s *Suite) PrivateHalf(priv secret.Bytes) secret.Bytes {
	n := min(len(priv), s.sig.privateSize())
	return priv[:n:n]
}

// CheckSignatureKey fails with ErrKey unless pub is a key that can verify
// something.
func (s *Suite) CheckSignatureKey(pub []byte) error {
	if !s.sig.check(pub) {
		return ErrKey
	}
	return nil
}

// Sign signs the message. The signature depends on key and message only (ECDSA
// as in RFC 6979, encoded in DER). It fails with ErrKey.
func (s *Suite) Sign(priv secret.Bytes, message []byte) ([]byte, error) {
	return s.sig.sign(priv, message)
}

// Verify fails with ErrSignature unless sig is the signature of the message by
// pub, which then passes CheckSignatureKey. With Ed25519 it applies the strict rule of the package comment.
func (s *Suite) Verify(pub, message, sig []byte) error {
	if !s.sig.verify(pub, message, sig) {
		return ErrSignature
	}
	return nil
}

// VerifyParts is [Suite.Verify] of a message that lies in pieces. Large ones
// need not be put together, but with Ed448.
func (s *Suite) VerifyParts(pub, sig []byte, message ...[]byte) error {
	if !s.sig.verifyParts(pub, sig, message) {
		return ErrSignature
	}
	return nil
}
