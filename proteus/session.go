package proteus

import (
	"bytes"
	"fmt"
	"io"
	"slices"

	"github.com/conclave-mls/conclave/internal/secret"
)

// maxStates is the number of states at which the oldest one is dropped.
const maxStates = 100

// MaxPlaintext is the longest plaintext, in bytes: readers refuse longer messages.
const MaxPlaintext = maxBytes - sealedSize

// Session is what one device knows of its conversation with one other. It holds a
// state for each time that one of the two has begun it; the one that decrypted
// last is used to encrypt.
type Session struct {
	local   *Identity // not owned
	remote  PublicKey
	tag     Tag
	pending *pendingPreKey
	states  []taggedState // oldest first
}

// pendingPreKey is what every message repeats until the peer has answered.
type pendingPreKey struct {
	id   uint16
	base PublicKey
}

type taggedState struct {
	tag Tag
	*state
}

// NewSession begins a session with the owner of a bundle. It draws 80 bytes. It
// answers ErrInvalidSignature for a bundle with a wrong signature, ErrKey for one
// with a bad key, or the error of rand.
func NewSession(rand io.Reader, local *Identity, bundle PreKeyBundle) (*Session, error) {
	if err := bundle.Verify(); err != nil {
		return nil, err
	}
	base, err := newKeyPair(rand)
	defer base.wipe()
	if err != nil {
		return nil, fmt.Errorf("proteus: draw a base key: %w", err)
	}
	st, err := initiate(rand, local, &base, &bundle)
	if err != nil {
		return nil, fmt.Errorf("proteus: begin a session: %w", err)
	}
	s := &Session{
		local: local, remote: bundle.Identity,
		pending: &pendingPreKey{bundle.ID, base.public},
	}
	if _, err := io.ReadFull(rand, s.tag[:]); err != nil {
		st.wipe()
		return nil, fmt.Errorf("proteus: draw a session tag: %w", err)
	}
	s.insert(s.tag, st)
	return s, nil
}

// Decrypted is what came of a message.
type Decrypted struct {
	Session   *Session // the next session
	Plaintext []byte
	// UsedPreKey tells that the message has begun a state with the prekey given,
	// which has to be deleted together with storing the session, unless it is the
	// last resort.
	UsedPreKey bool
}

// Accept begins a session by a first message. preKey is the prekey that the message
// names, or nil if there is none. It draws 32 bytes. It answers ErrInvalidMessage for
// a message that cannot begin a session, ErrPreKeyNotFound, ErrKey, and those of
// Decrypt that a new state can give.
func Accept(rand io.Reader, local *Identity, m *Message, preKey *PreKey) (Decrypted, error) {
	if m.begins == nil {
		return Decrypted{}, ErrInvalidMessage
	}
	s := &Session{local: local, remote: m.begins.identity}
	plaintext, err := s.begin(rand, m, preKey)
	if err != nil {
		return Decrypted{}, err
	}
	return Decrypted{s, plaintext, true}, nil
}

// begin adds the state that a first message begins.
func (s *Session) begin(rand io.Reader, m *Message, preKey *PreKey) ([]byte, error) {
	if preKey == nil || preKey.id != m.begins.preKey {
		return nil, ErrPreKeyNotFound
	}
	st, err := respond(s.local, preKey, m.begins)
	if err != nil {
		return nil, err
	}
	plaintext, err := st.open(rand, m)
	if err != nil {
		st.wipe()
		return nil, err
	}
	s.insert(m.tag, st)
	s.pending = nil
	return plaintext, nil
}

// insert makes st the state that encrypts.
func (s *Session) insert(tag Tag, st *state) {
	s.tag = tag
	if at := s.index(tag); at >= 0 {
		s.states[at].wipe()
		s.states[at].state = st
	} else {
		s.states = append(s.states, taggedState{tag, st})
	}
	if len(s.states) >= maxStates {
		oldest := slices.IndexFunc(s.states, func(t taggedState) bool { return t.tag != s.tag })
		s.states[oldest].wipe()
		s.states = slices.Delete(s.states, oldest, oldest+1)
	}
}

func (s *Session) index(tag Tag) int {
	return slices.IndexFunc(s.states, func(t taggedState) bool { return t.tag == tag })
}

func (s *Session) clone() *Session {
	c := *s
	c.states = slices.Clone(s.states)
	for i := range c.states {
		c.states[i].state = c.states[i].clone()
	}
	return &c
}

// Encrypt returns the envelope of a plaintext, of at most MaxPlaintext bytes, and the
// session after it. It answers ErrNoState, ErrExhausted or ErrTooLong.
func (s *Session) Encrypt(plaintext []byte) (next *Session, envelope []byte, err error) {
	if len(plaintext) > MaxPlaintext {
		return nil, nil, ErrTooLong
	}
	at := s.index(s.tag)
	if at < 0 {
		return nil, nil, ErrNoState
	}
	next = s.clone()
	st := next.states[at].state
	keys := st.send.chain.messageKeys()
	defer keys.wipe()
	if err := st.send.chain.advance(); err != nil {
		next.Wipe()
		return nil, nil, err
	}
	return next, s.seal(st, &keys, plaintext), nil
}

// Decrypt opens a message of the peer. preKey is the prekey that the message names,
// or nil if there is none or the message names none; it is used only if no state of
// the session opens the message. It draws at most 64 bytes. It answers
// ErrRemoteIdentityChanged, ErrInvalidMessage, ErrInvalidSignature,
// ErrDuplicateMessage, ErrOutdatedMessage, ErrTooDistantFuture, ErrPreKeyNotFound or
// ErrKey.
func (s *Session) Decrypt(rand io.Reader, m *Message, preKey *PreKey) (Decrypted, error) {
	if m.begins != nil && m.begins.identity != s.remote {
		return Decrypted{}, ErrRemoteIdentityChanged
	}
	next := s.clone()
	plaintext, err := next.open(rand, m)
	began := false
	if m.begins != nil && (err == ErrInvalidSignature || err == ErrInvalidMessage) {
		next.Wipe()
		next, began = s.clone(), true
		plaintext, err = next.begin(rand, m, preKey)
	}
	if err != nil {
		next.Wipe()
		return Decrypted{}, err
	}
	return Decrypted{next, plaintext, began}, nil
}

// open decrypts in the state the message names. After an error the session is of no
// further use.
func (s *Session) open(rand io.Reader, m *Message) ([]byte, error) {
	at := s.index(m.tag)
	if at < 0 {
		if err := m.ratchet.check(); err != nil {
			return nil, err
		}
		return nil, ErrInvalidMessage
	}
	plaintext, err := s.states[at].open(rand, m)
	if err == nil {
		s.tag, s.pending = m.tag, nil
	}
	return plaintext, err
}

// Remote returns the identity of the other device.
func (s *Session) Remote() PublicKey { return s.remote }

// Local returns the identity of this device.
func (s *Session) Local() PublicKey { return s.local.PublicKey() }

// MemoryBytes estimates what the session occupies in memory, its identity apart.
func (s *Session) MemoryBytes() int {
	const each, eachState, eachChain, eachKey = 160, 320, 128, 68
	n := each
	for _, st := range s.states {
		n += eachState + len(st.receive)*eachChain
		for i := range st.receive {
			n += len(st.receive[i].skipped) * eachKey
		}
	}
	return n
}

// Wipe ends the life of the session's secrets.
func (s *Session) Wipe() {
	for _, st := range s.states {
		st.wipe()
	}
}

// Marshal encodes the session with its secrets, in the form in which Wire's clients
// store it: 400 to 900 bytes, and 80 for each skipped message. The caller wipes them.
func (s *Session) Marshal() secret.Bytes {
	b := append(appendMap(make([]byte, 0, 1024), 6), 0)
	b = appendUint(b, uint8(version))
	b = appendBytes(append(b, 1), s.tag[:])
	b = appendIdentityKey(append(b, 2), s.local.PublicKey())
	b = appendIdentityKey(append(b, 3), s.remote)
	b = append(b, 4)
	if s.pending == nil {
		b = append(b, null)
	} else {
		b = appendUint(append(appendMap(b, 2), 0), s.pending.id)
		b = s.pending.base.append(append(b, 1))
	}
	states := slices.SortedFunc(slices.Values(s.states), func(a, b taggedState) int { return bytes.Compare(a.tag[:], b.tag[:]) })
	b = appendMap(append(b, 5), len(states))
	for _, st := range states {
		b = st.append(appendBytes(b, st.tag[:]))
	}
	return b
}

// ParseSession reads what Marshal, or another implementation, has written. The states
// count as the older the earlier they stand. It answers ErrLocalIdentityChanged,
// ErrDecode, ErrTruncated, ErrLength or ErrKey.
func ParseSession(local *Identity, b []byte) (*Session, error) {
	r := reader{b}
	s := &Session{local: local}
	err := r.object(6, 1<<4, func(field uint8) (err error) {
		switch field {
		case 0:
			return r.version()
		case 1:
			s.tag, err = r.tag()
		case 2:
			var owner PublicKey
			if owner, err = r.identityKey(); err == nil && owner != local.PublicKey() {
				err = ErrLocalIdentityChanged
			}
		case 3:
			if s.remote, err = r.identityKey(); err == nil {
				err = s.remote.check()
			}
		case 4:
			s.pending, err = r.pendingPreKey()
		case 5:
			s.states, err = r.states()
		}
		return err
	})
	if err != nil {
		s.Wipe()
		return nil, within("session", err)
	}
	return s, nil
}

func (r *reader) pendingPreKey() (*pendingPreKey, error) {
	if r.null() {
		return nil, nil
	}
	p := new(pendingPreKey)
	return p, r.object(2, 0, func(field uint8) (err error) {
		if field == 0 {
			p.id, err = r.uint16()
		} else {
			p.base, err = r.checkedKey()
		}
		return err
	})
}

func (r *reader) states() (states []taggedState, err error) {
	n, err := r.entries(majorMap)
	if err == nil && n >= maxStates {
		err = within("too many states", ErrDecode)
	}
	for range n {
		if err != nil {
			break
		}
		var t taggedState
		if t.tag, err = r.tag(); err != nil {
			break
		}
		if slices.ContainsFunc(states, func(o taggedState) bool { return o.tag == t.tag }) {
			return states, within("state twice", ErrDecode)
		}
		t.state, err = r.state()
		states = append(states, t)
	}
	return states, err
}

// SendChain returns the ratchet key and the index of the chain that encrypts next,
// and false where there is none. Whoever hands an envelope out before the session
// after it is stored writes them down, so that no key is used twice; see SkipTo.
func (s *Session) SendChain() (PublicKey, uint32, bool) {
	at := s.index(s.tag)
	if at < 0 {
		return PublicKey{}, 0, false
	}
	send := &s.states[at].send
	return send.ratchet.public, send.chain.index, true
}

// HasSendChain tells whether a state of the session encrypts with this ratchet key.
func (s *Session) HasSendChain(ratchet PublicKey) bool {
	return slices.ContainsFunc(s.states, func(t taggedState) bool { return t.send.ratchet.public == ratchet })
}

// SkipTo returns the session with the chain of that ratchet key moved on to index,
// as if so many messages had been sent that nobody will receive, or s itself if it has
// no such chain or the chain is there already. It answers ErrTooDistantFuture for
// more than MaxGap messages, which the peer would refuse.
func (s *Session) SkipTo(ratchet PublicKey, index uint32) (*Session, error) {
	for i, st := range s.states {
		switch at := st.send.chain.index; {
		case st.send.ratchet.public != ratchet || at >= index:
			continue
		case index-at > MaxGap:
			return nil, ErrTooDistantFuture
		}
		next := s.clone()
		chain := &next.states[i].send.chain
		for chain.index < index {
			if err := chain.advance(); err != nil {
				return nil, err
			}
		}
		return next, nil
	}
	return s, nil
}
