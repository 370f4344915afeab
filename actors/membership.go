package actors

import (
	"crypto/sha256"
	"encoding/binary"
	"math"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// Beginning and ending to have a group.

// adopt stages the group of a creation or of a Welcome, in a new incarnation. A join
// on its way gives way to a Welcome.
func (c *conversation) adopt(st *stage, r adopt) (messages.Reply, error) {
	if err := c.requireAbsent(st, !r.welcome); err != nil {
		return nil, err
	}
	incarnation, err := c.sys.drawUint64()
	if err != nil {
		return nil, err
	}
	if r.welcome {
		incarnation = welcomeIncarnation(r.transition.Next.Lineage())
	}
	var early []earlyMessage
	var texts [][]byte
	if joining := st.state.joining(); joining != nil {
		early = st.state.early
		texts = c.fetch(st, early)
		if c.sending != nil {
			return nil, messages.ErrSending
		}
		c.dropJoins(st)
	}
	signer := *r.signer
	signer.Private = signer.Private.Clone() // the conversation wipes its own
	// A commit of an aborted attempt may have been refused, and comes back: that is not forgotten.
	st.state = &state{incarnation: incarnation, adopted: &signer, inflight: st.state.inflight}
	c.stagePointer(st)
	c.advance(st, r.transition)
	if st.welcomed = r.welcome; r.welcome {
		st.state = st.state.with(func(next *state) { err = c.loadSpent(next) })
		if err != nil {
			return nil, err
		}
	}
	c.stageUse(&st.changes, c.ownCredential(st))
	c.stagePoints(st, r.points)
	// The credential may be one that the same transaction has added. A commit that is
	// accepted makes this conversation final and not the rest, so it comes along, and so
	// does the end of the key package.
	putSecret(&st.changes, c.client.credentialKey(r.credential.entry.Ref), r.credential.marshal())
	if r.spent != nil {
		st.changes.Delete(c.client.keyPackageKey(*r.spent))
	}
	reply := adopted{}
	if r.welcome {
		c.emit(st)
		for i, e := range early {
			if texts[i] == nil || st.state.group == nil {
				continue
			}
			if e.epoch > st.state.group.Epoch() {
				_, _ = c.keep(st, texts[i], e.epoch, e.content, false) // on the new incarnation
				continue
			}
			message, err := c.process(st, nil, texts[i], true)
			reply.released = append(reply.released, messages.Released{Message: message, Err: err})
		}
	}
	return reply, nil
}

// welcomeIncarnation is the same each time that a Welcome is processed: a transaction
// that has joined by it, sent and been aborted has left a reservation there, and the
// Welcome joins the same leaf with the same keys once more.
func welcomeIncarnation(l mlsgroup.Lineage) uint64 {
	h := sha256.Sum256(append(binary.BigEndian.AppendUint64([]byte("welcome"), l.Epoch), l.ConfirmedTranscriptHash...))
	return binary.BigEndian.Uint64(h[:])
}

// markAsChildOf stages the parent, which the pointer names: it outlives a join anew.
func (c *conversation) markAsChildOf(st *stage, r messages.MarkAsChildOf) (messages.Reply, error) {
	if err := c.requireGroup(st); err != nil {
		return nil, err
	}
	st.state = st.state.with(func(next *state) { next.parent = r.Parent })
	c.stagePointer(st)
	return messages.MarkedAsChild{}, nil
}

// stagePointer makes the stage's incarnation the current one.
func (c *conversation) stagePointer(st *stage) {
	st.changes.Put(c.client.keys.Pointer(nil, c.key), pointer{st.state.incarnation, c.id, st.state.parent}.marshal())
}

// dropJoins stages the end of joins on their way.
func (c *conversation) dropJoins(st *stage) {
	all := st.state.inflight
	st.state = st.state.with(func(next *state) { next.inflight = st.state.without((*inflight).join) })
	for _, f := range all {
		if !f.isJoin {
			continue
		}
		st.changes.Delete(c.client.inflightKey(c.key, f.hash))
		c.endUse(&st.changes, st.state, f.credential)
		c.deleteIncarnation(st, f.incarnation)
	}
}

// joinExternally makes an external commit and sends it. The group that the client may
// have under that id lives on until the commit is accepted.
func (c *conversation) joinExternally(st *stage, t *task, r join) (messages.Reply, error) {
	own, err := mlsgroup.JoinByExternalCommit(c.input(t, r.signer), r.info, mlsgroup.ExternalJoinOptions{
		Profile: r.profile, Receive: r.receive, RatchetTree: r.tree, Own: c.client.owns, BasicKeyChange: c.client.config.Load().keyChange, PrivateHandshakes: r.private,
	})
	if err != nil {
		return nil, invalidMessage(err)
	}
	if c.client.transport(st.tx) == nil {
		return nil, messages.ErrNoTransport
	}
	// A new join ends an older one, for good: it will not be merged.
	for _, f := range st.state.inflight {
		if f.isJoin {
			if err := c.forget(st, f); err != nil {
				return nil, err
			}
		}
	}
	incarnation, err := c.sys.drawUint64()
	if err != nil {
		return nil, err
	}
	f := c.newInflight(own, r.info.GroupContext.Epoch, incarnation, true)
	if st.state.group == nil {
		c.both(st, func(next *state) { next.incarnation = incarnation })
	}
	if joined, err := own.Provisional(nil); err == nil {
		t.points = c.notePoints(st, memberCredentials(joined))
	}
	return nil, c.send(st, t, f, r.credential)
}

// stageJoin makes room for the group of an accepted join: the older group goes, with
// what was kept for it.
func (c *conversation) stageJoin(st *stage, f *inflight) {
	var early []earlyMessage
	if st.state.group != nil {
		c.deleteIncarnation(st, st.state.incarnation)
		if old := c.ownCredential(st); old != f.credential {
			st.changes.Delete(c.client.keys.Use(nil, old[:], c.key))
		}
	} else {
		early = st.state.early
	}
	st.state = &state{incarnation: f.incarnation, parent: st.state.parent, early: early, inflight: st.state.inflight}
	c.stagePointer(st)
}

// wipe stages the deletion of the conversation.
func (c *conversation) wipe(st *stage) (messages.Reply, error) {
	if st.state.group == nil && st.state.joining() == nil {
		return nil, messages.ErrConversationNotFound
	}
	c.deleteConversation(st)
	return messages.ConversationWiped{}, nil
}

// deleteConversation stages the deletion of every record of the conversation, by name:
// the transaction may yet write others past what it has staged, which have to outlive
// it. So does what tells which generations were handed out by the group of a Welcome,
// which can be processed again.
func (c *conversation) deleteConversation(st *stage) {
	st.changes.Delete(c.client.keys.Pointer(nil, c.key))
	c.deleteIncarnation(st, st.state.incarnation)
	if st.state.group != nil {
		own := c.ownCredential(st)
		st.changes.Delete(c.client.keys.Use(nil, own[:], c.key))
	}
	for _, f := range st.state.inflight {
		st.changes.Delete(c.client.inflightKey(c.key, f.hash))
		if f.isJoin {
			c.deleteIncarnation(st, f.incarnation)
		}
		if f.credential != (messages.CredentialRef{}) {
			st.changes.Delete(c.client.keys.Use(nil, f.credential[:], c.key))
		}
	}
	st.state = &state{}
}

// leaveGroup stages the end of a group that another's commit has removed us from. An
// own join that ends a later epoch is the way back in, and stays on its way.
func (c *conversation) leaveGroup(st *stage, ended uint64) {
	c.leaveEpoch(st, math.MaxUint64, nil) // no commit of this group can be accepted
	join := st.state.joining()
	if join == nil || join.epoch <= ended {
		c.deleteConversation(st)
		return
	}
	own := c.ownCredential(st)
	st.changes.Delete(c.client.keys.Pointer(nil, c.key))
	c.deleteIncarnation(st, st.state.incarnation)
	st.state = &state{incarnation: join.incarnation, inflight: st.state.inflight}
	c.endUse(&st.changes, st.state, own)
}
