// Package primitive is the cryptography of the seven MLS cipher suites of RFC
// 9420: hash, MAC and key derivation, AEAD, HPKE in base mode (RFC 9180) and
// signatures. It knows nothing of MLS labels and structures.
//
// Nothing here draws randomness: a caller hands in a seed and the same seed
// gives the same bytes. (Since Go 1.26 the standard library ignores the readers
// one passes to its key generators, so keys are derived from the seed instead.)
// No argument, whatever its bytes or its length, makes a method panic; the one
// duty of the caller is the aliasing rule of SealAEAD and OpenAEAD.
//
// # Where the work is done
//
// X25519, X448 and Ed448 come from circl, Ed25519 and the public keys of X25519
// from curve25519-voi, the rest from the standard library. Building with the tag
// conclave_std_ed25519 takes Ed25519 from the standard library too; tests hold
// the two against each other.
//
// # Ed25519
//
// Implementations disagree on signatures that only a dishonest signer can make.
// A message that some members of a group accept and others refuse splits the
// group, so [Suite.Verify] applies the strictest common rule, that of the peers
// we have to agree with: the equation without cofactor, S below the group order,
// canonical encodings, and neither a public key nor an R of small order.
// [Suite.VerifyEach] decides on many signatures by that same rule, faster than one
// by one. [VerifyBatch] uses the equation with cofactor and is for application
// messages only, where a disagreement costs one message and no state.
package primitive

import (
	"errors"
	"hash"
)

// Errors of this package. None carries a byte of key or message.
var (
	// ErrOpen says that a ciphertext was not made with this key, nonce and
	// associated data.
	ErrOpen = errors.New("primitive: message authentication failed")
	// ErrSignature says that a signature does not verify, for whatever reason:
	// its own form and a malformed public key included.
	ErrSignature = errors.New("primitive: invalid signature")
	// ErrKey says that a key is malformed: of wrong size, not on the curve, out
	// of range or of small order.
	ErrKey = errors.New("primitive: malformed key")
	// ErrLength says that a length is outside what the algorithm allows.
	ErrLength = errors.New("primitive: length out of range")
)

// Suite is the primitives of one MLS cipher suite (RFC 9420 section 17.1). It is
// immutable and safe for concurrent use.
type Suite struct {
	id       uint16
	seedSize int
	hash     hashKind
	aead     aeadKind
	kem      *kem
	sig      scheme
	hpkeID   [10]byte // suite_id of RFC 9180 section 5.1
}

var suites = [...]Suite{
	newSuite(1, 32, kemX25519, aes128GCM, ed25519Scheme{}),
	newSuite(2, 32, kemP256, aes128GCM, ecdsaP256),
	newSuite(3, 32, kemX25519, chacha20Poly1305, ed25519Scheme{}),
	newSuite(4, 57, kemX448, aes256GCM, ed448Scheme{}),
	newSuite(5, 66, kemP521, aes256GCM, ecdsaP521),
	newSuite(6, 57, kemX448, chacha20Poly1305, ed448Scheme{}),
	newSuite(7, 48, kemP384, aes256GCM, ecdsaP384),
}

// newSuite relies on a property of all seven: one hash function serves the
// suite, its KEM and its HPKE key schedule.
func newSuite(id uint16, seedSize int, k *kem, a aeadKind, sig scheme) Suite {
	s := Suite{id: id, seedSize: seedSize, hash: k.hash, aead: a, kem: k, sig: sig}
	s.hpkeID = [10]byte{'H', 'P', 'K', 'E', byte(k.id >> 8), byte(k.id), 0, k.hash.kdfID(), 0, a.id()}
	return s
}

// Lookup returns the suite with a number of the MLS registry, 1 to 7.
func Lookup(id uint16) (*Suite, bool) {
	if id < 1 || int(id) > len(suites) {
		return nil, false
	}
	return &suites[id-1], true
}

// ID returns the suite's number in the MLS registry.
func (s *Suite) ID() uint16 { return s.id }

// HashSize returns the output size of the hash function in bytes: Nh of the
// KDF as well.
func (s *Suite) HashSize() int { return s.hash.size() }

// KeySize returns the size of an AEAD key in bytes.
func (s *Suite) KeySize() int { return s.aead.keySize() }

// NonceSize returns the size of an AEAD nonce in bytes.
func (s *Suite) NonceSize() int { return nonceSize }

// TagSize returns by how many bytes a ciphertext is longer than its plaintext.
func (s *Suite) TagSize() int { return tagSize }

// SeedSize returns how many random bytes [Suite.Seal], [Suite.ExportSender] and
// [Suite.GenerateSignatureKey] want, and what suffices for
// [Suite.DeriveKeyPair]. A seed serves once.
func (s *Suite) SeedSize() int { return s.seedSize }

// NewHash returns a new running hash.
func (s *Suite) NewHash() hash.Hash { return s.hash.running() }
