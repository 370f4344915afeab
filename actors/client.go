package actors

import (
	"fmt"

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

func (a *clientActor) address() ref             { return a.client.actor }
func (a *clientActor) news(*transaction) []news { return nil }

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
	w := &work{task: t, unguarded: unguarded(t)}
	var ok bool
	if w.needs, w.run, ok = a.planProteus(t); ok {
		return w, nil
	}
	if w.needs, w.run, ok = a.planEnrollment(t); ok {
		return w, nil
	}
	for _, plan := range []func(*task, *work) (bool, error){a.planCredential, a.planKeyPackage} {
		if ok, err := plan(t, w); ok || err != nil {
			return w, err
		}
	}
	switch r := t.request.(type) {
	case messages.PutPSK:
		if len(r.ID) == 0 || len(r.ID) > maxName || len(r.PSK) > maxPSK {
			return nil, fmt.Errorf("%w: pre-shared key of %d bytes, id of %d", messages.ErrInvalidArgument, len(r.PSK), len(r.ID))
		}
		w.needs = []need{{pskGuard(r.ID), true}}
		w.run = func() (messages.Reply, error) {
			changes := new(store.ChangeSet)
			putSecret(changes, a.client.pskKey(r.ID), (&pskValue{r.ID, r.PSK}).marshal())
			return messages.PSKPut{}, a.keep(t.tx, changes)
		}
	case messages.DeletePSK:
		w.needs = []need{{pskGuard(r.ID), true}}
		w.run = func() (messages.Reply, error) {
			changes := new(store.ChangeSet)
			changes.Delete(a.client.pskKey(r.ID))
			return messages.PSKDeleted{}, a.keep(t.tx, changes)
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

// unguarded tells whether a request reads records without a guard. In a transaction some
// take one. The list of conversations has a way of its own, see listing.go.
func unguarded(t *task) bool {
	switch t.request.(type) {
	case messages.ListCredentials, messages.ListKeyPackages, messages.CountKeyPackages, messages.ReadProteus, readIdentity, readExisting:
		return true
	case messages.ReadData, messages.ReadRotation:
		return t.tx == nil
	}
	return false
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
	return messages.DataSet{}, a.keep(tx, changes)
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
