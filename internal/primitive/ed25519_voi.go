package primitive

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

// voiEd25519 is curve25519-voi, 1.7 times as fast as the standard library.
type voiEd25519 struct{}

// voiStrict leaves the order of R to ed25519Acceptable, so that R need not be
// decoded. voiCofactored accepts a superset of it.
var (
	voiStrict     = &ed25519.Options{Verify: &ed25519.VerifyOptions{CofactorlessVerify: true, AllowSmallOrderR: true}}
	voiCofactored = &ed25519.Options{Verify: &ed25519.VerifyOptions{}}
)

func (voiEd25519) expand(seed []byte) []byte { return ed25519.NewKeyFromSeed(seed) }

func (voiEd25519) sign(expanded, message []byte) []byte { return ed25519.Sign(expanded, message) }

func (voiEd25519) onCurve(pub []byte) bool {
	var (
		y curve.CompressedEdwardsY
		p curve.EdwardsPoint
	)
	if _, err := y.SetBytes(pub); err != nil {
		return false
	}
	_, err := p.SetCompressedY(&y)
	return err == nil
}

func (voiEd25519) verify(pub, message, sig []byte) bool {
	return ed25519.VerifyWithOptions(pub, message, sig, voiStrict)
}

// batchSize bounds one batch equation. Larger ones are little faster, and a bad
// signature costs its whole equation a verification one by one.
const batchSize = 64

func (e voiEd25519) verifyBatch(vs []Verification, errs []error) {
	if len(vs) < 3 { // an equation would save nothing
		for i := range vs {
			if !e.verifyCofactored(&vs[i]) {
				errs[i] = ErrSignature
			}
		}
		return
	}
	// A conversation has few senders: their keys' tables serve all equations.
	keys := make(map[[32]byte]*ed25519.ExpandedPublicKey)
	for len(vs) > 0 {
		n := min(len(vs), batchSize)
		e.verifyEquation(keys, vs[:n], errs[:n])
		vs, errs = vs[n:], errs[n:]
	}
}

func (voiEd25519) verifyCofactored(v *Verification) bool {
	return ed25519Acceptable(v.Pub, v.Sig) && ed25519.VerifyWithOptions(v.Pub, v.Message, v.Sig, voiCofactored)
}

// verifyEquation verifies at most batchSize signatures at once and, if that
// fails, one by one with the same rule. It adds to keys.
func (voiEd25519) verifyEquation(keys map[[32]byte]*ed25519.ExpandedPublicKey, vs []Verification, errs []error) {
	batch := ed25519.NewBatchVerifierWithCapacity(len(vs))
	var added [batchSize]int
	n := 0
	for i := range vs {
		v := &vs[i]
		// What is malformed stays out, so that it does not spoil the equation.
		if !ed25519Acceptable(v.Pub, v.Sig) {
			errs[i] = ErrSignature
			continue
		}
		key, ok := keys[[32]byte(v.Pub)]
		if !ok {
			var err error
			if key, err = ed25519.NewExpandedPublicKey(v.Pub); err != nil {
				errs[i] = ErrSignature
				continue
			}
			keys[[32]byte(v.Pub)] = key
		}
		batch.AddExpandedWithOptions(key, v.Message, v.Sig, voiCofactored)
		added[n] = i
		n++
	}
	if n == 0 {
		return
	}
	_, valid := batch.Verify(bytes.NewReader(batchSeed(vs)))
	for k, i := range added[:n] {
		if !valid[k] {
			errs[i] = ErrSignature
		}
	}
}

// batchSeed is the key of the generator of the batch equation's coefficients.
// They need to be unpredictable to whoever makes the signatures, not random:
// a hash of all that is verified makes them so, and needs no random source.
func batchSeed(vs []Verification) []byte {
	d := sha512.New512_256()
	d.Write([]byte("conclave ed25519 batch"))
	var size [8]byte
	for i := range vs {
		for _, b := range [...][]byte{vs[i].Pub, vs[i].Sig, vs[i].Message} {
			binary.BigEndian.PutUint64(size[:], uint64(len(b)))
			d.Write(size[:])
			d.Write(b)
		}
	}
	return d.Sum(nil)
}
