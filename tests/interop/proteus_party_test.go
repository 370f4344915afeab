package interop

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/conclave-mls/conclave"
)

// proteusParty is one device of one implementation. A session is called by the name of the device at its other end.
type proteusParty interface {
	name() conclave.SessionID
	// preKey makes a prekey, or returns that of the last resort, and its bundle.
	preKey(id uint16) ([]byte, error)
	begin(session conclave.SessionID, bundle []byte) error
	seal(session conclave.SessionID, plaintext []byte) ([]byte, error)
	sealBatch(sessions []conclave.SessionID, plaintext []byte) (map[conclave.SessionID][]byte, error)
	// unseal begins a session where there is none.
	unseal(session conclave.SessionID, message []byte) ([]byte, error)
	fingerprints(session conclave.SessionID) (fingerprints, error)
	bundleFingerprint(bundle []byte) (string, error)
	forget(session conclave.SessionID) error
}

// fingerprints are those of a device and, as a session has them, of its two ends.
type fingerprints struct{ own, local, remote string }

// engineDevice is a client of this engine.
type engineDevice struct {
	conclave.Proteus
	ctx context.Context
	id  conclave.SessionID
}

func (d *engineDevice) name() conclave.SessionID { return d.id }

func (d *engineDevice) preKey(id uint16) ([]byte, error) {
	if id == conclave.LastResortPreKeyID {
		return d.LastResortPreKey(d.ctx)
	}
	return d.NewPreKey(d.ctx, id)
}

func (d *engineDevice) begin(session conclave.SessionID, bundle []byte) error {
	return d.SessionFromPreKey(d.ctx, session, bundle)
}

func (d *engineDevice) seal(session conclave.SessionID, plaintext []byte) ([]byte, error) {
	return d.Encrypt(d.ctx, session, plaintext)
}

func (d *engineDevice) sealBatch(sessions []conclave.SessionID, plaintext []byte) (map[conclave.SessionID][]byte, error) {
	return d.EncryptBatch(d.ctx, sessions, plaintext)
}

func (d *engineDevice) unseal(session conclave.SessionID, message []byte) ([]byte, error) {
	return d.DecryptSafe(d.ctx, session, message)
}

func (d *engineDevice) fingerprints(session conclave.SessionID) (f fingerprints, err error) {
	var errs [3]error
	f.own, errs[0] = d.Fingerprint(d.ctx)
	f.local, errs[1] = d.FingerprintLocal(d.ctx, session)
	f.remote, errs[2] = d.FingerprintRemote(d.ctx, session)
	return f, errors.Join(errs[:]...)
}

func (d *engineDevice) bundleFingerprint(bundle []byte) (string, error) {
	return conclave.FingerprintPreKeyBundle(bundle)
}

func (d *engineDevice) forget(session conclave.SessionID) error {
	return d.DeleteSession(d.ctx, session)
}

// peerDevice is a device of a peer.
type peerDevice struct {
	*node
	id conclave.SessionID
}

func (d *peerDevice) name() conclave.SessionID { return d.id }

func (d *peerDevice) do(op string, c call) (result, error) {
	return d.node.do(op, string(d.id), c)
}

func (d *peerDevice) preKey(id uint16) ([]byte, error) {
	r, err := d.do("preKey", call{PreKey: id})
	return r.Bundle, err
}

// signedPreKey is preKey with a signature in the bundle.
func (d *peerDevice) signedPreKey(id uint16) ([]byte, error) {
	r, err := d.do("preKey", call{PreKey: id, On: true})
	return r.Bundle, err
}

func (d *peerDevice) begin(session conclave.SessionID, bundle []byte) error {
	_, err := d.do("begin", call{Session: session, Bundle: bundle})
	return err
}

func (d *peerDevice) seal(session conclave.SessionID, plaintext []byte) ([]byte, error) {
	r, err := d.do("seal", call{Session: session, Plaintext: plaintext})
	return r.Message, err
}

func (d *peerDevice) sealBatch(sessions []conclave.SessionID, plaintext []byte) (map[conclave.SessionID][]byte, error) {
	r, err := d.do("sealBatch", call{Sessions: sessions, Plaintext: plaintext})
	return r.Messages, err
}

func (d *peerDevice) unseal(session conclave.SessionID, message []byte) ([]byte, error) {
	r, err := d.do("unseal", call{Session: session, Message: message})
	return r.Plaintext, err
}

func (d *peerDevice) fingerprints(session conclave.SessionID) (fingerprints, error) {
	r, err := d.do("fingerprints", call{Session: session})
	return fingerprints{r.Own, r.Local, r.Remote}, err
}

func (d *peerDevice) bundleFingerprint(bundle []byte) (string, error) {
	r, err := d.do("bundleFingerprint", call{Bundle: bundle})
	return r.Own, err
}

func (d *peerDevice) forget(session conclave.SessionID) error {
	_, err := d.do("forget", call{Session: session})
	return err
}

// The numbers that Wire's clients have for the errors of Proteus, as far as they are played.
const (
	preKeyNotFound        = 101
	invalidMessage        = 202
	remoteIdentityChanged = 204
	outdatedMessage       = 208
	duplicateMessage      = 209
	tooDistantFuture      = 212
	invalidSignature      = 406
)

// finer are the numbers of @wireapp/proteus that tell more than those of the others, who fold them into one.
var finer = map[int]int{201: invalidMessage, 205: invalidMessage, 206: invalidSignature, 207: invalidSignature, 210: invalidSignature, 211: tooDistantFuture}

// numberOf returns the number of a Proteus error, 0 where it has none.
func numberOf(err error) int {
	if ours, ok := errors.AsType[*conclave.ProteusError](err); ok {
		return int(ours.Code())
	}
	if theirs, ok := errors.AsType[*peerError](err); ok {
		n, err := strconv.Atoi(theirs.Code)
		if err != nil {
			return 0
		}
		if folded, ok := finer[n]; ok {
			return folded
		}
		return n
	}
	return 0
}

// wantNumber wants an error of Proteus with one of some numbers.
func wantNumber(err error, numbers ...int) {
	switch {
	case err == nil:
		fail("no error, want number %d", numbers)
	case !slices.Contains(numbers, numberOf(err)):
		fail("%w (number %d), want number %d", err, numberOf(err), numbers)
	}
}
