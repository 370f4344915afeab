package mlsgroup

// PSKType says which kind of pre-shared key is meant (RFC 9420 section 8.4).
type PSKType uint8

// Types of pre-shared keys.
const (
	PSKTypeExternal   PSKType = 1
	PSKTypeResumption PSKType = 2
)

// ResumptionPSKUsage says what a resumption PSK is for.
type ResumptionPSKUsage uint8

// Usages of resumption PSKs.
const (
	ResumptionPSKUsageApplication ResumptionPSKUsage = 1
	ResumptionPSKUsageReInit      ResumptionPSKUsage = 2
	ResumptionPSKUsageBranch      ResumptionPSKUsage = 3
)

// PreSharedKeyID names a pre-shared key (RFC 9420 section 8.4).
type PreSharedKeyID struct {
	Type PSKType
	// ExternalID of an external PSK.
	ExternalID []byte
	// Usage, GroupID and Epoch of a resumption PSK.
	Usage   ResumptionPSKUsage
	GroupID []byte
	Epoch   uint64
	// Nonce is fresh for every use, HashSize bytes.
	Nonce []byte
}
