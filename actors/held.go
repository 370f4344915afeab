package actors

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/store"
)

// Messages kept for later. A message of the next epoch, a commit of proposals that
// have not come, and whatever comes while an external join is on its way cannot be
// verified yet, so what is kept is bounded, and the oldest gives way:
//
//	'e' epoch:8 content:1 number:4   the message
//
// The key orders them as they will be tried: by epoch, then application messages,
// proposals, commits, each in the order of arrival.
const recordEarly = 'e'

// earlyMessage is a kept message; its bytes are in the store.
type earlyMessage struct {
	epoch   uint64
	content mlsgroup.ContentType
	number  uint32
	size    int
	hash    [32]byte
	// commit tells that it is a commit of the epoch it was kept in, which waits for
	// proposals.
	commit bool
}

func (e *earlyMessage) key() []byte {
	b := binary.BigEndian.AppendUint64([]byte{recordEarly}, e.epoch)
	b = append(b, byte(e.content))
	return binary.BigEndian.AppendUint32(b, e.number)
}

func compareEarly(a, b earlyMessage) int {
	return cmp.Or(cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.content, b.content), cmp.Compare(a.number, b.number))
}

// loadEarly reads what is kept.
func (c *conversation) loadEarly(incarnation uint64) ([]earlyMessage, error) {
	prefix := c.recordKey(incarnation, []byte{recordEarly})
	records, err := readAll(c.sys.store, store.PrefixRange(prefix))
	if err != nil {
		return nil, c.sys.storeError(err)
	}
	var all []earlyMessage
	for _, rec := range records {
		k := rec.Key[len(prefix):]
		r := readRecord(rec.Value)
		waiting, message := r.uint8(), r.bytes()
		if err := r.end("early message"); err != nil || len(k) != 13 {
			return nil, messages.ErrCorrupt
		}
		all = append(all, earlyMessage{
			epoch: binary.BigEndian.Uint64(k), content: mlsgroup.ContentType(k[8]), number: binary.BigEndian.Uint32(k[9:]),
			size: len(message), hash: sha256.Sum256(message), commit: waiting == 1,
		})
	}
	return all, nil
}

// keep stages a message for later. It answers how many had to give way, and
// ErrDuplicateMessage for one that is kept already.
func (c *conversation) keep(st *stage, message []byte, epoch uint64, content mlsgroup.ContentType, commit bool) (dropped int, err error) {
	if len(message) > maxEarlyBytes {
		return 0, messages.ErrBufferFull
	}
	e := earlyMessage{epoch: epoch, content: content, size: len(message), hash: sha256.Sum256(message), commit: commit}
	bytes, commits := e.size, 0
	for _, k := range st.state.early {
		if k.hash == e.hash {
			return 0, messages.ErrDuplicateMessage
		}
		e.number = max(e.number, k.number+1)
		bytes += k.size
		if k.commit {
			commits++
		}
	}
	kept := slices.Clone(st.state.early)
	for len(kept) > 0 {
		var full func(earlyMessage) bool
		switch {
		case len(kept) >= maxEarly || bytes > maxEarlyBytes:
			full = func(earlyMessage) bool { return true }
		case commit && commits >= maxEarlyCommits:
			full = func(k earlyMessage) bool { return k.commit }
			commits--
		}
		if full == nil {
			break
		}
		i := oldest(kept, full)
		bytes -= kept[i].size
		st.changes.Delete(c.recordKey(st.state.incarnation, kept[i].key()))
		kept = slices.Delete(kept, i, i+1)
		dropped++
	}
	w := newWriter(len(message) + 4)
	w.uint8(flag(commit))
	w.bytes(message)
	st.changes.Put(c.recordKey(st.state.incarnation, e.key()), w.b)
	kept = append(kept, e)
	slices.SortFunc(kept, compareEarly)
	st.state = st.state.with(func(next *state) { next.early = kept })
	return dropped, nil
}

func oldest(kept []earlyMessage, match func(earlyMessage) bool) int {
	best := -1
	for i, k := range kept {
		if match(k) && (best < 0 || k.number < kept[best].number) {
			best = i
		}
	}
	return best
}

// due tells whether a kept message can be tried or dropped in an epoch: it is not for a
// later one, and no commit of this one that waits for proposals.
func (e *earlyMessage) due(epoch uint64) bool {
	return e.epoch < epoch || e.epoch == epoch && !e.commit
}

// owes tells whether messages are kept that are due.
func (s *state) owes() bool {
	for i := range s.early {
		if s.early[i].due(s.group.Epoch()) {
			return true
		}
	}
	return false
}

// release tries what was kept for the epoch that the stage is in, and drops
// what was kept for an earlier one. A message that fails fails alone; a commit of
// proposals that have not come is kept again, to wait for them. A commit that is
// carried out ends that epoch; nothing can be kept for the epoch it begins, so one
// round is all.
func (c *conversation) release(st *stage) []messages.Released {
	if !st.state.owes() {
		return nil
	}
	var now []earlyMessage
	var later []earlyMessage
	for _, e := range st.state.early {
		if e.due(st.state.group.Epoch()) {
			now = append(now, e)
		} else {
			later = append(later, e)
		}
	}
	var out []messages.Released
	texts := c.fetch(st, now)
	for _, e := range now {
		st.changes.Delete(c.recordKey(st.state.incarnation, e.key()))
	}
	st.state = st.state.with(func(next *state) { next.early = later })
	for i, e := range now {
		if e.commit || texts[i] == nil || st.state.group == nil {
			continue // of an epoch that is over, or there is no group left
		}
		reply, err := c.processKept(st, e, texts[i])
		out = append(out, messages.Released{Message: reply, Err: err})
	}
	return out
}

// processKept takes a kept message to the next state. It can be an own commit, which
// a transaction that was aborted had sent when it was ahead of the conversation.
func (c *conversation) processKept(st *stage, e earlyMessage, text []byte) (messages.MessageDecrypted, error) {
	f := st.state.find(e.hash)
	if f == nil || !c.based(st, f) {
		return c.process(st, nil, text, true)
	}
	released, err := c.accept(st, f, true)
	if err != nil {
		return messages.MessageDecrypted{}, err
	}
	return c.ownReply(st, f, released), nil
}

// retryCommits tries commits that waited for proposals, now that one has come. It
// returns what became of the one that could be processed.
func (c *conversation) retryCommits(st *stage) []messages.Released {
	for _, e := range st.state.early {
		if !e.commit || e.epoch != st.state.group.Epoch() {
			continue
		}
		texts := c.fetch(st, []earlyMessage{e})
		if texts[0] == nil {
			continue
		}
		reply, err := c.process(st, nil, texts[0], false)
		if err != nil {
			continue // it waits on, or it will go with its epoch
		}
		return append([]messages.Released{{Message: reply}}, reply.Released...)
	}
	return nil
}

// fetch reads the bytes of kept messages, nil where that fails.
func (c *conversation) fetch(st *stage, list []earlyMessage) [][]byte {
	texts := make([][]byte, len(list))
	keys := make([][]byte, len(list))
	for i := range list {
		keys[i] = c.recordKey(st.state.incarnation, list[i].key())
	}
	values, err := store.Overlay(c.sys.store, &st.changes).GetMany(keys...)
	if err != nil {
		return texts
	}
	for i, value := range values {
		if value == nil {
			continue
		}
		r := readRecord(value)
		r.uint8()
		if text := r.bytes(); r.end("early message") == nil {
			texts[i] = text
		}
	}
	return texts
}
