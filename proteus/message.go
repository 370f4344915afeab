package proteus

// Types of messages.
const (
	typeCipher = 1
	typePreKey = 2
)

// Tag names a state of a session. Both sides know it by the same tag.
type Tag [16]byte

// Message is a received envelope, decoded and not yet authenticated. It shares memory
// with the bytes it was parsed from.
type Message struct {
	mac    [32]byte
	signed []byte // what the MAC covers, as received
	begins *firstMessage

	tag        Tag
	counter    uint32
	ratchet    PublicKey // not checked yet
	ciphertext []byte
}

// firstMessage is what a message has in addition while its sender does not know yet
// that the session has been set up on the other side.
type firstMessage struct {
	preKey   uint16
	base     PublicKey
	identity PublicKey
}

// ParseMessage decodes an envelope. It answers ErrDecode, ErrTruncated, ErrLength,
// ErrMessageType or ErrKey. Bytes after the end are tolerated.
func ParseMessage(envelope []byte) (*Message, error) {
	r := reader{envelope}
	m := new(Message)
	err := r.object(3, 0, func(field uint8) (err error) {
		switch field {
		case 0:
			return r.version()
		case 1:
			return r.wrapped(m.mac[:])
		}
		m.signed, err = r.bytes()
		return err
	})
	if err == nil {
		err = m.parseBody()
	}
	if err != nil {
		return nil, within("message", err)
	}
	return m, nil
}

func (m *Message) parseBody() error {
	r := reader{m.signed}
	kind, err := r.uint8()
	if err != nil {
		return err
	}
	switch kind {
	case typeCipher:
		return m.parseCipher(&r)
	case typePreKey:
		return m.parsePreKey(&r)
	}
	return ErrMessageType
}

func (m *Message) parsePreKey(r *reader) error {
	m.begins = new(firstMessage)
	return r.object(4, 0, func(field uint8) (err error) {
		switch field {
		case 0:
			m.begins.preKey, err = r.uint16()
		case 1:
			m.begins.base, err = r.checkedKey()
		case 2:
			if m.begins.identity, err = r.identityKey(); err == nil {
				err = m.begins.identity.check()
			}
		case 3:
			err = m.parseCipher(r)
		}
		return err
	})
}

func (m *Message) parseCipher(r *reader) error {
	return r.object(5, 0, func(field uint8) (err error) {
		switch field {
		case 0:
			m.tag, err = r.tag()
		case 1:
			m.counter, err = r.uint32()
		case 2:
			_, err = r.uint32() // the length of the sender's chain before: nobody uses it
		case 3:
			m.ratchet, err = r.publicKey()
		case 4:
			m.ciphertext, err = r.bytes()
		}
		return err
	})
}

func (r *reader) tag() (t Tag, err error) {
	s, err := r.bytes()
	if err == nil && len(s) != len(t) {
		err = ErrLength
	}
	copy(t[:], s)
	return t, err
}

// PreKeyID returns the id of the prekey that the message was made with, and false if
// it cannot begin a session.
func (m *Message) PreKeyID() (uint16, bool) {
	if m.begins == nil {
		return 0, false
	}
	return m.begins.preKey, true
}

// Identity returns the identity a first message claims to be from, which is
// authenticated only when it has been decrypted, and false for other messages.
func (m *Message) Identity() (PublicKey, bool) {
	if m.begins == nil {
		return PublicKey{}, false
	}
	return m.begins.identity, true
}

// sealedSize bounds what an envelope has beside its ciphertext.
const sealedSize = 256

// seal encrypts a message in a state and makes its envelope.
func (s *Session) seal(st *state, m *messageKeys, plaintext []byte) []byte {
	body := make([]byte, 0, len(plaintext)+sealedSize)
	if p := s.pending; p != nil {
		body = append(body, typePreKey)
		body = appendUint(append(appendMap(body, 4), 0), p.id)
		body = p.base.append(append(body, 1))
		body = appendIdentityKey(append(body, 2), s.local.PublicKey())
		body = append(body, 3)
	} else {
		body = append(body, typeCipher)
	}
	body = appendBytes(append(appendMap(body, 5), 0), s.tag[:])
	body = appendUint(append(body, 1), m.counter)
	body = appendUint(append(body, 2), st.previous)
	body = st.send.ratchet.public.append(append(body, 3))
	body = appendHead(append(body, 4), majorBytes, uint64(len(plaintext)))
	start := len(body)
	body = append(body, plaintext...)
	m.crypt(body[start:], plaintext)

	var tag [32]byte
	mac(&tag, &m.mac, body)
	b := append(appendMap(make([]byte, 0, len(body)+64), 3), 0)
	b = appendUint(b, uint8(version))
	b = appendWrapped(append(b, 1), tag[:])
	return appendBytes(append(b, 2), body)
}
