package main

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/tests/interop/mlswg/contract"
)

// Groups that continue others: reinitialization and branching (RFC 9420 11.2 and 11.3).

// reInit is a member whose group has ended with a ReInit, and its key package for the group that follows.
type reInit struct {
	old  *coreMember
	join *joiner
}

func (s *server) ReInitCommit(_ context.Context, r *contract.CommitRequest) (*contract.CommitResponse, error) {
	m, err := s.coreMember(r.StateId)
	if err != nil {
		return nil, err
	}
	return m.commit(r)
}

func (s *server) HandlePendingReInitCommit(_ context.Context, r *contract.HandlePendingCommitRequest) (*contract.HandleReInitCommitResponse, error) {
	m, err := s.coreMember(r.StateId)
	if err != nil {
		return nil, err
	}
	next, err := m.takePending()
	if err != nil {
		return nil, err
	}
	return s.reInitialized(next)
}

func (s *server) HandleReInitCommit(_ context.Context, r *contract.HandleCommitRequest) (*contract.HandleReInitCommitResponse, error) {
	m, err := s.coreMember(r.StateId)
	if err != nil {
		return nil, err
	}
	next, err := m.takeCommit(r.Proposal, r.Commit)
	if err != nil {
		return nil, err
	}
	return s.reInitialized(next)
}

func (s *server) reInitialized(m *coreMember) (*contract.HandleReInitCommitResponse, error) {
	ended := m.group.ReInit()
	if ended == nil {
		return nil, status.Error(codes.FailedPrecondition, "the commit holds no ReInit")
	}
	j, err := newJoiner(ended.CipherSuite, m.signer.Credential.Identity)
	if err != nil {
		return nil, err
	}
	j.psks = m.psks
	id := s.newID()
	s.reInits[id] = &reInit{old: m, join: j}
	return &contract.HandleReInitCommitResponse{ReinitId: id, KeyPackage: j.keyPackage(), EpochAuthenticator: m.group.EpochAuthenticator()}, nil
}

func (s *server) reInit(id uint32) (*reInit, error) {
	if r := s.reInits[id]; r != nil {
		return r, nil
	}
	return nil, status.Errorf(codes.NotFound, "no reinit %d", id)
}

func (s *server) ReInitWelcome(_ context.Context, r *contract.ReInitWelcomeRequest) (*contract.CreateSubgroupResponse, error) {
	ended, err := s.reInit(r.ReinitId)
	if err != nil {
		return nil, err
	}
	o := mlsgroup.SuccessorOptions{OmitPath: !r.ForcePath, WithoutRatchetTree: r.ExternalTree}
	if o.KeyPackages, err = parseKeyPackages(r.KeyPackage); err != nil {
		return nil, err
	}
	response, err := s.addSuccessor(ended.old, ended.join.signer, r.ExternalTree, func(g *mlsgroup.Group, in mlsgroup.Input) (*mlsgroup.Successor, error) {
		return g.ReInitialize(in, o)
	})
	if err == nil {
		delete(s.reInits, r.ReinitId)
	}
	return response, err
}

func (s *server) CreateBranch(_ context.Context, r *contract.CreateBranchRequest) (*contract.CreateSubgroupResponse, error) {
	m, err := s.coreMember(r.StateId)
	if err != nil {
		return nil, err
	}
	o := mlsgroup.SuccessorOptions{GroupID: r.GroupId, OmitPath: !r.ForcePath, WithoutRatchetTree: r.ExternalTree}
	if o.KeyPackages, err = parseKeyPackages(r.KeyPackages); err != nil {
		return nil, err
	}
	if o.Extensions, err = newExtensions(r.Extensions); err != nil {
		return nil, err
	}
	return s.addSuccessor(m, m.signer, r.ExternalTree, func(g *mlsgroup.Group, in mlsgroup.Input) (*mlsgroup.Successor, error) {
		return g.Branch(in, o)
	})
}

func parseKeyPackages(list [][]byte) ([]*mlsgroup.KeyPackage, error) {
	var keyPackages []*mlsgroup.KeyPackage
	for _, b := range list {
		kp, err := parseKeyPackage(b)
		if err != nil {
			return nil, err
		}
		keyPackages = append(keyPackages, kp)
	}
	return keyPackages, nil
}

// addSuccessor makes the group that continues that of old, with old's member as its first.
func (s *server) addSuccessor(old *coreMember, signer *mlsgroup.Signer, externalTree bool,
	begin func(g *mlsgroup.Group, in mlsgroup.Input) (*mlsgroup.Successor, error)) (*contract.CreateSubgroupResponse, error) {
	var successor *mlsgroup.Successor
	err := old.try(func(g *mlsgroup.Group) error {
		var err error
		successor, err = begin(g, newInput(signer, old.psks))
		return err
	})
	if err != nil {
		return nil, err
	}
	m := newCoreMember(successor.Transition, signer, old.psks, old.format == mlsgroup.WireFormatPrivateMessage)
	response := &contract.CreateSubgroupResponse{Welcome: successor.Welcome, EpochAuthenticator: m.group.EpochAuthenticator()}
	if externalTree {
		tree, err := m.tree()
		if err != nil {
			return nil, err
		}
		response.RatchetTree = tree.Marshal()
	}
	response.StateId = s.addMember(m)
	return response, nil
}

func (s *server) HandleReInitWelcome(_ context.Context, r *contract.HandleReInitWelcomeRequest) (*contract.JoinGroupResponse, error) {
	ended, err := s.reInit(r.ReinitId)
	if err != nil {
		return nil, err
	}
	m, err := ended.old.joinSuccessor(ended.join, r.Welcome, r.RatchetTree)
	if err != nil {
		return nil, err
	}
	delete(s.reInits, r.ReinitId)
	return &contract.JoinGroupResponse{StateId: s.addMember(m), EpochAuthenticator: m.group.EpochAuthenticator()}, nil
}

func (s *server) HandleBranch(_ context.Context, r *contract.HandleBranchRequest) (*contract.HandleBranchResponse, error) {
	old, err := s.coreMember(r.StateId)
	if err != nil {
		return nil, err
	}
	j, err := s.joiner(r.TransactionId)
	if err != nil {
		return nil, err
	}
	m, err := old.joinSuccessor(j, r.Welcome, r.RatchetTree)
	if err != nil {
		return nil, err
	}
	delete(s.joiners, r.TransactionId)
	return &contract.HandleBranchResponse{StateId: s.addMember(m), EpochAuthenticator: m.group.EpochAuthenticator()}, nil
}

// joinSuccessor joins, by a Welcome, the group that continues old's.
func (m *coreMember) joinSuccessor(j *joiner, welcome, tree []byte) (*coreMember, error) {
	var t *mlsgroup.Transition
	err := m.try(func(g *mlsgroup.Group) error {
		var err error
		t, err = j.join(welcome, tree, g)
		return err
	})
	if err != nil {
		return nil, err
	}
	return newCoreMember(t, j.signer, j.psks, m.format == mlsgroup.WireFormatPrivateMessage), nil
}
