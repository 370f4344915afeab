package actors

import (
	"context"
	"fmt"
	"slices"

	"github.com/conclave-mls/conclave/internal/secret"
	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// History sharing. The conversation finds out that a commit needs a history client:
// because it is asked to enable sharing, or because the commit removes a member and
// sharing is enabled. It answers needsHistory, the history client is made on the
// caller's goroutine, where the application is asked for the message that carries its
// secret, and the step is taken again with it. Commit, Welcome and message leave and
// count as one.

// history is a history client that a commit may bring in.
type history struct {
	keyPackage *mlsgroup.KeyPackage
	secret     secret.Bytes // what makes one the history client
	message    secret.Bytes // how the members are told
}

// wipe overwrites what the history client was made of; the commit has a copy.
func (h *history) wipe() {
	if h != nil {
		h.secret.Wipe()
		h.message.Wipe()
	}
}

// needsHistory is the answer of a step that has to be taken again with a history
// client.
type needsHistory struct {
	suite   mlsgroup.CipherSuite
	profile mlsgroup.Profile
}

// Error implements error.
func (*needsHistory) Error() string { return "actors: a history client is needed" }

// newHistory makes a history client and the message for its secret.
func (s *System) newHistory(ctx context.Context, at place, id messages.ConversationID, need *needsHistory) (*history, error) {
	name, err := s.newHistoryID()
	if err != nil {
		return nil, err
	}
	signer, err := mlsgroup.NewSigner(s.options.Rand, need.suite, mlsgroup.BasicCredential([]byte(name)))
	if err != nil {
		return nil, err
	}
	defer signer.Private.Wipe() // nobody is to write in its name
	bundle, err := mlsgroup.NewKeyPackage(s.input(signer), mlsgroup.KeyPackageOptions{Profile: need.profile})
	if err != nil {
		return nil, err
	}
	defer bundle.Wipe()
	h := &history{keyPackage: bundle.KeyPackage, secret: bundle.Marshal()}
	h.message = h.secret
	if preparer, ok := at.client.transport(at.tx).(messages.HistoryPreparer); ok {
		if at.tx != nil {
			ctx = messages.WithTransaction(ctx, at.tx.id)
		}
		err = safely(s.log, "transport", func() (err error) {
			h.message, err = preparer.PrepareHistorySecret(ctx, id, h.secret.Clone())
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("%w: history secret: %w", messages.ErrNotSent, err)
		}
		if h.message == nil {
			h.message = secret.Bytes{} // it was asked for, so it is sent
		}
	}
	return h, nil
}

// newHistoryID draws the id of a history client: the prefix and a UUID of version 4.
func (s *System) newHistoryID() (messages.ClientID, error) {
	var u [16]byte
	if err := s.draw(u[:]); err != nil {
		return "", err
	}
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return messages.ClientID(fmt.Sprintf("%s%x-%x-%x-%x-%x", messages.HistoryClientPrefix, u[:4], u[4:6], u[6:8], u[8:10], u[10:])), nil
}

// addHistory completes what a commit does where history sharing asks for more: it
// brings in a new history client, in the place of those that are there. nothing tells
// that there is nothing to commit.
func (c *conversation) addHistory(st *stage, t *task, o *mlsgroup.CommitOptions) (nothing bool, err error) {
	_, enable := t.request.(messages.EnableHistorySharing)
	_, disable := t.request.(messages.DisableHistorySharing)
	removed, err := c.removedBy(st, o)
	if err != nil || len(removed) == 0 && !enable && !disable {
		return false, err
	}
	there, err := c.historyLeaves(st)
	if err != nil {
		return false, err
	}
	if enable && len(there) > 0 || disable && len(there) == 0 {
		return true, nil
	}
	var left []mlsgroup.LeafIndex // history clients that the commit would leave there
	for _, leaf := range there {
		if !slices.Contains(removed, leaf) {
			left = append(left, leaf)
		}
	}
	if disable {
		for _, leaf := range left {
			o.Proposals = append(o.Proposals, *removeProposal(leaf))
		}
		return false, nil
	}
	members := slices.ContainsFunc(removed, func(leaf mlsgroup.LeafIndex) bool { return !slices.Contains(there, leaf) })
	if !enable && (!members || len(left) == 0) {
		return false, nil // nobody else goes, or sharing ends with them
	}
	if t.history == nil {
		return false, &needsHistory{st.state.group.CipherSuite(), st.state.group.Profile()}
	}
	for _, leaf := range left {
		o.Proposals = append(o.Proposals, *removeProposal(leaf))
	}
	o.Proposals = append(o.Proposals, mlsgroup.Proposal{Type: mlsgroup.ProposalTypeAdd, Add: &mlsgroup.Add{KeyPackage: t.history.keyPackage}})
	o.Message = t.history.message
	return false, nil
}

// historyLeaves returns the leaves of history clients, in order.
func (c *conversation) historyLeaves(st *stage) ([]mlsgroup.LeafIndex, error) {
	var leaves []mlsgroup.LeafIndex
	err := c.try(st, func(g *mlsgroup.Group) error {
		members, err := g.Members()
		if err != nil {
			return err
		}
		leaves = leaves[:0]
		for i, leaf := range members {
			if clientID(&leaf.Credential).History() {
				leaves = append(leaves, i)
			}
		}
		return nil
	})
	return leaves, err
}

// removedBy returns the leaves that a commit is about to remove: by value, and by the
// proposals that wait, of which some may turn out not to be committed.
func (c *conversation) removedBy(st *stage, o *mlsgroup.CommitOptions) ([]mlsgroup.LeafIndex, error) {
	pending, err := c.pending(st)
	if err != nil {
		return nil, err
	}
	var removed []mlsgroup.LeafIndex
	for i := range o.Proposals {
		if r := o.Proposals[i].Remove; r != nil {
			removed = append(removed, r.Removed)
		}
	}
	for _, p := range pending {
		if r := p.Proposal.Remove; r != nil {
			removed = append(removed, r.Removed)
		}
	}
	return removed, nil
}

// emitHistory stages the event of a history client that an accepted commit has brought.
func (c *conversation) emitHistory(st *stage, f *inflight) {
	if f.history == nil {
		return
	}
	bundle, err := mlsgroup.ParseKeyPackageBundle(f.history)
	if err != nil {
		return // it was written by us and read back under a seal
	}
	defer bundle.Wipe()
	st.events = append(st.events, event{to: c.client, history: &messages.HistoryClientCreated{
		Instance: c.client.instance, Conversation: c.id, Epoch: f.epoch + 1,
		ClientID: clientID(&bundle.KeyPackage.LeafNode.Credential), Secret: f.history.Clone(),
	}})
}
