package actors

import (
	"bytes"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/conclave-mls/conclave/internal/secret"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/store"
)

// load reads the conversation's committed state, unless it is in memory: the pointer,
// the head of the group and what is in flight. All else is read when a step asks for
// it. What a transaction of an earlier run had staged before its commit left is
// applied first, as that run has ended.
//
// While a transaction is being applied here what is read is partly of before and partly
// of after, so then it answers errApplying.
func (c *conversation) load() error {
	if c.state != nil {
		return nil
	}
	if c.applying() {
		return errApplying
	}
	s, err := c.loadState()
	if c.applying() {
		return errApplying
	}
	if err != nil {
		return err
	}
	c.state = s
	c.entry.weigh(c.memory()) // before anybody is answered: who comes next sees it
	c.publish()
	return nil
}

// errApplying says that the store may be ahead of what is in memory.
var errApplying = fmt.Errorf("%w: a transaction is being applied", messages.ErrInternal)

// applying tells whether the store may be ahead of what is in memory: it has been given
// what is staged, and the decision is not carried out here.
func (c *conversation) applying() bool {
	return c.stage != nil && c.stage.voted && c.stage.tx.applying.Load()
}

func (c *conversation) loadState() (*state, error) {
	s := new(state)
	var err error
	if s.inflight, err = c.loadInflight(); err != nil {
		return nil, err
	}
	values, err := c.sys.store.GetMany(c.client.keys.Pointer(nil, c.key))
	if err != nil {
		return nil, c.sys.storeError(err)
	}
	if values[0] == nil {
		if f := s.joining(); f != nil {
			s.incarnation = f.incarnation
			if s.early, err = c.loadEarly(s.incarnation); err != nil {
				return nil, err
			}
		}
		return s, nil
	}
	p, err := parsePointer(values[0])
	if err != nil {
		return nil, err
	}
	if p.id != c.id {
		return nil, fmt.Errorf("%w: conversation pointer", messages.ErrCorrupt)
	}
	s.incarnation, s.parent = p.incarnation, p.parent
	head, err := c.sys.store.GetMany(c.recordKey(s.incarnation, mlsgroup.HeadKey()))
	if err != nil {
		return nil, c.sys.storeError(err)
	}
	if head[0] == nil {
		return nil, fmt.Errorf("%w: no head", messages.ErrCorrupt)
	}
	if s.group, err = mlsgroup.LoadGroup(head[0]); err != nil {
		return nil, fmt.Errorf("%w: %w", messages.ErrCorrupt, err)
	}
	if s.early, err = c.loadEarly(s.incarnation); err != nil {
		return nil, err
	}
	if err := c.loadSpent(s); err != nil {
		return nil, err
	}
	return s, nil
}

// try runs a pure step on a group and loads what it lacks, until it has what it
// needs. It returns the group with what was loaded, which is the same state.
func (c *conversation) try(st *stage, f func(g *mlsgroup.Group) error) error {
	g := st.state.group
	for range maxNeed {
		err := f(g)
		if err == nil {
			return nil
		}
		var need *mlsgroup.Need
		if !errors.As(err, &need) {
			return err
		}
		if g, err = c.fill(st, st.state.incarnation, g, need); err != nil {
			return err
		}
		c.keepLoaded(st, g)
	}
	return fmt.Errorf("%w: a step asks for more and more", messages.ErrInternal)
}

// keepLoaded makes a group with more parts the stage's, and the committed one too
// where both are the same state, so that parts are loaded once.
func (c *conversation) keepLoaded(st *stage, g *mlsgroup.Group) {
	next := st.state.with(func(next *state) { next.group = g })
	if c.state == st.state {
		c.state = next
		c.publish()
	}
	st.state = next
}

// fill reads the parts that a step has named.
func (c *conversation) fill(st *stage, incarnation uint64, g *mlsgroup.Group, need *mlsgroup.Need) (*mlsgroup.Group, error) {
	from := c.sys.store
	if !st.clean() {
		from = store.Overlay(c.sys.store, &st.changes)
	}
	loaded := make([]mlsgroup.Loaded, len(need.Parts))
	for i, part := range need.Parts {
		loaded[i].Part = part
		for _, r := range part.Ranges() {
			records, err := c.readRange(from, incarnation, r)
			if err != nil {
				return nil, err
			}
			loaded[i].Records = append(loaded[i].Records, records...)
			if len(records) > 0 && part.Alternatives() {
				break
			}
		}
	}
	full, err := g.WithParts(loaded...)
	for i := range loaded {
		for _, rec := range loaded[i].Records {
			secret.Bytes(rec.Value).Wipe()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", messages.ErrCorrupt, err)
	}
	return full, nil
}

// readRange reads a range of a group's records, all of it where it has no limit.
func (c *conversation) readRange(from store.Reader, incarnation uint64, r mlsgroup.RecordRange) ([]mlsgroup.Record, error) {
	prefix := c.client.keys.Conversation(nil, c.key, incarnation)
	span := store.Range{
		Low:   append(prefix[:len(prefix):len(prefix)], r.Low...),
		High:  append(prefix[:len(prefix):len(prefix)], r.High...),
		Limit: r.Limit, Reverse: r.Reverse,
	}
	var found []store.Record
	var err error
	if r.Limit > 0 {
		found, err = from.Range(span)
	} else {
		found, err = readAll(from, span)
	}
	if err != nil {
		return nil, c.sys.storeError(err)
	}
	records := make([]mlsgroup.Record, len(found))
	for i, rec := range found {
		records[i] = mlsgroup.Record{Key: rec.Key[len(prefix):], Value: rec.Value}
	}
	return records, nil
}

// signer returns the key that signs for the own leaf: the credential whose key the
// leaf has, in the form that signs fast.
func (c *conversation) signer(st *stage) (*mlsgroup.Signer, error) {
	public := st.state.group.SignatureKey()
	if s := st.state.signer; s != nil && bytes.Equal(s.Public, public) {
		return s, nil
	}
	stored := st.state.adopted
	if stored == nil || !bytes.Equal(stored.Public, public) {
		values, err := c.sys.store.GetMany(c.client.credentialKey(refOf(public)))
		if err != nil {
			return nil, c.sys.storeError(err)
		}
		if values[0] == nil {
			return nil, messages.ErrCredentialNotFound
		}
		record, err := parseCredentialRecord(values[0])
		if err != nil {
			return nil, err
		}
		defer record.private.Wipe()
		stored = record.signer(st.state.group.CipherSuite())
	}
	if len(stored.Private) == 0 {
		return nil, fmt.Errorf("%w: its signature key is not here, it can only read", messages.ErrCredentialNotFound)
	}
	signer, err := stored.Expanded()
	if err != nil {
		return nil, fmt.Errorf("%w: signature key: %w", messages.ErrCorrupt, err)
	}
	next := st.state.with(func(next *state) { next.signer, next.adopted = signer, nil })
	if c.state == st.state {
		c.state = next
	}
	st.state = next
	return signer, nil
}

// input is what a step of this conversation gets from outside. A step that does not
// sign gets no signer.
func (c *conversation) input(t *task, signer *mlsgroup.Signer) mlsgroup.Input {
	var tx *transaction
	if t != nil {
		tx = t.tx
	} else if c.stage != nil {
		tx = c.stage.tx // what was kept, and comes out within a step of it
	}
	in := c.client.input(tx, signer)
	in.PSK = func(id mlsgroup.PreSharedKeyID) (secret.Bytes, bool) { return c.psk(t, id) }
	return in
}

// psk finds a pre-shared key: an external one that the transaction has staged, or
// that is in the store.
func (c *conversation) psk(t *task, id mlsgroup.PreSharedKeyID) (secret.Bytes, bool) {
	if id.Type != mlsgroup.PSKTypeExternal {
		return nil, false
	}
	if t != nil {
		if p, ok := t.psks[string(id.ExternalID)]; ok {
			return p.psk, true
		}
	}
	values, err := c.sys.store.GetMany(c.client.pskKey(id.ExternalID))
	if err != nil || values[0] == nil {
		return nil, false
	}
	p, err := parsePSKRecord(values[0])
	if err != nil {
		return nil, false
	}
	return p.psk, true
}

func logID(id messages.ConversationID) zap.Field { return zap.String("conversation", id.Short()) }

// logError logs an error's text: errors hold no secrets.
func logError(err error) zap.Field { return zap.String("error", err.Error()) }
