package mlsgroup

// ParentNode is an inner node of the ratchet tree (RFC 9420 section 7.1). It is
// never changed once it is built or read, so trees may share it.
type ParentNode struct {
	EncryptionKey  []byte
	ParentHash     []byte
	UnmergedLeaves []LeafIndex // ascending
}

func (p *ParentNode) append(b []byte) []byte {
	b = appendOpaque(b, p.EncryptionKey)
	b = appendOpaque(b, p.ParentHash)
	b = appendVarint(b, 4*len(p.UnmergedLeaves))
	for _, i := range p.UnmergedLeaves {
		b = appendUint32(b, uint32(i))
	}
	return b
}

func (p *ParentNode) read(r *reader) {
	p.EncryptionKey = r.opaque()
	p.ParentHash = r.opaque()
	r.vector(maxUnmergedLeaves, func(r *reader) {
		i := LeafIndex(r.uint32())
		if n := len(p.UnmergedLeaves); n > 0 && p.UnmergedLeaves[n-1] >= i {
			r.failCheck(CheckUnmergedSorted, "leaf %d after leaf %d", i, p.UnmergedLeaves[n-1])
		}
		p.UnmergedLeaves = append(p.UnmergedLeaves, i)
	})
}
