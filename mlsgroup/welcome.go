package mlsgroup

import "github.com/conclave-mls/conclave/internal/secret"

// GroupContext is what members agree on in an epoch (RFC 9420 section 8.1).
type GroupContext struct {
	Version                 ProtocolVersion
	CipherSuite             CipherSuite
	GroupID                 []byte
	Epoch                   uint64
	TreeHash                []byte
	ConfirmedTranscriptHash []byte
	Extensions              Extensions
}

// GroupInfo tells outsiders about an epoch (RFC 9420 section 12.4.3).
type GroupInfo struct {
	GroupContext    GroupContext
	Extensions      Extensions
	ConfirmationTag []byte
	Signer          LeafIndex
	Signature       []byte
}

// GroupSecrets is what a Welcome tells one new member (RFC 9420 section
// 12.4.3.1).
type GroupSecrets struct {
	JoinerSecret secret.Bytes
	PathSecret   secret.Bytes // nil where absent
	PSKs         []PreSharedKeyID
}

// EncryptedGroupSecrets is GroupSecrets sealed to one key package.
type EncryptedGroupSecrets struct {
	NewMember             KeyPackageRef
	EncryptedGroupSecrets HPKECiphertext
}

// Welcome brings new members into a group (RFC 9420 section 12.4.3.1).
type Welcome struct {
	CipherSuite        CipherSuite
	Secrets            []EncryptedGroupSecrets
	EncryptedGroupInfo []byte
}

func (gc *GroupContext) append(b []byte) []byte {
	b = appendUint16(b, uint16(gc.Version))
	b = appendUint16(b, uint16(gc.CipherSuite))
	b = appendOpaque(b, gc.GroupID)
	b = appendUint64(b, gc.Epoch)
	b = appendOpaque(b, gc.TreeHash)
	b = appendOpaque(b, gc.ConfirmedTranscriptHash)
	return gc.Extensions.append(b)
}

func (gc *GroupContext) read(r *reader) {
	gc.Version = ProtocolVersion(r.uint16())
	gc.CipherSuite = CipherSuite(r.uint16())
	gc.GroupID = r.groupID()
	gc.Epoch = r.uint64()
	gc.TreeHash = r.opaque()
	gc.ConfirmedTranscriptHash = r.opaque()
	gc.Extensions.read(r)
}

// Marshal returns the encoding.
func (gc *GroupContext) Marshal() []byte { return gc.append(nil) }

// sizeHint is no less than the encoded size.
func (gi *GroupInfo) sizeHint() int {
	gc := &gi.GroupContext
	return 48 + len(gc.GroupID) + len(gc.TreeHash) + len(gc.ConfirmedTranscriptHash) + gc.Extensions.sizeHint() +
		gi.Extensions.sizeHint() + len(gi.ConfirmationTag) + len(gi.Signature)
}

// appendTBS appends all fields but the signature, which are the GroupInfoTBS.
func (gi *GroupInfo) appendTBS(b []byte) []byte {
	b = gi.GroupContext.append(b)
	b = gi.Extensions.append(b)
	b = appendOpaque(b, gi.ConfirmationTag)
	return appendUint32(b, uint32(gi.Signer))
}

func (gi *GroupInfo) append(b []byte) []byte {
	return appendOpaque(gi.appendTBS(b), gi.Signature)
}

func (gi *GroupInfo) read(r *reader) {
	gi.GroupContext.read(r)
	gi.Extensions.read(r)
	gi.ConfirmationTag = r.opaque()
	gi.Signer = LeafIndex(r.uint32())
	gi.Signature = r.opaque()
}

// Marshal returns the encoding, without an MLSMessage around it.
func (gi *GroupInfo) Marshal() []byte { return gi.append(nil) }

// ParseGroupInfo reads an encoded GroupInfo without an MLSMessage around it.
// The result keeps no part of b.
func ParseGroupInfo(b []byte) (*GroupInfo, error) { return parseClone(b, (*GroupInfo).read) }

// sizeHint is no less than the encoded size: with that much room no secret stays
// behind in memory that was too small.
func (gs *GroupSecrets) sizeHint() int {
	n := 16 + len(gs.JoinerSecret) + len(gs.PathSecret)
	for i := range gs.PSKs {
		n += gs.PSKs[i].sizeHint()
	}
	return n
}

func (gs *GroupSecrets) append(b []byte) []byte {
	b = appendOpaque(b, gs.JoinerSecret)
	if gs.PathSecret == nil {
		b = append(b, 0)
	} else {
		b = appendOpaque(append(b, 1), gs.PathSecret)
	}
	return appendVector(b, func(b []byte) []byte {
		for i := range gs.PSKs {
			b = gs.PSKs[i].append(b)
		}
		return b
	})
}

func (gs *GroupSecrets) read(r *reader) {
	gs.JoinerSecret = r.opaque()
	if r.optional() {
		gs.PathSecret = r.opaque()
		if r.err == nil && gs.PathSecret == nil {
			gs.PathSecret = secret.Bytes{}
		}
	}
	r.vector(maxPSKs, func(r *reader) {
		var id PreSharedKeyID
		id.read(r)
		gs.PSKs = append(gs.PSKs, id)
	})
}

func (e *EncryptedGroupSecrets) append(b []byte) []byte {
	return e.EncryptedGroupSecrets.append(appendOpaque(b, e.NewMember))
}

func (e *EncryptedGroupSecrets) read(r *reader) {
	e.NewMember = r.opaque()
	e.EncryptedGroupSecrets.read(r)
}

// sizeHint is no less than the encoded size.
func (w *Welcome) sizeHint() int {
	n := 16 + len(w.EncryptedGroupInfo)
	for i := range w.Secrets {
		e := &w.Secrets[i]
		n += 12 + len(e.NewMember) + len(e.EncryptedGroupSecrets.KEMOutput) + len(e.EncryptedGroupSecrets.Ciphertext)
	}
	return n
}

func (w *Welcome) append(b []byte) []byte {
	b = appendUint16(b, uint16(w.CipherSuite))
	b = appendVector(b, func(b []byte) []byte {
		for i := range w.Secrets {
			b = w.Secrets[i].append(b)
		}
		return b
	})
	return appendOpaque(b, w.EncryptedGroupInfo)
}

func (w *Welcome) read(r *reader) {
	w.CipherSuite = CipherSuite(r.uint16())
	r.vector(maxWelcomeSecrets, func(r *reader) {
		var e EncryptedGroupSecrets
		e.read(r)
		w.Secrets = append(w.Secrets, e)
	})
	w.EncryptedGroupInfo = r.opaque()
}

// Marshal returns the encoding, without an MLSMessage around it.
func (w *Welcome) Marshal() []byte { return w.append(nil) }

// ParseWelcome reads an encoded Welcome without an MLSMessage around it. The
// result keeps no part of b.
func ParseWelcome(b []byte) (*Welcome, error) { return parseClone(b, (*Welcome).read) }
