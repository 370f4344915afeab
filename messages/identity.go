package messages

import (
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/pki"
)

// WireIdentity is what is known of a device by its credential.
type WireIdentity struct {
	// ClientID in its canonical form; of a Basic credential its identity as it is.
	ClientID ClientID
	Status   pki.DeviceStatus
	// Thumbprint of the signature key: that of RFC 7638 with the hash function of the
	// cipher suite, in base64url. Empty where the key has none.
	Thumbprint     string
	CredentialType mlsgroup.CredentialType
	X509           *pki.X509Identity // nil for a Basic credential
}

// ReadE2EIState reads the state of the addressed conversation. It answers
// [E2EIStateRead].
type ReadE2EIState struct{}

// ReadGroupInfoState verifies a GroupInfo and reads the state of the group it
// describes. The address names no conversation, and none need be here. It answers
// [E2EIStateRead], or ErrInvalidMessage.
type ReadGroupInfoState struct {
	// GroupInfo is bare or wrapped in an MLSMessage.
	GroupInfo []byte
	// RatchetTree, where the GroupInfo brings none.
	RatchetTree []byte
	// AsSender verifies as one who would add the members: the lifetimes of their key
	// packages have to be running.
	AsSender bool
}

// E2EIStateRead answers [ReadE2EIState] and [ReadGroupInfoState].
type E2EIStateRead struct {
	Epoch uint64
	State pki.E2EIState
}

// ReadIdentities reads the identities of members of the addressed conversation: those
// whose client id is among Clients, and those whose user is among Users. Others are
// left out. It answers [IdentitiesRead].
type ReadIdentities struct {
	Clients []ClientID
	// Users are what stands before the colon of a client id: the UUID in lower case.
	Users []string
}

// IdentitiesRead answers [ReadIdentities], in leaf order.
type IdentitiesRead struct {
	Epoch      uint64
	Identities []WireIdentity
}

// Identify reads the identity of whoever has a credential. It answers [Identified].
type Identify struct {
	CipherSuite  mlsgroup.CipherSuite
	Credential   mlsgroup.Credential
	SignatureKey []byte
}

// Identified answers [Identify].
type Identified struct{ Identity WireIdentity }
