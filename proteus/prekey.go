package proteus

import (
	"crypto/ed25519"
	"fmt"
	"io"

	"github.com/conclave-mls/conclave/internal/secret"
)

// LastResort is the id of the prekey that is handed out when all others are used up,
// and that is not deleted after use.
const LastResort uint16 = 65535

// PreKey is a key pair that lets somebody begin a session while this device is
// offline. It is deleted once it has done so, unless it is the last resort.
type PreKey struct {
	id   uint16
	pair keyPair
}

// NewPreKey draws 32 bytes for a new prekey of this id.
func NewPreKey(rand io.Reader, id uint16) (*PreKey, error) {
	pair, err := newKeyPair(rand)
	if err != nil {
		return nil, fmt.Errorf("proteus: draw a prekey: %w", err)
	}
	return &PreKey{id, pair}, nil
}

// ParsePreKey reads what Marshal has written. It answers ErrDecode, ErrTruncated,
// ErrLength or ErrKey.
func ParsePreKey(b []byte) (*PreKey, error) {
	r := reader{b}
	k := new(PreKey)
	err := r.object(3, 0, func(field uint8) (err error) {
		switch field {
		case 0:
			return r.version()
		case 1:
			k.id, err = r.uint16()
		case 2:
			k.pair, err = r.keyPair()
		}
		return err
	})
	if err != nil {
		k.Wipe()
		return nil, within("prekey", err)
	}
	return k, nil
}

// Marshal encodes the prekey with its secret key. The caller wipes the bytes.
func (k *PreKey) Marshal() secret.Bytes {
	b := append(appendMap(make([]byte, 0, 128), 3), 0)
	b = appendUint(b, uint8(version))
	b = appendUint(append(b, 1), k.id)
	return k.pair.append(append(b, 2))
}

// ID returns the id.
func (k *PreKey) ID() uint16 { return k.id }

// Wipe ends the life of the secret key.
func (k *PreKey) Wipe() { k.pair.wipe() }

// Bundle returns what others need of the prekey. Wire's clients publish it unsigned.
func (k *PreKey) Bundle(owner PublicKey) PreKeyBundle {
	return PreKeyBundle{ID: k.id, PublicKey: k.pair.public, Identity: owner}
}

// PreKeyBundle is the public half of a prekey with its owner's identity.
type PreKeyBundle struct {
	ID        uint16
	PublicKey PublicKey
	Identity  PublicKey
	Signature []byte // 64 bytes by Identity over PublicKey, or nil
}

// Sign puts the owner's signature on the bundle.
func (p *PreKeyBundle) Sign(owner *Identity) { p.Signature = owner.pair.sign(p.PublicKey[:]) }

// ParsePreKeyBundle reads a bundle, with a signature in either of the two forms that
// exist. It answers ErrDecode, ErrTruncated, ErrLength or ErrKey; a signature that is
// wrong is found by Verify.
func ParsePreKeyBundle(b []byte) (PreKeyBundle, error) {
	r := reader{b}
	var p PreKeyBundle
	err := r.object(5, 1<<4, func(field uint8) (err error) {
		switch field {
		case 0:
			return r.version()
		case 1:
			p.ID, err = r.uint16()
		case 2:
			p.PublicKey, err = r.checkedKey()
		case 3:
			if p.Identity, err = r.identityKey(); err == nil {
				err = p.Identity.check()
			}
		case 4:
			p.Signature, err = r.signature()
		}
		return err
	})
	if err != nil {
		return PreKeyBundle{}, within("prekey bundle", err)
	}
	return p, nil
}

// signature reads null, a byte string (TypeScript's form) or a map with one (Rust's).
func (r *reader) signature() ([]byte, error) {
	if r.null() {
		return nil, nil
	}
	s := make([]byte, ed25519.SignatureSize)
	ahead := *r
	if major, _, _, err := ahead.head(); err == nil && major == majorBytes {
		return s, r.exactly(s)
	}
	return s, r.wrapped(s)
}

// Marshal encodes the bundle, a signature in the form that CoreCrypto reads.
func (p PreKeyBundle) Marshal() []byte {
	b := append(appendMap(make([]byte, 0, 192), 5), 0)
	b = appendUint(b, uint8(version))
	b = appendUint(append(b, 1), p.ID)
	b = p.PublicKey.append(append(b, 2))
	b = appendIdentityKey(append(b, 3), p.Identity)
	b = append(b, 4)
	if p.Signature == nil {
		return append(b, null)
	}
	return appendWrapped(b, p.Signature)
}

// Verify answers ErrInvalidSignature if the bundle has a signature that is not its
// identity's. An unsigned bundle is as good as the server that handed it out.
func (p PreKeyBundle) Verify() error {
	if p.Signature != nil && !ed25519.Verify(p.Identity[:], p.PublicKey[:], p.Signature) {
		return within("prekey bundle", ErrInvalidSignature)
	}
	return nil
}
