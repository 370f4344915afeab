package mlsgroup

import "bytes"

// ProtocolVersion is a version of MLS (RFC 9420 section 6).
type ProtocolVersion uint16

// ProtocolVersionMLS10 is RFC 9420.
const ProtocolVersionMLS10 ProtocolVersion = 1

// LeafNodeSource says where a LeafNode came from (RFC 9420 section 7.2).
type LeafNodeSource uint8

// Sources of a leaf node.
const (
	LeafNodeSourceKeyPackage LeafNodeSource = 1
	LeafNodeSourceUpdate     LeafNodeSource = 2
	LeafNodeSourceCommit     LeafNodeSource = 3
)

// Capabilities is what a client supports (RFC 9420 section 7.2). Unknown
// values (GREASE among them, section 13.5) are kept and ignored.
type Capabilities struct {
	Versions     []ProtocolVersion
	CipherSuites []CipherSuite
	Extensions   []ExtensionType
	Proposals    []ProposalType
	Credentials  []CredentialType
}

// Lifetime bounds the use of a leaf from a key package, in seconds of Unix
// time, both ends included.
type Lifetime struct {
	NotBefore uint64
	NotAfter  uint64
}

// LeafNode is a leaf of the ratchet tree (RFC 9420 section 7.2). It is never
// changed once it is built or read, so trees may share it.
type LeafNode struct {
	EncryptionKey []byte
	SignatureKey  []byte
	Credential    Credential
	Capabilities  Capabilities
	Source        LeafNodeSource
	Lifetime      Lifetime // Source is LeafNodeSourceKeyPackage
	ParentHash    []byte   // Source is LeafNodeSourceCommit
	Extensions    Extensions
	Signature     []byte
}

func (c *Capabilities) append(b []byte) []byte {
	b = appendUint16s(b, c.Versions)
	b = appendUint16s(b, c.CipherSuites)
	b = appendUint16s(b, c.Extensions)
	b = appendUint16s(b, c.Proposals)
	return appendUint16s(b, c.Credentials)
}

// lastCapabilities is Capabilities and the encoding that they were read from.
type lastCapabilities struct {
	encoded []byte
	value   Capabilities
}

// read takes the lists of the last capabilities where the encoding is the same:
// nobody changes them.
func (c *Capabilities) read(r *reader) {
	if r.last == nil {
		c.readLists(r)
		return
	}
	if n := len(r.last.encoded); n > 0 && bytes.HasPrefix(r.b, r.last.encoded) {
		*c, r.b = r.last.value, r.b[n:]
		return
	}
	before := r.b
	if c.readLists(r); r.err == nil {
		*r.last = lastCapabilities{before[:len(before)-len(r.b)], *c}
	}
}

func (c *Capabilities) readLists(r *reader) {
	c.Versions = readUint16s[ProtocolVersion](r, maxCapabilityValues)
	c.CipherSuites = readUint16s[CipherSuite](r, maxCapabilityValues)
	c.Extensions = readUint16s[ExtensionType](r, maxCapabilityValues)
	c.Proposals = readUint16s[ProposalType](r, maxCapabilityValues)
	c.Credentials = readUint16s[CredentialType](r, maxCapabilityValues)
}

// sizeHint is no less than the encoded size.
func (l *LeafNode) sizeHint() int {
	c := &l.Capabilities
	values := len(c.Versions) + len(c.CipherSuites) + len(c.Extensions) + len(c.Proposals) + len(c.Credentials)
	const lengthsAndLifetime = 56
	return lengthsAndLifetime + len(l.EncryptionKey) + len(l.SignatureKey) + l.Credential.sizeHint() + 2*values +
		len(l.ParentHash) + l.Extensions.sizeHint() + len(l.Signature)
}

// appendUnsigned appends all fields but the signature.
func (l *LeafNode) appendUnsigned(b []byte) []byte {
	b = appendOpaque(b, l.EncryptionKey)
	b = appendOpaque(b, l.SignatureKey)
	b = l.Credential.append(b)
	b = l.Capabilities.append(b)
	b = append(b, byte(l.Source))
	switch l.Source {
	case LeafNodeSourceKeyPackage:
		b = appendUint64(b, l.Lifetime.NotBefore)
		b = appendUint64(b, l.Lifetime.NotAfter)
	case LeafNodeSourceCommit:
		b = appendOpaque(b, l.ParentHash)
	}
	return l.Extensions.append(b)
}

// appendTBS appends the LeafNodeTBS. Group id and leaf index are part of it
// unless the leaf is from a key package.
func (l *LeafNode) appendTBS(b, groupID []byte, i LeafIndex) []byte {
	b = l.appendUnsigned(b)
	if l.Source != LeafNodeSourceKeyPackage {
		b = appendOpaque(b, groupID)
		b = appendUint32(b, uint32(i))
	}
	return b
}

func (l *LeafNode) append(b []byte) []byte {
	return appendOpaque(l.appendUnsigned(b), l.Signature)
}

func (l *LeafNode) read(r *reader) {
	l.EncryptionKey = r.opaque()
	l.SignatureKey = r.opaque()
	l.Credential.read(r)
	l.Capabilities.read(r)
	l.Source = LeafNodeSource(r.uint8())
	switch l.Source {
	case LeafNodeSourceKeyPackage:
		l.Lifetime.NotBefore = r.uint64()
		l.Lifetime.NotAfter = r.uint64()
	case LeafNodeSourceUpdate:
	case LeafNodeSourceCommit:
		l.ParentHash = r.opaque()
	default:
		r.fail("leaf node source %d", l.Source)
	}
	l.Extensions.read(r)
	l.Signature = r.opaque()
}

// Marshal returns the encoding.
func (l *LeafNode) Marshal() []byte { return l.append(nil) }

// ParseLeafNode reads an encoded LeafNode. The result keeps no part of b.
func ParseLeafNode(b []byte) (*LeafNode, error) { return parseClone(b, (*LeafNode).read) }

// detach returns a copy of the leaf in memory of its own, so that a tree does
// not keep the message that brought the leaf. Of many leaves, all with the same
// last, those share their capabilities that have the same; last may be nil.
func (l *LeafNode) detach(last *lastCapabilities) *LeafNode {
	out := new(LeafNode)
	r := reader{b: l.append(make([]byte, 0, l.sizeHint())), last: last}
	out.read(&r)
	return out
}
