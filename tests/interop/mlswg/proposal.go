package main

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/tests/interop/mlswg/contract"
)

// The names of proposal types in a ProposalDescription.
const (
	typeAdd                    = "add"
	typeRemove                 = "remove"
	typeExternalPSK            = "externalPSK"
	typeResumptionPSK          = "resumptionPSK"
	typeGroupContextExtensions = "groupContextExtensions"
	typeReInit                 = "reinit"
)

// newProposal makes the described proposal for a group, whose tree a Remove needs. The nonce of a PSK is left out.
func newProposal(d *contract.ProposalDescription, groupID []byte, tree *mlsgroup.RatchetTree) (*mlsgroup.Proposal, error) {
	switch string(d.ProposalType) {
	case typeAdd:
		kp, err := parseKeyPackage(d.KeyPackage)
		if err != nil {
			return nil, err
		}
		return &mlsgroup.Proposal{Type: mlsgroup.ProposalTypeAdd, Add: &mlsgroup.Add{KeyPackage: kp}}, nil
	case typeRemove:
		i, err := leafOf(tree, d.RemovedId)
		if err != nil {
			return nil, err
		}
		return &mlsgroup.Proposal{Type: mlsgroup.ProposalTypeRemove, Remove: &mlsgroup.Remove{Removed: i}}, nil
	case typeExternalPSK:
		return newPSKProposal(mlsgroup.PreSharedKeyID{Type: mlsgroup.PSKTypeExternal, ExternalID: d.PskId}), nil
	case typeResumptionPSK:
		return newPSKProposal(mlsgroup.PreSharedKeyID{
			Type: mlsgroup.PSKTypeResumption, Usage: mlsgroup.ResumptionPSKUsageApplication, GroupID: groupID, Epoch: d.EpochId,
		}), nil
	case typeGroupContextExtensions:
		extensions, err := newExtensions(d.Extensions)
		if err != nil {
			return nil, err
		}
		return &mlsgroup.Proposal{
			Type: mlsgroup.ProposalTypeGroupContextExtensions, GroupContextExtensions: &mlsgroup.GroupContextExtensions{Extensions: extensions},
		}, nil
	case typeReInit:
		suite, err := newSuite(d.CipherSuite)
		if err != nil {
			return nil, err
		}
		extensions, err := newExtensions(d.Extensions)
		if err != nil {
			return nil, err
		}
		return &mlsgroup.Proposal{Type: mlsgroup.ProposalTypeReInit, ReInit: &mlsgroup.ReInit{
			GroupID: d.GroupId, Version: mlsgroup.ProtocolVersionMLS10, CipherSuite: suite, Extensions: extensions,
		}}, nil
	}
	return nil, status.Errorf(codes.InvalidArgument, "proposal type %q", d.ProposalType)
}

func newPSKProposal(id mlsgroup.PreSharedKeyID) *mlsgroup.Proposal {
	return &mlsgroup.Proposal{Type: mlsgroup.ProposalTypePreSharedKey, PreSharedKey: &mlsgroup.PreSharedKey{PSK: id}}
}

// newExtensions reads extensions, whose types the contract gives 32 bits. None is not nil.
func newExtensions(list []*contract.Extension) (mlsgroup.Extensions, error) {
	extensions := make(mlsgroup.Extensions, 0, len(list))
	for _, e := range list {
		t := mlsgroup.ExtensionType(e.ExtensionType)
		if uint32(t) != e.ExtensionType {
			return nil, status.Errorf(codes.InvalidArgument, "extension type %d", e.ExtensionType)
		}
		extensions = append(extensions, mlsgroup.Extension{Type: t, Body: e.ExtensionData})
	}
	return extensions, nil
}

// newProposal makes the described proposal for the member's group.
func (m *coreMember) newProposal(d *contract.ProposalDescription) (*mlsgroup.Proposal, error) {
	tree, err := m.tree()
	if err != nil {
		return nil, err
	}
	return newProposal(d, m.group.GroupID(), tree)
}

func (m *coreMember) propose(d *contract.ProposalDescription) ([]byte, error) {
	p, err := m.newProposal(d)
	if err != nil {
		return nil, err
	}
	return m.sendProposal(mlsgroup.ProposalOptions{Proposal: p})
}

func (m *coreMember) proposeUpdate() ([]byte, error) {
	return m.sendProposal(mlsgroup.ProposalOptions{Update: &mlsgroup.LeafChange{}})
}

func (m *coreMember) sendProposal(o mlsgroup.ProposalOptions) ([]byte, error) {
	o.WireFormat = m.format
	t, err := m.step(func(g *mlsgroup.Group) (*mlsgroup.Transition, error) { return g.Propose(m.input(), o) })
	if err != nil {
		return nil, err
	}
	m.proposals[string(t.Outbound.Message)] = t.Outbound.ProposalRef
	return t.Outbound.Message, nil
}

// propose is all calls that propose what a description can say.
func (s *server) propose(id uint32, d *contract.ProposalDescription) (*contract.ProposalResponse, error) {
	m, err := s.member(id)
	if err != nil {
		return nil, err
	}
	message, err := m.propose(d)
	if err != nil {
		return nil, err
	}
	return &contract.ProposalResponse{Proposal: message}, nil
}

func (s *server) AddProposal(_ context.Context, r *contract.AddProposalRequest) (*contract.ProposalResponse, error) {
	return s.propose(r.StateId, &contract.ProposalDescription{ProposalType: []byte(typeAdd), KeyPackage: r.KeyPackage})
}

func (s *server) UpdateProposal(_ context.Context, r *contract.UpdateProposalRequest) (*contract.ProposalResponse, error) {
	m, err := s.member(r.StateId)
	if err != nil {
		return nil, err
	}
	message, err := m.proposeUpdate()
	if err != nil {
		return nil, err
	}
	return &contract.ProposalResponse{Proposal: message}, nil
}

func (s *server) RemoveProposal(_ context.Context, r *contract.RemoveProposalRequest) (*contract.ProposalResponse, error) {
	return s.propose(r.StateId, &contract.ProposalDescription{ProposalType: []byte(typeRemove), RemovedId: r.RemovedId})
}

func (s *server) ExternalPSKProposal(_ context.Context, r *contract.ExternalPSKProposalRequest) (*contract.ProposalResponse, error) {
	return s.propose(r.StateId, &contract.ProposalDescription{ProposalType: []byte(typeExternalPSK), PskId: r.PskId})
}

func (s *server) ResumptionPSKProposal(_ context.Context, r *contract.ResumptionPSKProposalRequest) (*contract.ProposalResponse, error) {
	return s.propose(r.StateId, &contract.ProposalDescription{ProposalType: []byte(typeResumptionPSK), EpochId: r.EpochId})
}

func (s *server) GroupContextExtensionsProposal(_ context.Context, r *contract.GroupContextExtensionsProposalRequest) (*contract.ProposalResponse, error) {
	return s.propose(r.StateId, &contract.ProposalDescription{ProposalType: []byte(typeGroupContextExtensions), Extensions: r.Extensions})
}

func (s *server) ReInitProposal(_ context.Context, r *contract.ReInitProposalRequest) (*contract.ProposalResponse, error) {
	return s.propose(r.StateId, &contract.ProposalDescription{
		ProposalType: []byte(typeReInit), CipherSuite: r.CipherSuite, GroupId: r.GroupId, Extensions: r.Extensions,
	})
}
