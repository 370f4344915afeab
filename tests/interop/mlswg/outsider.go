package main

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/conclave-mls/conclave/mlsgroup"
	"github.com/conclave-mls/conclave/tests/interop/mlswg/contract"
)

// Proposals from outside the group (RFC 9420 12.1.8).

func (s *server) NewMemberAddProposal(_ context.Context, r *contract.NewMemberAddProposalRequest) (*contract.NewMemberAddProposalResponse, error) {
	groupInfo, _, err := parseGroupInfo(r.GroupInfo, nil)
	if err != nil {
		return nil, err
	}
	gc := &groupInfo.GroupContext
	j, err := newJoiner(gc.CipherSuite, r.Identity)
	if err != nil {
		return nil, err
	}
	proposal, err := mlsgroup.NewMemberProposal(newInput(j.signer, nil), gc.GroupID, gc.Epoch, j.bundle.KeyPackage)
	if err != nil {
		return nil, err
	}
	id := s.newID()
	s.joiners[id] = j
	return &contract.NewMemberAddProposalResponse{
		TransactionId: id, Proposal: proposal,
		InitPriv: j.bundle.InitPrivate, EncryptionPriv: j.bundle.LeafPrivate, SignaturePriv: j.signer.Private,
	}, nil
}

func (s *server) CreateExternalSigner(_ context.Context, r *contract.CreateExternalSignerRequest) (*contract.CreateExternalSignerResponse, error) {
	suite, err := newSuite(r.CipherSuite)
	if err != nil {
		return nil, err
	}
	signer, err := newSigner(suite, r.Identity)
	if err != nil {
		return nil, err
	}
	id := s.newID()
	s.signers[id] = signer
	sender := mlsgroup.ExternalSender{SignatureKey: signer.Public, Credential: signer.Credential}
	return &contract.CreateExternalSignerResponse{SignerId: id, ExternalSender: sender.Marshal()}, nil
}

// AddExternalSigner proposes the group's extensions with one more external sender, the last of them.
func (s *server) AddExternalSigner(_ context.Context, r *contract.AddExternalSignerRequest) (*contract.ProposalResponse, error) {
	m, err := s.coreMember(r.StateId)
	if err != nil {
		return nil, err
	}
	sender, err := mlsgroup.ParseExternalSender(r.ExternalSender)
	if err != nil {
		return nil, err
	}
	senders, err := m.group.ExternalSenders()
	if err != nil {
		return nil, err
	}
	var extensions mlsgroup.Extensions
	for _, e := range m.group.GroupContext().Extensions {
		if e.Type != mlsgroup.ExtensionTypeExternalSenders {
			extensions = append(extensions, e)
		}
	}
	extensions = append(extensions, mlsgroup.ExternalSendersExtension(append(senders, *sender)))
	message, err := m.sendProposal(mlsgroup.ProposalOptions{Proposal: &mlsgroup.Proposal{
		Type: mlsgroup.ProposalTypeGroupContextExtensions, GroupContextExtensions: &mlsgroup.GroupContextExtensions{Extensions: extensions},
	}})
	if err != nil {
		return nil, err
	}
	return &contract.ProposalResponse{Proposal: message}, nil
}

func (s *server) ExternalSignerProposal(_ context.Context, r *contract.ExternalSignerProposalRequest) (*contract.ProposalResponse, error) {
	signer := s.signers[r.SignerId]
	if signer == nil {
		return nil, status.Errorf(codes.NotFound, "no signer %d", r.SignerId)
	}
	if r.Description == nil {
		return nil, status.Error(codes.InvalidArgument, "no description")
	}
	groupInfo, tree, err := parseGroupInfo(r.GroupInfo, r.RatchetTree)
	if err != nil {
		return nil, err
	}
	gc := &groupInfo.GroupContext
	proposal, err := newProposal(r.Description, gc.GroupID, tree)
	if err != nil {
		return nil, err
	}
	message, err := mlsgroup.NewExternalProposal(newInput(signer, nil), mlsgroup.ExternalProposalOptions{
		CipherSuite: gc.CipherSuite, GroupID: gc.GroupID, Epoch: gc.Epoch, Index: r.SignerIndex, Proposal: proposal,
	})
	if err != nil {
		return nil, err
	}
	return &contract.ProposalResponse{Proposal: message}, nil
}
