package mlsgroup

import (
	"fmt"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
)

// preSharedKey is a PSK with the id under which a commit injects it.
type preSharedKey struct {
	id  PreSharedKeyID
	key secret.Bytes
}

// newPSKSecret chains the PSKs of a commit, in the commit's order (RFC 9420
// section 8.4). Without any it is the zero vector. The caller wipes the result.
func newPSKSecret(s *primitive.Suite, psks []preSharedKey) (secret.Bytes, error) {
	out := make(secret.Bytes, s.HashSize())
	if len(psks) == 0 {
		return out, nil
	}
	if len(psks) > maxPSKs {
		return nil, fmt.Errorf("mlsgroup: %d PSKs, at most %d allowed", len(psks), maxPSKs)
	}
	zero := make([]byte, s.HashSize())
	for i := range psks {
		label := psks[i].id.append(nil)
		label = appendUint16(label, uint16(i))
		label = appendUint16(label, uint16(len(psks)))

		extracted := s.Extract(zero, psks[i].key)
		input := mustExpand(s, extracted, "derived psk", label, s.HashSize())
		extracted.Wipe()
		next := s.Extract(input, out)
		input.Wipe()
		out.Wipe()
		out = next
	}
	return out, nil
}
