package mlsgroup

// CredentialType says what a Credential holds (RFC 9420 section 17.5).
type CredentialType uint16

// Registered credential types.
const (
	CredentialTypeBasic CredentialType = 1
	CredentialTypeX509  CredentialType = 2
)

// Credential binds an identity to a signature key (RFC 9420 section 5.3). An
// unknown type keeps its bytes, so that a leaf with it still verifies.
type Credential struct {
	Type CredentialType
	// Identity of a Basic credential, opaque to MLS.
	Identity []byte
	// Certificates of an X.509 credential, DER, leaf first.
	Certificates [][]byte
	// Opaque body of a credential of another type, as it stood on the wire.
	Opaque []byte
}
