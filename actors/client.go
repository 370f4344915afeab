package actors

import (
	"fmt"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/store"
)

// clientActor owns what a client has beside its conversations: credentials, key
// packages, external pre-shared keys, the data blob; and the guards of each of them.
type clientActor struct{ keeper }

func newClientActor(c *client) *clientActor {
	a := new(clientActor)
	a.keeper = newKeeper(c, a)
	return a
}

func (a *clientActor) address() ref         { return a.client.actor }
func (a *clientActor) durable(*transaction) {}

// Names of guards.
func credentialGuard(ref messages.CredentialRef) string { return "credential " + string(ref[:]) }
func keyPackageGuard(ref []byte) string                 { return "key package " + string(ref) }
func pskGuard(id []byte) string                         { return "psk " + string(id) }

const (
	dataGuard     = "data"
	rotationGuard = "rotation"
)

// plan says which guards a request needs and what it does then.
func (a *clientActor) plan(t *task) (*work, error) {
	w := &work{task: t}
	var ok bool
	if w.needs, w.run, ok = a.planProteus(t); ok {
		return w, nil
	}
	if w.needs, w.run, ok = a.planEnrollment(t); ok {
		return w, nil
	}
	switch r := t.request.(type) {
	case messages.AddCredential:
		w.run = func() (messages.Reply, error) { return a.addCredential(t.tx, r) }
		if suite, ok := primitive.Lookup(uint16(r.CipherSuite)); ok && len(r.SignaturePrivate) > 0 {
			public, err := suite.SignaturePublicKey(r.SignaturePrivate)
			if err != nil {
				return nil, errSignatureKeys
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
			return nil, err
		}
		w.needs = []need{{credentialGuard(record.entry.Ref), false}}
		w.run = func() (messages.Reply, error) {
			record, err := a.credential(t.tx, r.suite, record.entry.Ref, r.kind)
			return credentialUsed{record: record}, err
		}
	case messages.GenerateKeyPackages:
		if r.CipherSuite == 0 {
			r.CipherSuite = a.client.config.Load().suites[0]
		}
		record, err := a.credential(t.tx, r.CipherSuite, r.Credential, 0)
		if err != nil {
			return nil, err
		}
		w.needs = []need{{credentialGuard(record.entry.Ref), false}}
		r.Credential = record.entry.Ref
		w.run = func() (messages.Reply, error) { return a.generateKeyPackages(t.tx, r) }
	case messages.ProposeJoin:
		if r.CipherSuite == 0 {
			r.CipherSuite = a.client.config.Load().suites[0]
		}
		record, err := a.credential(t.tx, r.CipherSuite, r.Credential, 0)
		if err != nil {
			return nil, err
		}
		w.needs = []need{{credentialGuard(record.entry.Ref), false}}
		r.Credential = record.entry.Ref
		w.run = func() (messages.Reply, error) { return a.proposeJoin(t.tx, r) }
	case messages.ImportKeyPackage:
		kp, err := readKeyPackage(r.KeyPackage)
		if err != nil {
			return nil, err
		}
		w.needs = []need{{credentialGuard(refOf(kp.LeafNode.SignatureKey)), true}}
		w.run = func() (messages.Reply, error) { return a.importKeyPackage(t.tx, r, kp) }
	case messages.ListKeyPackages:
		w.run = func() (messages.Reply, error) { return a.listKeyPackages(t.tx) }
	case messages.CountKeyPackages:
		w.run = func() (messages.Reply, error) { return a.countKeyPackages(t.tx, r) }
	case messages.DeleteKeyPackages:
		for _, ref := range r.Refs {
			w.needs = append(w.needs, need{keyPackageGuard(ref), true})
		}
		w.run = func() (messages.Reply, error) { return a.deleteKeyPackages(t.tx, r.Refs) }
	case messages.DeleteStaleKeyPackages:
		refs, err := a.staleKeyPackages(t.tx, r.CipherSuite)
		if err != nil {
			return nil, err
		}
		for _, ref := range refs {
			w.needs = append(w.needs, need{keyPackageGuard(ref), true})
		}
		w.run = func() (messages.Reply, error) { return a.deleteKeyPackages(t.tx, refs) }
	case takeKeyPackage:
		record, err := a.findKeyPackage(t.tx, r.refs)
		if err != nil {
			return nil, err
		}
		w.needs = []need{{keyPackageGuard(record.ref), true}, {credentialGuard(record.credential), false}}
		w.run = func() (messages.Reply, error) { return a.takeKeyPackage(t.tx, record.ref) }
	case spendKeyPackage:
		w.run = func() (messages.Reply, error) {
			_, err := a.deleteKeyPackages(t.tx, []keyPackageRef{r.ref})
			return stepDone{}, err
		}
	case messages.PutPSK:
		if len(r.ID) == 0 || len(r.ID) > maxName || len(r.PSK) > maxPSK {
			return nil, fmt.Errorf("%w: pre-shared key of %d bytes, id of %d", messages.ErrInvalidArgument, len(r.PSK), len(r.ID))
		}
		w.needs = []need{{pskGuard(r.ID), true}}
		w.run = func() (messages.Reply, error) {
			changes := new(store.ChangeSet)
			putSecret(changes, a.client.pskKey(r.ID), (&pskValue{r.ID, r.PSK}).marshal())
			return messages.PSKPut{}, a.commit(t.tx, changes)
		}
	case messages.DeletePSK:
		w.needs = []need{{pskGuard(r.ID), true}}
		w.run = func() (messages.Reply, error) {
			changes := new(store.ChangeSet)
			changes.Delete(a.client.pskKey(r.ID))
			return messages.PSKDeleted{}, a.commit(t.tx, changes)
		}
	case readPSK:
		w.needs = []need{{pskGuard(r.id), false}}
		w.run = func() (messages.Reply, error) { return a.readPSK(t.tx, r.id) }
	case messages.SetData:
		if len(r.Data) > maxData {
			return nil, fmt.Errorf("%w: data of %d bytes", messages.ErrInvalidArgument, len(r.Data))
		}
		if t.tx == nil {
			w.needs = []need{{dataGuard, false}}
		}
		w.run = func() (messages.Reply, error) { return a.setData(t.tx, r) }
	case messages.ReadData:
		if t.tx != nil {
			w.needs = []need{{dataGuard, true}}
		}
		w.run = func() (messages.Reply, error) { return a.readData(t.tx) }
	case messages.ListConversations:
		w.run = func() (messages.Reply, error) { return a.listConversations() }
	default:
		return nil, fmt.Errorf("%w: %T needs a conversation", messages.ErrInvalidArgument, t.request)
	}
	return w, nil
}

func (a *clientActor) setData(tx *transaction, r messages.SetData) (messages.Reply, error) {
	w := newWriter(len(r.Data))
	w.bytes(r.Data)
	changes := new(store.ChangeSet)
	changes.Put(a.client.dataKey(), w.b)
	if tx != nil {
		// Nobody who has read the blob may be undecided when the transaction votes. Blind
		// writers do not wait for each other; whose batch the store applies last has the
		// last word.
		a.stage(tx).late = []need{{dataGuard, false}}
	}
	return messages.DataSet{}, a.commit(tx, changes)
}

func (a *clientActor) readData(tx *transaction) (messages.Reply, error) {
	value, err := a.get(tx, a.client.dataKey())
	if err != nil || value == nil {
		return messages.DataRead{}, err
	}
	r := readRecord(value)
	data := r.bytes()
	return messages.DataRead{Data: data}, r.end("data")
}

func (a *clientActor) readPSK(tx *transaction, id []byte) (messages.Reply, error) {
	value, err := a.get(tx, a.client.pskKey(id))
	if err != nil || value == nil {
		return pskRead{}, err
	}
	p, err := parsePSKRecord(value)
	return pskRead{psk: p}, err
}

func (a *clientActor) listConversations() (messages.Reply, error) {
	records, err := a.list(nil, a.client.keys.Pointers(nil))
	if err != nil {
		return nil, err
	}
	ids := make([]messages.ConversationID, len(records))
	for i, rec := range records {
		p, err := parsePointer(rec.Value)
		if err != nil {
			return nil, err
		}
		ids[i] = p.id
	}
	return messages.ConversationsListed{Conversations: ids}, nil
}
