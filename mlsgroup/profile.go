package mlsgroup

import "fmt"

// Profile is one way to speak MLS. A group keeps its profile for life; nothing
// on the wire tells it, so it is an argument of creating and of joining.
type Profile uint8

const (
	// ProfileRFC is RFC 9420 as it stands, for peers such as OpenMLS, mlspp,
	// ts-mls and mls-go.
	ProfileRFC Profile = 1
	// ProfileWire is what Wire's CoreCrypto clients speak: the places where it
	// departs from the RFC or narrows it.
	ProfileWire Profile = 2
)

// String returns the profile's name.
func (p Profile) String() string {
	switch p {
	case ProfileRFC:
		return "RFC 9420"
	case ProfileWire:
		return "Wire"
	default:
		return fmt.Sprintf("Profile(%d)", uint8(p))
	}
}

// profileRules is what the code asks a profile. Every difference between the
// profiles is a field here.
type profileRules struct {
	// pathKeySigns: a member's commit with a path is signed, framing and
	// GroupInfo, with the key of the path's leaf, which need not be the key in
	// the tree. The RFC has the key in the tree sign.
	pathKeySigns bool
	// omitPath: our own commits leave the path out where they may.
	omitPath bool
	// oneHandshakeFormat: proposals and commits of members come in one wire
	// format and no other is accepted: PublicMessage, or PrivateMessage in a
	// group with PrivateHandshakes. Without it ours are PrivateMessages and both
	// are accepted.
	oneHandshakeFormat bool
	// padTo: the plaintext of a PrivateMessage, with the AEAD tag, is padded to
	// a multiple of this many bytes.
	padTo int
	// externalRemoveOnly: an external sender may propose to remove, nothing
	// else.
	externalRemoveOnly bool
	// requireCredentials: a new group requires its members to support Basic and
	// X.509 credentials.
	requireCredentials bool
	// lastResort: extension type 0x000A means last_resort_key_package and may
	// be put into key packages. To Wire's clients it is something else.
	lastResort bool
	// resumptionEpochs is how many past epochs' resumption PSKs are kept.
	resumptionEpochs uint64
}

// rules returns the rules of the profile. An unknown profile cannot get into a
// group; check refuses it.
func (p Profile) rules() profileRules {
	if p == ProfileWire {
		return profileRules{
			pathKeySigns: true, omitPath: true, oneHandshakeFormat: true, padTo: 128,
			externalRemoveOnly: true, requireCredentials: true, resumptionEpochs: 1,
		}
	}
	return profileRules{padTo: 1, lastResort: true, resumptionEpochs: 32}
}

// check fails for a number that is no profile.
func (p Profile) check() error {
	if p != ProfileRFC && p != ProfileWire {
		return fmt.Errorf("mlsgroup: unknown profile %d", uint8(p))
	}
	return nil
}

// capabilities returns what this package supports, as its leaves list it: no
// default extension or proposal type (RFC 9420 section 7.2).
func (p Profile) capabilities() Capabilities {
	c := Capabilities{
		Versions:     []ProtocolVersion{ProtocolVersionMLS10},
		CipherSuites: []CipherSuite{1, 2, 3, 4, 5, 6, 7},
		Credentials:  []CredentialType{CredentialTypeBasic, CredentialTypeX509},
	}
	if p == ProfileWire {
		c.CipherSuites = []CipherSuite{1, 2, 3, 7, 5}
	}
	return c
}
