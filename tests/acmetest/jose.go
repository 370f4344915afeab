package acmetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"math/big"
	"strings"
)

// Signatures and tokens are read and made by hand here: what the library under test makes of its JOSE library must not be judged by the same library.

var b64 = base64.RawURLEncoding

// jwk is a public key.
type jwk struct {
	Type  string `json:"kty"`
	Curve string `json:"crv"`
	X     string `json:"x"`
	Y     string `json:"y,omitempty"`
}

// header is what a protected header holds.
type header struct {
	Algorithm string `json:"alg"`
	Type      string `json:"typ,omitempty"`
	Nonce     string `json:"nonce,omitempty"`
	URL       string `json:"url,omitempty"`
	KeyID     string `json:"kid,omitempty"`
	Key       *jwk   `json:"jwk,omitempty"`
}

// thumbprint is that of RFC 7638, with SHA-256.
func (k *jwk) thumbprint() string {
	text := fmt.Sprintf(`{"crv":%q,"kty":%q,"x":%q}`, k.Curve, k.Type, k.X)
	if k.Y != "" {
		text = fmt.Sprintf(`{"crv":%q,"kty":%q,"x":%q,"y":%q}`, k.Curve, k.Type, k.X, k.Y)
	}
	sum := sha256.Sum256([]byte(text))
	return b64.EncodeToString(sum[:])
}

// verify checks a signature over text.
func (k *jwk) verify(algorithm string, text, signature []byte) error {
	x, err := b64.DecodeString(k.X)
	if err != nil {
		return err
	}
	if algorithm == "EdDSA" {
		if k.Curve != "Ed25519" || len(x) != ed25519.PublicKeySize || !ed25519.Verify(x, text, signature) {
			return errors.New("EdDSA signature")
		}
		return nil
	}
	y, err := b64.DecodeString(k.Y)
	if err != nil {
		return err
	}
	var curve elliptic.Curve
	var digest hash.Hash
	switch algorithm + " " + k.Curve {
	case "ES256 P-256":
		curve, digest = elliptic.P256(), sha256.New()
	case "ES384 P-384":
		curve, digest = elliptic.P384(), sha512.New384()
	case "ES512 P-521":
		curve, digest = elliptic.P521(), sha512.New()
	default:
		return fmt.Errorf("%s with %s", algorithm, k.Curve)
	}
	size := (curve.Params().BitSize + 7) / 8
	if len(x) != size || len(y) != size || len(signature) != 2*size {
		return errors.New("wrong width")
	}
	public, err := ecdsa.ParseUncompressedPublicKey(curve, append(append([]byte{4}, x...), y...))
	if err != nil {
		return err
	}
	digest.Write(text)
	r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
	if !ecdsa.Verify(public, digest.Sum(nil), r, s) {
		return errors.New("ECDSA signature")
	}
	return nil
}

// readJWS takes a flattened JWS apart. find returns the key of a header that has none.
func readJWS(body []byte, find func(header) *jwk) (h header, payload []byte, key *jwk, err error) {
	var parts map[string]string
	if err := json.Unmarshal(body, &parts); err != nil {
		return h, nil, nil, err
	}
	if _, there := parts["payload"]; !there || len(parts) != 3 {
		return h, nil, nil, errors.New("members of a flattened JWS")
	}
	return readParts(parts["protected"], parts["payload"], parts["signature"], find)
}

// readJWT takes a token apart.
func readJWT(token string, find func(header) *jwk, claims any) (h header, key *jwk, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return h, nil, errors.New("not a token")
	}
	h, payload, key, err := readParts(parts[0], parts[1], parts[2], find)
	if err != nil {
		return h, nil, err
	}
	return h, key, json.Unmarshal(payload, claims)
}

func readParts(protected, payload64, signature64 string, find func(header) *jwk) (h header, payload []byte, key *jwk, err error) {
	head, err1 := b64.DecodeString(protected)
	payload, err2 := b64.DecodeString(payload64)
	signature, err3 := b64.DecodeString(signature64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return h, nil, nil, err
	}
	if err := json.Unmarshal(head, &h); err != nil {
		return h, nil, nil, err
	}
	if key = h.Key; find != nil {
		key = find(h)
	}
	if key == nil {
		return h, nil, nil, errors.New("no key")
	}
	return h, payload, key, key.verify(h.Algorithm, []byte(protected+"."+payload64), signature)
}

// token makes a JWT signed by an Ed25519 key, whose public part stands in the header.
func token(typ string, key ed25519.PrivateKey, claims any) string {
	h := header{Algorithm: "EdDSA", Type: typ, Key: publicJWK(key.Public())}
	text := b64.EncodeToString(mustJSON(h)) + "." + b64.EncodeToString(mustJSON(claims))
	return text + "." + b64.EncodeToString(ed25519.Sign(key, []byte(text)))
}

func publicJWK(public crypto.PublicKey) *jwk {
	return &jwk{Type: "OKP", Curve: "Ed25519", X: b64.EncodeToString(public.(ed25519.PublicKey))}
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a test's own value
	}
	return b
}
