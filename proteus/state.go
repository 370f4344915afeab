package proteus

import (
	"errors"
	"io"
	"slices"
)

// maxChains is how many receive chains a state keeps. A message of an older one can
// no longer be decrypted.
const maxChains = 5

// state is one double ratchet.
type state struct {
	receive  []receiveChain // newest first
	send     sendChain
	root     key
	previous uint32 // length of the send chain before
}

type sendChain struct {
	chain   chainKey
	ratchet keyPair
}

type receiveChain struct {
	chain   chainKey
	ratchet PublicKey
	skipped []messageKeys // by ascending counter
}

func (s *state) clone() *state {
	c := *s
	c.receive = slices.Clone(s.receive)
	for i := range c.receive {
		c.receive[i].skipped = slices.Clone(s.receive[i].skipped)
	}
	return &c
}

func (s *state) wipe() {
	for i := range s.receive {
		s.receive[i].wipe()
	}
	s.send.chain.key.wipe()
	s.send.ratchet.wipe()
	s.root.wipe()
}

func (c *receiveChain) wipe() {
	c.chain.key.wipe()
	clear(c.skipped)
}

// handshake derives the first root and chain key from the three agreements, in the
// order that both sides keep.
func handshake(master *[96]byte) (root, chain key) {
	root, chain = derive(nil, master[:], "handshake")
	clear(master[:])
	return root, chain
}

// ratchet derives the next root key and a new chain.
func (k *key) ratchet(own *keyPair, peer PublicKey) (root key, chain chainKey, err error) {
	var shared key
	defer shared.wipe()
	if err := own.agree(shared[:], peer); err != nil {
		return key{}, chainKey{}, err
	}
	root, chain.key = derive(k[:], shared[:], "dh_ratchet")
	return root, chain, nil
}

// initiate makes the state of who begins a session with a bundle.
func initiate(rand io.Reader, local *Identity, base *keyPair, bundle *PreKeyBundle) (*state, error) {
	var master [96]byte
	if err := errors.Join(
		local.pair.agree(master[:32], bundle.PublicKey),
		base.agree(master[32:64], bundle.Identity),
		base.agree(master[64:], bundle.PublicKey),
	); err != nil {
		return nil, err
	}
	root, chain := handshake(&master)
	defer root.wipe()
	s := &state{receive: []receiveChain{{chain: chainKey{key: chain}, ratchet: bundle.PublicKey}}}
	var err error
	if s.send.ratchet, err = newKeyPair(rand); err == nil {
		s.root, s.send.chain, err = root.ratchet(&s.send.ratchet, bundle.PublicKey)
	}
	if err != nil {
		s.wipe()
		return nil, err
	}
	return s, nil
}

// respond makes the state of who receives the first message.
func respond(local *Identity, preKey *PreKey, first *firstMessage) (*state, error) {
	var master [96]byte
	if err := errors.Join(
		preKey.pair.agree(master[:32], first.identity),
		local.pair.agree(master[32:64], first.base),
		preKey.pair.agree(master[64:], first.base),
	); err != nil {
		return nil, err
	}
	root, chain := handshake(&master)
	return &state{root: root, send: sendChain{chain: chainKey{key: chain}, ratchet: preKey.pair}}, nil
}

// step takes in a new ratchet key of the peer. It draws 32 bytes.
func (s *state) step(rand io.Reader, peer PublicKey) error {
	if err := peer.check(); err != nil {
		return err
	}
	next, err := newKeyPair(rand)
	if err != nil {
		return err
	}
	rootA, receive, err := s.root.ratchet(&s.send.ratchet, peer)
	defer rootA.wipe()
	if err != nil {
		return err
	}
	root, send, err := rootA.ratchet(&next, peer)
	if err != nil {
		return err
	}
	s.previous = s.send.chain.index
	s.wipeSend()
	s.root, s.send = root, sendChain{send, next}
	s.receive = slices.Insert(s.receive, 0, receiveChain{chain: receive, ratchet: peer})
	if len(s.receive) > maxChains {
		s.receive[maxChains].wipe()
		s.receive = s.receive[:maxChains]
	}
	return nil
}

func (s *state) wipeSend() {
	s.root.wipe()
	s.send.chain.key.wipe()
	s.send.ratchet.wipe()
}

// open decrypts a message and moves the state on. After an error the state is of no
// further use.
func (s *state) open(rand io.Reader, m *Message) ([]byte, error) {
	for i := range s.receive {
		if s.receive[i].ratchet == m.ratchet {
			return s.receive[i].open(m)
		}
	}
	if err := s.step(rand, m.ratchet); err != nil {
		return nil, err
	}
	return s.receive[0].open(m)
}

func (c *receiveChain) open(m *Message) ([]byte, error) {
	switch head := c.chain.index; {
	case m.counter < head:
		return c.openSkipped(m)
	case m.counter-head > MaxGap:
		return nil, ErrTooDistantFuture
	}
	skipped := make([]messageKeys, 0, m.counter-c.chain.index)
	for c.chain.index < m.counter {
		skipped = append(skipped, c.chain.messageKeys())
		if err := c.chain.advance(); err != nil {
			return nil, err
		}
	}
	keys := c.chain.messageKeys()
	defer keys.wipe()
	plaintext, err := keys.open(m)
	if err != nil {
		clear(skipped)
		return nil, err
	}
	if err := c.chain.advance(); err != nil {
		return nil, err
	}
	c.keep(skipped)
	return plaintext, nil
}

// keep adds keys of skipped messages, and drops the oldest ones beyond MaxGap.
func (c *receiveChain) keep(skipped []messageKeys) {
	if len(skipped) == 0 {
		return
	}
	all := slices.Concat(c.skipped, skipped)
	clear(c.skipped)
	clear(skipped)
	over := max(0, len(all)-MaxGap)
	clear(all[:over])
	c.skipped = all[over:]
}

func (c *receiveChain) openSkipped(m *Message) ([]byte, error) {
	if len(c.skipped) > 0 && c.skipped[0].counter > m.counter {
		return nil, ErrOutdatedMessage
	}
	at, found := slices.BinarySearchFunc(c.skipped, m.counter, func(k messageKeys, counter uint32) int {
		return int(int64(k.counter) - int64(counter))
	})
	if !found {
		return nil, ErrDuplicateMessage
	}
	plaintext, err := c.skipped[at].open(m)
	if err != nil {
		return nil, err
	}
	c.skipped = slices.Delete(c.skipped, at, at+1) // it clears what it leaves behind
	return plaintext, nil
}

// open authenticates a message before it decrypts it.
func (m *messageKeys) open(msg *Message) ([]byte, error) {
	if err := m.verify(&msg.mac, msg.signed); err != nil {
		return nil, err
	}
	plaintext := make([]byte, len(msg.ciphertext))
	m.crypt(plaintext, msg.ciphertext)
	return plaintext, nil
}

func (s *state) append(b []byte) []byte {
	b = appendArray(append(appendMap(b, 4), 0), len(s.receive))
	for i := range s.receive {
		b = s.receive[i].append(b)
	}
	b = s.send.append(append(b, 1))
	b = s.root.append(append(appendMap(append(b, 2), 1), 0))
	return appendUint(append(b, 3), s.previous)
}

func (r *reader) state() (*state, error) {
	s := new(state)
	err := r.object(4, 0, func(field uint8) (err error) {
		switch field {
		case 0:
			n, err := r.entries(majorArray)
			for range n {
				var c receiveChain
				if c, err = r.receiveChain(); err != nil {
					break
				}
				s.receive = append(s.receive, c)
			}
			return err
		case 1:
			s.send, err = r.sendChain()
			return err
		case 2:
			return r.object(1, 0, func(uint8) error { return r.wrapped(s.root[:]) })
		}
		s.previous, err = r.uint32()
		return err
	})
	if err == nil && len(s.receive) > maxChains {
		err = within("too many chains", ErrDecode)
	}
	return s, err
}

func (c *sendChain) append(b []byte) []byte {
	b = c.chain.append(append(appendMap(b, 2), 0))
	return c.ratchet.append(append(b, 1))
}

func (r *reader) sendChain() (c sendChain, err error) {
	err = r.object(2, 0, func(field uint8) (err error) {
		if field == 0 {
			c.chain, err = r.chainKey()
		} else {
			c.ratchet, err = r.keyPair()
		}
		return err
	})
	return c, err
}

func (c *receiveChain) append(b []byte) []byte {
	b = c.chain.append(append(appendMap(b, 3), 0))
	b = c.ratchet.append(append(b, 1))
	b = appendArray(append(b, 2), len(c.skipped))
	for i := range c.skipped {
		b = c.skipped[i].append(b)
	}
	return b
}

func (r *reader) receiveChain() (c receiveChain, err error) {
	err = r.object(3, 1<<2, func(field uint8) (err error) {
		switch field {
		case 0:
			c.chain, err = r.chainKey()
		case 1:
			c.ratchet, err = r.checkedKey()
		case 2:
			n, err := r.entries(majorArray)
			for range n {
				var k messageKeys
				if k, err = r.messageKeys(); err != nil {
					break
				}
				c.skipped = append(c.skipped, k)
			}
			return err
		}
		return err
	})
	ordered := slices.IsSortedFunc(c.skipped, func(a, b messageKeys) int {
		return int(int64(a.counter) - int64(b.counter))
	})
	if err == nil && !ordered {
		err = within("keys out of order", ErrDecode)
	}
	return c, err
}
