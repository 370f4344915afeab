package actors

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/store"
)

// Signature key pairs that wait for the id of their client. Each is stored as a
// credential whose identity is a provisional id, and becomes the client's in the batch
// that creates the client.

const keypairIDSize = 16

// generateKeypairs makes and stores key pairs.
func (d *directory) generateKeypairs(r messages.GenerateKeypairs) (messages.Reply, error) {
	if len(r.CipherSuites) == 0 || len(r.CipherSuites) > maxGenerate {
		return nil, fmt.Errorf("%w: key pairs of %d cipher suites", messages.ErrInvalidArgument, len(r.CipherSuites))
	}
	reply := messages.KeypairsGenerated{}
	changes := new(store.ChangeSet)
	defer changes.Wipe()
	for _, cs := range r.CipherSuites {
		id := make([]byte, keypairIDSize)
		if err := d.sys.draw(id); err != nil {
			return nil, err
		}
		record, err := d.sys.newCredential(cs, mlsgroup.BasicCredential(id))
		if err != nil {
			return nil, err
		}
		putSecret(changes, store.Keypair(nil, id), record.marshal())
		record.private.Wipe()
		reply.Keypairs = append(reply.Keypairs, messages.Keypair{
			ID: messages.ClientID(id), CipherSuite: cs, SignatureKey: record.entry.SignatureKey,
		})
	}
	if err := d.sys.apply(changes); err != nil {
		return nil, err
	}
	return reply, nil
}

// takeKeypairs stages the change of key pairs into Basic credentials of a new client.
func (d *directory) takeKeypairs(c *client, ids []messages.ClientID, config *clientConfig, changes *store.ChangeSet) error {
	for i, id := range ids {
		if len(id) != keypairIDSize || slices.Contains(ids[:i], id) {
			return messages.ErrKeypairNotFound
		}
		key := store.Keypair(nil, []byte(id))
		found, err := d.sys.store.GetMany(key)
		if err != nil {
			return d.sys.storeError(err)
		}
		if found[0] == nil {
			return messages.ErrKeypairNotFound
		}
		record, err := parseCredentialRecord(found[0])
		if err != nil {
			return err
		}
		if !bytes.Equal(record.entry.Credential.Identity, []byte(id)) {
			return fmt.Errorf("%w: key pair", messages.ErrCorrupt)
		}
		if !slices.ContainsFunc(config.suites, func(cs mlsgroup.CipherSuite) bool { return sameScheme(cs, record.entry.CipherSuite) }) {
			return fmt.Errorf("%w: key pair of %v, which the client has not", messages.ErrWrongCredential, record.entry.CipherSuite)
		}
		record.entry.Credential = mlsgroup.BasicCredential([]byte(c.id))
		changes.Delete(key)
		putSecret(changes, c.credentialKey(record.entry.Ref), record.marshal())
		record.private.Wipe()
	}
	return nil
}
