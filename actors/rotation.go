package actors

import (
	"fmt"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/store"
)

// The rotation under way is one record. What it has done already is seen in what it
// rotates: the leaves of conversations and the key packages; only whether these have
// been published is written down.

const maxRotationSuites = 16

// checkRotation refuses a rotation to a credential of a suite that could not be brought
// to its end.
func checkRotation(r *messages.Rotation, cs mlsgroup.CipherSuite) error {
	if err := boundRotation(r); err != nil {
		return err
	}
	for _, suite := range r.CipherSuites {
		if !sameScheme(suite, cs) {
			return fmt.Errorf("%w: %v is of another signature scheme than %v", messages.ErrWrongCredential, suite, cs)
		}
	}
	return nil
}

// boundRotation refuses a rotation that has no record.
func boundRotation(r *messages.Rotation) error {
	if len(r.CipherSuites) > maxRotationSuites || r.KeyPackages < 0 || r.KeyPackages > maxGenerate {
		return fmt.Errorf("%w: rotation of %d suites and %d key packages", messages.ErrInvalidArgument, len(r.CipherSuites), r.KeyPackages)
	}
	return nil
}

func (a *clientActor) putRotation(tx *transaction, put messages.PutRotation) (messages.Reply, error) {
	if put.After != (messages.CredentialRef{}) {
		now, err := a.rotation(tx)
		if err != nil {
			return nil, err
		}
		if now == nil || now.Credential != put.After {
			return nil, fmt.Errorf("%w: another rotation has begun", messages.ErrConflict)
		}
	}
	changes, r := new(store.ChangeSet), put.Rotation
	if r == nil {
		changes.Delete(a.client.rotationKey())
		return messages.RotationPut{}, a.keep(tx, changes)
	}
	if err := boundRotation(r); err != nil {
		return nil, err
	}
	a.stageRotation(changes, r)
	return messages.RotationPut{}, a.keep(tx, changes)
}

func (a *clientActor) stageRotation(changes *store.ChangeSet, r *messages.Rotation) {
	w := newWriter(64)
	w.fixed(r.Credential[:])
	w.uint16(uint16(r.KeyPackages))
	published := uint8(0)
	if r.Published {
		published = 1
	}
	w.uint8(published)
	w.uint8(uint8(len(r.CipherSuites)))
	for _, cs := range r.CipherSuites {
		w.uint16(uint16(cs))
	}
	changes.Put(a.client.rotationKey(), w.b)
}

func (a *clientActor) readRotation(tx *transaction) (messages.Reply, error) {
	r, err := a.rotation(tx)
	return messages.RotationRead{Rotation: r}, err
}

// rotation returns the rotation that is under way, nil if none is.
func (a *clientActor) rotation(tx *transaction) (*messages.Rotation, error) {
	value, err := a.get(tx, a.client.rotationKey())
	if err != nil || value == nil {
		return nil, err
	}
	r := readRecord(value)
	rotation := new(messages.Rotation)
	copy(rotation.Credential[:], r.take(uint64(len(rotation.Credential))))
	rotation.KeyPackages = int(r.uint16())
	rotation.Published = r.uint8() == 1
	for range r.uint8() {
		rotation.CipherSuites = append(rotation.CipherSuites, mlsgroup.CipherSuite(r.uint16()))
	}
	return rotation, r.end("rotation")
}

func (c *client) rotationKey() []byte { return c.keys.Head(nil, []byte{headRotation}) }
