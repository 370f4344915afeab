package actors

import (
	"errors"
	"fmt"

	"github.com/conclave-mls/conclave/messages"
	"github.com/conclave-mls/conclave/mlsgroup"
)

// trySigning is try for a step that signs and sends: with the own signature key, and
// with own ratchets that are beyond all that may have been used.
func (c *conversation) trySigning(st *stage, f func(g *mlsgroup.Group, signer *mlsgroup.Signer) error) error {
	signer, err := c.signer(st)
	if err != nil {
		return err
	}
	if err := c.burn(st); err != nil {
		return err
	}
	return c.try(st, func(g *mlsgroup.Group) error { return f(g, signer) })
}

// encrypt seals an application message.
func (c *conversation) encrypt(st *stage, r messages.EncryptMessage) (messages.Reply, error) {
	var transition *mlsgroup.Transition
	err := c.trySigning(st, func(g *mlsgroup.Group, signer *mlsgroup.Signer) (err error) {
		// A message needs neither pre-shared keys nor who judges credentials.
		transition, err = g.Encrypt(c.sys.input(signer), r.Plaintext, r.AuthenticatedData)
		return err
	})
	if err != nil {
		return nil, outboundError(err)
	}
	if st.tx == nil && c.sys.options.LeaseGenerations {
		c.lease(st, transition)
		return messages.MessageEncrypted{Message: transition.Outbound.Message}, nil
	}
	if err := c.handOut(st, transition.Outbound); err != nil {
		return nil, err
	}
	st.note(transition.Next.Epoch(), transition.Outbound)
	c.advance(st, transition)
	return messages.MessageEncrypted{Message: transition.Outbound.Message}, nil
}

// propose makes a proposal that is pending here at once.
func (c *conversation) propose(st *stage, t *task, r messages.Request) (messages.Reply, error) {
	var options mlsgroup.ProposalOptions
	switch r := r.(type) {
	case messages.ProposeAdd:
		kp, err := readKeyPackage(r.KeyPackage)
		if err != nil {
			return nil, err
		}
		options.Proposal = &mlsgroup.Proposal{Type: mlsgroup.ProposalTypeAdd, Add: &mlsgroup.Add{KeyPackage: kp}}
	case messages.ProposeRemove:
		leaves, err := c.leavesOf(st, []messages.ClientID{r.ClientID})
		if err != nil {
			return nil, err
		}
		options.Proposal = removeProposal(leaves[0])
	case messages.ProposePSK:
		if len(r.ID) == 0 || len(r.ID) > maxName {
			return nil, fmt.Errorf("%w: pre-shared key id of %d bytes", messages.ErrInvalidArgument, len(r.ID))
		}
		id := mlsgroup.PreSharedKeyID{Type: mlsgroup.PSKTypeExternal, ExternalID: r.ID}
		if _, ok := c.psk(t, id); !ok {
			// Nobody could commit it here, and the proposer not follow another's commit.
			return nil, fmt.Errorf("%w: %w", messages.ErrInvalidArgument, &mlsgroup.PSKError{ID: id})
		}
		options.Proposal = &mlsgroup.Proposal{Type: mlsgroup.ProposalTypePreSharedKey, PreSharedKey: &mlsgroup.PreSharedKey{PSK: id}}
	case messages.ProposeUpdate:
		options.Update = new(mlsgroup.LeafChange)
	}
	var transition *mlsgroup.Transition
	err := c.trySigning(st, func(g *mlsgroup.Group, signer *mlsgroup.Signer) (err error) {
		transition, err = g.Propose(c.input(t, signer), options)
		return err
	})
	if err != nil {
		return nil, outboundError(err)
	}
	if err := c.handOut(st, transition.Outbound); err != nil {
		return nil, err
	}
	st.note(transition.Next.Epoch(), transition.Outbound)
	c.advance(st, transition)
	reply := messages.ProposalCreated{Message: transition.Outbound.Message, Ref: transition.Outbound.ProposalRef}
	if options.Proposal != nil {
		reply.NewDistributionPoints = c.notePoints(st, proposed(options.Proposal))
	}
	return reply, nil
}

func (c *conversation) clearProposal(st *stage, r messages.ClearPendingProposal) (messages.Reply, error) {
	var transition *mlsgroup.Transition
	err := c.try(st, func(g *mlsgroup.Group) (err error) {
		transition, err = g.DropProposal(r.Ref)
		return err
	})
	if errors.Is(err, mlsgroup.ErrUnknownProposal) {
		return nil, fmt.Errorf("%w: %w", messages.ErrPendingProposalNotFound, err)
	}
	if err != nil {
		return nil, err
	}
	c.advance(st, transition)
	return messages.PendingProposalCleared{}, nil
}

func removeProposal(leaf mlsgroup.LeafIndex) *mlsgroup.Proposal {
	return &mlsgroup.Proposal{Type: mlsgroup.ProposalTypeRemove, Remove: &mlsgroup.Remove{Removed: leaf}}
}

// leavesOf finds every leaf with one of the identities.
func (c *conversation) leavesOf(st *stage, ids []messages.ClientID) ([]mlsgroup.LeafIndex, error) {
	wanted := make(map[messages.ClientID]bool, len(ids))
	for _, id := range ids {
		wanted[canonical(id)] = true
	}
	var leaves []mlsgroup.LeafIndex
	err := c.try(st, func(g *mlsgroup.Group) error {
		members, err := g.Members()
		if err != nil {
			return err
		}
		leaves = leaves[:0]
		for i, leaf := range members {
			if id := c.client.identityOf(&leaf.Credential); id != "" && wanted[canonical(id)] {
				leaves = append(leaves, i)
			}
		}
		return nil
	})
	if err == nil && len(leaves) == 0 {
		err = messages.ErrMemberNotFound
	}
	return leaves, err
}

// clientID returns the identity of a Basic credential, empty for another.
func clientID(c *mlsgroup.Credential) messages.ClientID {
	if c.Type != mlsgroup.CredentialTypeBasic {
		return ""
	}
	return messages.ClientID(c.Identity)
}

// commitGroup makes a commit and sends it; the answer comes with the verdict.
func (c *conversation) commitGroup(st *stage, t *task) (messages.Reply, error) {
	options, credential, err := c.commitOptions(st, t.request)
	if err != nil {
		return nil, err
	}
	if r, ok := t.request.(rotate); ok && r.once && credential == nil {
		return messages.CommitMerged{Epoch: st.state.group.Epoch()}, nil
	}
	if _, pendingOnly := t.request.(messages.CommitPendingProposals); pendingOnly {
		pending, err := c.pending(st)
		if err != nil {
			return nil, err
		}
		if len(pending) == 0 {
			return messages.CommitMerged{Epoch: st.state.group.Epoch()}, nil
		}
	}
	nothing, err := c.addHistory(st, t, &options)
	if err != nil {
		return nil, err
	}
	if nothing {
		return messages.CommitMerged{Epoch: st.state.group.Epoch()}, nil
	}
	var own *mlsgroup.OwnCommit
	err = c.trySigning(st, func(g *mlsgroup.Group, signer *mlsgroup.Signer) (err error) {
		own, err = g.Commit(c.input(t, signer), options)
		return err
	})
	if err != nil {
		return nil, outboundError(err)
	}
	if _, adds := t.request.(messages.AddMembers); adds {
		var added []mlsgroup.Credential
		for i := range options.Proposals {
			added = append(added, proposed(&options.Proposals[i])...)
		}
		t.points = c.notePoints(st, added)
	}
	f := c.newInflight(own, st.state.group.Epoch(), st.state.incarnation, false)
	if options.Message != nil {
		f.history = t.history.secret.Clone()
	}
	return nil, c.send(st, t, f, credential)
}

func (c *conversation) commitOptions(st *stage, r messages.Request) (mlsgroup.CommitOptions, *credentialRecord, error) {
	var o mlsgroup.CommitOptions
	switch r := r.(type) {
	case messages.AddMembers:
		if len(r.KeyPackages) == 0 {
			return o, nil, fmt.Errorf("%w: no key packages", messages.ErrInvalidArgument)
		}
		o.Proposals = make([]mlsgroup.Proposal, len(r.KeyPackages))
		errs := make([]error, len(r.KeyPackages))
		c.sys.options.Do(len(r.KeyPackages), func(i int) {
			var kp *mlsgroup.KeyPackage
			kp, errs[i] = readKeyPackage(r.KeyPackages[i])
			o.Proposals[i] = mlsgroup.Proposal{Type: mlsgroup.ProposalTypeAdd, Add: &mlsgroup.Add{KeyPackage: kp}}
		})
		for _, err := range errs {
			if err != nil {
				return o, nil, err
			}
		}
	case messages.RemoveMembers:
		leaves, err := c.leavesOf(st, r.ClientIDs)
		if err != nil {
			return o, nil, err
		}
		for _, leaf := range leaves {
			o.Proposals = append(o.Proposals, *removeProposal(leaf))
		}
	case messages.UpdateKeyMaterial:
		o.ForcePath = true
	case rotate:
		o.ForcePath = true
		there, err := c.carries(st, r.credential)
		if err != nil || there {
			return o, nil, err
		}
		if !sameScheme(r.credential.entry.CipherSuite, st.state.group.CipherSuite()) {
			return o, nil, fmt.Errorf("%w: it signs for %v", messages.ErrWrongCredential, r.credential.entry.CipherSuite)
		}
		o.Leaf = &mlsgroup.LeafChange{Signer: r.credential.signer(st.state.group.CipherSuite())}
		return o, r.credential, nil
	}
	return o, nil, nil
}

// carries tells whether the own leaf has a credential with its key. A certificate may
// have been issued for the key of the credential it replaces.
func (c *conversation) carries(st *stage, credential *credentialRecord) (there bool, err error) {
	if credential.entry.Ref != c.ownCredential(st) {
		return false, nil
	}
	err = c.try(st, func(g *mlsgroup.Group) error {
		own, err := g.Member(g.OwnLeaf())
		there = err == nil && own != nil && own.Credential.Equal(&credential.entry.Credential)
		return err
	})
	return there, err
}

// pending returns the pending proposals.
func (c *conversation) pending(st *stage) ([]mlsgroup.PendingProposal, error) {
	var list []mlsgroup.PendingProposal
	err := c.try(st, func(g *mlsgroup.Group) (err error) {
		list, err = g.PendingProposals()
		return err
	})
	return list, err
}

// outboundError names the core's refusals of a step that sends.
func outboundError(err error) error {
	switch {
	case errors.Is(err, mlsgroup.ErrPendingProposals):
		return fmt.Errorf("%w: %w", messages.ErrPendingProposals, err)
	case errors.Is(err, mlsgroup.ErrInactive):
		return fmt.Errorf("%w: %w", messages.ErrConversationNotFound, err)
	case errors.Is(err, mlsgroup.ErrUnknownProposal):
		return fmt.Errorf("%w: %w", messages.ErrPendingProposalNotFound, err)
	}
	var check *mlsgroup.CheckError
	if errors.As(err, &check) || errors.Is(err, mlsgroup.ErrDuplicate) { // the same proposal waits already
		return fmt.Errorf("%w: %w", messages.ErrInvalidArgument, err)
	}
	return err
}
