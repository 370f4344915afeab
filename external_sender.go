package conclave

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// wireServer is the identity that Wire's clients write beside the key of an external sender, whoever it is.
const wireServer = "wire-server"

// ParseExternalSender reads the key of an external sender as a delivery service hands it out, a JWK (RFC 7517) or the raw public key of the suite's
// signature scheme, for the ExternalSenders of [ConversationOptions]. [CodeInvalidArgument] where it is no such key. The sender's credential is Basic and
// names "wire-server", as Wire's clients have it.
//
// A JWK of another scheme than the suite's is refused, where CoreCrypto takes it: nobody could verify what that sender signs. The point of a JWK on a NIST
// curve is kept uncompressed, as RFC 9420 5.1.1 has it, where CoreCrypto keeps it compressed; both read both.
func ParseExternalSender(suite CipherSuite, key []byte) (ExternalSender, error) {
	const op = "ParseExternalSender"
	s, ok := primitive.Lookup(uint16(suite))
	if !ok {
		return ExternalSender{}, wrap(op, "", fmt.Errorf("%w: %w: %v", messages.ErrInvalidArgument, mlsgroup.ErrUnsupportedCipherSuite, suite))
	}
	raw := bytes.Clone(key)
	if json.Valid(key) { // which no raw key is, but by an accident that nobody will live to see
		var err error
		if raw, err = readJWK(key, s.SignatureScheme()); err != nil {
			return ExternalSender{}, wrap(op, "", fmt.Errorf("%w: JWK: %w", messages.ErrInvalidArgument, err))
		}
	}
	if err := s.CheckSignatureKey(raw); err != nil {
		return ExternalSender{}, wrap(op, "", fmt.Errorf("%w: external sender: %w", messages.ErrInvalidArgument, err))
	}
	return ExternalSender{SignatureKey: raw, Credential: mlsgroup.BasicCredential([]byte(wireServer))}, nil
}

// jwkCurves are the keys of RFC 7518 6.2 and RFC 8037 that MLS signs with, by signature scheme; size is that of a coordinate in bytes.
var jwkCurves = []struct {
	scheme   uint16
	kty, crv string
	size     int
}{
	{0x0403, "EC", "P-256", 32},
	{0x0503, "EC", "P-384", 48},
	{0x0603, "EC", "P-521", 66},
	{0x0807, "OKP", "Ed25519", 32},
	{0x0808, "OKP", "Ed448", 57},
}

// readJWK returns the public key of a JWK of a signature scheme, as MLS encodes it. Members that say nothing about the key are left alone, as RFC 7517 4 asks.
func readJWK(b []byte, scheme uint16) ([]byte, error) {
	members, err := readStrings(b)
	if err != nil {
		return nil, err
	}
	if _, private := members["d"]; private {
		return nil, fmt.Errorf("it holds a private key")
	}
	for _, c := range jwkCurves {
		if c.scheme != scheme {
			continue
		}
		if members["kty"] != c.kty || members["crv"] != c.crv {
			return nil, fmt.Errorf("kty %q and crv %q, want %q and %q", members["kty"], members["crv"], c.kty, c.crv)
		}
		x, err := readCoordinate(members["x"], c.size)
		if err != nil || c.kty == "OKP" {
			return x, err
		}
		y, err := readCoordinate(members["y"], c.size)
		return append(append([]byte{4}, x...), y...), err
	}
	return nil, fmt.Errorf("signature scheme 0x%04x has no JWK", scheme)
}

func readCoordinate(s string, size int) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err == nil && len(b) != size {
		err = fmt.Errorf("a coordinate of %d bytes, want %d", len(b), size)
	}
	return b, err
}

// readStrings reads the members of a JSON object whose values are strings, by their exact names. A name that stands twice is refused: two readers could
// take different ones.
func readStrings(b []byte) (map[string]string, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, fmt.Errorf("not an object")
	}
	members := make(map[string]string)
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := token.(string)
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("member %q stands twice", name)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		members[name] = ""
		if len(value) > 0 && value[0] == '"' {
			var s string
			if err := json.Unmarshal(value, &s); err != nil {
				return nil, err
			}
			members[name] = s
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("more behind the object")
	}
	return members, nil
}
