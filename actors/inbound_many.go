package actors

import (
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
	contents, errs := mlsgroup.OpenAll(keys)
	for i, step := range steps {
		if errs[i] != nil {
			return opened, true
		}
		c.advance(st, step)
		opened = append(opened, received(contents[i], step.Next.Epoch()))
	}
	return opened, false
}
