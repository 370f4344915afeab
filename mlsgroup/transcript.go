package mlsgroup

import "github.com/conclave-mls/conclave/internal/primitive"

// Transcript hashes (RFC 9420 section 8.2). A commit is hashed as it was received;
// what stands around it is encoded again, which makes no difference, since the
// codec accepts one encoding of a value only.

// confirmedTranscriptHash extends the interim hash of the epoch before by a
// commit, up to and including its signature.
func confirmedTranscriptHash(s *primitive.Suite, interim []byte, ac *AuthenticatedContent) []byte {
	body := ac.Content.commit
	if body == nil {
		body = ac.Content.appendBody(nil)
	}
	header := ac.Content.appendHeader(appendUint16(make([]byte, 0, 256), uint16(ac.WireFormat)))
	return s.Hash(nil, interim, header, body, appendOpaque(nil, ac.Auth.Signature))
}

// interimTranscriptHash extends a confirmed hash by the confirmation tag of the
// commit that it ends with.
func interimTranscriptHash(s *primitive.Suite, confirmed, confirmationTag []byte) []byte {
	b := make([]byte, 0, len(confirmed)+len(confirmationTag)+4)
	b = append(b, confirmed...)
	return s.Hash(nil, appendOpaque(b, confirmationTag))
}
