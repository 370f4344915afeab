package store

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"io"

	"github.com/conclave-mls/conclave/internal/secret"
)

// Prefixes of the whole store.
const (
	tableClientIndex = 0x01
	tableClient      = 0x02
	tableKeypair     = 0x03
)

// Tables of a client.
const (
	tableHead         = 0x01
	tablePointer      = 0x10
	tableConversation = 0x11
	tableCredential   = 0x20
	tableUse          = 0x21
	tableKeyPackage   = 0x22
	tableData         = 0x23
	tablePSK          = 0x24
	tablePKI          = 0x30
	tableProteus      = 0x31
	tableEnrollment   = 0x32
)

// HashSize is the length of a hashed id in a key, in bytes.
const HashSize = 16

// ConversationKey stands for a conversation id in keys.
type ConversationKey [HashSize]byte

// Keys hashes the ids that appear in keys. The hash key is drawn when a store is
// created, is kept in its key ring and never changes, so the hashes of two stores
// have nothing in common. A Keys may be copied and outlives its store.
type Keys struct{ hash secret.Bytes }

// Keys returns the hashing of this store.
func (s *Store) Keys() Keys { return s.keys }

// ClientIndex appends the key of the record that leads from an MLS client id to
// the instance.
func (k Keys) ClientIndex(dst, clientID []byte) []byte {
	h := k.sum("client", 0, clientID)
	return append(append(dst, tableClientIndex), h[:]...)
}

// ClientIndexRange bounds all records of ClientIndex.
func ClientIndexRange() Range {
	return Range{Low: []byte{tableClientIndex}, High: []byte{tableClientIndex + 1}}
}

// Keypair appends the key of a signature key pair that no client has yet, under its
// random id.
func Keypair(dst, id []byte) []byte { return append(append(dst, tableKeypair), id...) }

// Conversation hashes a conversation id for the keys of one client. Two clients
// in one conversation have different hashes.
func (k Keys) Conversation(c Client, conversationID []byte) ConversationKey {
	return k.sum("conversation", c, conversationID)
}

// Session hashes a Proteus session's id for the keys of one client.
func (k Keys) Session(c Client, sessionID []byte) [HashSize]byte {
	return k.sum("session", c, sessionID)
}

func (k Keys) sum(label string, c Client, id []byte) (out [HashSize]byte) {
	m := hmac.New(sha256.New, k.hash)
	var head [32]byte
	m.Write(append(binary.BigEndian.AppendUint64(append(append(head[:0], label...), 0), uint64(c)), id...))
	copy(out[:], m.Sum(head[:0]))
	return out
}

// Client is a client instance: a random number that stands for one client in
// every key. Its methods append a key, or the prefix of a group of keys, to dst.
type Client uint64

// NewClient draws an instance from rand.
func NewClient(rand io.Reader) (Client, error) {
	var b [8]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return 0, err
	}
	return Client(binary.BigEndian.Uint64(b[:])), nil
}

// Prefix appends the prefix of all that belongs to the client.
func (c Client) Prefix(dst []byte) []byte {
	return binary.BigEndian.AppendUint64(append(dst, tableClient), uint64(c))
}

func (c Client) table(dst []byte, table byte, suffix []byte) []byte {
	return append(append(c.Prefix(dst), table), suffix...)
}

// Head appends the key of a record of the client itself.
func (c Client) Head(dst, suffix []byte) []byte { return c.table(dst, tableHead, suffix) }

// Pointers appends the prefix of all pointers: a range over it lists the
// conversations.
func (c Client) Pointers(dst []byte) []byte { return c.table(dst, tablePointer, nil) }

// Pointer appends the key of the record that names the current incarnation of a
// conversation; its value holds the conversation id too.
func (c Client) Pointer(dst []byte, conv ConversationKey) []byte {
	return append(c.Pointers(dst), conv[:]...)
}

// Conversation appends the prefix of the records of one incarnation of a
// conversation, behind which the caller puts its record suffix.
func (c Client) Conversation(dst []byte, conv ConversationKey, incarnation uint64) []byte {
	return binary.BigEndian.AppendUint64(c.Incarnations(dst, conv), incarnation)
}

// Incarnations appends the prefix of all incarnations of a conversation.
func (c Client) Incarnations(dst []byte, conv ConversationKey) []byte {
	return append(c.table(dst, tableConversation, nil), conv[:]...)
}

// Credential appends the key of a credential record; nil is the prefix of all.
func (c Client) Credential(dst, suffix []byte) []byte { return c.table(dst, tableCredential, suffix) }

// Uses appends the prefix of the use records of one credential, whose name may
// have up to 255 bytes.
func (c Client) Uses(dst, credential []byte) []byte {
	dst = append(c.table(dst, tableUse, nil), byte(min(len(credential), 255)))
	return append(dst, credential[:min(len(credential), 255)]...)
}

// Use appends the key of the record that says that a conversation uses a
// credential.
func (c Client) Use(dst, credential []byte, conv ConversationKey) []byte {
	return append(c.Uses(dst, credential), conv[:]...)
}

// KeyPackage appends the key of a key package record; nil is the prefix of all.
func (c Client) KeyPackage(dst, suffix []byte) []byte { return c.table(dst, tableKeyPackage, suffix) }

// Data appends the key of a record of the application; nil is the prefix of all.
func (c Client) Data(dst, suffix []byte) []byte { return c.table(dst, tableData, suffix) }

// PSK appends the key of an external pre-shared key; nil is the prefix of all.
func (c Client) PSK(dst, suffix []byte) []byte { return c.table(dst, tablePSK, suffix) }

// PKI appends the key of a record of the PKI; nil is the prefix of all.
func (c Client) PKI(dst, suffix []byte) []byte { return c.table(dst, tablePKI, suffix) }

// Proteus appends the key of a record of Proteus; nil is the prefix of all.
func (c Client) Proteus(dst, suffix []byte) []byte { return c.table(dst, tableProteus, suffix) }

// Enrollment appends the key of a record of an enrollment; nil is the prefix of
// all.
func (c Client) Enrollment(dst, suffix []byte) []byte { return c.table(dst, tableEnrollment, suffix) }

// PrefixEnd appends to dst the smallest key behind all keys that begin with
// prefix. For a prefix of 0xff bytes only there is none: it returns nil, which a
// Range takes as the end of the store. The keys of this package have one.
func PrefixEnd(dst, prefix []byte) []byte {
	n := len(prefix)
	for n > 0 && prefix[n-1] == 0xff {
		n--
	}
	if n == 0 {
		return nil
	}
	dst = append(dst, prefix[:n]...)
	dst[len(dst)-1]++
	return dst
}

// PrefixRange is the range of all keys that begin with prefix, which it keeps.
func PrefixRange(prefix []byte) Range { return Range{Low: prefix, High: PrefixEnd(nil, prefix)} }
