package mlsgroup

import (
	"fmt"

	"github.com/conclave-mls/conclave/internal/secret"
)

// membership says what a member can still do in a group.
type membership uint8

const (
	membershipActive  membership = 1
	membershipRemoved membership = 2 // by a commit: nothing is left to do
	membershipEnded   membership = 3 // by a committed ReInit: nothing is sent any more
)

// head is the part of a group that is always in memory: what an epoch is, but
// for the tree, the private keys and the message keys. It never changes.
type head struct {
	profile        Profile
	receive        ReceiveConfig // with defaults filled in
	basicKeyChange bool
	// privateHandshakes: see GroupOptions.PrivateHandshakes.
	privateHandshakes bool
	membership        membership

	context        GroupContext
	encodedContext []byte // of context
	own            LeafIndex
	signatureKey   []byte // of the own leaf
	leafCount      LeafCount
	members        uint32

	secrets         *epochSecrets // encryption is nil: the secret tree has it
	confirmationTag []byte
	interim         []byte // interim transcript hash

	// Past epochs from oldestPast on can be read, resumption PSKs from
	// oldestResumption on are kept; both up to but without the current epoch.
	oldestPast       uint64
	oldestResumption uint64

	reInit *ReInit // membershipEnded
}

// headVersion is the first byte of a head record.
const headVersion = 1

// head flags.
const (
	headBasicKeyChange    = 1
	headPrivateHandshakes = 2
)

// record returns the head record.
func (h *head) record() secret.Bytes {
	b := make([]byte, 0, 1024)
	b = append(b, headVersion, byte(h.profile), byte(h.membership))
	var flags byte
	if h.basicKeyChange {
		flags |= headBasicKeyChange
	}
	if h.privateHandshakes {
		flags |= headPrivateHandshakes
	}
	b = append(b, flags)
	b = appendUint32(b, h.receive.OutOfOrder)
	b = appendUint32(b, h.receive.MaxForward)
	b = appendUint32(b, h.receive.PastEpochs)
	b = appendOpaque(b, h.encodedContext)
	b = appendUint32(b, uint32(h.own))
	b = appendOpaque(b, h.signatureKey)
	b = appendUint32(b, uint32(h.leafCount))
	b = appendUint32(b, h.members)
	for _, sec := range h.secrets.fields() {
		b = appendOpaque(b, sec)
	}
	b = appendOpaque(b, h.confirmationTag)
	b = appendOpaque(b, h.interim)
	b = appendUint64(b, h.oldestPast)
	b = appendUint64(b, h.oldestResumption)
	if h.reInit == nil {
		return append(b, 0)
	}
	return h.reInit.append(append(b, 1))
}

// parseHead reads a head record, of which it keeps no part.
func parseHead(record []byte) (*head, error) {
	h, err := parseClone(record, (*head).read)
	if err != nil {
		return nil, recordError("head: %v", err)
	}
	return h, nil
}

func (h *head) read(r *reader) {
	if v := r.uint8(); r.err == nil && v != headVersion {
		r.fail("version %d", v)
	}
	h.profile = Profile(r.uint8())
	h.membership = membership(r.uint8())
	flags := r.uint8()
	if flags&^(headBasicKeyChange|headPrivateHandshakes) != 0 {
		r.fail("flags %x", flags)
	}
	h.basicKeyChange = flags&headBasicKeyChange != 0
	h.privateHandshakes = flags&headPrivateHandshakes != 0
	h.receive.OutOfOrder = r.uint32()
	h.receive.MaxForward = r.uint32()
	h.receive.PastEpochs = r.uint32()
	h.encodedContext = r.opaque()
	h.own = LeafIndex(r.uint32())
	h.signatureKey = r.opaque()
	h.leafCount = LeafCount(r.uint32())
	h.members = r.uint32()
	h.secrets = new(epochSecrets)
	for _, sec := range h.secrets.places() {
		if *sec = r.opaque(); len(*sec) == 0 {
			*sec = nil
		}
	}
	h.confirmationTag = r.opaque()
	h.interim = r.opaque()
	h.oldestPast = r.uint64()
	h.oldestResumption = r.uint64()
	if r.optional() {
		h.reInit = new(ReInit)
		h.reInit.read(r)
	}
	if r.err != nil {
		return
	}
	if err := parse(h.encodedContext, h.context.read); err != nil {
		r.fail("group context: %v", err)
		return
	}
	if h.profile.check() != nil || h.membership < membershipActive || h.membership > membershipEnded ||
		h.receive != h.receive.withDefaults() || h.oldestPast > h.context.Epoch ||
		h.context.Epoch-h.oldestPast > maxPastEpochs || h.oldestResumption > h.context.Epoch ||
		h.leafCount > maxLeafCount || h.leafCount&(h.leafCount-1) != 0 || LeafCount(h.own) >= h.leafCount ||
		h.context.Epoch-h.oldestResumption > maxPastEpochs {
		r.fail("value out of range")
	}
}

// places returns where the secrets stand, in the order of fields.
func (es *epochSecrets) places() [9]*secret.Bytes {
	return [...]*secret.Bytes{
		&es.senderData, &es.encryption, &es.exporter, &es.external, &es.confirmation,
		&es.membership, &es.resumption, &es.authenticator, &es.init,
	}
}

// setContext sets the group context and its encoding. What is kept is the
// encoding alone, of which the context is a view: gc may be part of a message
// that is far larger.
func (h *head) setContext(gc *GroupContext) {
	h.encodedContext = gc.append(make([]byte, 0, 256))
	r := reader{b: h.encodedContext}
	h.context = GroupContext{}
	h.context.read(&r)
}

// takesHandshake tells whether a member's proposals and commits may come in a
// wire format.
func (h *head) takesHandshake(f WireFormat) bool {
	return !h.profile.rules().oneHandshakeFormat || f == h.handshakeFormat()
}

// handshakeFormat returns the wire format of our proposals and commits.
func (h *head) handshakeFormat() WireFormat {
	if h.profile.rules().oneHandshakeFormat && !h.privateHandshakes {
		return WireFormatPublicMessage
	}
	return WireFormatPrivateMessage
}

// active returns an error if the group cannot send.
func (h *head) active() error {
	switch h.membership {
	case membershipActive:
		return nil
	case membershipEnded:
		return fmt.Errorf("%w: %w", ErrInactive, CheckReInitCommitted.Errorf("a ReInit was committed"))
	default:
		return ErrInactive
	}
}
