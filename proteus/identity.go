package proteus

import (
	"fmt"
	"io"

	"github.com/conclave-mls/conclave/internal/secret"
)

// version is the one that every object has.
const version = 1

// Identity is the long-term key pair of a device.
type Identity struct{ pair keyPair }

// NewIdentity draws 32 bytes for a new identity.
func NewIdentity(rand io.Reader) (*Identity, error) {
	pair, err := newKeyPair(rand)
	if err != nil {
		return nil, fmt.Errorf("proteus: draw an identity: %w", err)
	}
	return &Identity{pair}, nil
}

// ParseIdentity reads what Marshal has written. It answers ErrDecode, ErrTruncated,
// ErrLength or ErrKey.
func ParseIdentity(b []byte) (*Identity, error) {
	r := reader{b}
	i := new(Identity)
	var public PublicKey
	err := r.object(3, 0, func(field uint8) (err error) {
		switch field {
		case 0:
			return r.version()
		case 1:
			i.pair, err = r.secretKey()
		case 2:
			public, err = r.identityKey()
		}
		return err
	})
	if err == nil && public != i.pair.public {
		err = ErrKey
	}
	if err != nil {
		i.Wipe()
		return nil, within("identity", err)
	}
	return i, nil
}

// Marshal encodes the identity with its secret key. The caller wipes the bytes.
func (i *Identity) Marshal() secret.Bytes {
	b := append(appendMap(make([]byte, 0, 128), 3), 0)
	b = appendUint(b, uint8(version))
	b = i.pair.appendSecret(append(b, 1))
	return appendIdentityKey(append(b, 2), i.pair.public)
}

// PublicKey returns the public half.
func (i *Identity) PublicKey() PublicKey { return i.pair.public }

// Wipe ends the life of the secret key, also for sessions that use this identity.
func (i *Identity) Wipe() { i.pair.wipe() }
