package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"

	"github.com/conclave-mls/conclave/internal/primitive"
)

// Thumbprint returns the JWK thumbprint (RFC 7638) of an MLS signature key: the base64url, without padding, of the key's canonical JSON hashed with
// the hash function of the cipher suite. It is empty where there is none: the suite is unknown or the key malformed.
func Thumbprint(suite uint16, public []byte) string {
	s, ok := primitive.Lookup(suite)
	if !ok {
		return ""
	}
	b64 := base64.RawURLEncoding.EncodeToString
	var jwk string
	switch suite {
	case 1, 3:
		if len(public) == 32 {
			jwk = `{"crv":"Ed25519","kty":"OKP","x":"` + b64(public) + `"}`
		}
	case 4, 6: // RFC 8037
		if len(public) == 57 {
			jwk = `{"crv":"Ed448","kty":"OKP","x":"` + b64(public) + `"}`
		}
	case 2, 5, 7:
		curve := map[uint16]elliptic.Curve{2: elliptic.P256(), 5: elliptic.P521(), 7: elliptic.P384()}[suite]
		if _, err := ecdsa.ParseUncompressedPublicKey(curve, public); err == nil {
			x, y := public[1:1+len(public)/2], public[1+len(public)/2:]
			jwk = `{"crv":"` + curve.Params().Name + `","kty":"EC","x":"` + b64(x) + `","y":"` + b64(y) + `"}`
		}
	}
	if jwk == "" {
		return ""
	}
	return b64(s.Hash(nil, []byte(jwk)))
}
