package actors

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/store"
)

// Own ciphertext that a transaction hands out cannot be taken back, but the ratchet
// that made it is not on disk yet. So before it is handed out, a synced record says
// that own generations up to a bound may be used, a block at a time.
//
// An abort burns the generations handed out, which it knows; a crash burns all up to
// the bound. No generation of an epoch is used twice. A block is small beside the window
// in which receivers take messages out of order, 32 by default: those sent before a crash
// may come after those sent behind it. Single calls need none of it:
// their ratchet is on disk before the message leaves.
//
// With LeaseGenerations they do the same to save syncs: the call that begins a block
// writes the reservation and the ratchet, the others of the block write nothing. What
// is on disk then lags behind. Whatever drops the conversation from memory, be it a
// crash, passivation or Close, burns the rest of the block, which receivers see as
// messages lost; and who reads the disk and has the key can derive the keys of the
// messages sent since the block began.

// loadSpent reads what may have been used of the current and later epochs: later, as
// a transaction can have entered the next epoch, sent in it and been aborted.
func (c *conversation) loadSpent(s *state) error {
	records, err := c.readRange(nil, c.sys.store, s.incarnation, mlsgroup.RecordRange{
		Low: mlsgroup.ReserveKey(s.group.Epoch()), High: mlsgroup.ReserveKey(math.MaxUint64),
	})
	if err != nil {
		return err
	}
	for _, rec := range records {
		epoch, ok := reserveEpoch(rec.Key)
		application, handshake, err := mlsgroup.ParseReserve(rec.Value)
		if err != nil || !ok {
			return fmt.Errorf("%w: own generations: %v", messages.ErrCorrupt, err)
		}
		g := generations{application, handshake}
		s.spent, s.reserved = with(s.spent, epoch, g), with(s.reserved, epoch, g)
	}
	return nil
}

// reserveEpoch returns the epoch in a key of mlsgroup.ReserveKey.
func reserveEpoch(key []byte) (uint64, bool) {
	if len(key) < 8 {
		return 0, false
	}
	epoch := binary.BigEndian.Uint64(key[len(key)-8:])
	return epoch, bytes.Equal(key, mlsgroup.ReserveKey(epoch))
}

func with(m map[uint64]generations, epoch uint64, g generations) map[uint64]generations {
	next := maps.Clone(m)
	if next == nil {
		next = make(map[uint64]generations)
	}
	next[epoch] = g
	return next
}

func mergeSpent(a, b map[uint64]generations) map[uint64]generations {
	next := maps.Clone(a)
	if next == nil {
		next = make(map[uint64]generations)
	}
	for epoch, g := range b {
		next[epoch] = next[epoch].max(g)
	}
	return next
}

// burn moves the own ratchets of the stage beyond all that may have been used, before
// a step that sends.
func (c *conversation) burn(st *stage) error {
	spent, ok := st.state.spent[st.state.group.Epoch()]
	if !ok {
		return nil
	}
	var transition *mlsgroup.Transition
	err := c.try(st, func(g *mlsgroup.Group) (err error) {
		transition, err = g.Burn(spent.application, spent.handshake)
		return err
	})
	if err != nil {
		return err
	}
	c.advance(st, transition)
	rest := maps.Clone(st.state.spent)
	delete(rest, st.state.group.Epoch())
	st.state = st.state.with(func(next *state) { next.spent = rest })
	return nil
}

// usedBy returns the own generations that a message has used, as bounds.
func usedBy(o *mlsgroup.Outbound) generations {
	switch {
	case o == nil || !o.Encrypted:
		return generations{}
	case o.Handshake:
		return generations{handshake: o.Generation + 1}
	}
	return generations{application: o.Generation + 1}
}

// stageReserve puts a reservation into a set if what is reserved does not cover used.
func (c *conversation) stageReserve(st *stage, set *store.ChangeSet, used generations) bool {
	stays := c.state.group != nil && st.state.incarnation == c.state.incarnation
	if used == (generations{}) || !stays && !st.welcomed && !st.sent() {
		return false // nothing used, or by a group whose keys an abort leaves nothing of
	}
	epoch := st.state.group.Epoch()
	have := st.state.reserved[epoch]
	if have.max(used) == have {
		return false
	}
	if used.application > have.application {
		have.application = used.application + reserveBlock - 1
	}
	if used.handshake > have.handshake {
		have.handshake = used.handshake + reserveBlock - 1
	}
	c.stageChanges(set, st.state.incarnation, st.state.group.Reserve(have.application, have.handshake))
	reserved := with(st.state.reserved, epoch, have)
	if stays {
		c.both(st, func(next *state) { next.reserved = reserved })
	} else {
		st.state = st.state.with(func(next *state) { next.reserved = reserved })
	}
	return true
}

// handOut makes sure, before a transaction's own message is handed out, that its
// generation cannot be used again.
func (c *conversation) handOut(st *stage, o *mlsgroup.Outbound) error {
	used := usedBy(o)
	if st.tx == nil || used == (generations{}) {
		return nil
	}
	set := new(store.ChangeSet)
	before := c.state
	if c.stageReserve(st, set, used) {
		if err := c.sys.apply(set); err != nil {
			c.state = before
			return err
		}
	}
	return nil
}

// lease stages a single call's own message. Where the block reserved covers its
// generation, nothing has to be written: all that has changed is the own ratchet.
func (c *conversation) lease(st *stage, t *mlsgroup.Transition) {
	used := usedBy(t.Outbound)
	have := c.state.reserved[t.Next.Epoch()]
	if have.max(used) == have && len(t.Changes) == 1 {
		t.Changes = nil
	} else {
		c.stageReserve(st, &st.changes, used)
	}
	c.advance(st, t)
}

// spend notes, for after an abort, that an own message has used a generation.
func (c *conversation) spend(used generations, epoch uint64) {
	spent := mergeSpent(c.state.spent, map[uint64]generations{epoch: used})
	c.state = c.state.with(func(next *state) { next.spent = spent })
}

// both changes the committed state and the stage's in the same way.
func (c *conversation) both(st *stage, f func(next *state)) {
	same := st.state == c.state
	c.state = c.state.with(f)
	if same {
		st.state = c.state
		return
	}
	st.state = st.state.with(f)
}

// dropSpent forgets epochs that are over; their records went with them.
func (st *stage) dropSpent() {
	epoch := st.state.group.Epoch()
	keep := func(m map[uint64]generations) map[uint64]generations {
		next := maps.Clone(m)
		maps.DeleteFunc(next, func(e uint64, _ generations) bool { return e < epoch })
		return next
	}
	st.state = st.state.with(func(next *state) { next.spent, next.reserved = keep(next.spent), keep(next.reserved) })
}
