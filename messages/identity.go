package messages

import (
	"time"

	"github.com/conclave-mls/conclave/mlsgroup"
)

// WireIdentity is what is known of a device by its credential.
type WireIdentity struct {
	// ClientID in its canonical form; of a Basic credential its identity as it is.
	ClientID ClientID
	Status   DeviceStatus
	// Thumbprint of the signature key: that of RFC 7638 with the hash function of the
	// cipher suite, in base64url. Empty where the key has none.
	Thumbprint     string
	CredentialType mlsgroup.CredentialType
	X509           *X509Identity // nil for a Basic credential
}

// X509Identity is what a certificate says of its device.
type X509Identity struct {
	Handle       string // the URI, such as wireapp://%40alice_wire@example.com
	DisplayName  string
	Domain       string
	Certificate  string // PEM
	SerialNumber string // lower-case hexadecimal
	NotBefore    time.Time
	NotAfter     time.Time
}

// DeviceStatus says whether a device's credential is to be relied on. The numbers are
// those of Wire's clients.
type DeviceStatus uint8

// The statuses.
const (
	// DeviceStatusUnknown: there is no trust anchor to verify a certificate with.
	DeviceStatusUnknown DeviceStatus = 0
	// DeviceStatusValid: nothing is known against it. Basic credentials have no other.
	DeviceStatusValid DeviceStatus = 1
	// DeviceStatusExpired: its certificate's time is over.
	DeviceStatusExpired DeviceStatus = 2
	// DeviceStatusRevoked: its certificate or an intermediate is revoked, or leads to no
	// trust anchor.
	DeviceStatusRevoked DeviceStatus = 3
)

// String returns the name Wire's clients know.
func (s DeviceStatus) String() string {
	switch s {
	case DeviceStatusValid:
		return "Valid"
	case DeviceStatusExpired:
		return "Expired"
	case DeviceStatusRevoked:
		return "Revoked"
	}
	return "Unknown"
}

// E2EIState says whether the members of a conversation are who they say they are. The
// numbers are those of Wire's clients.
type E2EIState uint8

// The states.
const (
	// E2EIStateVerified: every member has a valid X.509 credential.
	E2EIStateVerified E2EIState = 1
	// E2EIStateNotVerified: some member has an X.509 credential, and some member's is
	// not, or not valid.
	E2EIStateNotVerified E2EIState = 2
	// E2EIStateNotEnabled: no member has an X.509 credential.
	E2EIStateNotEnabled E2EIState = 3
)

// String returns the name Wire's clients know.
func (s E2EIState) String() string {
	switch s {
	case E2EIStateVerified:
		return "Verified"
	case E2EIStateNotVerified:
		return "NotVerified"
	case E2EIStateNotEnabled:
		return "NotEnabled"
	}
	return "E2EIState(0)"
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
	State E2EIState
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
