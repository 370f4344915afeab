package mlsgroup

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/conclave-mls/conclave/internal/secret"
)

// passiveVector is a story of the passive-client vectors: a client that joins
// by a Welcome and then follows the group.
type passiveVector struct {
	CipherSuite  CipherSuite `json:"cipher_suite"`
	ExternalPSKs []struct {
		ID  hexBytes `json:"psk_id"`
		PSK hexBytes
	} `json:"external_psks"`
	KeyPackage           hexBytes `json:"key_package"`
	SignaturePriv        hexBytes `json:"signature_priv"`
	EncryptionPriv       hexBytes `json:"encryption_priv"`
	InitPriv             hexBytes `json:"init_priv"`
	Welcome              hexBytes
	RatchetTree          hexBytes `json:"ratchet_tree"`
	InitialAuthenticator hexBytes `json:"initial_epoch_authenticator"`
	Epochs               []struct {
		Proposals     []hexBytes
		Commit        hexBytes
		Authenticator hexBytes `json:"epoch_authenticator"`
	}
}

func (v *passiveVector) join() (*Transition, Input, error) {
	in := Input{PSK: func(id PreSharedKeyID) (secret.Bytes, bool) {
		for _, p := range v.ExternalPSKs {
			if id.Type == PSKTypeExternal && bytes.Equal(p.ID, id.ExternalID) {
				return secret.Bytes(p.PSK), true
			}
		}
		return nil, false
	}}
	kp, err := ParseMLSMessage(v.KeyPackage)
	if err != nil {
		return nil, in, err
	}
	welcome, err := ParseMLSMessage(v.Welcome)
	if err != nil {
		return nil, in, err
	}
	o := JoinOptions{Profile: ProfileRFC, KeyPackage: &KeyPackageBundle{
		KeyPackage: kp.KeyPackage, InitPrivate: secret.Bytes(v.InitPriv), LeafPrivate: secret.Bytes(v.EncryptionPriv),
	}}
	if v.RatchetTree != nil {
		if o.RatchetTree, err = ParseRatchetTree(v.RatchetTree); err != nil {
			return nil, in, err
		}
	}
	tr, err := Join(in, welcome.Welcome, o)
	return tr, in, err
}

// follow plays the story, cold or not.
func (v *passiveVector) follow(cold bool) error {
	tr, in, err := v.join()
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	h := &holder{store: newRecords(), cold: cold}
	if err := h.carryOut(tr); err != nil {
		return err
	}
	if !bytes.Equal(h.g.EpochAuthenticator(), v.InitialAuthenticator) {
		return fmt.Errorf("another epoch authenticator after joining")
	}
	for i, e := range v.Epochs {
		for k, p := range e.Proposals {
			if _, err := h.process(in, p); err != nil {
				return fmt.Errorf("epoch %d, proposal %d: %w", i, k, err)
			}
		}
		if _, err := h.process(in, e.Commit); err != nil {
			return fmt.Errorf("epoch %d, commit: %w", i, err)
		}
		if !bytes.Equal(h.g.EpochAuthenticator(), e.Authenticator) {
			return fmt.Errorf("another epoch authenticator in epoch %d", i)
		}
	}
	return nil
}

func TestPassiveClientVectors(t *testing.T) {
	for _, name := range []string{"passive-client-welcome", "passive-client-handling-commit", "passive-client-random"} {
		for _, cold := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/cold=%v", name, cold), func(t *testing.T) {
				for i, v := range vectors[passiveVector](t, name+".json") {
					if err := v.follow(cold); err != nil {
						t.Errorf("%d (%v): %v", i, v.CipherSuite, err)
					}
				}
			})
		}
	}
}
