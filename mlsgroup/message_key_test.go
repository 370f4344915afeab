package mlsgroup

import (
	"bytes"
	"crypto/sha512"
	"errors"
	"fmt"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"

	"github.com/conclave-mls/conclave/internal/primitive"
)

// Many keys taken as one step leave the same state and records as one by one; a
// message whose key is gone takes nothing.
func TestTakeMessageKeys(t *testing.T) {
	w := newWorld(t, 1, ProfileRFC, 420)
	w.add(w.members[0], 2, CommitOptions{})
	a, b, reader := w.members[0], w.members[1], w.members[2]
	reader.cold = false
	w.say(a, "first")
	w.say(b, "first")
	var messages [][]byte
	for i := range 20 {
		messages = append(messages, w.encrypt(a, fmt.Sprint("a", i)), w.encrypt(b, fmt.Sprint("b", i)))
	}
	messages[6], messages[30] = messages[30], messages[6] // one far ahead, one late
	messages = append(messages, messages[3])              // one again

	g := reader.g
	var sealed []*SealedMessage
	for _, m := range messages {
		sm, err := g.OpenSenderData(m)
		if err != nil {
			t.Fatal(err)
		}
		sealed = append(sealed, sm)
	}
	single, want := g, reader.store.clone()
	for _, sm := range sealed[:len(sealed)-1] {
		_, step, err := single.TakeMessageKey(sm)
		if err != nil {
			t.Fatal(err)
		}
		want.apply(step.Changes)
		single = step.Next
	}
	keys, errs, tr := g.TakeMessageKeys(sealed)
	last := len(messages) - 1
	if !errors.Is(errs[last], ErrDuplicate) || keys[last] != nil {
		t.Errorf("a message that comes twice: %v, %v", keys[last], errs[last])
	}
	got := reader.store.clone()
	got.apply(tr.Changes)
	if !got.equal(want) {
		t.Error("taking together leaves other records than one by one")
	}
	for _, change := range tr.Changes {
		n := 0
		for _, other := range tr.Changes {
			if bytes.Equal(change.Key, other.Key) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("record %x is changed %d times", change.Key, n)
		}
	}
	// What failed last time fails as the only one, and takes nothing.
	if again, errs, none := tr.Next.TakeMessageKeys(sealed[:2]); none != nil || errs[0] == nil || errs[1] == nil || again[0] != nil {
		t.Errorf("taking twice: %v, %v, %v", again, errs, none)
	}
	received, errs := OpenAll(keys, goDo)
	for i := range messages[:last] {
		if errs[i] != nil {
			t.Fatalf("message %d: %v", i, errs[i])
		}
		one, err := g.Process(reader.in(), messages[i])
		if err != nil || !bytes.Equal(one.Received.Application, received[i].Application) {
			t.Errorf("message %d: %q in a batch, %q by itself, %v", i, received[i].Application, one.Received.Application, err)
		}
	}
	if received[last] != nil || errs[last] != nil {
		t.Errorf("no key: %v, %v", received[last], errs[last])
	}
}

// Keys stay ready for as many senders as the bound says, the last ones.
func TestSignersBound(t *testing.T) {
	w := newWorld(t, 1, ProfileRFC, 421)
	w.add(w.members[0], maxSigners+3, CommitOptions{})
	reader := w.members[0]
	reader.cold = false
	for _, c := range w.members[1:] {
		if _, err := reader.process(reader.in(), w.encrypt(c, "hello")); err != nil {
			t.Fatal(err)
		}
		list := reader.g.signers.list
		if got := list[len(list)-1].pub; !bytes.Equal(got, c.signer.Public) {
			t.Errorf("the last sender's key is not the last of the list")
		}
	}
	list := reader.g.signers.list
	if len(list) != maxSigners {
		t.Fatalf("%d keys are ready, want %d", len(list), maxSigners)
	}
	c := w.members[len(w.members)-1]
	if _, err := reader.process(reader.in(), w.encrypt(c, "again")); err != nil {
		t.Fatal(err)
	}
	if again := reader.g.signers.list; &again[0] != &list[0] {
		t.Error("a sender who is known made a new list")
	}
}

// forge is what a dishonest member signs: R has a point of small order added, and
// S a multiple of the group order.
func (c *client) forge(message []byte, torsion int, order bool) []byte {
	c.t.Helper()
	h := sha512.Sum512(c.signer.Private[:32])
	h[0] &= 248
	h[31] = h[31]&127 | 64
	a, err := scalar.NewFromBits(h[:32])
	if err != nil {
		c.t.Fatal(err)
	}
	r := scalar.NewFromUint64(4711)
	point := curve.NewEdwardsPoint().MulBasepoint(curve.ED25519_BASEPOINT_TABLE, r)
	sig, err := point.Add(point, curve.EIGHT_TORSION[torsion]).MarshalBinary()
	if err != nil {
		c.t.Fatal(err)
	}
	challenge := sha512.Sum512(append(append(bytes.Clone(sig), c.signer.Public...), message...))
	k, err := scalar.NewFromBytesModOrderWide(challenge[:])
	if err != nil {
		c.t.Fatal(err)
	}
	s, err := k.Add(k.Mul(k, a), r).MarshalBinary()
	if err != nil {
		c.t.Fatal(err)
	}
	if order {
		l, _ := scalar.BASEPOINT_ORDER.MarshalBinary()
		carry := 0
		for i := range s {
			carry += int(s[i]) + int(l[i])
			s[i], carry = byte(carry), carry>>8
		}
	}
	return append(sig, s...)
}

// A member signs as no honest one does. By itself a message is verified by the
// strict rule; in a batch the one that holds with the cofactor is accepted, and
// the others are charged to themselves alone.
func TestOpenAllForged(t *testing.T) {
	w := newWorld(t, 1, ProfileRFC, 422)
	w.add(w.members[0], 1, CommitOptions{})
	c, reader := w.members[0], w.members[1]
	// With the standard library at work there is no equation with cofactor.
	probe := c.forge(nil, 3, false)
	key := mustSuite(t, 1).VerificationKey(c.signer.Public)
	cofactor := primitive.VerifyBatch([]primitive.Verification{{Key: key, Sig: probe}})[0] == nil
	cases := []struct {
		name          string
		sign          func(message []byte) []byte
		strict, batch bool
	}{
		{"honest", func(m []byte) []byte { return c.forge(m, 0, false) }, true, true},
		{"torsion in R", func(m []byte) []byte { return c.forge(m, 3, false) }, false, cofactor},
		{"S not canonical", func(m []byte) []byte { return c.forge(m, 0, true) }, false, false},
		{"R of small order", func(m []byte) []byte { return append(make([]byte, 32), c.forge(m, 0, false)[32:]...) }, false, false},
		{"another message", func(m []byte) []byte { return c.forge(append(m, 0), 0, false) }, false, false},
		{"short", func(m []byte) []byte { return c.forge(m, 0, false)[:63] }, false, false},
		{"honest again", func(m []byte) []byte { return c.forge(m, 0, false) }, true, true},
	}
	var sealed []*SealedMessage
	g := loaded(reader)
	for _, x := range cases {
		tr, err := c.step(func(g *Group) (*Transition, error) {
			content := g.content(ContentTypeApplication, nil)
			content.Application = []byte(x.name)
			ac := &AuthenticatedContent{WireFormat: WireFormatPrivateMessage, Content: content}
			ac.Auth.Signature = x.sign(ac.signed(g.head.encodedContext))
			in := c.in()
			return g.sealPrivate(&in, ac)
		})
		if err != nil {
			t.Fatal(err)
		}
		sm, err := g.OpenSenderData(tr.Outbound.Message)
		if err != nil {
			t.Fatal(err)
		}
		sealed = append(sealed, sm)
		if _, err := g.Process(reader.in(), tr.Outbound.Message); x.strict != (err == nil) || err != nil && !errors.Is(err, CheckMessageSignature) {
			t.Errorf("%s: Process = %v, want accepted %v", x.name, err, x.strict)
		}
	}
	keys, _, _ := g.TakeMessageKeys(sealed)
	received, errs := OpenAll(keys, nil)
	for i, x := range cases {
		if x.batch != (errs[i] == nil) || errs[i] != nil && !errors.Is(errs[i], CheckMessageSignature) || (received[i] != nil) != x.batch {
			t.Errorf("%s: in a batch %v, want accepted %v", x.name, errs[i], x.batch)
		}
		if _, err := keys[i].Open(); x.strict != (err == nil) {
			t.Errorf("%s: Open = %v, want accepted %v", x.name, err, x.strict)
		}
	}
	// What may change the group is never verified in a batch.
	handshake := *keys[0]
	m := *handshake.m
	m.ContentType, handshake.m = ContentTypeProposal, &m
	um, err := keys[0].Decrypt()
	if err != nil {
		t.Fatal(err)
	}
	um.k = &handshake
	if r, errs := VerifyAll([]*UnverifiedMessage{um, nil}, nil); !errors.Is(errs[0], ErrWireFormat) || r[0] != nil || r[1] != nil || errs[1] != nil {
		t.Errorf("a proposal in a batch: %v, %v", r, errs)
	}
}
