package primitive

import (
	"bytes"
	"crypto/ecdh"

	"github.com/cloudflare/circl/dh/x25519"
	"github.com/cloudflare/circl/dh/x448"
	voi "github.com/oasisprotocol/curve25519-voi/primitives/x25519"

	"github.com/conclave-mls/conclave/internal/secret"
)

// kem is a DHKEM of RFC 9180 section 4.1, over one Diffie-Hellman group.
type kem struct {
	id          uint16 // RFC 9180 section 7.1
	hash        hashKind
	privateSize int // Nsk, bytes
	publicSize  int // Npk and Nenc, bytes
	group       group
	// topMask keeps the bits of a candidate scalar's first byte that the curve's
	// order has; zero means that every string of privateSize bytes is a private
	// key (RFC 9180 section 7.1.3).
	topMask byte
	suiteID [5]byte
}

// group is a Diffie-Hellman group and the encodings of its keys.
type group interface {
	// private reads a private key of privateSize bytes.
	private(b []byte) (dhKey, error)
	// check tells whether pub is a public key one can agree a secret with.
	check(pub []byte) error
}

// dhKey is a private key ready for use.
type dhKey interface {
	// public returns the encoded public key. It may compute it anew.
	public() []byte
	// shared returns the Diffie-Hellman value with the peer's public key.
	shared(peer []byte) (secret.Bytes, error)
	// wipe overwrites the private key where that is possible.
	wipe()
}

var (
	kemP256   = newKEM(0x0010, hashSHA256, 32, 65, nistGroup{ecdh.P256()}, 0xff)
	kemP384   = newKEM(0x0011, hashSHA384, 48, 97, nistGroup{ecdh.P384()}, 0xff)
	kemP521   = newKEM(0x0012, hashSHA512, 66, 133, nistGroup{ecdh.P521()}, 0x01)
	kemX25519 = newKEM(0x0020, hashSHA256, x25519.Size, x25519.Size, x25519Group{}, 0)
	kemX448   = newKEM(0x0021, hashSHA512, x448.Size, x448.Size, x448Group{}, 0)
)

func newKEM(id uint16, h hashKind, privateSize, publicSize int, g group, topMask byte) *kem {
	return &kem{
		id: id, hash: h, privateSize: privateSize, publicSize: publicSize, group: g, topMask: topMask,
		suiteID: [5]byte{'K', 'E', 'M', byte(id >> 8), byte(id)},
	}
}

// maxPrivateSize is the largest private key in bytes, P-521's.
const maxPrivateSize = 66

// private reads a private key as stored or received. The scalars of the NIST
// curves may come without their leading zeros.
func (k *kem) private(b []byte) (dhKey, error) {
	if len(b) == k.privateSize {
		return k.group.private(b)
	}
	if k.topMask == 0 || len(b) > k.privateSize {
		return nil, ErrKey
	}
	var padded [maxPrivateSize]byte
	defer clear(padded[:])
	copy(padded[k.privateSize-len(b):], b)
	return k.group.private(padded[:k.privateSize])
}

// derive is DeriveKeyPair of RFC 9180 section 7.1.3. The ikm may have any
// length: RFC 9420 hands in node secrets of HashSize bytes, which for P-521 and
// X448 is not the size of a private key.
func (k *kem) derive(ikm []byte) (secret.Bytes, dhKey, error) {
	var prk [maxHashSize]byte
	defer clear(prk[:])
	k.hash.labeledExtract(&prk, k.suiteID[:], nil, "dkp_prk", ikm)
	private := make(secret.Bytes, k.privateSize)
	if k.topMask == 0 {
		k.hash.labeledExpand(private, prk[:k.hash.size()], k.suiteID[:], "sk", nil)
		key, err := k.group.private(private)
		return private, key, err
	}
	for counter := range 256 {
		k.hash.labeledExpand(private, prk[:k.hash.size()], k.suiteID[:], "candidate", []byte{byte(counter)})
		private[0] &= k.topMask
		if key, err := k.group.private(private); err == nil {
			return private, key, nil
		}
	}
	return nil, nil, ErrKey // no seed that leads here is known, or ever will be
}

// encapsulate is Encap of RFC 9180 section 4.1 with the ephemeral key derived
// from seed. The shared secret is at the start of out.
func (k *kem) encapsulate(out *[maxHashSize]byte, pub, seed []byte) (enc []byte, err error) {
	private, key, err := k.derive(seed)
	if err != nil {
		return nil, err
	}
	defer private.Wipe()
	defer key.wipe()
	dh, err := key.shared(pub)
	if err != nil {
		return nil, err
	}
	defer dh.Wipe()
	enc = key.public()
	k.sharedSecret(out, dh, enc, pub)
	return enc, nil
}

// decapsulate is Decap of RFC 9180 section 4.1. A nil pub is computed from
// private; a wrong one yields a shared secret that opens nothing.
func (k *kem) decapsulate(out *[maxHashSize]byte, private, pub, enc []byte) error {
	key, err := k.private(private)
	if err != nil {
		return err
	}
	defer key.wipe()
	dh, err := key.shared(enc)
	if err != nil {
		return err
	}
	defer dh.Wipe()
	if pub == nil {
		pub = key.public()
	}
	k.sharedSecret(out, dh, enc, pub)
	return nil
}

// sharedSecret is ExtractAndExpand of RFC 9180 section 4.1. Nsecret equals the
// size of the hash in all five KEMs.
func (k *kem) sharedSecret(out *[maxHashSize]byte, dh, enc, pub []byte) {
	var prk [maxHashSize]byte
	size := k.hash.size()
	k.hash.labeledExtract(&prk, k.suiteID[:], nil, "eae_prk", dh)
	k.hash.labeledExpand(out[:size], prk[:size], k.suiteID[:], "shared_secret", enc, pub)
	clear(prk[:])
}

// nistGroup is a NIST curve. Public keys are uncompressed points, private keys
// big-endian scalars (RFC 9180 section 7.1.1).
type nistGroup struct{ curve ecdh.Curve }

func (g nistGroup) private(b []byte) (dhKey, error) {
	key, err := g.curve.NewPrivateKey(b)
	if err != nil {
		return nil, ErrKey
	}
	return nistKey{g.curve, key}, nil
}

func (g nistGroup) check(pub []byte) error {
	if _, err := g.curve.NewPublicKey(pub); err != nil {
		return ErrKey
	}
	return nil
}

type nistKey struct {
	curve ecdh.Curve
	key   *ecdh.PrivateKey
}

func (k nistKey) public() []byte { return k.key.PublicKey().Bytes() }

func (k nistKey) shared(peer []byte) (secret.Bytes, error) {
	pub, err := k.curve.NewPublicKey(peer)
	if err != nil {
		return nil, ErrKey
	}
	dh, err := k.key.ECDH(pub)
	if err != nil {
		return nil, ErrKey
	}
	return dh, nil
}

// wipe does nothing: the standard library keeps its copy out of reach.
func (nistKey) wipe() {}

type x25519Group struct{}

func (x25519Group) private(b []byte) (dhKey, error) {
	if len(b) != x25519.Size {
		return nil, ErrKey
	}
	return &x25519Key{x25519.Key(b)}, nil
}

// check refuses the points of small order, with which no secret can be agreed
// (RFC 7748 section 6.1): a member with such a key would make every commit that
// encrypts to him fail.
func (x25519Group) check(pub []byte) error {
	if len(pub) != x25519.Size {
		return ErrKey
	}
	u := x25519.Key(pub)
	u[x25519.Size-1] &= 0x7f // RFC 7748 section 5: the top bit is ignored
	for i := range x25519SmallOrder {
		if u == x25519SmallOrder[i] {
			return ErrKey
		}
	}
	return nil
}

type x25519Key struct{ key x25519.Key }

// public multiplies by the base point with curve25519-voi, which walks a table of
// the Edwards form in half the time of circl's ladder.
func (k *x25519Key) public() []byte {
	var pub [x25519.Size]byte
	voi.ScalarBaseMult(&pub, (*[x25519.Size]byte)(&k.key))
	return pub[:]
}

func (k *x25519Key) shared(peer []byte) (secret.Bytes, error) {
	if len(peer) != x25519.Size {
		return nil, ErrKey
	}
	pub, dh := x25519.Key(peer), x25519.Key{}
	if !x25519.Shared(&dh, &k.key, &pub) {
		return nil, ErrKey
	}
	return dh[:], nil
}

func (k *x25519Key) wipe() { clear(k.key[:]) }

type x448Group struct{}

func (x448Group) private(b []byte) (dhKey, error) {
	if len(b) != x448.Size {
		return nil, ErrKey
	}
	return &x448Key{x448.Key(b)}, nil
}

// check refuses the points of small order, as X25519's does.
func (x448Group) check(pub []byte) error {
	if len(pub) != x448.Size {
		return ErrKey
	}
	for i := range x448SmallOrder {
		if bytes.Equal(pub, x448SmallOrder[i][:]) {
			return ErrKey
		}
	}
	return nil
}

type x448Key struct{ key x448.Key }

func (k *x448Key) public() []byte {
	var pub x448.Key
	x448.KeyGen(&pub, &k.key)
	return pub[:]
}

func (k *x448Key) shared(peer []byte) (secret.Bytes, error) {
	if len(peer) != x448.Size {
		return nil, ErrKey
	}
	pub, dh := x448.Key(peer), x448.Key{}
	if !x448.Shared(&dh, &k.key, &pub) {
		return nil, ErrKey
	}
	return dh[:], nil
}

func (k *x448Key) wipe() { clear(k.key[:]) }
