package actors

import (
	"slices"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// maxRun bounds the application messages whose signatures are verified together.
const maxRun = 64

// decryptMany takes messages in their order, each with a result of its own. Runs of
// application messages are opened together, which saves half their signatures' time.
func (c *conversation) decryptMany(st *stage, t *task, list [][]byte) messages.MessagesDecrypted {
	results := make([]messages.DecryptResult, 0, len(list))
	together := true
	for len(results) < len(list) {
		rest := list[len(results):]
		if together {
			opened, refused := c.openRun(st, rest[:min(len(rest), maxRun)])
			for _, m := range opened {
				results = append(results, messages.DecryptResult{Message: m})
			}
			// A refused message makes what was opened behind it be opened again. That
			// happens once: bad messages must not multiply the work.
			together = !refused
			if rest = rest[len(opened):]; len(rest) == 0 {
				break
			}
		}
		reply, err := c.decrypt(st, t, rest[0])
		if err != nil {
			results = append(results, messages.DecryptResult{Err: err})
			continue
		}
		results = append(results, messages.DecryptResult{Message: reply.(messages.MessageDecrypted)})
	}
	return messages.MessagesDecrypted{Messages: results}
}

// openRun opens as many messages as come before the first that is no application
// message, lacks a part of the group, or is refused, and stages what they change.
// That one is for decrypt to deal with; refused tells that its content was at fault,
// which shows only when all are opened.
func (c *conversation) openRun(st *stage, list [][]byte) (opened []messages.MessageDecrypted, refused bool) {
	g := st.state.group
	if g == nil || len(st.state.inflight) > 0 {
		return nil, false
	}
	keys := make([]*mlsgroup.MessageKey, 0, len(list))
	steps := make([]*mlsgroup.Transition, 0, len(list))
	for _, message := range list {
		sealed, err := g.OpenSenderData(message)
		if err != nil {
			break
		}
		key, step, err := g.TakeMessageKey(sealed)
		if err != nil {
			break
		}
		keys, steps, g = append(keys, key), append(steps, step), step.Next
	}
	if len(keys) < 2 {
		return nil, false
	}
	contents, errs := mlsgroup.OpenAll(keys, nil)
	for i, step := range steps {
		if refused = errs[i] != nil; refused {
			break
		}
		opened = append(opened, received(contents[i], step.Next.Epoch()))
	}
	c.advanceAll(st, steps[:len(opened)])
	return opened, refused
}

// advanceAll stages transitions that follow one another as one: of what they do to a
// record only the last is written, as nobody sees the states between.
func (c *conversation) advanceAll(st *stage, steps []*mlsgroup.Transition) {
	if len(steps) == 0 {
		return
	}
	all := &mlsgroup.Transition{Next: steps[len(steps)-1].Next}
	seen := make(map[string]bool)
	for _, step := range slices.Backward(steps) {
		for _, change := range slices.Backward(step.Changes) {
			if change.Op != mlsgroup.DeleteRange {
				if seen[string(change.Key)] {
					continue
				}
				seen[string(change.Key)] = true
			}
			all.Changes = append(all.Changes, change)
		}
	}
	slices.Reverse(all.Changes)
	for _, step := range steps {
		all.Consumed = append(all.Consumed, step.Consumed...)
	}
	c.advance(st, all)
}
