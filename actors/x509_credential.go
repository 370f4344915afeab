package actors

import (
	"bytes"
	"context"
	"fmt"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/store"
)

// putX509 stores an X.509 credential whose chain has been verified. Without a private
// key, a stored credential has it.
type putX509 struct {
	messages.Step
	// try only takes the guards and looks whether the credential can be stored.
	try     bool
	suite   mlsgroup.CipherSuite
	chain   [][]byte
	public  []byte
	private secret.Bytes
}

// saveX509Credential verifies a chain that was issued to the client, registers its
// intermediates and stores it as a credential.
func (s *System) saveX509Credential(ctx context.Context, at place, r messages.SaveX509Credential) (messages.Reply, error) {
	suite, ok := primitive.Lookup(uint16(r.CipherSuite))
	if !ok {
		return nil, fmt.Errorf("%w: %w: %v", messages.ErrInvalidArgument, mlsgroup.ErrUnsupportedCipherSuite, r.CipherSuite)
	}
	trusted := at.client.trust(at.tx)
	if !trusted.HasTrustAnchor() {
		return nil, messages.ErrPKIEnvironmentUnset
	}
	chain := r.Chain
	if n := len(chain); n > 1 {
		if _, anchor := anchorOf(trusted, chain[n-1]); anchor {
			chain = chain[:n-1]
		}
	}
	id, err := trusted.VerifyIssued(chain, s.options.Now())
	if err != nil {
		return nil, pkiError(err, messages.ErrInvalidCertificate)
	}
	if err := at.client.checkOwn(id); err != nil {
		return nil, err
	}
	if err := suite.CheckSignatureKey(id.PublicKey); err != nil {
		return nil, fmt.Errorf("%w: the certificate's key is not of %v", messages.ErrWrongCredential, r.CipherSuite)
	}
	if len(r.SignaturePrivate) > 0 {
		public, err := suite.SignaturePublicKey(r.SignaturePrivate)
		if err != nil || !bytes.Equal(public, id.PublicKey) {
			return nil, fmt.Errorf("%w: the certificate is for another key", messages.ErrWrongCredential)
		}
	}
	put := putX509{suite: r.CipherSuite, chain: chain, public: id.PublicKey, private: r.SignaturePrivate}
	if len(chain) > 1 {
		// Two actors stage a part each, and what the one has staged in the caller's
		// transaction it does not take back when the other refuses. So the other is asked
		// first, and when it has agreed nothing ends the operation half way, also no Finish
		// that comes in between.
		if err := at.tx.enter(); err != nil {
			return nil, err
		}
		defer at.tx.leave()
		at.entered = true
		put.try = true
		if _, err := s.askClient(ctx, at, put); err != nil {
			return nil, err
		}
		if _, err := s.askPKI(ctx, at, registerChain{chain: chain}); err != nil {
			return nil, err
		}
		put.try, ctx = false, context.WithoutCancel(ctx)
	}
	reply, err := s.askClient(ctx, at, put)
	if err != nil {
		return nil, err
	}
	saved := reply.(messages.X509CredentialSaved)
	saved.NewDistributionPoints = at.client.trust(at.tx).NewDistributionPoints(chain)
	return saved, nil
}

// putX509 stores the credential, in the place of one with the same key.
func (a *clientActor) putX509(tx *transaction, r putX509) (messages.Reply, error) {
	created, err := a.created(tx)
	if err != nil {
		return nil, err
	}
	record := &credentialRecord{private: r.private, entry: messages.CredentialEntry{
		Ref: refOf(r.public), CipherSuite: r.suite, Credential: mlsgroup.X509Credential(r.chain), SignatureKey: r.public, CreatedAt: created,
	}}
	value, err := a.get(tx, a.client.credentialKey(record.entry.Ref))
	if err != nil {
		return nil, err
	}
	if len(record.private) == 0 {
		if value == nil {
			return nil, fmt.Errorf("%w: no signature key for the certificate", messages.ErrCredentialNotFound)
		}
		old, err := parseCredentialRecord(value)
		if err != nil {
			return nil, err
		}
		defer old.private.Wipe()
		record.private = old.private
	}
	if r.try {
		return stepDone{}, nil
	}
	changes := new(store.ChangeSet)
	putSecret(changes, a.client.credentialKey(record.entry.Ref), record.marshal())
	// A rotation to a key whose certificate was another has published key packages of
	// that one.
	rotation, err := a.rotation(tx)
	if err != nil {
		return nil, err
	}
	if rotation != nil && rotation.Credential == record.entry.Ref {
		rotation.Published = false
		a.stageRotation(changes, rotation)
	}
	return messages.X509CredentialSaved{Credential: record.entry}, a.keep(tx, changes)
}
