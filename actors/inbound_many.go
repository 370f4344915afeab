package actors

import (
	"bytes"
	"errors"
	"slices"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
)

const (
	// maxRun bounds the application messages of a conversation that are opened at once.
	maxRun = 64
	// maxApart is how many messages of a conversation are opened apart from others
	// after one with a bad signature.
	maxApart = 1024
)

// inbound is a message to decrypt and what became of it.
type inbound struct {
	task    *task
	message []byte
	messages.DecryptResult
}

// inboundOf returns the messages that a task brings.
func inboundOf(list []inbound, t *task) []inbound {
	switch r := t.request.(type) {
	case messages.DecryptMessage:
		list = append(list, inbound{task: t, message: r.Message})
	case messages.DecryptMessages:
		for _, m := range r.Messages {
			list = append(list, inbound{task: t, message: m})
		}
	}
	return list
}

// messagesIn counts the messages that a task brings.
func messagesIn(t *task) int {
	if many, ok := t.request.(messages.DecryptMessages); ok {
		return len(many.Messages)
	}
	return 1
}

// decrypted makes the reply of a task out of its part of a list, which it returns the
// rest of.
func decrypted(t *task, list []inbound) (reply messages.Reply, rest []inbound, err error) {
	many, ok := t.request.(messages.DecryptMessages)
	if !ok {
		return list[0].Message, list[1:], list[0].Err
	}
	results := make([]messages.DecryptResult, len(many.Messages))
	for i := range results {
		results[i] = list[i].DecryptResult
	}
	return messages.MessagesDecrypted{Messages: results}, list[len(results):], nil
}

// decryptMany takes messages in their order, each with a result of its own. Runs of
// application messages are opened at once; commits and proposals are taken alone,
// between them. It stops where a task begins that has to wait, and tells how many
// messages it has dealt with.
func (c *conversation) decryptMany(st *stage, list []inbound) int {
	most := c.sys.options.Step.Or(maxRun)
	for done := 0; done < len(list); {
		in := &list[done]
		c.serving = in.task
		if done > 0 && in.task != list[done-1].task && in.task.tx == nil && c.held(in.task) {
			return done
		}
		if n := c.openRun(st, list[done:min(len(list), done+most)]); n > 0 {
			done += n
			continue
		}
		reply, err := c.decrypt(st, in.task, in.message)
		if in.Err = err; err == nil {
			in.Message = reply.(messages.MessageDecrypted)
			if st.state.group != nil { // what no answer has carried yet
				in.Message.Released = append(in.Message.Released, c.release(st)...)
				c.arrive(st, &in.Message)
			}
		}
		done++
	}
	return len(list)
}

// openRun opens the application messages that the list begins with and stages what
// they change, as one step. It tells how many there were; what it leaves is for
// decrypt to deal with.
func (c *conversation) openRun(st *stage, list []inbound) int {
	if st.state.group == nil || len(st.state.inflight) > 0 || st.state.owes() {
		return 0
	}
	sealed := make([]*mlsgroup.SealedMessage, 0, len(list))
	for i := range list {
		c.serving = list[i].task
		s, err := c.openSenderData(st, list[i].message)
		if err != nil {
			break
		}
		sealed = append(sealed, s)
	}
	if len(sealed) == 0 {
		return 0
	}
	list = list[:len(sealed)]
	keys, refusals, step, err := c.takeKeys(st, sealed)
	if err != nil {
		return 0
	}
	contents, bad := c.open(keys, refusals)
	if bad {
		// Those that did not open take no key: a forged message must not use up that
		// of the true one. The others' keys stay the same, and so they stay open.
		var left []*mlsgroup.SealedMessage
		var places []int
		for i, refused := range refusals {
			if refused == nil {
				left, places = append(left, sealed[i]), append(places, i)
			}
		}
		var again []error
		step.Wipe(st.state.group)
		if _, again, step, err = c.takeKeys(st, left); err != nil {
			return 0
		}
		for n, i := range places {
			refusals[i] = again[n]
		}
	}
	if step != nil {
		c.advance(st, step)
	}
	for i := range list {
		c.serving = list[i].task
		if refusals[i] != nil {
			list[i].Message, list[i].Err = c.refused(st, list[i].message, refusals[i], true)
		} else {
			list[i].Message = c.received(contents[i], st.state.group.Epoch())
		}
	}
	return len(list)
}

// privateMessage is how a PrivateMessage begins: version 1 and wire format 2.
var privateMessage = []byte{0, 1, 0, 2}

// openSenderData finds out who sent an application message. Any other is refused.
func (c *conversation) openSenderData(st *stage, message []byte) (s *mlsgroup.SealedMessage, err error) {
	if !bytes.HasPrefix(message, privateMessage) {
		return nil, mlsgroup.ErrWireFormat
	}
	err = c.try(st, func(g *mlsgroup.Group) (err error) {
		s, err = g.OpenSenderData(message)
		return err
	})
	return s, err
}

// takeKeys takes the keys of messages, in their order, as one step. A message that is
// refused takes none. What the step lacks is loaded.
func (c *conversation) takeKeys(st *stage, sealed []*mlsgroup.SealedMessage) (keys []*mlsgroup.MessageKey, refusals []error, step *mlsgroup.Transition, err error) {
	err = c.try(st, func(g *mlsgroup.Group) error {
		keys, refusals, step = g.TakeMessageKeys(sealed)
		return needOfAll(refusals)
	})
	return keys, refusals, step, err
}

// needOfAll returns one *mlsgroup.Need for the parts that any of some refusals asks
// for, or nil.
func needOfAll(refusals []error) error {
	var parts []mlsgroup.Part
	for _, refused := range refusals {
		if refused == nil {
			continue
		}
		var need *mlsgroup.Need
		if errors.As(refused, &need) {
			for _, p := range need.Parts {
				if !slices.Contains(parts, p) {
					parts = append(parts, p)
				}
			}
		}
	}
	if parts == nil {
		return nil
	}
	return &mlsgroup.Need{Parts: parts}
}

// open opens the messages that were not refused, notes those that are refused now,
// and tells whether there are such.
func (c *conversation) open(keys []*mlsgroup.MessageKey, refusals []error) (contents []*mlsgroup.Received, bad bool) {
	taken, places := keys, []int(nil) // nil: each in its place
	if slices.Contains(keys, nil) {
		taken = make([]*mlsgroup.MessageKey, 0, len(keys))
		places = make([]int, 0, len(keys))
		for i, key := range keys {
			if key != nil {
				taken, places = append(taken, key), append(places, i)
			}
		}
	}
	open := c.sys.openers.open
	if c.apart > 0 {
		open, c.apart = c.sys.openers.openApart, max(0, c.apart-len(taken))
	}
	got, errs := open(taken)
	contents = got
	if places != nil {
		contents = make([]*mlsgroup.Received, len(keys))
	}
	for n, err := range errs {
		i := n
		if places != nil {
			i = places[n]
		}
		contents[i] = got[n]
		if err != nil {
			refusals[i], bad, c.apart = err, true, maxApart
		}
	}
	return contents, bad
}
