package mlsgroup

// ReceiveConfig says how far out of order messages may arrive. It concerns
// this member only. The zero value of a field means its default.
type ReceiveConfig struct {
	// OutOfOrder is the window of a sender's ratchet in generations, counted
	// back from the next one expected: keys skipped within it are kept for late
	// messages. Default 32, at most 4096; 1 allows no late message.
	OutOfOrder uint32
	// MaxForward is how many generations a message may be ahead of the next one
	// expected. Default 1000, at most 65536.
	MaxForward uint32
	// PastEpochs is how many epochs before the current one can still be read.
	// Default 3, at most 1024.
	PastEpochs uint32
}

// Bounds of a ReceiveConfig; beyond them one message costs too much.
const (
	maxOutOfOrder = 1 << 12
	maxMaxForward = 1 << 16
	maxPastEpochs = 1 << 10
)

// withDefaults fills in zero fields and lowers those beyond the bounds.
func (c ReceiveConfig) withDefaults() ReceiveConfig {
	pick := func(v, def, most uint32) uint32 {
		if v == 0 {
			return def
		}
		return min(v, most)
	}
	return ReceiveConfig{
		OutOfOrder: pick(c.OutOfOrder, 32, maxOutOfOrder),
		MaxForward: pick(c.MaxForward, 1000, maxMaxForward),
		PastEpochs: pick(c.PastEpochs, 3, maxPastEpochs),
	}
}
