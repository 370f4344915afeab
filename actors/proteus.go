package actors

import (
	"context"
	"errors"
	"fmt"

	"github.com/conclave-mls/conclave/internal/secret"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/proteus"
	"github.com/conclave-mls/conclave/store"
)

// Requests of Proteus go to the client's actor, which has the identity and the
// prekeys, and to the actors of sessions; most to both, in this order. What is asked
// of the client for a session's sake:
type (
	// readIdentity answers identityRead.
	readIdentity struct{ messages.Step }
	identityRead struct {
		messages.Step
		identity *proteus.Identity // nil: there is none
	}
	// takePreKey keeps a prekey from others while the transaction lasts. It answers
	// preKeyTaken.
	takePreKey struct {
		messages.Step
		id uint16
	}
	preKeyTaken struct {
		messages.Step
		preKey *proteus.PreKey // nil: there is none
	}
	spendPreKey struct {
		messages.Step
		id uint16
	}
	// adoptIdentity and adoptPreKey store what comes from elsewhere unless there is
	// one. They answer sessionAdopted.
	adoptIdentity struct {
		messages.Step
		identity *proteus.Identity
	}
	adoptPreKey struct {
		messages.Step
		id     uint16
		preKey *proteus.PreKey
	}
)

// Guards of the identity, and of which prekeys there are; one of each prekey besides.
const (
	identityGuard = "proteus identity"
	preKeysGuard  = "proteus prekeys"
)

func preKeyGuard(id uint16) string { return fmt.Sprintf("proteus prekey %d", id) }

// proteus carries out a request of Proteus that needs more than the client's actor,
// and answers false for others.
func (s *System) proteus(ctx context.Context, at place, r messages.Request) (messages.Reply, bool, error) {
	var reply messages.Reply
	var err error
	switch r := r.(type) {
	case messages.BeginSession:
		reply, err = s.beginSession(ctx, at, r)
	case messages.DecryptProteus:
		reply, err = s.decryptProteus(ctx, at, r)
	case messages.EncryptProteus:
		reply, err = s.encryptProteus(ctx, at, r)
	case messages.DeleteSession:
		reply, err = s.askSession(ctx, at, r.Session, deleteStep{})
	case messages.ReadSession:
		reply, err = s.readSession(ctx, at, r)
	case messages.MigrateCryptobox:
		reply, err = s.within(ctx, at, func(at place) (messages.Reply, error) { return s.migrateCryptobox(ctx, at, r) })
	default:
		return nil, false, nil
	}
	return reply, true, err
}

// askSession sends a step to a session's actor, starting it if it is not in memory.
func (s *System) askSession(ctx context.Context, at place, id messages.SessionID, r messages.Request) (messages.Reply, error) {
	if len(id) == 0 || len(id) > maxName {
		return nil, fmt.Errorf("%w: session id of %d bytes", messages.ErrInvalidArgument, len(id))
	}
	return s.askEntry(ctx, at, entryKey{at.client.instance, messages.ConversationID(id), entrySession}, newTask(ctx, r))
}

// identity returns the client's Proteus identity, which never changes once it is
// committed.
func (s *System) identity(ctx context.Context, at place) (*proteus.Identity, error) {
	if id := at.client.proteus.Load(); id != nil {
		return id, nil
	}
	reply, err := s.askClient(ctx, at, readIdentity{})
	if err != nil {
		return nil, err
	}
	id := reply.(identityRead).identity
	if id == nil {
		return nil, messages.ErrProteusNotInitialized
	}
	return id, nil
}

func (s *System) beginSession(ctx context.Context, at place, r messages.BeginSession) (messages.Reply, error) {
	bundle, err := proteus.ParsePreKeyBundle(r.Bundle)
	if err != nil {
		return nil, err
	}
	local, err := s.identity(ctx, at)
	if err != nil {
		return nil, err
	}
	return s.askSession(ctx, at, r.Session, beginStep{local: local, bundle: bundle})
}

func (s *System) readSession(ctx context.Context, at place, r messages.ReadSession) (messages.Reply, error) {
	local, err := s.identity(ctx, at)
	if err != nil {
		return nil, err
	}
	return s.askSession(ctx, at, r.Session, readStep{local: local})
}

// decryptProteus tries without the prekey first: only the first message of a session
// needs it, and only then two actors have to agree.
func (s *System) decryptProteus(ctx context.Context, at place, r messages.DecryptProteus) (messages.Reply, error) {
	m, err := proteus.ParseMessage(r.Message)
	if err != nil {
		return nil, err
	}
	local, err := s.identity(ctx, at)
	if err != nil {
		return nil, err
	}
	step := decryptStep{local: local, message: m, reach: r.Reach}
	reply, err := s.askSession(ctx, at, r.Session, step)
	if errors.Is(err, errWantsPreKey) {
		reply, err = s.within(ctx, at, func(at place) (messages.Reply, error) { return s.decryptFirst(ctx, at, r.Session, step) })
	}
	if err != nil {
		return nil, err
	}
	return messages.ProteusDecrypted{Plaintext: reply.(messageOpened).plaintext}, nil
}

func (s *System) decryptFirst(ctx context.Context, at place, session messages.SessionID, step decryptStep) (messages.Reply, error) {
	id, _ := step.message.PreKeyID()
	taken, err := s.askClient(ctx, at, takePreKey{id: id})
	if err != nil {
		return nil, err
	}
	step.preKey, step.asked = taken.(preKeyTaken).preKey, true
	if step.preKey != nil {
		defer step.preKey.Wipe()
	}
	reply, err := s.askSession(ctx, at, session, step)
	if err != nil {
		return nil, err
	}
	if reply.(messageOpened).usedPreKey && id != proteus.LastResort {
		// The session is staged; the caller's context does not part it from its prekey.
		if _, err := s.askClient(context.WithoutCancel(ctx), at, spendPreKey{id: id}); err != nil {
			return nil, err
		}
	}
	return reply, nil
}

// encryptProteus encrypts for one session by the shortest path; for several in a
// transaction, whose one sync is that of all.
func (s *System) encryptProteus(ctx context.Context, at place, r messages.EncryptProteus) (messages.Reply, error) {
	local, err := s.identity(ctx, at)
	if err != nil {
		return nil, err
	}
	if len(r.Sessions) == 1 || at.tx != nil {
		return s.encryptEach(ctx, at, r.Sessions, encryptStep{local: local, plaintext: r.Plaintext})
	}
	return s.within(ctx, at, func(at place) (messages.Reply, error) {
		return s.encryptEach(ctx, at, r.Sessions, encryptStep{local: local, plaintext: r.Plaintext, held: true})
	})
}

func (s *System) encryptEach(ctx context.Context, at place, ids []messages.SessionID, step encryptStep) (messages.Reply, error) {
	envelopes, errs := make([][]byte, len(ids)), make([]error, len(ids))
	parallel(len(ids), func(i int) {
		reply, err := s.askSession(ctx, at, ids[i], step)
		if errs[i] = err; err == nil {
			envelopes[i] = reply.(envelopeMade).envelope
		}
	})
	made := make(map[messages.SessionID][]byte, len(ids))
	for i, id := range ids {
		switch {
		case errs[i] == nil:
			made[id] = envelopes[i]
		case !errors.Is(errs[i], messages.ErrSessionNotFound):
			return nil, errs[i]
		}
	}
	return messages.ProteusEncrypted{Envelopes: made}, nil
}

func (s *System) migrateCryptobox(ctx context.Context, at place, r messages.MigrateCryptobox) (messages.Reply, error) {
	var report messages.CryptoboxReport
	theirs, err := r.Box.Identity()
	ours, oursErr := s.identity(ctx, at)
	switch {
	case oursErr == nil: // the box's is of no matter
		if err == nil {
			theirs.Wipe()
		}
	case !errors.Is(oursErr, messages.ErrProteusNotInitialized):
		return nil, oursErr
	case err != nil:
		return nil, err
	default:
		ours, report.IdentityTaken = theirs, true
		if _, err := s.askClient(ctx, at, adoptIdentity{identity: theirs}); err != nil {
			return nil, err
		}
	}
	skipped := func(kind, name string, err error) {
		report.Skipped = append(report.Skipped, messages.CryptoboxSkipped{Kind: kind, Name: name, Err: err})
	}
	for o, err := range r.Box.Sessions() {
		if err != nil {
			return nil, err
		}
		session, err := proteus.ParseSession(ours, o.Bytes)
		o.Bytes.Wipe()
		if err == nil && (len(o.Name) == 0 || len(o.Name) > maxName) {
			err = messages.ErrInvalidArgument
		}
		if err != nil {
			skipped("session", o.Name, err)
			continue
		}
		reply, err := s.askSession(ctx, at, messages.SessionID(o.Name), adoptSession{session: session})
		if err != nil {
			return nil, err
		}
		if !reply.(sessionAdopted).taken {
			session.Wipe()
			skipped("session", o.Name, nil)
			continue
		}
		report.Sessions++
	}
	for o, err := range r.Box.PreKeys() {
		if err != nil {
			return nil, err
		}
		preKey, err := proteus.ParsePreKey(o.Bytes)
		o.Bytes.Wipe()
		if err != nil {
			skipped("prekey", o.Name, err)
			continue
		}
		reply, err := s.askClient(ctx, at, adoptPreKey{id: o.ID, preKey: preKey})
		preKey.Wipe()
		if err != nil {
			return nil, err
		}
		if !reply.(sessionAdopted).taken {
			skipped("prekey", o.Name, nil)
			continue
		}
		report.PreKeys++
	}
	return messages.CryptoboxMigrated{Report: report}, nil
}

// planProteus is plan for the requests of Proteus.
func (a *clientActor) planProteus(t *task) (needs []need, run func() (messages.Reply, error), ok bool) {
	switch r := t.request.(type) {
	case messages.InitProteus:
		return []need{{identityGuard, true}, {preKeyGuard(proteus.LastResort), true}},
			func() (messages.Reply, error) { return a.initProteus(t.tx) }, true
	case messages.ReadProteus:
		return nil, func() (messages.Reply, error) {
			id, err := a.requireIdentity(t.tx)
			if err != nil {
				return nil, err
			}
			return messages.ProteusRead{Identity: id.PublicKey()}, nil
		}, true
	case readIdentity:
		return nil, func() (messages.Reply, error) {
			id, err := a.identity(t.tx)
			return identityRead{identity: id}, err
		}, true
	case messages.CreatePreKey:
		// Which one is chosen depends on all that exist.
		needs := []need{{preKeysGuard, true}}
		if !r.Auto {
			needs = append(needs, need{preKeyGuard(r.ID), true})
		}
		return needs, func() (messages.Reply, error) { return a.createPreKey(t.tx, r) }, true
	case takePreKey:
		return []need{{preKeyGuard(r.id), true}}, func() (messages.Reply, error) {
			k, err := a.preKey(t.tx, r.id)
			return preKeyTaken{preKey: k}, err
		}, true
	case spendPreKey:
		return nil, func() (messages.Reply, error) {
			changes := new(store.ChangeSet)
			changes.Delete(a.client.preKeyKey(r.id))
			return stepDone{}, a.keep(t.tx, changes)
		}, true
	case adoptIdentity:
		return []need{{identityGuard, true}}, func() (messages.Reply, error) {
			if id, err := a.identity(t.tx); err != nil || id != nil {
				return sessionAdopted{}, err
			}
			return sessionAdopted{taken: true}, a.putIdentity(t.tx, r.identity)
		}, true
	case adoptPreKey:
		return []need{{preKeysGuard, true}, {preKeyGuard(r.id), true}}, func() (messages.Reply, error) {
			if value, err := a.get(t.tx, a.client.preKeyKey(r.id)); err != nil || value != nil {
				return sessionAdopted{}, err
			}
			return sessionAdopted{taken: true}, a.putPreKey(t.tx, r.id, r.preKey)
		}, true
	}
	return nil, nil, false
}

// identity reads the identity as the transaction sees it, nil if there is none. One
// that is committed stays in memory.
func (a *clientActor) identity(tx *transaction) (*proteus.Identity, error) {
	if id := a.client.proteus.Load(); id != nil {
		return id, nil
	}
	value, err := a.get(tx, a.client.proteusIdentityKey())
	if err != nil || value == nil {
		return nil, err
	}
	r := readRecord(value)
	encoded := r.bytes()
	if err := r.end("proteus identity"); err != nil {
		return nil, err
	}
	id, err := proteus.ParseIdentity(encoded)
	if err != nil {
		return nil, fmt.Errorf("%w: proteus identity: %w", messages.ErrCorrupt, err)
	}
	if tx == nil && len(a.applying()) == 0 { // else it may not be durable yet
		a.client.proteus.Store(id)
	}
	return id, nil
}

func (a *clientActor) requireIdentity(tx *transaction) (*proteus.Identity, error) {
	id, err := a.identity(tx)
	if err == nil && id == nil {
		err = messages.ErrProteusNotInitialized
	}
	return id, err
}

func (a *clientActor) putIdentity(tx *transaction, id *proteus.Identity) error {
	changes := new(store.ChangeSet)
	putEncoded(changes, a.client.proteusIdentityKey(), id.Marshal())
	return a.keep(tx, changes)
}

func (a *clientActor) putPreKey(tx *transaction, id uint16, k *proteus.PreKey) error {
	changes := new(store.ChangeSet)
	putEncoded(changes, a.client.preKeyKey(id), k.Marshal())
	return a.keep(tx, changes)
}

// putEncoded puts a record of one encoded object, which it wipes.
func putEncoded(changes *store.ChangeSet, key []byte, encoded secret.Bytes) {
	w := newWriter(len(encoded))
	w.bytes(encoded)
	changes.Put(key, w.b)
	clear(w.b)
	encoded.Wipe()
}

// preKey reads a prekey, nil if there is none. The caller wipes it.
func (a *clientActor) preKey(tx *transaction, id uint16) (*proteus.PreKey, error) {
	value, err := a.get(tx, a.client.preKeyKey(id))
	if err != nil || value == nil {
		return nil, err
	}
	r := readRecord(value)
	encoded := r.bytes()
	if err := r.end("prekey"); err != nil {
		return nil, err
	}
	k, err := proteus.ParsePreKey(encoded)
	if err != nil {
		return nil, fmt.Errorf("%w: prekey: %w", messages.ErrCorrupt, err)
	}
	return k, nil
}

// initProteus makes the identity and the last resort prekey where they are missing.
func (a *clientActor) initProteus(tx *transaction) (messages.Reply, error) {
	id, err := a.identity(tx)
	if err != nil {
		return nil, err
	}
	changes := new(store.ChangeSet)
	reply := messages.ProteusReady{Created: id == nil}
	if id == nil {
		if id, err = proteus.NewIdentity(a.sys.options.Rand); err != nil {
			return nil, err
		}
		putEncoded(changes, a.client.proteusIdentityKey(), id.Marshal())
	}
	reply.Identity = id.PublicKey()
	last, err := a.preKey(tx, proteus.LastResort)
	if err != nil {
		return nil, err
	}
	if last == nil {
		if last, err = proteus.NewPreKey(a.sys.options.Rand, proteus.LastResort); err != nil {
			return nil, err
		}
		putEncoded(changes, a.client.preKeyKey(proteus.LastResort), last.Marshal())
	}
	last.Wipe()
	if changes.Len() == 0 {
		return reply, nil
	}
	return reply, a.keep(tx, changes)
}

func (a *clientActor) createPreKey(tx *transaction, r messages.CreatePreKey) (messages.Reply, error) {
	id, err := a.requireIdentity(tx)
	if err != nil {
		return nil, err
	}
	if r.Auto {
		if r.ID, err = a.freePreKeyID(tx); err != nil {
			return nil, err
		}
	}
	if !r.Replace { // else even one that cannot be read
		old, err := a.preKey(tx, r.ID)
		if err != nil {
			return nil, err
		}
		if old != nil {
			defer old.Wipe()
			if r.ID != proteus.LastResort {
				return nil, messages.ErrPreKeyExists
			}
			return messages.PreKeyCreated{ID: r.ID, Bundle: old.Bundle(id.PublicKey()).Marshal()}, nil
		}
	}
	k, err := proteus.NewPreKey(a.sys.options.Rand, r.ID)
	if err != nil {
		return nil, err
	}
	defer k.Wipe()
	return messages.PreKeyCreated{ID: r.ID, Bundle: k.Bundle(id.PublicKey()).Marshal()}, a.putPreKey(tx, r.ID, k)
}

// freePreKeyID returns the lowest unused id from 1 that is not the last resort's.
func (a *clientActor) freePreKeyID(tx *transaction) (uint16, error) {
	records, err := a.list(tx, a.client.preKeyPrefix())
	if err != nil {
		return 0, err
	}
	free := uint16(1)
	for _, rec := range records { // by ascending id
		n := len(rec.Key)
		if n < 2 {
			return 0, messages.ErrCorrupt
		}
		if id := uint16(rec.Key[n-2])<<8 | uint16(rec.Key[n-1]); id == free {
			free++
		}
	}
	if free == proteus.LastResort {
		return 0, messages.ErrNoPreKeyID
	}
	return free, nil
}
