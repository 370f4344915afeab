package mlsgroup

import "github.com/conclave-mls/conclave/internal/primitive"

// Transcript hashes (RFC 9420 section 8.2). What is hashed is encoded again
// from what was read; the codec accepts one encoding of a value only, so the
// bytes are those that were signed and sent.

// confirmedTranscriptHash extends the interim hash of the epoch before by a
// commit, up to and including its signature.
func confirmedTranscriptHash(s *primitive.Suite, interim []byte, ac *AuthenticatedContent) []byte {
	b := make([]byte, 0, len(interim)+len(ac.Auth.Signature)+ac.Content.sizeHint())
	b = append(b, interim...)
	b = appendUint16(b, uint16(ac.WireFormat))
	b = ac.Content.append(b)
	b = appendOpaque(b, ac.Auth.Signature)
	return s.Hash(nil, b)
}

// interimTranscriptHash extends a confirmed hash by the confirmation tag of the
// commit that it ends with.
func interimTranscriptHash(s *primitive.Suite, confirmed, confirmationTag []byte) []byte {
	b := make([]byte, 0, len(confirmed)+len(confirmationTag)+4)
	b = append(b, confirmed...)
	return s.Hash(nil, appendOpaque(b, confirmationTag))
}
