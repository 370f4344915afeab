package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
)

// Labels of PEM blocks.
const (
	pemCertificate = "CERTIFICATE"
	pemCRL         = "X509 CRL"
)

// Fingerprint is the SHA-256 of a certificate's subjectPublicKeyInfo, which names a trust anchor.
type Fingerprint [sha256.Size]byte

// String returns the fingerprint in hexadecimal.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// parseCertificate reads a certificate whose keys and signature we can judge.
func parseCertificate(der []byte) (*x509.Certificate, error) {
	if len(der) > MaxCertificateSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrMalformed, len(der))
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%w: not X.509", ErrMalformed) // the library's text may quote a name
	}
	if len(c.SerialNumber.Bytes()) > maxSerialSize {
		return nil, fmt.Errorf("%w: serial number", ErrMalformed)
	}
	if publicKey(c) == nil || !supported(c.SignatureAlgorithm) {
		return nil, fmt.Errorf("%w: %v key, signed with %v", ErrKeyType, c.PublicKeyAlgorithm, c.SignatureAlgorithm)
	}
	return c, nil
}

// supported tells whether a signature algorithm is one of the suites', with any of their hashes.
func supported(a x509.SignatureAlgorithm) bool {
	switch a {
	case x509.PureEd25519, x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512:
		return true
	}
	return false
}

// publicKey returns a certificate's key as a leaf node has it (RFC 9420 section 5.1.1), nil for an algorithm that no suite uses.
func publicKey(c *x509.Certificate) []byte {
	switch k := c.PublicKey.(type) {
	case ed25519.PublicKey:
		return bytes.Clone(k) // it points into the certificate
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() && k.Curve != elliptic.P384() && k.Curve != elliptic.P521() {
			return nil
		}
		point, _ := k.Bytes() // nil if it is not on the curve
		return point
	}
	return nil
}

// fingerprint returns the name of a certificate's key.
func fingerprint(c *x509.Certificate) Fingerprint { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

// selfSigned tells whether a certificate vouches for itself.
func selfSigned(c *x509.Certificate) bool {
	return bytes.Equal(c.RawSubject, c.RawIssuer) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

// checkAuthority refuses a certificate that may not issue others (RFC 5280 sections 4.2.1.3 and 4.2.1.9).
func checkAuthority(c *x509.Certificate) error {
	if !c.BasicConstraintsValid || !c.IsCA {
		return fmt.Errorf("%w: issuer is no authority", ErrUsage)
	}
	if c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0 {
		return fmt.Errorf("%w: issuer may not sign certificates", ErrUsage)
	}
	return nil
}

// serialKey returns a serial number as a key of maps.
func serialKey(n *big.Int) string { return string(n.Bytes()) }

// serialText returns the hexadecimal of a serial number's DER content: a zero byte comes first where the first bit is set.
func serialText(n *big.Int) string {
	b := n.Bytes()
	if len(b) == 0 || b[0] >= 0x80 {
		b = append([]byte{0}, b...)
	}
	return hex.EncodeToString(b)
}

// ParsePEMChain reads certificates one after another, leaf first where they are a chain. A block with another label, one that is broken and a
// text without any are [ErrMalformed].
func ParsePEMChain(text []byte) ([][]byte, error) {
	if len(text) > MaxPEMSize {
		return nil, fmt.Errorf("%w: %d bytes of PEM", ErrMalformed, len(text))
	}
	// The decoder skips what it cannot read; so count what there is.
	begun := bytes.Count(text, []byte("-----BEGIN"))
	if begun == 0 || begun > maxPEMCertificates {
		return nil, fmt.Errorf("%w: %d PEM blocks", ErrMalformed, begun)
	}
	var chain [][]byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != pemCertificate {
			return nil, fmt.Errorf("%w: PEM block %.40q", ErrMalformed, block.Type)
		}
		if _, err := parseCertificate(block.Bytes); err != nil {
			return nil, err
		}
		chain = append(chain, block.Bytes)
	}
	if len(chain) != begun {
		return nil, fmt.Errorf("%w: broken PEM block", ErrMalformed)
	}
	return chain, nil
}

// EncodePEM returns a certificate in PEM, with line feeds at the ends of lines.
func EncodePEM(certificate []byte) string { return encodePEM(pemCertificate, certificate) }

// EncodePEMCRL returns a revocation list in PEM, as [EncodePEM] does a certificate.
func EncodePEMCRL(list []byte) string { return encodePEM(pemCRL, list) }

func encodePEM(label string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
}
