package actors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// view is what a conversation shows to reads outside of transactions, which are
// answered from it on the caller's goroutine: they wait neither for a step nor for the
// disk. It is the committed state without keys, save copies of the two secrets that are
// read: the exporter's and the epoch authenticator.
//
// The actor publishes one after each swap that changes what is read, before it answers
// anybody or tells of an event, so who has been answered reads what he has done. No view
// is always right, as the actor is asked then: while the conversation is not in memory,
// after a panic or a failure of the store until it has been loaded again, and from the vote
// on a transaction that changes it until the decision is carried out. The last is so that who
// has seen a transaction at one conversation does not find another as it was before.
type view struct {
	state *state
	// users counts who reads it, and the actor while it is published. At 0 the copies
	// are wiped, and nobody can begin to read.
	users atomic.Int64
}

// enter begins a read, unless the view has come to its end.
func (v *view) enter() bool {
	for {
		n := v.users.Load()
		if n == 0 {
			return false
		}
		if v.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (v *view) leave() {
	if v.users.Add(-1) == 0 && v.state.group != nil {
		v.state.group.Wipe()
	}
}

// publish makes the committed state what others read, unless they read just that
// already.
func (c *conversation) publish() {
	if c.state == nil || c.state == c.shown || c.stage != nil && c.stage.voted {
		return
	}
	same := c.shown != nil && c.shown.readsLike(c.state)
	c.shown = c.state
	if same {
		return
	}
	v := &view{state: c.state.public()}
	v.users.Store(1)
	if old := c.entry.view.Swap(v); old != nil {
		old.leave()
	}
}

// withdraw sends those who read to the actor.
func (c *conversation) withdraw() {
	c.shown = nil
	if old := c.entry.view.Swap(nil); old != nil {
		old.leave()
	}
}

// readsLike tells whether both states show the same to a read.
func (s *state) readsLike(other *state) bool {
	if (s.group == nil) != (other.group == nil) || s.group != nil && !s.group.ReadsLike(other.group) {
		return false
	}
	return s.parent == other.parent && slices.Equal(s.inflight, other.inflight)
}

// public returns what a read needs of a state, with memory of its own where that is
// secret.
func (s *state) public() *state {
	p := &state{parent: s.parent}
	if s.group != nil {
		p.group = s.group.Reader()
	}
	for _, f := range s.inflight {
		p.inflight = append(p.inflight, &inflight{
			conversation: f.conversation, hash: f.hash, status: f.status, isJoin: f.isJoin, epoch: f.epoch,
		})
	}
	return p
}

// readView answers a read outside of a transaction from the conversation's view. ok is
// false where the actor has to be asked. Reading is use, and keeps the conversation
// in memory.
func (s *System) readView(at place, id messages.ConversationID, r messages.Request) (reply messages.Reply, ok bool, err error) {
	if at.tx != nil || !isRead(r) {
		return nil, false, nil
	}
	e, ok := s.conversations.load(entryKey{instance: at.client.instance, id: id})
	if !ok {
		return nil, false, nil
	}
	v := e.view.Load()
	if v == nil || !v.enter() {
		return nil, false, nil
	}
	defer v.leave()
	e.used.Store(int64(time.Since(s.started)))
	reply, err = v.state.read(at.client, r)
	var need *mlsgroup.Need
	if errors.As(err, &need) || errors.Is(err, errSigns) {
		return nil, false, nil
	}
	return reply, true, err
}

// readConversation answers a read from the view, or asks the actor.
func (s *System) readConversation(ctx context.Context, at place, id messages.ConversationID, r messages.Request) (messages.Reply, error) {
	if reply, ok, err := s.readView(at, id, r); ok {
		return reply, err
	}
	return s.askConversation(ctx, at, id, newTask(ctx, r))
}

// readCommitted serves a read outside the transaction that holds the guard: from
// what is durable. Once that has voted there are three times:
//
//   - Until its changes are given to the store, memory and store agree, and the read may
//     not wait: the vote of another participant may wait for who asks. What is loaded
//     counts if that time was not over when all had been loaded, and is not kept.
//   - Until they are durable, the store is ahead of memory. What is all in memory is
//     answered from there, other reads are parked.
//   - Until the decision is carried out here, all are parked: who asks may have seen it
//     elsewhere.
//
// What is parked waits for the store alone.
func (c *conversation) readCommitted(t *task) {
	reply, err := c.readBefore(t.request)
	if !errors.Is(err, errApplying) {
		t.answer(reply, err)
		return
	}
	c.parked = append(c.parked, t)
}

// readBefore reads what was before the decision, or answers errApplying.
func (c *conversation) readBefore(r messages.Request) (messages.Reply, error) {
	st := c.stage
	if st == nil || !st.voted {
		if err := c.load(); err != nil {
			return nil, err
		}
		return c.read(&stage{state: c.state}, r)
	}
	if st.tx.decided.Load() {
		return nil, errApplying
	}
	if err := c.load(); err != nil {
		return nil, err
	}
	reply, err := c.state.read(c.client, r)
	var need *mlsgroup.Need
	if !errors.As(err, &need) && !errors.Is(err, errSigns) {
		return reply, err
	}
	if c.applying() {
		return nil, errApplying
	}
	apart := *c.state // so that nothing that is loaded is kept
	reply, err = c.read(&stage{state: &apart}, r)
	if c.applying() {
		return nil, errApplying
	}
	return reply, err
}

// read serves a read on a stage, and loads what it lacks.
func (c *conversation) read(st *stage, r messages.Request) (messages.Reply, error) {
	reply, err := st.state.read(c.client, r)
	var need *mlsgroup.Need
	switch {
	case errors.Is(err, errSigns):
		return c.exportGroupInfo(st)
	case errors.As(err, &need):
		err = c.try(st, func(*mlsgroup.Group) (err error) {
			reply, err = st.state.read(c.client, r)
			return err
		})
	}
	return reply, err
}

// errSigns says that a read takes the signature key, which no view has.
var errSigns = errors.New("actors: the read signs")

// read serves a read of a state. *mlsgroup.Need says what is not in memory.
func (s *state) read(c *client, r messages.Request) (messages.Reply, error) {
	if _, ok := r.(messages.ReadConversation); ok {
		return s.describe()
	}
	g := s.group
	if g == nil {
		return nil, messages.ErrConversationNotFound
	}
	switch r := r.(type) {
	case messages.ListMembers:
		members, err := g.Members()
		if err != nil {
			return nil, err
		}
		reply := messages.MembersListed{Epoch: g.Epoch(), CipherSuite: g.CipherSuite(), Members: make([]messages.Member, 0, g.MemberCount())}
		for i, leaf := range members {
			reply.Members = append(reply.Members, messages.Member{
				Leaf: uint32(i), ClientID: c.identityOf(&leaf.Credential), Credential: leaf.Credential, SignatureKey: leaf.SignatureKey,
			})
		}
		return reply, nil
	case messages.ExportSecret:
		if r.Length < 0 || r.Length > 1<<16-1 {
			return nil, fmt.Errorf("%w: secret of %d bytes", messages.ErrInvalidArgument, r.Length)
		}
		exported, err := g.Export(r.Label, r.Context, r.Length)
		if errors.Is(err, mlsgroup.ErrInactive) {
			return nil, fmt.Errorf("%w: %w", messages.ErrConversationNotFound, err)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", messages.ErrInvalidArgument, err)
		}
		return messages.SecretExported{Epoch: g.Epoch(), Secret: exported}, nil
	case messages.ExportGroupInfo:
		return nil, errSigns
	}
	return nil, fmt.Errorf("%w: %T", messages.ErrInvalidArgument, r)
}

// describe answers ReadConversation.
func (s *state) describe() (messages.Reply, error) {
	reply := messages.ConversationRead{}
	for _, f := range s.inflight {
		reply.InDoubt = append(reply.InDoubt, f.doubt())
	}
	g := s.group
	if g == nil {
		return reply, nil
	}
	pending, err := g.PendingProposals()
	if err != nil {
		return nil, err
	}
	for _, p := range pending {
		reply.PendingProposals = append(reply.PendingProposals, p.Ref)
	}
	if reply.ExternalSenders, err = g.ExternalSenders(); err != nil {
		return nil, fmt.Errorf("%w: %w", messages.ErrCorrupt, err)
	}
	reply.Exists, reply.Epoch, reply.CipherSuite = true, g.Epoch(), g.CipherSuite()
	reply.Profile = messages.ProfileWire
	if g.Profile() == mlsgroup.ProfileRFC {
		reply.Profile = messages.ProfileRFC9420
	}
	reply.Parent = s.parent
	reply.OwnLeaf, reply.SignatureKey = uint32(g.OwnLeaf()), g.SignatureKey()
	reply.EpochAuthenticator = g.EpochAuthenticator().Clone()
	return reply, nil
}

// exportGroupInfo signs a GroupInfo. The signature key is the actor's alone.
func (c *conversation) exportGroupInfo(st *stage) (messages.Reply, error) {
	signer, err := c.signer(st)
	if err != nil {
		return nil, err
	}
	var info []byte
	err = c.try(st, func(g *mlsgroup.Group) (err error) {
		info, err = g.NewGroupInfo(c.input(nil, signer), false, nil)
		return err
	})
	if err != nil {
		return nil, outboundError(err)
	}
	return messages.GroupInfoExported{GroupInfo: info}, nil
}
