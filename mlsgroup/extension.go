package mlsgroup

// ExtensionType is a registered extension type (RFC 9420 section 17.3).
type ExtensionType uint16

// Extension types of RFC 9420. In the Wire profile 0x000A means per-domain
// trust anchors instead.
const (
	ExtensionTypeApplicationID        ExtensionType = 0x0001
	ExtensionTypeRatchetTree          ExtensionType = 0x0002
	ExtensionTypeRequiredCapabilities ExtensionType = 0x0003
	ExtensionTypeExternalPub          ExtensionType = 0x0004
	ExtensionTypeExternalSenders      ExtensionType = 0x0005
	ExtensionTypeLastResort           ExtensionType = 0x000A
)

// Extension is one entry of an extension list, its content uninterpreted.
type Extension struct {
	Type ExtensionType
	Body []byte
}

// Extensions is an extension list: each type at most once, order kept.
type Extensions []Extension

// RequiredCapabilities is the content of ExtensionTypeRequiredCapabilities
// (RFC 9420 section 11.1).
type RequiredCapabilities struct {
	Extensions  []ExtensionType
	Proposals   []ProposalType
	Credentials []CredentialType
}

// ExternalSender is an entry of ExtensionTypeExternalSenders (RFC 9420 section
// 12.1.8.1).
type ExternalSender struct {
	SignatureKey []byte
	Credential   Credential
}
