package actors

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/conclave-mls/conclave/internal/secret"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/store"
)

// inflight is an own commit that has left, or is about to: the one thing that cannot
// be taken back, and so the one that is written down before it happens.
//
// Its record is written in one synced batch before the transport is called, together
// with what an abort must not undo: own generations used, the use of a credential
// that the commit brings in, and that credential. It is deleted in the batch that
// leaves its epoch, by whichever commit, and by what drops it (see doc.go). Between
// these two a crash leaves it, and whoever loads the conversation finds it.
//
//	status:1 join and order:1 incarnation:8 epoch:8 credential:32 conversation id
//	own commit (mlsgroup.OwnCommit) before (store.ChangeSet)
//	history secret, where there is one
type inflight struct {
	conversation messages.ConversationID
	hash         [32]byte
	status       status
	isJoin       bool
	// incarnation that the records of the next epoch belong to.
	incarnation uint64
	epoch       uint64 // that the commit ends
	// credential that the commit brings in, zero where it brings none.
	credential messages.CredentialRef
	own        *mlsgroup.OwnCommit
	// before is what the transaction had staged here when the commit left. It stands
	// if the commit stays in doubt until the transaction has ended; nil then, as it
	// is applied.
	before *store.ChangeSet
	// order is above that of every commit that was in doubt here when this one left: what
	// precedes them is applied in it, as a later one was staged on an earlier.
	order uint8
	// history is the secret of the history client that the commit brings in, or nil.
	history secret.Bytes
}

// status of an in-flight commit.
type status uint8

const (
	// statusSent: it may have left; no verdict. After a restart, in doubt.
	statusSent status = iota + 1
	// statusRefused: the first send was refused. Kept until its epoch ends, since a
	// lost answer and a resend by the transport look like a refusal.
	statusRefused
)

func (f *inflight) join() bool { return f.isJoin }

// doubt returns what the application is told of the commit.
func (f *inflight) doubt() messages.CommitInDoubt {
	return messages.CommitInDoubt{
		Conversation: f.conversation, Epoch: f.epoch, Hash: f.hash, Join: f.isJoin, Refused: f.status == statusRefused,
	}
}

func (f *inflight) final(merged bool) messages.FinalConversation {
	return messages.FinalConversation{Conversation: f.conversation, Epoch: f.epoch, Hash: f.hash, Merged: merged}
}

func (f *inflight) bundle(resend bool) messages.CommitBundle {
	b := f.own.Bundle
	return messages.CommitBundle{
		Conversation: f.conversation, Epoch: f.epoch, Commit: b.Commit, Welcome: b.Welcome, GroupInfo: b.GroupInfo,
		EncryptedMessage: b.Message, Hash: f.hash, Resend: resend,
	}
}

func (f *inflight) marshal() (secret.Bytes, error) {
	var before []byte
	if f.before.Len() > 0 {
		var err error
		if before, err = f.before.AppendBinary(make([]byte, 0, f.before.SizeHint())); err != nil {
			return nil, err
		}
		defer clear(before)
	}
	w := newWriter(f.own.SizeHint() + len(before) + len(f.conversation) + len(f.history) + 80)
	w.uint8(uint8(f.status))
	w.uint8(f.order<<1 | flag(f.isJoin))
	w.uint64(f.incarnation)
	w.uint64(f.epoch)
	w.fixed(f.credential[:])
	w.bytes([]byte(f.conversation))
	w.bytesOf(f.own.Append)
	w.bytes(before)
	if f.history != nil {
		w.bytes(f.history)
	}
	return w.b, nil
}

func flag(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

func parseInflight(b []byte) (*inflight, error) {
	r := readRecord(b)
	f := &inflight{status: status(r.uint8())}
	order := r.uint8()
	f.isJoin, f.order = order&1 == 1, order>>1
	f.incarnation, f.epoch = r.uint64(), r.uint64()
	copy(f.credential[:], r.take(uint64(len(f.credential))))
	f.conversation = messages.ConversationID(r.bytes())
	own, before := r.bytes(), r.bytes()
	if len(r.b) > 0 {
		f.history = secret.Bytes(r.bytes()).Clone()
	}
	if err := r.end("in-flight commit"); err != nil {
		return nil, err
	}
	var err error
	if f.own, err = mlsgroup.ParseOwnCommit(own); err != nil {
		return nil, fmt.Errorf("%w: in-flight commit: %w", messages.ErrCorrupt, err)
	}
	f.hash = f.own.Hash
	if len(before) > 0 {
		if f.before, err = store.ParseChangeSet(before); err != nil {
			return nil, fmt.Errorf("%w: in-flight commit: %v", messages.ErrCorrupt, err)
		}
	}
	return f, nil
}

// putInflight writes the record of an in-flight commit, and that it uses the credential
// that it brings in: what is staged may have ended the use by a group before it.
func (c *conversation) putInflight(set *store.ChangeSet, f *inflight) error {
	b, err := f.marshal()
	if err != nil {
		return err
	}
	set.Take(c.client.inflightKey(c.key, f.hash), b)
	if f.credential != (messages.CredentialRef{}) {
		c.stageUse(set, f.credential)
	}
	return nil
}

// loadInflight reads what is in flight. What stood before a commit left is applied
// now, save for those of the transaction that is open here: theirs has ended, with the
// engine that ran it or without the store taking it, and nothing has touched the
// conversation since.
func (c *conversation) loadInflight() ([]*inflight, error) {
	records, err := readAll(c.sys.store, store.PrefixRange(c.client.inflightPrefix(c.key)))
	if err != nil {
		return nil, c.sys.storeError(err)
	}
	var all []*inflight
	for _, rec := range records {
		f, err := parseInflight(rec.Value)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	if c.stage != nil && c.stage.sent() {
		return all, nil // it has begun on what preceded older ones, so this is all its own
	}
	if !slices.ContainsFunc(all, func(f *inflight) bool { return f.before != nil }) {
		return all, nil
	}
	if err := c.applyBefores(all); err != nil {
		return nil, err
	}
	return c.loadInflight() // without those that what preceded has dropped
}

// applyBefores makes what preceded commits in doubt durable, in the order in which they
// left.
func (c *conversation) applyBefores(all []*inflight) error {
	all = slices.DeleteFunc(slices.Clone(all), func(f *inflight) bool { return f.before == nil })
	slices.SortFunc(all, func(a, b *inflight) int { return cmp.Compare(a.order, b.order) })
	for _, f := range all {
		if err := c.applyBefore(f); err != nil {
			return err
		}
	}
	return nil
}

// applyBefore makes what preceded a commit in doubt durable, and the record forget
// it, in one batch. The conversation is not loaded: who reads it waits at the actor for
// that, and so does the list, as what is written may be that it exists.
func (c *conversation) applyBefore(f *inflight) error {
	points, err := c.client.newsOfChanges(f.before)
	if err != nil {
		return err
	}
	settled := *f
	settled.before = nil
	set := new(store.ChangeSet)
	defer set.Wipe()
	set.Append(f.before)
	if err := c.putInflight(set, &settled); err != nil {
		return err
	}
	c.markListing()
	err = c.sys.apply(set)
	if !c.sys.failed.Load() { // as in persist
		c.settleListing()
	}
	if err != nil {
		return err
	}
	c.client.publish(points)
	f.before.Wipe()
	f.before = nil
	return nil
}

// doubt returns the commit that holds up sending: one of the current epoch without a
// verdict. A join is none; the older group lives beside it.
func (c *conversation) doubt(st *stage) *inflight {
	for _, f := range st.state.inflight {
		if !f.isJoin && f.status == statusSent && c.based(st, f) {
			return f
		}
	}
	return nil
}

// based tells whether a commit ends the epoch that the stage is in.
func (c *conversation) based(st *stage, f *inflight) bool {
	return st.state.group != nil && st.state.group.Lineage().Equal(f.own.Base)
}

// replace puts another version of an in-flight commit in the place of an old one, or
// of none, in the committed state and in the stage; both lists tell what is on disk.
func (c *conversation) replace(st *stage, old, f *inflight) {
	swap := func(s *state) *state {
		return s.with(func(next *state) {
			next.inflight = s.without(func(x *inflight) bool { return old != nil && x.hash == old.hash })
			if f != nil {
				next.inflight = append(next.inflight, f)
			}
		})
	}
	same := st == nil || st.state == c.state
	c.state = swap(c.state)
	c.publish()
	if st == nil {
		return
	}
	if same {
		st.state = c.state
	} else if st.state != nil {
		st.state = swap(st.state)
	}
}

// accept makes the commit the end of its epoch, on a stage: the verdict said so, or
// its bytes came back, or a message of the next epoch proves it. All that was staged
// before it, the merge and the deletion of every in-flight commit of the epoch are
// one batch; in a transaction it is applied at once, whatever becomes of the rest.
//
// asked tells that an answer will carry what was kept for the epoch. Otherwise the event
// does, and without anybody to hear it what was kept is kept on.
func (c *conversation) accept(st *stage, f *inflight, asked bool) ([]messages.Released, error) {
	var transition *mlsgroup.Transition
	var err error
	if f.isJoin {
		var none *mlsgroup.Group
		transition, err = none.Merge(f.own)
	} else {
		err = c.try(st, func(g *mlsgroup.Group) (err error) {
			transition, err = g.Merge(f.own)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("actors: merge of an own commit: %w", err)
	}
	if f.isJoin {
		c.stageJoin(st, f)
	}
	used := c.ownCredential(st)
	c.advance(st, transition)
	c.moveUse(st, used, f.credential)
	c.leaveEpoch(st, f.epoch, f)
	st.dropSpent()
	c.emit(st)
	c.emitHistory(st, f)
	told := c.tellSettled(st, f, true)
	var released []messages.Released
	if asked {
		released = c.release(st)
	} else if told.heard != nil {
		told.settled.Released = c.release(st)
	}
	if st.tx != nil {
		if err := c.closeDoubt(st); err != nil {
			return nil, err
		}
		err := c.persist(st)
		st.name(f, err == nil)
		if err != nil {
			st.err = err
			return nil, err
		}
		st.reset(c.state)
	}
	return released, nil
}

// leaveEpoch drops, on a stage that has left an epoch, every in-flight commit that
// this leaves behind; won is the one that ended it, nil for another member's. Whoever
// waits for a verdict is answered once that is durable; a step of the transaction that
// staged it, at once, and as provisionally as all its answers.
//
// A commit of a later epoch stays: a transaction that was aborted can have been there
// and sent it.
func (c *conversation) leaveEpoch(st *stage, ended uint64, won *inflight) {
	all := st.state.inflight
	left := func(f *inflight) bool {
		if won != nil && won.isJoin {
			return true // the group it was for is gone
		}
		return !f.isJoin && f.epoch <= ended
	}
	st.state = st.state.with(func(next *state) {
		next.inflight = st.state.without(left)
	})
	for _, f := range all {
		if !left(f) {
			continue
		}
		st.changes.Delete(c.client.inflightKey(c.key, f.hash))
		c.endUse(&st.changes, st.state, f.credential)
		if f != won && f.status == statusSent {
			c.tellSettled(st, f, false)
		}
		s := c.sending
		if s == nil || s.f.hash != f.hash {
			continue
		}
		if won == nil && st.tx != nil {
			c.endSend(s, nil, &messages.MessageRejected{Reason: "another member's commit came first"})
			continue
		}
		accepted := won != nil && f.hash == won.hash
		if holder := c.stage; accepted && st.tx == nil && holder != nil && holder.tx == s.tx {
			holder.name(f, true) // another's call has found it out
		}
		st.after = append(st.after, func() { c.endSettled(s, accepted) })
	}
}

// endSettled answers the operation that waits for a verdict which came another way.
func (c *conversation) endSettled(s *sending, accepted bool) {
	if accepted {
		c.endSend(s, c.mergedReply(s, nil), nil)
		return
	}
	c.endSend(s, nil, &messages.MessageRejected{Reason: "another commit came first"})
}

// tellSettled stages the event of a commit that was in doubt and is not any longer, and
// returns it, zero where there is none.
func (c *conversation) tellSettled(st *stage, f *inflight, accepted bool) event {
	for _, s := range []*sending{c.sending, st.answering} {
		if s != nil && s.f.hash == f.hash {
			return event{} // its operation answers
		}
	}
	e := c.settledEvent(f, accepted)
	st.events = append(st.events, e)
	return e
}

func (c *conversation) settledEvent(f *inflight, accepted bool) event {
	return event{to: c.client, heard: c.client.config.Load().observer.CommitSettled, settled: &messages.CommitSettled{
		Instance: c.client.instance, Conversation: c.id, Epoch: f.epoch, Hash: f.hash, Accepted: accepted,
	}}
}

// ownCredential returns the credential of the own leaf, zero without a group.
func (c *conversation) ownCredential(st *stage) messages.CredentialRef {
	if st.state.group == nil {
		return messages.CredentialRef{}
	}
	return refOf(st.state.group.SignatureKey())
}

// moveUse stages what the use records say after a commit of one's own.
func (c *conversation) moveUse(st *stage, old, brought messages.CredentialRef) {
	now := c.ownCredential(st)
	if brought == (messages.CredentialRef{}) || old == now {
		return
	}
	c.endUse(&st.changes, st.state, old)
	c.stageUse(&st.changes, now)
}

// stageUse writes that the conversation uses a credential.
func (c *conversation) stageUse(set *store.ChangeSet, ref messages.CredentialRef) {
	set.Put(c.client.keys.Use(nil, ref[:], c.key), []byte(c.id))
}

// endUse writes that the conversation no longer uses a credential, unless in a state
// without what has used it the group or a commit in flight still does.
func (c *conversation) endUse(set *store.ChangeSet, s *state, ref messages.CredentialRef) {
	if ref == (messages.CredentialRef{}) || s.group != nil && ref == refOf(s.group.SignatureKey()) ||
		slices.ContainsFunc(s.inflight, func(f *inflight) bool { return f.credential == ref }) {
		return
	}
	set.Delete(c.client.keys.Use(nil, ref[:], c.key))
}

// closeDoubt completes what a transaction is about to apply: a commit of it that is still
// in doubt stands on what is staged now, so its record no longer needs to say what
// came before, and must not bring it back.
func (c *conversation) closeDoubt(st *stage) error {
	if st.clean() {
		return nil // nothing came before; and the state may not even have been read
	}
	for _, f := range st.state.inflight {
		if f.before == nil {
			continue
		}
		settled := *f
		settled.before = nil
		if err := c.putInflight(&st.changes, &settled); err != nil {
			return err
		}
		st.state = st.state.with(func(next *state) {
			next.inflight = append(st.state.without(func(x *inflight) bool { return x.hash == f.hash }), &settled)
		})
	}
	return nil
}

// keepHanded makes an abort keep what cannot be taken back: own generations that were
// handed out are burnt, and what preceded a commit in doubt is applied.
func (c *conversation) keepHanded(st *stage) error {
	if err := c.load(); err != nil {
		return err
	}
	if len(st.handed) > 0 { // for as long as it stays in memory; the reservation is for those who load it
		c.state = c.state.with(func(next *state) { next.spent = mergeSpent(next.spent, st.handed) })
	}
	all := c.state.inflight
	if !slices.ContainsFunc(all, func(f *inflight) bool { return f.before != nil }) {
		return nil
	}
	c.lose() // what was staged becomes what is stored
	if err := c.applyBefores(all); err != nil {
		return err
	}
	return c.load()
}

// tagged returns the in-flight commit whose confirmation tag a GroupInfo of the next
// epoch carries.
func (s *state) tagged(epoch uint64, tag []byte) *inflight {
	for _, f := range s.inflight {
		if epoch == f.epoch+1 && bytes.Equal(f.own.ConfirmationTag, tag) {
			return f
		}
	}
	return nil
}

// dropInDoubt gives up every commit in flight.
func (c *conversation) dropInDoubt(st *stage) (messages.Reply, error) {
	if st.state.group == nil && st.state.joining() == nil {
		return nil, messages.ErrConversationNotFound
	}
	reply := messages.InDoubtDropped{}
	all := st.state.inflight
	st.state = st.state.with(func(next *state) {
		next.inflight = nil
		if next.group == nil {
			next.early = nil
		}
	})
	for _, f := range all {
		if f.status == statusSent {
			reply.Count++
		}
		st.changes.Delete(c.client.inflightKey(c.key, f.hash))
		c.endUse(&st.changes, st.state, f.credential)
		if f.isJoin {
			c.deleteIncarnation(st, f.incarnation)
		}
	}
	return reply, nil
}

// deleteIncarnation stages the deletion of all records of an incarnation.
func (c *conversation) deleteIncarnation(st *stage, incarnation uint64) {
	low := c.client.keys.Conversation(nil, c.key, incarnation)
	st.changes.DeleteRange(low, store.PrefixEnd(nil, low))
}
