package main

import (
	"bytes"
	"context"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/tests/interop/mlswg/contract"
)

func (s *server) Commit(_ context.Context, r *contract.CommitRequest) (*contract.CommitResponse, error) {
	m, err := s.member(r.StateId)
	if err != nil {
		return nil, err
	}
	return m.commit(r)
}

func (s *server) HandlePendingCommit(_ context.Context, r *contract.HandlePendingCommitRequest) (*contract.HandleCommitResponse, error) {
	m, err := s.member(r.StateId)
	if err != nil {
		return nil, err
	}
	next, err := m.handlePending()
	if err != nil {
		return nil, err
	}
	return s.handled(next)
}

func (s *server) HandleCommit(_ context.Context, r *contract.HandleCommitRequest) (*contract.HandleCommitResponse, error) {
	m, err := s.member(r.StateId)
	if err != nil {
		return nil, err
	}
	next, err := m.handleCommit(r.Proposal, r.Commit)
	if err != nil {
		return nil, err
	}
	return s.handled(next)
}

func (s *server) handled(next member) (*contract.HandleCommitResponse, error) {
	authenticator, err := next.authenticator()
	if err != nil {
		return nil, err
	}
	return &contract.HandleCommitResponse{StateId: s.addMember(next), EpochAuthenticator: authenticator}, nil
}

// receiveProposal makes sure that a proposal waits for a commit, and returns its reference. It may be one of the member's own, or come again.
func (m *coreMember) receiveProposal(message []byte) (mlsgroup.ProposalRef, error) {
	if ref, known := m.proposals[string(message)]; known {
		return ref, nil
	}
	t, err := m.step(func(g *mlsgroup.Group) (*mlsgroup.Transition, error) { return g.Process(m.input(), message) })
	if err != nil {
		return nil, err
	}
	if t.Received.Proposal == nil {
		return nil, status.Error(codes.InvalidArgument, "not a proposal")
	}
	m.proposals[string(message)] = t.Received.ProposalRef
	return t.Received.ProposalRef, nil
}

// withOnly returns a fork where no proposals wait but those referred to.
func (m *coreMember) withOnly(refs []mlsgroup.ProposalRef) (*coreMember, error) {
	c := m.fork()
	var pending []mlsgroup.PendingProposal
	err := c.try(func(g *mlsgroup.Group) error {
		var err error
		pending, err = g.PendingProposals()
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, p := range pending {
		if containsRef(refs, p.Ref) {
			continue
		}
		if _, err := c.step(func(g *mlsgroup.Group) (*mlsgroup.Transition, error) { return g.DropProposal(p.Ref) }); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func containsRef(refs []mlsgroup.ProposalRef, ref mlsgroup.ProposalRef) bool {
	return slices.ContainsFunc(refs, func(r mlsgroup.ProposalRef) bool { return bytes.Equal(r, ref) })
}

func (m *coreMember) commit(r *contract.CommitRequest) (*contract.CommitResponse, error) {
	var refs []mlsgroup.ProposalRef
	for _, message := range r.ByReference {
		ref, err := m.receiveProposal(message)
		if err != nil {
			return nil, err
		}
		refs = append(refs, ref)
	}
	base, err := m.withOnly(refs)
	if err != nil {
		return nil, err
	}
	o := mlsgroup.CommitOptions{ForcePath: r.ForcePath, OmitPath: !r.ForcePath, WithoutRatchetTree: r.ExternalTree, WireFormat: m.format}
	for _, d := range r.ByValue {
		p, err := m.newProposal(d)
		if err != nil {
			return nil, err
		}
		o.Proposals = append(o.Proposals, *p)
	}
	var own *mlsgroup.OwnCommit
	err = base.try(func(g *mlsgroup.Group) error {
		var err error
		own, err = g.Commit(m.input(), o)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, ref := range refs {
		// The core leaves out what cannot be committed; the contract wants all.
		if !containsRef(own.Effect().Committed, ref) {
			return nil, status.Error(codes.InvalidArgument, "a proposal by reference cannot be committed")
		}
	}
	if own.Before != nil {
		if err := m.burn(base, own.Before); err != nil {
			return nil, err
		}
	}
	m.pending = &pendingCommit{own: own, base: base}
	response := &contract.CommitResponse{Commit: own.Bundle.Commit, Welcome: own.Bundle.Welcome}
	if r.ExternalTree {
		next, err := own.Provisional(base.group)
		if err != nil {
			return nil, err
		}
		tree, err := next.RatchetTree()
		if err != nil {
			return nil, err
		}
		response.RatchetTree = tree.Marshal()
	}
	return response, nil
}

// burn uses up at m, too, what its fork base used to encrypt a commit.
func (m *coreMember) burn(base *coreMember, before *mlsgroup.Transition) error {
	base.carryOut(before)
	application, handshake, err := base.group.Generations()
	if err != nil {
		return err
	}
	_, err = m.step(func(g *mlsgroup.Group) (*mlsgroup.Transition, error) { return g.Burn(application, handshake) })
	return err
}

// entered makes a fork that has taken a commit the member of the next epoch.
func (m *coreMember) entered() (*coreMember, error) {
	if m.group.Removed() {
		return nil, status.Error(codes.FailedPrecondition, "the commit removes this member")
	}
	m.proposals = make(map[string]mlsgroup.ProposalRef)
	return m, nil
}

func (m *coreMember) handlePending() (member, error) { return m.takePending() }

func (m *coreMember) takePending() (*coreMember, error) {
	if m.pending == nil {
		return nil, status.Error(codes.FailedPrecondition, "no commit is pending")
	}
	next := m.pending.base.fork()
	if _, err := next.step(func(g *mlsgroup.Group) (*mlsgroup.Transition, error) { return g.Merge(m.pending.own) }); err != nil {
		return nil, err
	}
	return next.entered()
}

func (m *coreMember) handleCommit(proposals [][]byte, commit []byte) (member, error) {
	return m.takeCommit(proposals, commit)
}

func (m *coreMember) takeCommit(proposals [][]byte, commit []byte) (*coreMember, error) {
	next := m.fork()
	for _, message := range proposals {
		if _, err := next.receiveProposal(message); err != nil {
			return nil, err
		}
	}
	t, err := next.step(func(g *mlsgroup.Group) (*mlsgroup.Transition, error) { return g.Process(m.input(), commit) })
	if err != nil {
		return nil, err
	}
	if t.Received.Commit == nil {
		return nil, status.Error(codes.InvalidArgument, "not a commit")
	}
	return next.entered()
}
