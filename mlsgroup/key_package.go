package mlsgroup

// KeyPackage is what a client publishes so that others can add it to groups
// (RFC 9420 section 10).
type KeyPackage struct {
	Version     ProtocolVersion
	CipherSuite CipherSuite
	InitKey     []byte
	LeafNode    *LeafNode
	Extensions  Extensions
	Signature   []byte
}

// KeyPackageRef is the hash reference of a KeyPackage (RFC 9420 section 5.2).
type KeyPackageRef []byte

// appendTBS appends all fields but the signature, which are the KeyPackageTBS.
func (kp *KeyPackage) appendTBS(b []byte) []byte {
	b = appendUint16(b, uint16(kp.Version))
	b = appendUint16(b, uint16(kp.CipherSuite))
	b = appendOpaque(b, kp.InitKey)
	b = kp.LeafNode.append(b)
	return kp.Extensions.append(b)
}

func (kp *KeyPackage) append(b []byte) []byte {
	return appendOpaque(kp.appendTBS(b), kp.Signature)
}

func (kp *KeyPackage) read(r *reader) {
	kp.Version = ProtocolVersion(r.uint16())
	kp.CipherSuite = CipherSuite(r.uint16())
	kp.InitKey = r.opaque()
	kp.LeafNode = new(LeafNode)
	kp.LeafNode.read(r)
	kp.Extensions.read(r)
	kp.Signature = r.opaque()
}

// Marshal returns the encoding, without an MLSMessage around it.
func (kp *KeyPackage) Marshal() []byte { return kp.append(nil) }

// ParseKeyPackage reads an encoded KeyPackage without an MLSMessage around it.
// The result keeps no part of b.
func ParseKeyPackage(b []byte) (*KeyPackage, error) { return parseClone(b, (*KeyPackage).read) }
