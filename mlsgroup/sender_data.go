package mlsgroup

import (
	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
)

// Sender data encryption (RFC 9420 section 6.3.2).

// senderData says which key a PrivateMessage is encrypted with.
type senderData struct {
	leaf       LeafIndex
	generation uint32
	reuseGuard [4]byte
}

const senderDataLen = 12

func (d *senderData) append(b []byte) []byte {
	b = appendUint32(b, uint32(d.leaf))
	b = appendUint32(b, d.generation)
	return append(b, d.reuseGuard[:]...)
}

func (d *senderData) read(r *reader) {
	d.leaf = LeafIndex(r.uint32())
	d.generation = r.uint32()
	copy(d.reuseGuard[:], r.take(len(d.reuseGuard)))
}

// senderDataKey derives the key of a message's sender data from a sample of
// its ciphertext. The caller wipes it.
func senderDataKey(s *primitive.Suite, senderDataSecret secret.Bytes, ciphertext []byte) messageKey {
	return newMessageKey(s, senderDataSecret, ciphertext[:min(len(ciphertext), s.HashSize())])
}

// appendSenderDataAAD appends SenderDataAAD, the first three fields of the
// message.
func (m *PrivateMessage) appendSenderDataAAD(b []byte) []byte {
	b = appendOpaque(b, m.GroupID)
	b = appendUint64(b, m.Epoch)
	return append(b, byte(m.ContentType))
}

// openSenderData is the first of the three calls that open a PrivateMessage: it
// finds the leaf and the key to take from the secret tree. Whether the leaf is
// blank (CheckSenderLeaf) is for the group to see. The error is
// primitive.ErrOpen or ErrDecode.
func openSenderData(s *primitive.Suite, senderDataSecret secret.Bytes, m *PrivateMessage) (senderData, error) {
	k := senderDataKey(s, senderDataSecret, m.Ciphertext)
	defer k.wipe()
	var space [96]byte
	b, err := s.OpenAEAD(nil, k.key, k.nonce, m.appendSenderDataAAD(space[:0]), m.EncryptedSenderData)
	if err != nil {
		return senderData{}, err
	}
	var d senderData
	r := reader{b: b}
	d.read(&r)
	return d, r.done()
}

// sealSenderData fills in EncryptedSenderData; everything else in m is set.
func sealSenderData(s *primitive.Suite, senderDataSecret secret.Bytes, m *PrivateMessage, d senderData) error {
	k := senderDataKey(s, senderDataSecret, m.Ciphertext)
	defer k.wipe()
	var space [96]byte
	b, err := s.SealAEAD(nil, k.key, k.nonce, m.appendSenderDataAAD(space[:0]), d.append(make([]byte, 0, senderDataLen)))
	m.EncryptedSenderData = b
	return err
}
