package enrollment

import (
	"crypto"
	"encoding/base64"
	"math/big"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// joseSigner lets go-jose sign with a key of package primitive. go-jose would draw
// random bytes of its own; like this a JWS depends on its arguments alone.
type joseSigner struct {
	key    *keyPair
	public *jose.JSONWebKey
}

// Public returns the public key, with the key id if one stands in its stead.
func (j *joseSigner) Public() *jose.JSONWebKey { return j.public }

// Algs returns the one algorithm of the key.
func (j *joseSigner) Algs() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{algorithmOf(j.key.suite).jws}
}

// SignPayload signs what go-jose made of header and payload. ECDSA signatures are r and
// s at full width (RFC 7518 section 3.4), not DER.
func (j *joseSigner) SignPayload(payload []byte, _ jose.SignatureAlgorithm) ([]byte, error) {
	signature, err := j.key.suite.Sign(j.key.private, payload)
	curve := algorithmOf(j.key.suite).curve
	if err != nil || curve == nil {
		return signature, err
	}
	size := (curve.Params().BitSize + 7) / 8
	var inner cryptobyte.String
	der := cryptobyte.String(signature)
	r, s := new(big.Int), new(big.Int)
	if !der.ReadASN1(&inner, asn1.SEQUENCE) || !inner.ReadASN1Integer(r) || !inner.ReadASN1Integer(s) || max(r.BitLen(), s.BitLen()) > 8*size {
		return nil, errSignature
	}
	raw := make([]byte, 2*size)
	r.FillBytes(raw[:size])
	s.FillBytes(raw[size:])
	return raw, nil
}

// sign returns a JWS. An empty id embeds the public key.
func (k *keyPair) sign(id string, payload []byte, header map[jose.HeaderKey]any) (*jose.JSONWebSignature, error) {
	public, err := k.jwk(id)
	if err != nil {
		return nil, err
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: algorithmOf(k.suite).jws, Key: &joseSigner{k, public}},
		&jose.SignerOptions{EmbedJWK: id == "", ExtraHeaders: header},
	)
	if err != nil {
		return nil, err
	}
	if payload == nil {
		payload = []byte{} // go-jose leaves out the member for nil
	}
	return signer.Sign(payload)
}

// requestBody returns the flattened JWS of a request (RFC 8555 section 6.2). An empty
// account embeds the public key; no payload makes a POST-as-GET.
func (k *keyPair) requestBody(account, url, nonce string, payload []byte) ([]byte, error) {
	jws, err := k.sign(account, payload, map[jose.HeaderKey]any{"nonce": nonce, "url": url})
	if err != nil {
		return nil, err
	}
	return []byte(jws.FullSerialize()), nil
}

// token returns a compact JWT with the public key in its header.
func (k *keyPair) token(typ string, claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	jws, err := k.sign("", payload, map[jose.HeaderKey]any{jose.HeaderType: typ})
	if err != nil {
		return "", err
	}
	return jws.CompactSerialize()
}

// thumbprint returns the SHA-256 thumbprint of the public key (RFC 7638) in base64url:
// SHA-256 for all suites, as the CA knows no other.
func (k *keyPair) thumbprint() (string, error) {
	public, err := k.jwk("")
	if err != nil {
		return "", err
	}
	sum, err := public.Thumbprint(crypto.SHA256)
	return base64.RawURLEncoding.EncodeToString(sum), err
}

// decode reads a JSON object. The package of go-jose tells upper from lower case and
// refuses a member that stands there twice.
func decode[T any](body []byte) (T, error) {
	var v T
	if len(body) > MaxBody {
		return v, ErrTooLarge
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return v, malformed("no JSON of that kind")
	}
	return v, nil
}
