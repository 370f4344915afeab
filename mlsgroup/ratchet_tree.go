package mlsgroup

// ParentNode is an inner node of the ratchet tree (RFC 9420 section 7.1). It is
// never changed once it is built or read, so trees may share it.
type ParentNode struct {
	EncryptionKey  []byte
	ParentHash     []byte
	UnmergedLeaves []LeafIndex // ascending
}
