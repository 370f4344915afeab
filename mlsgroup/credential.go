package mlsgroup

import "bytes"

// CredentialType says what a Credential holds (RFC 9420 section 17.5).
type CredentialType uint16

// Registered credential types.
const (
	CredentialTypeBasic CredentialType = 1
	CredentialTypeX509  CredentialType = 2
)

// Credential binds an identity to a signature key (RFC 9420 section 5.3). An
// unknown type keeps its body, so that a leaf with it still verifies.
type Credential struct {
	Type CredentialType
	// Identity of a Basic credential, opaque to MLS.
	Identity []byte
	// Certificates of an X.509 credential, DER, leaf first.
	Certificates [][]byte
	// Opaque body of a credential of another type, read as one opaque<V>.
	Opaque []byte
}

// BasicCredential returns a Basic credential of the identity, which it keeps.
func BasicCredential(identity []byte) Credential {
	return Credential{Type: CredentialTypeBasic, Identity: identity}
}

// X509Credential returns an X.509 credential of the chain, DER certificates,
// leaf first, which it keeps.
func X509Credential(chain [][]byte) Credential {
	return Credential{Type: CredentialTypeX509, Certificates: chain}
}

// Equal tells whether both encode to the same bytes.
func (c *Credential) Equal(other *Credential) bool {
	if c.Type != other.Type || len(c.Certificates) != len(other.Certificates) {
		return false
	}
	for i := range c.Certificates {
		if !bytes.Equal(c.Certificates[i], other.Certificates[i]) {
			return false
		}
	}
	return bytes.Equal(c.Identity, other.Identity) && bytes.Equal(c.Opaque, other.Opaque)
}

// Marshal returns the encoding.
func (c *Credential) Marshal() []byte { return c.append(nil) }

// ParseCredential reads an encoded Credential. The result keeps no part of b.
func ParseCredential(b []byte) (*Credential, error) {
	return parseClone(b, (*Credential).read)
}

// sizeHint is no less than the encoded size.
func (c *Credential) sizeHint() int {
	n := 6 + len(c.Identity) + len(c.Opaque)
	for _, cert := range c.Certificates {
		n += 4 + len(cert)
	}
	return n
}

func (c *Credential) append(b []byte) []byte {
	b = appendUint16(b, uint16(c.Type))
	switch c.Type {
	case CredentialTypeBasic:
		return appendOpaque(b, c.Identity)
	case CredentialTypeX509:
		return appendVector(b, func(b []byte) []byte {
			for _, cert := range c.Certificates {
				b = appendOpaque(b, cert)
			}
			return b
		})
	default:
		return appendOpaque(b, c.Opaque)
	}
}

func (c *Credential) read(r *reader) {
	c.Type = CredentialType(r.uint16())
	switch c.Type {
	case CredentialTypeBasic:
		c.Identity = r.opaque()
	case CredentialTypeX509:
		r.vector(maxCertificates, func(r *reader) {
			c.Certificates = append(c.Certificates, r.opaque())
		})
	default:
		c.Opaque = r.opaque()
	}
}
