package enrollment

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"

	"github.com/go-jose/go-jose/v4"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
)

// keyPair is one of the two key pairs of an enrollment.
type keyPair struct {
	suite   *primitive.Suite
	private secret.Bytes // as package primitive has it
	public  []byte       // Ed25519, or an uncompressed point
}

// algorithm is what the world outside of MLS calls a suite's signatures.
type algorithm struct {
	jws       jose.SignatureAlgorithm
	curve     elliptic.Curve        // nil for Ed25519
	signature asn1.ObjectIdentifier // object identifier in a CSR
}

var (
	ed25519Algorithm = algorithm{jose.EdDSA, nil, asn1.ObjectIdentifier{1, 3, 101, 112}}
	p256Algorithm    = algorithm{jose.ES256, elliptic.P256(), asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}}
	p384Algorithm    = algorithm{jose.ES384, elliptic.P384(), asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}}
	p521Algorithm    = algorithm{jose.ES512, elliptic.P521(), asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}}
)

// lookupSuite returns the primitives of a suite that certificates are issued for.
func lookupSuite(id uint16) (*primitive.Suite, bool) {
	suite, ok := primitive.Lookup(id)
	return suite, ok && id != 4 && id != 6
}

func algorithmOf(suite *primitive.Suite) *algorithm {
	switch suite.ID() {
	case 2:
		return &p256Algorithm
	case 5:
		return &p521Algorithm
	case 7:
		return &p384Algorithm
	default:
		return &ed25519Algorithm
	}
}

func newKeyPair(suite *primitive.Suite, rand io.Reader) (keyPair, error) {
	seed := make(secret.Bytes, suite.SeedSize())
	defer seed.Wipe()
	if _, err := io.ReadFull(rand, seed); err != nil {
		return keyPair{}, fmt.Errorf("%w: %w", ErrRandom, err)
	}
	private, public, err := suite.GenerateSignatureKey(seed)
	return keyPair{suite, private, public}, err
}

// readKeyPair takes over the private key, or wipes it. One in the expanded form is cut
// to the private half: the state has one form only.
func readKeyPair(suite *primitive.Suite, private secret.Bytes) (keyPair, error) {
	public, err := suite.SignaturePublicKey(private)
	if err != nil {
		private.Wipe()
		return keyPair{}, fmt.Errorf("%w: signature key", ErrConfig)
	}
	half := suite.PrivateHalf(private)
	private[len(half):].Wipe()
	return keyPair{suite, half, public}, nil
}

// publicKey returns the public key as the standard library has it.
func (k *keyPair) publicKey() (crypto.PublicKey, error) {
	curve := algorithmOf(k.suite).curve
	if curve == nil {
		return ed25519.PublicKey(k.public), nil
	}
	return ecdsa.ParseUncompressedPublicKey(curve, k.public)
}

// jwk returns the public key with a key id, which stands in a JWS in its stead.
func (k *keyPair) jwk(id string) (*jose.JSONWebKey, error) {
	public, err := k.publicKey()
	if err != nil {
		return nil, err
	}
	return &jose.JSONWebKey{Key: public, KeyID: id}, nil
}

// errSignature cannot happen: it says that a signature made here is no DER.
var errSignature = errors.New("enrollment: signature is not DER")
