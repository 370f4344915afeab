package mlsgroup

import (
	"fmt"

	"github.com/conclave-mls/conclave/internal/primitive"
)

// CipherSuite is a registered MLS cipher suite (RFC 9420 section 17.1).
type CipherSuite uint16

// The seven suites of RFC 9420. Every one of them is supported.
const (
	CipherSuiteX25519AES128Ed25519 CipherSuite = 0x0001 // MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519
	CipherSuiteP256AES128P256      CipherSuite = 0x0002 // MLS_128_DHKEMP256_AES128GCM_SHA256_P256
	CipherSuiteX25519ChaChaEd25519 CipherSuite = 0x0003 // MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519
	CipherSuiteX448AES256Ed448     CipherSuite = 0x0004 // MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448
	CipherSuiteP521AES256P521      CipherSuite = 0x0005 // MLS_256_DHKEMP521_AES256GCM_SHA512_P521
	CipherSuiteX448ChaChaEd448     CipherSuite = 0x0006 // MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448
	CipherSuiteP384AES256P384      CipherSuite = 0x0007 // MLS_256_DHKEMP384_AES256GCM_SHA384_P384
)

// String returns the registered name, or the number of an unknown suite.
func (cs CipherSuite) String() string {
	names := [...]string{
		1: "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
		2: "MLS_128_DHKEMP256_AES128GCM_SHA256_P256",
		3: "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519",
		4: "MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448",
		5: "MLS_256_DHKEMP521_AES256GCM_SHA512_P521",
		6: "MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448",
		7: "MLS_256_DHKEMP384_AES256GCM_SHA384_P384",
	}
	if cs > 0 && int(cs) < len(names) {
		return names[cs]
	}
	return fmt.Sprintf("CipherSuite(0x%04x)", uint16(cs))
}

// Supported tells whether the suite is one of the seven.
func (cs CipherSuite) Supported() bool { return cs >= 1 && cs <= 7 }

// suite returns the primitives of cs, or an error that wraps
// ErrUnsupportedCipherSuite.
func (cs CipherSuite) suite() (*primitive.Suite, error) {
	s, ok := primitive.Lookup(uint16(cs))
	if !ok {
		return nil, fmt.Errorf("%w: %v", ErrUnsupportedCipherSuite, cs)
	}
	return s, nil
}
