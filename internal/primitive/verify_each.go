package primitive

import "bytes"

// Signed is a signature to verify, with the public key and the message.
type Signed struct{ Pub, Message, Sig []byte }

// VerifyEach verifies many signatures, each by the rule of [Suite.Verify]: what
// stands beside it changes nothing. The result has an error for each entry, nil or
// ErrSignature. From some hundreds of Ed25519 signatures on they take half to two
// thirds of the time of one by one as long as all are good, and it serves if those
// by one key stand together. do runs f(0) to f(n-1), in any order or at once, and
// returns when all are done; nil runs them in sequence.
func (s *Suite) VerifyEach(list []Signed, do func(n int, f func(i int))) []error {
	if do == nil {
		do = func(n int, f func(i int)) {
			for i := range n {
				f(i)
			}
		}
	}
	errs := make([]error, len(list))
	if _, ok := s.sig.(ed25519Scheme); ok && ed25519Engine.allHold(list, do) {
		return errs
	}
	do(len(list), func(i int) {
		pub := list[i].Pub
		if i > 0 && bytes.Equal(pub, list[i-1].Pub) {
			return // verified with the one before
		}
		if i+1 == len(list) || !bytes.Equal(pub, list[i+1].Pub) {
			errs[i] = s.Verify(pub, list[i].Message, list[i].Sig)
			return
		}
		key := s.VerificationKey(pub)
		for ; i < len(list) && bytes.Equal(pub, list[i].Pub); i++ {
			errs[i] = key.VerifyParts(list[i].Sig, list[i].Message)
		}
	})
	return errs
}
