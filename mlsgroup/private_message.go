package mlsgroup

import (
	"crypto/subtle"
	"slices"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
)

// Private messages (RFC 9420 section 6.3). One is opened in three pure calls:
// openSenderData says which key, secretTree.take gives it, decryptPrivateMessage
// does the rest but for the signature and may run anywhere, beside others of its
// kind.

// contentAAD returns PrivateContentAAD, the message's readable fields, and the
// nonce with the reuse guard mixed in, in one piece of memory. The key's own
// nonce stays as it is: it is needed again if the step is dropped.
func (m *PrivateMessage) contentAAD(k *messageKey, guard [4]byte) (aad []byte, nonce secret.Bytes) {
	b := make([]byte, 0, len(k.nonce)+len(m.GroupID)+len(m.AuthenticatedData)+24)
	b = append(b, k.nonce...)
	subtle.XORBytes(b, b, guard[:])
	b = appendOpaque(m.appendSenderDataAAD(b), m.AuthenticatedData)
	return b[len(k.nonce):], secret.Bytes(b[:len(k.nonce)])
}

// checkMessageSize bounds a message that is to be sent by what receivers read.
// It is far below what the AEADs allow for one key (RFC 9420 section 6.3.1),
// and every key encrypts one message.
func checkMessageSize(lengths ...int) error {
	n := 1 << 10 // room for headers, sender data and tag
	for _, l := range lengths {
		n += l
		if l > maxMessageLen || n > maxMessageLen {
			return CheckMessageSize.Errorf("more than %d bytes", maxMessageLen)
		}
	}
	return nil
}

// sealPrivateMessage encrypts content that a member has signed, and returns the
// encoded message. padTo makes the ciphertext, tag included, a multiple of so many
// bytes; 0 and 1 pad nothing. The guard is four fresh random bytes. The caller owns
// the key and makes sure, before the message leaves, that no later state can use its
// generation again.
func sealPrivateMessage(s *primitive.Suite, ac *AuthenticatedContent, key messageKey, guard [4]byte, senderDataSecret secret.Bytes, padTo int) ([]byte, error) {
	c := &ac.Content
	if c.Sender.Type != SenderTypeMember {
		return nil, CheckSenderLeaf.Errorf("private message from sender type %d", c.Sender.Type)
	}
	if err := checkMessageSize(len(c.Application), len(c.AuthenticatedData), len(c.GroupID), padTo); err != nil {
		return nil, err
	}
	m := &PrivateMessage{
		GroupID:           c.GroupID,
		Epoch:             c.Epoch,
		ContentType:       c.ContentType,
		AuthenticatedData: c.AuthenticatedData,
	}
	// The whole message is made in one piece of memory, where its content was signed:
	// the plaintext is encrypted in place, and what stands before it is written then.
	// Only the length of its length is not known yet.
	const prefixLen, maxVarint = 2 + 2, 4
	at := prefixLen + m.headerLen(s) + maxVarint
	n := at + c.sizeHint() - len(c.GroupID) - len(c.AuthenticatedData) + len(ac.Auth.Signature) + len(ac.Auth.ConfirmationTag) + s.TagSize()
	if padTo > 1 {
		n += padTo - (n-at)%padTo
	}
	b := ac.space
	if ac.space = nil; cap(b) < n {
		b = make([]byte, 0, n)
	}
	b = ac.Auth.append(c.appendBody(b[:at]), c.ContentType)
	if padTo > 1 {
		if over := (len(b) - at + s.TagSize()) % padTo; over != 0 {
			b = append(b, make([]byte, padTo-over)...)
		}
	}
	b = slices.Grow(b, s.TagSize())
	plain := b[at:]
	if err := checkMessageSize(len(plain), len(c.AuthenticatedData), len(c.GroupID)); err != nil {
		return nil, err
	}
	aad, nonce := m.contentAAD(&key, guard)
	defer nonce.Wipe()
	var err error
	if m.Ciphertext, err = s.SealAEAD(plain[:0], key.key, nonce, aad, plain); err != nil {
		return nil, err
	}
	d := senderData{leaf: c.Sender.LeafIndex, generation: key.generation, reuseGuard: guard}
	if err := sealSenderData(s, senderDataSecret, m, d); err != nil {
		return nil, err
	}
	end := at + len(m.Ciphertext)
	b = b[maxVarint-varintLen(len(m.Ciphertext)) : end : end]
	header := appendUint16(appendUint16(b[:0], uint16(ProtocolVersionMLS10)), uint16(WireFormatPrivateMessage))
	appendVarint(m.appendHeader(header), len(m.Ciphertext))
	return b, nil
}

// decryptPrivateMessage opens the ciphertext and reads its content, whose
// signature is not verified yet. Errors: primitive.ErrOpen, ErrDecode,
// CheckPadding. The plaintext takes the place of the ciphertext, which is gone also
// if that fails, and the content shares memory with m's readable fields.
func decryptPrivateMessage(s *primitive.Suite, m *PrivateMessage, d senderData, key messageKey) (*AuthenticatedContent, error) {
	aad, nonce := m.contentAAD(&key, d.reuseGuard)
	defer nonce.Wipe()
	plain, err := s.OpenAEAD(m.Ciphertext[:0], key.key, nonce, aad, m.Ciphertext)
	m.Ciphertext = nil
	if err != nil {
		return nil, err
	}
	ac := &AuthenticatedContent{
		WireFormat: WireFormatPrivateMessage,
		Content: FramedContent{
			GroupID:           m.GroupID,
			Epoch:             m.Epoch,
			Sender:            Sender{Type: SenderTypeMember, LeafIndex: d.leaf},
			AuthenticatedData: m.AuthenticatedData,
			ContentType:       m.ContentType,
		},
	}
	r := reader{b: plain}
	ac.Content.readBody(&r)
	ac.Auth.read(&r, m.ContentType)
	if r.err != nil {
		return nil, r.err
	}
	var set byte
	for _, b := range r.b {
		set |= b
	}
	if set != 0 {
		return nil, CheckPadding.Errorf("%d bytes, not all zero", len(r.b))
	}
	return ac, nil
}
