package actors

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/store"
)

// useCredential finds the credential for a suite and keeps it, shared, until the
// transaction ends, so that it is not removed meanwhile. The zero ref means the
// newest of the suite's signature scheme. It answers credentialUsed.
type useCredential struct {
	messages.Step
	suite mlsgroup.CipherSuite // 0: the credential's
	ref   messages.CredentialRef
	kind  mlsgroup.CredentialType // 0: any
}

type credentialUsed struct {
	messages.Step
	record *credentialRecord
}

// stepDone answers a step that has nothing to say.
type stepDone struct{ messages.Step }

var errSignatureKeys = fmt.Errorf("%w: signature keys do not belong together", messages.ErrWrongCredential)

// planCredential is plan for the requests of credentials and their rotation.
func (a *clientActor) planCredential(t *task, w *work) (ok bool, err error) {
	switch r := t.request.(type) {
	case messages.AddCredential:
		w.run = func() (messages.Reply, error) { return a.addCredential(t.tx, r) }
		if suite, ok := primitive.Lookup(uint16(r.CipherSuite)); ok && len(r.SignaturePrivate) > 0 {
			public, err := suite.SignaturePublicKey(r.SignaturePrivate)
			if err != nil {
				return true, errSignatureKeys
			}
			w.needs = []need{{credentialGuard(refOf(public)), true}}
		}
	case putX509:
		w.needs = []need{{credentialGuard(refOf(r.public)), true}, {rotationGuard, true}}
		w.run = func() (messages.Reply, error) { return a.putX509(t.tx, r) }
	case messages.PutRotation:
		w.needs = []need{{rotationGuard, true}}
		w.run = func() (messages.Reply, error) { return a.putRotation(t.tx, r) }
	case messages.ReadRotation:
		if t.tx != nil {
			w.needs = []need{{rotationGuard, true}}
		}
		w.run = func() (messages.Reply, error) { return a.readRotation(t.tx) }
	case messages.RemoveCredential:
		w.needs = []need{{credentialGuard(r.Ref), true}, {rotationGuard, true}}
		w.run = func() (messages.Reply, error) { return a.removeCredential(t.tx, r) }
	case messages.ListCredentials:
		w.run = func() (messages.Reply, error) { return a.listCredentials(t.tx) }
	case useCredential:
		record, err := a.credential(t.tx, r.suite, r.ref, r.kind)
		if err != nil {
			return true, err
		}
		w.needs = []need{{credentialGuard(record.entry.Ref), false}}
		w.run = func() (messages.Reply, error) {
			record, err := a.credential(t.tx, r.suite, record.entry.Ref, r.kind)
			return credentialUsed{record: record}, err
		}
	default:
		return false, nil
	}
	return true, nil
}

func (a *clientActor) addCredential(tx *transaction, r messages.AddCredential) (messages.Reply, error) {
	suite, ok := primitive.Lookup(uint16(r.CipherSuite))
	if !ok {
		return nil, fmt.Errorf("%w: %w: %v", messages.ErrInvalidArgument, mlsgroup.ErrUnsupportedCipherSuite, r.CipherSuite)
	}
	if r.Credential.Type == mlsgroup.CredentialTypeBasic && !bytes.Equal(r.Credential.Identity, []byte(a.client.id)) {
		return nil, fmt.Errorf("%w: identity is not the client's", messages.ErrWrongCredential)
	}
	// A certificate that is not of the Wire profile is for the application's own
	// authentication service to judge.
	if id := a.client.identityOf(&r.Credential); r.Credential.Type == mlsgroup.CredentialTypeX509 && id != "" && !sameClient(id, a.client.id) {
		return nil, fmt.Errorf("%w: the certificate is another client's", messages.ErrWrongCredential)
	}
	if r.Credential.Type == 0 {
		r.Credential = mlsgroup.BasicCredential([]byte(a.client.id))
	}
	record, err := a.sys.newCredential(r.CipherSuite, r.Credential)
	if err != nil {
		return nil, err
	}
	if len(r.SignaturePrivate) > 0 || len(r.SignatureKey) > 0 {
		public, err := suite.SignaturePublicKey(r.SignaturePrivate)
		if err != nil || len(r.SignatureKey) > 0 && !bytes.Equal(public, r.SignatureKey) {
			return nil, errSignatureKeys
		}
		record.private, record.entry.SignatureKey = r.SignaturePrivate, public
		record.entry.Ref = refOf(public)
	}
	if record.entry.CreatedAt, err = a.created(tx); err != nil {
		return nil, err
	}
	changes := new(store.ChangeSet)
	putSecret(changes, a.client.credentialKey(record.entry.Ref), record.marshal())
	return messages.CredentialAdded{Credential: record.entry}, a.keep(tx, changes)
}

// credentials lists what the transaction sees, oldest first.
func (a *clientActor) credentials(tx *transaction) ([]*credentialRecord, error) {
	records, err := a.list(tx, a.client.keys.Credential(nil, nil))
	if err != nil {
		return nil, err
	}
	all := make([]*credentialRecord, len(records))
	for i, rec := range records {
		if all[i], err = parseCredentialRecord(rec.Value); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(all, func(x, y *credentialRecord) int {
		return x.entry.CreatedAt.Compare(y.entry.CreatedAt)
	})
	return all, nil
}

// created returns when a credential that is added now was created: later than all that
// are there, though the clock may stand still or go back, so that the newest is one.
func (a *clientActor) created(tx *transaction) (time.Time, error) {
	all, err := a.credentials(tx)
	if err != nil {
		return time.Time{}, err
	}
	now := a.sys.options.Now()
	for _, c := range all {
		c.private.Wipe()
		if !now.After(c.entry.CreatedAt) {
			now = c.entry.CreatedAt.Add(time.Nanosecond)
		}
	}
	return now, nil
}

func (a *clientActor) listCredentials(tx *transaction) (messages.Reply, error) {
	all, err := a.credentials(tx)
	if err != nil {
		return nil, err
	}
	reply := messages.CredentialsListed{}
	for _, c := range all {
		c.private.Wipe()
		reply.Credentials = append(reply.Credentials, c.entry)
	}
	return reply, nil
}

// credential finds a credential of a type, 0 being any, that can sign in a suite.
func (a *clientActor) credential(tx *transaction, cs mlsgroup.CipherSuite, ref messages.CredentialRef, kind mlsgroup.CredentialType) (*credentialRecord, error) {
	if ref != (messages.CredentialRef{}) {
		value, err := a.get(tx, a.client.credentialKey(ref))
		if err != nil {
			return nil, err
		}
		if value == nil {
			return nil, messages.ErrCredentialNotFound
		}
		c, err := parseCredentialRecord(value)
		if err == nil && cs != 0 && !sameScheme(c.entry.CipherSuite, cs) {
			return nil, fmt.Errorf("%w: it signs for %v", messages.ErrWrongCredential, c.entry.CipherSuite)
		}
		if err == nil && kind != 0 && c.entry.Credential.Type != kind {
			return nil, fmt.Errorf("%w: it is of type %d", messages.ErrWrongCredential, c.entry.Credential.Type)
		}
		return c, err
	}
	if cs == 0 {
		cs = a.client.config.Load().suites[0]
	}
	all, err := a.credentials(tx)
	if err != nil {
		return nil, err
	}
	for _, c := range slices.Backward(all) {
		if sameScheme(c.entry.CipherSuite, cs) && (kind == 0 || c.entry.Credential.Type == kind) {
			return c, nil
		}
	}
	return nil, fmt.Errorf("%w: none for %v", messages.ErrCredentialNotFound, cs)
}

// sameScheme tells whether two suites sign in the same way, so that a credential of
// one serves the other.
func sameScheme(a, b mlsgroup.CipherSuite) bool {
	sa, oka := primitive.Lookup(uint16(a))
	sb, okb := primitive.Lookup(uint16(b))
	return oka && okb && sa.SignatureScheme() == sb.SignatureScheme()
}

// removeCredential deletes a credential that no conversation uses, and the key
// packages made from it. The use records tell in one lookup; who is about to write
// one holds the guard, shared.
func (a *clientActor) removeCredential(tx *transaction, r messages.RemoveCredential) (messages.Reply, error) {
	reader := a.reader(tx)
	uses := store.PrefixRange(a.client.keys.Uses(nil, r.Ref[:]))
	uses.Limit = 1
	found, err := reader.Range(uses)
	if err != nil {
		return nil, a.sys.storeError(err)
	}
	if len(found) > 0 {
		return nil, &messages.CredentialInUse{Conversation: messages.ConversationID(found[0].Value)}
	}
	packages, err := a.keyPackages(tx)
	if err != nil {
		return nil, err
	}
	changes := new(store.ChangeSet)
	for _, k := range packages {
		if k.credential == r.Ref {
			changes.Delete(a.client.keyPackageKey(k.ref))
		}
	}
	changes.Delete(a.client.credentialKey(r.Ref))
	rotation, err := a.rotation(tx)
	if err != nil {
		return nil, err
	}
	if rotation != nil && rotation.Credential == r.Ref {
		changes.Delete(a.client.rotationKey())
	}
	return messages.CredentialRemoved{}, a.keep(tx, changes)
}
