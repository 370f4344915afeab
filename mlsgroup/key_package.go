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
