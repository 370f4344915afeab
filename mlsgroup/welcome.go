package mlsgroup

import "github.com/conclave-mls/conclave/internal/secret"

// GroupContext is what members agree on in an epoch (RFC 9420 section 8.1).
type GroupContext struct {
	Version                 ProtocolVersion
	CipherSuite             CipherSuite
	GroupID                 []byte
	Epoch                   uint64
	TreeHash                []byte
	ConfirmedTranscriptHash []byte
	Extensions              Extensions
}

// GroupInfo tells outsiders about an epoch (RFC 9420 section 12.4.3).
type GroupInfo struct {
	GroupContext    GroupContext
	Extensions      Extensions
	ConfirmationTag []byte
	Signer          LeafIndex
	Signature       []byte
}

// GroupSecrets is what a Welcome tells one new member (RFC 9420 section
// 12.4.3.1).
type GroupSecrets struct {
	JoinerSecret secret.Bytes
	PathSecret   secret.Bytes // nil where absent
	PSKs         []PreSharedKeyID
}

// EncryptedGroupSecrets is GroupSecrets sealed to one key package.
type EncryptedGroupSecrets struct {
	NewMember             KeyPackageRef
	EncryptedGroupSecrets HPKECiphertext
}

// Welcome brings new members into a group (RFC 9420 section 12.4.3.1).
type Welcome struct {
	CipherSuite        CipherSuite
	Secrets            []EncryptedGroupSecrets
	EncryptedGroupInfo []byte
}
