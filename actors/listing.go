package actors

import (
	"context"
	"slices"

	"github.com/conclave-mls/conclave/messages"
)

// The list of a client's conversations is read from the store, and the store is ahead of
// a conversation that is being created, joined, left or wiped: a batch can be read before
// it is durable. So a conversation that comes or goes is unsettled, from before the store
// is given that until it is current, and is asked whether it exists.

// unsettle marks a conversation as unsettled if it comes or goes by a stage, and tells
// whether it does. The mark is to be taken away once that is current, or given up.
func (c *conversation) unsettle(st *stage) bool {
	if c.state != nil && st.state != nil && (c.state.group == nil) == (st.state.group == nil) {
		return false
	}
	c.markListing()
	return true
}

// markListing marks a conversation of which it is not known whether it comes or goes.
func (c *conversation) markListing() {
	c.client.changeUnsettled(func(ids []messages.ConversationID) []messages.ConversationID { return append(ids, c.id) })
}

// settleListing takes the mark away, if there is one.
func (c *conversation) settleListing() {
	c.client.changeUnsettled(func(ids []messages.ConversationID) []messages.ConversationID {
		return slices.DeleteFunc(ids, func(id messages.ConversationID) bool { return id == c.id })
	})
}

func (c *client) changeUnsettled(f func([]messages.ConversationID) []messages.ConversationID) {
	for {
		old := c.unsettled.Load()
		var ids []messages.ConversationID
		if old != nil {
			ids = slices.Clone(*old)
		}
		next := f(ids)
		if old == nil && len(next) == 0 || old != nil && len(*old) == len(next) {
			return
		}
		now := &next
		if len(next) == 0 {
			now = nil
		}
		if c.unsettled.CompareAndSwap(old, now) {
			return
		}
	}
}

// listConversations lists what the store has, and of those that are unsettled what they
// say themselves. They say what their transaction's decision allows, see view.go.
func (s *System) listConversations(ctx context.Context, at place) (messages.Reply, error) {
	reply, err := s.askClient(ctx, at, messages.ListConversations{})
	if err != nil {
		return nil, err
	}
	// Those that have settled since the store was read are as durable as what was read.
	unsettled := at.client.unsettled.Load()
	if unsettled == nil {
		return reply, nil
	}
	ids := reply.(messages.ConversationsListed).Conversations
	for _, id := range *unsettled {
		read, err := s.readPastGate(ctx, at.client, id)
		if err != nil {
			return nil, err
		}
		at := slices.Index(ids, id)
		switch exists := read.(messages.ConversationRead).Exists; {
		case exists && at < 0:
			ids = append(ids, id)
		case !exists && at >= 0:
			ids = slices.Delete(ids, at, at+1)
		}
	}
	return messages.ConversationsListed{Conversations: ids}, nil
}

// readPastGate is readConversation for the list, which has been let in: the conversation's
// gate, which may be full, is not asked.
func (s *System) readPastGate(ctx context.Context, c *client, id messages.ConversationID) (messages.Reply, error) {
	r := messages.ReadConversation{}
	if reply, ok, err := s.readView(place{client: c}, id, r); ok {
		return reply, err
	}
	e := s.admit(ctx, c, entryKey{instance: c.instance, id: id})
	defer e.release()
	return newTask(ctx, r).wait(e.actor)
}
