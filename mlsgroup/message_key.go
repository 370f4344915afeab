package mlsgroup

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/conclave-mls/conclave/internal/primitive"
)

// A PrivateMessage is opened in steps, so that those of many messages can be
// taken together: whose it is, its key, which moves the group on, and the rest,
// which needs no group and may run anywhere.

// SealedMessage is a PrivateMessage whose sender is known and nothing else: the
// first of three steps to open one. It is bound to no state of the group. Opening uses
// it up: of several keys taken for it, one opens.
type SealedMessage struct {
	m      *PrivateMessage
	sender senderData
}

// Epoch returns the epoch of the message.
func (sm *SealedMessage) Epoch() uint64 { return sm.m.Epoch }

// Sender returns the leaf that the message claims to be from.
func (sm *SealedMessage) Sender() LeafIndex { return sm.sender.leaf }

// Generation returns the generation of the sender's ratchet that the message
// claims to be sealed under.
func (sm *SealedMessage) Generation() uint32 { return sm.sender.generation }

// OpenSenderData finds the sender of an encoded PrivateMessage with application
// data. Errors are those of Process.
func (g *Group) OpenSenderData(message []byte) (*SealedMessage, error) {
	return g.openOuter(message, func(t ContentType) bool { return t == ContentTypeApplication })
}

// OpenHandshakeSenderData finds the sender of an encoded PrivateMessage with a
// proposal or commit of the current epoch, to see which generation it uses; only
// Process opens it. Errors are those of Process.
func (g *Group) OpenHandshakeSenderData(message []byte) (*SealedMessage, error) {
	return g.openOuter(message, func(t ContentType) bool { return t != ContentTypeApplication })
}

// openOuter reads a PrivateMessage whose content type is wanted.
func (g *Group) openOuter(message []byte, wanted func(ContentType) bool) (*SealedMessage, error) {
	var m MLSMessage
	if len(message) <= maxMessageLen {
		message = bytes.Clone(message)
	}
	if err := parse(message, m.read); err != nil {
		return nil, err
	}
	if m.PrivateMessage == nil || !wanted(m.PrivateMessage.ContentType) {
		return nil, fmt.Errorf("%w: not a PrivateMessage of that content type", ErrWireFormat)
	}
	if !bytes.Equal(m.PrivateMessage.GroupID, g.GroupID()) {
		return nil, ErrWrongGroup
	}
	if g.head.membership == membershipRemoved {
		return nil, ErrInactive
	}
	return g.openSealed(m.PrivateMessage)
}

func (g *Group) openSealed(m *PrivateMessage) (*SealedMessage, error) {
	if m.ContentType != ContentTypeApplication {
		if !g.head.takesHandshake(WireFormatPrivateMessage) {
			return nil, fmt.Errorf("%w: private handshake message", ErrWireFormat)
		}
		if m.Epoch != g.Epoch() {
			return nil, &EpochError{Got: m.Epoch, Want: g.Epoch()}
		}
	}
	v, err := g.view(m.Epoch)
	if err != nil {
		return nil, err
	}
	sender, err := openSenderData(g.s, v.senderData, m)
	if err != nil {
		return nil, fmt.Errorf("%w: sender data", ErrDecrypt)
	}
	return &SealedMessage{m: m, sender: sender}, nil
}

// MessageKey is all that is needed to open one message, apart from any state of
// the group. Its methods are for one goroutine at a time.
type MessageKey struct {
	s       *primitive.Suite
	m       *PrivateMessage
	sender  senderData
	key     messageKey
	leaf    *LeafNode // of the sender, in the epoch of the message
	signer  *primitive.VerificationKey
	context []byte

	content *AuthenticatedContent // once decrypted, which uses the message up
}

// TakeMessageKey takes the key of an application message out of the group: the
// second step. The transition has no Received, and its Consumed has the key, so
// it is wiped after the message was opened. If that fails the transition is
// dropped. Errors are those of Process. The next group remembers the sender's
// signature key in the form that verifies faster.
func (g *Group) TakeMessageKey(sm *SealedMessage) (*MessageKey, *Transition, error) {
	if sm.m.ContentType != ContentTypeApplication {
		return nil, nil, fmt.Errorf("%w: not an application message", ErrWireFormat)
	}
	return g.takeMessageKey(sm)
}

func (g *Group) takeMessageKey(sm *SealedMessage) (*MessageKey, *Transition, error) {
	v, err := g.view(sm.m.Epoch)
	if err != nil {
		return nil, nil, err
	}
	if sm.sender.leaf == g.head.own {
		return nil, nil, fmt.Errorf("%w: own message", ErrDuplicate)
	}
	leaf, leafErr := g.leafIn(sm.m.Epoch, sm.sender.leaf)
	st, err := v.secrets.take(g.s, sm.sender.leaf, ratchetOf(sm.m.ContentType), sm.sender.generation, g.head.receive)
	if err := needBoth(leafErr, secretError(err, sm.m.Epoch)); err != nil {
		return nil, nil, err
	}
	if leaf == nil {
		return nil, nil, CheckSenderLeaf.Errorf("leaf %d is blank", sm.sender.leaf)
	}
	t := &Transition{
		Next:     g.withSecrets(sm.m.Epoch, st.next),
		Changes:  secretChanges(sm.m.Epoch, st.changed),
		Consumed: st.consumed,
	}
	k := &MessageKey{s: g.s, m: sm.m, sender: sm.sender, key: st.key, leaf: leaf, context: v.context}
	k.signer, t.Next.signers = g.signers.ready(g.s, leaf.SignatureKey)
	return k, t, nil
}

// TakeMessageKeys takes the keys of many messages in their order, as one step.
// The results have an entry for each message, of which one is nil: a message
// whose key cannot be had takes nothing, and the others go on. The transition is
// nil if no key was taken. Of what the messages do to a record it has the last.
//
// If a message then does not open, the transition is dropped and taken again
// without it. The same generation has the same key, so that what was opened need
// not be opened again.
func (g *Group) TakeMessageKeys(sealed []*SealedMessage) (keys []*MessageKey, errs []error, t *Transition) {
	keys, errs = make([]*MessageKey, len(sealed)), make([]error, len(sealed))
	var alone [1]*Transition // spares an allocation where there is one
	steps := alone[:0]
	for i, sm := range sealed {
		var step *Transition
		if keys[i], step, errs[i] = g.TakeMessageKey(sm); errs[i] == nil {
			steps, g = append(steps, step), step.Next
		}
	}
	switch len(steps) {
	case 0:
		return keys, errs, nil
	case 1:
		return keys, errs, steps[0]
	}
	t = &Transition{Next: g}
	last := make(map[string]bool)
	for _, step := range slices.Backward(steps) {
		for _, change := range slices.Backward(step.Changes) {
			if !last[string(change.Key)] {
				last[string(change.Key)] = true
				t.Changes = append(t.Changes, change)
			} else {
				change.Value.Wipe()
			}
		}
	}
	slices.Reverse(t.Changes)
	for _, step := range steps {
		t.Consumed = append(t.Consumed, step.Consumed...)
	}
	return keys, errs, t
}

// Open decrypts the message and verifies it: the third step. It may run
// anywhere and at the same time as others; it needs no group.
func (k *MessageKey) Open() (*Received, error) {
	um, err := k.Decrypt()
	if err != nil {
		return nil, err
	}
	if err := um.verify(); err != nil {
		return nil, err
	}
	return um.received(), nil
}

// UnverifiedMessage is a message that was decrypted and read, and whose signature
// is still to be verified. Until then nothing of it can be seen.
type UnverifiedMessage struct {
	k  *MessageKey
	ac *AuthenticatedContent
}

// Decrypt does the first half of Open. It may run anywhere and at the same time
// as others.
func (k *MessageKey) Decrypt() (*UnverifiedMessage, error) {
	if k.content == nil {
		ac, err := decryptPrivateMessage(k.s, k.m, k.sender, k.key)
		if err == primitive.ErrOpen {
			return nil, ErrDecrypt
		}
		if err != nil {
			return nil, err
		}
		k.content = ac
	}
	return &UnverifiedMessage{k, k.content}, nil
}

// verify verifies the signature, by itself and by the strict rule.
func (um *UnverifiedMessage) verify() error {
	message := signedPieces(um.ac.tbsPieces(um.k.context))
	if um.k.signer.VerifyParts(um.ac.Auth.Signature, message[:]...) != nil {
		return um.ac.signatureError()
	}
	return nil
}

func (um *UnverifiedMessage) received() *Received {
	r := receivedFrom(um.ac, um.k.leaf)
	r.Application = um.ac.Content.Application
	return r
}

// verifyTogether is how many signatures VerifyAll hands over at a time: enough
// for most of what a batch saves, and few enough that several make work for
// several cores.
const verifyTogether = 32

// VerifyAll verifies the signatures of messages of any groups together, which
// with Ed25519 is faster than one by one. The results have an entry for each
// message, of which one is nil; both are for a nil message. do is as in Input.
//
// The equation of a batch has a cofactor: of a dishonest signer it accepts
// signatures that the strict one of Open refuses. So only application messages
// are verified in batches, on which no state depends.
func VerifyAll(ms []*UnverifiedMessage, do func(n int, f func(i int))) ([]*Received, []error) {
	received, errs := make([]*Received, len(ms)), make([]error, len(ms))
	together := make([]int, 0, len(ms))
	for i, um := range ms {
		if um != nil && um.k.m.ContentType == ContentTypeApplication {
			together = append(together, i)
		} else if um != nil {
			errs[i] = fmt.Errorf("%w: not an application message", ErrWireFormat)
		}
	}
	in := Input{Do: do}
	in.do((len(together)+verifyTogether-1)/verifyTogether, func(n int) {
		part := together[n*verifyTogether : min((n+1)*verifyTogether, len(together))]
		vs := make([]primitive.Verification, len(part))
		for n, i := range part {
			um := ms[i]
			vs[n] = primitive.Verification{Key: um.k.signer, Sig: um.ac.Auth.Signature, Message: signedPieces(um.ac.tbsPieces(um.k.context))}
		}
		for n, err := range primitive.VerifyBatch(vs) {
			i := part[n]
			if err != nil {
				errs[i] = ms[i].ac.signatureError()
			} else {
				received[i] = ms[i].received()
			}
		}
	})
	return received, errs
}

// OpenAll opens many messages, each as MessageKey.Open would but for the
// signatures, which VerifyAll verifies. The results have an entry for each key,
// of which one is nil; both are for a nil key. do is as in Input.
func OpenAll(keys []*MessageKey, do func(n int, f func(i int))) ([]*Received, []error) {
	ms, failed := make([]*UnverifiedMessage, len(keys)), make([]error, len(keys))
	in := Input{Do: do}
	in.do(len(keys), func(i int) {
		if keys[i] != nil {
			ms[i], failed[i] = keys[i].Decrypt()
		}
	})
	received, errs := VerifyAll(ms, do)
	for i, err := range failed {
		if err != nil {
			errs[i] = err
		}
	}
	return received, errs
}
