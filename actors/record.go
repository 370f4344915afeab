package actors

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/conclave-mls/conclave/internal/primitive"
	"github.com/conclave-mls/conclave/internal/secret"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/store"
)

// The records that actors write themselves; those of a group are mlsgroup's. Each
// begins with a format version. Byte strings carry their length as a varint.
//
//	client index   instance:8 client id
//	credential     suite:2 created:8 credential private public
//	key package    credential:32 key package, init private, leaf private
//	psk            id psk
//	data           blob
//	rotation       credential:32 key packages:2 published:1 count:1, suites:2 each
//	pki            see package pki
//	pointer        incarnation:8 conversation id, and the parent's where there is one
//	inflight       see inflight.go
//	early, seen    see held.go
const recordVersion = 1

// Suffixes in the table of a client's own records.
const (
	headInflight = 0x02
	headRotation = 0x03
)

// writer builds a record.
type writer struct{ b []byte }

func newWriter(size int) *writer {
	return &writer{append(make([]byte, 0, size+16), recordVersion)}
}

func (w *writer) uint8(v uint8)   { w.b = append(w.b, v) }
func (w *writer) uint16(v uint16) { w.b = binary.BigEndian.AppendUint16(w.b, v) }
func (w *writer) uint64(v uint64) { w.b = binary.BigEndian.AppendUint64(w.b, v) }
func (w *writer) fixed(v []byte)  { w.b = append(w.b, v...) }
func (w *writer) bytes(v []byte) {
	w.b = append(binary.AppendUvarint(w.b, uint64(len(v))), v...)
}

// bytesOf is bytes of what f appends, which is moved by the few bytes that its length
// takes.
func (w *writer) bytesOf(f func(b []byte) []byte) {
	at := len(w.b)
	w.b = f(w.b)
	var length [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(length[:], uint64(len(w.b)-at))
	w.b = slices.Insert(w.b, at, length[:n]...)
}

// reader takes a record apart. After the first mistake it reads zeros; end tells.
type recordReader struct {
	b   []byte
	bad bool
}

func readRecord(b []byte) *recordReader {
	r := &recordReader{b: b}
	if r.uint8() != recordVersion {
		r.bad = true
	}
	return r
}

func (r *recordReader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *recordReader) uint8() uint8 {
	if v := r.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *recordReader) uint16() uint16 {
	if v := r.take(2); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

func (r *recordReader) uint64() uint64 {
	if v := r.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

// bytes returns memory of the record.
func (r *recordReader) bytes() []byte {
	n, k := binary.Uvarint(r.b)
	if r.bad || k <= 0 {
		r.bad = true
		return nil
	}
	r.b = r.b[k:]
	return r.take(n)
}

// end tells whether all was read, and nothing was missing.
func (r *recordReader) end(what string) error {
	if r.bad || len(r.b) != 0 {
		return fmt.Errorf("%w: %s", messages.ErrCorrupt, what)
	}
	return nil
}

// credentialRecord is a credential with its signature key. An application may bring the
// private key with a public half behind it, which is neither stored nor signed with.
type credentialRecord struct {
	entry   messages.CredentialEntry
	private secret.Bytes
}

// putSecret puts a record that holds keys and wipes its encoding: the change set has a
// copy, which it wipes itself.
func putSecret(changes *store.ChangeSet, key, encoded []byte) {
	changes.Put(key, encoded)
	clear(encoded)
}

func (c *credentialRecord) marshal() []byte {
	credential, private := c.entry.Credential.Marshal(), c.privateHalf()
	w := newWriter(len(credential) + len(private) + len(c.entry.SignatureKey) + 16)
	w.uint16(uint16(c.entry.CipherSuite))
	w.uint64(uint64(c.entry.CreatedAt.UnixNano()))
	w.bytes(credential)
	w.bytes(private)
	w.bytes(c.entry.SignatureKey)
	return w.b
}

func (c *credentialRecord) privateHalf() secret.Bytes {
	suite, ok := primitive.Lookup(uint16(c.entry.CipherSuite))
	if !ok {
		return c.private
	}
	return suite.PrivateHalf(c.private)
}

func parseCredentialRecord(b []byte) (*credentialRecord, error) {
	r := readRecord(b)
	c := new(credentialRecord)
	c.entry.CipherSuite = mlsgroup.CipherSuite(r.uint16())
	c.entry.CreatedAt = time.Unix(0, int64(r.uint64()))
	credential := r.bytes()
	c.private = secret.Bytes(r.bytes()).Clone()
	c.entry.SignatureKey = bytes.Clone(r.bytes())
	if err := r.end("credential"); err != nil {
		return nil, err
	}
	parsed, err := mlsgroup.ParseCredential(credential)
	if err != nil {
		return nil, fmt.Errorf("%w: credential: %v", messages.ErrCorrupt, err)
	}
	c.entry.Credential = *parsed
	c.entry.Ref = refOf(c.entry.SignatureKey)
	return c, nil
}

func refOf(signatureKey []byte) messages.CredentialRef { return sha256.Sum256(signatureKey) }

// unixTime returns the time of seconds since 1970, at most as late as one can be.
func unixTime(seconds uint64) time.Time { return time.Unix(int64(min(seconds, 1<<40)), 0) }

// signer returns the credential as the signer of a suite with its signature scheme.
func (c *credentialRecord) signer(cs mlsgroup.CipherSuite) *mlsgroup.Signer {
	return &mlsgroup.Signer{
		CipherSuite: cs,
		Credential:  c.entry.Credential,
		Private:     c.privateHalf(),
		Public:      c.entry.SignatureKey,
	}
}

// keyPackageRecord is a key package with its private keys.
type keyPackageRecord struct {
	ref         mlsgroup.KeyPackageRef
	credential  messages.CredentialRef
	keyPackage  []byte
	parsed      *mlsgroup.KeyPackage
	initPrivate secret.Bytes
	leafPrivate secret.Bytes
}

func (k *keyPackageRecord) marshal() []byte {
	w := newWriter(len(k.keyPackage) + len(k.initPrivate) + len(k.leafPrivate) + 48)
	w.fixed(k.credential[:])
	w.bytes(k.keyPackage)
	w.bytes(k.initPrivate)
	w.bytes(k.leafPrivate)
	return w.b
}

func parseKeyPackageRecord(b []byte) (*keyPackageRecord, error) {
	r := readRecord(b)
	k := new(keyPackageRecord)
	copy(k.credential[:], r.take(uint64(len(k.credential))))
	k.keyPackage = bytes.Clone(r.bytes())
	k.initPrivate = secret.Bytes(r.bytes()).Clone()
	k.leafPrivate = secret.Bytes(r.bytes()).Clone()
	err := r.end("key package")
	if err == nil {
		k.parsed, err = mlsgroup.ParseKeyPackage(k.keyPackage)
	}
	if err == nil {
		k.ref, err = k.parsed.Ref()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: key package: %v", messages.ErrCorrupt, err)
	}
	return k, nil
}

func (k *keyPackageRecord) entry() messages.KeyPackageEntry {
	e := messages.KeyPackageEntry{
		Ref: k.ref, CipherSuite: k.parsed.CipherSuite, KeyPackage: k.keyPackage, Credential: k.credential,
	}
	l := k.parsed.LeafNode.Lifetime
	e.NotBefore, e.NotAfter = unixTime(l.NotBefore), unixTime(l.NotAfter)
	return e
}

// pskValue is an external pre-shared key.
type pskValue struct {
	id  []byte
	psk secret.Bytes
}

func (p *pskValue) marshal() []byte {
	w := newWriter(len(p.id) + len(p.psk))
	w.bytes(p.id)
	w.bytes(p.psk)
	return w.b
}

func parsePSKRecord(b []byte) (*pskValue, error) {
	r := readRecord(b)
	p := &pskValue{id: bytes.Clone(r.bytes()), psk: secret.Bytes(r.bytes()).Clone()}
	return p, r.end("pre-shared key")
}

// Keys of a client's records.

func (c *client) credentialKey(ref messages.CredentialRef) []byte {
	return c.keys.Credential(nil, ref[:])
}

func (c *client) keyPackageKey(ref mlsgroup.KeyPackageRef) []byte { return c.keys.KeyPackage(nil, ref) }

func (c *client) pskKey(id []byte) []byte {
	sum := sha256.Sum256(id)
	return c.keys.PSK(nil, sum[:])
}

func (c *client) dataKey() []byte { return c.keys.Data(nil, []byte{0}) }

func (c *client) inflightKey(conv store.ConversationKey, hash [32]byte) []byte {
	return append(c.inflightPrefix(conv), hash[:]...)
}

func (c *client) inflightPrefix(conv store.ConversationKey) []byte {
	return append(c.keys.Head(nil, []byte{headInflight}), conv[:]...)
}

func (c *client) allInflight() store.Range {
	return store.PrefixRange(c.keys.Head(nil, []byte{headInflight}))
}

// pointer names the incarnation of a conversation that is current.
type pointer struct {
	incarnation uint64
	id          messages.ConversationID
	parent      messages.ConversationID // empty: none
}

func (p pointer) marshal() []byte {
	w := newWriter(8 + len(p.id) + len(p.parent))
	w.uint64(p.incarnation)
	w.bytes([]byte(p.id))
	if p.parent != "" {
		w.bytes([]byte(p.parent))
	}
	return w.b
}

func parsePointer(b []byte) (pointer, error) {
	r := readRecord(b)
	p := pointer{incarnation: r.uint64(), id: messages.ConversationID(r.bytes())}
	if len(r.b) > 0 {
		p.parent = messages.ConversationID(r.bytes())
	}
	return p, r.end("conversation pointer")
}
