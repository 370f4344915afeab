package actors

import (
	"slices"

	"github.com/conclave-mls/conclave/internal/secret"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/store"
)

// state is what a conversation is, in memory. It never changes: a step makes
// another one, which shares all that stayed.
type state struct {
	group       *mlsgroup.Group // nil: there is none
	incarnation uint64
	parent      messages.ConversationID // that it was marked as a child of
	signer      *mlsgroup.Signer        // ready to sign; nil: not loaded
	adopted     *mlsgroup.Signer        // what a creation or join brought, in its stored form, until something is signed
	early       []earlyMessage          // kept for later, in the order in which it is tried
	inflight    []*inflight             // own commits that have left and are not settled
	// spent, by epoch: own generations that are or may be used beyond what the group
	// knows: handed out by a transaction that was aborted, or lost in a crash.
	spent map[uint64]generations
	// reserved, by epoch: what the store says may be used, see spent.go.
	reserved map[uint64]generations
}

// generations counts own generations, of both ratchets.
type generations struct{ application, handshake uint32 }

func (g generations) max(o generations) generations {
	return generations{max(g.application, o.application), max(g.handshake, o.handshake)}
}

// wipe overwrites the keys of a state that nobody uses any more.
func (s *state) wipe() {
	if s == nil {
		return
	}
	if s.group != nil {
		s.group.Wipe()
	}
	for _, signer := range []*mlsgroup.Signer{s.signer, s.adopted} {
		if signer != nil {
			signer.Private.Wipe()
		}
	}
	for _, f := range s.inflight {
		f.own.Wipe()
		f.before.Wipe()
		f.history.Wipe()
	}
}

func (s *state) with(f func(next *state)) *state {
	next := *s
	f(&next)
	return &next
}

// find returns the in-flight commit with a hash.
func (s *state) find(hash [32]byte) *inflight {
	for _, f := range s.inflight {
		if f.hash == hash {
			return f
		}
	}
	return nil
}

// joining returns the external join on its way, nil if there is none.
func (s *state) joining() *inflight {
	for _, f := range s.inflight {
		if f.join() && f.status != statusRefused {
			return f
		}
	}
	return nil
}

func (s *state) without(drop func(*inflight) bool) []*inflight {
	return slices.DeleteFunc(slices.Clone(s.inflight), drop)
}

// stage is the next state beside the current one, with all that takes it there: of a
// batch of single calls, or of the transaction that holds the guard.
type stage struct {
	tx       *transaction // nil: a batch
	state    *state       // nil: the committed one
	changes  store.ChangeSet
	consumed []secret.Bytes // to wipe once the state is current
	events   []event        // to tell once it is durable
	news     []news         // to publish once it is durable
	after    []func()       // to do once it is current
	// handed are the own generations whose messages the application has.
	handed map[uint64]generations
	// welcomed tells that the group came by a Welcome, which may be processed again.
	welcomed bool
	final    []messages.FinalConversation // its commits that have left, and all that were accepted
	points   *pointChanges                // of a batch, nil: none; a transaction has its own
	// answering is the send whose verdict is being carried out: its operation tells of
	// it, and no event.
	answering *sending
	voted     bool  // its changes are with the transaction, whose decision is to come
	unsettled bool  // the conversation is marked, see listing.go
	err       error // what was staged is lost; the transaction cannot finish
}

// name puts a commit among those that the end of the transaction names.
func (st *stage) name(f *inflight, merged bool) { st.final = named(st.final, f.final(merged)) }

// sent tells whether a commit has left on behalf of the stage.
func (st *stage) sent() bool { return len(st.final) > 0 }

// named returns what the end of the transaction names: the commits that were accepted,
// and those that are in doubt in a state, or may be where that is not known.
func (st *stage) named(s *state) []messages.FinalConversation {
	return slices.DeleteFunc(slices.Clone(st.final), func(final messages.FinalConversation) bool {
		if final.Merged || s == nil {
			return false
		}
		f := s.find(final.Hash)
		return f == nil || f.status != statusSent
	})
}

// named puts what became of commits into a list, in the place of what that said before.
func named(list []messages.FinalConversation, finals ...messages.FinalConversation) []messages.FinalConversation {
	for _, f := range finals {
		same := func(old messages.FinalConversation) bool { return old.Hash == f.Hash }
		if i := slices.IndexFunc(list, same); i >= 0 {
			list[i] = f
		} else {
			list = append(list, f)
		}
	}
	return list
}

// clean tells whether nothing is staged.
func (st *stage) clean() bool { return st.changes.Len() == 0 }

// reset empties a stage whose changes have become durable on their own, as those
// before an accepted commit do.
func (st *stage) reset(s *state) {
	st.changes.Wipe()
	st.state, st.consumed, st.events, st.after, st.news = s, nil, nil, nil, nil
}

// discard wipes what a stage that is given up would have written, and its keys but for
// those that the committed state has too. A commit in flight may have been made from what
// was staged and share them, so then they are left to the garbage collector.
func (c *conversation) discard(st *stage) {
	if !st.clean() && st.state != nil && c.state != nil && len(c.state.inflight) == 0 {
		dropped := mlsgroup.Transition{Next: st.state.group, Consumed: st.consumed}
		dropped.Wipe(c.state.group)
	}
	st.changes.Wipe()
}

// note remembers that the application has a message that used an own generation, for
// a transaction: it may be aborted.
func (st *stage) note(epoch uint64, o *mlsgroup.Outbound) {
	if st.tx == nil || !o.Encrypted {
		return
	}
	if st.handed == nil {
		st.handed = make(map[uint64]generations)
	}
	st.handed[epoch] = st.handed[epoch].max(usedBy(o))
}

// advance stages a transition of the group: it cannot fail, so whatever can comes
// before it.
func (c *conversation) advance(st *stage, t *mlsgroup.Transition) {
	c.stageChanges(&st.changes, st.state.incarnation, t.Changes)
	for _, change := range t.Changes {
		change.Value.Wipe() // the stage has a copy
	}
	if st.consumed == nil {
		st.consumed = slices.Clip(t.Consumed) // most batches have one step
	} else {
		st.consumed = append(st.consumed, t.Consumed...)
	}
	st.state = st.state.with(func(next *state) { next.group = t.Next })
}

// stageChanges puts the changes of a group's records under the conversation's
// prefix.
func (c *conversation) stageChanges(set *store.ChangeSet, incarnation uint64, changes []mlsgroup.Change) {
	prefix := c.client.keys.Conversation(make([]byte, 0, 96), c.key, incarnation)
	high := slices.Clone(prefix)
	for _, change := range changes {
		key := append(prefix, change.Key...)
		switch change.Op {
		case mlsgroup.Put:
			set.Put(key, change.Value)
		case mlsgroup.Delete:
			set.Delete(key)
		case mlsgroup.DeleteRange:
			set.DeleteRange(key, append(high, change.High...))
		}
	}
}

// recordKey is the key of one of the conversation's own records.
func (c *conversation) recordKey(incarnation uint64, suffix []byte) []byte {
	return append(c.client.keys.Conversation(nil, c.key, incarnation), suffix...)
}

// emit stages the event of an epoch that begins.
func (c *conversation) emit(st *stage) {
	st.events = append(st.events, event{to: c.client, epoch: &messages.EpochChanged{
		Instance: c.client.instance, Conversation: c.id, Epoch: st.state.group.Epoch(),
	}})
}
