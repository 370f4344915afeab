package proteus

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/hex"
	"io"

	"github.com/conclave-mls/conclave/internal/primitive"
)

// PublicKey is an Ed25519 public key, of an identity, a prekey or a ratchet step. For
// key agreement it is turned into its X25519 form.
type PublicKey [32]byte

// Fingerprint returns the 64 hexadecimal digits by which users compare devices.
func (p PublicKey) Fingerprint() string { return hex.EncodeToString(p[:]) }

// check refuses keys that are not canonical, of small order or outside of the
// subgroup of prime order. libsodium does; other implementations take some of them,
// and no honest device makes any.
func (p PublicKey) check() error {
	_, err := primitive.EdwardsToX25519(p[:])
	if err != nil {
		return ErrKey
	}
	return nil
}

func (p PublicKey) append(b []byte) []byte { return appendWrapped(b, p[:]) }

// publicKey reads a key and leaves checking to the caller.
func (r *reader) publicKey() (p PublicKey, err error) {
	err = r.wrapped(p[:])
	return p, err
}

func (r *reader) checkedKey() (PublicKey, error) {
	p, err := r.publicKey()
	if err == nil {
		err = p.check()
	}
	return p, err
}

// identityKey reads a key within one more map, the form of identities.
func (r *reader) identityKey() (p PublicKey, err error) {
	err = r.object(1, 0, func(uint8) (err error) {
		p, err = r.publicKey()
		return err
	})
	return p, err
}

func appendIdentityKey(b []byte, p PublicKey) []byte {
	return p.append(append(appendMap(b, 1), 0))
}

// key is 32 bytes of key material.
type key [32]byte

func (k *key) wipe() { clear(k[:]) }

func (k key) append(b []byte) []byte { return appendWrapped(b, k[:]) }

// keyPair is an Ed25519 key pair.
type keyPair struct {
	seed   key
	public PublicKey
}

// newKeyPair draws 32 bytes.
func newKeyPair(rand io.Reader) (k keyPair, err error) {
	if _, err := io.ReadFull(rand, k.seed[:]); err != nil {
		return keyPair{}, err
	}
	private := ed25519.NewKeyFromSeed(k.seed[:])
	copy(k.public[:], private[32:])
	clear(private)
	return k, nil
}

func (k *keyPair) wipe() { k.seed.wipe() }

// agree is the Diffie-Hellman agreement of the X25519 forms.
func (k *keyPair) agree(dst []byte, peer PublicKey) error {
	u, err := primitive.EdwardsToX25519(peer[:])
	if err != nil {
		return ErrKey
	}
	h := sha512.Sum512(k.seed[:])
	defer clear(h[:])
	private, err := ecdh.X25519().NewPrivateKey(h[:32]) // it clamps
	if err != nil {
		return ErrKey
	}
	public, err := ecdh.X25519().NewPublicKey(u[:])
	if err != nil {
		return ErrKey
	}
	shared, err := private.ECDH(public)
	if err != nil {
		return ErrKey
	}
	copy(dst, shared)
	clear(shared)
	return nil
}

func (k *keyPair) sign(message []byte) []byte {
	private := ed25519.NewKeyFromSeed(k.seed[:])
	defer clear(private)
	return ed25519.Sign(private, message)
}

// appendSecret appends the secret key, the seed followed by the public key.
func (k *keyPair) appendSecret(b []byte) []byte {
	b = append(appendMap(b, 1), 0)
	b = appendHead(b, majorBytes, 64)
	return append(append(b, k.seed[:]...), k.public[:]...)
}

// secretKey reads a secret key, whose second half has to be the public key.
func (r *reader) secretKey() (k keyPair, err error) {
	var both [64]byte
	defer clear(both[:])
	if err := r.wrapped(both[:]); err != nil {
		return keyPair{}, err
	}
	private := ed25519.NewKeyFromSeed(both[:32])
	defer clear(private)
	if [64]byte(private) != both {
		return keyPair{}, ErrKey
	}
	return keyPair{seed: key(both[:32]), public: PublicKey(both[32:])}, nil
}

// append appends the pair, secret key first.
func (k *keyPair) append(b []byte) []byte {
	b = append(appendMap(b, 2), 0)
	b = k.appendSecret(b)
	return k.public.append(append(b, 1))
}

func (r *reader) keyPair() (k keyPair, err error) {
	var public PublicKey
	err = r.object(2, 0, func(field uint8) (err error) {
		if field == 0 {
			k, err = r.secretKey()
			return err
		}
		public, err = r.publicKey()
		return err
	})
	if err == nil && public != k.public {
		err = ErrKey
	}
	return k, err
}
