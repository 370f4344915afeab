package mlsgroup

import (
	"github.com/conclave-mls/conclave/internal/primitive"
)

// OpenAll opens the messages of many keys, each as [MessageKey.Open] does, and
// verifies their signatures together, which with Ed25519 takes little more than
// half the time. The keys may be of different groups. The results are in the
// order of the keys; where there is an error there is no Received.
//
// The equation that verifies many has a cofactor, so it may accept a signature
// made by a dishonest member that Open refuses. That costs nobody but the
// receiver one message: no state hangs on application data.
func OpenAll(keys []*MessageKey) ([]*Received, []error) {
	received, errs := make([]*Received, len(keys)), make([]error, len(keys))
	var (
		s     *primitive.Suite
		batch []primitive.Verification
		at    []int // the key of an entry of batch
	)
	verify := func() {
		for k, err := range s.VerifyBatch(batch) {
			if err != nil {
				i := at[k]
				received[i], errs[i] = nil, CheckMessageSignature.Errorf("application message of leaf %d", keys[i].sender.leaf)
			}
		}
		batch, at = batch[:0], at[:0]
	}
	for i, k := range keys {
		ac, err := k.decrypt()
		if err != nil {
			errs[i] = err
			continue
		}
		if s != k.s && len(batch) > 0 {
			verify()
		}
		if s = k.s; batch == nil {
			batch, at = make([]primitive.Verification, 0, len(keys)), make([]int, 0, len(keys))
		}
		signed, _ := ac.signed(k.context)
		batch = append(batch, primitive.Verification{Pub: k.leaf.SignatureKey, Message: signed, Sig: ac.Auth.Signature})
		at = append(at, i)
		received[i] = k.received(ac)
	}
	if len(batch) > 0 {
		verify()
	}
	return received, errs
}

// decrypt is Open without the signature.
func (k *MessageKey) decrypt() (*AuthenticatedContent, error) {
	ac, err := decryptPrivateMessage(k.s, k.m, k.sender, k.key)
	if err == primitive.ErrOpen {
		return nil, ErrDecrypt
	}
	return ac, err
}
