package mlsgroup

// ProtocolVersion is a version of MLS (RFC 9420 section 6).
type ProtocolVersion uint16

// ProtocolVersionMLS10 is RFC 9420.
const ProtocolVersionMLS10 ProtocolVersion = 1

// LeafNodeSource says where a LeafNode came from (RFC 9420 section 7.2).
type LeafNodeSource uint8

// Sources of a leaf node.
const (
	LeafNodeSourceKeyPackage LeafNodeSource = 1
	LeafNodeSourceUpdate     LeafNodeSource = 2
	LeafNodeSourceCommit     LeafNodeSource = 3
)

// Capabilities is what a client supports (RFC 9420 section 7.2). Unknown
// values (GREASE among them, section 13.5) are kept and ignored.
type Capabilities struct {
	Versions     []ProtocolVersion
	CipherSuites []CipherSuite
	Extensions   []ExtensionType
	Proposals    []ProposalType
	Credentials  []CredentialType
}

// Lifetime bounds the use of a leaf from a key package, in seconds of Unix
// time, both ends included.
type Lifetime struct {
	NotBefore uint64
	NotAfter  uint64
}

// LeafNode is a leaf of the ratchet tree (RFC 9420 section 7.2). It is never
// changed once it is built or read, so trees may share it.
type LeafNode struct {
	EncryptionKey []byte
	SignatureKey  []byte
	Credential    Credential
	Capabilities  Capabilities
	Source        LeafNodeSource
	Lifetime      Lifetime // Source is LeafNodeSourceKeyPackage
	ParentHash    []byte   // Source is LeafNodeSourceCommit
	Extensions    Extensions
	Signature     []byte
}
