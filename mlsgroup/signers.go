package mlsgroup

import (
	"bytes"

	"github.com/conclave-mls/conclave/internal/primitive"
)

// maxSigners bounds the signature keys that a group keeps ready.
const maxSigners = 16

// signers are the signature keys of those from whom messages came last, in the
// form that verifies faster. They are public, in memory only, and worth no more
// than the time to make them again. A list never changes.
type signers struct{ list []signer }

type signer struct {
	pub []byte
	key *primitive.VerificationKey
}

// ready returns a key in its faster form, and the signers that it is among. The
// oldest gives way.
func (k signers) ready(s *primitive.Suite, pub []byte) (*primitive.VerificationKey, signers) {
	for i := range k.list {
		if bytes.Equal(k.list[i].pub, pub) {
			return k.list[i].key, k
		}
	}
	key := s.VerificationKey(pub)
	keep := k.list[max(0, len(k.list)+1-maxSigners):]
	list := make([]signer, 0, len(keep)+1)
	return key, signers{append(append(list, keep...), signer{pub, key})}
}
