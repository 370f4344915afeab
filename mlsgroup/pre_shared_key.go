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

// sizeHint is no less than the encoded size.
func (id *PreSharedKeyID) sizeHint() int {
	return 24 + len(id.ExternalID) + len(id.GroupID) + len(id.Nonce)
}

func (id *PreSharedKeyID) append(b []byte) []byte {
	b = append(b, byte(id.Type))
	switch id.Type {
	case PSKTypeExternal:
		b = appendOpaque(b, id.ExternalID)
	case PSKTypeResumption:
		b = append(b, byte(id.Usage))
		b = appendOpaque(b, id.GroupID)
		b = appendUint64(b, id.Epoch)
	}
	return appendOpaque(b, id.Nonce)
}

func (id *PreSharedKeyID) read(r *reader) {
	id.Type = PSKType(r.uint8())
	switch id.Type {
	case PSKTypeExternal:
		id.ExternalID = r.opaque()
	case PSKTypeResumption:
		id.Usage = ResumptionPSKUsage(r.uint8())
		if r.err == nil && (id.Usage < ResumptionPSKUsageApplication || id.Usage > ResumptionPSKUsageBranch) {
			r.fail("resumption PSK usage %d", id.Usage)
		}
		id.GroupID = r.groupID()
		id.Epoch = r.uint64()
	default:
		r.fail("PSK type %d", id.Type)
	}
	id.Nonce = r.opaque()
}

// equal tells whether both are the same id, nonce included.
func (id *PreSharedKeyID) equal(other *PreSharedKeyID) bool {
	return id.sameKey(other) && string(id.Nonce) == string(other.Nonce)
}

// sameKey tells whether both name the same key, whatever their nonces.
func (id *PreSharedKeyID) sameKey(other *PreSharedKeyID) bool {
	return id.Type == other.Type && string(id.ExternalID) == string(other.ExternalID) && id.Usage == other.Usage &&
		string(id.GroupID) == string(other.GroupID) && id.Epoch == other.Epoch
}
