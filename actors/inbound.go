package actors

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// decrypt takes a message of the conversation. What it says about an own commit in
// flight comes first: the commit's bytes, a GroupInfo with its tag, and a message of
// the epoch it begins each prove that it was accepted.
func (c *conversation) decrypt(st *stage, t *task, message []byte) (messages.Reply, error) {
	if st.state.group == nil && st.state.joining() == nil {
		return nil, messages.ErrConversationNotFound
	}
	if len(st.state.inflight) > 0 {
		reply, done, err := c.decryptInFlight(st, t, message)
		if done {
			return reply, err
		}
	}
	reply, err := c.process(st, t, message, true)
	if err != nil {
		return nil, err
	}
	return reply, nil
}

// decryptInFlight settles own commits by a message, if it does. done tells that the
// message needs nothing more.
func (c *conversation) decryptInFlight(st *stage, t *task, message []byte) (reply messages.Reply, done bool, err error) {
	if f := st.state.find(sha256.Sum256(message)); f != nil && (f.isJoin || c.based(st, f)) {
		released, err := c.accept(st, f, true)
		return c.ownReply(st, f, released), true, err
	}
	m, err := mlsgroup.ParseMLSMessage(message)
	if err != nil {
		return nil, true, fmt.Errorf("%w: %w", messages.ErrInvalidMessage, err)
	}
	if m.GroupInfo != nil {
		gi := m.GroupInfo
		f := st.state.tagged(gi.GroupContext.Epoch, gi.ConfirmationTag)
		if f == nil || !bytes.Equal(gi.GroupContext.GroupID, []byte(c.id)) || !f.isJoin && !c.based(st, f) {
			return nil, true, fmt.Errorf("%w: a GroupInfo that says nothing new", messages.ErrInvalidMessage)
		}
		released, err := c.accept(st, f, true)
		return c.ownReply(st, f, released), true, err
	}
	id, epoch, framed := m.GroupIDAndEpoch()
	if !framed || !bytes.Equal(id, []byte(c.id)) {
		return nil, true, fmt.Errorf("%w: %w", messages.ErrInvalidMessage, mlsgroup.ErrWrongGroup)
	}
	for _, f := range st.state.inflight {
		if epoch != f.epoch+1 || !f.isJoin && !c.based(st, f) || !c.proves(st, t, f, message) {
			continue
		}
		released, err := c.accept(st, f, true)
		if err != nil {
			return nil, true, err
		}
		next, err := c.process(st, t, message, true)
		if err != nil && len(released) > 0 {
			return c.ownReply(st, f, append(released, messages.Released{Err: err})), true, nil
		}
		if err != nil {
			return nil, true, err
		}
		next.Released = append(released, next.Released...)
		return next, true, nil
	}
	if st.state.group == nil {
		// Only the join is there: keep it until that is settled.
		dropped, err := c.keep(st, message, epoch, contentType(m), false)
		return messages.MessageDecrypted{Outcome: messages.OutcomeUnmergedPendingGroup, MessageEpoch: epoch, IsActive: true, Dropped: dropped}, true, err
	}
	return nil, false, nil
}

// proves tells whether a message verifies in the epoch that a commit begins.
func (c *conversation) proves(st *stage, t *task, f *inflight, message []byte) bool {
	base := st.state.group
	if f.isJoin {
		base = nil
	}
	next, err := f.own.Provisional(base)
	for range maxNeed {
		var need *mlsgroup.Need
		if err == nil {
			var step *mlsgroup.Transition
			step, err = next.Process(c.input(t, nil), message)
			step.Wipe(next)
			return err == nil
		}
		if !errors.As(err, &need) || base == nil {
			return false
		}
		if base, err = c.fill(st, st.state.incarnation, base, need); err != nil {
			return false
		}
		next, err = f.own.Provisional(base)
	}
	return false
}

// ownReply is the answer to an own commit that came back.
func (c *conversation) ownReply(st *stage, f *inflight, released []messages.Released) messages.MessageDecrypted {
	reply := messages.MessageDecrypted{
		Outcome: messages.OutcomeCommit, Own: true, IsActive: true, MessageEpoch: f.epoch, Epoch: f.epoch + 1, Released: released,
	}
	if g := st.state.group; g != nil {
		reply.Sender = messages.Sender{Type: mlsgroup.SenderTypeMember, Leaf: uint32(g.OwnLeaf()), ClientID: c.client.id}
		if f.isJoin {
			reply.Sender.Type = mlsgroup.SenderTypeNewMemberCommit
		}
		if signer, err := c.signer(st); err == nil { // the commit is accepted, whatever can be read
			reply.Sender.Credential, reply.Sender.SignatureKey = signer.Credential, signer.Public
		}
	}
	c.arrive(st, &reply)
	return reply
}

// process takes a message to the next state of the group. keep tells that it may be
// kept for later.
func (c *conversation) process(st *stage, t *task, message []byte, keep bool) (messages.MessageDecrypted, error) {
	var transition *mlsgroup.Transition
	err := c.try(st, func(g *mlsgroup.Group) (err error) {
		transition, err = g.Process(c.input(t, nil), message)
		return err
	})
	if err != nil {
		return c.refused(st, message, err, keep)
	}
	reply := c.received(transition.Received, transition.Next.Epoch())
	switch transition.Received.ContentType {
	case mlsgroup.ContentTypeApplication:
		c.advance(st, transition)
	case mlsgroup.ContentTypeProposal:
		reply.Outcome, reply.Proposal = messages.OutcomeProposal, transition.Received.ProposalRef
		reply.NewDistributionPoints = c.notePoints(st, proposed(transition.Received.Proposal))
		c.advance(st, transition)
		if reply.Released = c.retryCommits(st); reply.Released == nil {
			// The proposal is staged: a delay that cannot be told fails nothing.
			reply.CommitDelay, reply.HasCommitDelay, _ = c.commitDelay(st)
		}
	case mlsgroup.ContentTypeCommit:
		reply.Outcome = messages.OutcomeCommit
		c.mergeReceived(st, transition, &reply)
	}
	c.arrive(st, &reply)
	return reply, nil
}

// arrive completes a reply with where the conversation is now: what was released may
// have taken it further, or ended it.
func (c *conversation) arrive(st *stage, reply *messages.MessageDecrypted) {
	if g := st.state.group; g != nil {
		reply.Epoch = g.Epoch()
	} else {
		reply.IsActive = false
	}
}

// received is the reply to a verified message, complete for an application message.
func (c *conversation) received(r *mlsgroup.Received, epoch uint64) messages.MessageDecrypted {
	reply := messages.MessageDecrypted{
		AuthenticatedData: r.AuthenticatedData, MessageEpoch: r.Epoch, Epoch: epoch, IsActive: true,
		Sender: messages.Sender{
			Type: r.Sender.Type, Leaf: uint32(r.Sender.LeafIndex), ClientID: c.client.identityOf(&r.Credential),
			Credential: r.Credential, SignatureKey: r.SignatureKey,
		},
	}
	if r.Sender.Type == mlsgroup.SenderTypeExternal {
		reply.Sender.Leaf = r.Sender.Index
	}
	if r.ContentType == mlsgroup.ContentTypeApplication {
		reply.Outcome, reply.Plaintext = messages.OutcomeText, r.Application
	}
	return reply
}

// proposed returns the credentials that a proposal would bring.
func proposed(p *mlsgroup.Proposal) []mlsgroup.Credential {
	switch {
	case p.Add != nil:
		return []mlsgroup.Credential{p.Add.KeyPackage.LeafNode.Credential}
	case p.Update != nil:
		return []mlsgroup.Credential{p.Update.LeafNode.Credential}
	}
	return nil
}

// brought returns the credentials of the leaves that a commit has written.
func brought(e *mlsgroup.CommitEffect) []mlsgroup.Credential {
	credentials := make([]mlsgroup.Credential, 0, len(e.Added)+len(e.Updated))
	for _, leaves := range [][]mlsgroup.Member{e.Added, e.Updated} {
		for _, m := range leaves {
			credentials = append(credentials, m.Leaf.Credential)
		}
	}
	return credentials
}

// mergeReceived stages another member's commit.
func (c *conversation) mergeReceived(st *stage, transition *mlsgroup.Transition, reply *messages.MessageDecrypted) {
	effect := transition.Received.Commit
	reply.NewDistributionPoints = c.notePoints(st, brought(effect))
	c.advance(st, transition)
	for _, p := range effect.Dropped {
		if p.Own {
			reply.Discarded = append(reply.Discarded, p.Ref)
		}
	}
	if effect.SelfRemoved {
		c.leaveGroup(st, transition.Received.Epoch)
		return
	}
	c.leaveEpoch(st, transition.Received.Epoch, nil)
	st.dropSpent()
	c.emit(st)
	reply.Released = c.release(st)
}

// refused names the core's refusal of a message, or keeps the message for later.
func (c *conversation) refused(st *stage, message []byte, err error, keep bool) (messages.MessageDecrypted, error) {
	none := messages.MessageDecrypted{}
	wrap := func(kind error) (messages.MessageDecrypted, error) { return none, fmt.Errorf("%w: %w", kind, err) }
	var epoch *mlsgroup.EpochError
	var unknown *mlsgroup.UnknownProposalError
	var psk *mlsgroup.PSKError
	switch {
	case errors.Is(err, mlsgroup.ErrDuplicate):
		return wrap(messages.ErrDuplicateMessage)
	case errors.Is(err, mlsgroup.ErrEpochTooOld):
		return wrap(messages.ErrMessageEpochTooOld)
	case errors.Is(err, mlsgroup.ErrOwnCommit):
		return wrap(messages.ErrSelfCommitIgnored)
	case errors.Is(err, mlsgroup.ErrInactive):
		return wrap(messages.ErrConversationNotFound)
	case errors.As(err, &epoch):
		return c.otherEpoch(st, message, epoch, err, keep)
	case errors.As(err, &unknown):
		if !keep {
			return none, err
		}
		dropped, err := c.keep(st, message, st.state.group.Epoch(), mlsgroup.ContentTypeCommit, true)
		return messages.MessageDecrypted{
			Outcome: messages.OutcomeBufferedCommit, MessageEpoch: st.state.group.Epoch(), Epoch: st.state.group.Epoch(), IsActive: true, Dropped: dropped,
		}, err
	case errors.As(err, &psk), errors.Is(err, messages.ErrCorrupt), errors.Is(err, messages.ErrStoreFailed), errors.Is(err, messages.ErrClosed), errors.Is(err, messages.ErrInternal):
		return none, err
	}
	return wrap(messages.ErrInvalidMessage)
}

// otherEpoch decides about a message of another epoch than the group can read.
func (c *conversation) otherEpoch(st *stage, message []byte, e *mlsgroup.EpochError, cause error, keep bool) (messages.MessageDecrypted, error) {
	none := messages.MessageDecrypted{}
	m, err := mlsgroup.ParseMLSMessage(message)
	if err != nil {
		return none, fmt.Errorf("%w: %w", messages.ErrInvalidMessage, err)
	}
	g := st.state.group
	switch {
	case e.Got == e.Want+1 && keep:
		dropped, err := c.keep(st, message, e.Got, contentType(m), false)
		return messages.MessageDecrypted{
			Outcome: messages.OutcomeBufferedFutureMessage, MessageEpoch: e.Got, Epoch: g.Epoch(), IsActive: true, Dropped: dropped,
		}, err
	case e.Got > e.Want:
		return none, fmt.Errorf("%w: %w", messages.ErrWrongEpoch, cause)
	case contentType(m) == mlsgroup.ContentTypeProposal:
		return none, fmt.Errorf("%w: %w", messages.ErrStaleProposal, cause)
	case contentType(m) == mlsgroup.ContentTypeApplication:
		return none, fmt.Errorf("%w: %w", messages.ErrMessageEpochTooOld, cause)
	case m.PublicMessage != nil && bytes.Equal(m.PublicMessage.Auth.ConfirmationTag, g.ConfirmationTag()):
		// The commit that began the current epoch, once more.
		return none, fmt.Errorf("%w: %w", messages.ErrDuplicateMessage, cause)
	}
	return none, fmt.Errorf("%w: %w", messages.ErrStaleCommit, cause)
}

// contentType returns the content type of a framed message.
func contentType(m *mlsgroup.MLSMessage) mlsgroup.ContentType {
	switch {
	case m.PublicMessage != nil:
		return m.PublicMessage.Content.ContentType
	case m.PrivateMessage != nil:
		return m.PrivateMessage.ContentType
	}
	return 0
}

// invalidMessage names the core's refusal of a Welcome or GroupInfo.
func invalidMessage(err error) error {
	var psk *mlsgroup.PSKError
	if errors.As(err, &psk) {
		return err
	}
	return fmt.Errorf("%w: %w", messages.ErrInvalidMessage, err)
}
