package actors

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/conclave-mls/conclave/internal/secret"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/proteus"
	"github.com/conclave-mls/conclave/store"
)

// session owns one Proteus session of one client. It lives as a conversation does:
// a queue, what a transaction stages beside what is committed, and the same law. What
// differs is that there is no delivery service to wait for.
type session struct {
	queue
	sys *System
	id  messages.SessionID

	loaded    bool
	committed *proteus.Session // nil: there is none
	// reserved is how far chains of the committed session may have been used by
	// transactions whose session is not stored. It is on disk as well.
	reserved []reservation
	stage    *sessionStage
	closed   bool
}

// reservation says that the messages of a chain before until may have been sent.
type reservation struct {
	ratchet proteus.PublicKey
	until   uint32
}

// sessionBlock is how many messages are reserved at a time.
const sessionBlock = 64

// sessionStage is the session beside the committed one.
type sessionStage struct {
	tx      *transaction // nil: of a batch of single calls
	session *proteus.Session
	changed bool
	// handed is how far the chains of the committed session have been used.
	handed []reservation
	vote   *store.ChangeSet
}

// Steps of a session. What they need beside the request comes with them.
type (
	// encryptStep answers envelopeMade.
	encryptStep struct {
		messages.Step
		local     *proteus.Identity
		plaintext []byte
		// held tells that the envelope does not leave before the transaction has
		// been decided, so that nothing has to be reserved.
		held bool
	}
	envelopeMade struct {
		messages.Step
		envelope []byte
	}
	// decryptStep answers messageOpened. Without a prekey it may answer
	// errWantsPreKey.
	decryptStep struct {
		messages.Step
		local   *proteus.Identity
		message *proteus.Message
		reach   messages.Reach
		asked   bool // preKey is what the client has
		preKey  *proteus.PreKey
	}
	messageOpened struct {
		messages.Step
		plaintext  secret.Bytes
		usedPreKey bool
	}
	// beginStep replaces the session.
	beginStep struct {
		messages.Step
		local  *proteus.Identity
		bundle proteus.PreKeyBundle
	}
	// adoptSession stores a session that comes from elsewhere unless there is one,
	// and answers sessionAdopted.
	adoptSession struct {
		messages.Step
		session *proteus.Session
	}
	sessionAdopted struct {
		messages.Step
		taken bool
	}
	deleteStep struct{ messages.Step }
	readStep   struct {
		messages.Step
		local *proteus.Identity
	}
)

// errWantsPreKey says that a message opens in no state of the session, and may begin
// one with a prekey.
var errWantsPreKey = errors.New("actors: message wants its prekey")

func newSession(s *System, c *client, e *entry) *session {
	made := &session{sys: s, id: messages.SessionID(e.key.id)}
	made.queue = queue{client: c, entry: e, granted: made.begin, most: int(s.options.Step)}
	return made
}

func (s *session) receive(l letter) {
	s.turn(l, func(l letter) {
		if err := safely(s.sys.log, "session", func() error { s.handle(l); return nil }); err != nil {
			s.broken(l, err)
		}
	})
	s.entry.weigh(s.memory())
}

// memory estimates what the session holds, in bytes.
func (s *session) memory() int64 {
	if s.committed == nil {
		return restBytes
	}
	return restBytes + int64(s.committed.MemoryBytes())
}

// broken answers whom a panic has cut off, and drops what is in memory.
func (s *session) broken(l letter, err error) {
	s.forget()
	switch l := l.(type) {
	case *task:
		l.answer(nil, err)
	case prepare:
		l.tx.actor.send(vote{participant: s.entry.actor, err: err})
	case settle:
		s.leave(l.tx)
	case abort:
		s.leave(l.tx)
	}
	if s.stage != nil {
		s.stage.tx.actor.send(doom{err})
	}
	s.serve()
}

func (s *session) handle(l letter) {
	switch l := l.(type) {
	case *task:
		s.take(l)
	case run:
		s.runBatch()
	case cancelTask:
		s.cancel(l.task)
	case evict:
		s.drop(func(c claim) bool { return c.tx == l.tx }, l.err)
	case prepare:
		s.prepare(l.tx)
	case settle:
		s.settle(l.tx)
	case abort:
		s.abort(l.tx)
	case storeFailed:
		s.storeFailed()
	case closeActor:
		if l.closed != nil {
			defer close(l.closed)
		}
		s.closed = true
		s.close()
	}
}

func (s *session) stopped() {
	s.close()
	s.forget()
	s.entry.weigh(0)
}

// forget wipes what is in memory. It is read again when it is needed.
func (s *session) forget() {
	if s.committed != nil {
		s.committed.Wipe()
	}
	s.committed, s.reserved, s.loaded = nil, nil, false
}

func (s *session) take(t *task) {
	if s.sys.turnAway(t) {
		return
	}
	if s.closed && t.tx == nil {
		t.answer(nil, messages.ErrClosed)
		return
	}
	if r, ok := t.request.(readStep); ok && (t.tx == nil || !s.guard.holds(t.tx)) {
		s.readCommitted(t, r)
		return
	}
	if !s.guard.claim(claim{t.tx, true, t}) {
		s.report()
		return
	}
	s.granted(t)
}

// readCommitted serves a read outside of the transaction that holds the guard, as a
// conversation does: once that is decided the read waits until it is carried out here, as
// who asks may have seen it elsewhere; and while it is being applied, a session that was
// not in memory waits too, as the store may be ahead.
func (s *session) readCommitted(t *task, r readStep) {
	st, loaded := s.stage, s.loaded
	voted := st != nil && st.changed && st.vote != nil
	if voted && st.tx.decided.Load() {
		s.parked = append(s.parked, t)
		return
	}
	err := s.load(r.local)
	if voted && !loaded && st.tx.applying.Load() {
		s.forget()
		s.parked = append(s.parked, t)
		return
	}
	var reply messages.Reply
	if err == nil {
		reply, err = s.perform(&sessionStage{session: s.committed}, r)
	}
	t.answer(reply, err)
}

// begin serves a task that has the guard.
func (s *session) begin(t *task) {
	if t.tx == nil {
		s.gather(t)
		return
	}
	if s.stage == nil {
		s.stage = &sessionStage{tx: t.tx}
		s.entry.hold()
		t.tx.actor.send(enlisted{s.entry.actor})
	}
	var reply messages.Reply
	err := safely(s.sys.log, "step", func() (err error) {
		reply, err = s.step(s.stage, t)
		return err
	})
	if errors.Is(err, messages.ErrInternal) {
		// What is staged may be half of a step: the transaction cannot finish.
		s.forget()
		t.tx.actor.send(doom{err})
	}
	t.answer(reply, err)
}

// step runs one step on a stage. An error has staged nothing.
func (s *session) step(st *sessionStage, t *task) (messages.Reply, error) {
	if err := s.load(localOf(t.request)); err != nil {
		return nil, err
	}
	if !st.changed {
		st.session = s.committed
	}
	return s.perform(st, t.request)
}

// runBatch stages all gathered calls, applies once and answers.
func (s *session) runBatch() {
	batch := s.gathered()
	// A transaction may have come between a call and its turn.
	if len(s.guard.holders) > 0 {
		for _, t := range batch {
			s.guard.claim(claim{nil, true, t})
		}
		s.report()
		return
	}
	st := new(sessionStage)
	replies := make([]result, len(batch))
	err := safely(s.sys.log, "batch", func() error {
		for i, t := range batch {
			if replies[i].err = t.ctx.Err(); replies[i].err == nil {
				replies[i].reply, replies[i].err = s.step(st, t)
			}
		}
		return s.persist(st)
	})
	if err != nil {
		st.drop(s.committed)
		s.forget()
	}
	for i, t := range batch {
		if replies[i].err == nil && err != nil {
			replies[i] = result{err: err}
		}
		t.answer(replies[i].reply, replies[i].err)
	}
	s.serve()
}

// persist makes a stage durable, and current.
func (s *session) persist(st *sessionStage) error {
	changes := s.changes(st)
	defer changes.Wipe()
	if changes.Len() > 0 {
		if err := s.sys.apply(changes); err != nil {
			return err
		}
	}
	s.swap(st)
	return nil
}

// localOf returns the identity that comes with a step.
func localOf(r messages.Request) *proteus.Identity {
	switch r := r.(type) {
	case encryptStep:
		return r.local
	case decryptStep:
		return r.local
	case beginStep:
		return r.local
	case readStep:
		return r.local
	}
	return nil
}

// load reads the committed session, and moves its chains on past what may have left
// without having been stored. Without an identity it only looks whether there is one.
func (s *session) load(local *proteus.Identity) error {
	if s.loaded || local == nil {
		return nil
	}
	values, err := s.sys.store.GetMany(s.client.sessionKey(s.sys, s.id), s.client.reserveKey(s.sys, s.id))
	if err != nil {
		return s.sys.storeError(err)
	}
	reserved, err := parseReservations(values[1])
	if err != nil {
		return err
	}
	var found *proteus.Session
	if values[0] != nil {
		stored, err := parseSessionRecord(values[0], s.id)
		if err == nil {
			found, err = proteus.ParseSession(local, stored)
			stored.Wipe()
		}
		if err != nil {
			return fmt.Errorf("%w: proteus session: %w", messages.ErrCorrupt, err)
		}
	}
	if found, err = skip(found, reserved); err != nil {
		return fmt.Errorf("%w: proteus session: %w", messages.ErrCorrupt, err)
	}
	s.committed, s.reserved, s.loaded = found, reserved, true
	s.entry.weigh(s.memory()) // as a conversation
	return nil
}

// skip moves a session's chains on. The session given is wiped if another is returned.
func skip(from *proteus.Session, reserved []reservation) (*proteus.Session, error) {
	for _, r := range reserved {
		if from == nil {
			break
		}
		next, err := from.SkipTo(r.ratchet, r.until)
		if err != nil {
			return nil, err
		}
		if next != from {
			from.Wipe()
			from = next
		}
	}
	return from, nil
}

// perform carries out one step on a stage. A read of a session that cannot be read
// has failed in load already.
func (s *session) perform(st *sessionStage, r messages.Request) (messages.Reply, error) {
	switch r := r.(type) {
	case encryptStep:
		return s.encrypt(st, r)
	case decryptStep:
		return s.decrypt(st, r)
	case beginStep:
		next, err := proteus.NewSession(s.sys.options.Rand, r.local, r.bundle)
		if err == nil {
			st.put(next, s.committed)
		}
		return messages.SessionBegun{}, err
	case adoptSession:
		return s.adopt(st, r)
	case deleteStep:
		st.put(nil, s.committed)
		return messages.SessionDeleted{}, nil
	case readStep:
		if st.session == nil {
			return messages.SessionRead{}, nil
		}
		return messages.SessionRead{Exists: true, Local: st.session.Local(), Remote: st.session.Remote()}, nil
	}
	return nil, fmt.Errorf("%w: %T is no request of a session", messages.ErrInvalidArgument, r)
}

func (s *session) encrypt(st *sessionStage, r encryptStep) (messages.Reply, error) {
	if st.session == nil {
		return nil, messages.ErrSessionNotFound
	}
	ratchet, at, ok := st.session.SendChain()
	if ok && st.tx != nil && !r.held {
		if err := s.reserve(st, ratchet, at); err != nil {
			return nil, err
		}
	}
	next, envelope, err := st.session.Encrypt(r.plaintext)
	if err != nil {
		return nil, err
	}
	st.put(next, s.committed)
	return envelopeMade{envelope: envelope}, nil
}

// reserve makes durable, before an envelope leaves a transaction, that its key is
// used. A chain that the committed session does not have needs none: it is gone with
// the transaction.
func (s *session) reserve(st *sessionStage, ratchet proteus.PublicKey, at uint32) error {
	if s.committed == nil || !s.committed.HasSendChain(ratchet) {
		return nil
	}
	st.handed = raise(st.handed, ratchet, at+1)
	for _, r := range s.reserved {
		if r.ratchet == ratchet && r.until > at {
			return nil
		}
	}
	reserved := raise(s.reserved, ratchet, at+sessionBlock)
	changes := new(store.ChangeSet)
	changes.Put(s.client.reserveKey(s.sys, s.id), marshalReservations(reserved))
	if err := s.sys.apply(changes); err != nil {
		return err
	}
	s.reserved = reserved
	return nil
}

// raise returns a copy of the list with the reservation in it.
func raise(list []reservation, ratchet proteus.PublicKey, until uint32) []reservation {
	list = slices.Clone(list)
	for i := range list {
		if list[i].ratchet == ratchet {
			list[i].until = max(list[i].until, until)
			return list
		}
	}
	return append(list, reservation{ratchet, until})
}

func (s *session) decrypt(st *sessionStage, r decryptStep) (messages.Reply, error) {
	var got proteus.Decrypted
	var err error
	switch {
	case st.session != nil && r.reach != messages.ReachNew:
		got, err = st.session.Decrypt(s.sys.options.Rand, r.message, r.preKey)
	case r.reach == messages.ReachExisting:
		return nil, messages.ErrSessionNotFound
	default:
		got, err = proteus.Accept(s.sys.options.Rand, r.local, r.message, r.preKey)
	}
	if errors.Is(err, proteus.ErrPreKeyNotFound) && !r.asked {
		return nil, errWantsPreKey
	}
	if err != nil {
		return nil, err
	}
	st.put(got.Session, s.committed)
	return messageOpened{plaintext: got.Plaintext, usedPreKey: got.UsedPreKey}, nil
}

func (s *session) adopt(st *sessionStage, r adoptSession) (messages.Reply, error) {
	if !s.loaded && !st.changed {
		values, err := s.sys.store.GetMany(s.client.sessionKey(s.sys, s.id))
		if err != nil {
			return nil, s.sys.storeError(err)
		}
		if values[0] != nil {
			return sessionAdopted{}, nil
		}
	} else if st.session != nil {
		return sessionAdopted{}, nil
	}
	st.put(r.session, s.committed)
	return sessionAdopted{taken: true}, nil
}

// put stages a session, nil for none, and wipes the one it replaces unless that is
// the committed one.
func (st *sessionStage) put(next, committed *proteus.Session) {
	st.drop(committed)
	st.session, st.changed = next, true
}

// drop wipes what is staged.
func (st *sessionStage) drop(committed *proteus.Session) {
	if st.session != nil && st.session != committed {
		st.session.Wipe()
	}
	st.session = nil
}

// changes are what makes a stage durable. With the session, what was reserved for it
// is stored or void.
func (s *session) changes(st *sessionStage) *store.ChangeSet {
	changes := new(store.ChangeSet)
	if !st.changed {
		return changes
	}
	key := s.client.sessionKey(s.sys, s.id)
	if st.session == nil {
		changes.Delete(key)
	} else {
		stored := st.session.Marshal()
		w := newWriter(len(s.id) + len(stored))
		w.bytes([]byte(s.id))
		w.bytes(stored)
		changes.Put(key, w.b)
		stored.Wipe()
		secret.Bytes(w.b).Wipe()
	}
	if len(s.reserved) > 0 || !s.loaded {
		changes.Delete(s.client.reserveKey(s.sys, s.id))
	}
	return changes
}

// swap makes a durable stage current.
func (s *session) swap(st *sessionStage) {
	if !st.changed {
		return
	}
	if s.committed != nil && s.committed != st.session {
		s.committed.Wipe()
	}
	s.committed, s.reserved, s.loaded = st.session, nil, true
}

func (s *session) prepare(tx *transaction) {
	v := vote{participant: s.entry.actor}
	if s.stage == nil || s.stage.tx != tx {
		v.err = messages.ErrInternal
	} else {
		s.stage.vote = s.changes(s.stage)
		v.changes = s.stage.vote
	}
	tx.actor.send(v)
}

func (s *session) settle(tx *transaction) {
	if st := s.stage; st != nil && st.tx == tx {
		s.swap(st)
	}
	s.leave(tx)
}

// abort drops what the transaction has staged. The keys of envelopes that have been
// handed out are burnt; that they are is on disk already.
func (s *session) abort(tx *transaction) {
	s.drop(func(c claim) bool { return c.tx == tx }, messages.ErrInvalidTransaction)
	if st := s.stage; st != nil && st.tx == tx {
		if st.changed {
			st.drop(s.committed)
		}
		next, err := skip(s.committed, st.handed)
		if err != nil {
			s.sys.log.Error("abort", logError(err))
			s.forget()
		} else {
			s.committed = next
		}
	}
	s.leave(tx)
}

// leave ends a transaction here and lets the next in.
func (s *session) leave(tx *transaction) {
	if s.stage != nil && s.stage.tx == tx {
		if s.stage.vote != nil {
			s.stage.vote.Wipe()
		}
		s.stage = nil
		s.guard.release(tx)
		s.entry.release()
	}
	tx.actor.send(settled{participant: s.entry.actor})
	s.unpark()
	s.serve()
}

// Records of Proteus.

const (
	proteusIdentity = 1
	proteusPreKey   = 2
	proteusSession  = 3
	proteusReserve  = 4
)

func (c *client) proteusIdentityKey() []byte { return c.keys.Proteus(nil, []byte{proteusIdentity}) }

func (c *client) preKeyPrefix() []byte { return c.keys.Proteus(nil, []byte{proteusPreKey}) }

func (c *client) preKeyKey(id uint16) []byte {
	return append(c.preKeyPrefix(), byte(id>>8), byte(id))
}

func (c *client) sessionKey(s *System, id messages.SessionID) []byte {
	h := s.keys.Session(c.keys, []byte(id))
	return append(c.keys.Proteus(nil, []byte{proteusSession}), h[:]...)
}

func (c *client) reserveKey(s *System, id messages.SessionID) []byte {
	h := s.keys.Session(c.keys, []byte(id))
	return append(c.keys.Proteus(nil, []byte{proteusReserve}), h[:]...)
}

func parseSessionRecord(b []byte, id messages.SessionID) (secret.Bytes, error) {
	r := readRecord(b)
	name := r.bytes()
	stored := bytes.Clone(r.bytes())
	if err := r.end("proteus session"); err != nil {
		return nil, err
	}
	if string(name) != string(id) {
		return nil, errors.New("stored under another id")
	}
	return stored, nil
}

func marshalReservations(list []reservation) []byte {
	w := newWriter(len(list) * 40)
	w.uint16(uint16(len(list)))
	for _, r := range list {
		w.fixed(r.ratchet[:])
		w.uint64(uint64(r.until))
	}
	return w.b
}

func parseReservations(b []byte) ([]reservation, error) {
	if b == nil {
		return nil, nil
	}
	r := readRecord(b)
	list := make([]reservation, 0, 1)
	for range r.uint16() {
		var v reservation
		copy(v.ratchet[:], r.take(32))
		v.until = uint32(r.uint64())
		list = append(list, v)
	}
	return list, r.end("proteus reservation")
}
